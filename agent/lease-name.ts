/**
 * What is named after a Lease on a node: readable, unless the Lease's own name is too long for that.
 *
 * Guarantees: different Leases have different names.
 */
import { createHash } from 'node:crypto';

/** `leasehold/NAMESPACE/NAME`, or a hash of it in its place where that has more characters than there may be. */
export function nameAfterLease({ namespace, name }: { readonly namespace: string; readonly name: string }, lengthMax: number): string {
  const readable = `leasehold/${namespace}/${name}`;
  return readable.length <= lengthMax ? readable : `leasehold/${createHash('sha256').update(readable).digest('hex')}`;
}
