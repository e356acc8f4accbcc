/**
 * A real API server takes the manifests, and lets their ServiceAccount do what it must and nothing else.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { at } from '../../agent/json.ts';
import { findAssets } from '../../e2e/control-plane/assets.ts';
import { ControlPlane, kubeconfigFor } from '../../e2e/control-plane/control-plane.ts';
import { KubeAdmin } from '../../e2e/control-plane/kube-admin.ts';
import { LEASE_PATH, NAMESPACE } from '../../e2e/control-plane/our-manifests.ts';
import { compose, kubectl, overlays, render } from '../support/manifests.ts';
import type { KubeObject } from '../support/manifests.ts';

const assets = findAssets(process.env);

const VERBS = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'] as const;

/** What there is to be done wrong with, by group, resource, and name where one has to be named. */
const RESOURCES = [
  'coordination.k8s.io/leases/leasehold',
  'coordination.k8s.io/leases/another',
  'coordination.k8s.io/leases/',
  'events.k8s.io/events/',
  '/events/',
  '/secrets/hcloud-token',
  '/secrets/',
  '/configmaps/leasehold-settings',
  '/pods/',
  '/pods/exec/',
  '/pods/eviction/',
  '/pods/ephemeralcontainers/',
  '/serviceaccounts/leasehold',
  '/serviceaccounts/token/leasehold',
  '/services/',
  '/endpoints/',
  '/namespaces/leasehold',
  '/nodes/node-a',
  '/nodes/proxy/node-a',
  'apps/daemonsets/leasehold',
  'apps/deployments/',
  'rbac.authorization.k8s.io/roles/leasehold',
  'rbac.authorization.k8s.io/rolebindings/leasehold',
  'rbac.authorization.k8s.io/clusterroles/cluster-admin',
  'admissionregistration.k8s.io/validatingwebhookconfigurations/',
  'certificates.k8s.io/certificatesigningrequests/',
] as const;

/** Its own namespace, others, and all together. */
const NAMESPACES = [NAMESPACE, 'kube-system', 'kube-node-lease', 'default', ''];

/** All that it may, written as NAMESPACE VERB RESOURCE. */
const ALLOWED = [
  ...['get', 'list', 'watch', 'patch', 'create'].map((verb) => `${NAMESPACE} ${verb} coordination.k8s.io/leases/leasehold`),
  // Whatever is created has no name yet that a right could be limited to.
  `${NAMESPACE} create coordination.k8s.io/leases/another`,
  `${NAMESPACE} create coordination.k8s.io/leases/`,
  `${NAMESPACE} create events.k8s.io/events/`,
  `${NAMESPACE} patch events.k8s.io/events/`,
];

describe('on a real API server', { skip: assets.is === 'unavailable' ? assets.why : false }, () => {
  let folder: string;
  let plane: ControlPlane;
  let agent: KubeAdmin;
  let kubeconfig: string;

  before(async () => {
    if (assets.is === 'unavailable') return;
    folder = mkdtempSync(join(tmpdir(), 'leasehold-manifests-'));
    plane = await ControlPlane.start({ assets, folder });
    agent = new KubeAdmin({ url: plane.url, ca: plane.ca, token: plane.token });
    kubeconfig = join(folder, 'admin.kubeconfig');
    writeFileSync(kubeconfig, kubeconfigFor(plane, plane.adminToken), { mode: 0o600 });
  });

  after(async () => {
    agent.close();
    await plane.close();
    rmSync(folder, { recursive: true });
  });

  const OF_EVERY_COMPONENT = {
    name: 'every component that goes with the others',
    rendered: (): KubeObject[] =>
      compose({
        provider: 'hcloud-floating-ip',
        components: ['on-control-plane-nodes', 'metrics', 'node-reading'],
      }),
  };
  for (const { name, rendered } of [
    ...overlays().map((overlay) => ({ name: overlay, rendered: () => render(overlay) })),
    OF_EVERY_COMPONENT,
  ]) {
    test(`${name} would be taken as it is, without a warning`, async () => {
      const objects = rendered();
      const known = await knownTo(plane.admin, objects);
      const said = kubectl(['apply', '--dry-run=server', '--validate=strict', '--warnings-as-errors', '-f', '-'], {
        kubeconfig,
        input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: known }),
      });
      assert.equal(said.match(/\(server dry run\)/g)?.length, known.length, said);
    });
  }

  test('what has a field too many would not be taken', () => {
    const objects = render('overlays/l2').map((object) =>
      object.kind === 'DaemonSet' ? { ...object, spec: { ...(object['spec'] as object), minReadySecond: 5 } } : object,
    );
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
    assert.throws(() => kubectl(['apply', '--dry-run=server', '--validate=strict', '-f', '-'], { kubeconfig, input }), /minReadySecond\b/);
  });

  test('the ServiceAccount may do exactly this much', async () => {
    const allowed: string[] = [];
    for (const namespace of NAMESPACES) {
      for (const verb of VERBS) {
        for (const text of RESOURCES) if (await mayI(agent, namespace, verb, text)) allowed.push(`${namespace} ${verb} ${text}`);
      }
    }
    assert.deepEqual(allowed.sort(), [...ALLOWED].sort());
  });

  test('and no rule gives it more', async () => {
    const answer = await agent.create('/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectRulesReview',
      spec: { namespace: NAMESPACE },
    });
    const rules = at(answer, 'status', 'resourceRules') as readonly { readonly apiGroups: readonly string[] }[];
    const role = render('overlays/l2').find(({ kind }) => kind === 'Role');
    // Whoever is let in may ask what he may.
    const own = rules.filter(({ apiGroups }) => !apiGroups.some((group) => /^(authorization|authentication)\.k8s\.io$/.test(group)));
    const inOrder = (each: readonly unknown[]): string[] =>
      each.map((rule) => JSON.stringify(rule, Object.keys(rule as object).sort())).sort();
    assert.deepEqual(inOrder(own), inOrder(role?.['rules'] as readonly unknown[]));
  });

  test('with its own token it does what an agent does', async () => {
    const status = async (...request: Parameters<KubeAdmin['request']>): Promise<number> => (await agent.request(...request)).status;
    assert.equal(await status('GET', LEASE_PATH), 200);
    assert.equal(
      await status('PATCH', LEASE_PATH, { metadata: { annotations: { 'leasehold.dev/test': 'x' } } }, 'application/merge-patch+json'),
      200,
    );
    const events = `/apis/events.k8s.io/v1/namespaces/${NAMESPACE}/events`;
    assert.equal(await status('POST', events, anEvent()), 201);
    assert.equal(await status('PATCH', `${events}/leasehold.test`, { reason: 'BecameHolder' }, 'application/merge-patch+json'), 200);
  });

  test('and is refused what it has no business with', async () => {
    const core = `/api/v1/namespaces/${NAMESPACE}`;
    for (const [method, path, body] of [
      ['GET', `${core}/secrets`],
      ['GET', `${core}/pods`],
      ['GET', '/api/v1/nodes'],
      ['GET', `${core}/events`],
      ['GET', `/apis/events.k8s.io/v1/namespaces/${NAMESPACE}/events`],
      ['POST', '/apis/events.k8s.io/v1/namespaces/default/events', anEvent('default')],
      ['DELETE', LEASE_PATH],
      ['PUT', LEASE_PATH, {}],
      ['DELETE', `/apis/apps/v1/namespaces/${NAMESPACE}/daemonsets/leasehold`],
    ] as const) {
      assert.equal((await agent.request(method, path, body)).status, 403, `${method} ${path}`);
    }
  });

  test('who has no token may ask whether the API server is ready, as the probe of control-plane nodes does', async () => {
    const stranger = await fetchAnonymously(plane, '/readyz');
    assert.equal(stranger, 200);
    assert.equal(await fetchAnonymously(plane, LEASE_PATH), 403);
  });
});

/** The objects of the kinds that this API server has: an old one knows no PodDisruptionBudget of policy/v1. */
async function knownTo(admin: KubeAdmin, objects: readonly KubeObject[]): Promise<KubeObject[]> {
  const known: KubeObject[] = [];
  for (const object of objects) {
    const { apiVersion, kind } = object;
    const list = await admin.request('GET', apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`);
    if ((at(list.body, 'resources') as readonly { kind: string }[] | undefined)?.some((each) => each.kind === kind) === true)
      known.push(object);
    else assert.equal(`${apiVersion} ${kind}`, 'policy/v1 PodDisruptionBudget');
  }
  return known;
}

async function mayI(agent: KubeAdmin, namespace: string, verb: string, text: string): Promise<boolean> {
  const parts = text.split('/');
  const [group = '', resource = ''] = parts;
  const name = parts.at(-1) ?? '';
  const subresource = parts.length > 3 ? parts[2] : '';
  const answer = await agent.create('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    spec: { resourceAttributes: { namespace, verb, group, resource, subresource, name } },
  });
  return at(answer, 'status', 'allowed') === true;
}

function anEvent(namespace = NAMESPACE): object {
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name: 'leasehold.test', namespace },
    eventTime: '2026-01-01T00:00:00.000000Z',
    reportingController: 'leasehold.dev/agent',
    reportingInstance: 'leasehold-x7k2p',
    action: 'Acquire',
    reason: 'BecameHolder',
    type: 'Normal',
    regarding: { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', name: 'leasehold', namespace },
    note: 'a test',
  };
}

async function fetchAnonymously(plane: ControlPlane, path: string): Promise<number> {
  const stranger = new KubeAdmin({ url: plane.url, ca: plane.ca, token: '' });
  try {
    return (await stranger.request('GET', path)).status;
  } finally {
    stranger.close();
  }
}
