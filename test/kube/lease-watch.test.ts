import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LeaseSight } from '../../agent/contender/lease.ts';
import { Credentials } from '../../agent/kube/credentials.ts';
import { KubeLeaseWatch } from '../../agent/kube/lease-watch.ts';
import type { WatchState } from '../../agent/kube/lease-watch.ts';
import { KubeTransport, KubeTrouble } from '../../agent/kube/transport.ts';
import type { KubeAnswer, KubeHttp, KubeStream } from '../../agent/kube/transport.ts';
import { eventually } from '../support/eventually.ts';
import { KubeApi } from '../support/kube-api.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { OUTBOUND } from '../support/outbound.ts';

const NAME = { namespace: 'default', name: 'leasehold' };

describe('a watch on a real socket', () => {
  let folder: string;
  let api: KubeApi;
  let transport: KubeTransport;
  let watch: KubeLeaseWatch;
  let ending: AbortController;
  let running: Promise<void>;
  let sights: LeaseSight[];
  let states: WatchState[];

  const holders = (): string[] => sights.map((sight) => (sight === 'absent' ? 'absent' : sight.holder));
  const requests = (kind: string): number =>
    api.http.exchanges.filter(({ path }) => path.includes('watch=1') === (kind === 'watch')).length;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  beforeEach(async () => {
    api = await KubeApi.start();
    api.create({ holderIdentity: 'first' });
    const path = join(folder, 'kubeconfig');
    writeFileSync(path, api.kubeconfig());
    transport = new KubeTransport(new Credentials({ kind: 'kubeconfig', path }, REAL_CLOCK), REAL_CLOCK, OUTBOUND);
    sights = [];
    states = [];
    ending = new AbortController();
    watch = new KubeLeaseWatch(transport, NAME, REAL_CLOCK, () => 0, {
      onSight: (sight) => sights.push(sight),
      onState: (state) => states.push(state),
    });
    running = watch.run(ending.signal);
    await eventually('the watch stands', () => api.watchers === 1);
  });

  afterEach(async () => {
    ending.abort();
    await running;
    transport.close();
    await api.close();
  });

  test('shows the Lease as it is and every change of it, with one list and one watch', async () => {
    api.edit(({ spec }) => (spec.holderIdentity = 'second'));
    api.delete();
    api.create({ holderIdentity: 'third' });
    await eventually('all changes are seen', () => sights.length === 4);
    assert.deepEqual(holders(), ['first', 'second', 'absent', 'third']);
    assert.deepEqual([requests('list'), requests('watch')], [1, 1]);
  });

  test('does not show other Leases', async () => {
    api.create({ holderIdentity: 'other' }, { name: 'another' });
    api.edit(({ spec }) => (spec.holderIdentity = 'second'));
    await eventually('the change is seen', () => sights.length === 2);
    assert.deepEqual(holders(), ['first', 'second']);
  });

  test('resumes where it broke off, so that nothing that happened meanwhile is missed', async () => {
    api.cutWatches();
    api.edit(({ spec }) => (spec.holderIdentity = 'second'));
    await eventually('the change is seen', () => holders().includes('second'));
    assert.equal(requests('list'), 1, 'without another list');
  });

  test('lists again when the server has forgotten that far back', async () => {
    api.cutWatches();
    api.edit(({ spec }) => (spec.holderIdentity = 'second'));
    api.compact();
    api.edit(({ spec }) => (spec.holderIdentity = 'third'));
    await eventually('the latest state is seen', () => holders().includes('third'));
    assert.equal(requests('list'), 2);
  });

  test('comes back after the API refused it, and after it was not there', async () => {
    api.http.failNext({ is: 'answer', status: 500, body: {} }, ({ path }) => path.includes('leases'), 2);
    api.cutWatches();
    await eventually('it stands again', () => api.watchers === 1 && requests('watch') >= 2);
    api.edit(({ spec }) => (spec.holderIdentity = 'second'));
    await eventually('the change is seen', () => holders().includes('second'));
  });

  test('says that it stands, and what a person can do when it is refused', async () => {
    await eventually('it is told', () => states.length > 0);
    assert.deepEqual(states, [{ stands: true, problem: '', isRefused: false }]);
    api.tokens.set('agent-token', { may: (verb) => verb !== 'watch' });
    api.cutWatches();
    await eventually('it is refused', () => states.some(({ isRefused }) => isRefused));
    assert.match(states.at(-1)?.problem ?? '', /cannot watch the Lease default\/leasehold: 403 .*grant the verb "watch"/);
    const told = states.length;
    await eventually('it has tried again', () => requests('watch') >= 4);
    assert.equal(states.length, told, 'and it is not told again');
  });

  test('starts afresh when told to, though the old stream is silent', async () => {
    api.silenceWatches();
    api.edit(({ spec }) => (spec.holderIdentity = 'unseen'));
    watch.restart();
    await eventually('the latest state is seen', () => holders().includes('unseen'));
    assert.equal(requests('list'), 2);
  });
});

describe('a watch by the clock', () => {
  /** Answers lists at once and keeps each stream open until told otherwise. */
  class ScriptedHttp implements KubeHttp {
    readonly streams: { call: KubeStream; end: (answer: KubeAnswer) => void; fail: (trouble: KubeTrouble) => void }[] = [];
    lists = 0;
    refused = 0;
    refuse = false;

    request(): Promise<KubeAnswer> {
      this.lists += 1;
      return Promise.resolve({ status: 200, retryAfterMs: null, body: '{"metadata":{"resourceVersion":"7"},"items":[]}' });
    }

    stream(call: KubeStream): Promise<KubeAnswer> {
      if (this.refuse) {
        this.refused += 1;
        return Promise.reject(new KubeTrouble('unreachable', 'connection refused'));
      }
      return new Promise((resolve, reject) => {
        this.streams.push({ call, end: resolve, fail: reject });
        call.signal.addEventListener('abort', () => reject(new KubeTrouble('aborted', 'called off')));
      });
    }
  }

  function start(random = 0): { http: ScriptedHttp; clock: ManualClock; stop: () => void } {
    const http = new ScriptedHttp();
    const clock = new ManualClock();
    const ending = new AbortController();
    const watch = new KubeLeaseWatch(http, NAME, clock, () => random, { onSight: () => undefined, onState: () => undefined });
    void watch.run(ending.signal);
    return { http, clock, stop: () => ending.abort() };
  }

  test('asks for bookmarks and for an end after a time of its own choosing, and holds silence for death', async () => {
    for (const [random, seconds] of [
      [0, 300],
      [0.5, 450],
      [0.999, 600],
    ] as const) {
      const { http, clock, stop } = start(random);
      await clock.advance(0);
      const { path, idleMs } = http.streams[0]?.call ?? assert.fail();
      assert.match(path, /allowWatchBookmarks=true/);
      assert.match(path, new RegExp(`timeoutSeconds=${seconds}`));
      assert.ok(idleMs > 60_000, 'longer than the time between two bookmarks');
      stop();
    }
  });

  test('remembers the version of a bookmark', async () => {
    const { http, clock, stop } = start();
    await clock.advance(0);
    const [first] = http.streams;
    first?.call.onLine('{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"99"}}}');
    first?.end({ status: 200, retryAfterMs: null, body: '' });
    await clock.advance(1_000);
    assert.match(http.streams[1]?.call.path ?? '', /resourceVersion=99/);
    stop();
  });

  test('comes back at growing intervals while the API cannot be reached, never in a rush', async () => {
    const { http, clock, stop } = start();
    http.refuse = true;
    await clock.advance(0);
    http.streams[0]?.fail(new KubeTrouble('unknown', 'cut'));
    await clock.advance(60_000);
    assert.ok(http.refused >= 8 && http.refused <= 24, `${http.refused} calls in a minute`);
    stop();
  });

  test('that broke after it had stood for long comes back as quickly as the first time', async () => {
    const { http, clock, stop } = start();
    await clock.advance(0);
    for (let broken = 1; broken <= 5; broken += 1) {
      await clock.advance(60_000);
      http.streams.at(-1)?.fail(new KubeTrouble('unknown', 'cut'));
      await clock.advance(100);
      assert.equal(http.streams.length, broken + 1);
    }
    stop();
  });

  test('comes back after a pause of its own choosing, so that many agents do not all come at once', async () => {
    for (const [random, pauseMs] of [
      [0, 100],
      [0.5, 150],
    ] as const) {
      const { http, clock, stop } = start(random);
      await clock.advance(0);
      http.streams[0]?.end({ status: 200, retryAfterMs: null, body: '' });
      await clock.advance(pauseMs - 1);
      assert.equal(http.streams.length, 1);
      await clock.advance(1);
      assert.equal(http.streams.length, 2);
      stop();
    }
  });

  test('that ends as soon as it stands comes back at growing intervals, too', async () => {
    const { http, clock, stop } = start();
    for (let seconds = 0; seconds < 600; seconds += 1) {
      http.streams.at(-1)?.end({ status: 200, retryAfterMs: null, body: '' });
      await clock.advance(100);
    }
    assert.ok(http.streams.length >= 8 && http.streams.length <= 24, `${http.streams.length} watches in a minute`);
    stop();
  });

  test('whose list holds something that is no Lease does not show that there is none', async () => {
    const sights: LeaseSight[] = [];
    const http = new ScriptedHttp();
    http.request = (): Promise<KubeAnswer> => Promise.resolve({ status: 200, retryAfterMs: null, body: '{"items":[{"kind":"Lease"}]}' });
    const clock = new ManualClock();
    const ending = new AbortController();
    const events = { onSight: (sight: LeaseSight): void => void sights.push(sight), onState: (): void => undefined };
    void new KubeLeaseWatch(http, NAME, clock, () => 0, events).run(ending.signal);
    await clock.advance(1_000);
    ending.abort();
    assert.deepEqual(sights, []);
  });
});
