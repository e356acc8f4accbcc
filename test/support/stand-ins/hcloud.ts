/**
 * What the stand-ins for Hetzner Cloud have in common: how it numbers nodes, what it says in trouble, what an agent is told.
 */
import type { HcloudCore } from '../hcloud-core.ts';
import type { HcloudPorts } from '../hcloud-api.ts';
import type { Exchange, Fault } from '../http-stand-in.ts';
import type { ProviderStandIn, StandInOptions } from './stand-in.ts';
import { Troubles } from './trouble.ts';
import type { Faults } from './trouble.ts';

const FIRST_SERVER = 9_100_201;
const TOKEN = 'hcloud-token';

const isWrite = ({ method }: Exchange): boolean => method !== 'GET';

/** What it answers in each trouble. */
const FAULTS: Faults = {
  busy: problem(423, 'locked', 'the resource is locked by another action'),
  'rate-limited': problem(429, 'rate_limit_exceeded', 'limit of 3600 requests per hour reached'),
  unavailable: problem(503, 'unavailable', 'back soon'),
  silent: { is: 'hang', when: 'before' },
  unauthorized: problem(401, 'unauthorized', 'unable to authenticate'),
  'answer-lost': { is: 'cut', when: 'after' },
};

/** The server of each node. */
export class Servers {
  readonly #ids: ReadonlyMap<string, number>;

  constructor({ nodes }: StandInOptions) {
    this.#ids = new Map(nodes.map(({ name }, index) => [name, FIRST_SERVER + index]));
  }

  idOf(node: string): number {
    return this.#ids.get(node) ?? 0;
  }

  get ids(): number[] {
    return [...this.#ids.values()];
  }

  nodeOf(server: number | null): string | null {
    return [...this.#ids].find(([, each]) => each === server)?.[0] ?? null;
  }
}

/** What is particular to one kind of address. */
interface Parts {
  readonly name: ProviderStandIn['name'];
  readonly model: HcloudCore & { readonly accepted: readonly unknown[] };
  readonly ports: HcloudPorts;
  readonly servers: Servers;
  readonly ownerOf: (address: string) => number | null;
  readonly move: (address: string, server: number | null) => void;
  readonly lost?: () => readonly string[];
}

/** The stand-in that serves a model. */
export function hcloudStandIn({ nodes }: StandInOptions, { name, model, ports, servers, ownerOf, move, lost }: Parts): ProviderStandIn {
  for (const node of nodes) model.serverBySource.set(node.ip, servers.idOf(node.name));
  ports.refill();
  const troubles = new Troubles(ports.http, FAULTS, isWrite);
  const ipOf = (node: string): string | undefined => nodes.find((each) => each.name === node)?.ip;
  return {
    name,
    http: ports.http,
    get moveMs() {
      return model.actionMs;
    },
    set moveMs(ms) {
      model.actionMs = ms;
    },
    env: (node) => ({
      PROVIDER: name,
      HCLOUD_TOKEN: TOKEN,
      HCLOUD_ENDPOINT: ports.endpoint,
      HCLOUD_METADATA_ENDPOINT: ports.metadataEndpoint,
      HCLOUD_SERVER_ID: String(servers.idOf(node)),
    }),
    ownerOf: (address) => servers.nodeOf(ownerOf(address)),
    move: (address, node) => move(address, node === null ? null : servers.idOf(node)),
    trouble: (trouble, times) => {
      model.actionsEnd = trouble === 'move-fails' ? 'error' : 'success';
      troubles.begin(trouble, times);
    },
    get troubled() {
      return troubles.met;
    },
    writes: (node) => ports.writes().filter(({ from }) => node === undefined || from === ipOf(node)).length,
    get acceptedCount() {
      return model.accepted.length;
    },
    ...(lost === undefined ? {} : { lost }),
    close: () => ports.close(),
  };
}

function problem(status: number, code: string, message: string): Fault {
  return { is: 'answer', status, body: { error: { code, message } } };
}
