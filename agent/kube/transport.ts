/**
 * HTTP to the Kubernetes API over one keep-alive agent.
 *
 * Guarantees: every request has its own deadline; after one that was missed the next request opens a new connection, so
 * that a dead one cannot swallow a second try. Whether a request can have been carried out is told apart. Nothing is
 * retried, except once after a 401, with credentials that were read again. Answers have a size limit.
 */
import http from 'node:http';
import https from 'node:https';
import type { LookupFunction } from 'node:net';
import { asError, DeadlineExceeded, rejectOnAbort, withDeadline } from '../clock.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Outbound } from '../outbound.ts';
import type { ApiAccess, Credentials } from './credentials.ts';

export interface KubeCall {
  readonly method: 'GET' | 'POST' | 'PATCH';
  /** Path and query. */
  readonly path: string;
  readonly contentType?: string;
  readonly body?: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface KubeAnswer {
  readonly status: number;
  readonly retryAfterMs: number | null;
  readonly body: string;
}

export interface KubeStream {
  readonly path: string;
  /** How long the server may take until it begins to answer. */
  readonly timeoutMs: number;
  /** How long the stream may be silent before it counts as dead. */
  readonly idleMs: number;
  readonly signal: AbortSignal;
  readonly onOpen: () => void;
  readonly onLine: (line: string) => void;
}

/** The lowest seam: one HTTP exchange, or one stream of lines. */
export interface KubeHttp {
  /** Any answer is returned, whatever its status. Throws KubeTrouble when there was none. */
  request(call: KubeCall): Promise<KubeAnswer>;
  /** Resolves when the server ends the stream, or with its answer where that is not a stream. Throws KubeTrouble. */
  stream(call: KubeStream): Promise<KubeAnswer>;
}

/** Why there was no answer. */
export class KubeTrouble extends Error {
  override readonly name = 'KubeTrouble';
  /** `unreachable`: not carried out. `unknown`: perhaps carried out. `aborted`: called off by us, perhaps carried out. */
  readonly kind: 'unreachable' | 'unknown' | 'aborted';

  constructor(kind: KubeTrouble['kind'], message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}

const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
const LINE_BYTES_MAX = 1024 * 1024;

type Agent = http.Agent | https.Agent;

export class KubeTransport implements KubeHttp {
  readonly #credentials: Credentials;
  readonly #clock: Clock;
  readonly #userAgent: string;
  readonly #lookup: LookupFunction;
  #agent: { readonly agent: Agent; readonly access: ApiAccess } | null = null;

  constructor(credentials: Credentials, clock: Clock, { userAgent, lookup }: Outbound) {
    this.#credentials = credentials;
    this.#clock = clock;
    this.#userAgent = userAgent;
    this.#lookup = lookup;
  }

  async request(call: KubeCall): Promise<KubeAnswer> {
    return await this.#underDeadline(call, async (signal, progress) => {
      const answer = await this.#exchange(call, signal, progress);
      if (answer.status !== 401) return answer;
      this.#credentials.reload();
      return await this.#exchange(call, signal, progress);
    });
  }

  async stream(call: KubeStream): Promise<KubeAnswer> {
    const opened = await this.#underDeadline(call, async (signal, progress) => {
      const incoming = await answerTo(await this.#send({ method: 'GET', path: call.path }, signal, progress), progress);
      // Within the deadline, too: a refusal without end would otherwise keep its connection for ever.
      return incoming.statusCode === 200 ? incoming : await collect(incoming);
    });
    if (!(opened instanceof http.IncomingMessage)) {
      if (opened.status === 401) this.#credentials.reload();
      return opened;
    }
    call.onOpen();
    await this.#readLines(opened, call);
    return { status: 200, retryAfterMs: null, body: '' };
  }

  /** Closes every connection. */
  close(): void {
    this.#agent?.agent.destroy();
    this.#agent = null;
  }

  async #underDeadline<Result>(
    { timeoutMs, signal }: Pick<KubeCall, 'timeoutMs' | 'signal'>,
    operation: (signal: AbortSignal, progress: Progress) => Promise<Result>,
  ): Promise<Result> {
    const progress: Progress = { wasSent: false };
    try {
      return await withDeadline(this.#clock, timeoutMs, signal, async (inner) => {
        // The operation may be stuck where no signal reaches, as in a look-up of a name: the deadline holds all the same.
        return await Promise.race([operation(inner, progress), rejectOnAbort(inner)]);
      });
    } catch (error) {
      if (error instanceof KubeTrouble) throw error;
      if (error instanceof DeadlineExceeded) this.#closeIdle();
      const isAborted = !(error instanceof DeadlineExceeded) && signal.aborted;
      throw new KubeTrouble(isAborted ? 'aborted' : progress.wasSent ? 'unknown' : 'unreachable', describe(error), error);
    }
  }

  async #exchange(call: KubeCall, signal: AbortSignal, progress: Progress): Promise<KubeAnswer> {
    const request = await this.#send(call, signal, progress);
    return await collect(await answerTo(request, progress));
  }

  async #send(
    { method, path, contentType, body }: Pick<KubeCall, 'method' | 'path' | 'contentType' | 'body'>,
    signal: AbortSignal,
    progress: Progress,
  ): Promise<http.ClientRequest> {
    const access = await this.#credentials.access();
    // Called off in the meantime: a request made now would still open a connection, which nobody would close.
    if (signal.aborted) throw asError(signal.reason);
    const payload = body === undefined ? undefined : Buffer.from(body);
    const { server } = access;
    const isHttps = server.protocol === 'https:';
    const options: https.RequestOptions = {
      method,
      agent: this.#agentFor(access),
      lookup: this.#lookup,
      host: server.hostname.replace(/^\[|\]$/g, ''),
      port: server.port === '' ? (isHttps ? 443 : 80) : server.port,
      path: server.pathname.replace(/\/$/, '') + path,
      headers: {
        accept: 'application/json',
        'user-agent': this.#userAgent,
        ...access.headers,
        ...(payload === undefined ? {} : { 'content-type': contentType ?? 'application/json', 'content-length': payload.length }),
      },
      signal,
      ...(access.basicAuth === undefined ? {} : { auth: access.basicAuth }),
    };
    progress.wasSent = false;
    const request = isHttps ? https.request(options) : http.request(options);
    request.on('socket', (socket) => {
      // A reused connection is ready at once; on a new one nothing is sent before the handshake.
      if (request.reusedSocket) progress.wasSent = true;
      else socket.once(isHttps ? 'secureConnect' : 'connect', () => (progress.wasSent = true));
    });
    request.end(payload);
    return request;
  }

  async #readLines(incoming: http.IncomingMessage, { idleMs, signal, onLine }: KubeStream): Promise<void> {
    let rest = '';
    let idle: Timer | null = null;
    const onAbort = (): void => void incoming.destroy(new KubeTrouble('aborted', 'called off'));
    const rearm = (): void => {
      idle?.cancel();
      idle = this.#clock.setTimer(idleMs, () => incoming.destroy(new KubeTrouble('unknown', `silent for ${idleMs}ms`)));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    rearm();
    try {
      incoming.setEncoding('utf8');
      for await (const chunk of incoming as AsyncIterable<string>) {
        rearm();
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > LINE_BYTES_MAX) throw new KubeTrouble('unknown', 'a line of the watch is longer than an object can be');
        for (const line of lines) if (line !== '') onLine(line);
      }
    } catch (error) {
      throw error instanceof KubeTrouble ? error : new KubeTrouble('unknown', describe(error), error);
    } finally {
      (idle as Timer | null)?.cancel();
      signal.removeEventListener('abort', onAbort);
      incoming.destroy();
    }
  }

  /** One agent for as long as the way to the server stays the same. */
  #agentFor(access: ApiAccess): Agent {
    if (this.#agent !== null && isSameWay(this.#agent.access, access)) return this.#agent.agent;
    this.#agent?.agent.destroy();
    const options = { keepAlive: true, ...access.tls };
    const agent = access.server.protocol === 'https:' ? new https.Agent(options) : new http.Agent({ keepAlive: true });
    this.#agent = { agent, access };
    return agent;
  }

  #closeIdle(): void {
    for (const sockets of Object.values(this.#agent?.agent.freeSockets ?? {})) {
      for (const socket of sockets ?? []) socket.destroy();
    }
  }
}

interface Progress {
  /** Whether the server may have received the request. */
  wasSent: boolean;
}

function answerTo(request: http.ClientRequest, progress: Progress): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once('response', resolve);
    request.on('error', (error) => reject(new KubeTrouble(progress.wasSent ? 'unknown' : 'unreachable', describe(error), error)));
  });
}

async function collect(incoming: http.IncomingMessage): Promise<KubeAnswer> {
  let body = '';
  incoming.setEncoding('utf8');
  try {
    for await (const chunk of incoming as AsyncIterable<string>) {
      body += chunk;
      if (body.length > ANSWER_BYTES_MAX) throw new Error(`the answer is larger than ${ANSWER_BYTES_MAX} bytes`);
    }
  } catch (error) {
    throw new KubeTrouble('unknown', `the answer broke off: ${describe(error)}`, error);
  }
  return { status: incoming.statusCode ?? 0, retryAfterMs: retryAfterMs(incoming.headers['retry-after']), body };
}

/** RFC 9110, section 10.2.3; the API server sends whole seconds only. */
function retryAfterMs(header: string | undefined): number | null {
  return header !== undefined && /^\d{1,5}$/.test(header.trim()) ? Number(header) * 1_000 : null;
}

function describe(error: unknown): string {
  const { message, code, errors } = asError(error) as Error & { code?: string; errors?: readonly Error[] };
  // Happy eyeballs wraps the failures of all addresses in one error without a message of its own.
  if (message === '' && errors !== undefined) return errors.map((each) => each.message).join(', ');
  return message === '' ? (code ?? 'connection failed') : message;
}

function isSameWay(a: ApiAccess, b: ApiAccess): boolean {
  return a === b || (a.server.href === b.server.href && tlsKey(a.tls) === tlsKey(b.tls));
}

function tlsKey(tls: ApiAccess['tls']): string {
  return JSON.stringify(Object.entries(tls).map(([name, value]) => [name, Buffer.isBuffer(value) ? value.toString('base64') : value]));
}
