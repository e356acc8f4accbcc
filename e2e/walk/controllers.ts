/**
 * The controllers and the scheduler of the walk's small cluster: makes pods of DaemonSets and Deployments, chooses their
 * nodes, replaces them one by one when their template changes, and tidies up after what was deleted.
 *
 * Guarantees: as much of what Kubernetes does as the manifests of this repository rely on, and no more. Node selectors and
 * required (anti-)affinity by host name are heeded; taints, resources and everything else are not.
 */
import { createHash } from 'node:crypto';
import { listAt } from '../../agent/json.ts';
import type { KubeAdmin } from '../control-plane/kube-admin.ts';
import { isReady, matches } from './pods.ts';
import type { Node, Pod, Workload } from './pods.ts';

const REVISION = 'controller-revision-hash';
/** What is deleted with its namespace. */
const NAMESPACED = [
  '/apis/apps/v1/namespaces/NS/daemonsets',
  '/apis/apps/v1/namespaces/NS/deployments',
  '/api/v1/namespaces/NS/configmaps',
  '/api/v1/namespaces/NS/secrets',
  '/api/v1/namespaces/NS/serviceaccounts',
  '/apis/coordination.k8s.io/v1/namespaces/NS/leases',
  '/apis/rbac.authorization.k8s.io/v1/namespaces/NS/roles',
  '/apis/rbac.authorization.k8s.io/v1/namespaces/NS/rolebindings',
  '/apis/events.k8s.io/v1/namespaces/NS/events',
];

export class Controllers {
  readonly #admin: KubeAdmin;
  #count = 0;

  constructor(admin: KubeAdmin) {
    this.#admin = admin;
  }

  /** Looks at everything once and does what is due. */
  async reconcile(): Promise<void> {
    const nodes = await this.#list<Node>('/api/v1/nodes');
    const pods = await this.#list<Pod>('/api/v1/pods');
    const workloads = [
      ...(await this.#list<Workload>('/apis/apps/v1/daemonsets')).map((each) => ({ ...each, kind: 'DaemonSet' as const })),
      ...(await this.#list<Workload>('/apis/apps/v1/deployments')).map((each) => ({ ...each, kind: 'Deployment' as const })),
    ];
    for (const workload of workloads) await this.#reconcileWorkload(workload, nodes, pods);
    const uids = new Set(workloads.map(({ metadata }) => metadata.uid));
    for (const pod of pods) {
      const [owner] = pod.metadata.ownerReferences ?? [];
      if (owner !== undefined && !uids.has(owner.uid)) await this.#deletePod(pod);
    }
    for (const { metadata } of await this.#list<Node>('/api/v1/namespaces')) {
      if (metadata.deletionTimestamp !== undefined) await this.#finalize(metadata.name, pods);
    }
  }

  async #reconcileWorkload(workload: Workload, nodes: readonly Node[], all: readonly Pod[]): Promise<void> {
    const { metadata, spec } = workload;
    const own = all.filter((pod) => pod.metadata.ownerReferences?.some(({ uid }) => uid === metadata.uid) === true);
    const revision = createHash('sha256').update(JSON.stringify(spec.template)).digest('hex').slice(0, 10);
    const fitting = nodes.filter((node) => matches(node.metadata.labels, spec.template.spec.nodeSelector));
    const living = own.filter((pod) => pod.metadata.deletionTimestamp === undefined);
    const desired = workload.kind === 'DaemonSet' ? fitting.length : (spec.replicas ?? 1);
    if (workload.kind === 'DaemonSet') {
      for (const { metadata: node } of fitting) {
        if (!own.some((pod) => pod.spec.nodeName === node.name)) await this.#createPod(workload, revision, node.name);
      }
      const names = fitting.map((node) => node.metadata.name);
      for (const pod of living) if (!names.includes(pod.spec.nodeName ?? '')) await this.#deletePod(pod);
    } else {
      for (let missing = desired - own.length; missing > 0; missing -= 1) await this.#createPod(workload, revision, null);
      for (const pod of living) if (pod.spec.nodeName === undefined) await this.#schedule(pod, fitting, all);
    }
    // One at a time, and none while another is not ready: maxUnavailable 1, maxSurge 0.
    const old = living.filter((pod) => pod.metadata.labels?.[REVISION] !== revision);
    const isWhole = own.length === desired && living.length === desired && living.every(isReady);
    const [next] = old.some((pod) => !isReady(pod)) ? old.filter((pod) => !isReady(pod)) : isWhole ? old : [];
    if (next !== undefined) await this.#deletePod(next);
    await this.#tell(workload, living, living.length - old.length, desired);
  }

  async #createPod({ kind, metadata, spec }: Workload, revision: string, nodeName: string | null): Promise<void> {
    this.#count += 1;
    await this.#admin.create(`/api/v1/namespaces/${metadata.namespace ?? ''}/pods`, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: `${metadata.name}-${revision.slice(0, 5)}${this.#count}`,
        labels: { ...spec.template.metadata.labels, [REVISION]: revision },
        annotations: spec.template.metadata.annotations,
        ownerReferences: [{ apiVersion: 'apps/v1', kind, name: metadata.name, uid: metadata.uid, controller: true }],
      },
      spec: { ...spec.template.spec, ...(nodeName === null ? {} : { nodeName }) },
    });
  }

  async #schedule(pod: Pod, nodes: readonly Node[], all: readonly Pod[]): Promise<void> {
    const { podAffinity, podAntiAffinity } = pod.spec.affinity ?? {};
    type Terms = NonNullable<typeof podAffinity>['requiredDuringSchedulingIgnoredDuringExecution'];
    const standsBeside = (node: string, terms: Terms): boolean[] =>
      (terms ?? []).map(({ labelSelector, namespaces }) =>
        all.some(
          (other) =>
            other.spec.nodeName === node &&
            (namespaces ?? [pod.metadata.namespace ?? '']).includes(other.metadata.namespace ?? '') &&
            matches(other.metadata.labels, labelSelector?.matchLabels),
        ),
      );
    const node = nodes.find(
      ({ metadata }) =>
        standsBeside(metadata.name, podAffinity?.requiredDuringSchedulingIgnoredDuringExecution).every(Boolean) &&
        !standsBeside(metadata.name, podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution).some(Boolean),
    );
    if (node === undefined) return;
    const { name, namespace = '' } = pod.metadata;
    await this.#admin.create(`/api/v1/namespaces/${namespace}/pods/${name}/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name },
      target: { apiVersion: 'v1', kind: 'Node', name: node.metadata.name },
    });
  }

  async #tell({ kind, metadata }: Workload, living: readonly Pod[], updated: number, desired: number): Promise<void> {
    const ready = living.filter(isReady).length;
    const common = { observedGeneration: metadata.generation };
    const status =
      kind === 'DaemonSet'
        ? {
            ...common,
            currentNumberScheduled: living.length,
            desiredNumberScheduled: desired,
            numberMisscheduled: 0,
            numberReady: ready,
            numberAvailable: ready,
            updatedNumberScheduled: updated,
          }
        : { ...common, replicas: living.length, readyReplicas: ready, availableReplicas: ready, updatedReplicas: updated };
    const path = `/apis/apps/v1/namespaces/${metadata.namespace ?? ''}/${kind.toLowerCase()}s/${metadata.name}/status`;
    await this.#admin.request('PATCH', path, { status }, 'application/merge-patch+json');
  }

  async #deletePod({ metadata }: Pod): Promise<void> {
    if (metadata.deletionTimestamp !== undefined) return;
    await this.#admin.request('DELETE', `/api/v1/namespaces/${metadata.namespace ?? ''}/pods/${metadata.name}`);
  }

  /** Deletes what is in a namespace that is to go, its pods first, and then lets it go. */
  async #finalize(namespace: string, all: readonly Pod[]): Promise<void> {
    const pods = all.filter(({ metadata }) => metadata.namespace === namespace);
    for (const pod of pods) await this.#deletePod(pod);
    if (pods.length > 0) return;
    for (const path of NAMESPACED) await this.#admin.request('DELETE', path.replace('NS', namespace));
    const { body } = await this.#admin.request('GET', `/api/v1/namespaces/${namespace}`);
    if (body === null) return;
    await this.#admin.request('PUT', `/api/v1/namespaces/${namespace}/finalize`, { ...body, spec: { finalizers: [] } });
  }

  async #list<Kind>(path: string): Promise<Kind[]> {
    const { body } = await this.#admin.request('GET', path);
    return (listAt(body, 'items') ?? []) as Kind[];
  }
}
