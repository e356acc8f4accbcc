/**
 * A command in the place of a provider's API, as a stand-in like those of all providers: the example of the overlay, as it is, with a
 * stand-in for DigitalOcean behind it.
 */
import { fileURLToPath } from 'node:url';
import { DigitalOceanModel } from '../digitalocean-model.ts';
import { HttpStandIn } from '../http-stand-in.ts';
import type { Exchange, Fault } from '../http-stand-in.ts';
import { REAL_CLOCK } from '../real-clock.ts';
import type { ProviderStandIn, StandInOptions } from './stand-in.ts';
import { Troubles } from './trouble.ts';
import type { Faults } from './trouble.ts';

/** The example, and how it is started where its first line names a Node that is not there. */
export const DIGITALOCEAN = fileURLToPath(new URL('../../../manifests/overlays/exec/digitalocean.mjs', import.meta.url));
export const TOKEN = 'dop_v1_stand-in';

const FIRST_DROPLET = 3_164_494;

const isWrite = ({ method }: Exchange): boolean => method !== 'GET';

/** What it answers in each trouble. */
const FAULTS: Faults = {
  busy: problem(422, 'unprocessable_entity', 'The reserved IP has a pending event.'),
  'rate-limited': problem(429, 'too_many_requests', 'API rate limit exceeded.'),
  unavailable: problem(503, 'service_unavailable', 'back soon'),
  silent: { is: 'hang', when: 'before' },
  unauthorized: problem(401, 'unauthorized', 'Unable to authenticate you'),
  'answer-lost': { is: 'cut', when: 'after' },
};

/** Starts one. */
export async function openExec(options: StandInOptions): Promise<ProviderStandIn> {
  const droplets = options.nodes.map(({ name }, index) => ({ name, id: FIRST_DROPLET + index }));
  const idOf = (node: string): number => droplets.find(({ name }) => name === node)?.id ?? 0;
  const nodeOf = (droplet: number | null): string | null => droplets.find(({ id }) => id === droplet)?.name ?? null;
  const model = new DigitalOceanModel(
    {
      addresses: options.addresses,
      droplets,
      actionMs: options.moveMs,
      onOwner: (address, droplet) => options.onOwner?.(address, nodeOf(droplet)),
      onAccepted: (from) => options.onAccepted?.(from),
    },
    REAL_CLOCK,
  );
  const api = await new HttpStandIn((exchange) => model.handle(exchange), null).listen(options.host);
  const metadata = await new HttpStandIn((exchange) => model.handleMetadata(exchange), null).listen(options.host);
  for (const { name, ip } of options.nodes) model.dropletBySource.set(ip, idOf(name));
  const troubles = new Troubles(api, FAULTS, isWrite);
  const ipOf = (node: string): string | undefined => options.nodes.find(({ name }) => name === node)?.ip;
  return {
    name: 'exec',
    http: api,
    get moveMs() {
      return model.actionMs;
    },
    set moveMs(ms) {
      model.actionMs = ms;
    },
    env: (node) => ({
      PROVIDER: 'exec',
      EXEC_COMMAND: `${process.execPath} ${DIGITALOCEAN} --api=${api.url}/v2 --metadata=${metadata.url}/metadata/v1 --droplet=${idOf(node)}`,
      EXEC_SECRET: TOKEN,
    }),
    ownerOf: (address) => nodeOf(model.ownerOf(address)),
    move: (address, node) => model.move(address, node === null ? null : idOf(node)),
    trouble: (trouble, times) => {
      model.actionsEnd = trouble === 'move-fails' ? 'errored' : 'completed';
      troubles.begin(trouble, times);
    },
    get troubled() {
      return troubles.met;
    },
    writes: (node) => api.exchanges.filter((each) => isWrite(each) && (node === undefined || each.from === ipOf(node))).length,
    get acceptedCount() {
      return model.acceptedCount;
    },
    close: async () => {
      model.stopActions();
      await Promise.all([api.close(), metadata.close()]);
    },
  };
}

function problem(status: number, id: string, message: string): Fault {
  return { is: 'answer', status, body: { id, message } };
}
