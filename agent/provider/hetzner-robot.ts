/**
 * Failover IPs and subnets of Hetzner's dedicated servers, moved by the webservice of Robot.
 *
 * Guarantees: looks before it writes, writes only while it may, and believes nothing but the owner read back. One switch of a failover
 * is under way at a time, however many of its addresses are wanted. It asks seldom: Robot grants a hundred reads an hour to all agents
 * together. A switch takes Robot 40 to 60 s, during which it does not answer; nothing here waits for it but the claim itself.
 */
import { asError } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { ClaimOutcome, Owner } from '../contender/input.ts';
import { fail, ok, warn } from '../finding.ts';
import type { Finding } from '../finding.ts';
import type { ClaimTerms, Provider, ProviderReadiness } from '../ports.ts';
import { claimWithRetries } from './claim.ts';
import { ProviderError } from './error.ts';
import { notReadyBecause } from './preparation.ts';
import type { ProviderProfile } from './profile.ts';
import { Remembered } from './remembered.ts';
import { OUTAGE_PAUSE_MS, refusedForMs, SWITCH_PAUSE_MS } from './robot-api.ts';
import type { RobotApi } from './robot-api.ts';
import { covers, failoverText, isSameAddress, parseFailover } from './robot-failover.ts';
import type { Failover } from './robot-failover.ts';
import { serverName } from './robot-server.ts';
import type { OwnServer, RobotServerFinder } from './robot-server.ts';
import { Turns } from './turns.ts';

const HOUR_MS = 3_600_000;

/**
 * What it costs, of the hundred reads an hour of `GET /failover/{ip}`, with these figures: a settled holder 12; a failover 2 by the claim
 * and 3 by the verifications after 60, 150 and 450 s; where the previous holder still lives 8 more by it, while it lingers for the
 * minute that the switch takes. So an hour holds the verifications and six planned moves of one address.
 */
export const HETZNER_ROBOT: ProviderProfile = {
  kind: 'routed',
  claimTimeoutMs: 180_000,
  verifyIntervalMs: 300_000,
  ownerReadPace: 30,
  refusalPauseMs: refusedForMs,
  operations: {
    'GET /failover': { success: '200' },
    'GET /failover/{ip}': { success: '200' },
    'POST /failover/{ip}': { success: '200', isMove: true },
    'GET /server': { success: '200' },
  },
  limits: [
    { name: 'GET /failover/{ip}', operations: ['GET /failover/{ip}'], max: 100, withinMs: HOUR_MS, reserve: 40 },
    { name: 'GET /failover', operations: ['GET /failover'], max: 100, withinMs: HOUR_MS, reserve: 40 },
    { name: 'POST /failover/{ip}', operations: ['POST /failover/{ip}'], max: 50, withinMs: HOUR_MS, reserve: 25 },
    { name: 'GET /server', operations: ['GET /server'], max: 200, withinMs: HOUR_MS, reserve: 20 },
  ],
};

/** Which failovers there are is asked for so seldom, because every agent asks. */
const LIST_FOR_MS = HOUR_MS;
/** As long as one is missing, or when a person wants to know, sooner. */
const LIST_FOR_MISSING_MS = 300_000;
const LIST_FOR_CHECK_MS = 60_000;
const NONE = ['NOT_FOUND'];

export class HetznerRobot implements Provider {
  readonly kind = 'routed';
  readonly #api: RobotApi;
  readonly #server: RobotServerFinder;
  readonly #addresses: readonly string[];
  readonly #clock: Clock;
  readonly #failovers: Remembered<readonly Failover[]>;
  /** Claims of each failover: two addresses of one subnet are one failover. */
  readonly #claims = new Turns<string>();
  /** Reads under way that nothing is decided by but where an address is routed. */
  readonly #reads = new Map<string, Promise<Failover>>();

  constructor(api: RobotApi, server: RobotServerFinder, addresses: readonly string[], clock: Clock) {
    this.#api = api;
    this.#server = server;
    this.#addresses = addresses;
    this.#clock = clock;
    this.#failovers = new Remembered(clock, (signal) => this.#list(signal));
  }

  async prepare(signal: AbortSignal): Promise<ProviderReadiness> {
    try {
      // What is known would otherwise hide for an hour that a verification was turned away.
      this.#api.assertNotRefused('GET /failover');
      const failovers = await this.#knownFailovers(signal);
      const missing = this.#addresses.filter((address) => failoverOf(address, failovers) === null);
      if (missing.length > 0) {
        const reason = `${missing.join(', ')}: no failover IP that ROBOT_USER may see; ${listOf(failovers)}`;
        return { is: 'not-ready', isPassing: false, reason };
      }
      const own = await this.#server.find(this.#isFailover, signal);
      for (const address of this.#addresses) targetFor(failoverOf(address, failovers), own);
      return { is: 'ready', reason: `this is ${serverName(own)}, ${own.source}` };
    } catch (thrown) {
      return notReadyBecause(thrown, signal);
    }
  }

  async check(signal: AbortSignal): Promise<readonly Finding[]> {
    const login = await this.#checkLogin(signal);
    const server = await this.#checkServer(signal);
    const addresses = this.#addresses.map((address) => this.#checkAddress(address, login.failovers, server.own));
    return [server.finding, login.finding, ...addresses];
  }

  async #checkLogin(signal: AbortSignal): Promise<{ readonly failovers: readonly Failover[] | null; readonly finding: Finding }> {
    try {
      const failovers = await this.#failovers.get(LIST_FOR_CHECK_MS, signal);
      return { failovers, finding: ok('login', `Robot accepts ROBOT_USER and ROBOT_PASSWORD; ${listOf(failovers)}`) };
    } catch (error) {
      const advice =
        'put the web-service user of Robot and its password into ROBOT_USER and ROBOT_PASSWORD, and see that Robot can be reached by IPv4';
      return { failovers: null, finding: fail('login', asError(error).message, advice) };
    }
  }

  async #checkServer(signal: AbortSignal): Promise<{ readonly own: OwnServer | null; readonly finding: Finding }> {
    try {
      const own = await this.#server.find(this.#isFailover, signal);
      return { own, finding: ok('server', `this is ${serverName(own)}, ${own.source}`) };
    } catch (error) {
      return { own: null, finding: fail('server', asError(error).message, 'set ROBOT_SERVER_IP to the main IPv4 address of this server') };
    }
  }

  /** What Robot says of one address. `failovers` is null where it cannot be asked. */
  #checkAddress(address: string, failovers: readonly Failover[] | null, own: OwnServer | null): Finding {
    const name = `address ${address}`;
    if (failovers === null) return warn(name, 'whether it is a failover IP could not be found out', 'see what is said of the login');
    const failover = failoverOf(address, failovers);
    if (failover === null) {
      const advice = `order it, or correct ADDRESSES or ROBOT_USER: ${listOf(failovers)}`;
      return fail(name, 'it is no failover IP that ROBOT_USER may see', advice);
    }
    const { activeServerIp, ownerNumber } = failover;
    const isHere = own !== null && (isSameAddress(activeServerIp, own.ip) || isSameAddress(activeServerIp, own.ipv6Net));
    const where = activeServerIp === null ? 'no server' : this.#server.nameOf(activeServerIp);
    const what =
      `failover ${failoverText(failover)}${ownerNumber === null ? '' : ` of server ${ownerNumber}`}, routed to ${where}` +
      `${isHere ? ', which is this one' : ''}; whoever holds the Lease binds it`;
    try {
      if (own !== null) targetFor(failover, own);
      return ok(name, what);
    } catch (error) {
      return fail(
        name,
        asError(error).message,
        'see that this server has a main address of that family, and that Robot may be asked for it',
      );
    }
  }

  async owner(address: string, signal: AbortSignal): Promise<Owner> {
    try {
      const failover = await this.#failoverOf(address, signal);
      const own = await this.#server.known(this.#isFailover, signal);
      const { activeServerIp } = await this.#readOnce(failover.ip, signal);
      if (activeServerIp === null) return { is: 'nobody' };
      const isHere = isSameAddress(activeServerIp, targetFor(failover, own));
      return isHere ? { is: 'self' } : { is: 'other', name: this.#server.nameOf(activeServerIp) };
    } catch (thrown) {
      return { is: 'unknown', message: asError(thrown).message };
    }
  }

  async claim(address: string, terms: ClaimTerms): Promise<ClaimOutcome> {
    return await claimWithRetries(this.#clock, terms, async () => {
      const failover = await this.#failoverOf(address, terms.signal);
      const target = targetFor(failover, await this.#server.known(this.#isFailover, terms.signal));
      await this.#claims.take(failover.ip, terms.signal, () => this.#claimOnce(failover.ip, target, terms));
    });
  }

  /**
   * A switch that a holder before us has begun shows only by turning ours away, which is worth no write where the address is here
   * already: should it move away after all, the next verification comes when such a switch has ended.
   */
  async #claimOnce(ip: string, target: string, terms: ClaimTerms): Promise<void> {
    const before = await this.#readForClaim(ip, terms.signal);
    if (isSameAddress(before.activeServerIp, target)) return;
    await this.#api.route(ip, target, terms);
    const { activeServerIp } = await this.#readForClaim(ip, terms.signal);
    if (isSameAddress(activeServerIp, target)) return;
    const where = activeServerIp === null ? 'no server' : this.#server.nameOf(activeServerIp);
    throw new ProviderError('busy', `${ip} was switched to this server (${target}), yet Robot still shows ${where}`, {
      retryAfterMs: SWITCH_PAUSE_MS,
    });
  }

  /** Reads one failover; where the budget for that is used up, by the list of all, which has a budget of its own. */
  async #readForClaim(ip: string, signal: AbortSignal): Promise<Failover> {
    try {
      return await this.#read(ip, signal);
    } catch (error) {
      if (!(error instanceof ProviderError) || error.code !== 'rate-limited') throw error;
      const found = (await this.#list(signal)).find((each) => each.ip === ip);
      if (found === undefined) throw new ProviderError('not-found', `GET /failover: ${ip} is not among what Robot lists`);
      return found;
    }
  }

  /** Reads one failover. Whoever asks while that is under way is told the same. */
  async #readOnce(ip: string, signal: AbortSignal): Promise<Failover> {
    const underWay = this.#reads.get(ip);
    if (underWay !== undefined) return await underWay;
    const read = this.#read(ip, signal).finally(() => this.#reads.delete(ip));
    this.#reads.set(ip, read);
    return await read;
  }

  async #read(ip: string, signal: AbortSignal): Promise<Failover> {
    const failover = parseFailover(await this.#api.get(`/failover/${ip}`, signal));
    if (failover !== null && isSameAddress(failover.ip, ip)) return failover;
    throw new ProviderError('unavailable', `GET /failover/${ip}: the answer is not that failover`, { retryAfterMs: OUTAGE_PAUSE_MS });
  }

  async #list(signal: AbortSignal): Promise<readonly Failover[]> {
    return (await this.#api.list('/failover', NONE, signal)).flatMap((json) => parseFailover(json) ?? []);
  }

  /** The failovers as they were listed last, and sooner anew while one is missing. */
  async #knownFailovers(signal: AbortSignal): Promise<readonly Failover[]> {
    const listed = await this.#failovers.get(LIST_FOR_MS, signal);
    const isComplete = this.#addresses.every((address) => failoverOf(address, listed) !== null);
    return isComplete ? listed : await this.#failovers.get(LIST_FOR_MISSING_MS, signal);
  }

  async #failoverOf(address: string, signal: AbortSignal): Promise<Failover> {
    const known = failoverOf(address, this.#failovers.last ?? []) ?? failoverOf(address, await this.#knownFailovers(signal));
    if (known === null) throw new ProviderError('not-found', `${address} is no failover IP that ROBOT_USER may see`);
    return known;
  }

  readonly #isFailover = (address: string): boolean =>
    this.#addresses.some((each) => isSameAddress(each, address)) || failoverOf(address, this.#failovers.last ?? []) !== null;
}

function failoverOf(address: string, failovers: readonly Failover[]): Failover | null {
  return failovers.find((each) => covers(each, address)) ?? null;
}

/** What a failover is routed to so that it is routed here. Throws ProviderError where this server has no such address. */
function targetFor(failover: Failover | null, own: OwnServer): string {
  const isIpv6 = failover?.family === 6;
  const target = isIpv6 ? own.ipv6Net : own.ip;
  if (target !== null) return target;
  const [what, setting] = isIpv6 ? ['IPv6 net', 'ROBOT_SERVER_IPV6_NET'] : ['IPv4 address', 'ROBOT_SERVER_IP'];
  const message = `the main ${what} of ${serverName(own)}, which ${failover?.ip ?? 'it'} would be routed to, is not known: set ${setting}`;
  throw new ProviderError('invalid', message);
}

function listOf(failovers: readonly Failover[]): string {
  return failovers.length === 0 ? 'there are none' : `there are ${failovers.map(failoverText).join(', ')}`;
}
