/**
 * Every overlay, and every other way of putting one together: that each is valid, and keeps what all of them promise.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SCHEMA } from '../../agent/config/schema.ts';
import { loadSettings, unknownSettings } from '../../agent/config/settings.ts';
import type { Settings } from '../../agent/config/settings.ts';
import { at } from '../../agent/json.ts';
import { kindOf, profileOf } from '../../agent/provider/profiles.ts';
import type { ProviderName } from '../../agent/provider/profiles.ts';
import { problemsOf } from '../support/kube-schemas.ts';
import { cannotRender, compose, overlays, render } from '../support/manifests.ts';
import type { KubeObject } from '../support/manifests.ts';
import { PROVIDERS } from '../support/provider-overlays.ts';
import { containerOf, environmentOf, NODE, POD, podOf, readFileOf, workloadOf } from '../support/pod.ts';

const WAYS = ['on-chosen-nodes', 'on-control-plane-nodes'];
const OPTIONS = [['metrics'], ['metrics', 'pod-monitor'], ['node-reading'], ['second-port']];
/** Its rights reach further, for what the test of its own says. */
const GRANTS_MORE = /beside-application|node-reading/;

interface Allowance {
  readonly capabilities: readonly string[];
  readonly endsWithinMs: number;
  readonly memory: string;
}

/** What an agent may do to the node, how long it may take to end, and how much memory it may take. */
function allowanceOf(provider: ProviderName): Allowance {
  // Nothing lingers on a segment: what takes longest there is a Lease that cannot be released.
  if (kindOf(provider) === 'l2') return { capabilities: ['NET_ADMIN', 'NET_RAW'], endsWithinMs: 10_000, memory: '192Mi' };
  return {
    capabilities: ['NET_ADMIN'],
    // It lingers for as long as a move at the provider may take.
    endsWithinMs: profileOf(provider).claimTimeoutMs + 10_000,
    // Beside an agent there is room for the command that it runs.
    memory: provider === 'exec' ? '320Mi' : '192Mi',
  };
}

function the(objects: readonly KubeObject[], kind: string): KubeObject {
  const [found, ...others] = objects.filter((object) => object.kind === kind);
  assert.ok(found && others.length === 0, `${others.length + 1} of ${kind}`);
  return found;
}

/** Every installation with how to render it. */
function installations(): { readonly name: string; readonly rendered: () => KubeObject[] }[] {
  const composed = WAYS.flatMap((way) =>
    PROVIDERS.flatMap((provider) => [[], ...OPTIONS].map((options) => ({ provider, components: [way, ...options] }))),
  );
  return [
    ...overlays().map((overlay) => ({ name: overlay, rendered: () => render(overlay) })),
    ...composed.map((composition) => ({
      name: [composition.provider, ...composition.components].join(' + '),
      rendered: () => compose(composition),
    })),
  ];
}

for (const { name, rendered } of installations()) {
  describe(name, { skip: cannotRender() }, () => {
    const objects = cannotRender() === false ? rendered() : [];

    const settings = (): Settings =>
      loadSettings({
        env: environmentOf(objects),
        hostname: 'x',
        readFile: readFileOf(objects),
        serviceAccountFolder: '/var/run/secrets/kubernetes.io/serviceaccount',
      });

    test('is what the Kubernetes API accepts', () => {
      assert.deepEqual(
        objects.flatMap((object) => problemsOf(object)),
        [],
      );
    });

    test('puts all that is in a namespace into its own, which lets its pods use the node’s network', () => {
      const { metadata } = the(objects, 'Namespace');
      for (const mode of ['enforce', 'audit', 'warn']) assert.equal(metadata.labels?.[`pod-security.kubernetes.io/${mode}`], 'privileged');
      const wide = ['Namespace', 'ClusterRole', 'ClusterRoleBinding'];
      // What looks for an application is granted where the application is.
      const isElsewhere = (object: KubeObject): boolean => object.metadata.name === 'leasehold-application';
      assert.ok(
        objects.every((object) => wide.includes(object.kind) || isElsewhere(object) || object.metadata.namespace === metadata.name),
      );
      assert.ok(objects.every((object) => object.metadata.labels?.['app.kubernetes.io/name'] === 'leasehold'));
    });

    test('brings the Lease, never held, with the name that the agent expects', () => {
      const lease = the(objects, 'Lease');
      assert.equal(lease.metadata.name, SCHEMA.LEASE_NAME.default);
      assert.deepEqual(lease['spec'], {});
    });

    if (!GRANTS_MORE.test(name)) {
      test('grants the one Lease by name, and Events, and nothing else anywhere', () => {
        assert.deepEqual(the(objects, 'Role')['rules'], [
          {
            apiGroups: ['coordination.k8s.io'],
            resources: ['leases'],
            resourceNames: [SCHEMA.LEASE_NAME.default],
            verbs: ['get', 'list', 'watch', 'patch'],
          },
          { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
          { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'] },
        ]);
        assert.deepEqual(
          objects.filter(({ kind }) => kind.startsWith('Cluster')),
          [],
        );
      });
    }

    test('hands its token to the agents and to no other pod', () => {
      const account = the(objects, 'ServiceAccount');
      assert.equal(account['automountServiceAccountToken'], false);
      assert.deepEqual(
        [podOf(objects)['serviceAccountName'], podOf(objects)['automountServiceAccountToken']],
        [account.metadata.name, true],
      );
      const { namespace } = account.metadata;
      const subjects = objects.filter(({ kind }) => kind.endsWith('Binding')).flatMap((binding) => binding['subjects'] as unknown[]);
      assert.ok(subjects.length > 0);
      for (const subject of subjects) assert.deepEqual(subject, { kind: 'ServiceAccount', name: account.metadata.name, namespace });
    });

    test('gives the agent settings that it can use, and tells it who and where it is', () => {
      const loaded = settings();
      assert.equal(loaded.nodeName, NODE.name);
      assert.equal(loaded.lease.namespace, the(objects, 'Lease').metadata.namespace);
      const environment = environmentOf(objects);
      assert.deepEqual(unknownSettings(environment), []);
      const { POD_NAME, POD_UID, POD_NAMESPACE } = environment;
      assert.deepEqual([POD_NAME, POD_UID, POD_NAMESPACE], [POD.name, POD.uid, loaded.lease.namespace]);
      assert.ok(
        Object.values(environment).every((value) => !value.includes('$(')),
        'all that is referred to is known',
      );
    });

    test('waits at the end for as long as an agent may take', () => {
      const grace = Number(podOf(objects)['terminationGracePeriodSeconds']);
      assert.ok(grace * 1_000 >= allowanceOf(settings().provider.name).endsWithinMs, `${grace}s`);
    });

    test('asks for health where the agent listens', () => {
      const { livenessProbe, readinessProbe, ports } = containerOf(objects);
      const { listen } = settings();
      for (const [{ httpGet }, path] of [
        [livenessProbe, '/healthz'],
        [readinessProbe, '/readyz'],
      ] as const) {
        const port = ports.find((each) => each.name === httpGet.port)?.containerPort;
        // Where no host is named the kubelet takes the pod's own, which is the node's.
        assert.deepEqual({ host: httpGet.host ?? NODE.ip, port, path: httpGet.path }, { ...listen, path });
      }
    });

    test('uses the node’s network, and resolves names without the cluster', () => {
      assert.deepEqual([podOf(objects)['hostNetwork'], podOf(objects)['dnsPolicy']], [true, 'Default']);
      for (const other of ['hostPID', 'hostIPC', 'hostUsers']) assert.equal(podOf(objects)[other], undefined);
    });

    test('may do to the node what its provider takes and no more', () => {
      const { capabilities } = allowanceOf(settings().provider.name);
      assert.deepEqual(containerOf(objects).securityContext, {
        runAsUser: 0,
        privileged: false,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'], add: capabilities },
        seccompProfile: { type: 'RuntimeDefault' },
      });
    });

    test('mounts secrets for reading by root, and a small folder in memory for the control socket', () => {
      const volumes = podOf(objects)['volumes'] as readonly Readonly<Record<string, unknown>>[];
      const mounts = containerOf(objects).volumeMounts;
      const control = mounts.find(({ mountPath }) => mountPath === '/run/leasehold')?.name;
      assert.deepEqual(
        volumes.find((volume) => volume['name'] === control),
        { name: control, emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      );
      for (const secret of volumes.filter((volume) => 'secret' in volume)) {
        assert.equal(at(secret, 'secret', 'defaultMode'), 0o400);
        assert.equal(
          at(
            mounts.find((mount) => mount.name === secret['name']),
            'readOnly',
          ),
          true,
        );
      }
      assert.ok(
        volumes.every((volume) => 'secret' in volume || 'configMap' in volume || 'emptyDir' in volume),
        'nothing of the node’s files',
      );
      assert.ok(!JSON.stringify(containerOf(objects).env).includes('secretKeyRef'), 'no secret is in the environment');
    });

    test('is not evicted to make room, asks for what it was measured to take, and is never throttled', () => {
      assert.equal(podOf(objects)['priorityClassName'], 'system-node-critical');
      const { memory } = allowanceOf(settings().provider.name);
      assert.deepEqual(containerOf(objects).resources, { requests: { cpu: '20m', memory: '112Mi' }, limits: { memory } });
    });

    test('is moved away from a dead node within a quarter of a minute, where it is not bound to the node', () => {
      const tolerations = podOf(objects)['tolerations'] as readonly Readonly<Record<string, unknown>>[];
      for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']) {
        const tolerated = tolerations.find((each) => each['key'] === key || each['key'] === undefined);
        const expected = { key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 15 };
        // Control-plane nodes keep their agents whatever happens.
        assert.deepEqual(tolerated, tolerated?.['key'] === undefined ? { operator: 'Exists' } : expected);
      }
    });

    test('never stops two agents at once', () => {
      const workload = workloadOf(objects);
      const strategy = at(workload, 'spec', workload.kind === 'DaemonSet' ? 'updateStrategy' : 'strategy');
      // A DaemonSet has no second pod on a node unless it is told to.
      const rollingUpdate = workload.kind === 'DaemonSet' ? { maxUnavailable: 1 } : { maxUnavailable: 1, maxSurge: 0 };
      assert.deepEqual(strategy, { type: 'RollingUpdate', rollingUpdate });
      assert.equal(at(workload, 'spec', 'minReadySeconds'), 5);
    });

    test('has a disruption budget that always lets one go, where Kubernetes can count the agents', () => {
      const budgets = objects.filter(({ kind }) => kind === 'PodDisruptionBudget');
      const isCounted = workloadOf(objects).kind === 'Deployment';
      const spec = { maxUnavailable: 1, unhealthyPodEvictionPolicy: 'AlwaysAllow', selector: at(workloadOf(objects), 'spec', 'selector') };
      assert.deepEqual(
        budgets.map((budget) => budget['spec']),
        isCounted ? [spec] : [],
      );
    });

    test('finds its own pods', () => {
      const chosen = at(workloadOf(objects), 'spec', 'selector', 'matchLabels') as Readonly<Record<string, string>>;
      const labels = at(workloadOf(objects), 'spec', 'template', 'metadata', 'labels') as Readonly<Record<string, string>>;
      assert.deepEqual(chosen, { 'app.kubernetes.io/name': 'leasehold' });
      assert.deepEqual(labels, {
        'app.kubernetes.io/name': 'leasehold',
        'app.kubernetes.io/part-of': 'leasehold',
        'app.kubernetes.io/component': 'agent',
      });
    });
  });
}
