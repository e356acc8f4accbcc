/**
 * The part of the webservice of Hetzner Robot that Leasehold uses, as a model.
 *
 * Guarantees: no socket, and no time but that of the clock it is given, so that a stand-in serves it over HTTP and a simulation in
 * virtual time.
 * Awkward parts included: a switch is answered when it has ended, however long that takes and whether or not anybody still listens;
 * one switch at a time for a failover; an address that is routed to nobody; subnets, and IPv6 nets, which move as a whole; a body
 * that is no form holds nothing; the third wrong login in a row blocks the address it came from; hourly limits for each kind of
 * request; no failovers at all is an error.
 * Where the facts are open: how a blocked address is answered (here as a wrong login), and that limits count over any hour.
 */
import { parseAddress } from '../../agent/address.ts';
import type { Clock, Timer } from '../../agent/clock.ts';
import type { Answer } from './http-stand-in.ts';

/** One request, however it came. Names of headers are in lower case. */
export interface RobotRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: { readonly [name: string]: string | readonly string[] | undefined };
  readonly body: string;
  /** The address that the request came from. */
  readonly from: string;
}

export interface RobotServerSpec {
  readonly number: number;
  readonly name?: string;
  readonly ip: string | null;
  readonly ipv6Net?: string;
}

/** A failover as a test describes it. */
export interface FailoverSpec {
  /** An address, or the first one of a subnet. */
  readonly ip: string;
  /** That of a single address, or of an IPv6 /64, where it is left away. */
  readonly netmask?: string;
  /** What it is routed to. */
  readonly active?: string | null;
}

export interface RobotOptions {
  readonly failovers: readonly FailoverSpec[];
  /** The first of them owns the failovers. */
  readonly servers: readonly RobotServerSpec[];
  /** How long a switch takes. */
  readonly switchMs?: number;
  /** Called when traffic moves. `begunAtMs`: when the switch that moves it began; null where a person moves it. */
  readonly onOwner?: (ip: string, active: string | null, begunAtMs: number | null) => void;
  /** Called when a switch is accepted, with the address that it was asked from. */
  readonly onAccepted?: (from: string) => void;
}

/** How many of each kind are granted in an hour. */
export const LIMITS = { 'GET /failover': 100, 'GET /failover/{ip}': 100, 'POST /failover/{ip}': 50, 'GET /server': 200 } as const;

export type RobotOperation = keyof typeof LIMITS;

interface Failover {
  readonly ip: string;
  readonly netmask: string;
  active: string | null;
  isLocked: boolean;
}

const HOUR_MS = 3_600_000;
const STRIKES = 3;
const BLOCK_MS = 600_000;

export class RobotModel {
  /** Passwords by the name of their user. */
  readonly logins = new Map([['#ws+leasehold', 'robot-password']]);
  switchMs: number;
  /** How the next switches end. */
  switchesEnd: 'success' | 'FAILOVER_FAILED' | 'FAILOVER_NOT_COMPLETE' = 'success';
  /** Switches that were accepted. */
  acceptedCount = 0;
  readonly #options: RobotOptions;
  readonly #clock: Clock;
  readonly #failovers: Failover[];
  readonly #asked = new Map<RobotOperation, number[]>();
  readonly #strikes = new Map<string, { count: number; blockedUntilMs: number }>();
  readonly #switches = new Map<Timer, () => void>();

  constructor(options: RobotOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.switchMs = options.switchMs ?? 0;
    this.#failovers = options.failovers.map(({ ip, netmask, active }) => ({
      ip,
      netmask: netmask ?? (ip.includes(':') ? 'ffff:ffff:ffff:ffff::' : '255.255.255.255'),
      active: active ?? null,
      isLocked: false,
    }));
  }

  activeOf(ip: string): string | null {
    return this.#find(ip)?.active ?? null;
  }

  /** Moves a failover at once, as a person would by hand. */
  move(ip: string, active: string | null): void {
    const failover = this.#find(ip);
    if (failover === undefined) throw new Error(`there is no failover ${ip}`);
    this.#setActive(failover, active, null);
  }

  /** Begins a switch that nobody of ours asked for, such as a late one of a holder that is gone. */
  beginSwitch(ip: string, active: string): void {
    const failover = this.#find(ip);
    if (failover?.isLocked === false) void this.#switch(failover, active);
  }

  /** Whether an address is blocked because of wrong logins. */
  isBlocked(from: string): boolean {
    return (this.#strikes.get(from)?.blockedUntilMs ?? 0) > this.#clock.nowMs();
  }

  /** How many requests of a kind have counted in the last hour. */
  countOf(operation: RobotOperation): number {
    return (this.#asked.get(operation) ?? []).filter((atMs) => atMs > this.#clock.nowMs() - HOUR_MS).length;
  }

  /** Uses up what is left of a limit. */
  exhaust(operation: RobotOperation): void {
    this.#asked.set(operation, Array<number>(LIMITS[operation]).fill(this.#clock.nowMs()));
  }

  /** Forgets how many requests have come. */
  grantAnew(): void {
    this.#asked.clear();
  }

  /** Calls off every switch that is under way. */
  stopSwitches(): void {
    for (const [timer, end] of this.#switches) {
      timer.cancel();
      end();
    }
    this.#switches.clear();
  }

  /** Answers one request, a switch when it has ended. */
  handle(request: RobotRequest): Answer | Promise<Answer> {
    if (!this.#isAccepted(request)) return failure(401, 'UNAUTHORIZED', 'Unauthorized');
    const [kind, name, ...rest] = request.path.replace(/\?.*$/s, '').split('/').slice(1);
    const operation = `${request.method} /${kind ?? ''}${name === undefined ? '' : '/{ip}'}`;
    if (!isOperation(operation) || rest.length > 0) return failure(404, 'NOT_FOUND', 'Not Found');
    if (this.countOf(operation) >= LIMITS[operation]) {
      return failure(403, 'RATE_LIMIT_EXCEEDED', 'rate limit exceeded', { max_request: LIMITS[operation], interval: HOUR_MS / 1_000 });
    }
    this.#asked.set(operation, [...(this.#asked.get(operation) ?? []), this.#clock.nowMs()]);
    return operation === 'GET /server' ? this.#listServers() : this.#answer(operation, decodeURIComponent(name ?? ''), request);
  }

  #answer(operation: RobotOperation, ip: string, request: RobotRequest): Answer | Promise<Answer> {
    if (operation === 'GET /failover') {
      if (this.#failovers.length === 0) return failure(404, 'NOT_FOUND', 'No failover IP addresses found');
      return { status: 200, body: this.#failovers.map((each) => this.#toJson(each)) };
    }
    const failover = this.#find(ip);
    if (failover === undefined) return failure(404, 'NOT_FOUND', `The failover ip ${ip} does not exist`);
    return operation === 'GET /failover/{ip}' ? { status: 200, body: this.#toJson(failover) } : this.#write(failover, request);
  }

  #write(failover: Failover, { headers, body, from }: RobotRequest): Answer | Promise<Answer> {
    const isForm = String(headers['content-type'] ?? '').startsWith('application/x-www-form-urlencoded');
    const wanted = isForm ? new URLSearchParams(body).get('active_server_ip') : null;
    if (wanted === null) return invalidInput({ missing: ['active_server_ip'], invalid: null });
    const target = parseAddress(wanted);
    if (target === null) return invalidInput({ missing: null, invalid: ['active_server_ip'] });
    if (failover.isLocked) return failure(409, 'FAILOVER_LOCKED', 'Switching is blocked by another switch of this failover ip');
    if (isSame(failover.active, wanted)) return failure(409, 'FAILOVER_ALREADY_ROUTED', `The failover ip is routed to ${wanted} already`);
    const mains = this.#options.servers.flatMap(({ ip, ipv6Net }) => (failover.ip.includes(':') ? (ipv6Net ?? []) : (ip ?? [])));
    const main = mains.find((each) => isSame(each, wanted));
    if (main === undefined) return failure(404, 'FAILOVER_NEW_SERVER_NOT_FOUND', `There is no server with the main ip ${wanted}`);
    this.acceptedCount += 1;
    this.#options.onAccepted?.(from);
    return this.#switch(failover, main);
  }

  async #switch(failover: Failover, active: string): Promise<Answer> {
    failover.isLocked = true;
    const begunAtMs = this.#clock.nowMs();
    const end = this.switchesEnd;
    await new Promise<void>((resolve) => {
      const timer = this.#clock.setTimer(this.switchMs, () => {
        this.#switches.delete(timer);
        resolve();
      });
      this.#switches.set(timer, resolve);
    });
    failover.isLocked = false;
    if (end !== 'success') return failure(500, end, 'The switch of the failover ip has not been completed');
    this.#setActive(failover, active, begunAtMs);
    return { status: 200, body: this.#toJson(failover) };
  }

  /** A right login makes up for wrong ones before it. */
  #isAccepted({ headers, from }: RobotRequest): boolean {
    if (this.isBlocked(from)) return false;
    const [, encoded = ''] = /^Basic (.+)$/.exec(String(headers['authorization'] ?? '')) ?? [];
    const [, user = '', password = ''] = /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, 'base64').toString()) ?? [];
    if (password !== '' && this.logins.get(user) === password) {
      this.#strikes.delete(from);
      return true;
    }
    const count = (this.#strikes.get(from)?.count ?? 0) + 1;
    const isOut = count >= STRIKES;
    this.#strikes.set(from, { count: isOut ? 0 : count, blockedUntilMs: isOut ? this.#clock.nowMs() + BLOCK_MS : 0 });
    return false;
  }

  #find(ip: string): Failover | undefined {
    return this.#failovers.find((each) => isSame(each.ip, ip));
  }

  #setActive(failover: Failover, active: string | null, begunAtMs: number | null): void {
    if (failover.active === active) return;
    failover.active = active;
    this.#options.onOwner?.(failover.ip, active, begunAtMs);
  }

  #toJson({ ip, netmask, active }: Failover): object {
    const [owner] = this.#options.servers;
    return {
      failover: {
        ip,
        netmask,
        server_ip: owner?.ip ?? null,
        server_ipv6_net: owner?.ipv6Net ?? null,
        server_number: owner?.number ?? 0,
        active_server_ip: active,
      },
    };
  }

  #listServers(): Answer {
    if (this.#options.servers.length === 0) return failure(404, 'SERVER_NOT_FOUND', 'No server found');
    const body = this.#options.servers.map(({ number, name, ip, ipv6Net }) => ({
      server: {
        server_ip: ip,
        server_ipv6_net: ipv6Net ?? null,
        server_number: number,
        server_name: name ?? '',
        product: 'AX41',
        dc: 'FSN1-DC1',
        traffic: 'unlimited',
        status: 'ready',
        cancelled: false,
        paid_until: '2026-12-01',
        ip: ip === null ? [] : [ip],
        subnet: ipv6Net === undefined ? [] : [{ ip: ipv6Net, mask: '64' }],
      },
    }));
    return { status: 200, body };
  }
}

function isOperation(text: string): text is RobotOperation {
  return Object.hasOwn(LIMITS, text);
}

function isSame(one: string | null, other: string | null): boolean {
  return one !== null && other !== null && parseAddress(one)?.text === parseAddress(other)?.text;
}

function invalidInput(fields: { readonly missing: readonly string[] | null; readonly invalid: readonly string[] | null }): Answer {
  return failure(400, 'INVALID_INPUT', 'invalid input', fields);
}

function failure(status: number, code: string, message: string, more: object = {}): Answer {
  return { status, body: { error: { status, code, message, ...more } } };
}
