import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SCHEMA } from '../agent/config/schema.ts';
import { loadSettings } from '../agent/config/settings.ts';
import { at } from '../agent/json.ts';
import { cannotRender, render } from './support/manifests.ts';
import type { KubeObject } from './support/manifests.ts';

/** Each way of using it, what it may do to the node, and how long its agents may take to end. */
const OVERLAYS = [
  // It lingers for as long as a move at the provider may take.
  {
    overlay: 'overlays/hcloud-floating-ip',
    capabilities: ['NET_ADMIN'],
    endsWithinS: secondsOf(SCHEMA.PROVIDER_TIMEOUT.default ?? '') + 10,
  },
  // Nothing lingers: what takes longest is a Lease that cannot be released.
  { overlay: 'overlays/l2', capabilities: ['NET_ADMIN', 'NET_RAW'], endsWithinS: 10 },
] as const;

function secondsOf(duration: string): number {
  return Number(/^(\d+)s$/.exec(duration)?.[1] ?? assert.fail());
}

function the(objects: readonly KubeObject[], kind: string): KubeObject {
  const [found, ...others] = objects.filter((object) => object.kind === kind);
  assert.ok(found && others.length === 0, `${others.length + 1} of ${kind}`);
  return found;
}

interface Container {
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly env: readonly { readonly name: string; readonly value?: string }[];
  readonly envFrom: readonly { readonly configMapRef: { readonly name: string } }[];
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly livenessProbe: { readonly httpGet: unknown };
  readonly readinessProbe: { readonly httpGet: unknown };
}

for (const { overlay, capabilities, endsWithinS } of OVERLAYS) {
  describe(`manifests/${overlay}`, { skip: cannotRender() }, () => {
    const objects = cannotRender() === false ? render(overlay) : [];
    const pod = (): Readonly<Record<string, unknown>> =>
      at(the(objects, 'DaemonSet'), 'spec', 'template', 'spec') as Readonly<Record<string, unknown>>;
    const container = (): Container => (pod()['containers'] as readonly Container[])[0] ?? assert.fail();

    test('brings the Lease, never held, with the name that the agent expects and the Role names', () => {
      const lease = the(objects, 'Lease');
      assert.equal(lease.metadata.name, SCHEMA.LEASE_NAME.default);
      assert.deepEqual(lease['spec'], {});
      assert.equal(lease.metadata.labels?.['app.kubernetes.io/name'], 'leasehold');
      const rules = the(objects, 'Role')['rules'] as readonly { readonly resourceNames?: readonly string[] }[];
      assert.deepEqual(
        rules.map(({ resourceNames }) => resourceNames),
        [[lease.metadata.name], undefined, undefined],
      );
    });

    test('grants nothing beyond its namespace', () => {
      assert.deepEqual(
        objects.filter(({ kind }) => kind.startsWith('Cluster')),
        [],
      );
      assert.ok(objects.every(({ kind, metadata }) => kind === 'Namespace' || metadata.namespace === 'leasehold'));
    });

    test('gives the agent settings that it can use', () => {
      const settings = objects.find(
        ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === container().envFrom[0]?.configMapRef.name,
      );
      const secret = objects.find(({ kind }) => kind === 'Secret');
      const token = at(secret, 'data', 'token');
      const mounted = typeof token === 'string' ? Buffer.from(token, 'base64').toString() : '';
      const fromFields = { NODE_NAME: 'node-a', POD_NAMESPACE: 'leasehold' };
      const set = Object.fromEntries(container().env.flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]]))) as Record<
        string,
        string
      >;
      const env = { ...(settings?.['data'] as Record<string, string>), ...fromFields, ...set, KUBERNETES_SERVICE_HOST: '10.96.0.1' };
      const loaded = loadSettings({ env, hostname: 'x', readFile: () => mounted, serviceAccountFolder: '/sa' });
      assert.equal(loaded.lease.namespace, 'leasehold');
    });

    test('waits at the end for as long as an agent may take', () => {
      const grace = Number(pod()['terminationGracePeriodSeconds']);
      assert.ok(grace >= endsWithinS, `${grace}s`);
    });

    test('asks for health where the agent listens', () => {
      const [host, listens] = (SCHEMA.LISTEN.default ?? '').split(':');
      const [{ name: port, containerPort } = { name: '', containerPort: 0 }] = container().ports;
      assert.equal(containerPort, Number(listens));
      for (const [probe, path] of [
        ['livenessProbe', '/healthz'],
        ['readinessProbe', '/readyz'],
      ] as const) {
        assert.deepEqual(container()[probe].httpGet, { host, port, path });
      }
    });

    test(`uses the node’s network with ${capabilities.join(' and ')} and no more`, () => {
      assert.equal(pod()['hostNetwork'], true);
      assert.equal(pod()['dnsPolicy'], 'Default');
      const { securityContext } = container();
      assert.deepEqual(securityContext['capabilities'], { drop: ['ALL'], add: capabilities });
      assert.deepEqual([securityContext['readOnlyRootFilesystem'], securityContext['allowPrivilegeEscalation']], [true, false]);
    });

    test('never stops two agents at once', () => {
      assert.deepEqual(at(the(objects, 'DaemonSet'), 'spec', 'updateStrategy', 'rollingUpdate'), { maxUnavailable: 1, maxSurge: 0 });
    });
  });
}
