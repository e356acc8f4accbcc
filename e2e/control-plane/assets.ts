/**
 * Where the programs of a real Kubernetes control plane are.
 *
 * `KUBEBUILDER_ASSETS` names a folder with `etcd` and `kube-apiserver`, as elsewhere in the Kubernetes world; else they are
 * where `npm run control-plane` puts them. Nothing is downloaded or built here.
 */
import { spawnSync } from 'node:child_process';
import { homedir } from 'node:os';
import { join } from 'node:path';

export type Assets =
  | { readonly is: 'available'; readonly etcd: string; readonly kubeApiserver: string }
  | { readonly is: 'unavailable'; readonly why: string };

/** Finds both programs in the folder that the environment names, and tries whether they start. */
export function findAssets(env: NodeJS.ProcessEnv): Assets {
  const cache = env['LEASEHOLD_ASSETS'] ?? join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'leasehold');
  const folder = env['KUBEBUILDER_ASSETS'] ?? cache;
  const [etcd, kubeApiserver] = [join(folder, 'etcd'), join(folder, 'kube-apiserver')];
  const missing = [etcd, kubeApiserver].filter((program) => spawnSync(program, ['--version']).status !== 0);
  if (missing.length === 0) return { is: 'available', etcd, kubeApiserver };
  return { is: 'unavailable', why: `no ${missing.join(' and no ')} that starts; "npm run control-plane" provides them` };
}
