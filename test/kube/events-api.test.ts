/**
 * One contract for the Events API, kept by the stand-in and by a real kube-apiserver, and what our client makes of it.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { at, integerAt, stringAt } from '../../agent/json.ts';
import { Credentials } from '../../agent/kube/credentials.ts';
import { cutToBytes, eventName, eventsPath, KubeEvents } from '../../agent/kube/events.ts';
import type { SeenEvent } from '../../agent/kube/events.ts';
import { KubeTransport } from '../../agent/kube/transport.ts';
import { kubeconfigFor } from '../../e2e/control-plane/control-plane.ts';
import { KubeAdmin } from '../../e2e/control-plane/kube-admin.ts';
import { LEASE_PATH, NAMESPACE } from '../../e2e/control-plane/our-manifests.ts';
import { OUTBOUND } from '../support/outbound.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { seen, servers } from '../support/served-kube.ts';
import type { Served } from '../support/served-kube.ts';

const EVENTS = eventsPath(NAMESPACE);
const MERGE = 'application/merge-patch+json';
const TIME = '2026-11-21T08:00:00.123456Z';
const NEVER = new AbortController().signal;

for (const { what, serve, skip } of servers()) {
  describe(`the Events API of ${what}`, { skip }, () => {
    let served: Served;
    let admin: KubeAdmin;
    let agent: KubeAdmin;
    let leaseUid: string;
    let count = 0;
    let name: string;

    before(async () => {
      served = await serve();
      admin = as(served.adminToken);
      agent = as(served.agentToken);
      leaseUid = stringAt(await admin.get(LEASE_PATH), 'metadata', 'uid') ?? assert.fail();
    });
    after(async () => {
      admin.close();
      agent.close();
      await served.close();
    });
    beforeEach(() => {
      count += 1;
      name = `leasehold.${count}`;
    });

    const as = (token: string): KubeAdmin => new KubeAdmin({ url: served.url, ca: served.ca, token });
    const lease = (): object => ({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      namespace: NAMESPACE,
      name: 'leasehold',
      uid: leaseUid,
    });
    const event = (change: object = {}, metadata: object = {}): object => ({
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name, namespace: NAMESPACE, ...metadata },
      eventTime: TIME,
      reportingController: 'leasehold.dev/agent',
      reportingInstance: 'node-a_1_2',
      action: 'Acquire',
      reason: 'BecameHolder',
      type: 'Normal',
      note: 'node-a became the holder',
      regarding: lease(),
      ...change,
    });
    const post = async (change: object = {}, metadata: object = {}): Promise<string> =>
      seen(await admin.request('POST', EVENTS, event(change, metadata)));
    const patch = async (change: object, of = name): Promise<string> =>
      seen(await admin.request('PATCH', `${EVENTS}/${of}`, change, MERGE));
    const series = (times: number): object => ({ series: { count: times, lastObservedTime: TIME } });

    test('an Event is made once under one name', async () => {
      assert.equal(await post(), '201');
      assert.equal(await post(), `409 AlreadyExists ${name}`);
    });

    test('a time has six digits and a zone, or is refused, and there has to be one', async () => {
      for (const time of [
        '2026-11-21T08:00:00Z',
        '2026-11-21T08:00:00.123Z',
        '2026-11-21T08:00:00.123456789Z',
        '2026-11-21T08:00:00.123456z',
        5,
        '',
      ])
        assert.equal(await post({ eventTime: time }), '400 BadRequest', String(time));
      for (const time of [null, undefined]) assert.equal(await post({ eventTime: time }), `422 Invalid ${name} eventTime`);
    });

    test('who reports, what was done and why are said, in so many characters', async () => {
      for (const field of ['reportingInstance', 'action', 'reason', 'reportingController'])
        assert.equal(await post({ [field]: undefined }), `422 Invalid ${name} ${field}`);
      for (const field of ['reportingInstance', 'action', 'reason']) {
        assert.equal(await post({ [field]: 'x'.repeat(129) }), `422 Invalid ${name} ${field}`);
        assert.equal(await post({ [field]: 'x'.repeat(128) }, { name: `${name}-${field.toLowerCase()}` }), '201');
      }
      assert.equal(await post({ reportingController: 'a b' }), `422 Invalid ${name} reportingController`);
      for (const type of ['Odd', undefined]) assert.equal(await post({ type }), `422 Invalid ${name} type`);
    });

    test('a note has at most 1024 bytes, and may be left out', async () => {
      assert.equal(await post({ note: 'x'.repeat(1_025) }), `422 Invalid ${name} message`);
      assert.equal(await post({ note: 'ä'.repeat(513) }), `422 Invalid ${name} message`);
      assert.equal(await post({ note: 'ä'.repeat(512) }), '201');
      assert.equal(await post({ note: undefined }, { name: `${name}-b` }), '201');
    });

    test('an Event lives in the namespace of what it regards', async () => {
      assert.equal(await post({ regarding: undefined }), `422 Invalid ${name} involvedObject.namespace`);
      assert.equal(await post({}, { namespace: 'default' }), '400 BadRequest');
    });

    test('what only old clients know has to be left out', async () => {
      assert.equal(await post({ deprecatedCount: 2 }), `422 Invalid ${name} count`);
      assert.equal(await post({ deprecatedFirstTimestamp: '2026-11-21T08:00:00Z' }), `422 Invalid ${name} firstTimestamp`);
      assert.equal(await post({ deprecatedSource: { component: 'x' } }), `422 Invalid ${name} source`);
    });

    test('a series begins at two, from the first or by a patch, and says when last', async () => {
      assert.equal(await post(series(1)), `422 Invalid ${name} series.count`);
      assert.equal(await post({ series: { count: 2 } }), `422 Invalid ${name} series.lastObservedTime`);
      assert.equal(await post(series(2)), '201');
      assert.equal(await patch(series(3)), '200');
      assert.equal(integerAt(await admin.get(`${EVENTS}/${name}`), 'series', 'count'), 3);
      assert.equal(await patch({ series: { count: 4, lastObservedTime: '2026-11-21T08:00:00Z' } }), '422 Invalid patch');
    });

    test('a patch makes no Event', async () => {
      assert.equal(await patch(series(2), 'nothing'), '404 NotFound nothing');
    });

    test('a name is a name of Kubernetes', async () => {
      assert.equal(await post({}, { name: 'Upper' }), '422 Invalid Upper metadata.name');
      assert.equal(await post({}, { name: 'x'.repeat(253) }), '201');
    });

    test('our Role allows to make and to change them in our namespace, and nothing else', async () => {
      assert.equal(seen(await agent.request('POST', EVENTS, event())), '201');
      assert.equal(seen(await agent.request('PATCH', `${EVENTS}/${name}`, series(2), MERGE)), '200');
      for (const [method, path] of [
        ['GET', EVENTS],
        ['GET', `${EVENTS}/${name}`],
        ['DELETE', `${EVENTS}/${name}`],
      ] as const)
        assert.match(seen(await agent.request(method, path)), /^403 Forbidden/, `${method} ${path}`);
    });

    describe('as our client uses it', () => {
      let folder: string;
      let transport: KubeTransport;
      let events: KubeEvents;

      before(() => {
        folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
        const file = join(folder, 'kubeconfig');
        writeFileSync(file, kubeconfigFor(served, served.agentToken));
        transport = new KubeTransport(new Credentials({ kind: 'kubeconfig', path: file }, REAL_CLOCK), REAL_CLOCK, OUTBOUND);
        events = new KubeEvents(transport, 'node-a_1_2');
      });
      after(() => {
        transport.close();
        rmSync(folder, { recursive: true });
      });

      const seenEvent = (change: Partial<SeenEvent> = {}, note = 'node-a became the holder'): SeenEvent => ({
        name,
        regarding: { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', namespace: NAMESPACE, name: 'leasehold', uid: leaseUid },
        related: { apiVersion: 'v1', kind: 'Pod', namespace: 'elsewhere', name: 'leasehold-x7k2p', uid: 'pod-uid' },
        happening: { reason: 'BecameHolder', action: 'Acquire', type: 'Normal', about: 'lease-and-pod', note },
        firstWallMs: Date.UTC(2026, 10, 21, 8),
        lastWallMs: Date.UTC(2026, 10, 21, 8, 5),
        count: 1,
        ...change,
      });

      test('one is made, made again without harm, and counted up', async () => {
        assert.deepEqual(await events.create(seenEvent(), 5_000, NEVER), { is: 'written' });
        assert.deepEqual(await events.create(seenEvent(), 5_000, NEVER), { is: 'written' });
        assert.deepEqual(await events.repeat(seenEvent({ count: 7 }), 5_000, NEVER), { is: 'written' });
        const stored = await admin.get(`${EVENTS}/${name}`);
        assert.deepEqual(
          [
            stringAt(stored, 'eventTime'),
            at(stored, 'series'),
            stringAt(stored, 'related', 'name'),
            stringAt(stored, 'reportingController'),
          ],
          [
            '2026-11-21T08:00:00.000000Z',
            { count: 7, lastObservedTime: '2026-11-21T08:05:00.000000Z' },
            'leasehold-x7k2p',
            'leasehold.dev/agent',
          ],
        );
      });

      test('one that has happened several times before it could be told is a series at once', async () => {
        assert.deepEqual(await events.create(seenEvent({ count: 3 }), 5_000, NEVER), { is: 'written' });
        assert.equal(integerAt(await admin.get(`${EVENTS}/${name}`), 'series', 'count'), 3);
      });

      test('the longest words of others and the longest names fit', async () => {
        const long = new KubeEvents(transport, `${'n'.repeat(253)}_1_2`);
        const named = eventName('x'.repeat(253), Date.now(), 0.999_999_999);
        assert.deepEqual(await long.create(seenEvent({ name: named }, '„ä€😀”'.repeat(1_000)), 5_000, NEVER), { is: 'written' });
        const stored = await admin.get(`${EVENTS}/${named}`);
        assert.match(stringAt(stored, 'note') ?? '', /^(„ä€😀”)+„?ä?€?(😀)?…$/u);
        assert.match(stringAt(stored, 'reportingInstance') ?? '', /_1_2$/);
      });

      test('one that has run out is gone', async () => {
        assert.deepEqual(await events.repeat(seenEvent({ name: 'never-was', count: 2 }), 5_000, NEVER), { is: 'gone' });
      });

      test('a refusal says what to grant, and a missing namespace or API that it is missing', async () => {
        const elsewhere = { ...seenEvent().regarding, namespace: 'default' };
        const refused = await events.create(seenEvent({ regarding: elsewhere }), 5_000, NEVER);
        assert.ok(refused.is === 'refused', JSON.stringify(refused));
        assert.match(
          refused.message,
          /403 .*grant the verbs "create" and "patch" on events in the group events\.k8s\.io in the namespace default/,
        );
      });

      test('a server that cannot be reached, or is too slow, is trouble that passes', async () => {
        const folder2 = join(folder, 'nowhere');
        writeFileSync(folder2, kubeconfigFor({ url: 'https://127.0.0.1:1', ca: served.ca }, 'x'));
        const lost = new KubeTransport(new Credentials({ kind: 'kubeconfig', path: folder2 }, REAL_CLOCK), REAL_CLOCK, OUTBOUND);
        assert.equal((await new KubeEvents(lost, 'x').create(seenEvent(), 5_000, NEVER)).is, 'trouble');
        lost.close();
      });
    });
  });
}

describe('a name for an Event', () => {
  test('is the object, the instant and chance', () => {
    assert.match(eventName('leasehold', 1_795_248_000_000, 0.5), /^leasehold\.[0-9a-f]{11}80000000$/);
    assert.notEqual(eventName('leasehold', 1, 0.1), eventName('leasehold', 1, 0.2));
    assert.match(
      eventName(`${'a.'.repeat(126)}a`, 1_795_248_000_000, 0),
      /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
    );
  });
});

describe('a text that is cut', () => {
  test('has no more bytes than it may, and no half characters', () => {
    assert.equal(cutToBytes('short', 10), 'short');
    for (let max = 10; max < 40; max += 1) {
      const cut = cutToBytes('😀€ä1'.repeat(20), max);
      assert.ok(Buffer.byteLength(cut) <= max && Buffer.byteLength(cut) > max - 4, `${max}: ${cut}`);
      assert.doesNotMatch(cut, /\uFFFD/);
    }
  });
});
