/**
 * The pods of Leasehold in a namespace, as far as whoever asks may list them.
 *
 * Guarantees: reads only; what is not allowed is an answer and not an error.
 */
import { asError } from '../clock.ts';
import { at, integerAt, listAt, messageAt, parseJson, stringAt } from '../json.ts';
import { AGENT_SELECTOR, podsPath } from './pod.ts';
import type { KubeHttp } from './transport.ts';

export interface AgentPod {
  readonly name: string;
  /** The node it runs on, or '' while it has none. */
  readonly node: string;
  /** `Running` and the like. */
  readonly phase: string;
  /** Where it answers, as its liveness probe has it; null where it has none. */
  readonly port: number | null;
}

export type PodsFound =
  | { readonly is: 'found'; readonly pods: readonly AgentPod[] }
  /** `isForbidden`: whoever asks has no right to list them. */
  | { readonly is: 'unknown'; readonly isForbidden: boolean; readonly reason: string };

const TIMEOUT_MS = 5_000;

/** Lists them by the label that the manifests give them. */
export async function findAgentPods(http: KubeHttp, namespace: string, signal: AbortSignal): Promise<PodsFound> {
  try {
    const path = `${podsPath(namespace)}?labelSelector=${encodeURIComponent(AGENT_SELECTOR)}`;
    const { status, body } = await http.request({ method: 'GET', path, timeoutMs: TIMEOUT_MS, signal });
    const json = parseJson(body);
    if (status === 200) return { is: 'found', pods: (listAt(json, 'items') ?? []).map(podOf) };
    return { is: 'unknown', isForbidden: status === 403, reason: `${status} ${messageAt(json, 'message') ?? ''}`.trim() };
  } catch (error) {
    return { is: 'unknown', isForbidden: false, reason: asError(error).message };
  }
}

function podOf(json: unknown): AgentPod {
  const [container] = listAt(json, 'spec', 'containers') ?? [];
  return {
    name: stringAt(json, 'metadata', 'name') ?? '',
    node: stringAt(json, 'spec', 'nodeName') ?? '',
    phase: stringAt(json, 'status', 'phase') ?? 'Unknown',
    port: portOf(container),
  };
}

/** The port of the liveness probe, which may go by the name that the container gives it. */
function portOf(container: unknown): number | null {
  const probe = at(container, 'livenessProbe', 'httpGet', 'port');
  if (typeof probe !== 'string') return integerAt(container, 'livenessProbe', 'httpGet', 'port') ?? null;
  const named = (listAt(container, 'ports') ?? []).find((each) => stringAt(each, 'name') === probe);
  return integerAt(named, 'containerPort') ?? null;
}
