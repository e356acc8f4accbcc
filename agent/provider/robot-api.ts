/**
 * The webservice of Hetzner Robot: requests, its errors in our words, its login.
 *
 * Guarantees: every documented error has one meaning here. After a login that was not accepted nothing is sent again with the same
 * user and password, whoever asks, because the third one has Robot block this machine's address; reads go one at a time, so that
 * one wrong password is one wrong login. Facts: https://robot.hetzner.com/doc/webservice/en.html (errors, failover, server).
 */
import { at, integerAt, listAt, messageAt, parseJson } from '../json.ts';
import type { ClaimTerms } from '../ports.ts';
import type { Secret } from '../secret.ts';
import { ClaimWithdrawn, ProviderError } from './error.ts';
import type { ProviderErrorCode } from './error.ts';
import type { ProviderAnswer, ProviderHttp } from './http.ts';
import { Turns } from './turns.ts';

const READ_TIMEOUT_MS = 10_000;
/** A switch takes 40 to 60 s, as Robot says, and is answered once it is done. What is left of a claim after that is for looking. */
const WRITE_TIMEOUT_MS = 120_000;
/** How long a switch that is under way, or has not succeeded, is left alone before it is looked at again. */
export const SWITCH_PAUSE_MS = 5_000;
/** How long an API that is out of order is left alone: what it turns away may count, too. */
export const OUTAGE_PAUSE_MS = 10_000;
/** Robot names the span that a limit is for, an hour as a rule, and not how much of it is left. */
const RATE_LIMIT_PAUSE_MAX_MS = 300_000;
/** How many wrong fields are named for people. */
const FIELDS_MAX = 5;

const CODES: Readonly<Record<string, ProviderErrorCode>> = {
  UNAUTHORIZED: 'unauthorized',
  RATE_LIMIT_EXCEEDED: 'rate-limited',
  NOT_FOUND: 'not-found',
  SERVER_NOT_FOUND: 'not-found',
  FAILOVER_NEW_SERVER_NOT_FOUND: 'not-found',
  INVALID_INPUT: 'invalid',
  FAILOVER_ALREADY_ROUTED: 'busy',
  FAILOVER_LOCKED: 'busy',
  FAILOVER_FAILED: 'unavailable',
  FAILOVER_NOT_COMPLETE: 'unknown-outcome',
};

const UNAUTHORIZED_ADVICE =
  'Robot does not accept ROBOT_USER and ROBOT_PASSWORD: they are those of the web-service user, which is made in the settings of ' +
  'Robot, and not the login to Robot itself; three wrong logins block this machine for 10 minutes, so nothing more is sent with ' +
  'them: correct them in their files, or start the agent anew';

const ADVICE: Readonly<Record<string, string>> = {
  UNAUTHORIZED: UNAUTHORIZED_ADVICE,
  FAILOVER_NEW_SERVER_NOT_FOUND:
    'what it should be routed to is the main address of none of the servers of this account: correct ROBOT_SERVER_IP or ' +
    'ROBOT_SERVER_IPV6_NET',
  FAILOVER_LOCKED: 'another switch of it is under way, which takes up to a minute',
};

/** What makes a request one that writes. */
interface Write {
  readonly form: Readonly<Record<string, string>>;
  /** Asked right before each time it is sent. */
  readonly mayWrite: () => boolean;
}

export class RobotApi {
  readonly #http: ProviderHttp;
  readonly #endpoint: string;
  /** `user:password` in base64, as HTTP Basic sends it. */
  readonly #login: Secret;
  readonly #refused = new Set<string>();
  readonly #reads = new Turns<'read'>();

  constructor(http: ProviderHttp, endpoint: string, login: Secret) {
    this.#http = http;
    this.#endpoint = endpoint.replace(/\/+$/, '');
    this.#login = login;
  }

  /** Throws ProviderError where the user and the password have been refused and are still the same. */
  assertNotRefused(what: string): void {
    if (this.#refused.has(this.#login.reveal())) this.#login.reload();
    if (this.#refused.has(this.#login.reveal())) throw new ProviderError('unauthorized', `${what}: not sent; ${UNAUTHORIZED_ADVICE}`);
  }

  /** Throws ProviderError. */
  async get(path: string, signal: AbortSignal): Promise<unknown> {
    return await this.#reads.take('read', signal, () => this.#call('GET', path, signal));
  }

  /** The elements of a list. Robot says that there are none by an error, `none`. Throws ProviderError. */
  async list(path: string, none: readonly string[], signal: AbortSignal): Promise<readonly unknown[]> {
    try {
      const answer = await this.get(path, signal);
      if (Array.isArray(answer)) return answer as readonly unknown[];
      throw new ProviderError('unavailable', `GET ${path}: the answer is not a list`, { retryAfterMs: OUTAGE_PAUSE_MS });
    } catch (error) {
      if (error instanceof ProviderError && error.providerCode !== null && none.includes(error.providerCode)) return [];
      throw error;
    }
  }

  /**
   * Has a failover routed to a server, and ends when Robot says that this is done. That it was routed there already is no error. A
   * read must have shown before that the login is accepted. Throws ClaimWithdrawn, with nothing sent, once it may not write;
   * ProviderError.
   */
  async route(ip: string, activeServerIp: string, { signal, mayWrite }: Pick<ClaimTerms, 'signal' | 'mayWrite'>): Promise<void> {
    try {
      await this.#call('POST', `/failover/${ip}`, signal, { form: { active_server_ip: activeServerIp }, mayWrite });
    } catch (error) {
      if (!(error instanceof ProviderError) || error.providerCode !== 'FAILOVER_ALREADY_ROUTED') throw error;
    }
  }

  async #call(method: 'GET' | 'POST', path: string, signal: AbortSignal, write?: Write): Promise<unknown> {
    const exchange = (): Promise<ProviderAnswer> => this.#exchange(method, path, signal, write);
    let answer = await exchange();
    if (answer.status === 401 && this.#login.reload()) answer = await exchange();
    const body = parseJson(answer.body);
    if (answer.status >= 200 && answer.status < 300 && body !== undefined) return body;
    throw toError(`${method} ${path}`, answer, body);
  }

  async #exchange(method: 'GET' | 'POST', path: string, signal: AbortSignal, write?: Write): Promise<ProviderAnswer> {
    this.assertNotRefused(`${method} ${path}`);
    const login = this.#login.reveal();
    if (write !== undefined && !write.mayWrite()) throw new ClaimWithdrawn(`${method} ${path}: it may not be sent any more`);
    const answer = await this.#http({
      method,
      url: this.#endpoint + path,
      operation: operationOf(method, path),
      headers: { authorization: `Basic ${login}` },
      family: 4,
      timeoutMs: write === undefined ? READ_TIMEOUT_MS : WRITE_TIMEOUT_MS,
      signal,
      ...(write === undefined ? {} : { form: write.form }),
    });
    if (answer.status === 401) this.#refused.add(login);
    return answer;
  }
}

/** A request in the words of the webservice's documentation, such as `GET /failover/{ip}`. */
export function operationOf(method: string, path: string): string {
  return `${method} ${path.replace(/^(\/failover\/).+$/, '$1{ip}')}`;
}

function toError(what: string, answer: ProviderAnswer, body: unknown): ProviderError {
  const named = messageAt(body, 'error', 'code') ?? null;
  const code = CODES[named ?? ''] ?? codeOfStatus(answer.status, named, what.startsWith('POST'));
  const parts = [
    `${what}: ${answer.status} ${named ?? ''}`.trim(),
    messageAt(body, 'error', 'message'),
    fieldsIn(body, 'missing'),
    fieldsIn(body, 'invalid'),
    limitIn(body),
    ADVICE[named ?? (answer.status === 401 ? 'UNAUTHORIZED' : '')],
  ];
  const message = parts.filter((part) => part !== undefined && part !== '').join('; ');
  return new ProviderError(code, message, { retryAfterMs: pauseMs(code, body), providerCode: named });
}

/** What an answer without a code of Robot's own means. */
function codeOfStatus(status: number, named: string | null, isWrite: boolean): ProviderErrorCode {
  switch (status) {
    case 401:
      return 'unauthorized';
    case 403:
      // Beyond its limits Robot answers so; what stands in front of it may leave the reason away.
      return named === null ? 'rate-limited' : 'forbidden';
    case 404:
      return 'not-found';
    case 409:
      return 'busy';
    case 429:
      return 'rate-limited';
    case 400:
    case 405:
    case 415:
    case 422:
      return 'invalid';
    case 503:
      return 'unavailable';
    default:
      return isWrite ? 'unknown-outcome' : 'unavailable';
  }
}

/** How long an answer asks to be left alone because there were too many requests; null for any other. Robot says so with 403. */
export function refusedForMs({ status, body }: ProviderAnswer): number | null {
  const said = parseJson(body);
  const isRefusal = status === 403 && messageAt(said, 'error', 'code') === 'RATE_LIMIT_EXCEEDED';
  return isRefusal ? pauseMs('rate-limited', said) : null;
}

/** How long to leave it alone at least, by what it says. */
function pauseMs(code: ProviderErrorCode, body: unknown): number | null {
  switch (code) {
    case 'rate-limited': {
      const intervalS = integerAt(body, 'error', 'interval');
      return intervalS === undefined ? RATE_LIMIT_PAUSE_MAX_MS : Math.min(RATE_LIMIT_PAUSE_MAX_MS, Math.max(1, intervalS) * 1_000);
    }
    case 'busy':
    case 'unknown-outcome':
      return SWITCH_PAUSE_MS;
    case 'unavailable':
      return messageAt(body, 'error', 'code') === 'FAILOVER_FAILED' ? SWITCH_PAUSE_MS : OUTAGE_PAUSE_MS;
    default:
      return null;
  }
}

/** The fields that Robot finds missing or wrong: a list, or for some requests an object with an entry for each. */
function fieldsIn(body: unknown, which: 'missing' | 'invalid'): string | undefined {
  const found = at(body, 'error', which);
  const names = listAt(body, 'error', which) ?? (typeof found === 'object' && found !== null ? Object.keys(found) : []);
  const texts = names.filter((name) => typeof name === 'string').slice(0, FIELDS_MAX);
  return texts.length === 0 ? undefined : `${which}: ${texts.join(', ')}`;
}

function limitIn(body: unknown): string | undefined {
  const [max, intervalS] = [integerAt(body, 'error', 'max_request'), integerAt(body, 'error', 'interval')];
  return max === undefined || intervalS === undefined ? undefined : `${max} requests are granted in ${intervalS}s`;
}
