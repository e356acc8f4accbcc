/**
 * Failover IPs of dedicated servers at Hetzner, as a stand-in like those of all providers.
 */
import type { Exchange, Fault } from '../http-stand-in.ts';
import { PASSWORD, RobotStandIn, USER } from '../robot-api.ts';
import type { ProviderStandIn, StandInOptions } from './stand-in.ts';
import { Troubles } from './trouble.ts';
import type { Faults } from './trouble.ts';

const FIRST_SERVER = 4_410_031;

const isWrite = ({ method }: Exchange): boolean => method !== 'GET';

/** What it answers in each trouble. Robot names an hour as the span of its limits; nobody would wait for that here. */
const FAULTS: Faults = {
  busy: problem(409, 'FAILOVER_LOCKED', 'another switch is in progress'),
  'rate-limited': problem(403, 'RATE_LIMIT_EXCEEDED', 'rate limit exceeded', { max_request: 100, interval: 1 }),
  unavailable: problem(503, 'MAINTENANCE', 'back soon'),
  silent: { is: 'hang', when: 'before' },
  unauthorized: problem(401, 'UNAUTHORIZED', 'Unauthorized'),
  'answer-lost': { is: 'cut', when: 'after' },
};

/** Starts one. */
export async function openHetznerRobot(options: StandInOptions): Promise<ProviderStandIn> {
  const servers = options.nodes.map(({ name, ip }, index) => ({
    number: FIRST_SERVER + index,
    name,
    ip,
    ipv6Net: `2001:db8:${index + 31}::`,
  }));
  const nodeOf = (active: string | null): string | null =>
    servers.find(({ ip, ipv6Net }) => active === ip || active === ipv6Net)?.name ?? null;
  const targetFor = (address: string, node: string | null): string | null => {
    const server = servers.find(({ name }) => name === node);
    return (address.includes(':') ? server?.ipv6Net : server?.ip) ?? null;
  };
  const robot = await RobotStandIn.start(
    {
      failovers: options.addresses.map((ip) => ({ ip })),
      servers,
      switchMs: options.moveMs,
      onOwner: (ip, active) => options.onOwner?.(ip, nodeOf(active)),
      ...(options.onAccepted === undefined ? {} : { onAccepted: options.onAccepted }),
    },
    options.host,
  );
  const troubles = new Troubles(robot.http, FAULTS, isWrite);
  const ipOf = (node: string): string => options.nodes.find(({ name }) => name === node)?.ip ?? '';
  return {
    name: 'hetzner-robot',
    http: robot.http,
    get moveMs() {
      return robot.switchMs;
    },
    set moveMs(ms) {
      robot.switchMs = ms;
    },
    env: (node) => ({
      PROVIDER: 'hetzner-robot',
      ROBOT_USER: USER,
      ROBOT_PASSWORD: PASSWORD,
      ROBOT_ENDPOINT: robot.endpoint,
      ROBOT_SERVER_IP: ipOf(node),
    }),
    ownerOf: (address) => nodeOf(robot.activeOf(address)),
    move: (address, node) => robot.move(address, targetFor(address, node)),
    trouble: (trouble, times) => {
      robot.switchesEnd = trouble === 'move-fails' ? 'FAILOVER_FAILED' : 'success';
      troubles.begin(trouble, times);
    },
    get troubled() {
      return troubles.met;
    },
    writes: (node) => robot.writes().filter(({ from }) => node === undefined || from === ipOf(node)).length,
    get acceptedCount() {
      return robot.acceptedCount;
    },
    close: () => robot.close(),
  };
}

function problem(status: number, code: string, message: string, more: object = {}): Fault {
  return { is: 'answer', status, body: { error: { status, code, message, ...more } } };
}
