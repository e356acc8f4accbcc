import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApplicationWatch } from '../../agent/kube/application-watch.ts';
import type { ApplicationName, ApplicationSight } from '../../agent/kube/application-watch.ts';
import { Credentials } from '../../agent/kube/credentials.ts';
import { KubeTransport } from '../../agent/kube/transport.ts';
import { eventually } from '../support/eventually.ts';
import { KubeApi } from '../support/kube-api.ts';
import { OUTBOUND } from '../support/outbound.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';

const WEB = { app: 'web' };

describe('the watch of an application', () => {
  let folder: string;
  let api: KubeApi;
  let transport: KubeTransport;
  let ending: AbortController;
  let running: Promise<void>;
  let dropped: string[];
  let sights: ApplicationSight[];
  let problems: string[];

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
  });
  after(() => rmSync(folder, { recursive: true }));
  beforeEach(async () => {
    api = await KubeApi.start();
    const path = join(folder, 'kubeconfig');
    writeFileSync(path, api.kubeconfig());
    transport = new KubeTransport(new Credentials({ kind: 'kubeconfig', path }, REAL_CLOCK), REAL_CLOCK, OUTBOUND);
    sights = [];
    dropped = [];
    problems = [];
    ending = new AbortController();
  });
  afterEach(async () => {
    ending.abort(new Error('the end'));
    await running;
    transport.close();
    await api.close();
  });

  function follow(by: ApplicationName['by']): ApplicationWatch {
    const watch = new ApplicationWatch(transport, { namespace: 'default', by }, REAL_CLOCK, () => 0, {
      onSight: (sight) => sights.push(sight),
      onDropped: (what) => dropped.push(what),
      onState: (_what, { problem }) => problems.push(problem),
    });
    running = watch.run(ending.signal);
    return watch;
  }

  /** What was seen last: each pod with its node, and a + when it is ready. */
  function seen(): string {
    const last = sights.at(-1);
    if (last === undefined) return 'nothing';
    return last.is === 'unknown'
      ? last.reason
      : last.pods.map(({ name, node, isReady }) => `${name}@${node ?? '?'}${isReady ? '+' : ''}`).join(' ');
  }
  const until = (text: string): Promise<void> => eventually(`it sees "${text}"`, () => seen() === text);

  test('shows its pods, where they are, and whether they are ready, as that changes', async () => {
    api.objects.putPod({ name: 'web-1', labels: WEB, node: 'node-a', isReady: true });
    api.objects.putPod({ name: 'other', labels: { app: 'other' }, node: 'node-a', isReady: true });
    follow({ selector: 'app=web' });
    await until('web-1@node-a+');
    api.objects.putPod({ name: 'web-2', labels: WEB });
    await until('web-1@node-a+ web-2@?');
    api.objects.putPod({ name: 'web-2', labels: WEB, node: 'node-b', isReady: true });
    await until('web-1@node-a+ web-2@node-b+');
    api.objects.end('web-1');
    await until('web-1@node-a web-2@node-b+');
    api.objects.remove('pods', 'web-1');
    await until('web-2@node-b+');
    assert.equal(api.http.exchanges.length, 2, 'with one list and one watch');
  });

  test('a pod that loses the labels is none of it any more', async () => {
    api.objects.putPod({ name: 'web-1', labels: WEB, node: 'node-a', isReady: true });
    follow({ selector: 'app=web' });
    await until('web-1@node-a+');
    api.objects.putPod({ name: 'web-1', labels: { app: 'quarantine' }, node: 'node-a', isReady: true });
    await until('');
  });

  test('named by its Service, its pods are those that the Service selects, also when it comes to select others', async () => {
    api.objects.putPod({ name: 'blue', labels: { app: 'web', track: 'blue' }, node: 'node-a', isReady: true });
    api.objects.putPod({ name: 'green', labels: { app: 'web', track: 'green' }, node: 'node-b', isReady: true });
    api.objects.putService('web', { app: 'web', track: 'blue' });
    follow({ service: 'web' });
    await until('blue@node-a+');
    api.objects.putService('web', { app: 'web', track: 'green' });
    await until('green@node-b+');
    api.objects.putPod({ name: 'blue', labels: { app: 'web', track: 'blue' }, node: 'node-c', isReady: true });
    api.objects.putPod({ name: 'green', labels: { app: 'web', track: 'green' }, node: 'node-c', isReady: true });
    await until('green@node-c+');
    assert.deepEqual(
      dropped.map((what) => what.includes('app=web,track=blue')),
      [true],
    );
  });

  test('a Service that is not there, or selects nothing, is said to be so', async () => {
    const watch = follow({ service: 'web' });
    await until('there is no Service default/web');
    await assert.rejects(watch.look(ending.signal), /labels of its pods are not known/);
    api.objects.putService('web', null);
    await until('the Service default/web has no selector');
    api.objects.putPod({ name: 'web-1', labels: WEB, node: 'node-a', isReady: true });
    api.objects.putService('web', WEB);
    await until('web-1@node-a+');
    api.objects.remove('services', 'web');
    await until('there is no Service default/web');
  });

  test('while the API is away, what was seen last stays', async () => {
    api.objects.putPod({ name: 'web-1', labels: WEB, node: 'node-a', isReady: true });
    follow({ selector: 'app=web' });
    await until('web-1@node-a+');
    const before = sights.length;
    api.http.faultFor = () => ({ is: 'answer', status: 503, body: {} });
    api.cutWatches();
    await eventually('it has tried again', () => api.http.exchanges.filter(({ status }) => status === 503).length >= 3);
    assert.equal(sights.length, before);
    assert.equal(seen(), 'web-1@node-a+');
  });

  test('with lists alone it sees the same, later', async () => {
    api.tokens.set('agent-token', { may: (verb) => verb === 'list' });
    follow({ selector: 'app=web' });
    await until('');
    api.objects.putPod({ name: 'web-1', labels: WEB, node: 'node-a', isReady: true });
    await until('web-1@node-a+');
    assert.ok(
      problems.some((problem) =>
        /cannot watch the pods app=web in the namespace default: 403 .*grant the verb "watch" on pods/.test(problem),
      ),
    );
  });
});
