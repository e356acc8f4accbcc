/**
 * The same HTTP to the Kubernetes API, with every exchange told to somebody who counts.
 *
 * Guarantees: changes nothing about what is sent, answered or thrown. A verb and a resource are Kubernetes' own words for
 * what a path asks, so there are only as many as this program has uses for.
 */
import type { Clock } from '../clock.ts';
import { KubeTrouble } from './transport.ts';
import type { KubeHttp } from './transport.ts';

/** One exchange that has ended, or one stream that has begun or could not. */
export interface KubeExchange {
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'patch';
  /** Such as `leases`. */
  readonly resource: string;
  /** The answer's status; without an answer `unreachable` (not carried out), `no-answer` (perhaps carried out) or `aborted` (by us). */
  readonly code: string;
  /** Until the answer was there; for a stream until it began. */
  readonly elapsedMs: number;
}

/** The path of an object or a collection: its resource, and its name if it has one. */
const PATH = /^\/(?:api|apis\/[^/]+)\/[^/]+\/(?:namespaces\/[^/]+\/)?([a-z]+)(\/[^?]+)?/;

/** Wraps HTTP so that each exchange is told of once it has ended. */
export function observedKubeHttp(http: KubeHttp, clock: Clock, onExchange: (exchange: KubeExchange) => void): KubeHttp {
  const begin = (method: 'GET' | 'POST' | 'PATCH' | 'WATCH', path: string): ((code: string) => void) => {
    const [, resource = 'other', name] = PATH.exec(path) ?? [];
    const verb = verbOf(method, name !== undefined);
    const startedAtMs = clock.nowMs();
    let isOver = false;
    return (code) => {
      if (!isOver) onExchange({ verb, resource, code, elapsedMs: clock.nowMs() - startedAtMs });
      isOver = true;
    };
  };
  return {
    request: async (call) => {
      const end = begin(call.method, call.path);
      try {
        const answer = await http.request(call);
        end(String(answer.status));
        return answer;
      } catch (error) {
        end(codeOf(error));
        throw error;
      }
    },
    stream: async (call) => {
      const end = begin('WATCH', call.path);
      const onOpen = (): void => {
        end('200');
        call.onOpen();
      };
      try {
        const answer = await http.stream({ ...call, onOpen });
        end(String(answer.status));
        return answer;
      } catch (error) {
        end(codeOf(error));
        throw error;
      }
    },
  };
}

function verbOf(method: 'GET' | 'POST' | 'PATCH' | 'WATCH', hasName: boolean): KubeExchange['verb'] {
  switch (method) {
    case 'GET':
      return hasName ? 'get' : 'list';
    case 'WATCH':
      return 'watch';
    case 'POST':
      return 'create';
    case 'PATCH':
      return 'patch';
  }
}

function codeOf(error: unknown): string {
  const kind = error instanceof KubeTrouble ? error.kind : 'unreachable';
  return kind === 'unknown' ? 'no-answer' : kind;
}
