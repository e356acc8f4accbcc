/**
 * An administrator of the real API server: reads, writes and watches objects with all rights.
 *
 * Objects travel as the JSON that the server writes, so that nothing is lost or rounded on the way, as a client with
 * types of its own would do with times. One request is one request: nothing is tried again.
 */
import got from 'got';
import type { Got, Method } from 'got';
import https from 'node:https';
import { createInterface } from 'node:readline';

/** Where an API server listens and how to prove who asks. */
export interface ApiServer {
  /** Without a final slash. */
  readonly url: string;
  /** The certificate that it is known by, in PEM. */
  readonly ca: string;
  readonly token: string;
}

export interface Answer {
  readonly status: number;
  /** The JSON of the answer, or null where it is none. */
  readonly body: unknown;
}

/** One line of a watch. */
export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: unknown;
}

const REQUEST_MS = 10_000;

export class KubeAdmin {
  readonly #got: Got;
  readonly #agent = new https.Agent({ keepAlive: true });

  constructor({ url, ca, token }: ApiServer) {
    this.#got = got.extend({
      prefixUrl: url,
      headers: { authorization: `Bearer ${token}` },
      https: { certificateAuthority: ca },
      agent: { https: this.#agent },
      retry: { limit: 0 },
      throwHttpErrors: false,
    });
  }

  /** Any request, with a body of JSON if there is one. Throws only when there is no answer. */
  async request(method: Method, path: string, body?: unknown, contentType = 'application/json'): Promise<Answer> {
    const { statusCode, body: text } = await this.#got(path.replace(/^\//, ''), {
      method,
      timeout: { request: REQUEST_MS },
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': contentType } }),
    });
    return { status: statusCode, body: parse(text) };
  }

  /** The object at a path. Throws when there is none. */
  async get(path: string): Promise<unknown> {
    return succeeded('GET', path, await this.request('GET', path));
  }

  async create(path: string, object: unknown): Promise<unknown> {
    return succeeded('POST', path, await this.request('POST', path, object));
  }

  /** Changes an object as `kubectl patch --type merge` does. */
  async patch(path: string, change: unknown): Promise<unknown> {
    return succeeded('PATCH', path, await this.request('PATCH', path, change, 'application/merge-patch+json'));
  }

  async delete(path: string): Promise<unknown> {
    return succeeded('DELETE', path, await this.request('DELETE', path));
  }

  /** Tells of every event of one watch, until it ends or is called off. Throws when it breaks. */
  async watch(path: string, onEvent: (event: WatchEvent) => void, signal: AbortSignal): Promise<void> {
    const stream = this.#got.stream(path.replace(/^\//, ''), { signal });
    for await (const line of createInterface({ input: stream })) onEvent(JSON.parse(line) as WatchEvent);
  }

  close(): void {
    this.#agent.destroy();
  }
}

function succeeded(method: string, path: string, { status, body }: Answer): unknown {
  if (status < 300) return body;
  throw new Error(`${method} ${path}: ${status} ${JSON.stringify(body)}`);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
