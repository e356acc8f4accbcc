import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { load } from 'js-yaml';
import { at, stringAt } from '../../agent/json.ts';
import { CHART, cannotRenderCharts, helm, template } from '../support/helm.ts';
import type { ProviderName } from '../../agent/provider/profiles.ts';
import { cannotRender, compose, overlays, render } from '../support/manifests.ts';
import type { KubeObject } from '../support/manifests.ts';
import { providerOverlay, PROVIDERS } from '../support/provider-overlays.ts';

const L2 = { provider: 'l2', addresses: ['192.0.2.10'] };

/** Settings that the chart has values of its own for. */
const OWN_VALUES = ['PROVIDER', 'ADDRESSES', 'EXEC_COMMAND'];

/** What the chart calls what each provider's Secret and files hold, and those of its settings that it has a value of its own for. */
const CREDENTIALS: { readonly [Name in ProviderName]: (held: Readonly<Record<string, string>>) => object } = {
  'hcloud-floating-ip': ({ token }) => ({ hcloud: { token } }),
  'hcloud-alias-ip': ({ token }) => ({ hcloud: { token } }),
  // Its Secret is made by a login.
  netcup: () => ({ netcup: { existingSecret: 'netcup-token' } }),
  'hetzner-robot': ({ user, password }) => ({ robot: { user, password } }),
  exec: ({ token, 'digitalocean.mjs': script, EXEC_COMMAND: command }) => ({ exec: { secret: token, script, command } }),
  l2: () => ({}),
};

/** The values that make of the chart what a provider's own overlay is. */
function valuesOf(provider: ProviderName): object {
  const { settings, secrets, configMaps } = providerOverlay(provider);
  const others = Object.entries(settings).filter(([name]) => !OWN_VALUES.includes(name));
  const held = Object.assign({}, ...[...secrets, ...configMaps].map(({ data }) => data)) as Readonly<Record<string, string>>;
  return {
    provider,
    addresses: settings['ADDRESSES']?.split(','),
    settings: Object.fromEntries(others),
    ...CREDENTIALS[provider]({ ...settings, ...held }),
  };
}

const HCLOUD = valuesOf('hcloud-floating-ip');

/** The values that make of the chart what an overlay is that says where agents run. */
const VALUES_OF: Readonly<Record<string, object>> = {
  'overlays/control-plane': { ...L2, placement: 'control-plane-nodes' },
  'overlays/beside-application': {
    ...HCLOUD,
    placement: 'beside-application',
    application: { matchLabels: { 'app.kubernetes.io/name': 'web' } },
  },
};

/** What Helm and kustomize each say of themselves, and what they call the same thing by. */
const OWN_WORDS = [
  'app.kubernetes.io/instance',
  'app.kubernetes.io/managed-by',
  'app.kubernetes.io/version',
  'app.kubernetes.io/part-of',
  'app.kubernetes.io/component',
  'helm.sh/chart',
  'leasehold.dev/settings-checksum',
];
/** Lists whose order means nothing here. */
const UNORDERED = ['env', 'volumes', 'volumeMounts', 'tolerations'];

/** The name of what is generated, without the hash that kustomize puts behind it and the release's name that Helm puts before it. */
function withoutRelease(name: string): string {
  const generated = PROVIDERS.map((provider) => providerOverlay(provider)).flatMap(({ secrets, configMaps }) => [
    ...secrets,
    ...configMaps,
  ]);
  const names = generated.map((each) => each.name).join('|');
  return name.replace(new RegExp(`^(leasehold-settings|${names})-[a-z0-9]{10}$`), '$1').replace(new RegExp(`^leasehold-(${names})$`), '$1');
}

/** Objects by their identity, without what Helm and kustomize say differently by their nature. */
function normalised(objects: readonly KubeObject[]): Readonly<Record<string, unknown>> {
  const plain = (value: unknown, name = ''): unknown => {
    if (Array.isArray(value)) {
      const items = value.map((each) => plain(each));
      return UNORDERED.includes(name) ? items.sort((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b))) : items;
    }
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(
        Object.entries(value)
          .filter(([key]) => !OWN_WORDS.includes(key))
          .sort(([a], [b]) => a.localeCompare(b))
          .map(([key, each]) => [key, plain(each, key)]),
      );
    return typeof value === 'string' ? withoutRelease(value) : value;
  };
  // Helm makes no namespace: whoever installs a release names one.
  const kept = objects.filter(({ kind }) => kind !== 'Namespace').map((object) => plain(object) as KubeObject);
  return Object.fromEntries(kept.map((object) => [`${object.kind} ${object.metadata.namespace ?? ''}/${object.metadata.name}`, object]));
}

const inDefaults = (objects: readonly KubeObject[], kind: string): KubeObject =>
  objects.find((object) => object.kind === kind) ?? assert.fail(`no ${kind}`);

const container = (objects: readonly KubeObject[], kind = 'DaemonSet'): unknown =>
  (at(inDefaults(objects, kind), 'spec', 'template', 'spec', 'containers') as readonly unknown[])[0];

describe('the Helm chart and the manifests', { skip: cannotRenderCharts() || cannotRender() }, () => {
  const same = (what: string, chart: () => KubeObject[], manifests: () => KubeObject[]): void => {
    test(`are the same: ${what}`, () => assert.deepEqual(normalised(chart()), normalised(manifests())));
  };

  for (const overlay of overlays()) {
    const provider = PROVIDERS.find((name) => overlay === `overlays/${name}`);
    same(
      overlay,
      () => template(provider === undefined ? (VALUES_OF[overlay] ?? assert.fail('the chart has no values for it')) : valuesOf(provider)),
      () => render(overlay),
    );
  }
  same(
    'with the components metrics and pod-monitor',
    () => template({ ...L2, metrics: { enabled: true }, podMonitor: { enabled: true } }),
    () => compose({ provider: 'l2', components: ['on-chosen-nodes', 'metrics', 'pod-monitor'] }),
  );
  same(
    'with the component node-reading, and a setting',
    () => template({ ...L2, nodeReading: { enabled: true }, settings: { PROBES: 'tcp://127.0.0.1:443' } }),
    () => compose({ provider: 'l2', components: ['on-chosen-nodes', 'node-reading'], settings: { PROBES: 'tcp://127.0.0.1:443' } }),
  );
  same(
    'with the component second-port',
    () => template({ ...L2, port: 9809 }),
    () => compose({ provider: 'l2', components: ['on-chosen-nodes', 'second-port'] }),
  );
});

describe('the Helm chart', { skip: cannotRenderCharts() }, () => {
  test('is what helm lint wants', () => {
    assert.match(helm(['lint', '--strict', CHART, '--values', '-'], JSON.stringify(L2)), /0 chart\(s\) failed/);
  });

  test('has the version of the agent', () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    const chart = load(readFileSync(join(CHART, 'Chart.yaml'), 'utf8'));
    assert.deepEqual([stringAt(chart, 'version'), stringAt(chart, 'appVersion')], [version, version]);
  });

  test('has a schema for every value and nothing else', () => {
    const schema = JSON.parse(readFileSync(join(CHART, 'values.schema.json'), 'utf8')) as unknown;
    const values = load(readFileSync(join(CHART, 'values.yaml'), 'utf8'));
    const names = (value: unknown): string[] => Object.keys(value ?? {}).sort();
    // What Helm gives every chart.
    const described = Object.fromEntries(Object.entries(at(schema, 'properties') as object).filter(([name]) => name !== 'global'));
    assert.deepEqual(names(described), names(values));
    for (const [name, each] of Object.entries(described))
      if (at(each, 'additionalProperties') === false) assert.deepEqual(names(at(each, 'properties')), names(at(values, name)), name);
  });

  for (const [what, values, complaint] of [
    ['no provider', { addresses: ['192.0.2.10'] }, /provider/],
    ['no address', { provider: 'l2' }, /addresses/],
    ['a value that there is not', { ...L2, adress: 'x' }, /adress/],
    [
      'no token where one is needed',
      { provider: 'hcloud-floating-ip', addresses: ['203.0.113.10'] },
      /hcloud\.token, or hcloud\.existingSecret/,
    ],
    ['half of a login', { ...L2, provider: 'hetzner-robot', robot: { user: 'x' } }, /robot\.password, or robot\.existingSecret/],
    ['a script where no command would find it', { ...L2, provider: 'exec', exec: { command: '/bin/own', script: 'x' } }, /exec\.command/],
    ['a secret among the settings', { ...HCLOUD, settings: { HCLOUD_TOKEN: 'x' } }, /HCLOUD_TOKEN/],
    ['the file of one among the settings', { ...HCLOUD, settings: { ROBOT_PASSWORD_FILE: 'x' } }, /ROBOT_PASSWORD_FILE/],
    ['Prometheus at what it cannot reach', { ...L2, podMonitor: { enabled: true } }, /metrics\.enabled/],
    ['no labels of the application to be beside', { ...L2, placement: 'beside-application' }, /application\.matchLabels/],
  ] as const) {
    test(`refuses ${what}`, () => {
      assert.throws(() => template(values), complaint);
    });
  }

  test('takes a Secret that is there already, and makes none', () => {
    const objects = template({ ...HCLOUD, hcloud: { existingSecret: 'mine', existingSecretKey: 'api' } });
    assert.ok(!objects.some(({ kind }) => kind === 'Secret'));
    const volumes = at(inDefaults(objects, 'DaemonSet'), 'spec', 'template', 'spec', 'volumes') as readonly unknown[];
    assert.deepEqual(at(volumes[1], 'secret'), { secretName: 'mine', defaultMode: 0o400, items: [{ key: 'api', path: 'token' }] });
  });

  test('runs a command that needs no secret, of the values or of the image', () => {
    const volumes = (values: object): unknown[] => {
      const pod = at(inDefaults(template({ ...L2, provider: 'exec', ...values }), 'DaemonSet'), 'spec', 'template', 'spec');
      return (at(pod, 'volumes') as readonly unknown[]).map((volume) => at(volume, 'name'));
    };
    assert.deepEqual(volumes({ exec: { command: '/usr/local/bin/mine' } }), ['control']);
    assert.deepEqual(volumes({ exec: { script: '#!/nodejs/bin/node\n' } }), ['control', 'exec-command']);
  });

  test('hands on the image by digest, pull secrets, resources, priority, environment, tolerations, node selector and affinity', () => {
    const digest = `sha256:${'0'.repeat(64)}`;
    const affinity = { nodeAffinity: {} };
    const objects = template({
      ...L2,
      image: { repository: 'registry.example/leasehold', digest, pullPolicy: 'Always' },
      imagePullSecrets: [{ name: 'registry' }],
      resources: { limits: { memory: '1Gi' } },
      priorityClassName: 'mine',
      extraEnv: [{ name: 'LOG_LEVEL', value: 'debug' }],
      tolerations: [{ key: 'mine', operator: 'Exists' }],
      nodeSelector: { zone: 'a' },
      affinity,
      placement: 'anywhere',
      terminationGracePeriodSeconds: 60,
    });
    const pod = at(inDefaults(objects, 'DaemonSet'), 'spec', 'template', 'spec') as Readonly<Record<string, unknown>>;
    assert.deepEqual(
      [at(container(objects), 'image'), at(container(objects), 'imagePullPolicy')],
      [`registry.example/leasehold@${digest}`, 'Always'],
    );
    assert.deepEqual(pod['imagePullSecrets'], [{ name: 'registry' }]);
    assert.deepEqual(at(container(objects), 'resources', 'limits'), { memory: '1Gi' });
    assert.deepEqual([pod['priorityClassName'], pod['terminationGracePeriodSeconds']], ['mine', 60]);
    assert.deepEqual((at(container(objects), 'env') as readonly unknown[]).at(-1), { name: 'LOG_LEVEL', value: 'debug' });
    assert.deepEqual((pod['tolerations'] as readonly unknown[]).at(-1), { key: 'mine', operator: 'Exists' });
    assert.deepEqual(pod['nodeSelector'], { 'kubernetes.io/os': 'linux', zone: 'a' });
    assert.deepEqual(pod['affinity'], affinity);
  });

  test('uses an existing service account, and gives it the rights', () => {
    const objects = template({ ...L2, serviceAccount: { create: false, name: 'mine' } });
    assert.ok(!objects.some(({ kind }) => kind === 'ServiceAccount'));
    assert.equal(at(inDefaults(objects, 'DaemonSet'), 'spec', 'template', 'spec', 'serviceAccountName'), 'mine');
    assert.deepEqual(inDefaults(objects, 'RoleBinding')['subjects'], [{ kind: 'ServiceAccount', name: 'mine', namespace: 'leasehold' }]);
  });

  test('beside an application it is a Deployment with a place for one agent on a node and a disruption budget', () => {
    const objects = template({ ...L2, placement: 'beside-application', replicas: 3, application: { matchLabels: { app: 'web' } } });
    const deployment = inDefaults(objects, 'Deployment');
    assert.equal(at(deployment, 'spec', 'replicas'), 3);
    assert.deepEqual(at(deployment, 'spec', 'strategy', 'rollingUpdate'), { maxUnavailable: 1, maxSurge: 0 });
    assert.deepEqual(at(inDefaults(objects, 'PodDisruptionBudget'), 'spec', 'selector'), at(deployment, 'spec', 'selector'));
    assert.deepEqual(at(inDefaults(objects, 'ConfigMap'), 'data', 'APPLICATION_SELECTOR'), 'app=web');
  });

  test('a release of another name has a Lease of its own, the right to it, and agents who know', () => {
    const objects = template({ ...L2, nodeReading: { enabled: true } }, { name: 'second', namespace: 'apps' });
    assert.ok(objects.every(({ kind, metadata }) => kind.startsWith('Cluster') || metadata.namespace === 'apps'));
    assert.equal(inDefaults(objects, 'Lease').metadata.name, 'second');
    assert.equal(at(inDefaults(objects, 'ConfigMap'), 'data', 'LEASE_NAME'), 'second');
    const [rule] = inDefaults(objects, 'Role')['rules'] as readonly unknown[];
    assert.deepEqual(at(rule, 'resourceNames'), ['second']);
    assert.equal(inDefaults(objects, 'ClusterRole').metadata.name, 'apps-second-node-reading');
  });

  test('other settings and another token are other pods', () => {
    const checksum = (values: object): unknown =>
      at(inDefaults(template(values), 'DaemonSet'), 'spec', 'template', 'metadata', 'annotations', 'leasehold.dev/settings-checksum');
    assert.notEqual(checksum(HCLOUD), checksum({ ...HCLOUD, hcloud: { token: 'other' } }));
    assert.notEqual(checksum(HCLOUD), checksum({ ...HCLOUD, settings: { LOG_LEVEL: 'debug' } }));
    assert.equal(checksum(HCLOUD), checksum({ ...HCLOUD, podAnnotations: { a: 'b' } }));
  });
});

describe('the chart for K3s', { skip: cannotRenderCharts() }, () => {
  test('is given values that the chart takes, and agents on the control-plane nodes that tolerate whatever they start with', () => {
    const chart = load(readFileSync(join(CHART, 'examples', 'k3s-helm-chart.yaml'), 'utf8')) as KubeObject;
    assert.deepEqual([chart.apiVersion, chart.kind], ['helm.cattle.io/v1', 'HelmChart']);
    const values = load(stringAt(chart, 'spec', 'valuesContent') ?? '') as object;
    const objects = template(values, { namespace: stringAt(chart, 'spec', 'targetNamespace') ?? '' });
    const pod = at(inDefaults(objects, 'DaemonSet'), 'spec', 'template', 'spec');
    assert.deepEqual(at(pod, 'tolerations'), [{ operator: 'Exists' }]);
    assert.equal(stringAt(chart, 'spec', 'version'), stringAt(load(readFileSync(join(CHART, 'Chart.yaml'), 'utf8')), 'version'));
  });
});
