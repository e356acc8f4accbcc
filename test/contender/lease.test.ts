import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { freedomOf, nodeOfIdentity, observe } from '../../agent/contender/lease.ts';
import type { Freedom, LeaseSight, Observation, Term } from '../../agent/contender/lease.ts';
import { ME, neverHeld, OTHER, record, SETTINGS, term } from './driver.ts';

/** What a candidate makes of the sights that it has, each at its instant. */
function freedomAfter(...sights: readonly (readonly [atMs: number, sight: LeaseSight])[]): Freedom {
  let observation: Observation | null = null;
  for (const [atMs, sight] of sights) observation = observe(observation, sight, { atMs, readSentAtMs: null });
  assert.ok(observation);
  return freedomOf(observation, { settings: SETTINGS, ownTerms: [], isAlone: false });
}

describe('when a Lease may be taken', () => {
  test('one that was never held is free a whole duration after it was first seen: it may stand in for one that was', () => {
    assert.deepEqual(freedomAfter([0, neverHeld()]), { is: 'free-at', atMs: 3_000 });
  });

  test('one that is held is free a whole duration after its last sign of life was seen', () => {
    assert.deepEqual(freedomAfter([0, record()], [500, record({ renewTime: 'later' })]), { is: 'free-at', atMs: 3_500 });
  });

  test('seeing the same record again does not prolong the wait', () => {
    assert.deepEqual(freedomAfter([0, record()], [2_900, record()]), { is: 'free-at', atMs: 3_000 });
  });

  test("a label, an ask or anything else beside the spec is no sign of the holder's life", () => {
    const asked = record({ resourceVersion: '101' }, { ask: { term: term(), by: ME } });
    assert.deepEqual(freedomAfter([0, record()], [2_000, asked]), { is: 'free-at', atMs: 3_000 });
  });

  test("the wait is the longest of one's own duration, the record's, and the longest seen in the term", () => {
    assert.deepEqual(freedomAfter([0, record({ durationMs: 15_000 })]), { is: 'free-at', atMs: 15_000 });
    assert.deepEqual(freedomAfter([0, record({ durationMs: 1_000 })]), { is: 'free-at', atMs: 3_000 });
    const shortened = record({ durationMs: 1_000, renewTime: 'later' });
    assert.deepEqual(freedomAfter([0, record({ durationMs: 15_000 })], [100, shortened]), { is: 'free-at', atMs: 15_100 });
  });

  test('the longest duration of one term says nothing about the next', () => {
    const next = record({ transitions: 8, durationMs: 3_000 });
    assert.deepEqual(freedomAfter([0, record({ durationMs: 15_000 })], [100, next]), { is: 'free-at', atMs: 3_100 });
  });

  test('an exact duration counts if it names the present holder and term', () => {
    const exact = record({ durationMs: 9_000 }, { duration: { term: term(), durationMs: 8_400 } });
    assert.deepEqual(freedomAfter([0, exact]), { is: 'free-at', atMs: 8_400 });
    for (const other of [{ transitions: 6 }, { holder: ME }, { uid: 'uid-0' }]) {
      const stale = record({ durationMs: 9_000 }, { duration: { term: term(other), durationMs: 8_400 } });
      assert.deepEqual(freedomAfter([0, stale]), { is: 'free-at', atMs: 9_000 });
    }
  });

  test('one that its holder released is free at once', () => {
    const released = record({ holder: '' }, { released: term() });
    assert.deepEqual(freedomAfter([0, released]), { is: 'free' });
    assert.deepEqual(freedomAfter([0, record()], [100, released]), { is: 'free' });
  });

  test("a release mark of another term, another Lease or another holder's does not make it free", () => {
    const expected = { is: 'free-at', atMs: 3_100 };
    assert.deepEqual(freedomAfter([0, record()], [100, record({ holder: '' }, { released: term({ transitions: 6 }) })]), expected);
    assert.deepEqual(freedomAfter([0, record()], [100, record({ holder: '' }, { released: term({ uid: 'uid-0' }) })]), expected);
    assert.deepEqual(freedomAfter([0, record()], [100, record({ holder: '' }, { released: term({ holder: 'x' }) })]), expected);
    for (const other of [{ transitions: 6 }, { uid: 'uid-0' }]) {
      assert.deepEqual(freedomAfter([100, record({ holder: '' }, { released: term(other) })]), expected, 'nor at first sight');
    }
  });

  test('one that was emptied without a mark is free a whole duration after that was first seen', () => {
    assert.deepEqual(freedomAfter([0, record()], [2_000, record({ holder: '' })]), { is: 'free-at', atMs: 5_000 });
    assert.deepEqual(freedomAfter([0, record({ durationMs: 10_000 })], [2_000, record({ holder: '', durationMs: 1_000 })]), {
      is: 'free-at',
      atMs: 12_000,
    });
  });

  test('one that does not exist is free a whole duration after that was first seen', () => {
    assert.deepEqual(freedomAfter([0, 'absent']), { is: 'free-at', atMs: 3_000 });
    assert.deepEqual(freedomAfter([0, record()], [1_000, 'absent'], [2_000, 'absent']), { is: 'free-at', atMs: 4_000 });
  });

  test('one whose vacancy hides a term that was not seen is free a whole duration after that showed', () => {
    const emptied = record({ holder: '' });
    const again = { is: 'free-at', atMs: 7_030 };
    const since = [0, record()] as const;
    assert.deepEqual(freedomAfter(since, [1_000, emptied], [4_030, record({ holder: '', transitions: 8 })]), again);
    assert.deepEqual(freedomAfter(since, [1_000, emptied], [4_030, record({ holder: '', renewTime: 'later' })]), again);
    assert.deepEqual(freedomAfter(since, [1_000, emptied], [4_030, record({ holder: '', uid: 'uid-2' })]), again);
    assert.deepEqual(freedomAfter(since, [1_000, emptied], [4_030, 'absent']), again);
    assert.deepEqual(freedomAfter(since, [1_000, 'absent'], [4_030, record({ holder: '', uid: 'uid-2' })]), again);
  });

  test('one whose vacancy only changed in ways that no holder changes it is waited for no longer', () => {
    const edited = record({ holder: '', durationMs: 1_000 });
    assert.deepEqual(freedomAfter([0, record()], [1_000, record({ holder: '' })], [2_000, edited]), { is: 'free-at', atMs: 4_000 });
  });

  test('one that was released in a later term, which was not seen, is free at once', () => {
    const later = record({ holder: '', transitions: 8 }, { released: term({ transitions: 8, holder: 'node-c_1_2' }) });
    assert.deepEqual(freedomAfter([0, record()], [100, later]), { is: 'free' });
  });

  test('one that was deleted while held and created anew is not free at once, and the wait goes on', () => {
    assert.deepEqual(freedomAfter([0, record()], [1_000, 'absent'], [2_000, neverHeld({ uid: 'uid-2' })]), { is: 'free-at', atMs: 4_000 });
    assert.deepEqual(freedomAfter([0, record()], [1_000, neverHeld({ uid: 'uid-2' })]), { is: 'free-at', atMs: 4_000 });
  });

  test('one that was deleted after its holder let go, and created anew, is another vacancy', () => {
    const released = record({ holder: '' }, { released: term() });
    assert.deepEqual(freedomAfter([0, record()], [100, released], [200, neverHeld({ uid: 'uid-2' })]), { is: 'free-at', atMs: 3_200 });
  });

  test('one that still is in a term of this very process is free, because it knows that it has stopped serving', () => {
    const sight = record({ holder: ME });
    const observation = observe(null, sight, { atMs: 0, readSentAtMs: null });
    const freedomIn = (...ownTerms: Term[]): Freedom => freedomOf(observation, { settings: SETTINGS, ownTerms, isAlone: true });
    assert.deepEqual(freedomIn(term({ holder: ME })), { is: 'free' });
    assert.deepEqual(freedomIn(term({ holder: ME, uid: '' })), { is: 'free' }, 'also one that it asked for with a creation');
    for (const others of [[], [term({ holder: ME, transitions: 6 })]]) assert.equal(freedomIn(...others).is, 'free-at');
  });

  test('one that another program has held and Leasehold never is not touched, however old it is', () => {
    assert.deepEqual(freedomAfter([0, record({ isOurs: false, holder: 'kube-scheduler' })]), { is: 'foreign', holder: 'kube-scheduler' });
    assert.deepEqual(freedomAfter([0, record({ isOurs: false, holder: '' })]), { is: 'foreign', holder: '' });
  });

  test('one of ours that another program has taken is waited for like any other', () => {
    assert.deepEqual(freedomAfter([0, record({ holder: 'somebody' })]), { is: 'free-at', atMs: 3_000 });
  });
});

test('what a read has shown stays confirmed when a watch shows the same once more', () => {
  const read = observe(null, record(), { atMs: 10, readSentAtMs: 5 });
  assert.equal(observe(read, record({ resourceVersion: '101' }), { atMs: 20, readSentAtMs: null }).confirmedAtMs, 5);
  assert.equal(observe(read, record({ renewTime: 'later' }), { atMs: 20, readSentAtMs: null }).confirmedAtMs, null);
});

test('an identity names its node, also when the name itself has underscores', () => {
  assert.equal(nodeOfIdentity(OTHER), 'node-b');
  assert.equal(nodeOfIdentity('my_node_1234abcd_0011'), 'my_node');
  assert.equal(nodeOfIdentity('kube-scheduler'), 'kube-scheduler');
});
