/**
 * The manifests as Kubernetes would get them.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { loadAll } from 'js-yaml';
import type { ProviderName } from '../../agent/provider/profiles.ts';
import type { Permissions } from './kube-api.ts';
import { asLiterals, MANIFESTS, providerOverlay } from './provider-overlays.ts';
import { toolPath } from './tools.ts';

/** One Kubernetes object, of whatever kind. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly [field: string]: unknown;
}

interface Rule {
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

/** Why overlays cannot be rendered on this machine, or false when they can. */
export function cannotRender(): string | false {
  return toolPath('kubectl') === null ? 'there is no kubectl' : false;
}

/** What `kubectl kustomize` makes of an overlay. Throws with what it said. */
export function render(overlay: string): KubeObject[] {
  return loadAll(kubectl(['kustomize', join(MANIFESTS, overlay)])) as KubeObject[];
}

/** The overlays, as `kubectl apply -k` takes them below manifests/. */
export function overlays(): string[] {
  return readdirSync(join(MANIFESTS, 'overlays')).map((name) => `overlays/${name}`);
}

/** What an overlay of one's own consists of. */
export interface Composition {
  /** What is taken from its own overlay: its component, which comes second, its settings, its Secrets. */
  readonly provider: ProviderName;
  /** Further folders of manifests/components, in the order in which they are to count. */
  readonly components: readonly string[];
  readonly settings?: Readonly<Record<string, string>>;
  readonly namespace?: string;
  /** Further fields of its kustomization. */
  readonly more?: Readonly<Record<string, unknown>>;
}

/** Renders an overlay that is put together for this once. */
export function compose({ provider, components, settings = {}, namespace = 'leasehold', more = {} }: Composition): KubeObject[] {
  // Kustomize takes what is elsewhere by relative paths only.
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'leasehold-overlay-')));
  const manifests = relative(folder, MANIFESTS);
  const overlay = providerOverlay(provider);
  const [first = '', ...further] = components;
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    namespace,
    resources: [join(manifests, 'base')],
    components: [first, provider, ...further].map((name) => join(manifests, 'components', name)),
    configMapGenerator: [{ name: 'leasehold-settings', data: { ...overlay.settings, ...settings } }, ...overlay.configMaps].map(asLiterals),
    secretGenerator: overlay.secrets.map(asLiterals),
    ...more,
  };
  try {
    // YAML that is JSON.
    writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(kustomization));
    return loadAll(kubectl(['kustomize', folder])) as KubeObject[];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What a run of kubectl prints. Throws with what it said when it fails. */
export function kubectl(args: readonly string[], { input = '', kubeconfig = '' } = {}): string {
  const env = { ...process.env, KUBECONFIG: kubeconfig };
  const { status, stdout, stderr } = spawnSync(toolPath('kubectl') ?? 'kubectl', args, { encoding: 'utf8', input, env });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

/** What the Role in the manifests allows. */
export function permissionsOfTheRole(): Permissions {
  const [role] = loadAll(readFileSync(join(MANIFESTS, 'base', 'role.yaml'), 'utf8')) as KubeObject[];
  const rules = role?.['rules'] as readonly Rule[];
  return {
    may: (verb, resource, name) =>
      rules.some(
        ({ resources, verbs, resourceNames }) =>
          resources.includes(resource) && verbs.includes(verb) && (resourceNames === undefined || resourceNames.includes(name)),
      ),
  };
}
