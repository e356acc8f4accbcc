import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ProviderError } from '../../agent/provider/error.ts';
import { operationOf } from '../../agent/provider/hcloud-api.ts';
import type { ProviderAnswer, ProviderCall } from '../../agent/provider/http.ts';
import { observedProviderHttp } from '../../agent/provider/observed-http.ts';
import type { ProviderExchange } from '../../agent/provider/observed-http.ts';
import { ManualClock } from '../support/manual-clock.ts';

const CALL: ProviderCall = {
  method: 'GET',
  url: 'https://api.example.org/v1/floating_ips/7',
  operation: 'GET /floating_ips/{id}',
  headers: { authorization: 'Bearer secret-token' },
  timeoutMs: 1,
  signal: new AbortController().signal,
};

/** What is told of one exchange that takes 40 ms and ends like this. */
async function told(end: () => ProviderAnswer): Promise<ProviderExchange[]> {
  const clock = new ManualClock();
  const seen: ProviderExchange[] = [];
  const inner = async (): Promise<ProviderAnswer> => {
    await clock.advance(40);
    return end();
  };
  await observedProviderHttp(inner, clock, (exchange) => seen.push(exchange))(CALL).catch(() => undefined);
  return seen;
}

describe('HTTP to a provider that is observed', () => {
  test('tells the operation, the status and how long it took, and the budget where the answer names it', async () => {
    const headers = { 'ratelimit-limit': '3600', 'ratelimit-remaining': '12' };
    assert.deepEqual(await told(() => ({ status: 429, headers, body: '' })), [
      { operation: CALL.operation, code: '429', elapsedMs: 40, budget: { limit: 3_600, remaining: 12 } },
    ]);
  });

  test('tells no budget that cannot be read', async () => {
    for (const headers of [{}, { 'ratelimit-limit': '3600' }, { 'ratelimit-limit': 'many', 'ratelimit-remaining': '-1' }]) {
      assert.equal((await told(() => ({ status: 200, headers, body: '' })))[0]?.budget, null);
    }
  });

  test('tells what had no answer from what was called off', async () => {
    for (const [error, code] of [
      [new ProviderError('unavailable', 'x'), 'no-answer'],
      [new ProviderError('unknown-outcome', 'x'), 'no-answer'],
      [new Error('the office is over'), 'aborted'],
    ] as const) {
      const [exchange] = await told(() => {
        throw error;
      });
      assert.equal(exchange?.code, code);
    }
  });
});

describe('an operation of the Hetzner Cloud API', () => {
  for (const [path, template] of [
    ['/floating_ips?per_page=50&page=1', '/floating_ips'],
    ['/floating_ips/4711/actions/assign', '/floating_ips/{id}/actions/assign'],
    ['/actions/880000000', '/actions/{id}'],
  ] as const) {
    test(`${path} is ${template}, whatever the number`, () => {
      assert.equal(operationOf('GET', path), `GET ${template}`);
    });
  }
});
