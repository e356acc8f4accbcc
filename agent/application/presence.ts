/**
 * Where the application is, as seen from one node.
 *
 * Guarantees: pure. Ready is what a Service's endpoint is: its condition says so and nobody has asked it to end.
 */
import type { Pod } from '../kube/pod.ts';

export interface Presence {
  /** A pod of the application on this node is ready. */
  readonly isReady: boolean;
  /** A pod of the application is on this node, ready or not: for the scheduler that is beside it. */
  readonly isBound: boolean;
  /** The other nodes on which it is ready, in the order of their names. */
  readonly elsewhere: readonly string[];
  /** One sentence for people. */
  readonly reason: string;
}

/** Looks at the application's pods from a node. */
export function presenceOn(node: string, pods: readonly Pod[]): Presence {
  const here = pods.filter((pod) => pod.node === node);
  const ready = here.find(({ isReady }) => isReady);
  const elsewhere = [...new Set(pods.flatMap((pod) => (pod.isReady && pod.node !== null && pod.node !== node ? [pod.node] : [])))].sort();
  const found = ready === undefined ? absence(here) : `its pod ${ready.name} on this node is ready`;
  const where = elsewhere.length === 0 ? 'it is ready on no other node' : `it is ready on ${elsewhere.join(', ')}`;
  return {
    isReady: ready !== undefined,
    isBound: here.length > 0,
    elsewhere,
    reason: ready === undefined ? `${found}; ${where}` : found,
  };
}

function absence(here: readonly Pod[]): string {
  const [pod] = here;
  if (pod === undefined) return 'no pod of it is on this node';
  return pod.isEnding ? `its pod ${pod.name} on this node is ending` : `its pod ${pod.name} on this node is not ready`;
}
