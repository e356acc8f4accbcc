import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LeaseRecord } from '../../agent/contender/lease.ts';
import { ADDRESS, Driver, ME, record, term } from './driver.ts';

/** An earlier process on this node. */
const PREDECESSOR = 'node-a_boot_9999';
const HELD_BY_PREDECESSOR = acquired({ holder: PREDECESSOR });
const OURS = { addresses: { [ADDRESS]: { is: 'ours', remainingMs: 1_000 } } } as const;

/** A Lease as one who has acquired it leaves it, and not only a person who wrote a name there. */
function acquired(fields: Partial<LeaseRecord>): LeaseRecord {
  const { uid, transitions, holder } = record(fields);
  return record(fields, { duration: { term: { uid, transitions, holder }, durationMs: 3_000 } });
}

const started = (kind: 'routed' | 'l2' = 'routed'): Driver => new Driver({ kind }).healthy().ready().looked(OURS);

describe('a process that starts while the Lease names an earlier one of its node', () => {
  test('takes its place at once when it is proven to be the only one here, under a term of its own', () => {
    const driver = started().alone().answerRead(HELD_BY_PREDECESSOR);
    assert.deepEqual(driver.last('acquire').basis, { uid: 'uid-1', resourceVersion: '100' });
    assert.equal(driver.last('acquire').transitions, 8);
    assert.match(driver.lastTransition().reason, /on this node has died/);
  });

  test('waits like any stranger where that cannot be proven', () => {
    const driver = started().give({ type: 'residence', residence: 'unsure', reason: 'x' }).answerRead(HELD_BY_PREDECESSOR);
    driver.pass(2_999);
    assert.deepEqual(driver.all('acquire'), []);
  });

  for (const [what, holder] of [
    ['of another node', 'node-b_boot_9999'],
    ['of an earlier boot of its machine, or another network namespace', 'node-a_other_9999'],
    ['that says no more than the node', 'node-a'],
    ['of another program', 'boot_9999'],
  ] as const) {
    test(`takes nobody's place ${what}`, () => {
      const driver = started().alone().answerRead(acquired({ holder })).pass(2_999);
      assert.deepEqual(driver.all('acquire'), []);
    });
  }

  test('takes nobody’s place that a person has only written into the Lease, while another one may be serving', () => {
    const written = record({ holder: PREDECESSOR }, { duration: { term: term(), durationMs: 3_000 } });
    for (const sight of [record({ holder: PREDECESSOR }), written]) {
      const driver = started().alone().answerRead(sight).pass(2_999);
      assert.deepEqual(driver.all('acquire'), []);
    }
  });

  test('takes the place of one that it has seen acquire the Lease while it waited for that one’s end', () => {
    const driver = started().give({ type: 'residence', residence: 'shared', reason: 'x' }).answerRead(record());
    driver.give({ type: 'lease-seen', sight: acquired({ holder: PREDECESSOR, transitions: 8 }) });
    driver.give({ type: 'lease-seen', sight: acquired({ holder: PREDECESSOR, transitions: 8, renewTime: 'later' }) });
    assert.deepEqual(driver.all('acquire'), []);
    assert.equal(driver.alone().all('acquire').length, 1);
  });

  test('takes back that it is alone when the earlier one turns out to live, says so, and waits like any stranger', () => {
    const driver = new Driver().healthy().ready().looked(OURS).alone().unhealthy().answerRead(HELD_BY_PREDECESSOR).pass(10);
    driver.give({ type: 'lease-seen', sight: acquired({ holder: PREDECESSOR, renewTime: 'later', resourceVersion: '101' }) });
    assert.ok(driver.incidents().includes('residence-disproved'));
    driver.healthy().pass(2_999);
    assert.deepEqual(driver.all('acquire'), []);
    driver.ownerIs({ is: 'other', name: 'server 2' }).pass(1_000);
    assert.equal(driver.all('verify-owner').length, 1, 'and what is bound here may be that one’s: nothing is asked about it any more');
  });

  test('goes on being alone when an older sight of the earlier one arrives late', () => {
    const driver = new Driver().healthy().ready().looked(OURS).alone().unhealthy().answerRead(HELD_BY_PREDECESSOR).pass(10);
    driver.give({ type: 'lease-seen', sight: acquired({ holder: PREDECESSOR, renewTime: '2026-11-21T07:59:59.500000Z' }) });
    assert.ok(!driver.incidents().includes('residence-disproved'));
  });

  test('keeps on L2 what that one left bound, and refreshes it as soon as it holds', () => {
    const driver = started('l2').alone().answerRead(HELD_BY_PREDECESSOR);
    driver.looked(OURS).succeed('acquire');
    assert.deepEqual(driver.all('unbind'), []);
    assert.equal(driver.all('bind').length, 1);
  });

  test('lets it go on L2 when another candidate was faster', () => {
    const driver = started('l2').alone().answerRead(HELD_BY_PREDECESSOR).answer('acquire', { is: 'conflict' });
    assert.deepEqual(driver.all('unbind'), []);
    driver.answerRead(record({ transitions: 8 }));
    assert.equal(driver.all('unbind').length, 1);
  });

  test('goes on trying on L2 to take off what it could not in its own last term, though the Lease still names it', () => {
    const driver = new Driver({ kind: 'l2', worstMoveMs: 0 }).serve().pass(2_000);
    driver.answerRead(driver.contender.observation?.sight ?? 'absent').unhealthy();
    const tries = (): number => driver.all('unbind').length;
    for (let failures = 0; failures < 5; failures += 1) {
      driver.give({ type: 'unbind-done', address: ADDRESS, outcome: { is: 'failed', message: 'x' } }).pass(100);
    }
    assert.equal(driver.address().is, 'leftover');
    const before = tries();
    driver.pass(1_000);
    assert.ok(tries() > before);
  });

  test('asks to be relieved once, and not at every look, while it cannot bind what that one left', () => {
    const driver = started().alone().answerRead(HELD_BY_PREDECESSOR).succeed('acquire');
    const failed = { is: 'failed', message: 'cannot bind: ENOBUFS' } as const;
    driver.give({ type: 'bind-done', address: ADDRESS, outcome: failed }).forget();
    for (let look = 0; look < 20; look += 1) {
      driver.pass(20).looked(OURS);
      if (driver.contender.request?.kind === 'renew') driver.succeed('renew');
    }
    assert.deepEqual(
      driver.incidents().filter((event) => event === 'relief-withdrawn'),
      [],
    );
    assert.ok(driver.all('renew').length <= 2);
    assert.deepEqual(driver.all('bind'), []);
  });

  test('on L2 takes off what that one left and it could not bind itself, before it releases the Lease', () => {
    for (const view of [OURS, { addresses: {} }]) {
      const driver = started('l2').alone().answerRead(HELD_BY_PREDECESSOR).succeed('acquire');
      driver.give({ type: 'bind-done', address: ADDRESS, outcome: { is: 'failed', message: 'cannot bind: ENOBUFS' } }).looked(view);
      driver.forget().give({ type: 'shutdown', reason: 'asked to end by SIGTERM' });
      assert.equal(driver.types()[0], 'unbind');
      driver.pass(50);
      assert.deepEqual(driver.all('release'), []);
      assert.equal(driver.unbound().types().at(-1), 'read');
    }
  });

  test('does not take it while its own node is unhealthy', () => {
    const driver = started().unhealthy().alone().answerRead(HELD_BY_PREDECESSOR).pass(2_000);
    assert.deepEqual(driver.all('acquire'), []);
  });
});

test('a place is told by node, boot and namespace, also where the node has underscores in its name', () => {
  const identity = 'my_node_boot_0001';
  const driver = new Driver({ identity }).healthy().ready().looked(OURS).alone();
  assert.equal(driver.answerRead(acquired({ holder: 'my_node_boot_0002' })).all('acquire').length, 1);
  assert.notEqual(ME, identity);
});
