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
  // As for a shell, what is empty is not set.
  const set = (name: string): string | null => (env[name] === '' ? null : (env[name] ?? null));
  const named = set('KUBEBUILDER_ASSETS');
  const folder = named ?? set('LEASEHOLD_ASSETS') ?? join(set('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'leasehold');
  const [etcd, kubeApiserver] = [join(folder, 'etcd'), join(folder, 'kube-apiserver')];
  const missing = [etcd, kubeApiserver].filter((program) => spawnSync(program, ['--version']).status !== 0);
  if (missing.length === 0) return { is: 'available', etcd, kubeApiserver };
  const advice = named === null ? '"npm run control-plane" provides them' : 'KUBEBUILDER_ASSETS names that folder';
  return { is: 'unavailable', why: `there is no ${missing.join(' and no ')} that starts; ${advice}` };
}
