import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { LeaseRecord } from '../../agent/contender/lease.ts';
import { Credentials } from '../../agent/kube/credentials.ts';
import { KubeLeaseStore } from '../../agent/kube/lease-store.ts';
import { KubeTransport } from '../../agent/kube/transport.ts';
import type { LeaseWrite } from '../../agent/ports.ts';
import { KubeApi } from '../support/kube-api.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { OUTBOUND } from '../support/outbound.ts';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const NAME = { namespace: 'default', name: 'leasehold' };
const ME = 'node-a_1_2';
const never = new AbortController().signal;

let api: KubeApi;
let folder: string;
let transport: KubeTransport;
let store: KubeLeaseStore;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
});
after(() => rmSync(folder, { recursive: true }));

beforeEach(async () => {
  api = await KubeApi.start();
  const path = join(folder, 'kubeconfig');
  writeFileSync(path, api.kubeconfig());
  transport = new KubeTransport(new Credentials({ kind: 'kubeconfig', path }, REAL_CLOCK), REAL_CLOCK, OUTBOUND);
  store = new KubeLeaseStore(transport, NAME, ME, REAL_CLOCK, () => undefined);
});

afterEach(async () => {
  transport.close();
  await api.close();
});

async function read(): Promise<LeaseRecord> {
  const outcome = await store.read(1_000, never);
  assert.ok(outcome.is === 'read' && outcome.sight !== 'absent', JSON.stringify(outcome));
  return outcome.sight;
}

function acquisition({ uid, resourceVersion }: { uid: string; resourceVersion: string }, timeoutMs = 1_000): LeaseWrite {
  const marks = { duration: { term: { uid, transitions: 1, holder: ME }, durationMs: 3_000 }, released: null };
  return {
    type: 'acquire',
    request: 1,
    timeoutMs,
    notAfterMs: Infinity,
    basis: { uid, resourceVersion },
    transitions: 1,
    durationMs: 3_000,
    marks,
  };
}

describe('a Lease in the API', () => {
  test('is acquired with one request and looks as every Kubernetes tool expects', async () => {
    api.create();
    const outcome = await store.write(acquisition(await read()), never);
    assert.equal(outcome.is, 'written');
    const { spec, metadata } = api.lease() ?? assert.fail();
    assert.equal(spec.holderIdentity, ME);
    assert.equal(spec.leaseDurationSeconds, 3);
    assert.equal(spec.leaseTransitions, 1);
    assert.match(spec.renewTime ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    assert.ok(metadata.annotations?.['leasehold.dev/lease-duration']);
  });

  test('is read as absent when the API server says that it does not exist', async () => {
    assert.deepEqual(await store.read(1_000, never), { is: 'read', sight: 'absent' });
  });

  test('is not taken for absent because a proxy answers 404', async () => {
    api.http.failNext({ is: 'answer', status: 404, body: 'default backend - 404' });
    assert.equal((await store.read(1_000, never)).is, 'unavailable');
  });

  test('keeps what others wrote into it', async () => {
    api.create({}, { labels: { team: 'edge' }, annotations: { note: 'ours' } });
    await store.write(acquisition(await read()), never);
    assert.deepEqual(api.lease()?.metadata.labels, { team: 'edge' });
    assert.equal(api.lease()?.metadata.annotations?.['note'], 'ours');
  });

  test('is created under its name and bears our label', async () => {
    const create: LeaseWrite = {
      type: 'create',
      request: 1,
      timeoutMs: 1_000,
      notAfterMs: Infinity,
      transitions: 1,
      durationMs: 3_000,
      marks: {},
    };
    const outcome = await store.write(create, never);
    assert.ok(outcome.is === 'written' && outcome.record.isOurs);
    assert.deepEqual(await store.write(create, never), { is: 'conflict' });
  });

  test('that was changed in between is a conflict', async () => {
    const stale = api.create();
    api.edit(({ spec }) => (spec.holderIdentity = 'somebody'));
    assert.deepEqual(await store.write(acquisition(stale.metadata), never), { is: 'conflict' });
  });

  test('that was deleted and made anew is a conflict, too', async () => {
    const { metadata } = api.create();
    api.delete();
    api.create();
    assert.deepEqual(await store.write(acquisition(metadata), never), { is: 'conflict' });
    const { resourceVersion } = api.lease()?.metadata ?? assert.fail();
    assert.deepEqual(await store.write(acquisition({ uid: metadata.uid, resourceVersion }), never), { is: 'conflict' });
  });

  test('that was deleted is missing, and no write but a creation brings it back', async () => {
    const { metadata } = api.create();
    api.delete();
    assert.deepEqual(await store.write(acquisition(metadata), never), { is: 'missing' });
    assert.equal(api.lease(), undefined);
  });
});

describe('when the API misbehaves', () => {
  for (const [status, is] of [
    [401, 'refused'],
    [403, 'refused'],
    [422, 'refused'],
    [400, 'refused'],
    [410, 'unavailable'],
    [500, 'unavailable'],
    [503, 'unavailable'],
  ] as const) {
    test(`${status} is ${is}, and the message says what was asked of what`, async () => {
      api.http.failNext({ is: 'answer', status, body: { kind: 'Status', message: 'because' } }, () => true, 2);
      const outcome = await store.read(1_000, never);
      assert.equal(outcome.is, is);
      assert.ok('message' in outcome);
      assert.match(outcome.message, new RegExp(`^cannot get the Lease default/leasehold: ${status} because`));
    });
  }

  test('429 is throttled for as long as the server says', async () => {
    api.http.failNext({ is: 'answer', status: 429, headers: { 'retry-after': '3' }, body: {} });
    const outcome = await store.read(1_000, never);
    assert.ok(outcome.is === 'throttled' && outcome.retryAfterMs === 3_000);
  });

  test('403 says what to grant', async () => {
    api.tokens.set('agent-token', { may: (verb) => verb === 'get' });
    const { metadata } = api.create();
    const outcome = await store.write(acquisition(metadata), never);
    assert.ok(outcome.is === 'refused');
    assert.match(outcome.message, /cannot patch the Lease default\/leasehold: 403 .*grant the verb "patch"/);
  });

  test('a time-out after the request was sent is of unknown outcome, though the write was done', async () => {
    const { metadata } = api.create();
    api.http.failNext({ is: 'hang', when: 'after' });
    const outcome = await store.write(acquisition(metadata, 100), never);
    assert.equal(outcome.is, 'unknown');
    assert.equal(api.lease()?.spec.holderIdentity, ME);
  });

  test('a connection cut before the answer is of unknown outcome', async () => {
    const { metadata } = api.create();
    api.http.failNext({ is: 'cut', when: 'after' });
    assert.equal((await store.write(acquisition(metadata), never)).is, 'unknown');
  });

  test('a server that is not there is unreachable: nothing was carried out', async () => {
    await api.close();
    const outcome = await store.read(1_000, never);
    assert.equal(outcome.is, 'unreachable');
  });

  test('a request called off is told from one that timed out', async () => {
    api.http.failNext({ is: 'hang', when: 'before' });
    const controller = new AbortController();
    const outcome = store.read(5_000, controller.signal);
    controller.abort(new Error('called off'));
    assert.equal((await outcome).is, 'aborted');
  });

  test('an answer that is no Lease is not taken for one', async () => {
    api.http.failNext({ is: 'answer', status: 200, body: { kind: 'Pod' } });
    assert.equal((await store.read(1_000, never)).is, 'unavailable');
  });

  test('an answer without end is broken off', async () => {
    api.http.failNext({ is: 'answer', status: 200, body: { padding: 'x'.repeat(5 * 1024 * 1024) } });
    assert.equal((await store.read(5_000, never)).is, 'unknown');
  });
});

describe('connections', () => {
  test('a hundred requests go over one', async () => {
    api.create();
    for (let count = 0; count < 100; count += 1) await read();
    assert.equal(api.http.connections, 1);
  });

  test('after a request that timed out the next one opens a new connection', async () => {
    api.create();
    await read();
    api.http.failNext({ is: 'hang', when: 'before' });
    await store.read(100, never);
    await read();
    assert.equal(api.http.connections, 2);
  });
});
