import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadSettings } from '../../agent/config/settings.ts';
import type { Settings } from '../../agent/config/settings.ts';
import { at } from '../../agent/json.ts';
import { cannotRender, compose } from '../support/manifests.ts';
import type { Composition, KubeObject } from '../support/manifests.ts';
import { containerOf, environmentOf, NODE, podOf, readFileOf, workloadOf } from '../support/pod.ts';

const ON_CHOSEN_NODES = ['on-chosen-nodes'];

function rendered(components: readonly string[], more: Partial<Composition> = {}): KubeObject[] {
  return compose({ provider: 'l2', components, ...more });
}

function settingsOf(objects: readonly KubeObject[]): Settings {
  return loadSettings({ env: environmentOf(objects), hostname: 'x', readFile: readFileOf(objects), serviceAccountFolder: '/sa' });
}

function ofKind(objects: readonly KubeObject[], kind: string): KubeObject {
  return objects.find((object) => object.kind === kind) ?? assert.fail(`no ${kind}`);
}

function identities(objects: readonly KubeObject[]): string[] {
  return objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`);
}

describe('components of the manifests', { skip: cannotRender() }, () => {
  test('on-chosen-nodes: on labelled nodes, those of the control plane among them', () => {
    const pod = podOf(rendered(ON_CHOSEN_NODES));
    assert.deepEqual(pod['nodeSelector'], { 'kubernetes.io/os': 'linux', 'leasehold.dev/contender': 'true' });
    const tolerations = pod['tolerations'] as readonly Readonly<Record<string, unknown>>[];
    assert.deepEqual(
      tolerations.filter(({ effect }) => effect === 'NoSchedule'),
      [{ key: 'node-role.kubernetes.io/control-plane', operator: 'Exists', effect: 'NoSchedule' }],
    );
  });

  test('on-control-plane-nodes: on every one of them, whatever value its label has and whatever its taints', () => {
    const pod = podOf(rendered(['on-control-plane-nodes']));
    assert.deepEqual(pod['nodeSelector'], { 'kubernetes.io/os': 'linux' });
    const terms = at(pod, 'affinity', 'nodeAffinity', 'requiredDuringSchedulingIgnoredDuringExecution', 'nodeSelectorTerms');
    assert.deepEqual(terms, [{ matchExpressions: [{ key: 'node-role.kubernetes.io/control-plane', operator: 'Exists' }] }]);
    assert.deepEqual(pod['tolerations'], [{ operator: 'Exists' }]);
  });

  test('on-control-plane-nodes: asks the API server of its own node, and takes that one for what must be healthy', () => {
    const { kubernetes, probes } = settingsOf(rendered(['on-control-plane-nodes']));
    assert.deepEqual([at(kubernetes, 'host'), at(kubernetes, 'port')], [NODE.ip, '6443']);
    assert.equal(probes.length, 1);
    const question = probes[0]?.question;
    assert.ok(question?.kind === 'http');
    assert.equal(question.url.href, `https://${NODE.ip}:6443/readyz`);
    assert.deepEqual([question.ca, question.verifyTls], ['from the service account', true]);
    assert.deepEqual(question.expect, [
      [200, 200],
      [401, 401],
    ]);
  });

  test('metrics: on the node’s own address, on loopback no more', () => {
    assert.deepEqual(settingsOf(rendered([...ON_CHOSEN_NODES, 'metrics'])).listen, { host: NODE.ip, port: 9808 });
    assert.deepEqual(settingsOf(rendered(ON_CHOSEN_NODES)).listen, { host: '127.0.0.1', port: 9808 });
  });

  test('pod-monitor: finds the agents’ pods, and the port where their metrics are', () => {
    const objects = rendered([...ON_CHOSEN_NODES, 'metrics', 'pod-monitor']);
    const monitor = ofKind(objects, 'PodMonitor');
    const labels = at(workloadOf(objects), 'spec', 'template', 'metadata', 'labels') as Readonly<Record<string, string>>;
    for (const [name, value] of Object.entries(at(monitor, 'spec', 'selector', 'matchLabels') as object)) assert.equal(labels[name], value);
    const [endpoint] = at(monitor, 'spec', 'podMetricsEndpoints') as readonly Readonly<Record<string, unknown>>[];
    const port = containerOf(objects).ports.find(({ name }) => name === endpoint?.['port']);
    assert.deepEqual([port?.containerPort, endpoint?.['path']], [settingsOf(objects).listen.port, '/metrics']);
  });

  test('node-reading: lets the agents of its namespace get Nodes, and no more', () => {
    const objects = rendered([...ON_CHOSEN_NODES, 'node-reading'], { namespace: 'second' });
    assert.deepEqual(ofKind(objects, 'ClusterRole')['rules'], [{ apiGroups: [''], resources: ['nodes'], verbs: ['get'] }]);
    const binding = ofKind(objects, 'ClusterRoleBinding');
    assert.deepEqual(binding['subjects'], [{ kind: 'ServiceAccount', name: 'leasehold', namespace: 'second' }]);
    assert.equal(at(binding, 'roleRef', 'name'), ofKind(objects, 'ClusterRole').metadata.name);
  });

  test('second-port: a second installation touches nothing of the first, and needs nothing that it has', () => {
    const first = rendered(ON_CHOSEN_NODES);
    const second = rendered([...ON_CHOSEN_NODES, 'second-port'], { namespace: 'leasehold-second' });
    const both = [...identities(first), ...identities(second)];
    assert.equal(new Set(both).size, both.length);
    const ports = [first, second].map((objects) => containerOf(objects).ports[0]?.containerPort);
    assert.equal(new Set(ports).size, 2);
    assert.equal(settingsOf(second).lease.namespace, 'leasehold-second');
  });
});
