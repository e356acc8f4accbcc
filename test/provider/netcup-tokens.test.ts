import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { Finding } from '../../agent/finding.ts';
import { ProviderError } from '../../agent/provider/error.ts';
import type { ProviderCall } from '../../agent/provider/http.ts';
import { NetcupOpenId } from '../../agent/provider/netcup-openid.ts';
import { NetcupTokens } from '../../agent/provider/netcup-tokens.ts';
import { Secret } from '../../agent/secret.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { REFRESH_TOKEN, USER_ID } from '../support/netcup-identity.ts';
import { NetcupModel } from '../support/netcup-model.ts';
import { AUTH_ENDPOINT, httpTo } from '../support/netcup-provider.ts';

const PATH = '/etc/leasehold/netcup/token';
const never = new AbortController().signal;
const HOUR_MS = 60 * 60_000;

let clock: ManualClock;
let model: NetcupModel;
let calls: ProviderCall[];
let file: string;
let isWritable: boolean;

beforeEach(() => {
  clock = new ManualClock();
  model = new NetcupModel({ failoverIps: [], servers: [] }, clock);
  calls = [];
  file = `${REFRESH_TOKEN}\n`;
  isWritable = true;
});

interface Opened {
  readonly tokens: NetcupTokens;
  readonly secret: Secret;
  readonly told: Finding[];
}

/** One agent. All of them share the file. */
function open(path: string | null = PATH): Opened {
  const told: Finding[] = [];
  const secret = new Secret(() => (path === null ? REFRESH_TOKEN : file));
  const writeFile = (to: string, text: string): void => {
    assert.equal(to, PATH);
    if (!isWritable) throw Object.assign(new Error(`EROFS: read-only file system, open '${to}'`), { code: 'EROFS' });
    file = text;
  };
  const openId = new NetcupOpenId(httpTo(model, calls), AUTH_ENDPOINT);
  return {
    tokens: new NetcupTokens(openId, { secret, path }, { clock, host: { writeFile }, tell: (finding) => told.push(finding) }),
    secret,
    told,
  };
}

const sent = (): (string | undefined)[] => calls.map(({ form }) => form?.['refresh_token']);

describe('an access token', () => {
  test('comes with the number of the user, and is asked for once, however many wait for it', async () => {
    const { tokens } = open();
    const all = await Promise.all([tokens.access(never), tokens.access(never), tokens.access(never)]);
    assert.equal(calls.length, 1);
    assert.equal(new Set(all.map(({ token }) => token)).size, 1);
    assert.equal(all[0].userId, USER_ID);
  });

  test('is waited for no longer by whoever is called off, and goes on being fetched for the others', async () => {
    const { tokens } = open();
    const end = new AbortController();
    const [early, late] = [tokens.access(end.signal), tokens.access(never)];
    end.abort(new Error('the office is over'));
    await assert.rejects(early, /the office is over/);
    assert.equal((await late).userId, USER_ID);
    assert.equal(calls.length, 1);
  });

  test('is used until 30 s before its end, and replaced then', async () => {
    const { tokens } = open();
    const first = await tokens.access(never);
    await clock.advance(269_000);
    assert.equal((await tokens.access(never)).token, first.token);
    await clock.advance(1_000);
    assert.notEqual((await tokens.access(never)).token, first.token);
    assert.equal(calls.length, 2);
  });

  test('that is short-lived is used for half of its life', async () => {
    model.identity.accessMs = 20_000;
    const { tokens } = open();
    await tokens.access(never);
    await clock.advance(9_000);
    await tokens.access(never);
    assert.equal(calls.length, 1);
    await clock.advance(1_000);
    await tokens.access(never);
    assert.equal(calls.length, 2);
  });

  test('is replaced early where it is to be good for longer', async () => {
    const { tokens } = open();
    await tokens.access(never);
    await clock.advance(210_000);
    await tokens.access(never, 100_000);
    assert.equal(calls.length, 2);
  });

  test('that lives for days is replaced twice a day, so that the refresh token is used', async () => {
    model.identity.accessMs = 72 * HOUR_MS;
    const { tokens } = open();
    await tokens.access(never);
    await clock.advance(11 * HOUR_MS);
    await tokens.access(never);
    assert.equal(calls.length, 1);
    await clock.advance(HOUR_MS);
    await tokens.access(never);
    assert.equal(calls.length, 2);
  });

  test('that was refused is replaced once, whoever it was refused to', async () => {
    const { tokens } = open();
    const refused = await tokens.access(never);
    const [one, other] = await Promise.all([tokens.replacing(refused, never), tokens.replacing(refused, never)]);
    assert.equal(one.token, other.token);
    assert.equal(calls.length, 2);
    assert.equal((await tokens.replacing(refused, never)).token, one.token);
    assert.equal(calls.length, 2);
  });
});

describe('a refresh token', () => {
  test('that is not accepted any more is a definitive error, which says what to run', async () => {
    model.identity.refreshTokens.clear();
    await assert.rejects(open().tokens.access(never), (error) => {
      assert.ok(error instanceof ProviderError);
      assert.deepEqual([error.code, error.isDefinitive], ['unauthorized', true]);
      assert.match(error.message, /NETCUP_REFRESH_TOKEN.*leasehold netcup-login/);
      assert.ok(!error.message.includes(REFRESH_TOKEN));
      return true;
    });
    assert.equal(calls.length, 1, 'it is not sent again where there is no other one');
  });

  test('that was replaced is written to its file, and used from then on', async () => {
    model.identity.atUse = 'replaced and revoked';
    const { tokens, told } = open();
    await tokens.access(never);
    const [given] = model.identity.given;
    assert.equal(file.trim(), given);
    assert.deepEqual(
      told.map(({ level }) => level),
      ['ok'],
    );
    assert.equal(tokens.concern, null);
    await clock.advance(HOUR_MS);
    await tokens.access(never);
    assert.deepEqual(sent(), [REFRESH_TOKEN, given]);
  });

  for (const [what, path, reason] of [
    ['in a file that cannot be written', PATH, /could not be written to \/etc\/leasehold\/netcup\/token \(EROFS\)/],
    ['in a variable', null, /could not be written \(NETCUP_REFRESH_TOKEN is a variable/],
  ] as const) {
    test(`that was replaced, and is ${what}, is told of with what to do, and the new one used from memory`, async () => {
      isWritable = false;
      model.identity.atUse = 'replaced and revoked';
      const { tokens, told, secret } = open(path);
      await tokens.access(never);
      assert.ok(secret.everHeld.includes(model.identity.given[0] ?? 'none'), 'it is kept secret all the same');
      assert.equal(told[0]?.level, 'warn');
      assert.match(told[0].message, reason);
      assert.match(told[0].message, /the old one may stop working/);
      assert.match(told[0].advice ?? '', /leasehold netcup-login/);
      assert.equal(tokens.concern, told[0]);
      await clock.advance(HOUR_MS);
      await tokens.access(never);
      assert.deepEqual(sent(), [REFRESH_TOKEN, model.identity.given[0]]);
    });
  }

  test('that a person puts into the place of the replaced one is used, and there is no concern any more', async () => {
    isWritable = false;
    model.identity.atUse = 'replaced';
    const { tokens, told } = open();
    await tokens.access(never);
    assert.notEqual(tokens.concern, null);
    model.identity.atUse = 'same';
    model.identity.refreshTokens.add('by-hand');
    file = 'by-hand\n';
    await clock.advance(HOUR_MS);
    await tokens.access(never);
    assert.equal(tokens.concern, null);
    assert.equal(told.at(-1)?.level, 'ok');
    assert.equal(sent().at(-1), 'by-hand');
  });

  test('that another agent has had replaced is read from the file that they share', async () => {
    model.identity.atUse = 'replaced and revoked';
    const [one, other] = [open(), open()];
    await one.tokens.access(never);
    await other.tokens.access(never);
    for (let round = 0; round < 3; round += 1) {
      await clock.advance(HOUR_MS);
      await one.tokens.access(never);
      await other.tokens.access(never);
    }
    assert.deepEqual([one.tokens.concern, other.tokens.concern], [null, null]);
  });

  test('that replaces it between two agents at the very same time is found after the refusal', async () => {
    model.identity.atUse = 'replaced and revoked';
    const other = open();
    const http = httpTo(model, calls);
    let first = true;
    const openId = new NetcupOpenId(async (call) => {
      // The other one is quicker by the length of one request.
      if (first) await other.tokens.access(never);
      first = false;
      return await http(call);
    }, AUTH_ENDPOINT);
    const secret = new Secret(() => file);
    const writeFile = (_: string, text: string): void => void (file = text);
    const tokens = new NetcupTokens(openId, { secret, path: PATH }, { clock, host: { writeFile }, tell: () => undefined });
    assert.equal((await tokens.access(never)).userId, USER_ID);
    assert.deepEqual(sent(), [REFRESH_TOKEN, REFRESH_TOKEN, model.identity.given[0]]);
  });

  test('and every token that came of it are kept secret', async () => {
    model.identity.atUse = 'replaced';
    const { tokens, secret } = open();
    const { token } = await tokens.access(never);
    for (const each of [REFRESH_TOKEN, token, ...model.identity.given]) assert.ok(secret.everHeld.includes(each));
    for (let hour = 0; hour < 100; hour += 1) {
      await clock.advance(HOUR_MS);
      await tokens.access(never);
    }
    assert.ok(secret.everHeld.includes((await tokens.access(never)).token));
    assert.ok(secret.everHeld.length < 200, 'of very many only the latest');
  });
});

describe('whatever else the endpoint answers', () => {
  const answering = (status: number, body: unknown): NetcupTokens => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const openId = new NetcupOpenId(() => Promise.resolve({ status, headers: {}, body: text }), AUTH_ENDPOINT);
    const world = { clock, host: { writeFile: () => undefined }, tell: () => undefined };
    return new NetcupTokens(openId, { secret: new Secret(() => REFRESH_TOKEN), path: null }, world);
  };
  const jwt = (claims: unknown): string => `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.y`;

  for (const [what, status, body, code] of [
    ['another client’s refusal', 401, { error: 'invalid_client' }, 'unauthorized'],
    ['a refusal without words', 403, '', 'forbidden'],
    ['too many requests', 429, '', 'rate-limited'],
    ['a gateway without a word', 502, '<html>', 'unavailable'],
    ['a page in the place of a token', 200, '<html>', 'unavailable'],
    ['a token that never lives', 200, { access_token: jwt({ id: '1' }), refresh_token: 'r', expires_in: 0 }, 'unavailable'],
    ['a token of nobody', 200, { access_token: jwt({ sub: 'x' }), refresh_token: 'r', expires_in: 300 }, 'invalid'],
    ['a token of a user who is no number', 200, { access_token: jwt({ id: '12/34' }), refresh_token: 'r', expires_in: 300 }, 'invalid'],
    ['a token that is none', 200, { access_token: 'opaque', refresh_token: 'r', expires_in: 300 }, 'invalid'],
  ] as const) {
    test(`${what} is an error of the kind "${code}"`, async () => {
      await assert.rejects(answering(status, body).access(never), (error) => error instanceof ProviderError && error.code === code);
    });
  }

  test('an answer that was lost passes, and says so', async () => {
    const openId = new NetcupOpenId(() => Promise.reject(new ProviderError('unknown-outcome', 'cut')), AUTH_ENDPOINT);
    const world = { clock, host: { writeFile: () => undefined }, tell: () => undefined };
    const tokens = new NetcupTokens(openId, { secret: new Secret(() => REFRESH_TOKEN), path: null }, world);
    await assert.rejects(tokens.access(never), (error) => error instanceof ProviderError && error.code === 'unavailable');
  });
});
