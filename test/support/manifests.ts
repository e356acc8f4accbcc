/**
 * The manifests as Kubernetes would get them.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadAll } from 'js-yaml';
import type { Permissions } from './kube-api.ts';
import { toolPath } from './tools.ts';

const MANIFESTS = fileURLToPath(new URL('../../manifests', import.meta.url));

/** One Kubernetes object, of whatever kind. */
export interface KubeObject {
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
  return loadAll(kubectl('kustomize', join(MANIFESTS, overlay))) as KubeObject[];
}

/** What a run of kubectl prints. Throws with what it said when it fails. */
export function kubectl(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(toolPath('kubectl') ?? 'kubectl', args, { encoding: 'utf8' });
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
