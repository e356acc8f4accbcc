/**
 * Failover IPs of netcup, as a stand-in like those of all providers.
 */
import type { Exchange, Fault } from '../http-stand-in.ts';
import { isAboutTokens, NetcupStandIn } from '../netcup-api.ts';
import { REFRESH_TOKEN } from '../netcup-identity.ts';
import type { ProviderStandIn, StandInOptions } from './stand-in.ts';
import { Troubles } from './trouble.ts';
import type { Faults } from './trouble.ts';

const FIRST_SERVER = 111_003;
const FIRST_FAILOVER_IP = 7_781;

const isWrite = ({ method }: Exchange): boolean => method === 'PATCH';

/** What it answers in each trouble. */
const FAULTS: Faults = {
  busy: problem(409, 'conflict', 'another task runs'),
  'rate-limited': problem(429, 'too.many.requests', 'too many requests'),
  unavailable: problem(503, 'maintenance', 'node is in maintenance mode'),
  silent: { is: 'hang', when: 'before' },
  unauthorized: (exchange) =>
    isAboutTokens(exchange)
      ? { is: 'answer', status: 400, body: { error: 'invalid_grant', error_description: 'Offline user session not found' } }
      : { is: 'answer', status: 401, body: { message: 'The token is not valid.' } },
  'answer-lost': { is: 'cut', when: 'after' },
};

/** Starts one. */
export async function openNetcup(options: StandInOptions): Promise<ProviderStandIn> {
  const servers = options.nodes.map(({ ip, mac }, index) => ({
    id: FIRST_SERVER + index,
    name: `v22026010000000000${index + 10}`,
    ip,
    mac,
  }));
  const serverOf = (node: string): (typeof servers)[number] | undefined => servers[options.nodes.findIndex(({ name }) => name === node)];
  const nodeOf = (server: number | null): string | null => (server === null ? null : (options.nodes[server - FIRST_SERVER]?.name ?? null));
  // An IPv6 address lies in a network that is routed as a whole.
  const ipOf = (address: string): string => (address.includes(':') ? `${address.split(':').slice(0, 4).join(':')}::/64` : address);
  const netcup = await NetcupStandIn.start(
    {
      failoverIps: options.addresses.map((address, index) => ({ id: FIRST_FAILOVER_IP + index, ip: ipOf(address) })),
      servers,
      moveMs: options.moveMs,
      onOwner: (ip, server) => options.onOwner?.(options.addresses.find((address) => ipOf(address) === ip) ?? ip, nodeOf(server)),
      onAccepted: ({ from }) => options.onAccepted?.(from),
    },
    options.host,
  );
  const troubles = new Troubles(netcup.http, FAULTS, isWrite);
  const addressOf = (node: string): string | undefined => options.nodes.find(({ name }) => name === node)?.ip;
  return {
    name: 'netcup',
    http: netcup.http,
    get moveMs() {
      return netcup.moveMs;
    },
    set moveMs(ms) {
      netcup.moveMs = ms;
    },
    env: (node) => ({
      PROVIDER: 'netcup',
      NETCUP_REFRESH_TOKEN: REFRESH_TOKEN,
      NETCUP_ENDPOINT: netcup.endpoint,
      NETCUP_AUTH_ENDPOINT: netcup.authEndpoint,
      NETCUP_SERVER_NAME: serverOf(node)?.name ?? '',
    }),
    ownerOf: (address) => nodeOf(netcup.ownerOf(address)),
    move: (address, node) => netcup.move(address, node === null ? null : (serverOf(node)?.id ?? null)),
    trouble: (trouble, times) => {
      netcup.tasksEnd = trouble === 'move-fails' ? 'ERROR' : 'FINISHED';
      troubles.begin(trouble, times);
    },
    get troubled() {
      return troubles.met;
    },
    writes: (node) => netcup.writes().filter(({ from }) => node === undefined || from === addressOf(node)).length,
    get acceptedCount() {
      return netcup.accepted.length;
    },
    close: () => netcup.close(),
  };
}

function problem(status: number, code: string, message: string): Fault {
  return { is: 'answer', status, body: { code, message } };
}
