/**
 * The stand-in for the Kubernetes API in a process of its own, with Leases that nobody has ever held.
 *
 * Arguments: how many. Tells its parent the kubeconfig and their names, and from then on how many requests there have been.
 */
import { KubeApi } from '../../test/support/kube-api.ts';

const TELL_MS = 50;

export type ApiMessage =
  | { readonly is: 'open'; readonly kubeconfig: string; readonly leases: readonly string[] }
  | { readonly is: 'count'; readonly requests: number };

// Nobody is left to ask for it.
process.on('disconnect', () => process.exit());
const api = await KubeApi.start();
const leases = Array.from({ length: Number(process.argv[2]) }, (_, index) => `leasehold-${index}`);
for (const name of leases) api.create({}, { name });
let requests = 0;
setInterval(() => {
  // What was asked is not looked at, and must not pile up.
  requests += api.http.exchanges.splice(0).length;
  tell({ is: 'count', requests });
}, TELL_MS);
tell({ is: 'open', kubeconfig: api.kubeconfig(), leases });

function tell(message: ApiMessage): void {
  process.send?.(message);
}
