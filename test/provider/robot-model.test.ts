/**
 * Whether the stand-in for Robot behaves as its documentation says. There is no machine-readable description to compare it with.
 */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { Answer } from '../support/http-stand-in.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { PASSWORD, USER } from '../support/robot-api.ts';
import { LIMITS, RobotModel } from '../support/robot-model.ts';
import type { RobotRequest } from '../support/robot-model.ts';

const IP = '198.51.100.200';
const ONE = { number: 1, ip: '203.0.113.31', ipv6Net: '2001:db8:31::' };
const TWO = { number: 2, ip: '203.0.113.32', ipv6Net: '2001:db8:32::' };
const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

const login = (password: string): { authorization: string } => ({
  authorization: `Basic ${Buffer.from(`${USER}:${password}`).toString('base64')}`,
});

let clock: ManualClock;
let robot: RobotModel;

beforeEach(() => {
  clock = new ManualClock();
  robot = new RobotModel(
    { failovers: [{ ip: IP, active: ONE.ip }, { ip: '2001:db8:ff31::' }], servers: [ONE, TWO], switchMs: 50_000 },
    clock,
  );
});

function ask(method: string, path: string, more: Partial<RobotRequest> = {}): Answer | Promise<Answer> {
  const headers = { ...login(PASSWORD), ...more.headers };
  return robot.handle({ method, path, body: '', from: '203.0.113.31', ...more, headers });
}

const post = (active: string, ip = IP): Answer | Promise<Answer> =>
  ask('POST', `/failover/${ip}`, { headers: FORM, body: `active_server_ip=${encodeURIComponent(active)}` });

async function codeOf(answer: Answer | Promise<Answer>): Promise<string> {
  const { status, body } = await answer;
  return `${status} ${(body as { error?: { code: string } }).error?.code ?? 'ok'}`;
}

describe('the stand-in for Robot', () => {
  test('answers a switch when it has ended, and moves it then', async () => {
    let answer: Answer | null = null;
    void Promise.resolve(post(TWO.ip)).then((each) => (answer = each));
    await clock.advance(49_000);
    assert.deepEqual([answer, robot.activeOf(IP)], [null, ONE.ip]);
    await clock.advance(1_000);
    assert.equal((answer as unknown as Answer).status, 200);
    assert.equal(robot.activeOf(IP), TWO.ip);
  });

  test('turns a second switch away while one is under way, for whatever target', async () => {
    void post(TWO.ip);
    assert.equal(await codeOf(post(TWO.ip)), '409 FAILOVER_LOCKED');
    assert.equal(await codeOf(post(ONE.ip)), '409 FAILOVER_LOCKED');
    await clock.advance(50_000);
    assert.equal(await codeOf(post(TWO.ip)), '409 FAILOVER_ALREADY_ROUTED');
  });

  test('finds nothing in a body that is no form', async () => {
    const json = ask('POST', `/failover/${IP}`, {
      headers: { 'content-type': 'application/json' },
      body: '{"active_server_ip":"203.0.113.32"}',
    });
    const { status, body } = await json;
    assert.equal(status, 400);
    assert.deepEqual(body, {
      error: { status: 400, code: 'INVALID_INPUT', message: 'invalid input', missing: ['active_server_ip'], invalid: null },
    });
    assert.equal(await codeOf(post('nonsense')), '400 INVALID_INPUT');
  });

  test('takes only main addresses of the account, and for an IPv6 net only main nets', async () => {
    assert.equal(await codeOf(post('203.0.113.77')), '404 FAILOVER_NEW_SERVER_NOT_FOUND');
    assert.equal(await codeOf(post(TWO.ip, '2001:db8:ff31::')), '404 FAILOVER_NEW_SERVER_NOT_FOUND');
    const moved = codeOf(post(TWO.ipv6Net, '2001%3Adb8%3Aff31%3A%3A'));
    await clock.advance(50_000);
    assert.equal(await moved, '200 ok');
  });

  test('wraps each failover, and has null for one that is routed nowhere', async () => {
    const { body } = await ask('GET', '/failover');
    assert.deepEqual(body, [
      {
        failover: {
          ip: IP,
          netmask: '255.255.255.255',
          server_ip: ONE.ip,
          server_ipv6_net: ONE.ipv6Net,
          server_number: 1,
          active_server_ip: ONE.ip,
        },
      },
      {
        failover: {
          ip: '2001:db8:ff31::',
          netmask: 'ffff:ffff:ffff:ffff::',
          server_ip: ONE.ip,
          server_ipv6_net: ONE.ipv6Net,
          server_number: 1,
          active_server_ip: null,
        },
      },
    ]);
    assert.equal(await codeOf(ask('GET', '/failover/198.51.100.1')), '404 NOT_FOUND');
    robot = new RobotModel({ failovers: [], servers: [] }, clock);
    assert.equal(await codeOf(ask('GET', '/failover')), '404 NOT_FOUND');
  });

  test('blocks an address for ten minutes at the third wrong login in a row, and no other one', async () => {
    const wrong = (): Promise<string> => codeOf(ask('GET', '/failover', { headers: login('wrong') }));
    for (let strike = 0; strike < 2; strike += 1) assert.equal(await wrong(), '401 UNAUTHORIZED');
    assert.equal(await codeOf(ask('GET', '/failover')), '200 ok');
    for (let strike = 0; strike < 3; strike += 1) await wrong();
    assert.equal(await codeOf(ask('GET', '/failover')), '401 UNAUTHORIZED');
    assert.equal(await codeOf(ask('GET', '/failover', { from: '203.0.113.32' })), '200 ok');
    await clock.advance(600_000);
    assert.equal(await codeOf(ask('GET', '/failover')), '200 ok');
  });

  test('grants so many requests of each kind an hour', async () => {
    for (let count = 0; count < LIMITS['GET /failover/{ip}']; count += 1)
      assert.equal(await codeOf(ask('GET', `/failover/${IP}`)), '200 ok');
    const { status, body } = await ask('GET', `/failover/${IP}`);
    assert.equal(status, 403);
    assert.deepEqual(body, {
      error: { status: 403, code: 'RATE_LIMIT_EXCEEDED', message: 'rate limit exceeded', max_request: 100, interval: 3_600 },
    });
    assert.equal(await codeOf(ask('GET', '/failover')), '200 ok');
    await clock.advance(3_600_000);
    assert.equal(await codeOf(ask('GET', `/failover/${IP}`)), '200 ok');
  });
});
