import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { decodeLease, encodeWrite, microTime } from '../../agent/kube/lease-codec.ts';
import type { LeaseWrite } from '../../agent/ports.ts';

const NAME = { namespace: 'default', name: 'leasehold' };
const WALL_MS = Date.UTC(2026, 10, 21, 8, 0, 0, 123);
const TERM = { uid: 'uid-1', transitions: 8, holder: 'node-a_1_2' };
const BASIS = { uid: 'uid-1', resourceVersion: '100' };
const BOUNDS = { request: 1, timeoutMs: 600, notAfterMs: 1 };

function encode(write: LeaseWrite): unknown {
  return JSON.parse(encodeWrite(write, NAME, TERM.holder, WALL_MS));
}

describe('what is written', () => {
  test('an acquisition is a conditional merge patch with the times that the API server demands', () => {
    const marks = { duration: { term: TERM, durationMs: 600 }, released: null, relief: null, ask: null };
    assert.deepEqual(encode({ type: 'acquire', ...BOUNDS, basis: BASIS, transitions: 8, durationMs: 600, marks }), {
      metadata: {
        uid: 'uid-1',
        resourceVersion: '100',
        annotations: {
          'leasehold.dev/lease-duration': '{"uid":"uid-1","transitions":8,"holder":"node-a_1_2","durationMs":600}',
          'leasehold.dev/released': null,
          'leasehold.dev/relief': null,
          'leasehold.dev/ask': null,
        },
      },
      spec: {
        holderIdentity: 'node-a_1_2',
        leaseDurationSeconds: 1,
        acquireTime: '2026-11-21T08:00:00.123000Z',
        renewTime: '2026-11-21T08:00:00.123000Z',
        leaseTransitions: 8,
      },
    });
  });

  test('a duration is rounded up to whole seconds', () => {
    for (const [durationMs, seconds] of [
      [600, 1],
      [1_000, 1],
      [1_001, 2],
      [3_000, 3],
    ] as const) {
      const json = encode({ type: 'create', ...BOUNDS, transitions: 1, durationMs, marks: {} }) as {
        spec: { leaseDurationSeconds: number };
      };
      assert.equal(json.spec.leaseDurationSeconds, seconds);
    }
  });

  test('a renewal always changes renewTime, also when the wall clock stands still', () => {
    assert.equal(microTime(WALL_MS, null), '2026-11-21T08:00:00.123000Z');
    assert.equal(microTime(WALL_MS, '2026-11-21T08:00:00.123000Z'), '2026-11-21T08:00:00.123001Z');
    assert.equal(microTime(WALL_MS, '2026-11-21T08:00:00.123001Z'), '2026-11-21T08:00:00.123000Z');
  });

  test('a Lease that is created says why, in the name of a term that has no uid yet', () => {
    const marks = { reason: { term: { ...TERM, uid: '' }, reason: 'there is no Lease: creating it' } };
    const json = encode({ type: 'create', ...BOUNDS, transitions: 1, durationMs: 3_000, marks }) as { metadata: { annotations: unknown } };
    assert.deepEqual(json.metadata.annotations, {
      'leasehold.dev/reason': '{"uid":"","transitions":8,"holder":"node-a_1_2","reason":"there is no Lease: creating it"}',
    });
  });

  test('a release empties the holder and leaves its mark, and an ask changes nothing but its annotation', () => {
    assert.deepEqual(encode({ type: 'release', ...BOUNDS, basis: BASIS, marks: { released: TERM } }), {
      metadata: { ...BASIS, annotations: { 'leasehold.dev/released': JSON.stringify(TERM) } },
      spec: { holderIdentity: '' },
    });
    assert.deepEqual(encode({ type: 'ask', ...BOUNDS, basis: BASIS, marks: { ask: { term: TERM, by: 'node-b' } } }), {
      metadata: { ...BASIS, annotations: { 'leasehold.dev/ask': '{"uid":"uid-1","transitions":8,"holder":"node-a_1_2","by":"node-b"}' } },
    });
  });
});

describe('what is read', () => {
  const lease = {
    metadata: { uid: 'uid-1', resourceVersion: '100' },
    spec: { holderIdentity: 'x', leaseDurationSeconds: 15, leaseTransitions: 3, acquireTime: 'a', renewTime: 'r' },
  };

  test('a Lease of client-go', () => {
    const record = decodeLease(lease);
    assert.deepEqual(
      [record?.holder, record?.durationMs, record?.transitions, record?.acquireTime, record?.renewTime, record?.isOurs],
      ['x', 15_000, 3, 'a', 'r', false],
    );
  });

  test('one that bears our label or any of our annotations is ours', () => {
    assert.equal(
      decodeLease({ ...lease, metadata: { ...lease.metadata, labels: { 'app.kubernetes.io/name': 'leasehold' } } })?.isOurs,
      true,
    );
    assert.equal(decodeLease({ ...lease, metadata: { ...lease.metadata, annotations: { 'leasehold.dev/ask': 'x' } } })?.isOurs, true);
    assert.equal(decodeLease({ ...lease, metadata: { ...lease.metadata, annotations: { other: 'x' } } })?.isOurs, false);
  });

  test('every mark comes back as it was written', () => {
    const marks = {
      duration: { term: TERM, durationMs: 600 },
      released: TERM,
      relief: { term: TERM, cause: 'unhealthy', reason: 'it is down' },
      ask: { term: TERM, by: 'node-b_1_2' },
      claimFailed: ['node-a'],
      reason: { term: TERM, reason: 'node-b: asked to end by SIGTERM' },
    } as const;
    const { metadata } = encode({ type: 'ask', ...BOUNDS, basis: BASIS, marks }) as { metadata: object };
    assert.deepEqual(decodeLease({ metadata })?.marks, marks);
  });

  test('a reason is cut to a length that no annotation is the worse for', () => {
    const reason = 'x'.repeat(100_000);
    const marks = { relief: { term: TERM, cause: 'unhealthy', reason }, reason: { term: TERM, reason } } as const;
    const { metadata } = encode({ type: 'ask', ...BOUNDS, basis: BASIS, marks }) as { metadata: object };
    const read = decodeLease({ metadata })?.marks;
    assert.deepEqual([read?.relief?.reason.length, read?.reason?.reason.length], [300, 300]);
  });

  test('marks that make no sense count as not there', () => {
    const annotations = {
      'leasehold.dev/lease-duration': '{"uid":1}',
      'leasehold.dev/released': 'yes',
      'leasehold.dev/relief': '[]',
      'leasehold.dev/ask': '{"uid":"u","transitions":1.5,"holder":"h","by":"b"}',
      'leasehold.dev/claim-failed': '{"a":1}',
      'leasehold.dev/reason': '"because"',
    };
    const marks = decodeLease({ metadata: { ...lease.metadata, annotations } })?.marks;
    assert.deepEqual(marks, { duration: null, released: null, relief: null, ask: null, claimFailed: [], reason: null });
  });

  test('anything at all is read without a crash', () => {
    fc.assert(
      fc.property(fc.anything(), fc.dictionary(fc.constantFrom('duration', 'released', 'ask'), fc.json()), (json, texts) => {
        decodeLease(json);
        const annotations = Object.fromEntries(Object.entries(texts).map(([name, text]) => [`leasehold.dev/${name}`, text]));
        decodeLease({ metadata: { uid: 'u', resourceVersion: '1', annotations }, spec: json });
      }),
    );
  });
});
