import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refusedForMs } from '../../agent/provider/robot-api.ts';

const answer = (status: number, code: string, more: object = {}): Parameters<typeof refusedForMs>[0] => ({
  status,
  headers: {},
  body: JSON.stringify({ error: { status, code, message: 'x', ...more } }),
});

test('an answer that there were too many requests says for how long, and no other 403 does', () => {
  assert.equal(refusedForMs(answer(403, 'RATE_LIMIT_EXCEEDED', { max_request: 100, interval: 60 })), 60_000);
  assert.equal(refusedForMs(answer(403, 'RATE_LIMIT_EXCEEDED', { max_request: 100, interval: 3_600 })), 300_000);
  assert.equal(refusedForMs(answer(403, 'FORBIDDEN')), null);
  assert.equal(refusedForMs(answer(409, 'RATE_LIMIT_EXCEEDED')), null);
  assert.equal(refusedForMs({ status: 403, headers: {}, body: '<html>' }), null);
});
