import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { stringAt } from '../../agent/json.ts';
import { leasesPath } from '../../agent/kube/lease-store.ts';
import { findAssets } from '../../e2e/control-plane/assets.ts';
import { ControlPlane } from '../../e2e/control-plane/control-plane.ts';
import { KubeAdmin } from '../../e2e/control-plane/kube-admin.ts';
import { LEASE_PATH, NAMESPACE, SERVICE_ACCOUNT } from '../../e2e/control-plane/our-manifests.ts';
import { eventually } from '../support/eventually.ts';

const assets = findAssets(process.env);

describe('a real control plane', { skip: assets.is === 'unavailable' ? assets.why : false }, () => {
  let folder: string;
  let plane: ControlPlane;
  /** Somebody with the token of our ServiceAccount. */
  let agent: KubeAdmin;

  before(async () => {
    if (assets.is === 'unavailable') return;
    folder = mkdtempSync(join(tmpdir(), 'leasehold-control-plane-'));
    plane = await ControlPlane.start({ assets, folder });
    agent = new KubeAdmin({ url: plane.url, ca: plane.ca, token: plane.token });
  });

  after(async () => {
    agent.close();
    await plane.close();
    rmSync(folder, { recursive: true });
  });

  test('lets the token of our ServiceAccount do what the Role names, and nothing else', async () => {
    const statusOf = async (...request: Parameters<KubeAdmin['request']>): Promise<number> => (await agent.request(...request)).status;
    assert.equal(await statusOf('GET', LEASE_PATH), 200);
    assert.equal(await statusOf('GET', `${leasesPath(NAMESPACE)}/another`), 403);
    assert.equal(await statusOf('GET', leasesPath('kube-system')), 403);
    assert.equal(await statusOf('DELETE', LEASE_PATH), 403);
    assert.equal(await statusOf('PUT', LEASE_PATH, {}), 403);
  });

  test('refuses who has no token of its own', async () => {
    const stranger = new KubeAdmin({ url: plane.url, ca: plane.ca, token: 'made-up' });
    assert.equal((await stranger.request('GET', LEASE_PATH)).status, 401);
    stranger.close();
  });

  test('tells a watch of what an administrator changes', async () => {
    const holders: (string | undefined)[] = [];
    const stop = new AbortController();
    const path = `${leasesPath(NAMESPACE)}?watch=1&fieldSelector=metadata.name%3Dleasehold`;
    const watching = agent.watch(path, ({ object }) => holders.push(stringAt(object, 'spec', 'holderIdentity')), stop.signal);
    await eventually('the watch has shown the Lease', () => holders.length === 1);
    await plane.admin.patch(LEASE_PATH, { spec: { holderIdentity: 'somebody' } });
    await eventually('it has shown the change', () => holders.includes('somebody'));
    stop.abort();
    await assert.rejects(watching);
  });

  test('takes a Pod, although no controller looks after its ServiceAccount', async () => {
    const pods = `/api/v1/namespaces/${NAMESPACE}/pods`;
    const spec = { serviceAccountName: SERVICE_ACCOUNT, containers: [{ name: 'one', image: 'one' }] };
    await plane.admin.create(pods, { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'one' }, spec });
    assert.equal(stringAt(await plane.admin.get(`${pods}/one`), 'status', 'phase'), 'Pending');
  });

  test('still holds everything after its API server was killed and started again', async () => {
    await plane.admin.patch(LEASE_PATH, { spec: { holderIdentity: 'survivor' } });
    await plane.killApiserver();
    await assert.rejects(agent.get(LEASE_PATH));
    await plane.startApiserver();
    assert.equal(stringAt(await agent.get(LEASE_PATH), 'spec', 'holderIdentity'), 'survivor');
  });
});
