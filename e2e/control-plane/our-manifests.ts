/**
 * Brings what our manifests describe into a real API server, as `kubectl apply -k` would: namespace, ServiceAccount, Role
 * and Lease. Leaves out the DaemonSet, because there is no kubelet that would run it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load, loadAll } from 'js-yaml';
import { leasePath, leasesPath } from '../../agent/kube/lease-store.ts';
import type { KubeObject } from '../../test/support/manifests.ts';
import type { KubeAdmin } from './kube-admin.ts';

const BASE = fileURLToPath(new URL('../../manifests/base', import.meta.url));

interface Kustomization {
  readonly namespace: string;
  readonly labels: readonly { readonly pairs: Readonly<Record<string, string>> }[];
}

const KUSTOMIZATION = load(readFileSync(join(BASE, 'kustomization.yaml'), 'utf8')) as Kustomization;

/** The namespace that the manifests put everything into. */
export const NAMESPACE = KUSTOMIZATION.namespace;
export const SERVICE_ACCOUNT = 'leasehold';
export const LEASE_PATH = leasePath({ namespace: NAMESPACE, name: 'leasehold' });

const LABELS = Object.fromEntries(KUSTOMIZATION.labels.flatMap(({ pairs }) => Object.entries(pairs)));

const COLLECTIONS: Readonly<Record<string, string>> = {
  Namespace: '/api/v1/namespaces',
  ServiceAccount: `/api/v1/namespaces/${NAMESPACE}/serviceaccounts`,
  Role: `/apis/rbac.authorization.k8s.io/v1/namespaces/${NAMESPACE}/roles`,
  RoleBinding: `/apis/rbac.authorization.k8s.io/v1/namespaces/${NAMESPACE}/rolebindings`,
  Lease: leasesPath(NAMESPACE),
};

/** Creates every object in the order in which one needs the other. */
export async function applyManifests(admin: KubeAdmin): Promise<void> {
  for (const file of ['namespace.yaml', 'service-account.yaml', 'role.yaml', 'lease.yaml']) {
    for (const object of manifest(file)) await admin.create(COLLECTIONS[object.kind] ?? '', object);
  }
}

/** The Lease as the manifests describe it, with the labels that kustomize gives it. */
export function leaseManifest(): KubeObject {
  const [lease] = manifest('lease.yaml');
  if (lease === undefined) throw new Error('manifests/base/lease.yaml holds no Lease');
  return lease;
}

function manifest(file: string): KubeObject[] {
  const objects = loadAll(readFileSync(join(BASE, file), 'utf8')) as KubeObject[];
  return objects.map((object) => ({
    ...object,
    ...(object.kind === 'RoleBinding' ? { subjects: [{ kind: 'ServiceAccount', name: SERVICE_ACCOUNT, namespace: NAMESPACE }] } : {}),
    metadata: {
      ...object.metadata,
      ...(object.kind === 'Namespace' ? {} : { namespace: NAMESPACE }),
      labels: { ...object.metadata.labels, ...LABELS },
    },
  }));
}
