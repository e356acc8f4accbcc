/**
 * Where `status` finds the Kubernetes API, the Lease and the agent of this machine, and `netcup-login` netcup, without the settings of an
 * agent.
 *
 * Guarantees: what is said on the command line counts first, then the environment of an agent, then what is usual.
 */
import { SCHEMA } from '../config/schema.ts';
import type { CredentialSource } from '../kube/credentials.ts';
import type { LeaseName } from '../kube/lease-codec.ts';
import type { Wanted } from './parse.ts';
import { USUAL_NAMESPACE } from './table.ts';

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly serviceAccountFolder: string;
  /** The text of a file, or null where it cannot be read. */
  readonly readFile: (path: string) => string | null;
}

type Asked = Pick<Wanted & { is: 'status' }, 'namespace' | 'lease' | 'kubeconfig' | 'context'>;

/** Where the API is; a text that says what to do where that is not known. */
export function findCredentials({ kubeconfig, context }: Asked, where: Surroundings): CredentialSource | { readonly problem: string } {
  const withContext = (path: string): CredentialSource => ({ kind: 'kubeconfig', path, ...(context === null ? {} : { context }) });
  if (kubeconfig !== null) return withContext(kubeconfig);
  // kubectl takes a list, and merges it; the first that is there has to do.
  const listed = (set(where, 'KUBECONFIG') ?? '').split(':').filter((path) => path !== '');
  const [first] = listed;
  if (first !== undefined) return withContext(listed.find((path) => where.readFile(path) !== null) ?? first);
  const host = set(where, 'KUBERNETES_SERVICE_HOST');
  const isInPod = host !== null && where.readFile(`${where.serviceAccountFolder}/token`) !== null;
  if (host !== null && isInPod && context === null) {
    return { kind: 'service-account', host, port: set(where, 'KUBERNETES_SERVICE_PORT') ?? '443', folder: where.serviceAccountFolder };
  }
  const usual = `${where.home}/.kube/config`;
  if (where.readFile(usual) !== null) return withContext(usual);
  return { problem: `there is no ${usual}, and this is no pod: name a kubeconfig with --kubeconfig, such as /etc/rancher/k3s/k3s.yaml` };
}

export function findLease({ namespace, lease }: Asked, where: Surroundings): LeaseName {
  const named = namespace ?? set(where, 'LEASE_NAMESPACE') ?? set(where, 'POD_NAMESPACE');
  return {
    namespace: named ?? where.readFile(`${where.serviceAccountFolder}/namespace`)?.trim() ?? USUAL_NAMESPACE,
    name: lease ?? set(where, 'LEASE_NAME') ?? SCHEMA.LEASE_NAME.default ?? '',
  };
}

/** Where the agent of this machine answers, as far as that can be known. */
export function findLocalPort(where: Surroundings): { readonly host: string; readonly port: number } {
  const parsed = SCHEMA.LISTEN.format.parse(set(where, 'LISTEN') ?? SCHEMA.LISTEN.default ?? '');
  const { host, port } = parsed !== null && 'value' in parsed ? parsed.value : { host: '127.0.0.1', port: 9_808 };
  return { host: host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host, port };
}

export function findControlSocket(socket: string | null, where: Surroundings): string {
  return socket ?? set(where, 'CONTROL_SOCKET') ?? SCHEMA.CONTROL_SOCKET.default ?? '';
}

/** Where netcup gives out tokens; null where what is set is no URL. */
export function findNetcupLogin(where: Surroundings): string | null {
  const parsed = SCHEMA.NETCUP_AUTH_ENDPOINT.format.parse(set(where, 'NETCUP_AUTH_ENDPOINT') ?? SCHEMA.NETCUP_AUTH_ENDPOINT.default ?? '');
  return parsed !== null && 'value' in parsed ? parsed.value : null;
}

function set({ env }: Surroundings, name: string): string | null {
  const value = env[name]?.trim();
  return value === undefined || value === '' ? null : value;
}
