/**
 * Between each agent and the real API server: passes everything on, or does what bad networks and busy servers do.
 *
 * Guarantees: the agent's own token travels with each request, so that its rights are its own. A request that has arrived
 * is carried out even if its sender has given it up meanwhile, as it would be by a server that is slow.
 */
import type http from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { selfSigned } from '../../test/support/certificate.ts';

/** What an agent meets on its way to the API server. */
export type Weather =
  | { readonly is: 'fair' }
  /** Each request takes so much longer, half on the way there and half on the way back. */
  | { readonly is: 'slow'; readonly ms: number }
  /** Each request is refused. */
  | { readonly is: 'storm'; readonly status: 429 | 500; readonly retryAfterS?: number }
  /** Connections stand and nothing comes over them. When this is over they turn out to be dead. */
  | { readonly is: 'silent' }
  /** Connections are cut, and new ones, too. */
  | { readonly is: 'cut' };

/** The API server that everything is passed on to. */
interface Target {
  readonly url: string;
  readonly ca: string;
}

const FAIR: Weather = { is: 'fair' };

export class ApiProxy {
  readonly ca: string;
  readonly #target: Target;
  readonly #server: https.Server;
  readonly #agent = new https.Agent({ keepAlive: true });
  readonly #sockets = new Set<Socket>();
  /** By the address that an agent comes from. */
  readonly #weather = new Map<string, Weather>();

  private constructor(target: Target, tls: { readonly key: string; readonly cert: string }) {
    this.#target = target;
    this.ca = tls.cert;
    this.#server = https.createServer(tls, (request, response) => void this.#serve(request, response));
    this.#server.keepAliveTimeout = 120_000;
    this.#server.on('connection', (socket: Socket) => {
      if (this.#weatherAt(socket).is === 'cut') return void socket.destroy();
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(target: Target, host: string): Promise<ApiProxy> {
    const proxy = new ApiProxy(target, await selfSigned(host));
    await new Promise<void>((resolve) => proxy.#server.listen(0, host, resolve));
    return proxy;
  }

  get url(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return `https://${address}:${port}`;
  }

  /** Changes what agents from these addresses meet, from now on. */
  setWeather(from: readonly string[], weather: Weather): void {
    for (const address of from) {
      const isOver = this.#weather.get(address)?.is === 'silent';
      this.#weather.set(address, weather);
      if (weather.is === 'cut' || isOver) this.#cut(address);
    }
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { socket } = request;
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    } catch {
      return;
    }
    const weather = this.#weatherAt(socket);
    if (weather.is === 'silent') return;
    if (weather.is === 'storm') {
      refuse(response, weather);
      return;
    }
    const oneWayMs = weather.is === 'slow' ? weather.ms / 2 : 0;
    if (oneWayMs > 0) await pause(oneWayMs);
    const { method, url = '/', headers } = request;
    const passedOn = https.request(`${this.#target.url}${url}`, { method, headers, ca: this.#target.ca, agent: this.#agent });
    passedOn.on('error', () => socket.destroy());
    passedOn.on('response', (answer) => void this.#answer(answer, response, oneWayMs));
    passedOn.end(Buffer.concat(chunks));
  }

  async #answer(answer: http.IncomingMessage, response: http.ServerResponse, oneWayMs: number): Promise<void> {
    if (oneWayMs > 0) await pause(oneWayMs);
    response.on('close', () => answer.destroy());
    const isLost = (): boolean => response.destroyed || this.#weatherAt(response.socket).is === 'silent';
    if (!isLost()) {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      response.flushHeaders();
    }
    answer.on('data', (chunk: Buffer) => {
      if (!isLost()) response.write(chunk);
    });
    answer.on('end', () => {
      if (!isLost()) response.end();
    });
    answer.on('error', () => response.destroy());
  }

  #weatherAt(socket: Socket | null): Weather {
    return this.#weather.get(socket?.remoteAddress ?? '') ?? FAIR;
  }

  #cut(address: string): void {
    for (const socket of this.#sockets) if (socket.remoteAddress === address) socket.destroy();
  }
}

function refuse(response: http.ServerResponse, { status, retryAfterS }: Weather & { is: 'storm' }): void {
  const message = status === 429 ? 'too many requests, please try again later' : 'the lab has an internal error';
  const reason = status === 429 ? 'TooManyRequests' : 'InternalError';
  if (retryAfterS !== undefined) response.setHeader('retry-after', retryAfterS);
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code: status }));
}
