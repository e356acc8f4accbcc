/**
 * What it takes to have this agent's own pod evicted: to see where agents run, and to ask.
 *
 * Guarantees: an eviction names the pod's uid, so that no other pod of that name is ever evicted. It goes through the eviction
 * API, which keeps to PodDisruptionBudgets. Every way it can end is told apart and explained.
 */
import { asError } from '../clock.ts';
import { messageAt, parseJson, stringAt } from '../json.ts';
import { adviceOn } from './advice.ts';
import { listObjects } from './object-watch.ts';
import type { Selection } from './object-watch.ts';
import { AGENT_SELECTOR, decodePod, podsPath } from './pod.ts';
import type { Pod } from './pod.ts';
import type { KubeHttp } from './transport.ts';

const TIMEOUT_MS = 5_000;

/** The pod that an agent runs in. */
export interface OwnPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export type EvictionOutcome =
  | { readonly is: 'granted' }
  /** The pod is gone, or is another one by now: nothing is left to evict. */
  | { readonly is: 'gone' }
  /** Not now: a PodDisruptionBudget, or a busy API server. */
  | { readonly is: 'refused-for-now'; readonly message: string; readonly retryAfterMs: number | null }
  /** `isRefusal`: a person must act. */
  | { readonly is: 'failed'; readonly message: string; readonly isRefusal: boolean };

/** Every agent in a namespace, by a fresh read. Throws an Error that says why there is none. */
export async function listAgents(http: KubeHttp, namespace: string, signal: AbortSignal): Promise<readonly Pod[]> {
  const selection: Selection = {
    path: podsPath(namespace),
    query: { labelSelector: AGENT_SELECTOR },
    what: `the agents in the namespace ${namespace}`,
    advice: adviceToList,
  };
  const { objects } = await listObjects(http, selection, signal);
  return objects.flatMap((each) => decodePod(each) ?? []);
}

/** Asks for the eviction of a pod, once. `rehearse`: everything is checked, and nothing happens. */
export async function evict(
  http: KubeHttp,
  { namespace, name, uid }: OwnPod,
  signal: AbortSignal,
  { rehearse = false } = {},
): Promise<EvictionOutcome> {
  const what = `cannot evict the pod ${namespace}/${name}`;
  const body = JSON.stringify({
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { namespace, name },
    deleteOptions: { preconditions: { uid }, ...(rehearse ? { dryRun: ['All'] } : {}) },
  });
  try {
    const path = `${podsPath(namespace)}/${encodeURIComponent(name)}/eviction`;
    const answer = await http.request({ method: 'POST', path, body, timeoutMs: TIMEOUT_MS, signal });
    const said = parseJson(answer.body);
    const message = `${what}: ${answer.status} ${messageAt(said, 'message') ?? 'no explanation'}`;
    switch (answer.status) {
      case 200:
      case 201:
        return { is: 'granted' };
      case 404:
        // A server that knows no such subresource answers with 404, too, but not about this pod.
        return stringAt(said, 'details', 'name') === name ? { is: 'gone' } : { is: 'failed', message, isRefusal: true };
      case 409:
        return { is: 'gone' };
      case 429:
        return { is: 'refused-for-now', message, retryAfterMs: answer.retryAfterMs };
      default:
        return { is: 'failed', message: message + adviceToEvict(answer.status, namespace), isRefusal: [401, 403].includes(answer.status) };
    }
  } catch (error) {
    return { is: 'failed', message: `${what}: ${asError(error).message}`, isRefusal: false };
  }
}

function adviceToList(status: number, verb: string): string {
  return adviceOn(
    status,
    `grant the verb "${verb}" on pods in the agent's own namespace: apply the Role of manifests/overlays/beside-application`,
  );
}

function adviceToEvict(status: number, namespace: string): string {
  return adviceOn(
    status,
    `grant the verb "create" on pods/eviction in the namespace ${namespace}, as manifests/overlays/beside-application does, or set APPLICATION_EVICTION=false`,
  );
}
