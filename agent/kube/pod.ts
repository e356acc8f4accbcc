/**
 * What the agent looks at in a Pod.
 *
 * Guarantees: nothing is believed about the shape of what came; what is no Pod is null.
 */
import { at, listAt, stringAt } from '../json.ts';
import { matchesSelector } from './label-selector.ts';
import type { Labels } from './label-selector.ts';

export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** The node that it is bound to; null while the scheduler looks for one. */
  readonly node: string | null;
  readonly labels: Labels;
  /** Its condition Ready is true, and nobody has asked it to end: what makes it an endpoint of a Service. */
  readonly isReady: boolean;
  /** Somebody has asked it to end. */
  readonly isEnding: boolean;
  /** Where it may be placed: what its required podAffinity says, each term as it stands in the Pod. */
  readonly besides: readonly unknown[];
}

/** By these labels agents are found, and by these the manifests keep them on different nodes. */
export const AGENT_LABELS = { 'app.kubernetes.io/name': 'leasehold' } as const;
/** The same as a selector in a request. */
export const AGENT_SELECTOR = Object.entries(AGENT_LABELS)
  .map(([key, value]) => `${key}=${value}`)
  .join(',');

const HOSTNAME = 'kubernetes.io/hostname';

/** Decodes a Pod. One that has ended for good (Succeeded, Failed) occupies no node any more. */
export function decodePod(json: unknown): Pod | null {
  const [namespace, name, uid] = ['namespace', 'name', 'uid'].map((field) => stringAt(json, 'metadata', field));
  if (namespace === undefined || name === undefined || uid === undefined) return null;
  const isOver = ['Succeeded', 'Failed'].includes(stringAt(json, 'status', 'phase') ?? '');
  const node = stringAt(json, 'spec', 'nodeName') ?? '';
  const isEnding = stringAt(json, 'metadata', 'deletionTimestamp') !== undefined;
  const conditions = listAt(json, 'status', 'conditions') ?? [];
  const saysReady = conditions.some((each) => stringAt(each, 'type') === 'Ready' && stringAt(each, 'status') === 'True');
  return {
    namespace,
    name,
    uid,
    node: node === '' || isOver ? null : node,
    labels: decodeLabels(at(json, 'metadata', 'labels')),
    isReady: saysReady && !isEnding && !isOver && node !== '',
    isEnding,
    besides: listAt(json, 'spec', 'affinity', 'podAffinity', 'requiredDuringSchedulingIgnoredDuringExecution') ?? [],
  };
}

/** Whether a pod is bound to stand beside another one: its every required podAffinity term is about nodes and selects that one. */
export function mustStandBeside(pod: Pod, other: Pod): boolean {
  return pod.besides.length > 0 && pod.besides.every((term) => selects(term, pod.namespace, other));
}

function selects(term: unknown, ownNamespace: string, { namespace, labels }: Pod): boolean {
  if (stringAt(term, 'topologyKey') !== HOSTNAME) return false;
  const named = listAt(term, 'namespaces') ?? [];
  const bySelector = at(term, 'namespaceSelector');
  // An empty one means every namespace. What another one selects cannot be known without reading namespaces.
  const isEverywhere = typeof bySelector === 'object' && bySelector !== null && Object.keys(bySelector).length === 0;
  const isThere =
    isEverywhere || named.includes(namespace) || (named.length === 0 && bySelector === undefined && namespace === ownNamespace);
  return isThere && matchesSelector(at(term, 'labelSelector'), labels);
}

function decodeLabels(json: unknown): Labels {
  if (typeof json !== 'object' || json === null) return {};
  return Object.fromEntries(Object.entries(json).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}

/** The path of a namespace's pods. */
export function podsPath(namespace: string): string {
  return `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`;
}
