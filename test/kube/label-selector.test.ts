import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { matchesSelector } from '../../agent/kube/label-selector.ts';

const LABELS = { app: 'web', track: 'stable' };

describe('a label selector', () => {
  test('selects where every label and every expression fits', () => {
    for (const selector of [
      {},
      { matchLabels: { app: 'web' } },
      { matchLabels: { app: 'web', track: 'stable' }, matchExpressions: [] },
      { matchExpressions: [{ key: 'app', operator: 'In', values: ['api', 'web'] }] },
      { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['api'] }] },
      { matchExpressions: [{ key: 'beta', operator: 'NotIn', values: ['x'] }] },
      {
        matchExpressions: [
          { key: 'app', operator: 'Exists' },
          { key: 'beta', operator: 'DoesNotExist' },
        ],
      },
    ])
      assert.equal(matchesSelector(selector, LABELS), true, JSON.stringify(selector));
  });

  test('does not select where one of them does not, where there is none, or where it says what is not known', () => {
    for (const selector of [
      undefined,
      null,
      'app=web',
      { matchLabels: { app: 'web', track: 'canary' } },
      { matchLabels: { app: 1 } },
      { matchLabels: { toString: 'web' } },
      { matchExpressions: [{ key: 'app', operator: 'In', values: ['api'] }] },
      { matchExpressions: [{ key: 'app', operator: 'In' }] },
      { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] },
      { matchExpressions: [{ key: 'beta', operator: 'Exists' }] },
      { matchExpressions: [{ key: 'app', operator: 'DoesNotExist' }] },
      {
        matchExpressions: [
          { key: 'app', operator: 'Exists' },
          { key: 'beta', operator: 'Exists' },
        ],
      },
      { matchExpressions: [{ key: 'app', operator: 'Gt', values: ['1'] }] },
    ])
      assert.equal(matchesSelector(selector, LABELS), false, JSON.stringify(selector));
  });
});
