/**
 * Pods and Services of the Kubernetes API as a model: lists and watches by selectors, and the eviction of pods.
 *
 * Guarantees: no socket and no timer of its own. A watch with a selector is told that an object is gone when it no longer
 * matches, as a real one is. An evicted pod is asked to end and stays until somebody removes it, as a kubelet would.
 * Not modelled: everything else of these objects; a PodDisruptionBudget is a function that may say no.
 */
import { labelsOf, matchesText } from './selectors.ts';
import type { Answer } from './http-stand-in.ts';

export interface StoredObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace: string;
    uid: string;
    resourceVersion: string;
    labels?: Record<string, string>;
    deletionTimestamp?: string;
  };
  spec: Record<string, unknown>;
  status?: Record<string, unknown>;
}

export type Resource = 'pods' | 'services';

/** A pod in the words of a test. */
export interface PodWords {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Left out while the scheduler looks for one. */
  readonly node?: string;
  readonly isReady?: boolean;
  readonly uid?: string;
  readonly affinity?: object;
  readonly containers?: readonly object[];
}

interface Filter {
  readonly resource: Resource;
  readonly namespace: string;
  readonly query: URLSearchParams;
}

interface Change {
  readonly resource: Resource;
  readonly version: number;
  readonly before: StoredObject | null;
  readonly after: StoredObject | null;
}

const KINDS = { pods: 'Pod', services: 'Service' } as const;

export class KubeObjects {
  /** Why a pod may not be evicted just now, or null. */
  budget: (pod: StoredObject) => string | null = () => null;
  /** Told of each eviction that was granted. */
  onEvicted: (pod: StoredObject) => void = () => undefined;
  readonly #objects = new Map<string, StoredObject>();
  readonly #changes: Change[] = [];
  readonly #watchers = new Set<{ readonly filter: Filter; readonly send: (line: string) => void }>();
  readonly #newUid: () => string;
  #version = 1_000;

  constructor(newUid: () => string) {
    this.#newUid = newUid;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  /** Lets every watch go silent. */
  silenceWatches(): void {
    this.#watchers.clear();
  }

  /** Creates or changes a pod as its controller, the scheduler and the kubelet would together. */
  putPod({ name, namespace = 'default', labels = {}, node, isReady = false, uid, affinity, containers }: PodWords): StoredObject {
    const before = this.get('pods', namespace, name);
    return this.#store('pods', {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace, uid: uid ?? before?.metadata.uid ?? this.#newUid(), resourceVersion: '', labels: { ...labels } },
      spec: {
        ...(node === undefined ? {} : { nodeName: node }),
        ...(affinity === undefined ? {} : { affinity }),
        ...(containers === undefined ? {} : { containers }),
      },
      status: {
        phase: node === undefined ? 'Pending' : 'Running',
        conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }],
      },
    });
  }

  putService(name: string, selector: Record<string, string> | null, namespace = 'default'): StoredObject {
    const uid = this.get('services', namespace, name)?.metadata.uid ?? this.#newUid();
    const metadata = { name, namespace, uid, resourceVersion: '' };
    return this.#store('services', { apiVersion: 'v1', kind: 'Service', metadata, spec: selector === null ? {} : { selector } });
  }

  get(resource: Resource, namespace: string, name: string): StoredObject | undefined {
    return this.#objects.get(`${resource}/${namespace}/${name}`);
  }

  all(resource: Resource): StoredObject[] {
    return [...this.#objects].flatMap(([key, object]) => (key.startsWith(`${resource}/`) ? [object] : []));
  }

  /** Removes an object for good. */
  remove(resource: Resource, name: string, namespace = 'default'): void {
    const before = this.get(resource, namespace, name);
    if (before === undefined) return;
    this.#objects.delete(`${resource}/${namespace}/${name}`);
    this.#tell({ resource, version: ++this.#version, before, after: null });
  }

  /** Asks a pod to end, as a deletion does: it stays until it is removed. */
  end(name: string, namespace = 'default'): void {
    const pod = structuredClone(this.get('pods', namespace, name));
    if (pod === undefined) return;
    pod.metadata.deletionTimestamp = '2026-11-21T08:00:00Z';
    this.#store('pods', pod);
  }

  list(filter: Filter): Answer {
    const version = String(this.#version);
    const items = this.all(filter.resource).filter((object) => isFor(filter, object));
    return {
      status: 200,
      body: { apiVersion: 'v1', kind: `${KINDS[filter.resource]}List`, metadata: { resourceVersion: version }, items },
    };
  }

  /** Opens a watch, as the model of Leases does. */
  watch(filter: Filter): {
    readonly is: 'watch';
    readonly endsAfterMs: number;
    readonly open: (send: (line: string) => void) => () => void;
  } {
    const from = Number(filter.query.get('resourceVersion') ?? '0');
    return {
      is: 'watch',
      endsAfterMs: Number(filter.query.get('timeoutSeconds') ?? '1800') * 1_000,
      open: (send) => {
        const watcher = { filter, send };
        for (const change of this.#changes) if (change.version > from) sendChange(watcher, change);
        this.#watchers.add(watcher);
        return () => void this.#watchers.delete(watcher);
      },
    };
  }

  evict(namespace: string, name: string, uid: string | undefined, isDryRun = false): Answer {
    const pod = this.get('pods', namespace, name);
    if (pod === undefined) return failure(404, 'NotFound', `pods "${name}" not found`, { name, kind: 'pods' });
    if (uid !== undefined && uid !== pod.metadata.uid) {
      const message = `Operation cannot be fulfilled on Pod "${name}": the UID in the precondition (${uid}) does not match the UID in record (${pod.metadata.uid})`;
      return failure(409, 'Conflict', message, { name, kind: 'Pod' });
    }
    const why = pod.metadata.deletionTimestamp === undefined ? this.budget(pod) : null;
    if (why !== null) {
      const causes = [{ reason: 'DisruptionBudget', message: why }];
      return failure(429, 'TooManyRequests', "Cannot evict pod as it would violate the pod's disruption budget.", { causes });
    }
    if (!isDryRun) {
      this.end(name, namespace);
      this.onEvicted(pod);
    }
    return { status: 201, body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 } };
  }

  #store(resource: Resource, object: StoredObject): StoredObject {
    const key = `${resource}/${object.metadata.namespace}/${object.metadata.name}`;
    const before = this.#objects.get(key) ?? null;
    object.metadata.resourceVersion = String(++this.#version);
    this.#objects.set(key, object);
    this.#tell({ resource, version: this.#version, before, after: object });
    return object;
  }

  #tell(change: Change): void {
    this.#changes.push(structuredClone(change));
    for (const watcher of this.#watchers) sendChange(watcher, change);
  }
}

function sendChange({ filter, send }: { readonly filter: Filter; readonly send: (line: string) => void }, change: Change): void {
  if (change.resource !== filter.resource) return;
  const [was, is] = [change.before, change.after].map((object) => object !== null && isFor(filter, object));
  const object = is === true ? change.after : change.before;
  if ((was !== true && is !== true) || object === null) return;
  const type = was !== true ? 'ADDED' : is === true ? 'MODIFIED' : 'DELETED';
  send(JSON.stringify({ type, object: { ...object, metadata: { ...object.metadata, resourceVersion: String(change.version) } } }));
}

function isFor({ namespace, query }: Filter, { metadata }: StoredObject): boolean {
  const name = /^metadata\.name=(.+)$/.exec(query.get('fieldSelector') ?? '')?.[1];
  return (
    metadata.namespace === namespace &&
    (name === undefined || metadata.name === name) &&
    matchesText(query.get('labelSelector') ?? '', labelsOf(metadata))
  );
}

function failure(status: number, reason: string, message: string, details: object): Answer {
  return { status, body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, details, code: status } };
}
