import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { ProviderError } from '../../agent/provider/error.ts';
import { HcloudApi } from '../../agent/provider/hcloud-api.ts';
import { createProviderHttp } from '../../agent/provider/http.ts';
import type { ProviderHttp } from '../../agent/provider/http.ts';
import { Secret } from '../../agent/secret.ts';
import { HttpStandIn } from '../support/http-stand-in.ts';
import type { Answer } from '../support/http-stand-in.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { OUTBOUND } from '../support/outbound.ts';

const never = new AbortController().signal;
const terms = { signal: never, mayWrite: (): boolean => true };
const token = new Secret(() => 'hcloud-token');

let server: HttpStandIn;
let answer: Answer;
let api: HcloudApi;

beforeEach(async () => {
  answer = { status: 200, body: {} };
  server = await new HttpStandIn(() => answer, null).listen();
  api = new HcloudApi(createProviderHttp(REAL_CLOCK, OUTBOUND), server.url, token, REAL_CLOCK);
});
afterEach(() => server.close());

async function errorOf(work: Promise<unknown>): Promise<ProviderError> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof ProviderError, String(error));
    return error;
  }
  return assert.fail('it succeeded');
}

const act = (): Promise<void> => api.act('/x', {}, terms);
const get = (): Promise<unknown> => api.get('/x', never);

describe('an answer without a code of the API’s own', () => {
  test('leaves open whether a write was carried out, and says of a read only that there was no answer', async () => {
    for (const status of [500, 502, 504]) {
      answer = { status, body: '<html>' };
      assert.equal((await errorOf(act())).code, 'unknown-outcome');
      assert.equal((await errorOf(get())).code, 'unavailable');
    }
  });

  test('that sends elsewhere is not followed: the token goes nowhere else', async () => {
    answer = { status: 302, body: '', headers: { location: '/elsewhere' } };
    assert.match((await errorOf(get())).message, /GET \/x: 302/);
    assert.equal(server.exchanges.length, 1);
  });

  test('is read up to a limit', async () => {
    answer = { status: 200, body: { padding: 'x'.repeat(5 * 1024 * 1024) } };
    assert.match((await errorOf(get())).message, /larger than/);
  });
});

test('a list whose pages never end is read no further than they go on', async () => {
  answer = { status: 200, body: { things: [1], meta: { pagination: { next_page: 2 } } } };
  assert.deepEqual(await api.list('/things', 'things', (thing) => thing, never), [1, 1]);
});

test('a token that was rotated in its file is used by every request that was refused with the one before it', async () => {
  let current = 'token-before';
  const rotated = new Secret(() => current);
  const http: ProviderHttp = async ({ headers }) => {
    await setImmediate();
    return { status: headers['authorization'] === 'Bearer token-after' ? 200 : 401, headers: {}, body: '{}' };
  };
  const asking = new HcloudApi(http, 'http://x', rotated, REAL_CLOCK);
  current = 'token-after';
  assert.deepEqual(await Promise.all([asking.get('/networks', never), asking.get('/servers', never)]), [{}, {}]);
});

describe('no answer', () => {
  test('to a write that was sent leaves open whether it was carried out', async () => {
    server.failNext({ is: 'cut', when: 'before' });
    const { code, wasSent } = await errorOf(act());
    assert.deepEqual([code, wasSent], ['unknown-outcome', true]);
  });

  test('because nobody listens means that nothing was carried out', async () => {
    await server.close();
    for (const work of [act, get]) {
      const { code, wasSent } = await errorOf(work());
      assert.deepEqual([code, wasSent], ['unavailable', false]);
    }
    server = await server.listen();
  });
});

describe('the rate limit', () => {
  const clock = new ManualClock();
  const nowS = clock.wallMs() / 1_000;
  const pauseMs = async (headers: Readonly<Record<string, string>>): Promise<number | null> => {
    const refusing = new HcloudApi(() => Promise.resolve({ status: 429, headers, body: '' }), 'http://x', token, clock);
    const error = await errorOf(refusing.get('/x', never));
    assert.equal(error.code, 'rate-limited');
    return error.retryAfterMs;
  };
  const headers = (limit: number, remaining: number, resetS: number): Record<string, string> => ({
    'ratelimit-limit': String(limit),
    'ratelimit-remaining': String(remaining),
    'ratelimit-reset': String(resetS),
  });

  test('asks for a pause of one request’s share of the time until everything is back', async () => {
    assert.equal(await pauseMs(headers(10, 0, nowS + 100)), 10_000);
    assert.equal(await pauseMs(headers(10, 5, nowS + 100)), 20_000);
  });

  test('never asks for less than the documented second, nor for longer than a minute', async () => {
    assert.equal(await pauseMs(headers(3_600, 0, nowS + 60)), 1_000);
    assert.equal(await pauseMs(headers(1, 0, nowS + 86_400)), 60_000);
    assert.equal(await pauseMs({}), 1_000);
    assert.equal(await pauseMs(headers(10, 10, nowS + 100)), 1_000);
    for (const name of ['limit', 'remaining', 'reset'])
      assert.equal(await pauseMs({ ...headers(10, 0, nowS + 100), [`ratelimit-${name}`]: 'many' }), 1_000, name);
  });

  test('counts by the server’s clock where the server tells it', async () => {
    const date = new Date(clock.wallMs() + 3_600_000).toUTCString();
    assert.equal(await pauseMs({ ...headers(10, 0, nowS + 3_700), date }), 10_000);
  });
});
