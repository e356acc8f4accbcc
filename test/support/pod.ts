/**
 * An agent's pod as the kubelet would start it: its environment and what it mounts.
 *
 * Guarantees: the environment is put together by the kubelet's rules. What `env` says counts before what `envFrom` says, and
 * `$(NAME)` stands for what `env` has named before it, and for nothing that comes later or from `envFrom`.
 */
import assert from 'node:assert/strict';
import { at } from '../../agent/json.ts';
import type { KubeObject } from './manifests.ts';
import { SECRETS_FROM_ELSEWHERE } from './provider-overlays.ts';

interface EnvironmentVariable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } };
}

interface Probe {
  readonly httpGet: { readonly host?: string; readonly port: string; readonly path: string };
}

export interface Container {
  readonly image: string;
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly env: readonly EnvironmentVariable[];
  readonly envFrom: readonly { readonly configMapRef: { readonly name: string } }[];
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly resources: unknown;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}

/** The node that the pod is on. */
export const NODE = { name: 'node-a', ip: '198.51.100.7' };

export const POD = { name: 'leasehold-x7k2p', uid: '0b1c2d3e-0000-4000-8000-000000000000' };

/** What the downward API says about the pod. */
const FIELDS: Readonly<Record<string, string>> = {
  'spec.nodeName': NODE.name,
  'metadata.name': POD.name,
  'metadata.uid': POD.uid,
  'status.hostIP': NODE.ip,
};

/** The DaemonSet or the Deployment that runs the agents. */
export function workloadOf(objects: readonly KubeObject[]): KubeObject {
  const [workload, ...others] = objects.filter(({ kind }) => kind === 'DaemonSet' || kind === 'Deployment');
  assert.ok(workload !== undefined && others.length === 0, 'one of them runs the agents');
  return workload;
}

/** The pod's specification. */
export function podOf(objects: readonly KubeObject[]): Readonly<Record<string, unknown>> {
  return at(workloadOf(objects), 'spec', 'template', 'spec') as Readonly<Record<string, unknown>>;
}

/** Its only container. */
export function containerOf(objects: readonly KubeObject[]): Container {
  const [container, ...others] = podOf(objects)['containers'] as readonly Container[];
  assert.ok(container !== undefined && others.length === 0, 'an agent is one container');
  return container;
}

/** What the agent's environment is. */
export function environmentOf(objects: readonly KubeObject[]): Record<string, string> {
  const { env, envFrom } = containerOf(objects);
  const namespace = workloadOf(objects).metadata.namespace ?? '';
  const fromMaps = envFrom.flatMap(({ configMapRef: { name } }) => {
    const map = objects.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === name) ?? assert.fail(`no ConfigMap ${name}`);
    return Object.entries(map['data'] as Readonly<Record<string, string>>);
  });
  const own: Record<string, string> = {};
  for (const { name, value, valueFrom } of env) {
    const path = valueFrom?.fieldRef.fieldPath;
    if (path !== undefined) own[name] = path === 'metadata.namespace' ? namespace : (FIELDS[path] ?? assert.fail(`no field ${path}`));
    else own[name] = (value ?? '').replace(/\$\((\w+)\)/g, (whole, other: string) => own[other] ?? whole);
  }
  return { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443', ...Object.fromEntries(fromMaps), ...own };
}

/** Reads what a file in the container holds, where a Secret is mounted there. */
export function readFileOf(objects: readonly KubeObject[]): (path: string) => string {
  const volumes = podOf(objects)['volumes'] as readonly { readonly name: string; readonly secret?: { readonly secretName: string } }[];
  return (path) => {
    if (path.startsWith('/var/run/secrets/kubernetes.io/serviceaccount/')) return 'from the service account';
    const mount = containerOf(objects).volumeMounts.find(({ mountPath }) => path.startsWith(`${mountPath}/`));
    const secretName = volumes.find(({ name }) => name === mount?.name)?.secret?.secretName;
    const secret = objects.find(({ kind, metadata }) => kind === 'Secret' && metadata.name === secretName);
    const key = path.slice((mount?.mountPath.length ?? 0) + 1);
    const fromElsewhere = SECRETS_FROM_ELSEWHERE.find(({ name }) => name === secretName)?.data[key];
    if (fromElsewhere !== undefined) return fromElsewhere;
    const encoded = at(secret, 'data', key);
    if (typeof encoded !== 'string') throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
    return Buffer.from(encoded, 'base64').toString();
  };
}
