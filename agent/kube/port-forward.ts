/**
 * One HTTP request to a port of a pod, through the API server, as `kubectl port-forward` reaches it.
 *
 * Guarantees: it ends by its deadline. The WebSocket library is loaded with the first request, so that a running agent, which
 * makes none, does not carry it. Errors hold no credential.
 * Protocol: `v4.channel.k8s.io` of the pods/portforward resource. A port has two channels, data and errors, and the first frame
 * that arrives on each names the port in two bytes, the lower first.
 */
import http from 'node:http';
import { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import { asError, withDeadline } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { messageAt, parseJson } from '../json.ts';
import type { Outbound } from '../outbound.ts';
import type { ApiAccess } from './credentials.ts';

export interface PodPort {
  readonly namespace: string;
  readonly pod: string;
  readonly port: number;
}

export interface PortForwardOptions extends Outbound {
  readonly access: ApiAccess;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

const SUBPROTOCOL = 'v4.channel.k8s.io';
const DATA = 0;
const ERRORS = 1;
const PORT_LENGTH = 2;
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
const REFUSAL_BYTES_MAX = 64 * 1024;

/** The API server has refused to forward, with its status. */
export class ForwardRefused extends Error {
  override readonly name = 'ForwardRefused';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Gets a path from a port of a pod and returns the body of the answer. Throws where there is none. */
export async function getFromPod(target: PodPort, path: string, options: PortForwardOptions): Promise<string> {
  return await withDeadline(options.clock, options.timeoutMs, options.signal, async (signal) => {
    const socket = await connect(target, options, signal);
    try {
      return await exchange(new PodConnection(socket), path, target.port, signal);
    } finally {
      socket.terminate();
    }
  });
}

async function connect({ namespace, pod, port }: PodPort, options: PortForwardOptions, signal: AbortSignal): Promise<WebSocket> {
  const { access, userAgent, lookup } = options;
  const { WebSocket: Socket } = await import('ws');
  if (signal.aborted) throw asError(signal.reason);
  const place = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/portforward?ports=${port}`;
  const url = new URL(access.server);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = new Socket(`${url.href.replace(/\/$/, '')}${place}`, [SUBPROTOCOL], {
    headers: { ...access.headers, 'user-agent': userAgent },
    ...access.tls,
    ...(access.basicAuth === undefined ? {} : { auth: access.basicAuth }),
    lookup,
    perMessageDeflate: false,
    followRedirects: false,
    maxPayload: ANSWER_BYTES_MAX,
  });
  return await new Promise((resolve, reject) => {
    const onAbort = (): void => {
      socket.terminate();
      reject(asError(signal.reason));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('error', reject);
    socket.once('unexpected-response', (request, response) => {
      void refusalOf(response).then((refusal) => {
        request.destroy();
        reject(refusal);
      });
    });
    socket.once('open', () => resolve(socket));
  });
}

async function refusalOf(response: http.IncomingMessage): Promise<ForwardRefused> {
  const status = response.statusCode ?? 0;
  let text = '';
  try {
    for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
      text += chunk;
      if (text.length > REFUSAL_BYTES_MAX) break;
    }
  } catch {
    // What has arrived has to do.
  }
  return new ForwardRefused(status, messageAt(parseJson(text), 'message') ?? `the API server answers ${status}`);
}

async function exchange(connection: PodConnection, path: string, port: number, signal: AbortSignal): Promise<string> {
  return await new Promise((resolve, reject) => {
    const onAbort = (): void => reject(asError(signal.reason));
    signal.addEventListener('abort', onAbort, { once: true });
    connection.on('error', reject);
    const headers = { host: `127.0.0.1:${port}`, connection: 'close', accept: 'application/json' };
    const request = http.request({ createConnection: () => connection, path, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.length > ANSWER_BYTES_MAX) reject(new Error('the answer has no end'));
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`GET ${path} is answered with ${response.statusCode ?? 0}`));
      });
    });
    request.on('error', reject);
    request.end();
  });
}

/** The bytes to and from the port, out of and into the frames of the WebSocket. */
class PodConnection extends Duplex {
  readonly #socket: WebSocket;
  readonly #named = new Set<number>();

  constructor(socket: WebSocket) {
    super();
    this.#socket = socket;
    socket.on('message', (data) => this.#take(asBuffer(data)));
    socket.on('close', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
  }

  override _read(): void {
    // Whatever arrives is pushed; an answer is bounded.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#socket.send(Buffer.concat([Buffer.from([DATA]), chunk]), callback);
  }

  #take(frame: Buffer): void {
    const channel = frame[0] ?? -1;
    let payload = frame.subarray(1);
    if (!this.#named.has(channel)) {
      this.#named.add(channel);
      payload = payload.subarray(PORT_LENGTH);
    }
    if (payload.length === 0) return;
    if (channel === DATA) this.push(payload);
    else if (channel === ERRORS) this.destroy(new Error(payload.toString('utf8').trim()));
  }
}

function asBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
