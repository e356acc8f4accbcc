/**
 * No login to Hetzner Robot comes out: neither the user nor the password nor both together as they are sent, whatever Robot says back.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { buildAgent } from '../../scripts/build.ts';
import { IP } from '../support/agent-world.ts';
import { eventually } from '../support/eventually.ts';
import type { Exchange, Fault } from '../support/http-stand-in.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { RobotStandIn } from '../support/robot-api.ts';
import { echoAtTheCut, echoOf, LeakRun } from './leak-run.ts';
import { apiToken, password } from './secrets.ts';
import { describeTraces, tracesOf } from './traces.ts';

const ME = '203.0.113.31';
const OTHER = '203.0.113.32';
const UNSET = { HCLOUD_TOKEN: undefined, HCLOUD_ENDPOINT: undefined, HCLOUD_METADATA_ENDPOINT: undefined };
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;

/** What says back, in every field that is read, what it was sent. */
function echo(exchange: Exchange, status: number, code: string): Fault {
  const said = `${echoAtTheCut(exchange, status)} ${echoOf(exchange)}`;
  const error = { status, code, message: said, missing: [said], invalid: { [said]: said }, max_request: said, interval: 1 };
  return {
    is: 'answer',
    status,
    body: { error },
    headers: { location: `https://x/?${encodeURIComponent(said)}`, 'www-authenticate': 'Basic' },
  };
}

describe('no login to Hetzner Robot comes out', needsNamespaces(), () => {
  let folder: string;
  let bundle: string;
  let robot: RobotStandIn;
  let run: LeakRun;
  let login: { user: string; password: string };

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-leak-robot-'));
    bundle = await buildAgent(join(folder, 'dist'));
  });
  after(() => rmSync(folder, { recursive: true }));
  beforeEach(async () => {
    login = { user: `#ws+${apiToken().slice(0, 16)}`, password: password() };
    const together = `${login.user}:${login.password}`;
    run = await LeakRun.open(bundle, {
      'the user': login.user,
      'the password': login.password,
      'both, as they are sent': Buffer.from(together).toString('base64'),
    });
    robot = await RobotStandIn.start({
      failovers: [{ ip: IP, active: OTHER }],
      servers: [
        { number: 1, name: 'node-a', ip: ME },
        { number: 2, name: 'node-b', ip: OTHER },
      ],
      switchMs: 50,
    });
    robot.logins.clear();
    robot.logins.set(login.user, login.password);
  });
  afterEach(async () => {
    await run.close();
    await robot.close();
  });

  const env = (level = 'trace'): Record<string, string | undefined> => ({
    ...UNSET,
    PROVIDER: 'hetzner-robot',
    ROBOT_USER: login.user,
    ROBOT_PASSWORD: login.password,
    ROBOT_ENDPOINT: robot.endpoint,
    ROBOT_SERVER_IP: ME,
    KUBECONFIG: run.kubeconfig({ token: 'kube-token' }),
    LOG_LEVEL: level,
  });

  function assertClean(): void {
    const sent = robot.http.exchanges.map(({ method, path, body, headers }) => {
      const others = Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'authorization'));
      return { from: 'a request to Robot', text: `${method} ${path} ${JSON.stringify(others)} ${body}` };
    });
    assert.ok(sent.length > 0 && robot.http.exchanges.every(({ headers }) => headers.authorization?.startsWith('Basic ') === true));
    const traces = tracesOf(run.planted, [...run.harvest(), ...sent]);
    assert.deepEqual(traces, [], describeTraces(traces));
  }

  for (const level of LEVELS) {
    test(`of an agent that is told back whatever it sends, at the level ${level}`, async () => {
      run.world.kube.tokens.clear();
      run.world.kube.tokens.set('kube-token', { may: () => true });
      const met = new Set<string>();
      robot.http.faultFor = (exchange) => {
        if (met.has(exchange.method)) return null;
        met.add(exchange.method);
        return echo(exchange, 403, 'RATE_LIMIT_EXCEEDED');
      };
      const { child, ended } = run.start('run', [], env(level));
      await run.untilRole('serving');
      await run.ask();
      if (level === 'trace') {
        robot.http.faultFor = (exchange) => echo(exchange, 401, 'UNAUTHORIZED');
        child.kill('SIGTERM');
        await run.untilRole('leaving');
        const before = robot.http.exchanges.length;
        await eventually('it has asked once more', () => robot.http.exchanges.length > before, 15_000);
        await run.ask();
      }
      child.kill('SIGKILL');
      await ended;
      assertClean();
      if (level === 'trace') assert.match(run.output, /\[secret\]/);
    });
  }

  test('of a check that is told back whatever it sends, and of one whose login is not accepted', async () => {
    for (const [status, code] of [
      [403, 'RATE_LIMIT_EXCEEDED'],
      [400, 'INVALID_INPUT'],
      [401, 'UNAUTHORIZED'],
      [404, 'NOT_FOUND_AT_ALL'],
      [503, 'x'],
    ] as const) {
      robot.http.faultFor = (exchange) => echo(exchange, status, code);
      await run.start('check', ['check'], env()).ended;
    }
    assertClean();
    assert.match(run.output, /\[secret\]/);
  });

  test('of files that are rotated while it runs, what is new and what was before', async () => {
    const [user, secret] = [join(folder, 'user'), join(folder, 'password')];
    writeFileSync(user, login.user);
    writeFileSync(secret, login.password);
    const files = { ROBOT_USER: undefined, ROBOT_PASSWORD: undefined, ROBOT_USER_FILE: user, ROBOT_PASSWORD_FILE: secret };
    const next = password();
    run.planted['the next password'] = next;
    robot.http.faultFor = (exchange) => {
      robot.http.faultFor = (later) => echo(later, 503, `was ${login.password}`);
      writeFileSync(secret, next);
      return echo(exchange, 401, 'UNAUTHORIZED');
    };
    await run.start('check', ['check'], { ...env(), ...files }).ended;
    assertClean();
    assert.match(run.output, /\[secret\]/);
  });
});
