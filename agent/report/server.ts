/**
 * The HTTP port: is the process alive, is it ready, what is it doing.
 *
 * Guarantees: read only; answers from what is in memory, so that no slow dependency delays an answer. A port that is
 * taken is tried again and does not end the agent, whose work does not depend on it.
 */
import http from 'node:http';
import { asError } from '../clock.ts';
import type { Clock, Timer } from '../clock.ts';

/** What the port answers from. Each is asked anew for every request. */
export interface Answers {
  /** Null when all is well, otherwise what is wrong. */
  readonly livenessProblem: () => string | null;
  /** What keeps the agent from being ready; empty when nothing does. */
  readonly readinessProblems: () => readonly string[];
  readonly status: () => unknown;
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  readonly clock: Clock;
  readonly answers: Answers;
  readonly onProblem: (message: string) => void;
}

const RETRY_MS = 2_000;
const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE:
    'another process uses the port. Unless that is another agent on this node, set LISTEN to a free one, and both probes of the DaemonSet, too',
  EADDRNOTAVAIL: 'this node does not have that address: set LISTEN to one that it has',
  EACCES: 'a port below 1024 needs a capability that the agent does not have: set LISTEN to a higher one',
};
const REQUEST_TIMEOUT_MS = 5_000;

/** What to do where listening fails with an error of the system, or null where nothing is known. */
export function explainListen(code: string): string | null {
  return WHY[code] ?? null;
}

/** Serves until `close` is called. */
export class StatusServer {
  readonly #server: http.Server;
  readonly #options: ServerOptions;
  #retry: Timer | null = null;
  /** What was last told. */
  #problem: string | null = null;
  #isClosed = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#server = http.createServer((request, response) => this.#answer(request, response));
    this.#server.requestTimeout = REQUEST_TIMEOUT_MS;
    this.#server.maxConnections = 64;
    this.#server.on('error', (error: NodeJS.ErrnoException) => this.#onError(error));
    this.#listen();
  }

  close(): void {
    this.#isClosed = true;
    this.#retry?.cancel();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #listen(): void {
    this.#server.listen({ host: this.#options.host, port: this.#options.port }, () => (this.#problem = null));
  }

  #onError(error: NodeJS.ErrnoException): void {
    if (this.#isClosed) return;
    const { host, port, clock, onProblem } = this.#options;
    const problem = `cannot listen on ${host}:${port}: ${WHY[error.code ?? ''] ?? error.message}`;
    if (problem !== this.#problem) onProblem(problem);
    this.#problem = problem;
    this.#retry = clock.setTimer(RETRY_MS, () => this.#listen());
  }

  #answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    if (request.method !== 'GET' && request.method !== 'HEAD') return send(response, 405, 'text/plain', 'only GET is answered here\n');
    const { livenessProblem, readinessProblems, status, metrics } = this.#options.answers;
    switch ((request.url ?? '').split('?')[0]) {
      case '/healthz': {
        const problem = livenessProblem();
        return send(response, problem === null ? 200 : 503, 'text/plain', `${problem ?? 'ok'}\n`);
      }
      case '/readyz': {
        const problems = readinessProblems();
        return send(
          response,
          problems.length === 0 ? 200 : 503,
          'text/plain',
          problems.length === 0 ? 'ok\n' : problems.map((problem) => `${problem}\n`).join(''),
        );
      }
      case '/metrics':
        metrics().then(
          ({ contentType, text }) => send(response, 200, contentType, text),
          (error: unknown) => send(response, 500, 'text/plain', `${asError(error).message}\n`),
        );
        return;
      case '/status':
        return send(response, 200, 'application/json', `${JSON.stringify(status(), null, 2)}\n`);
      default:
        return send(response, 404, 'text/plain', 'there are /healthz, /readyz, /status and /metrics\n');
    }
  }
}

function send(response: http.ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type.includes(';') ? type : `${type}; charset=utf-8`, 'cache-control': 'no-store' });
  response.end(body);
}
