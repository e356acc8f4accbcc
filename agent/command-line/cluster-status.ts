/**
 * What is known of a Lease and of every agent that contends for it, gathered from wherever it can be read.
 *
 * Guarantees: reads only. What cannot be seen is a sentence in `missing`, with what would show it; nothing is guessed.
 */
import { asError } from '../clock.ts';
import { isTermAskedFor, markNames, nodeOfIdentity, termOf } from '../contender/lease.ts';
import type { LeaseRecord } from '../contender/lease.ts';
import { at, listAt, messageAt, parseJson, stringAt } from '../json.ts';
import { decodeLease } from '../kube/lease-codec.ts';
import type { LeaseName } from '../kube/lease-codec.ts';
import { advice, isMissing, leasePath } from '../kube/lease-store.ts';
import { findAgentPods } from '../kube/pods.ts';
import type { AgentPod } from '../kube/pods.ts';
import { ForwardRefused } from '../kube/port-forward.ts';
import type { KubeHttp } from '../kube/transport.ts';

/** What the Lease says. Times are as its writers' clocks had them. */
export interface LeaseStatus {
  readonly namespace: string;
  readonly name: string;
  readonly holder: { readonly node: string; readonly identity: string } | null;
  /** Since when the holder holds; null while nobody does. */
  readonly since: string | null;
  readonly renewed: string | null;
  readonly transitions: number;
  readonly durationMs: number | null;
  /** Why it moved last; null where nobody has written that down. */
  readonly reason: string | null;
  /** Why the holder would rather be relieved; null where it would not. */
  readonly relief: string | null;
  /** The node that has offered to take over; null where none has. */
  readonly askedBy: string | null;
}

/** What one agent says of itself, or why it says nothing. */
export interface NodeStatus {
  readonly node: string;
  readonly pod: string | null;
  /** How it was asked: on loopback, or through the Kubernetes API. */
  readonly source: 'loopback' | 'port-forward' | null;
  /** Why there is no status; null where there is one. */
  readonly problem: string | null;
  readonly role: string | null;
  readonly since: string | null;
  readonly holds: boolean;
  /** What it would say if asked to take over: null if it would, or does already; otherwise what hinders it. */
  readonly hindrance: string | null;
  readonly healthy: boolean | null;
  readonly interfaces: readonly string[];
  readonly bound: readonly string[];
  readonly version: string | null;
  /** What it says of a budget that is nearly used up, and of addresses that somebody else claims, too. */
  readonly warnings: readonly string[];
  /** All that it says. */
  readonly status: unknown;
}

export type ClusterStatus =
  | { readonly is: 'known'; readonly lease: LeaseStatus; readonly nodes: readonly NodeStatus[]; readonly missing: readonly string[] }
  | { readonly is: 'absent' | 'unreadable'; readonly message: string };

export interface StatusWorld {
  readonly http: KubeHttp;
  readonly lease: LeaseName;
  /** What the agent of this machine says on loopback. Throws where none answers. */
  readonly readLocal: () => Promise<string>;
  /** The same of a pod, through the Kubernetes API. Throws where it does not answer. */
  readonly readPod: (pod: string, port: number) => Promise<string>;
  readonly signal: AbortSignal;
}

const LEASE_TIMEOUT_MS = 5_000;
const DEFAULT_PORT = 9_808;
const BOUND = /^bound|^held over$|lingering/;

/** Gathers everything once. */
export async function clusterStatus(world: StatusWorld): Promise<ClusterStatus> {
  const [lease, local, pods] = await Promise.all([readLease(world), readLocalNode(world), readPods(world)]);
  if (lease.is !== 'read') return lease;
  const { record } = lease;
  const term = termOf(record);
  // The agent of this machine is one of the pods, too, where those can be listed.
  const isTwice = (node: NodeStatus): boolean => pods.nodes.some(({ status }) => identityOf(status) === identityOf(node.status));
  const seen = [...pods.nodes, ...(local === null || isTwice(local) ? [] : [local])].sort((a, b) => a.node.localeCompare(b.node));
  const holder = term === null ? null : nodeOfIdentity(term.holder);
  const isHolderSeen = holder === null || seen.some(({ node }) => node === holder);
  const nodes = isHolderSeen ? seen : [...seen, unseen(holder, null, 'it is known from the Lease alone')];
  const holds = (node: NodeStatus): boolean => {
    const identity = identityOf(node.status);
    return identity === undefined ? node.node === holder : identity === term?.holder;
  };
  return {
    is: 'known',
    lease: leaseStatus(world.lease, record),
    nodes: nodes.map((node) => ({ ...node, holds: holds(node) })),
    missing: pods.missing,
  };
}

type LeaseRead = { readonly is: 'read'; readonly record: LeaseRecord } | (ClusterStatus & { is: 'absent' | 'unreadable' });

async function readLease({ http, lease, signal }: StatusWorld): Promise<LeaseRead> {
  const what = `the Lease ${lease.namespace}/${lease.name}`;
  try {
    const answer = await http.request({ method: 'GET', path: leasePath(lease), timeoutMs: LEASE_TIMEOUT_MS, signal });
    if (isMissing(answer, lease))
      return { is: 'absent', message: `there is no Lease ${lease.namespace}/${lease.name}: name another one with --namespace and --lease` };
    const record = answer.status === 200 ? decodeLease(parseJson(answer.body)) : null;
    if (record !== null) return { is: 'read', record };
    const said = messageAt(parseJson(answer.body), 'message') ?? 'the answer is not a Lease';
    return { is: 'unreadable', message: `cannot read ${what}: ${answer.status} ${said}${advice(answer.status, 'get')}` };
  } catch (error) {
    return { is: 'unreadable', message: `cannot read ${what}: ${asError(error).message}` };
  }
}

function leaseStatus({ namespace, name }: LeaseName, record: LeaseRecord): LeaseStatus {
  const { marks, transitions } = record;
  const term = termOf(record);
  const { reason, relief, ask, released } = marks;
  const isReasonOfNow =
    reason !== null && (term === null ? released !== null && isTermAskedFor(released, reason.term) : isTermAskedFor(term, reason.term));
  return {
    namespace,
    name,
    holder: term === null ? null : { node: nodeOfIdentity(term.holder), identity: term.holder },
    since: term === null ? null : record.acquireTime,
    renewed: record.renewTime,
    transitions,
    durationMs: marks.duration !== null && markNames(marks.duration, term) ? marks.duration.durationMs : record.durationMs,
    reason: isReasonOfNow ? reason.reason : null,
    relief: relief !== null && markNames(relief, term) ? relief.reason : null,
    askedBy: ask !== null && markNames(ask, term) ? nodeOfIdentity(ask.by) : null,
  };
}

/** The agent of this machine, if it is one for this Lease. */
async function readLocalNode({ lease, readLocal }: StatusWorld): Promise<NodeStatus | null> {
  try {
    const status = parseJson(await readLocal());
    return isAbout(status, lease) ? nodeStatus(status, null, 'loopback') : null;
  } catch {
    return null;
  }
}

/** Whether a status is of an agent for this Lease, and not of one of another installation. */
function isAbout(status: unknown, lease: StatusWorld['lease']): boolean {
  return stringAt(status, 'lease', 'namespace') === lease.namespace && stringAt(status, 'lease', 'name') === lease.name;
}

async function readPods(world: StatusWorld): Promise<{ readonly nodes: readonly NodeStatus[]; readonly missing: readonly string[] }> {
  const { http, lease, signal } = world;
  const found = await findAgentPods(http, lease.namespace, signal);
  if (found.is === 'unknown') {
    const right = `the right to list pods in ${lease.namespace}, and to get and create pods/portforward there, would show them`;
    return {
      nodes: [],
      missing: [
        found.isForbidden ? `other nodes are not shown: ${right}` : `other nodes are not shown: the pods cannot be listed: ${found.reason}`,
      ],
    };
  }
  const asked = await Promise.all(found.pods.map((pod) => readPod(pod, world)));
  const isRefused = asked.some(({ problem }) => problem === FORBIDDEN);
  const right = `the right to get and create pods/portforward in ${lease.namespace} would show what they say`;
  return { nodes: asked, missing: isRefused ? [`not every agent could be asked: ${right}`] : [] };
}

const FORBIDDEN = 'its pod may not be connected to';

async function readPod({ name, node, phase, port }: AgentPod, { lease, readPod: read }: StatusWorld): Promise<NodeStatus> {
  if (phase !== 'Running') return unseen(node, name, `its pod is ${phase}`);
  try {
    const status = parseJson(await read(name, port ?? DEFAULT_PORT));
    if (stringAt(status, 'identity') === undefined) return unseen(node, name, 'what answers there is no agent');
    if (!isAbout(status, lease)) return unseen(node, name, 'an agent for another Lease answers there');
    return nodeStatus(status, name, 'port-forward');
  } catch (thrown) {
    const error = asError(thrown);
    return unseen(node, name, error instanceof ForwardRefused && error.status === 403 ? FORBIDDEN : `it cannot be asked: ${error.message}`);
  }
}

function unseen(node: string, pod: string | null, problem: string): NodeStatus {
  const nothing = {
    role: null,
    since: null,
    holds: false,
    hindrance: null,
    healthy: null,
    interfaces: [],
    bound: [],
    version: null,
    warnings: [],
  };
  return { node, pod, source: null, problem, ...nothing, status: null };
}

function nodeStatus(status: unknown, pod: string | null, source: 'loopback' | 'port-forward'): NodeStatus {
  const addresses = listAt(status, 'addresses') ?? [];
  const healthy = at(status, 'verdict', 'healthy');
  return {
    node: stringAt(status, 'node') ?? '',
    pod,
    source,
    problem: null,
    role: stringAt(status, 'role') ?? null,
    since: stringAt(status, 'since') ?? null,
    holds: false,
    hindrance: stringAt(status, 'hindrance') ?? null,
    healthy: typeof healthy === 'boolean' ? healthy : null,
    interfaces: [...new Set(addresses.flatMap((each) => stringAt(each, 'interface') ?? []))],
    bound: addresses.flatMap((each) => (BOUND.test(stringAt(each, 'state') ?? '') ? (stringAt(each, 'address') ?? []) : [])),
    version: stringAt(status, 'version') ?? null,
    warnings: warningsIn(status),
    status,
  };
}

function warningsIn(status: unknown): string[] {
  const contested = (listAt(status, 'addresses') ?? []).filter((each) => (at(each, 'contest') ?? null) !== null);
  const names = ['budget', ...contested.flatMap((each) => stringAt(each, 'address') ?? [])];
  const problems = (listAt(status, 'problems') ?? []).filter((each) => names.includes(stringAt(each, 'name') ?? ''));
  return problems.flatMap((each) => stringAt(each, 'message') ?? []);
}

function identityOf(status: unknown): string | undefined {
  return stringAt(status, 'identity');
}
