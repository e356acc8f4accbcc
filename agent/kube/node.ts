/**
 * What the Kubernetes API knows about this node.
 *
 * Guarantees: reading a Node is optional; where it is not allowed, that is an answer and not an error.
 */
import { asError } from '../clock.ts';
import { messageAt, parseJson, stringAt } from '../json.ts';
import type { KubeHttp } from './transport.ts';

const TIMEOUT_MS = 2_000;

/** The Node's `spec.providerID`, or why it cannot be known. */
export type ProviderId = { readonly is: 'known'; readonly value: string } | { readonly is: 'unknown'; readonly reason: string };

/** Reads `spec.providerID` of a Node, such as `hcloud://9100202`. */
export async function readProviderId(http: KubeHttp, node: string, signal: AbortSignal): Promise<ProviderId> {
  try {
    const path = `/api/v1/nodes/${encodeURIComponent(node)}`;
    const answer = await http.request({ method: 'GET', path, timeoutMs: TIMEOUT_MS, signal });
    const json = parseJson(answer.body);
    if (answer.status !== 200) {
      return { is: 'unknown', reason: `the Node ${node} cannot be read: ${answer.status} ${messageAt(json, 'message') ?? ''}`.trim() };
    }
    const value = stringAt(json, 'spec', 'providerID');
    return value === undefined || value === ''
      ? { is: 'unknown', reason: `the Node ${node} has no spec.providerID` }
      : { is: 'known', value };
  } catch (error) {
    return { is: 'unknown', reason: `the Node ${node} cannot be read: ${asError(error).message}` };
  }
}
