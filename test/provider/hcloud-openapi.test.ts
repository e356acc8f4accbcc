/**
 * Our requests to the Hetzner Cloud API, and its stand-in's answers to them, against the API's own OpenAPI document.
 *
 * The document is no part of this repository: it lies beside it, in `../shared/openapi`, where it can be had.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { Provider } from '../../agent/ports.ts';
import { HcloudAliasIp } from '../../agent/provider/hcloud-alias-ip.ts';
import { HcloudApi } from '../../agent/provider/hcloud-api.ts';
import { HcloudFloatingIp } from '../../agent/provider/hcloud-floating-ip.ts';
import { HcloudServerId } from '../../agent/provider/hcloud-server-id.ts';
import { createProviderHttp } from '../../agent/provider/http.ts';
import type { ProviderAnswer, ProviderCall } from '../../agent/provider/http.ts';
import { Secret } from '../../agent/secret.ts';
import { HcloudNetworkStandIn, HcloudStandIn } from '../support/hcloud-api.ts';
import { cannotReadOpenApi, OpenApiContract } from '../support/openapi.ts';
import { OUTBOUND } from '../support/outbound.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';

const DOCUMENT = 'hetzner-cloud-hcloud.json';
const IP = '198.51.100.77';
const SIX = '2001:db8:7:9::1';
const ME = 9_100_202;
const OTHER = 9_100_201;
const never = new AbortController().signal;

describe('the OpenAPI document of Hetzner Cloud', { skip: cannotReadOpenApi(DOCUMENT) }, () => {
  let contract: OpenApiContract;
  let hcloud: HcloudStandIn;
  let checked: string[];

  before(() => {
    contract = new OpenApiContract(DOCUMENT, '/v1', ['datacenter']);
  });
  after(() => assert.ok(checked.length > 0));
  beforeEach(async () => {
    checked = [];
    hcloud = await HcloudStandIn.start({
      floatingIps: [
        { id: 1, ip: IP, server: OTHER },
        { id: 2, ip: '2001:db8:7:9::/64', blocked: true },
      ],
      servers: [ME, OTHER],
      actionMs: 20,
    });
  });
  afterEach(() => hcloud.close());

  const serverId = (): HcloudServerId =>
    new HcloudServerId(http, { configured: ME, metadataEndpoint: 'http://x', providerId: () => Promise.reject(new Error('not asked')) });

  /** Sends requests as the agent does, and checks each with its answer. */
  async function http(call: ProviderCall): Promise<ProviderAnswer> {
    const answer = await createProviderHttp(REAL_CLOCK, OUTBOUND)(call);
    contract.check(call, answer);
    checked.push(`${call.method} ${new URL(call.url).pathname.replace('/v1', '')} ${answer.status}`);
    return answer;
  }

  function provider(token = 'hcloud-token', address = IP): HcloudFloatingIp {
    const api = new HcloudApi(http, hcloud.endpoint, new Secret(() => token), REAL_CLOCK);
    return new HcloudFloatingIp(api, serverId(), [address], REAL_CLOCK);
  }

  const claim = async (from: Provider = provider(), address = IP): Promise<string> => {
    const outcome = await from.claim(address, { signal: never, isFirst: true, mayWrite: () => true });
    return outcome.is;
  };

  test('knows every request of a claim, and every answer to it', async () => {
    assert.equal((await provider().prepare(never)).is, 'ready');
    assert.equal(await claim(), 'confirmed');
    assert.equal(await claim(provider('hcloud-token', SIX), SIX), 'confirmed');
    assert.ok(checked.includes('POST /floating_ips/1/actions/assign 201'));
    assert.ok(checked.includes('GET /actions/880000000 200'));
  });

  test('knows an action that fails', async () => {
    hcloud.actionsEnd = 'error';
    const api = new HcloudApi(http, hcloud.endpoint, new Secret(() => 'hcloud-token'), REAL_CLOCK);
    const act = api.act('/floating_ips/1/actions/assign', { server: ME }, { signal: never, mayWrite: () => true });
    await assert.rejects(act, /action_failed/);
  });

  test('knows how an address is taken away before it is given', async () => {
    const api = new HcloudApi(http, hcloud.endpoint, new Secret(() => 'hcloud-token'), REAL_CLOCK);
    await api.act('/floating_ips/1/actions/unassign', {}, { signal: never, mayWrite: () => true });
    assert.equal(hcloud.ownerOf(IP), null);
    assert.deepEqual(await provider().owner(IP, never), { is: 'nobody' });
  });

  for (const [what, status, provoke] of [
    ['a token that is not known', 401, (): Promise<unknown> => ask('GET', '/floating_ips', 'wrong')],
    ['a token that may only read', 401, (): Promise<unknown> => ask('POST', '/floating_ips/1/actions/assign', 'reader', { server: ME })],
    ['a floating IP that does not exist', 404, (): Promise<unknown> => ask('GET', '/floating_ips/99')],
    [
      'a server that does not exist',
      422,
      (): Promise<unknown> => ask('POST', '/floating_ips/1/actions/assign', 'hcloud-token', { server: 7 }),
    ],
    ['an action that does not exist', 404, (): Promise<unknown> => ask('GET', '/actions/5')],
    ['too many requests', 429, (): Promise<unknown> => ((hcloud.remaining = 1), ask('GET', '/floating_ips'))],
    [
      'an address that is locked',
      423,
      (): Promise<unknown> => (hcloud.beginAssign(1, ME), ask('POST', '/floating_ips/1/actions/unassign', 'hcloud-token', {})),
    ],
  ] as const) {
    test(`knows the answer to ${what}`, async () => {
      hcloud.tokens.set('reader', 'read-only');
      await provoke();
      assert.ok(checked[0]?.endsWith(` ${status}`), checked[0]);
    });
  }

  describe('on private networks', () => {
    const ALIAS = '10.20.0.50';
    let networks: HcloudNetworkStandIn;

    beforeEach(async () => {
      const attached = (
        host: number,
        aliases: readonly string[],
      ): { network: number; ip: string; mac: string; aliases: readonly string[] } => ({
        network: 47_001,
        ip: `10.20.0.${host}`,
        mac: `86:00:00:aa:bb:${host}`,
        aliases,
      });
      networks = await HcloudNetworkStandIn.start({
        networks: [{ id: 47_001, name: 'prod', range: '10.20.0.0/16', subnets: [{ range: '10.20.0.0/24', gateway: '10.20.0.1' }] }],
        servers: [
          { id: ME, name: 'edge-b', attachments: [attached(12, [])] },
          { id: OTHER, name: 'edge-a', attachments: [attached(11, [ALIAS])] },
        ],
        actionMs: 20,
      });
    });
    afterEach(() => networks.ports.close());

    test('knows every request of a claim, and every answer to it', async () => {
      const api = new HcloudApi(http, networks.ports.endpoint, new Secret(() => 'hcloud-token'), REAL_CLOCK);
      const aliasIp = new HcloudAliasIp(api, serverId(), 'prod', [ALIAS], REAL_CLOCK);
      assert.equal((await aliasIp.prepare(never)).is, 'ready');
      assert.equal((await aliasIp.owner(ALIAS, never)).is, 'other');
      assert.equal(await claim(aliasIp, ALIAS), 'confirmed');
      assert.equal(await claim(aliasIp, ALIAS), 'confirmed');
      for (const request of [
        'GET /networks 200',
        'GET /servers 200',
        `GET /servers/${ME} 200`,
        `GET /servers/${ME}/actions 200`,
        `POST /servers/${OTHER}/actions/change_alias_ips 201`,
        `POST /servers/${ME}/actions/change_alias_ips 201`,
        'GET /actions/880000001 200',
      ])
        assert.ok(checked.includes(request), `${request}: ${checked.join(', ')}`);
    });

    for (const [what, status, path, json] of [
      ['a network that the server is not in', 422, `/servers/${ME}/actions/change_alias_ips`, { network: 5, alias_ips: [] }],
      ['an address outside the subnets', 422, `/servers/${ME}/actions/change_alias_ips`, { network: 47_001, alias_ips: ['192.0.2.1'] }],
      ['an address that another server has', 422, `/servers/${ME}/actions/change_alias_ips`, { network: 47_001, alias_ips: [ALIAS] }],
      ['an own address of a server', 422, `/servers/${ME}/actions/change_alias_ips`, { network: 47_001, alias_ips: ['10.20.0.11'] }],
      ['a server that does not exist', 404, '/servers/7/actions/change_alias_ips', { network: 47_001, alias_ips: [] }],
    ] as const) {
      test(`knows the answer to ${what}`, async () => {
        await ask('POST', path, 'hcloud-token', json, networks.ports.endpoint);
        assert.ok(checked[0]?.endsWith(` ${status}`), checked[0]);
      });
    }

    test('knows the answer to a server that is locked', async () => {
      networks.actionMs = 60_000;
      networks.beginChange(OTHER, []);
      await ask(
        'POST',
        `/servers/${OTHER}/actions/change_alias_ips`,
        'hcloud-token',
        { network: 47_001, alias_ips: [] },
        networks.ports.endpoint,
      );
      assert.ok(checked[0]?.endsWith(' 423'), checked[0]);
    });
  });

  async function ask(
    method: 'GET' | 'POST',
    path: string,
    token = 'hcloud-token',
    json?: Record<string, unknown>,
    endpoint = hcloud.endpoint,
  ): Promise<unknown> {
    const headers = { authorization: `Bearer ${token}` };
    return await http({
      method,
      url: endpoint + path,
      operation: 'whatever',
      headers,
      timeoutMs: 5_000,
      signal: never,
      ...(json === undefined ? {} : { json }),
    });
  }
});
