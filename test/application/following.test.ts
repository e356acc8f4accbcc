/**
 * Whole agents beside an application that moves, restarts and disappears.
 */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { eventually } from '../support/eventually.ts';
import { SmallCluster } from '../support/small-cluster.ts';

const NODES = ['node-a', 'node-b', 'node-c'];
/** The shortest that are allowed, so that what has to pass passes quickly. */
const ABSENCE_MS = 1_000;
const ENV = {
  LEASE_DURATION: '1500ms',
  RENEW_DEADLINE: '1s',
  RENEW_INTERVAL: '200ms',
  PROVIDER_TIMEOUT: '5s',
  PROBE_INTERVAL: '100ms',
  APPLICATION_ABSENCE_MAX: `${ABSENCE_MS}ms`,
};

let cluster: SmallCluster;

async function start(replicas: number, env: Readonly<Record<string, string>> = {}): Promise<void> {
  cluster = await SmallCluster.start({ nodes: NODES, replicas, env: { ...ENV, ...env } });
}

const untilServedBy = (node: string): Promise<void> =>
  eventually(`${node} serves`, () => cluster.servedBy === node && cluster.holder === node, 20_000).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${cluster.log.map((line) => `${line.node} ${line.level} ${line.msg}`).join('\n')}`);
  });

describe('agents beside an application', () => {
  afterEach(async () => {
    await cluster.close();
    assert.deepEqual(cluster.defects, []);
  });

  test('the address is where a ready pod of it is, and nowhere before there is one', async () => {
    await start(1);
    assert.deepEqual(cluster.agents, []);
    cluster.place('web-1', 'node-b', false);
    await eventually('the agent is beside it', () => cluster.agents.join() === 'node-b');
    await eventually('it says why it does not contend', () =>
      cluster.hasSaid(
        /not contending: application default\/app=web: its pod web-1 on this node is not ready; it is ready on no other node/,
      ),
    );
    assert.equal(cluster.holder, null);
    cluster.place('web-1', 'node-b');
    await untilServedBy('node-b');
  });

  test('an agent that is left behind is evicted once, and the next one serves beside the application', async () => {
    await start(1);
    cluster.place('web-1', 'node-a');
    await untilServedBy('node-a');
    cluster.remove('web-1');
    cluster.place('web-2', 'node-b');
    await untilServedBy('node-b');
    assert.deepEqual([cluster.evicted, cluster.agents], [['leasehold-1'], ['node-b']]);
    assert.ok(
      cluster.hasSaid(/left behind by the application: asking for the eviction of this pod, so that one is placed beside it on node-b/),
    );
  });

  test('an agent that waits for a place follows the application at once and is handed the address, and nobody is evicted', async () => {
    await start(2);
    cluster.place('web-1', 'node-a');
    await untilServedBy('node-a');
    assert.deepEqual(cluster.agents, ['-', 'node-a']);
    cluster.place('web-2', 'node-b');
    cluster.remove('web-1');
    await untilServedBy('node-b');
    assert.ok(
      cluster.hasSaid(
        /serving → stepping-down: node-b offered to take over, because application default\/app=web: no pod of it is on this node/,
      ),
    );
    await eventually('the other one says that it stays', () =>
      cluster.hasSaid(/staying: every node on which the application is ready has an agent/),
    );
    assert.deepEqual([cluster.evicted, cluster.agents], [[], ['node-a', 'node-b']]);
  });

  test('of two that are left behind the one without the address is evicted, and the address is handed to the next one', async () => {
    await start(2);
    cluster.place('web-1', 'node-a');
    await untilServedBy('node-a');
    cluster.place('web-2', 'node-b');
    cluster.remove('web-1');
    await untilServedBy('node-b');
    await pause(ABSENCE_MS);
    cluster.remove('web-2');
    cluster.place('web-3', 'node-c');
    await untilServedBy('node-c');
    await pause(2 * ABSENCE_MS);
    assert.deepEqual([cluster.evicted, cluster.agents], [['leasehold-1'], ['node-b', 'node-c']]);
  });

  test('an application that restarts where it is moves nothing, though its pod is replaced', async () => {
    await start(1);
    cluster.place('web-1', 'node-a');
    await untilServedBy('node-a');
    const { transitions } = cluster;
    cluster.place('web-1', 'node-a', false);
    await eventually('the agent finds it away', () =>
      cluster.hasSaid(/asking to be relieved: application default\/app=web: its pod web-1/),
    );
    await pause(2 * ABSENCE_MS);
    cluster.place('web-2', 'node-a', false);
    cluster.remove('web-1');
    await pause(2 * ABSENCE_MS);
    assert.equal(cluster.servedBy, 'node-a', 'all the time');
    cluster.place('web-2', 'node-a');
    await eventually('all is well again', () => cluster.hasSaid(/no longer so: application default\/app=web/));
    assert.deepEqual([cluster.transitions, cluster.evicted], [transitions, []]);
  });

  test('an application that is nowhere at all moves nothing', async () => {
    await start(2);
    cluster.place('web-1', 'node-a');
    cluster.place('web-2', 'node-b');
    await eventually('one of them serves', () => cluster.servedBy !== null);
    const { transitions, servedBy } = cluster;
    cluster.remove('web-1');
    cluster.remove('web-2');
    await pause(4 * ABSENCE_MS);
    assert.deepEqual([cluster.servedBy, cluster.evicted], [servedBy, []]);
    assert.ok(cluster.transitions <= transitions + 1, 'the moment between the two removals may move it once');
  });

  test('while one of two pods is away the address is with the other, and nobody is evicted', async () => {
    await start(2);
    cluster.place('web-1', 'node-a');
    await untilServedBy('node-a');
    cluster.place('web-2', 'node-b');
    await eventually('both have an agent', () => cluster.agents.join() === 'node-a,node-b');
    cluster.remove('web-1');
    await untilServedBy('node-b');
    await pause(3 * ABSENCE_MS);
    cluster.place('web-3', 'node-a');
    await pause(ABSENCE_MS);
    assert.deepEqual([cluster.servedBy, cluster.evicted], ['node-b', []]);
  });

  test('while the Kubernetes API is away nothing moves, wherever the application may be', async () => {
    await start(1);
    cluster.place('web-1', 'node-a');
    await untilServedBy('node-a');
    cluster.kube.http.faultFor = () => ({ is: 'answer', status: 503, body: {} });
    cluster.kube.cutWatches();
    await eventually('the address is held over', () => cluster.log.some(({ event }) => event === 'holding-over'));
    await pause(2 * ABSENCE_MS);
    assert.equal(cluster.servedBy, 'node-a');
    cluster.kube.http.faultFor = () => null;
    await untilServedBy('node-a');
    assert.ok(!cluster.log.some(({ event, msg }) => event === 'verdict' && msg.startsWith('unhealthy')));
    assert.deepEqual(cluster.evicted, []);
  });

  test('an agent that may not evict itself says what to grant, and keeps the address for as long as nobody else can have it', async () => {
    await start(1);
    cluster.kube.tokens.set('agent-token', { may: (_verb, resource) => resource !== 'pods/eviction' });
    cluster.place('web-1', 'node-a');
    await untilServedBy('node-a');
    cluster.remove('web-1');
    cluster.place('web-2', 'node-b');
    await eventually('it says so', () =>
      cluster.log.some(
        ({ level, msg }) =>
          level === 'error' &&
          /cannot evict the pod leasehold\/leasehold-1: 403 .*; grant the verb "create" on pods\/eviction in the namespace leasehold/.test(
            msg,
          ),
      ),
    );
    assert.equal(cluster.servedBy, 'node-a');
  });

  test('what would stand in the way of an eviction is said while the application is still there', async () => {
    await start(1, { APPLICATION_SELECTOR: 'app=web,track!=old' });
    cluster.kube.tokens.set('agent-token', { may: (_verb, resource) => resource !== 'pods/eviction' });
    cluster.place('web-1', 'node-a');
    await untilServedBy('node-a');
    await eventually('it says so', () =>
      cluster.hasSaid(/should the application leave this node, this pod would not be evicted: .*grant the verb "create" on pods\/eviction/),
    );
    assert.deepEqual(cluster.evicted, []);
  });

  test('an agent that a PodDisruptionBudget holds back asks again and is evicted when it may be', async () => {
    await start(1);
    let refusals = 0;
    // The first time it is only rehearsed.
    cluster.kube.objects.budget = () => (refusals++ < 2 ? 'the budget needs 1 healthy pods and has 1 currently' : null);
    cluster.place('web-1', 'node-a');
    await untilServedBy('node-a');
    cluster.remove('web-1');
    cluster.place('web-2', 'node-b');
    await untilServedBy('node-b');
    assert.ok(refusals >= 3);
    assert.deepEqual(cluster.evicted, ['leasehold-1']);
    assert.ok(cluster.hasSaid(/429 Cannot evict pod as it would violate the pod's disruption budget/));
  });

  test('left behind with WHEN_ALL_UNHEALTHY=release, an agent lets the address go before it is evicted', async () => {
    await start(1, { WHEN_ALL_UNHEALTHY: 'release', APPLICATION_EVICTION: 'false' });
    cluster.place('web-1', 'node-a');
    await untilServedBy('node-a');
    cluster.remove('web-1');
    cluster.place('web-2', 'node-b');
    await eventually('nobody holds the Lease', () => cluster.holder === null);
    assert.deepEqual([cluster.evicted, cluster.agents], [[], ['node-a']]);
  });
});
