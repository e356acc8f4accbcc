/**
 * Failover IPs of Hetzner's dedicated servers in the simulation.
 *
 * It knows no credentials that may only read. Credentials that are revoked come back as a new password, in the agents' file and
 * at Robot, because an agent sends nothing any more with what has been refused.
 */
import type { Clock } from '../../../agent/clock.ts';
import type { Answer } from '../../support/http-stand-in.ts';
import { RobotModel } from '../../support/robot-model.ts';
import type { RobotOperation } from '../../support/robot-model.ts';
import type { SimProvider, SimProviderOptions, SimRequest } from './provider.ts';

const USER = '#ws+leasehold';
const PASSWORD_FILE = '/robot/password';
const FIRST_SERVER = 9_100_200;
const OPERATIONS: readonly RobotOperation[] = ['GET /failover', 'GET /failover/{ip}', 'POST /failover/{ip}', 'GET /server'];

interface FailoverBody {
  readonly failover: { active_server_ip: string | null };
}

/** The settings that make the agent of a server use it. */
export function robotEnv(server: number): Readonly<Record<string, string>> {
  return { ROBOT_USER: USER, ROBOT_PASSWORD_FILE: PASSWORD_FILE, ROBOT_SERVER_IP: mainIpOf(server) };
}

export class SimRobot implements SimProvider {
  readonly #model: RobotModel;
  readonly #servers: readonly number[];
  #passwords = 0;
  #isRevoked = false;
  #isLimited = false;

  constructor({ addresses, servers, moveMs, onOwner }: SimProviderOptions, clock: Clock) {
    this.#servers = servers;
    this.#model = new RobotModel(
      {
        failovers: addresses.map((ip) => ({ ip: failoverOf(ip) })),
        servers: servers.map((number) => ({ number, ip: mainIpOf(number), ipv6Net: mainNetOf(number) })),
        switchMs: moveMs,
        onOwner: (ip, active, begunAtMs) =>
          onOwner(addresses.find((address) => failoverOf(address) === ip) ?? ip, this.#serverOf(active), begunAtMs),
      },
      clock,
    );
    this.#model.logins.set(USER, this.#password);
  }

  handle(request: SimRequest): Answer | Promise<Answer> {
    return this.#model.handle(request);
  }

  isWrite({ method }: Pick<SimRequest, 'method'>): boolean {
    return method !== 'GET';
  }

  readFile(path: string): string {
    return path === PASSWORD_FILE ? this.#password : '';
  }

  ownerOf(address: string): number | null {
    return this.#serverOf(this.#model.activeOf(failoverOf(address)));
  }

  move(address: string, server: number | null): void {
    this.#model.move(failoverOf(address), targetOf(address, server));
  }

  beginMove(address: string, server: number, lastsMs: number): void {
    const { switchMs } = this.#model;
    this.#model.switchMs = lastsMs;
    this.#model.beginSwitch(failoverOf(address), targetOf(address, server) ?? '');
    this.#model.switchMs = switchMs;
  }

  get moveMs(): number {
    return this.#model.switchMs;
  }

  set moveMs(ms) {
    this.#model.switchMs = ms;
  }

  get movesFail(): boolean {
    return this.#model.switchesEnd !== 'success';
  }

  set movesFail(fail) {
    this.#model.switchesEnd = fail ? 'FAILOVER_FAILED' : 'success';
  }

  get isLimited(): boolean {
    return this.#isLimited;
  }

  set isLimited(isLimited) {
    this.#isLimited = isLimited;
    if (!isLimited) this.#model.grantAnew();
    else for (const operation of OPERATIONS) this.#model.exhaust(operation);
  }

  get credentials(): SimProvider['credentials'] {
    return this.#isRevoked ? 'revoked' : 'good';
  }

  set credentials(credentials) {
    const isRevoked = credentials !== 'good';
    if (isRevoked === this.#isRevoked) return;
    this.#isRevoked = isRevoked;
    if (isRevoked) {
      this.#model.logins.delete(USER);
      return;
    }
    this.#passwords += 1;
    this.#model.logins.set(USER, this.#password);
  }

  lieIn({ method, path }: SimRequest, answer: Answer, server: number | null): Answer | null {
    if (method !== 'GET' || !path.startsWith('/failover') || answer.status !== 200) return null;
    const body = structuredClone(answer.body) as FailoverBody | FailoverBody[];
    for (const { failover } of Array.isArray(body) ? body : [body])
      failover.active_server_ip = targetOf((failover as unknown as { readonly ip: string }).ip, server);
    return { ...answer, body };
  }

  /** What it grants comes back by the clock. */
  refill(): void {
    return undefined;
  }

  get #password(): string {
    return `robot-password-${this.#passwords}`;
  }

  #serverOf(active: string | null): number | null {
    return this.#servers.find((server) => active === mainIpOf(server) || active === mainNetOf(server)) ?? null;
  }
}

function targetOf(address: string, server: number | null): string | null {
  if (server === null) return null;
  return address.includes(':') ? mainNetOf(server) : mainIpOf(server);
}

function mainIpOf(server: number): string {
  return `198.51.100.${server - FIRST_SERVER + 11}`;
}

function mainNetOf(server: number): string {
  return `2001:db8:${server - FIRST_SERVER + 31}::`;
}

/** A failover as Robot has it: an address, or the first one of an IPv6 net. */
function failoverOf(address: string): string {
  return address.includes(':') ? '2001:db8::' : address;
}
