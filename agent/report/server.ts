/**
 * The HTTP port: is the process alive, is it ready, what is it doing.
 *
 * Guarantees: read only; answers from what is in memory, so that no slow dependency delays an answer. A port that is
 * taken is tried again and does not end the agent, whose work does not depend on it.
 * What tells of the cluster is given only under a name that nobody else can own, so that a web page elsewhere cannot have a
 * browser near this port read it by giving its own name this address (DNS rebinding).
 */
import http from 'node:http';
import { isIP } from 'node:net';
import { asError } from '../clock.ts';
import type { Clock, Timer } from '../clock.ts';
import { PAGE_POLICY, pageOf, viewOf } from './page.ts';
import type { StatusDocument } from './status.ts';
import { Streams, STREAMS_MAX } from './streams.ts';

/** What the port answers from. Each is asked anew for every request. */
export interface Answers {
  /** Null when all is well, otherwise what is wrong. */
  readonly livenessProblem: () => string | null;
  /** What keeps the agent from being ready; empty when nothing does. */
  readonly readinessProblems: () => readonly string[];
  readonly status: () => StatusDocument;
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  /** The node's own names, by which it may be asked besides its addresses. */
  readonly names: readonly string[];
  readonly clock: Clock;
  readonly answers: Answers;
  readonly onProblem: (message: string) => void;
}

const RETRY_MS = 2_000;
const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE:
    "another process uses the port. Unless that is another agent on this node, set LISTEN to a free one, and in a cluster the container's port http, too (kustomize: the component second-port; Helm: port)",
  EADDRNOTAVAIL: 'this node does not have that address: set LISTEN to one that it has',
  EACCES: 'a port below 1024 needs a capability that the agent does not have: set LISTEN to a higher one',
};
/** Who connects and says nothing must not keep the kubelet out for long. */
const TIMEOUTS = { headersTimeout: 2_000, requestTimeout: 5_000, connectionsCheckingInterval: 500 } as const;
const CONNECTIONS_MAX = 256;
const PATHS = ['/', '/healthz', '/readyz', '/status', '/status/stream', '/metrics'];
/** What the kubelet and Prometheus ask, by whatever name they know the node. */
const BY_ANY_NAME = ['/healthz', '/readyz', '/metrics'];
const HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
};

/** What to do where listening fails with an error of the system, or null where nothing is known. */
export function explainListen(code: string): string | null {
  return WHY[code] ?? null;
}

/** Serves until `close` is called. */
export class StatusServer {
  readonly #server: http.Server;
  readonly #options: ServerOptions;
  readonly #streams: Streams;
  #retry: Timer | null = null;
  /** What was last told. */
  #problem: string | null = null;
  #isClosed = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#streams = new Streams(options.clock, () => viewOf(options.answers.status()));
    this.#server = http.createServer(TIMEOUTS, (request, response) => this.#answer(request, response));
    this.#server.maxConnections = CONNECTIONS_MAX;
    this.#server.on('listening', () => (this.#problem = null));
    this.#server.on('error', (error: NodeJS.ErrnoException) => this.#onError(error));
    this.#listen();
  }

  /** The status may say something else now: whoever watches is told. Returns at once. */
  changed(): void {
    this.#streams.changed();
  }

  close(): void {
    this.#isClosed = true;
    this.#retry?.cancel();
    this.#streams.close();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #listen(): void {
    this.#server.listen({ host: this.#options.host, port: this.#options.port });
  }

  #onError(error: NodeJS.ErrnoException): void {
    if (this.#isClosed) return;
    const { host, port, clock, onProblem } = this.#options;
    const problem = `cannot listen on ${host}:${port}: ${WHY[error.code ?? ''] ?? error.message}`;
    if (problem !== this.#problem) onProblem(problem);
    this.#problem = problem;
    // A connection that could not be accepted: others can be.
    if (this.#server.listening) return;
    this.#retry?.cancel();
    this.#retry = clock.setTimer(RETRY_MS, () => this.#listen());
  }

  #answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    if (request.method !== 'GET' && request.method !== 'HEAD') return sendText(response, 405, 'only GET is answered here');
    const path = (request.url ?? '').split('?')[0] ?? '';
    if (!BY_ANY_NAME.includes(path) && !isOwnName(request.headers.host, this.#options.names))
      return sendText(response, 421, "ask by this node's IP address or name, or by localhost: another name could be a stranger's");
    const { livenessProblem, readinessProblems, status, metrics } = this.#options.answers;
    switch (path) {
      case '/':
        return send(response, 200, 'text/html', pageOf(status()), { 'content-security-policy': PAGE_POLICY });
      case '/healthz': {
        const problem = livenessProblem();
        return sendText(response, problem === null ? 200 : 503, problem ?? 'ok');
      }
      case '/readyz': {
        const problems = readinessProblems();
        return problems.length === 0 ? sendText(response, 200, 'ok') : sendText(response, 503, problems.join('\n'));
      }
      case '/metrics':
        metrics().then(
          ({ contentType, text }) => send(response, 200, contentType, text),
          (error: unknown) => sendText(response, 500, asError(error).message),
        );
        return;
      case '/status':
        return send(response, 200, 'application/json', `${JSON.stringify(status(), null, 2)}\n`);
      case '/status/stream':
        // Who asks for the head of a stream does not want to wait for its end.
        if (request.method === 'HEAD') return send(response, 200, 'text/event-stream', '');
        if (!this.#streams.open(response, HEADERS)) return sendText(response, 503, `${STREAMS_MAX} pages are open already: close one`);
        return;
      default:
        return sendText(response, 404, `there are ${PATHS.join(', ')}`);
    }
  }
}

/** Whether the Host header can only be meant for this node. An attacker's name has a dot in it, and is none of the node's. */
function isOwnName(header: string | undefined, names: readonly string[]): boolean {
  // Every browser sends one.
  if (header === undefined) return true;
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(header) ?? [];
  const host = (bracketed ?? plain ?? '').toLowerCase();
  return isIP(host) !== 0 || (host !== '' && !host.includes('.')) || names.some((name) => name.toLowerCase() === host);
}

function sendText(response: http.ServerResponse, status: number, text: string): void {
  send(response, status, 'text/plain', `${text}\n`);
}

function send(
  response: http.ServerResponse,
  status: number,
  type: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { ...HEADERS, ...headers, 'content-type': type.includes(';') ? type : `${type}; charset=utf-8` });
  response.end(body);
}
