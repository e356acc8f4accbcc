/**
 * What every HTTP stand-in shares: it listens on a real socket, keeps a record of what it was asked, and can be told to
 * misbehave.
 */
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';

/** One request as it arrived, and how it was answered. */
export interface Exchange {
  /** Milliseconds of the stand-in's own monotonic clock. */
  readonly atMs: number;
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  readonly body: string;
  readonly headers: http.IncomingHttpHeaders;
  /** The address that the request came from. */
  readonly from: string;
  /** Null until there was an answer, or when there was none. */
  status: number | null;
}

/** How to misbehave for one request. */
export type Fault =
  /** Answer later; whatever is to be done is done first or last. */
  | { readonly is: 'delay'; readonly ms: number; readonly when: 'before' | 'after' }
  | {
      readonly is: 'answer';
      readonly status: number;
      readonly body?: unknown;
      readonly headers?: Readonly<Record<string, string>>;
      readonly when?: 'before' | 'after';
    }
  /** Never answer. `after`: only once what was asked has been done. */
  | { readonly is: 'hang'; readonly when: 'before' | 'after' }
  /** Cut the connection. */
  | { readonly is: 'cut'; readonly when: 'before' | 'after' };

export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Answers one request, at once or later, or null when it has taken the response over itself. */
export type Handler = (exchange: Exchange, response: http.ServerResponse) => Answer | null | Promise<Answer>;

const BODY_BYTES_MAX = 1024 * 1024;

export class HttpStandIn {
  readonly exchanges: Exchange[] = [];
  /** Decides for each request whether to misbehave. */
  faultFor: (exchange: Exchange) => Fault | null = () => null;
  /** Takes over a connection that is to become something else, such as a WebSocket. */
  onUpgrade: (request: http.IncomingMessage, socket: Duplex, head: Buffer) => void = (_, socket) => socket.destroy();
  readonly #upgraded = new Set<Duplex>();
  readonly #server: http.Server | https.Server;
  readonly #handler: Handler;
  readonly #isTls: boolean;
  connections = 0;

  constructor(handler: Handler, tls: { readonly key: string; readonly cert: string } | null) {
    this.#handler = handler;
    this.#isTls = tls !== null;
    const listener = (request: http.IncomingMessage, response: http.ServerResponse): void => void this.#serve(request, response);
    this.#server = tls === null ? http.createServer(listener) : https.createServer(tls, listener);
    this.#server.on('connection', () => (this.connections += 1));
    this.#server.on('upgrade', (request: http.IncomingMessage, socket: Duplex, head: Buffer) => {
      this.#upgraded.add(socket);
      socket.on('close', () => this.#upgraded.delete(socket));
      this.onUpgrade(request, socket, head);
    });
    // Longer than any test: the agent decides when a connection ends.
    this.#server.keepAliveTimeout = 120_000;
  }

  async listen(host = '127.0.0.1', port = 0): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => resolve());
    });
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Where it listens, without a final slash. */
  get url(): string {
    const { address, family, port } = this.#server.address() as AddressInfo;
    return `${this.#isTls ? 'https' : 'http'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** Misbehaves the next `times` times that a request matches. */
  failNext(fault: Fault, matches: (exchange: Exchange) => boolean = () => true, times = 1): void {
    let left = times;
    this.faultFor = (exchange) => {
      if (left === 0 || !matches(exchange)) return null;
      left -= 1;
      return fault;
    };
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    for (const socket of this.#upgraded) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    let body = '';
    request.setEncoding('utf8');
    try {
      for await (const chunk of request as AsyncIterable<string>) {
        body += chunk;
        if (body.length > BODY_BYTES_MAX) return void request.destroy();
      }
    } catch {
      return;
    }
    const exchange: Exchange = {
      atMs: performance.now(),
      method: request.method ?? '',
      path: request.url ?? '',
      body,
      headers: request.headers,
      from: (request.socket.remoteAddress ?? '').replace(/^::ffff:/, ''),
      status: null,
    };
    this.exchanges.push(exchange);
    await this.#answer(exchange, response, this.faultFor(exchange));
  }

  async #answer(exchange: Exchange, response: http.ServerResponse, fault: Fault | null): Promise<void> {
    const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
    if (fault?.is === 'delay' && fault.when === 'before') await pause(fault.ms);
    if (fault?.is === 'hang' && fault.when === 'before') return;
    if (fault?.is === 'cut' && fault.when === 'before') {
      cut(response);
      return;
    }
    if (fault?.is === 'answer' && fault.when !== 'after') {
      send(exchange, response, { status: fault.status, body: fault.body ?? null, headers: fault.headers ?? {} });
      return;
    }
    const answer = await this.#handler(exchange, response);
    if (answer === null) return;
    if (fault?.is === 'delay' && fault.when === 'after') await pause(fault.ms);
    if (fault?.is === 'cut') cut(response);
    else if (fault?.is === 'answer') send(exchange, response, { status: fault.status, body: fault.body ?? null });
    else if (fault?.is !== 'hang') send(exchange, response, answer);
  }
}

function cut(response: http.ServerResponse): void {
  response.socket?.destroy();
}

function send(exchange: Exchange, response: http.ServerResponse, { status, body, headers }: Answer): void {
  if (response.destroyed) return;
  exchange.status = status;
  const text = body === null ? '' : typeof body === 'string' ? body : JSON.stringify(body);
  response.writeHead(status, { 'content-type': typeof body === 'string' ? 'text/plain' : 'application/json', ...headers });
  response.end(text);
}
