import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { presenceOn } from '../../agent/application/presence.ts';
import { pod } from './pods.ts';

describe('an application, seen from a node,', () => {
  test('is there while one of its pods is there and ready', () => {
    const presence = presenceOn('node-a', [pod('web-1', { node: 'node-a' }), pod('web-2', { node: 'node-b' })]);
    assert.deepEqual(presence, {
      isReady: true,
      isBound: true,
      elsewhere: ['node-b'],
      reason: 'its pod web-1 on this node is ready',
    });
  });

  test('is beside it and not ready while its pod is starting, ending or sick, and is said to be so', () => {
    for (const [words, reason] of [
      [{ isReady: false }, 'its pod web-1 on this node is not ready; it is ready on no other node'],
      [{ isEnding: true }, 'its pod web-1 on this node is ending; it is ready on no other node'],
    ] as const) {
      const presence = presenceOn('node-a', [pod('web-1', { node: 'node-a', ...words })]);
      assert.deepEqual([presence.isReady, presence.isBound, presence.reason], [false, true, reason]);
    }
  });

  test('is elsewhere, or nowhere, when no pod of it is bound to the node', () => {
    const away = presenceOn('node-a', [pod('web-1', { node: 'node-c' }), pod('web-2', { node: 'node-b' }), pod('web-3', {})]);
    assert.deepEqual([away.isReady, away.isBound], [false, false]);
    assert.equal(away.reason, 'no pod of it is on this node; it is ready on node-b, node-c');
    assert.equal(presenceOn('node-a', []).reason, 'no pod of it is on this node; it is ready on no other node');
  });

  test('is not where its pods have ended for good', () => {
    for (const phase of ['Succeeded', 'Failed'])
      assert.equal(presenceOn('node-a', [pod('web-1', { node: 'node-a', phase })]).isBound, false);
  });
});
