/**
 * Our requests to netcup's API, and its stand-in's answers to them, against the API's own OpenAPI document.
 *
 * What the document does not have is not checked: the answers 401 and 403, and the OpenID Connect endpoints.
 */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { Provider } from '../../agent/ports.ts';
import type { ProviderAnswer, ProviderCall } from '../../agent/provider/http.ts';
import { NetcupModel } from '../support/netcup-model.ts';
import type { NetcupOptions } from '../support/netcup-model.ts';
import { ENDPOINT, httpTo, netcupProvider } from '../support/netcup-provider.ts';
import { cannotReadOpenApi, OpenApiContract } from '../support/openapi.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';

const DOCUMENT = 'netcup-scp-rest.json';
const IP = '203.0.113.10';
const SIX = '2001:db8:f00:1::1';
const ME = { id: 111_004, name: 'v2202601000000000011', ip: '198.51.100.12', mac: '02:00:00:00:00:0b', network: '2001:db8:5::' };
const ELSEWHERE = {
  id: 111_005,
  name: 'v2202601000000000012',
  ip: '198.51.100.13',
  mac: '02:00:00:00:00:0c',
  site: { id: 5, city: 'Vienna' },
};
const never = new AbortController().signal;

describe('the OpenAPI document of netcup', { skip: cannotReadOpenApi(DOCUMENT) }, () => {
  const contract = new OpenApiContract(DOCUMENT, '/scp-core');
  let model: NetcupModel;
  let checked: string[];

  function start(options: Partial<NetcupOptions> = {}): void {
    checked = [];
    const failoverIps = [
      { id: 1, ip: IP, server: ELSEWHERE.id },
      { id: 2, ip: '2001:db8:f00:1::/64' },
    ];
    model = new NetcupModel({ failoverIps, servers: [ME, ELSEWHERE], ...options }, REAL_CLOCK);
  }
  beforeEach(() => start());

  /** Sends requests as the agent does, and checks each with its answer. */
  async function http(call: ProviderCall): Promise<ProviderAnswer> {
    const answer = await httpTo(model)(call);
    if (!call.url.startsWith(ENDPOINT)) return answer;
    contract.check(call, answer);
    checked.push(`${call.operation} ${answer.status}`);
    return answer;
  }

  const provider = (env: Readonly<Record<string, string>> = {}): Provider =>
    netcupProvider({
      http,
      env: { ADDRESSES: `${IP},${SIX}`, ...env },
      host: { interfaces: () => [{ name: 'eth0', mac: ME.mac, addresses: [ME.ip] }] },
    });

  const claim = async (from: Provider, address: string): Promise<string> =>
    (await from.claim(address, { signal: never, isFirst: true, mayWrite: () => true })).is;

  test('knows every request of a claim, and every answer to it', async () => {
    const own = provider();
    assert.equal((await own.prepare(never)).is, 'ready');
    model.beginRoute(IP, ELSEWHERE.id, 20);
    model.moveMs = 20;
    for (const address of [IP, SIX]) assert.equal(await claim(own, address), 'confirmed');
    for (const family of ['v4', 'v6']) assert.ok(checked.includes(`PATCH /api/v1/users/{userId}/failoverips/${family}/{id} 202`));
    for (const read of ['tasks', 'tasks/{uuid}', 'servers', 'servers/{serverId}', 'servers/{serverId}/interfaces'])
      assert.ok(checked.includes(`GET /api/v1/${read} 200`), read);
  });

  test('knows how a server is found by its name, and by its address', async () => {
    assert.equal((await provider({ NETCUP_SERVER_NAME: ME.name }).prepare(never)).is, 'ready');
    start({ servers: [{ ...ME, mac: '02:00:00:00:00:ff' }] });
    assert.equal((await provider().prepare(never)).is, 'ready');
  });

  test('knows a task that fails', async () => {
    model.tasksEnd = 'ERROR';
    const controller = new AbortController();
    const outcome = provider().claim(IP, { signal: controller.signal, isFirst: true, mayWrite: () => true });
    setTimeout(() => controller.abort(new Error('enough')), 500);
    await outcome;
    assert.ok(checked.includes('GET /api/v1/tasks/{uuid} 200'));
  });

  test('knows the refusal of a server at another site, of a server that is not there, and of one move too many', async () => {
    const own = provider();
    await own.prepare(never);
    const access = await httpTo(model)({
      method: 'POST',
      url: `${ENDPOINT.replace('/scp-core', '')}/realms/scp/protocol/openid-connect/token`,
      operation: 'x',
      headers: {},
      form: { client_id: 'scp', grant_type: 'refresh_token', refresh_token: 'netcup-refresh-token' },
      timeoutMs: 1_000,
      signal: never,
    });
    const { access_token: token } = JSON.parse(access.body) as { access_token: string };
    const ask = async (method: 'GET' | 'PATCH', path: string, json?: Record<string, unknown>): Promise<number> => {
      const call = { method, url: `${ENDPOINT}/api/v1${path}`, operation: `${method} ${path}`, timeoutMs: 1_000, signal: never };
      return (await http({ ...call, headers: { authorization: `Bearer ${token}` }, ...(json === undefined ? {} : { json }) })).status;
    };
    const route = '/users/555001/failoverips/v4/1';
    assert.equal(await ask('PATCH', route, { serverId: ELSEWHERE.id }), 400);
    assert.equal(await ask('PATCH', route, { serverId: 7 }), 404);
    assert.equal(await ask('PATCH', '/users/555001/failoverips/v4/77', { serverId: ME.id }), 404);
    assert.equal(await ask('GET', '/servers/7'), 404);
    assert.equal(await ask('GET', '/tasks/0000'), 404);
    for (let move = 0; move < 10; move += 1) assert.equal(await ask('PATCH', route, { serverId: ME.id }), 202);
    assert.equal(await ask('PATCH', route, { serverId: ME.id }), 429);
  });
});
