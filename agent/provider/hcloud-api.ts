/**
 * The Hetzner Cloud API, version 1: requests, its errors in our words, its rate limit, its actions.
 *
 * Guarantees: every documented error code has one meaning here; a rejected token is read again from its file before it
 * counts as rejected. Facts: https://docs.hetzner.cloud (errors, actions, pagination, rate limiting).
 */
import type { Clock } from '../clock.ts';
import { at, integerAt, listAt, messageAt, parseJson, stringAt } from '../json.ts';
import type { ClaimTerms } from '../ports.ts';
import type { Secret } from '../secret.ts';
import { ClaimWithdrawn, ProviderError } from './error.ts';
import type { ProviderErrorCode } from './error.ts';
import type { ProviderAnswer, ProviderHttp } from './http.ts';
import { codeOfStatus } from './http-status.ts';
import { waitForEnd } from './polling.ts';
import { rateLimitPauseMs } from './rate-limit.ts';

/** A read that hangs is worth less than the next one; a write that may have been accepted is worth waiting for. */
const READ_TIMEOUT_MS = 2_000;
const WRITE_TIMEOUT_MS = 5_000;
const PAGE_LENGTH = 50;
const PAGES_MAX = 100;
/** How many wrong fields are named for people. */
const FIELDS_MAX = 5;

/** An action as the API reports it; `error` says why it failed. */
export interface HcloudAction {
  readonly id: number;
  readonly command: string;
  readonly status: 'running' | 'success' | 'error';
  readonly error: string | null;
}

/** How a write is bounded. */
export type HcloudWriteTerms = Pick<ClaimTerms, 'signal' | 'mayWrite'>;

/** Codes that mean the same whatever the HTTP status. */
const CODES: Readonly<Record<string, ProviderErrorCode>> = {
  unauthorized: 'unauthorized',
  token_readonly: 'unauthorized',
  forbidden: 'forbidden',
  resource_limit_exceeded: 'forbidden',
  not_found: 'not-found',
  method_not_allowed: 'invalid',
  json_error: 'invalid',
  invalid_input: 'invalid',
  unsupported_error: 'invalid',
  deprecated_api_endpoint: 'invalid',
  protected: 'invalid',
  floating_ip_assigned: 'busy',
  ip_not_available: 'busy',
  conflict: 'busy',
  locked: 'busy',
  resource_locked: 'busy',
  rate_limit_exceeded: 'rate-limited',
  maintenance: 'unavailable',
  resource_unavailable: 'unavailable',
  service_error: 'unavailable',
  server_error: 'unavailable',
  bad_gateway: 'unavailable',
  unavailable: 'unavailable',
  timeout: 'unknown-outcome',
};

const ADVICE: Readonly<Record<string, string>> = {
  unauthorized: 'the token in HCLOUD_TOKEN is not accepted: create a new one for this project',
  token_readonly: 'the token in HCLOUD_TOKEN may only read: create one with read & write permission',
};

export class HcloudApi {
  readonly #http: ProviderHttp;
  readonly #endpoint: string;
  readonly #token: Secret;
  readonly #clock: Clock;

  constructor(http: ProviderHttp, endpoint: string, token: Secret, clock: Clock) {
    this.#http = http;
    this.#endpoint = endpoint.replace(/\/+$/, '');
    this.#token = token;
    this.#clock = clock;
  }

  /** Every item of a list that can be read, over all its pages. Throws ProviderError, also when the pages have no end. */
  async list<Item>(path: string, field: string, read: (json: unknown) => Item | null, signal: AbortSignal): Promise<Item[]> {
    const items: Item[] = [];
    for (let page = 1, pages = 1; pages <= PAGES_MAX; pages += 1) {
      const answer = await this.#call('GET', `${path}${path.includes('?') ? '&' : '?'}per_page=${PAGE_LENGTH}&page=${page}`, signal);
      for (const json of listAt(answer, field) ?? []) {
        const item = read(json);
        if (item !== null) items.push(item);
      }
      const next = integerAt(answer, 'meta', 'pagination', 'next_page');
      if (next === undefined || next <= page) return items;
      page = next;
    }
    throw new ProviderError('unavailable', `GET ${path}: the list has more than ${PAGES_MAX} pages`);
  }

  async get(path: string, signal: AbortSignal): Promise<unknown> {
    return await this.#call('GET', path, signal);
  }

  /** Starts an action and waits for its end. Throws what `begin` and `finish` throw. */
  async act(path: string, json: Readonly<Record<string, unknown>>, terms: HcloudWriteTerms): Promise<void> {
    await this.finish(await this.begin(path, json, terms), terms.signal);
  }

  /**
   * Starts an action. Throws ClaimWithdrawn, with nothing sent, once it may not write; ProviderError for what the provider
   * says.
   */
  async begin(path: string, json: Readonly<Record<string, unknown>>, { signal, mayWrite }: HcloudWriteTerms): Promise<HcloudAction> {
    const action = parseAction(at(await this.#call('POST', path, signal, { json, mayWrite }), 'action'));
    // Something was accepted that cannot be followed: only the owner read back can tell.
    if (action === null) throw new ProviderError('unknown-outcome', `POST ${path}: the answer holds no action`);
    return action;
  }

  /** Waits until an action has ended. Throws ProviderError when it fails, or that cannot be learnt. */
  async finish(action: HcloudAction, signal: AbortSignal): Promise<void> {
    const { status, command, id, error } = await this.waitFor(action, signal);
    if (status === 'success') return;
    throw new ProviderError('unavailable', `the provider's action ${command} (${id}) failed: ${error ?? 'no explanation'}`);
  }

  /** Waits until an action has ended, and says how. Throws ProviderError when that cannot be learnt. */
  async waitFor(action: HcloudAction, signal: AbortSignal): Promise<HcloudAction> {
    return await waitForEnd(this.#clock, action, {
      hasEnded: ({ status }) => status !== 'running',
      ask: async () => {
        const read = parseAction(at(await this.#call('GET', `/actions/${action.id}`, signal), 'action'));
        // What is said of another action says nothing about this one.
        return read?.id === action.id ? read : null;
      },
      signal,
    });
  }

  async #call(method: 'GET' | 'POST', path: string, signal: AbortSignal, write?: Write): Promise<unknown> {
    const exchange = async (token: string): Promise<ProviderAnswer> => {
      if (write !== undefined && !write.mayWrite()) throw new ClaimWithdrawn(`${method} ${path}: it may not be sent any more`);
      return await this.#http({
        method,
        url: this.#endpoint + path,
        operation: operationOf(method, path),
        headers: { authorization: `Bearer ${token}` },
        timeoutMs: write === undefined ? READ_TIMEOUT_MS : WRITE_TIMEOUT_MS,
        signal,
        ...(write === undefined ? {} : { json: write.json }),
      });
    };
    const token = this.#token.reveal();
    let answer = await exchange(token);
    if (answer.status === 401 && this.#token.isReplaced(token)) answer = await exchange(this.#token.reveal());
    const body = parseJson(answer.body);
    if (answer.status >= 200 && answer.status < 300 && body !== undefined) return body;
    throw toError(`${method} ${path}`, answer, body, this.#clock.wallMs());
  }
}

/** A request in the words of the API's documentation, such as `GET /floating_ips/{id}`. Nothing but ids is numbered there. */
export function operationOf(method: string, path: string): string {
  return `${method} ${path.replace(/\?.*$/s, '').replace(/\/\d+(?=\/|$)/g, '/{id}')}`;
}

/** What makes a request one that writes. */
interface Write {
  readonly json: Readonly<Record<string, unknown>>;
  /** Asked right before each time it is sent. */
  readonly mayWrite: () => boolean;
}

/** Reads an action, or gives null for anything that is none. */
export function parseAction(json: unknown): HcloudAction | null {
  const id = integerAt(json, 'id');
  const status = stringAt(json, 'status');
  if (id === undefined || (status !== 'running' && status !== 'success' && status !== 'error')) return null;
  const said = [messageAt(json, 'error', 'code'), messageAt(json, 'error', 'message')].filter((part) => part !== undefined);
  return { id, status, command: messageAt(json, 'command') ?? 'unnamed', error: said.length === 0 ? null : said.join(': ') };
}

function toError(what: string, answer: ProviderAnswer, body: unknown, wallMs: number): ProviderError {
  const named = messageAt(body, 'error', 'code');
  const code = CODES[named ?? ''] ?? codeOfStatus(answer.status, what.startsWith('POST'));
  const said = messageAt(body, 'error', 'message');
  const fields = (listAt(body, 'error', 'details', 'fields') ?? []).slice(0, FIELDS_MAX).flatMap((field) => messageAt(field, 'name') ?? []);
  const parts = [
    `${what}: ${answer.status} ${named ?? ''}`.trim(),
    said,
    fields.length > 0 ? `wrong fields: ${fields.join(', ')}` : undefined,
    messageAt(body, 'error', 'details', 'announcement'),
    ADVICE[named ?? ''],
  ];
  const message = parts.filter((part) => part !== undefined && part !== '').join('; ');
  const retryAfterMs = code === 'rate-limited' ? rateLimitPauseMs(answer, wallMs) : null;
  return new ProviderError(code, message, { retryAfterMs, providerCode: named ?? null, fields });
}
