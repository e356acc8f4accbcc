/**
 * What the Kubernetes API knows about this node.
 *
 * Guarantees: reading a Node is optional; where it is not allowed, that is an answer and not an error.
 */
import { asError } from '../clock.ts';
import { at, messageAt, parseJson, stringAt } from '../json.ts';
import type { KubeHttp } from './transport.ts';

const TIMEOUT_MS = 2_000;

/** Something that the Node says, or why it cannot be known. */
type Told<Value> = { readonly is: 'known'; readonly value: Value } | { readonly is: 'unknown'; readonly reason: string };

/** The Node's `spec.providerID`, or why it cannot be known. */
export type ProviderId = Told<string>;

export type NodeAnnotations = Told<Readonly<Record<string, string>>>;

/** Reads `spec.providerID` of a Node, such as `hcloud://9100202`. */
export async function readProviderId(http: KubeHttp, node: string, signal: AbortSignal): Promise<ProviderId> {
  const told = await readNode(http, node, signal);
  if (told.is === 'unknown') return told;
  const value = stringAt(told.value, 'spec', 'providerID');
  return value === undefined || value === ''
    ? { is: 'unknown', reason: `the Node ${node} has no spec.providerID` }
    : { is: 'known', value };
}

/** Reads the annotations of a Node; those that are no texts are left out. */
export async function readAnnotations(http: KubeHttp, node: string, signal: AbortSignal): Promise<NodeAnnotations> {
  const told = await readNode(http, node, signal);
  if (told.is === 'unknown') return told;
  const annotations = Object.entries(at(told.value, 'metadata', 'annotations') ?? {});
  return { is: 'known', value: Object.fromEntries(annotations.filter((entry): entry is [string, string] => typeof entry[1] === 'string')) };
}

async function readNode(http: KubeHttp, node: string, signal: AbortSignal): Promise<Told<unknown>> {
  try {
    const path = `/api/v1/nodes/${encodeURIComponent(node)}`;
    const { status, body } = await http.request({ method: 'GET', path, timeoutMs: TIMEOUT_MS, signal });
    const json = parseJson(body);
    if (status === 200) return { is: 'known', value: json };
    return { is: 'unknown', reason: `the Node ${node} cannot be read: ${status} ${messageAt(json, 'message') ?? ''}`.trim() };
  } catch (error) {
    return { is: 'unknown', reason: `the Node ${node} cannot be read: ${asError(error).message}` };
  }
}
