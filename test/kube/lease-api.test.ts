/**
 * One contract for the Lease API, kept by the stand-in and by a real kube-apiserver: what was asked, and everything in the
 * answer that the agent looks at. Where a stand-in and the real server differ, the stand-in is wrong.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { LeaseSight } from '../../agent/contender/lease.ts';
import { at, integerAt, listAt, stringAt } from '../../agent/json.ts';
import { Credentials } from '../../agent/kube/credentials.ts';
import { KubeLeaseStore, leasesPath } from '../../agent/kube/lease-store.ts';
import { KubeLeaseWatch } from '../../agent/kube/lease-watch.ts';
import type { WatchState } from '../../agent/kube/lease-watch.ts';
import { KubeTransport } from '../../agent/kube/transport.ts';
import type { LeaseWrite } from '../../agent/ports.ts';
import { kubeconfigFor } from '../../e2e/control-plane/control-plane.ts';
import { KubeAdmin } from '../../e2e/control-plane/kube-admin.ts';
import type { WatchEvent } from '../../e2e/control-plane/kube-admin.ts';
import { NAMESPACE } from '../../e2e/control-plane/our-manifests.ts';
import { eventually } from '../support/eventually.ts';
import { OUTBOUND } from '../support/outbound.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { seen, servers } from '../support/served-kube.ts';
import type { Served } from '../support/served-kube.ts';

const LEASES = leasesPath(NAMESPACE);
const MERGE = 'application/merge-patch+json';
const BAD_TIMES = [
  '2026-11-21T08:00:00Z',
  '2026-11-21T08:00:00.123Z',
  '2026-11-21T08:00:00.123456789Z',
  '2026-11-21T08:00:00.123456',
  '2026-11-21T08:00:00.123456z',
  5,
  '',
];

const versionOf = (lease: unknown): string => stringAt(lease, 'metadata', 'resourceVersion') ?? assert.fail('no version');
const uidOf = (lease: unknown): string => stringAt(lease, 'metadata', 'uid') ?? assert.fail('no uid');
const body = (name: string, metadata: object = {}, spec: object = {}): object => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name, ...metadata },
  spec,
});

for (const { what, serve, skip } of servers()) {
  describe(`the Lease API of ${what}`, { skip }, () => {
    let served: Served;
    let admin: KubeAdmin;
    let agent: KubeAdmin;
    let count = 0;
    /** The Lease that one test is about. */
    let name: string;

    before(async () => {
      served = await serve();
      admin = as(served.adminToken);
      agent = as(served.agentToken);
    });
    after(async () => {
      admin.close();
      agent.close();
      await served.close();
    });
    beforeEach(() => {
      count += 1;
      name = `lease-${count}`;
    });

    const as = (token: string): KubeAdmin => new KubeAdmin({ url: served.url, ca: served.ca, token });
    const path = (): string => `${LEASES}/${name}`;
    const create = (spec: object = {}): Promise<unknown> => admin.create(LEASES, body(name, {}, spec));
    const put = async (metadata: object = {}, spec: object = {}): Promise<string> =>
      seen(await admin.request('PUT', path(), body(name, metadata, spec)));
    const patch = async (change: object): Promise<string> => seen(await admin.request('PATCH', path(), change, MERGE));

    test('a write that is based on an old version is a conflict', async () => {
      const resourceVersion = versionOf(await create());
      await admin.patch(path(), { spec: { holderIdentity: 'x' } });
      assert.equal(await put({ resourceVersion }), `409 Conflict ${name}`);
      assert.equal(await patch({ metadata: { resourceVersion } }), `409 Conflict ${name}`);
    });

    test('a PUT with another uid is a conflict, and a merge patch names the field', async () => {
      const resourceVersion = versionOf(await create());
      assert.equal(await put({ resourceVersion, uid: 'other' }), `409 Conflict ${name}`);
      assert.equal(await patch({ metadata: { uid: 'other' } }), `422 Invalid ${name} metadata.uid`);
      assert.equal(await patch({ metadata: { uid: 'other', resourceVersion } }), `422 Invalid ${name} metadata.uid`);
    });

    test('a PUT without a version is refused where there is a Lease, and creates one where there is none', async () => {
      assert.equal(await put(), '201');
      assert.equal(await put(), `422 Invalid ${name} metadata.resourceVersion`);
      await admin.delete(path());
      assert.equal(await put({ resourceVersion: '5' }), '201');
      const uid = uidOf(await admin.delete(path()).then(() => create()));
      await admin.delete(path());
      assert.equal(await put({ uid }), `409 Conflict ${name}`);
      assert.equal(seen(await admin.request('GET', path())), `404 NotFound ${name}`);
    });

    test('a merge patch creates nothing, and one that is based on an earlier Lease of the name is a conflict', async () => {
      assert.equal(await patch({ spec: {} }), `404 NotFound ${name}`);
      const first = await create();
      await admin.delete(path());
      assert.equal(await patch({ metadata: { uid: uidOf(first), resourceVersion: versionOf(first) } }), `404 NotFound ${name}`);
      const second = await create();
      assert.notEqual(uidOf(second), uidOf(first));
      assert.equal(await patch({ metadata: { uid: uidOf(first), resourceVersion: versionOf(first) } }), `409 Conflict ${name}`);
      assert.equal(
        await patch({ metadata: { uid: uidOf(first), resourceVersion: versionOf(second) } }),
        `422 Invalid ${name} metadata.uid`,
      );
    });

    test('a POST of a Lease that exists says so, and a version in it is a server error', async () => {
      await create();
      assert.equal(seen(await admin.request('POST', LEASES, body(name))), `409 AlreadyExists ${name}`);
      const other = await admin.request('POST', LEASES, body(`${name}-b`, { resourceVersion: '5' }));
      assert.equal(other.status, 500);
      assert.equal((await admin.request('PUT', path(), body(name, { resourceVersion: 'x' }))).status, 500);
    });

    test('a time has six digits and a zone, or is refused', async () => {
      const resourceVersion = versionOf(await create());
      for (const renewTime of BAD_TIMES) {
        assert.equal(await patch({ spec: { renewTime } }), '422 Invalid patch', String(renewTime));
        assert.equal(await put({ resourceVersion }, { renewTime }), '400 BadRequest', String(renewTime));
        assert.equal(seen(await admin.request('POST', LEASES, body('never', {}, { renewTime }))), '400 BadRequest', String(renewTime));
      }
    });

    test('a time in another zone is written in UTC, and null takes one away', async () => {
      await create({ renewTime: '2026-11-21T09:00:00.123456+01:00' });
      assert.equal(stringAt(await admin.get(path()), 'spec', 'renewTime'), '2026-11-21T08:00:00.123456Z');
      assert.equal(await patch({ spec: { renewTime: null } }), '200');
      assert.equal(at(await admin.get(path()), 'spec', 'renewTime'), undefined);
    });

    test('a duration is a positive whole number and transitions are not negative', async () => {
      const resourceVersion = versionOf(await create());
      for (const leaseDurationSeconds of [0, -1]) {
        const refused = `422 Invalid ${name} spec.leaseDurationSeconds`;
        assert.equal(await patch({ spec: { leaseDurationSeconds } }), refused);
        assert.equal(await put({ resourceVersion }, { leaseDurationSeconds }), refused);
      }
      for (const leaseDurationSeconds of [1.5, '15', 2 ** 31]) {
        assert.equal(await patch({ spec: { leaseDurationSeconds } }), '422 Invalid patch', String(leaseDurationSeconds));
        assert.equal(await put({ resourceVersion }, { leaseDurationSeconds }), '400 BadRequest', String(leaseDurationSeconds));
      }
      assert.equal(await patch({ spec: { leaseTransitions: -1 } }), `422 Invalid ${name} spec.leaseTransitions`);
    });

    test('a holder may be nobody', async () => {
      await create({ holderIdentity: 'x' });
      assert.equal(await patch({ spec: { holderIdentity: '' } }), '200');
      assert.equal(stringAt(await admin.get(path()), 'spec', 'holderIdentity'), '');
      assert.equal(await patch({ spec: { holderIdentity: null } }), '200');
      assert.equal(at(await admin.get(path()), 'spec', 'holderIdentity'), undefined);
    });

    test('a write that changes nothing raises no version, and an unknown field is dropped', async () => {
      const before = versionOf(await create({ holderIdentity: 'x' }));
      const after = await admin.patch(path(), { spec: { holderIdentity: 'x', surprise: 1 } });
      assert.equal(versionOf(after), before);
      assert.equal(at(after, 'spec', 'surprise'), undefined);
    });

    test('annotations are set and taken away one by one, and what is no text is refused', async () => {
      await create();
      await admin.patch(path(), { metadata: { annotations: { a: '1', b: '2' } } });
      await admin.patch(path(), { metadata: { annotations: { a: null, c: null } } });
      assert.deepEqual(at(await admin.get(path()), 'metadata', 'annotations'), { b: '2' });
      assert.equal(await patch({ metadata: { annotations: { a: 1 } } }), '422 Invalid patch');
      await admin.patch(path(), { metadata: { annotations: { b: null } } });
      assert.equal(at(await admin.get(path()), 'metadata', 'annotations'), undefined);
    });

    test('a patch in a format that nobody knows is refused', async () => {
      await create();
      assert.equal(seen(await admin.request('PATCH', path(), {}, 'application/json')), '415 UnsupportedMediaType');
    });

    test('a DELETE that names an old version or another uid is a conflict', async () => {
      const uid = uidOf(await create());
      assert.equal(seen(await admin.request('DELETE', path(), { preconditions: { resourceVersion: '1' } })), `409 Conflict ${name}`);
      assert.equal(seen(await admin.request('DELETE', path(), { preconditions: { uid: 'other' } })), `409 Conflict ${name}`);
      assert.equal((await admin.request('DELETE', path(), { preconditions: { uid } })).status, 200);
    });

    test('who is nobody, who is unknown and who may not are told apart', async () => {
      const stranger = as('made-up');
      assert.equal(seen(await stranger.request('GET', `${LEASES}/leasehold`)), '401 Unauthorized');
      stranger.close();
      assert.equal(seen(await agent.request('GET', `${LEASES}/${name}`)), `403 Forbidden ${name}`);
      assert.equal(seen(await agent.request('DELETE', `${LEASES}/leasehold`)), '403 Forbidden leasehold');
      assert.equal(seen(await agent.request('GET', LEASES)), '403 Forbidden');
      assert.equal(seen(await agent.request('GET', '/api/v1/nodes/node-a')), '403 Forbidden node-a');
    });

    test('a list by name holds that Lease alone, in the words of a list', async () => {
      const listed = await agent.get(`${LEASES}?fieldSelector=metadata.name%3Dleasehold`);
      const names = (listAt(listed, 'items') ?? []).map((item) => stringAt(item, 'metadata', 'name'));
      assert.deepEqual([stringAt(listed, 'kind'), names], ['LeaseList', ['leasehold']]);
      assert.match(versionOf(listed), /^\d+$/);
      const none = await admin.get(`${LEASES}?fieldSelector=metadata.name%3D${name}`);
      assert.deepEqual(listAt(none, 'items'), []);
    });

    /** Watches one Lease from a version on, until told to stop. */
    function watch(query: string): { events: WatchEvent[]; stop: () => Promise<void> } {
      const events: WatchEvent[] = [];
      const controller = new AbortController();
      const watching = admin
        .watch(`${LEASES}?watch=1&fieldSelector=metadata.name%3D${name}&${query}`, (event) => events.push(event), controller.signal)
        .catch(() => undefined);
      return {
        events,
        stop: async () => {
          controller.abort();
          await watching;
        },
      };
    }

    test('a watch shows what comes after its version, a deletion with a version of its own', async () => {
      const other = `${name}-other`;
      const before = versionOf(await admin.get(`${LEASES}?fieldSelector=metadata.name%3D${name}`));
      const { events, stop } = watch(`resourceVersion=${before}`);
      const created = await create();
      await admin.create(LEASES, body(other));
      await admin.patch(path(), { spec: { holderIdentity: 'x' } });
      await admin.delete(path());
      await eventually('all is shown', () => events.length >= 3);
      await stop();
      assert.deepEqual(
        events.map(({ type }) => type),
        ['ADDED', 'MODIFIED', 'DELETED'],
      );
      const versions = events.map(({ object }) => Number(versionOf(object)));
      assert.equal(versions[0], Number(versionOf(created)));
      assert.ok((versions[2] ?? 0) > (versions[1] ?? 0));
      assert.equal(stringAt(events[2]?.object, 'spec', 'holderIdentity'), 'x');
    });

    test('a watch without a version begins with what there is', async () => {
      await create();
      const { events, stop } = watch('');
      await eventually('it is shown', () => events.length === 1);
      await stop();
      assert.equal(events[0]?.type, 'ADDED');
    });

    test('a version that is still to come is an error for a list, after a while, and for a watch a wait', async () => {
      const listed = await admin.request('GET', `${LEASES}?resourceVersion=999999999`);
      assert.equal(seen(listed), '504 Timeout ResourceVersionTooLarge');
      const { events, stop } = watch('resourceVersion=999999999&timeoutSeconds=1');
      await create();
      await new Promise((resolve) => setTimeout(resolve, 1_500));
      await stop();
      assert.deepEqual(events, []);
    });

    test('a watch from what the server has forgotten is told so, in the stream', async () => {
      const old = versionOf(await create());
      await admin.patch(path(), { spec: { holderIdentity: 'x' } });
      await served.forget();
      const { events, stop } = watch(`resourceVersion=${old}`);
      await eventually('it is told', () => events.length === 1);
      await stop();
      const [event] = events;
      assert.deepEqual([event?.type, integerAt(event?.object, 'code'), stringAt(event?.object, 'reason')], ['ERROR', 410, 'Expired']);
    });

    describe('as the agent itself sees it', () => {
      const NAME = { namespace: NAMESPACE, name: 'leasehold' };
      const never = new AbortController().signal;
      let folder: string;
      let transport: KubeTransport;
      let store: KubeLeaseStore;

      before(() => {
        folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
        const file = join(folder, 'kubeconfig');
        writeFileSync(file, kubeconfigFor(served, served.agentToken));
        transport = new KubeTransport(new Credentials({ kind: 'kubeconfig', path: file }, REAL_CLOCK), REAL_CLOCK, OUTBOUND);
        store = new KubeLeaseStore(transport, NAME, 'node-a_1_2', REAL_CLOCK, () => undefined);
      });
      after(() => {
        transport.close();
        rmSync(folder, { recursive: true });
      });

      const sightOf = async (): Promise<LeaseSight> => {
        const outcome = await store.read(5_000, never);
        return outcome.is === 'read' ? outcome.sight : assert.fail(JSON.stringify(outcome));
      };
      const acquisition = (basis: { uid: string; resourceVersion: string }, transitions: number): LeaseWrite => ({
        type: 'acquire',
        request: 1,
        timeoutMs: 5_000,
        notAfterMs: Infinity,
        basis,
        transitions,
        durationMs: 2_500,
        marks: { duration: { term: { uid: basis.uid, transitions, holder: 'node-a_1_2' }, durationMs: 2_500 }, released: null },
      });

      test('a term is acquired, seen by a watch, renewed, released, and taken no second time from the same version', async () => {
        const sights: LeaseSight[] = [];
        const states: WatchState[] = [];
        const ending = new AbortController();
        const events = {
          onSight: (sight: LeaseSight): void => void sights.push(sight),
          onState: (s: WatchState): void => void states.push(s),
        };
        const watching = new KubeLeaseWatch(transport, NAME, REAL_CLOCK, () => 0, events).run(ending.signal);
        await eventually('the watch stands', () => states.some(({ stands }) => stands));

        const before = await sightOf();
        assert.ok(before !== 'absent' && before.isOurs && before.holder === '');
        const { uid, resourceVersion } = before;
        const acquired = await store.write(acquisition({ uid, resourceVersion }, before.transitions + 1), never);
        assert.ok(acquired.is === 'written' && acquired.record.holder === 'node-a_1_2');
        assert.equal(acquired.record.durationMs, 3_000);
        assert.equal(acquired.record.marks.duration?.durationMs, 2_500);
        assert.deepEqual(await store.write(acquisition({ uid, resourceVersion }, before.transitions + 1), never), { is: 'conflict' });
        const other = { uid: '00000000-0000-4000-8000-000000000000', resourceVersion: acquired.record.resourceVersion };
        assert.deepEqual(await store.write(acquisition(other, 9), never), { is: 'conflict' });

        const term = { uid, transitions: acquired.record.transitions, holder: 'node-a_1_2' };
        const basis = { uid, resourceVersion: acquired.record.resourceVersion };
        const common = { request: 2, timeoutMs: 5_000, notAfterMs: Infinity };
        const renewal: LeaseWrite = {
          type: 'renew',
          term,
          ...common,
          basis,
          lastRenewTime: acquired.record.renewTime,
          durationMs: 2_500,
          marks: {},
        };
        const renewed = await store.write(renewal, never);
        assert.ok(renewed.is === 'written' && renewed.record.resourceVersion !== basis.resourceVersion);

        const last = { uid, resourceVersion: renewed.record.resourceVersion };
        const released = await store.write({ type: 'release', ...common, basis: last, marks: { released: term } }, never);
        assert.ok(released.is === 'written' && released.record.holder === '');
        assert.deepEqual(released.record.marks.released, term);

        await eventually('the watch has shown the release', () => {
          const sight = sights.at(-1);
          return sight !== undefined && sight !== 'absent' && sight.marks.released !== null;
        });
        ending.abort(new Error('the end'));
        await watching;
      });

      test('a Lease that was deleted is absent, missing, and made anew by a creation alone', async () => {
        const before = await sightOf();
        assert.ok(before !== 'absent');
        const { uid, resourceVersion } = before;
        await admin.delete(`${LEASES}/leasehold`);
        assert.equal(await sightOf(), 'absent');
        assert.deepEqual(await store.write(acquisition({ uid, resourceVersion }, 2), never), { is: 'missing' });
        const create: LeaseWrite = {
          type: 'create',
          request: 1,
          timeoutMs: 5_000,
          notAfterMs: Infinity,
          transitions: 1,
          durationMs: 2_500,
          marks: {},
        };
        const created = await store.write(create, never);
        assert.ok(created.is === 'written' && created.record.isOurs && created.record.uid !== uid);
        assert.deepEqual(await store.write(create, never), { is: 'conflict' });
        assert.deepEqual(await store.write(acquisition({ uid, resourceVersion }, 2), never), { is: 'conflict' });
      });
    });
  });
}
