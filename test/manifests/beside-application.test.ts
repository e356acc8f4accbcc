/**
 * The overlay that keeps an address beside an application, beside what all overlays have in common.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadAll } from 'js-yaml';
import { loadSettings } from '../../agent/config/settings.ts';
import type { Settings } from '../../agent/config/settings.ts';
import { at, listAt } from '../../agent/json.ts';
import { AGENT_LABELS } from '../../agent/kube/pod.ts';
import { decodePod, mustStandBeside } from '../../agent/kube/pod.ts';
import type { Pod } from '../../agent/kube/pod.ts';
import { cannotRender, kubectl, overlays, render } from '../support/manifests.ts';
import type { KubeObject } from '../support/manifests.ts';
import { environmentOf, podOf, readFileOf, workloadOf } from '../support/pod.ts';

const OVERLAY = 'overlays/beside-application';
const MANIFESTS = fileURLToPath(new URL('../../manifests', import.meta.url));

/** Renders the overlay as somebody would who has changed some of its files. */
function changed(changes: Readonly<Record<string, (text: string) => string>>): KubeObject[] {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'leasehold-manifests-')));
  try {
    cpSync(MANIFESTS, folder, { recursive: true });
    for (const [file, change] of Object.entries(changes)) {
      const path = join(folder, OVERLAY, file);
      const before = readFileSync(path, 'utf8');
      assert.notEqual(change(before), before, file);
      writeFileSync(path, change(before));
    }
    return loadAll(kubectl(['kustomize', join(folder, OVERLAY)])) as KubeObject[];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function settingsOf(objects: readonly KubeObject[]): Settings {
  return loadSettings({ env: environmentOf(objects), hostname: 'x', readFile: readFileOf(objects), serviceAccountFolder: '/none' });
}

/** An agent's pod as the Deployment makes it. */
function agentOf(objects: readonly KubeObject[]): Pod {
  const workload = workloadOf(objects);
  const labels = at(workload, 'spec', 'template', 'metadata', 'labels');
  const metadata = { namespace: workload.metadata.namespace, name: 'leasehold-1', uid: '1', labels };
  return decodePod({ metadata, spec: podOf(objects) }) ?? assert.fail();
}

const applicationPod = (namespace: string, labels: object): Pod =>
  decodePod({ metadata: { namespace, name: 'web-1', uid: '2', labels }, spec: { nodeName: 'node-a' } }) ?? assert.fail();

/** What a ServiceAccount is granted in each namespace, a line for each rule. */
function grants(objects: readonly KubeObject[]): string[] {
  const bindings = objects.filter(({ kind }) => kind === 'RoleBinding');
  return bindings.flatMap((binding) => {
    const role = objects.find(
      ({ kind, metadata }) =>
        kind === 'Role' && metadata.name === at(binding, 'roleRef', 'name') && metadata.namespace === binding.metadata.namespace,
    );
    const rules = (role?.['rules'] ?? assert.fail(`${binding.metadata.name} binds nothing`)) as readonly {
      readonly resources: readonly string[];
      readonly verbs: readonly string[];
    }[];
    return rules.map(({ resources, verbs }) => `${binding.metadata.namespace ?? ''}: ${verbs.join(' ')} ${resources.join(' ')}`);
  });
}

describe('manifests/overlays/beside-application', { skip: cannotRender() }, () => {
  test('places agents beside the application that the settings name, and never two on a node', () => {
    const objects = render(OVERLAY);
    const { application } = settingsOf(objects);
    assert.deepEqual(application?.name, { namespace: 'default', by: { selector: 'app.kubernetes.io/name=web' } });
    assert.ok(mustStandBeside(agentOf(objects), applicationPod('default', { 'app.kubernetes.io/name': 'web' })));
    const apart = listAt(podOf(objects), 'affinity', 'podAntiAffinity', 'requiredDuringSchedulingIgnoredDuringExecution');
    assert.deepEqual(apart, [{ topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: AGENT_LABELS } }]);
  });

  test('has an agent evict itself when it is left behind, and knows how to name its own pod', () => {
    const { application } = settingsOf(render(OVERLAY));
    assert.deepEqual(application?.eviction, {
      own: { namespace: 'leasehold', name: 'leasehold-x7k2p', uid: '0b1c2d3e-0000-4000-8000-000000000000' },
      delayMs: 10_000,
    });
  });

  test('grants what that takes: to see the application where it is, and to see and evict agents in their own namespace', () => {
    assert.deepEqual(
      grants(render(OVERLAY))
        .filter((line) => !/leases|events/.test(line))
        .sort(),
      ['default: list watch pods', 'default: list watch services', 'leasehold: create pods/eviction', 'leasehold: list pods'],
    );
  });

  test('no other overlay grants anything on pods', () => {
    const others = overlays().filter((overlay) => overlay !== OVERLAY);
    assert.ok(others.length >= 2);
    for (const overlay of others)
      assert.ok(
        grants(render(overlay)).every((line) => !line.includes('pods')),
        overlay,
      );
  });

  test('takes the application’s namespace from the settings alone', () => {
    const objects = changed({ 'settings.env': (text) => text.replace('APPLICATION_NAMESPACE=default', 'APPLICATION_NAMESPACE=shop') });
    assert.ok(mustStandBeside(agentOf(objects), applicationPod('shop', { 'app.kubernetes.io/name': 'web' })));
    assert.deepEqual(
      grants(objects).filter((line) => line.startsWith('shop')),
      ['shop: list watch pods', 'shop: list watch services'],
    );
    const binding = objects.find(({ kind, metadata }) => kind === 'RoleBinding' && metadata.name === 'leasehold-application');
    assert.deepEqual(binding?.['subjects'], [{ kind: 'ServiceAccount', name: 'leasehold', namespace: 'leasehold' }]);
  });

  test('takes a Service in the place of the labels', () => {
    const objects = changed({
      'settings.env': (text) => text.replace(/^APPLICATION_SELECTOR.*$/m, '').replace('#APPLICATION_SERVICE', 'APPLICATION_SERVICE'),
    });
    assert.deepEqual(settingsOf(objects).application?.name.by, { service: 'web' });
  });

  test('works on a shared segment with the other component', () => {
    const objects = changed({
      'settings.env': (text) => text.replace('PROVIDER=hcloud-floating-ip', 'PROVIDER=l2').replace('203.0.113.10', '192.0.2.10'),
      'kustomization.yaml': (text) =>
        text.replace('components/hcloud-floating-ip', 'components/l2').trimEnd().split('\n').slice(0, -3).join('\n'),
    });
    assert.equal(settingsOf(objects).provider.name, 'l2');
    assert.ok(!objects.some(({ kind }) => kind === 'Secret'));
  });
});
