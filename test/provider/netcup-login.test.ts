import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { ProviderAnswer, ProviderCall, ProviderHttp } from '../../agent/provider/http.ts';
import { ProviderError } from '../../agent/provider/error.ts';
import { logInAtNetcup } from '../../agent/provider/netcup-login.ts';
import type { LoginOutcome } from '../../agent/provider/netcup-login.ts';
import { NetcupOpenId } from '../../agent/provider/netcup-openid.ts';
import type { DeviceLogin } from '../../agent/provider/netcup-openid.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { USER_ID } from '../support/netcup-identity.ts';
import { NetcupModel } from '../support/netcup-model.ts';
import { AUTH_ENDPOINT, httpTo } from '../support/netcup-provider.ts';

let clock: ManualClock;
let model: NetcupModel;
let calls: ProviderCall[];
let fault: ((call: ProviderCall) => ProviderAnswer | ProviderError | null) | null;
let begun: DeviceLogin | null;
let outcome: LoginOutcome | null;
let error: unknown;
let end: AbortController;

beforeEach(() => {
  clock = new ManualClock();
  model = new NetcupModel({ failoverIps: [], servers: [] }, clock);
  calls = [];
  [fault, begun, outcome, error] = [null, null, null, null];
  end = new AbortController();
});

async function begin(): Promise<void> {
  const modelled = httpTo(model, calls);
  const http: ProviderHttp = async (call) => {
    const said = fault?.(call) ?? null;
    if (said === null) return await modelled(call);
    calls.push(call);
    if (said instanceof ProviderError) throw said;
    return said;
  };
  logInAtNetcup(new NetcupOpenId(http, AUTH_ENDPOINT), { clock, signal: end.signal, onBegun: (login) => (begun = login) }).then(
    (ended) => (outcome = ended),
    (thrown: unknown) => (error = thrown),
  );
  await clock.advance(0);
}

const code = (): string => begun?.userCode ?? assert.fail('nothing has begun');

describe('a login at netcup', () => {
  test('tells where to go, waits for the person, and ends with an offline token', async () => {
    await begin();
    assert.deepEqual(calls[0]?.form, { client_id: 'scp', scope: 'openid offline_access' });
    assert.match(begun?.completeUrl ?? '', /user_code=QWER-TY/);
    await clock.advance(30_000);
    assert.equal(outcome, null);
    model.identity.decide(code(), 'approved');
    await clock.advance(5_000);
    const ended = outcome as LoginOutcome | null;
    assert.ok(ended?.is === 'granted');
    assert.deepEqual([ended.tokens.userId, ended.tokens.refreshLifetimeMs], [USER_ID, null]);
    assert.ok(model.identity.refreshTokens.has(ended.tokens.refresh));
  });

  test('asks no oftener than it was told, and more slowly when it is told that', async () => {
    await begin();
    await clock.advance(20_000);
    assert.equal(calls.length, 1 + 4);
    // From now on every 12 s would be often enough, of which nobody has been told.
    fault = () => ({ status: 400, headers: {}, body: '{"error":"slow_down"}' });
    await clock.advance(5_000);
    fault = null;
    await clock.advance(30_000);
    assert.equal(calls.length, 1 + 5 + 3);
  });

  test('gets over an answer that does not come', async () => {
    await begin();
    fault = () => new ProviderError('unknown-outcome', 'cut');
    await clock.advance(10_000);
    fault = null;
    model.identity.decide(code(), 'approved');
    await clock.advance(20_000);
    assert.equal(outcome?.is, 'granted');
  });

  test('ends when the person says no', async () => {
    await begin();
    model.identity.decide(code(), 'denied');
    await clock.advance(5_000);
    assert.deepEqual(outcome, { is: 'denied' });
  });

  test('ends when the code does, whoever notices first', async () => {
    await begin();
    await clock.advance(600_000);
    assert.deepEqual(outcome, { is: 'expired' });
    assert.equal(clock.timers, 0);
    outcome = null;
    await begin();
    fault = () => ({ status: 400, headers: {}, body: '{"error":"authorization_pending"}' });
    await clock.advance(600_000);
    assert.deepEqual(outcome, { is: 'expired' });
    fault = null;
    outcome = null;
    await begin();
    fault = () => ({ status: 400, headers: {}, body: '{"error":"expired_token"}' });
    await clock.advance(5_000);
    assert.deepEqual(outcome, { is: 'expired' });
  });

  test('fails with what was said, and without the code that proves who asks', async () => {
    await begin();
    const { deviceCode } = begun ?? assert.fail();
    fault = () => ({
      status: 400,
      headers: {},
      body: JSON.stringify({ error: 'invalid_grant', error_description: `you sent ${deviceCode}` }),
    });
    await clock.advance(5_000);
    const ended = outcome;
    assert.ok(ended?.is === 'failed');
    assert.match(ended.message, /invalid_grant; you sent \[secret\]/);
    assert.doesNotMatch(ended.message, /NETCUP_REFRESH_TOKEN/);
  });

  for (const [what, answer] of [
    ['nobody answers', new ProviderError('unavailable', 'ECONNREFUSED')],
    ['the endpoint is another one', { status: 404, headers: {}, body: '' }],
    ['the answer is no code', { status: 200, headers: {}, body: '{}' }],
  ] as const) {
    test(`fails at once where ${what}`, async () => {
      fault = () => answer;
      await begin();
      assert.equal(outcome?.is, 'failed');
      assert.equal(begun, null);
    });
  }

  test('ends with its signal', async () => {
    await begin();
    end.abort(new Error('ended by SIGINT'));
    await clock.advance(0);
    assert.match(String(error), /ended by SIGINT/);
    assert.equal(clock.timers, 0);
  });
});
