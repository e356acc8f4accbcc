/**
 * What an agent's eviction would lead to.
 *
 * Guarantees: pure. An eviction is worth asking for only where the scheduler can then do better: there is a node with a ready
 * pod of the application and without an agent, and the agent's pod may be placed only beside such a pod. So each eviction
 * fills one such node, and none can be followed by another for nothing. As many agents go as there are such nodes,
 * the holder last.
 */
import { mustStandBeside } from '../kube/pod.ts';
import type { Pod } from '../kube/pod.ts';

export interface Surroundings {
  readonly node: string;
  /** This agent's own pod. */
  readonly own: { readonly name: string; readonly uid: string };
  /** Every agent in the namespace, this one among them. */
  readonly agents: readonly Pod[];
  readonly application: readonly Pod[];
  /** The node of the agent that holds the Lease; null where nobody does. */
  readonly holder: string | null;
}

export type Prospect =
  /** On these nodes its replacement can be beside the application. */
  | { readonly is: 'better'; readonly nodes: readonly string[] }
  /** Another agent is to go first; should it not, this one's turn comes later. */
  | { readonly is: 'not-first'; readonly nodes: readonly string[]; readonly reason: string }
  | { readonly is: 'no-better'; readonly reason: string }
  /** An eviction would do harm, until a person acts. */
  | { readonly is: 'wrong'; readonly reason: string }
  /** This pod is ending already. */
  | { readonly is: 'ending' };

/** Foresees what comes of an eviction. */
export function prospectOf({ node, own, agents, application, holder }: Surroundings): Prospect {
  const self = agents.find(({ uid }) => uid === own.uid);
  if (self === undefined)
    return { is: 'wrong', reason: `no agent's pod ${own.name} has the uid ${own.uid}: check POD_NAME, POD_UID and its labels` };
  if (self.isEnding) return { is: 'ending' };
  const fitting = application.filter((pod) => mustStandBeside(self, pod));
  const [unfit] = fitting.length > 0 ? [] : application;
  if (unfit !== undefined) {
    const which = `the labels and the namespace of ${unfit.namespace}/${unfit.name}`;
    return {
      is: 'wrong',
      reason: `the required podAffinity of ${own.name} does not select the application's pods: write ${which} into it`,
    };
  }
  if (application.some((pod) => pod.node === node)) return { is: 'no-better', reason: 'a pod of the application is on this node' };
  const taken = new Set(agents.map((agent) => agent.node));
  const nodes = nodesOf(fitting.filter(({ isReady }) => isReady)).filter((each) => !taken.has(each));
  if (nodes.length === 0) return { is: 'no-better', reason: 'every node on which the application is ready has an agent' };
  const beside = new Set(application.map((pod) => pod.node));
  const others = agents.filter((agent) => agent.uid !== own.uid && agent.node !== null && !agent.isEnding && !beside.has(agent.node));
  const first = others.filter((other) => goesBefore(other, self, holder));
  if (first.length < nodes.length) return { is: 'better', nodes };
  return { is: 'not-first', nodes, reason: `the agent on ${first[0]?.node ?? ''} goes first` };
}

/** The holder goes last, so that another one is there to take over from it. */
function goesBefore(one: Pod, other: Pod, holder: string | null): boolean {
  const [isOneHolder, isOtherHolder] = [one.node === holder, other.node === holder];
  return isOneHolder === isOtherHolder ? one.name < other.name : isOtherHolder;
}

function nodesOf(pods: readonly Pod[]): string[] {
  return [...new Set(pods.flatMap(({ node }) => node ?? []))].sort();
}
