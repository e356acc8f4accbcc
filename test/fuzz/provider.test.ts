import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { covers } from '../../agent/address.ts';
import { DeadlineExceeded } from '../../agent/clock.ts';
import { ProviderError } from '../../agent/provider/error.ts';
import { HcloudApi } from '../../agent/provider/hcloud-api.ts';
import { HcloudFloatingIp } from '../../agent/provider/hcloud-floating-ip.ts';
import { HcloudServerId } from '../../agent/provider/hcloud-server-id.ts';
import { createProviderHttp } from '../../agent/provider/http.ts';
import type { ProviderAnswer, ProviderCall } from '../../agent/provider/http.ts';
import { Secret } from '../../agent/secret.ts';
import { HttpStandIn } from '../support/http-stand-in.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { netcupProvider } from '../support/netcup-provider.ts';
import { OUTBOUND } from '../support/outbound.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { fuzz } from './cases.ts';

const IP = '198.51.100.77';
const ME = 9_100_202;
const TOKEN = 'hcloud-token';
const never = new AbortController().signal;

const values = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom(
    null,
    ME,
    9_100_201,
    String(ME),
    0,
    -1,
    1.5,
    2 ** 53,
    true,
    [],
    {},
    'running',
    'success',
    'error',
    `${IP}/0`,
    '::/0',
    'x'.repeat(50_000),
  ),
);
const floatingIps = fc.record(
  {
    id: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, values),
    ip: fc.oneof({ weight: 4, arbitrary: fc.constant(IP) }, values),
    server: values,
  },
  { requiredKeys: [] },
);
const actions = fc.record({ id: fc.oneof(fc.constant(7), values), status: values, command: values, error: values }, { requiredKeys: [] });
const pages = fc.record({ pagination: fc.record({ next_page: fc.oneof(fc.constant(null), fc.nat(9), values) }, { requiredKeys: [] }) });
const bodies = fc.oneof(
  fc
    .record(
      {
        floating_ips: fc.oneof(fc.array(floatingIps, { maxLength: 3 }), values),
        floating_ip: floatingIps,
        actions: fc.oneof(fc.array(actions, { maxLength: 3 }), values),
        action: actions,
        meta: fc.oneof(pages, values),
        error: fc.oneof(fc.record({ code: values, message: values, details: values }), values),
      },
      { requiredKeys: [] },
    )
    .map((body) => JSON.stringify(body)),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('', '[]', 'null', '['.repeat(100_000)),
);
const headers = fc.dictionary(
  fc.constantFrom('ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset', 'date', 'retry-after'),
  fc.oneof(fc.string(), fc.integer().map(String), fc.constantFrom('NaN', '1e999', '-1', 'Thu, 01 Jan 1970 00:00:00 GMT')),
);
const statuses = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(200, 201) },
  fc.constantFrom(401, 403, 404, 409, 422, 423, 429, 500, 504),
);
const answers: fc.Arbitrary<ProviderAnswer> = fc.record({ status: statuses, headers, body: bodies });

const NETCUP_TOKEN: ProviderAnswer = {
  status: 200,
  headers: {},
  body: JSON.stringify({
    access_token: `x.${Buffer.from('{"id":"555001"}').toString('base64url')}.y`,
    refresh_token: TOKEN,
    expires_in: 300,
    refresh_expires_in: 0,
  }),
};
const netcupServers = fc.record({ id: fc.oneof(fc.constant(ME), values), name: values, site: values }, { requiredKeys: ['id'] });
const netcupItems = fc.record(
  {
    id: fc.oneof({ weight: 4, arbitrary: fc.constant(7) }, values),
    ip: fc.oneof({ weight: 4, arbitrary: fc.constant(IP) }, values),
    server: fc.oneof(netcupServers, values),
    editable: values,
    site: fc.oneof(fc.record({ id: values, city: values }), values),
    uuid: fc.oneof(fc.constant('5b0e'), values),
    name: fc.oneof(fc.constant('RouteFailoverIpTask'), values),
    state: fc.oneof(fc.constantFrom('PENDING', 'RUNNING', 'FINISHED', 'ERROR', 'ROLLBACK', 'NEW'), values),
    responseError: values,
    mac: values,
  },
  { requiredKeys: [] },
);
const netcupAnswers: fc.Arbitrary<ProviderAnswer> = fc.record({
  status: fc.oneof({ weight: 6, arbitrary: fc.constantFrom(200, 202) }, statuses),
  headers,
  body: fc.oneof(
    { weight: 4, arbitrary: fc.array(netcupItems, { maxLength: 3 }).map((body) => JSON.stringify(body)) },
    { weight: 2, arbitrary: fc.oneof(netcupServers, netcupItems).map((body) => JSON.stringify(body)) },
    bodies,
  ),
});

/** A provider's API that gives these answers in turn, over and over. */
function provider(told: readonly ProviderAnswer[], clock: ManualClock): { provider: HcloudFloatingIp; calls: ProviderCall[] } {
  const calls: ProviderCall[] = [];
  const http = (call: ProviderCall): Promise<ProviderAnswer> => {
    if (call.signal.aborted) return Promise.reject(call.signal.reason as Error);
    calls.push(call);
    return Promise.resolve(told[(calls.length - 1) % told.length] ?? assert.fail());
  };
  const serverId = new HcloudServerId(http, {
    configured: ME,
    metadataEndpoint: 'http://x',
    providerId: () => Promise.reject(new Error('not asked')),
  });
  return { provider: new HcloudFloatingIp(new HcloudApi(http, 'http://x', new Secret(() => TOKEN), clock), serverId, [IP], clock), calls };
}

describe('whatever the provider answers', () => {
  test('preparing, reading the owner and claiming end in words that say how, and no claim is believed without a read of it', async (context) => {
    const property = fc.asyncProperty(fc.array(answers, { minLength: 1, maxLength: 6 }), async (told) => {
      const clock = new ManualClock();
      const { provider: floatingIp, calls } = provider(told, clock);
      const readiness = await floatingIp.prepare(never);
      assert.ok(readiness.reason.length < 5_000, 'a reason is short enough for a log line');
      const owner = await floatingIp.owner(IP, never);
      const shows = (server: number | null): boolean => told.some(({ body }) => body.includes(`"server":${server}`));
      if (owner.is === 'self') assert.ok(shows(ME));
      if (owner.is === 'nobody') assert.ok(shows(null), 'what does not say who the owner is does not say that there is none');
      const controller = new AbortController();
      clock.setTimer(30_000, () => controller.abort(new DeadlineExceeded(30_000)));
      const claim = floatingIp.claim(IP, { signal: controller.signal, isFirst: true, mayWrite: () => true });
      await clock.advance(31_000);
      const outcome = await claim;
      if (outcome.is === 'confirmed') assert.ok(shows(ME));
      if (outcome.is === 'failed') assert.ok(outcome.message.length < 5_000 && !outcome.message.includes(TOKEN));
      assert.ok(calls.length < 2_000, `${calls.length} calls in 30 s`);
    });
    await fuzz(context, property, 150);
  });

  test('of netcup, the same holds, and a server that it does not name is never this one', async (context) => {
    const property = fc.asyncProperty(fc.array(netcupAnswers, { minLength: 1, maxLength: 8 }), async (told) => {
      const clock = new ManualClock();
      let calls = 0;
      const http = (call: ProviderCall): Promise<ProviderAnswer> => {
        if (call.signal.aborted) return Promise.reject(call.signal.reason as Error);
        calls += 1;
        // Now and then it says who somebody is, or nothing would come after that.
        if (call.url.endsWith('/token') && calls % 3 !== 0) return Promise.resolve(NETCUP_TOKEN);
        return Promise.resolve(told[calls % told.length] ?? assert.fail());
      };
      const netcup = netcupProvider({ http, clock, env: { ADDRESSES: IP, NETCUP_REFRESH_TOKEN: TOKEN, NETCUP_SERVER_ID: String(ME) } });
      const readiness = await netcup.prepare(never);
      assert.ok(readiness.reason.length < 5_000 && !readiness.reason.includes(TOKEN));
      for (const { message } of await netcup.check(never)) assert.ok(message.length < 5_000 && !message.includes(TOKEN));
      const shows = (id: number): boolean => told.some(({ body }) => body.includes(`"id":${id}`));
      if ((await netcup.owner(IP, never)).is === 'self') assert.ok(shows(ME));
      const controller = new AbortController();
      clock.setTimer(30_000, () => controller.abort(new DeadlineExceeded(30_000)));
      const claim = netcup.claim(IP, { signal: controller.signal, isFirst: true, mayWrite: () => true });
      await clock.advance(31_000);
      const outcome = await claim;
      if (outcome.is === 'confirmed') assert.ok(shows(ME));
      if (outcome.is === 'failed') assert.ok(outcome.message.length < 5_000 && !outcome.message.includes(TOKEN));
      assert.ok(calls < 4_000, `${calls} calls in 30 s`);
    });
    await fuzz(context, property, 150);
  });

  test('a list whose pages never end is given up', async () => {
    let page = 0;
    const http = (): Promise<ProviderAnswer> => {
      page += 1;
      assert.ok(page < 10_000, 'the agent goes on asking for ever');
      return Promise.resolve({
        status: 200,
        headers: {},
        body: JSON.stringify({ things: [1], meta: { pagination: { next_page: page + 1 } } }),
      });
    };
    const api = new HcloudApi(http, 'http://x', new Secret(() => TOKEN), REAL_CLOCK);
    await assert.rejects(
      api.list('/things', 'things', (thing) => thing, never),
      (error) => error instanceof ProviderError && error.code === 'unavailable',
    );
  });

  test('an answer that is small on the wire and endless in memory is broken off', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    const server = await new HttpStandIn((_, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' });
      response.end(bomb);
      return null;
    }, null).listen();
    const call = { method: 'GET', url: server.url, operation: 'GET it', headers: {}, timeoutMs: 5_000, signal: never } as const;
    await assert.rejects(createProviderHttp(REAL_CLOCK, OUTBOUND)(call), /larger than/);
    await server.close();
  });

  test('a floating IP that makes no sense covers no address', () => {
    for (const nonsense of ['', IP + '/', `${IP}/0`, `${IP}/-1`, `${IP}/1e1`, `${IP}/33`, '::/0', '198.51.100', '0x7f000001'])
      for (const address of [IP, '2001:db8::1']) assert.equal(covers(nonsense, address), false, nonsense);
  });
});
