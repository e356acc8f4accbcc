import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { covers } from '../../agent/address.ts';
import type { ClaimOutcome } from '../../agent/contender/input.ts';
import { HcloudApi } from '../../agent/provider/hcloud-api.ts';
import { HcloudFloatingIp } from '../../agent/provider/hcloud-floating-ip.ts';
import { HcloudServerId } from '../../agent/provider/hcloud-server-id.ts';
import { createProviderHttp } from '../../agent/provider/http.ts';
import { Secret } from '../../agent/secret.ts';
import { claimFrom } from '../support/claim.ts';
import type { ClaimOptions } from '../support/claim.ts';
import { eventually } from '../support/eventually.ts';
import { HcloudStandIn } from '../support/hcloud-api.ts';
import type { HcloudOptions } from '../support/hcloud-api.ts';
import type { Exchange } from '../support/http-stand-in.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { OUTBOUND } from '../support/outbound.ts';

const IP = '198.51.100.77';
const SIX = '2001:db8:7:9::1';
const ME = 9_100_202;
const OTHER = 9_100_201;
const never = new AbortController().signal;

let hcloud: HcloudStandIn;

async function start(options: Partial<HcloudOptions> = {}): Promise<void> {
  hcloud = await HcloudStandIn.start({ floatingIps: [{ id: 1, ip: IP, server: OTHER }], servers: [ME, OTHER], actionMs: 20, ...options });
}

beforeEach(() => start());
afterEach(() => hcloud.close());

function provider(addresses: readonly string[] = [IP], token = new Secret(() => 'hcloud-token')): HcloudFloatingIp {
  const http = createProviderHttp(REAL_CLOCK, OUTBOUND);
  const serverId = new HcloudServerId(http, {
    configured: ME,
    metadataEndpoint: hcloud.metadataEndpoint,
    providerId: () => Promise.resolve({ is: 'unknown', reason: 'not asked' }),
  });
  return new HcloudFloatingIp(new HcloudApi(http, hcloud.endpoint, token, REAL_CLOCK), serverId, addresses, REAL_CLOCK);
}

/** Claims as the loop does. */
async function claim(
  from: HcloudFloatingIp,
  { address = IP, ...options }: ClaimOptions & { readonly address?: string } = {},
): Promise<ClaimOutcome> {
  return await claimFrom(from, address, options);
}

const isWrite = ({ method }: Exchange): boolean => method === 'POST';

describe('a claim', () => {
  test('assigns once, waits for the action and reads the owner back', async () => {
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.equal(hcloud.ownerOf(IP), ME);
    assert.equal(hcloud.writes().length, 1);
    const asked = hcloud.http.exchanges.map(({ method, path }) => `${method} ${path.replace(/\?.*/, '')}`);
    assert.ok(asked.includes('GET /v1/actions/880000000'));
    assert.equal(asked.at(-1), 'GET /v1/floating_ips/1');
  });

  test('of an address that is here already writes nothing', async () => {
    hcloud.move(IP, ME);
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.equal(hcloud.writes().length, 0);
  });

  test('that is a term’s first waits for an action that somebody else began, and then moves the address after all', async () => {
    hcloud.move(IP, ME);
    hcloud.actionMs = 150;
    hcloud.beginAssign(1, OTHER);
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.equal(hcloud.ownerOf(IP), ME);
    assert.equal(hcloud.writes().length, 1);
  });

  test('does not believe that an earlier action has ended because it could not be asked about once', async () => {
    hcloud.move(IP, ME);
    hcloud.actionMs = 400;
    hcloud.beginAssign(1, OTHER);
    hcloud.http.failNext({ is: 'answer', status: 502 }, ({ path }) => path.includes('/actions/'));
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.equal(hcloud.writes().length, 1, 'the earlier one has taken the address away, and it was claimed back');
  });

  test('counts an owner that changes when the action begins only once it has ended', async () => {
    await hcloud.close();
    await start({ ownerChangesAt: 'start', actionMs: 150 });
    const outcome = claim(provider());
    await new Promise((resolve) => setTimeout(resolve, 80));
    assert.equal(hcloud.ownerOf(IP), ME);
    const early = await Promise.race([outcome, Promise.resolve('still under way')]);
    assert.equal(early, 'still under way');
    assert.deepEqual(await outcome, { is: 'confirmed' });
  });

  for (const code of ['locked', 'conflict'] as const) {
    test(`tries again while the provider says ${code}`, async () => {
      hcloud.http.failNext({ is: 'answer', status: code === 'locked' ? 423 : 409, body: { error: { code, message: 'busy' } } }, isWrite, 2);
      assert.deepEqual(await claim(provider()), { is: 'confirmed' });
      assert.equal(hcloud.writes().length, 3);
    });
  }

  for (const [what, fault] of [
    ['a 504', { is: 'answer', status: 504, when: 'after' }],
    ['a cut connection', { is: 'cut', when: 'after' }],
  ] as const) {
    test(`reads before it tries again after ${what}, though the request was accepted`, async () => {
      hcloud.http.failNext(fault, isWrite);
      hcloud.actionMs = 100;
      assert.deepEqual(await claim(provider()), { is: 'confirmed' });
      assert.equal(hcloud.accepted.length, 1, 'the first try moved the address');
    });
  }

  test('believes the owner read back and not the action that succeeded', async () => {
    await hcloud.close();
    let isFirst = true;
    await start({
      onOwner: (ip, server) => {
        if (server !== ME || !isFirst) return;
        isFirst = false;
        hcloud.move(ip, OTHER);
      },
    });
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.equal(hcloud.ownerOf(IP), ME);
    assert.equal(hcloud.writes().length, 2);
  });

  test('tries again when the action itself fails', async () => {
    hcloud.actionsEnd = 'error';
    const outcome = claim(provider());
    await new Promise((resolve) => setTimeout(resolve, 300));
    hcloud.actionsEnd = 'success';
    assert.deepEqual(await outcome, { is: 'confirmed' });
    assert.ok(hcloud.writes().length >= 2);
  });

  test('gives up at its deadline and says what was last wrong', async () => {
    hcloud.http.faultFor = () => ({ is: 'answer', status: 503, body: { error: { code: 'unavailable', message: 'back soon' } } });
    const outcome = await claim(provider(), { deadlineMs: 300 });
    assert.ok(outcome.is === 'failed' && !outcome.definitive);
    assert.match(outcome.message, /not confirmed in time: .*503 unavailable; back soon/);
  });

  test('of an action that never ends is given up at its deadline', async () => {
    hcloud.actionsEnd = 'never';
    const outcome = await claim(provider(), { deadlineMs: 300 });
    assert.ok(outcome.is === 'failed' && !outcome.definitive);
  });

  for (const [what, prepare, message] of [
    ['the token may only read', (): void => void hcloud.tokens.set('hcloud-token', 'read-only'), /token_readonly.*read & write/],
    ['the token is not known', (): void => hcloud.tokens.clear(), /unauthorized.*HCLOUD_TOKEN/],
  ] as const) {
    test(`fails for good at once when ${what}`, async () => {
      prepare();
      const outcome = await claim(provider());
      assert.ok(outcome.is === 'failed' && outcome.definitive, JSON.stringify(outcome));
      assert.match(outcome.message, message);
      assert.ok(hcloud.http.exchanges.length < 6, 'without another try');
    });
  }

  test('fails for good when the address is no floating IP of the project', async () => {
    const outcome = await claim(provider(['192.0.2.1']), { address: '192.0.2.1' });
    assert.ok(outcome.is === 'failed' && outcome.definitive);
  });

  test('writes nothing once it may not', async () => {
    assert.deepEqual(await claim(provider(), { mayWrite: () => false }), { is: 'withdrawn' });
    assert.equal(hcloud.writes().length, 0);
  });

  test('asks whether it may write again before each further write', async () => {
    hcloud.http.failNext({ is: 'answer', status: 423, body: { error: { code: 'locked', message: 'busy' } } }, isWrite);
    let asked = 0;
    assert.deepEqual(await claim(provider(), { mayWrite: () => (asked += 1) === 1 }), { is: 'withdrawn' });
    assert.equal(hcloud.writes().length, 1);
  });

  test('ends as withdrawn when it is called off', async () => {
    hcloud.actionMs = 60_000;
    const controller = new AbortController();
    const outcome = provider().claim(IP, { signal: controller.signal, isFirst: true, mayWrite: () => true });
    setTimeout(() => controller.abort(new Error('the office is over')), 100);
    assert.deepEqual(await outcome, { is: 'withdrawn' });
  });

  test('takes an address away first where the provider insists on it', async () => {
    hcloud.http.failNext(
      { is: 'answer', status: 422, body: { error: { code: 'floating_ip_assigned', message: 'already assigned' } } },
      isWrite,
    );
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.deepEqual(
      hcloud.accepted.map(({ server }) => server),
      [null, ME],
    );
  });

  test('is content when the provider says that the address is here already', async () => {
    await hcloud.close();
    await start({ sameOwner: 'floating_ip_assigned' });
    hcloud.http.faultFor = (exchange) => {
      if (isWrite(exchange)) hcloud.move(IP, ME);
      return null;
    };
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
  });

  test('waits for its share of the rate limit, as the headers say', async () => {
    hcloud.remaining = 3;
    const startedAtMs = performance.now();
    setTimeout(() => (hcloud.remaining = 100), 900);
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.ok(performance.now() - startedAtMs >= 900);
    const refused = hcloud.http.exchanges.filter(({ status }) => status === 429);
    assert.ok(refused.length <= 3, `${refused.length} requests were refused`);
  });

  test('waits for an answer no longer than its time-out, and asks again', async () => {
    hcloud.http.failNext({ is: 'hang', when: 'before' }, ({ path }) => path.startsWith('/v1/floating_ips'), 1);
    assert.deepEqual(await claim(provider(), { deadlineMs: 10_000 }), { is: 'confirmed' });
  });
});

describe('IPv6', () => {
  const network = { id: 2, ip: '2001:db8:7:9::/64', server: OTHER };

  test('finds the /64 that the address lies in', async () => {
    await hcloud.close();
    await start({ floatingIps: [network] });
    assert.deepEqual(await claim(provider([SIX]), { address: SIX }), { is: 'confirmed' });
    assert.equal(hcloud.ownerOf(network.ip), ME);
  });

  test('moves two addresses of one /64 with one assignment', async () => {
    await hcloud.close();
    await start({ floatingIps: [network] });
    const both = provider([SIX, '2001:db8:7:9::2']);
    const outcomes = await Promise.all([claim(both, { address: SIX }), claim(both, { address: '2001:db8:7:9::2' })]);
    assert.deepEqual(outcomes, [{ is: 'confirmed' }, { is: 'confirmed' }]);
    assert.equal(hcloud.writes().length, 1);
  });

  test('a floating IP covers its addresses and no others', () => {
    assert.equal(covers('2001:db8:7:9::/64', SIX), true);
    assert.equal(covers('2001:db8:7:9::/64', '2001:db8:7:a::1'), false);
    assert.equal(covers('198.51.100.77', '198.51.100.77'), true);
    assert.equal(covers('198.51.100.77', '198.51.100.7'), false);
    assert.equal(covers('198.51.100.77', SIX), false);
    assert.equal(covers('nonsense', IP), false);
  });
});

test('several addresses are claimed at the same time', async () => {
  await hcloud.close();
  const ips = ['198.51.100.1', '198.51.100.2', '198.51.100.3'];
  await start({ floatingIps: ips.map((ip, index) => ({ id: index + 1, ip })) });
  hcloud.actionsEnd = 'never';
  const all = provider(ips);
  const claims = ips.map((address) => claim(all, { address, deadlineMs: 2_000 }));
  await eventually('each is asked for, though none has ended', () => hcloud.accepted.length === ips.length);
  await Promise.all(claims);
});

test('a floating IP that was deleted is looked up anew, as it may have been made again under another number', async () => {
  const lists = (): number => hcloud.http.exchanges.filter(({ path }) => path.startsWith('/v1/floating_ips?')).length;
  const known = provider();
  assert.deepEqual(await known.owner(IP, never), { is: 'other', name: `server ${OTHER}` });
  hcloud.http.failNext({ is: 'answer', status: 404, body: { error: { code: 'not_found', message: 'gone' } } });
  assert.equal((await known.owner(IP, never)).is, 'unknown');
  assert.equal(lists(), 1);
  assert.equal((await known.owner(IP, never)).is, 'other');
  assert.equal(lists(), 2);
});

describe('preparing', () => {
  test('finds the floating IP over all pages', async () => {
    await hcloud.close();
    const many = Array.from({ length: 120 }, (_, index) => ({ id: index + 10, ip: `203.0.113.${index + 1}` }));
    await start({ floatingIps: [...many, { id: 1, ip: IP }] });
    assert.deepEqual(await provider().prepare(never), { is: 'ready', reason: `this is server ${ME}` });
    assert.equal(hcloud.http.exchanges.length, 3);
  });

  test('says which address is none of the project’s, and which ones are', async () => {
    const outcome = await provider([IP, '192.0.2.1']).prepare(never);
    assert.ok(outcome.is === 'not-ready' && !outcome.isPassing);
    assert.match(outcome.reason, /192\.0\.2\.1: no floating IP of the project .*its floating IPs are 198\.51\.100\.77/);
  });

  test('says so when Hetzner blocks the traffic', async () => {
    await hcloud.close();
    await start({ floatingIps: [{ id: 1, ip: IP, blocked: true }] });
    assert.match((await provider().prepare(never)).reason, /blocks the traffic of 198\.51\.100\.77/);
  });

  test('a provider that is out of reach may pass, and a wrong token does not', async () => {
    hcloud.tokens.clear();
    assert.deepEqual(await provider().prepare(never), {
      ...(await provider().prepare(never)),
      isPassing: false,
    });
    hcloud.http.faultFor = () => ({ is: 'cut', when: 'before' });
    assert.equal(((await provider().prepare(never)) as { isPassing: boolean }).isPassing, true);
  });
});

test('preparing that is called off is an answer like any other, and no defect', async () => {
  hcloud.http.faultFor = () => ({ is: 'hang', when: 'before' });
  const ending = new AbortController();
  const readiness = provider().prepare(ending.signal);
  ending.abort(new Error('the agent ends'));
  assert.deepEqual(await readiness, { is: 'not-ready', isPassing: true, reason: 'the agent ends' });
});

test('a write that was refused for its token is not sent again with the next one once it may not be', async () => {
  let current = 'hcloud-token';
  let mayWrite = true;
  hcloud.tokens.set('next-token', 'read-write');
  const rotated = provider([IP], new Secret(() => current));
  hcloud.http.faultFor = ({ method }) => {
    if (method !== 'POST') return null;
    current = 'next-token';
    mayWrite = false;
    return { is: 'answer', status: 401, body: { error: { code: 'unauthorized', message: 'no' } } };
  };
  assert.deepEqual(await claim(rotated, { mayWrite: () => mayWrite }), { is: 'withdrawn' });
  assert.equal(hcloud.http.exchanges.filter(isWrite).length, 1);
  assert.equal(hcloud.ownerOf(IP), OTHER);
});

test('a token that was rotated in its file is read again at the first refusal', async () => {
  let current = 'hcloud-token';
  const rotated = provider([IP], new Secret(() => current));
  assert.equal((await rotated.prepare(never)).is, 'ready');
  hcloud.tokens.set('next-token', 'read-write');
  hcloud.tokens.delete('hcloud-token');
  current = 'next-token';
  assert.equal((await rotated.prepare(never)).is, 'ready');
});

test('the owner is this server, another, nobody, or unknown', async () => {
  const reading = provider();
  assert.deepEqual(await reading.owner(IP, never), { is: 'other', name: `server ${OTHER}` });
  hcloud.move(IP, ME);
  assert.deepEqual(await reading.owner(IP, never), { is: 'self' });
  hcloud.move(IP, null);
  assert.deepEqual(await reading.owner(IP, never), { is: 'nobody' });
  hcloud.http.failNext({ is: 'answer', status: 500, body: {} });
  assert.equal((await reading.owner(IP, never)).is, 'unknown');
});

test('no message holds the token', async () => {
  const messages: string[] = [];
  for (const fault of [
    { is: 'answer', status: 500 },
    { is: 'cut', when: 'before' },
    { is: 'answer', status: 401, body: { error: { code: 'unauthorized', message: 'no' } } },
  ] as const) {
    hcloud.http.faultFor = () => fault;
    messages.push(JSON.stringify(await claim(provider(), { deadlineMs: 100 })), JSON.stringify(await provider().prepare(never)));
  }
  assert.ok(
    messages.every((message) => !message.includes('hcloud-token')),
    messages.join('\n'),
  );
});
