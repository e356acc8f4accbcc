/**
 * The Helm chart as Kubernetes would get it.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { loadAll } from 'js-yaml';
import type { KubeObject } from './manifests.ts';
import { toolPath } from './tools.ts';

export const CHART = fileURLToPath(new URL('../../charts/leasehold', import.meta.url));

export interface Release {
  readonly name?: string;
  readonly namespace?: string;
}

/** Why charts cannot be rendered on this machine, or false when they can. */
export function cannotRenderCharts(): string | false {
  return toolPath('helm') === null ? 'there is no helm' : false;
}

/** What `helm template` makes of the chart with these values. Throws with what it said. */
export function template(values: object, { name = 'leasehold', namespace = 'leasehold' }: Release = {}): KubeObject[] {
  const text = helm(['template', name, CHART, '--namespace', namespace, '--values', '-'], JSON.stringify(values));
  return (loadAll(text) as (KubeObject | null)[]).filter((object) => object !== null);
}

/** What a run of helm prints. Throws with what it said when it fails. */
export function helm(args: readonly string[], input = ''): string {
  const { status, stdout, stderr } = spawnSync(toolPath('helm') ?? 'helm', args, { encoding: 'utf8', input });
  if (status !== 0) throw new Error(`${stdout}${stderr}`);
  return stdout;
}
