/**
 * Pods, Nodes and what runs them, as far as the small cluster of the walk needs to know them.
 */

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly generation?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly deletionTimestamp?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly ownerReferences?: readonly { readonly uid: string; readonly kind: string }[];
}

export interface Node {
  readonly metadata: ObjectMeta;
}

interface EnvSource {
  readonly fieldRef?: { readonly fieldPath: string };
  readonly secretKeyRef?: { readonly name: string; readonly key: string };
}

export interface Container {
  readonly name: string;
  readonly args?: readonly string[];
  readonly envFrom?: readonly { readonly configMapRef?: { readonly name: string } }[];
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: EnvSource }[];
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
  readonly securityContext?: { readonly capabilities?: { readonly add?: readonly string[] } };
  readonly readinessProbe?: { readonly httpGet?: { readonly host?: string; readonly port: number | string; readonly path: string } };
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

export interface VolumeFiles {
  readonly defaultMode?: number;
  /** Which keys there are as files, and what these are called; all keys, where it is absent. */
  readonly items?: readonly { readonly key: string; readonly path: string }[];
}

interface Volume {
  readonly name: string;
  readonly secret?: VolumeFiles & { readonly secretName: string };
  readonly configMap?: VolumeFiles & { readonly name: string };
  readonly emptyDir?: object;
}

interface AffinityTerm {
  readonly labelSelector?: { readonly matchLabels?: Readonly<Record<string, string>> };
  readonly namespaces?: readonly string[];
  readonly topologyKey: string;
}

interface Required {
  readonly requiredDuringSchedulingIgnoredDuringExecution?: readonly AffinityTerm[];
}

export interface PodSpec {
  readonly nodeName?: string;
  readonly serviceAccountName?: string;
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly affinity?: { readonly podAffinity?: Required; readonly podAntiAffinity?: Required };
  readonly containers: readonly Container[];
  readonly volumes?: readonly Volume[];
}

export interface Pod {
  readonly metadata: ObjectMeta;
  readonly spec: PodSpec;
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

export interface Workload {
  readonly kind: 'DaemonSet' | 'Deployment';
  readonly metadata: ObjectMeta;
  readonly spec: {
    readonly replicas?: number;
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template: { readonly metadata: Partial<ObjectMeta>; readonly spec: PodSpec };
  };
}

/** Whether labels have everything that a selector asks for. */
export function matches(labels: Readonly<Record<string, string>> | undefined, selector: Readonly<Record<string, string>> = {}): boolean {
  return Object.entries(selector).every(([key, value]) => labels?.[key] === value);
}

export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
}
