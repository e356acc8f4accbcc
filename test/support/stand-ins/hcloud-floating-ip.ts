/**
 * Floating IPs of Hetzner Cloud, as a stand-in like those of all providers.
 */
import { HcloudStandIn } from '../hcloud-api.ts';
import type { Exchange, Fault } from '../http-stand-in.ts';
import type { ProviderStandIn, StandInOptions } from './stand-in.ts';
import { Troubles } from './trouble.ts';
import type { Faults } from './trouble.ts';

const FIRST_SERVER = 9_100_201;
const FIRST_FLOATING_IP = 310_077;
const TOKEN = 'hcloud-token';

const isWrite = ({ method }: Exchange): boolean => method !== 'GET';

/** What it answers in each trouble. */
const FAULTS: Faults = {
  busy: problem(423, 'locked', 'the floating IP is locked by another action'),
  'rate-limited': problem(429, 'rate_limit_exceeded', 'limit of 3600 requests per hour reached'),
  unavailable: problem(503, 'unavailable', 'back soon'),
  silent: { is: 'hang', when: 'before' },
  unauthorized: problem(401, 'unauthorized', 'unable to authenticate'),
  'answer-lost': { is: 'cut', when: 'after' },
};

/** Starts one. */
export async function openHcloudFloatingIps(options: StandInOptions): Promise<ProviderStandIn> {
  const servers = new Map(options.nodes.map(({ name }, index) => [name, FIRST_SERVER + index]));
  const nodeOf = (server: number | null): string | null => [...servers].find(([, each]) => each === server)?.[0] ?? null;
  const hcloud = await HcloudStandIn.start(
    {
      floatingIps: options.addresses.map((ip, index) => ({ id: FIRST_FLOATING_IP + index, ip })),
      servers: [...servers.values()],
      actionMs: options.moveMs,
      onOwner: (ip, server) => options.onOwner?.(ip, nodeOf(server)),
      onAccepted: ({ from }) => options.onAccepted?.(from),
    },
    options.host,
  );
  hcloud.refill();
  for (const { name, ip } of options.nodes) hcloud.serverBySource.set(ip, servers.get(name) ?? 0);
  const troubles = new Troubles(hcloud.http, FAULTS, isWrite);
  const ipOf = (node: string): string | undefined => options.nodes.find(({ name }) => name === node)?.ip;
  return {
    name: 'hcloud-floating-ip',
    http: hcloud.http,
    get moveMs() {
      return hcloud.actionMs;
    },
    set moveMs(ms) {
      hcloud.actionMs = ms;
    },
    env: (node) => ({
      PROVIDER: 'hcloud-floating-ip',
      HCLOUD_TOKEN: TOKEN,
      HCLOUD_ENDPOINT: hcloud.endpoint,
      HCLOUD_METADATA_ENDPOINT: hcloud.metadataEndpoint,
      HCLOUD_SERVER_ID: String(servers.get(node)),
    }),
    ownerOf: (address) => nodeOf(hcloud.ownerOf(address)),
    move: (address, node) => hcloud.move(address, node === null ? null : (servers.get(node) ?? null)),
    trouble: (trouble, times) => {
      hcloud.actionsEnd = trouble === 'move-fails' ? 'error' : 'success';
      troubles.begin(trouble, times);
    },
    get troubled() {
      return troubles.met;
    },
    writes: (node) => hcloud.writes().filter(({ from }) => node === undefined || from === ipOf(node)).length,
    get acceptedCount() {
      return hcloud.accepted.length;
    },
    close: () => hcloud.close(),
  };
}

function problem(status: number, code: string, message: string): Fault {
  return { is: 'answer', status, body: { error: { code, message } } };
}
