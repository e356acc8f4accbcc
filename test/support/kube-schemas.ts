/**
 * What the Kubernetes API would say against an object, without an API server.
 *
 * Two sources are asked, both made from Kubernetes' own description of its API: the models of the official client know every
 * field there is (1.36), so that one that is not among them is a mistake; the validators of kubernetes-models know what is
 * required, of which type, and which words are accepted. Neither knows what only the server checks, such as that a selector
 * matches its template. The Prometheus operator's kinds are checked by hand, as far as they are used here.
 */
import * as models from '@kubernetes/client-node/dist/gen/models/all.js';
import { DaemonSet, Deployment } from 'kubernetes-models/apps/v1';
import { Lease } from 'kubernetes-models/coordination.k8s.io/v1';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1';
import { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from 'kubernetes-models/rbac.authorization.k8s.io/v1';
import { ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount } from 'kubernetes-models/v1';
import type { KubeObject } from './manifests.ts';

interface Attribute {
  readonly baseName: string;
  readonly type: string;
}

type Attributes = readonly Attribute[];

const MODELS = models as unknown as Readonly<Record<string, { readonly attributeTypeMap?: Attributes } | undefined>>;

const VALIDATORS: Readonly<Record<string, (new (object: never) => { validate(): void }) | undefined>> = {
  'apps/v1 DaemonSet': DaemonSet,
  'apps/v1 Deployment': Deployment,
  'coordination.k8s.io/v1 Lease': Lease,
  'policy/v1 PodDisruptionBudget': PodDisruptionBudget,
  'rbac.authorization.k8s.io/v1 ClusterRole': ClusterRole,
  'rbac.authorization.k8s.io/v1 ClusterRoleBinding': ClusterRoleBinding,
  'rbac.authorization.k8s.io/v1 Role': Role,
  'rbac.authorization.k8s.io/v1 RoleBinding': RoleBinding,
  'v1 ConfigMap': ConfigMap,
  'v1 Namespace': Namespace,
  'v1 Pod': Pod,
  'v1 Secret': Secret,
  'v1 Service': Service,
  'v1 ServiceAccount': ServiceAccount,
};

/** The fields of the Prometheus operator's kinds that are used here, as its own description of them has them. */
const BY_HAND: Readonly<Record<string, Readonly<Record<string, Attributes>> | undefined>> = {
  'monitoring.coreos.com/v1 PodMonitor': {
    root: fields({ apiVersion: 'string', kind: 'string', metadata: 'V1ObjectMeta', spec: 'spec' }),
    spec: fields({ selector: 'V1LabelSelector', podMetricsEndpoints: 'Array<endpoint>' }),
    endpoint: fields({
      port: 'string',
      path: 'string',
      interval: 'string',
      scrapeTimeout: 'string',
      relabelings: 'Array<relabeling>',
    }),
    relabeling: fields({ sourceLabels: 'Array<string>', targetLabel: 'string', regex: 'string', replacement: 'string', action: 'string' }),
  },
};

function fields(types: Readonly<Record<string, string>>): Attributes {
  return Object.entries(types).map(([baseName, type]) => ({ baseName, type }));
}

/** Everything that is wrong with an object, a line each. */
export function problemsOf(object: KubeObject): string[] {
  const kind = `${object.apiVersion} ${object.kind}`;
  const byHand = BY_HAND[kind];
  const root = byHand === undefined ? MODELS[modelName(object)]?.attributeTypeMap : byHand['root'];
  if (root === undefined) return [`${kind}: nobody here knows this kind`];
  const known = (type: string): Attributes | undefined => byHand?.[type] ?? MODELS[type]?.attributeTypeMap;
  return [...unknownFields(object, root, known, kind), ...(byHand === undefined ? invalidValues(object, kind) : [])];
}

/** `apps/v1 DaemonSet` is V1DaemonSet. */
function modelName({ apiVersion, kind }: KubeObject): string {
  const version = apiVersion.split('/').at(-1) ?? '';
  return `${version.charAt(0).toUpperCase()}${version.slice(1)}${kind}`;
}

function unknownFields(object: object, attributes: Attributes, known: (type: string) => Attributes | undefined, path: string): string[] {
  return Object.entries(object).flatMap(([field, value]: [string, unknown]) => {
    const attribute = attributes.find(({ baseName }) => baseName === field);
    const here = `${path}.${field}`;
    if (attribute === undefined) return [`${here}: there is no such field`];
    return mismatches(value, attribute.type, known, here);
  });
}

function mismatches(value: unknown, type: string, known: (type: string) => Attributes | undefined, path: string): string[] {
  const listOf = /^(?:Array|Set)<(.*)>$/.exec(type)?.[1];
  if (listOf !== undefined) {
    if (!Array.isArray(value)) return [`${path}: has to be a list`];
    return value.flatMap((each: unknown, index) => mismatches(each, listOf, known, `${path}[${index}]`));
  }
  const mapOf = /^\{ \[key: string\]: (.*); \}$/.exec(type)?.[1];
  const attributes = known(type);
  if (mapOf !== undefined || attributes !== undefined) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${path}: has to be an object`];
    if (attributes !== undefined) return unknownFields(value, attributes, known, path);
    return Object.entries(value).flatMap(([key, each]: [string, unknown]) => mismatches(each, mapOf ?? '', known, `${path}.${key}`));
  }
  const accepted: Readonly<Record<string, readonly string[]>> = {
    string: ['string'],
    number: ['number'],
    boolean: ['boolean'],
    IntOrString: ['number', 'string'],
    V1MicroTime: ['string'],
    Date: ['string'],
  };
  const types = accepted[type];
  if (types === undefined) return [`${path}: nobody here knows the type ${type}`];
  return types.includes(typeof value) ? [] : [`${path}: has to be a ${types.join(' or a ')}`];
}

function invalidValues(object: KubeObject, kind: string): string[] {
  const Validator = VALIDATORS[kind];
  if (Validator === undefined) return [`${kind}: nobody here can validate this kind`];
  try {
    new Validator(object as never).validate();
    return [];
  } catch (error) {
    return [`${kind}: ${error instanceof Error ? error.message : String(error)}`];
  }
}
