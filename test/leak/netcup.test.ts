/**
 * No secret of netcup comes out: neither the refresh token, nor those that take its place, nor the access tokens that come of them.
 *
 * As in leak.test.ts, whose searches these are: real agents, among servers that say back whatever they are told.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { buildAgent } from '../../scripts/build.ts';
import { IP } from '../support/agent-world.ts';
import { eventually } from '../support/eventually.ts';
import type { Exchange, Fault } from '../support/http-stand-in.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { isAboutTokens, NetcupStandIn } from '../support/netcup-api.ts';
import { echoAtTheCut, echoOf, LeakRun } from './leak-run.ts';
import { serviceAccountToken } from './secrets.ts';
import { describeTraces, tracesOf } from './traces.ts';
import type { Harvested } from './traces.ts';

const SERVER = { id: 111_004, name: 'v2202601000000000011', ip: '198.51.100.12', mac: '02:00:00:00:00:0b' };
const OTHER = { id: 111_003, name: 'v2202601000000000010', ip: '198.51.100.11', mac: '02:00:00:00:00:0a' };
/** Each level writes what the next one does, and more. */
const CASES = [
  ['trace', 'json', 'in a file'],
  ['debug', 'pretty', 'in a variable'],
  ['warn', 'json', 'in a file'],
  ['fatal', 'pretty', 'in a variable'],
] as const;

interface Stage {
  readonly leak: LeakRun;
  readonly netcup: NetcupStandIn;
  readonly refreshToken: string;
  /** The settings of an agent that uses it. */
  readonly env: Record<string, string | undefined>;
}

let folder: string;
let bundle: string;

async function withStage(work: (stage: Stage) => Promise<void>): Promise<void> {
  const refreshToken = serviceAccountToken();
  const kubeToken = serviceAccountToken();
  const leak = await LeakRun.open(bundle, { 'the refresh token': refreshToken, 'the Kubernetes token': kubeToken });
  leak.world.kube.tokens.clear();
  leak.world.kube.tokens.set(kubeToken, { may: () => true });
  const netcup = await NetcupStandIn.start({
    failoverIps: [{ id: 7_781, ip: IP, server: OTHER.id }],
    servers: [SERVER, OTHER],
    moveMs: 20,
    signature: () => randomBytes(256).toString('base64url'),
  });
  netcup.identity.refreshTokens.clear();
  netcup.identity.refreshTokens.add(refreshToken);
  const env = {
    PROVIDER: 'netcup',
    NETCUP_ENDPOINT: netcup.endpoint,
    NETCUP_AUTH_ENDPOINT: netcup.authEndpoint,
    NETCUP_SERVER_NAME: SERVER.name,
    NETCUP_REFRESH_TOKEN: refreshToken,
    KUBECONFIG: leak.kubeconfig({ token: kubeToken }),
    HCLOUD_ENDPOINT: undefined,
    HCLOUD_METADATA_ENDPOINT: undefined,
    VERIFY_INTERVAL: '5s',
  };
  try {
    await work({ leak, netcup, refreshToken, env });
  } finally {
    await netcup.close();
    await leak.close();
  }
}

/** What was sent to prove who sends it: an access token, or the refresh token in a form. */
function credentialIn({ headers, body }: Exchange): string {
  return (headers.authorization ?? '').replace(/^Bearer /, '') || (new URLSearchParams(body).get('refresh_token') ?? '');
}

/** One answer after the other that says back what was sent, then none any more. */
function echoing(statuses: readonly number[], isMeant: (exchange: Exchange) => boolean): (exchange: Exchange) => Fault | null {
  let index = 0;
  return (exchange) => {
    const status = isMeant(exchange) ? statuses[index] : undefined;
    if (status === undefined) return null;
    index += 1;
    const proved = { ...exchange, headers: { ...exchange.headers, authorization: `Bearer ${credentialIn(exchange)}` } };
    const said = echoAtTheCut(proved, index + 3);
    const body = {
      code: said,
      message: said,
      errors: [{ field: said, message: echoOf(proved) }],
      error: status === 400 ? 'invalid_grant' : said,
      error_description: echoOf(proved),
    };
    return {
      is: 'answer',
      status,
      body: index % 4 === 3 ? said : body,
      headers: { 'retry-after': credentialIn(exchange), location: said },
    };
  };
}

const isRead = ({ method }: Exchange): boolean => method === 'GET';
const isWrite = ({ method }: Exchange): boolean => method === 'PATCH';

/** Fails with every place where a secret has come out, of those that were given out, too. */
function assertClean({ leak, netcup }: Stage, harvest: readonly Harvested[] = leak.harvest()): void {
  const used = netcup.http.exchanges.map(credentialIn).filter((credential) => credential !== '');
  const tokens = [...new Set([...used, ...netcup.identity.given])];
  const planted = { ...leak.planted, ...Object.fromEntries(tokens.map((token, index) => [`token ${index + 1}`, token])) };
  const sent = netcup.http.exchanges.filter((exchange) => !isAboutTokens(exchange));
  const requests = sent.map(({ method, path, body, headers }) => {
    const others = Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'authorization'));
    return { from: 'a request to netcup', text: `${method} ${path} ${JSON.stringify(others)} ${body}` };
  });
  const traces = tracesOf(planted, [...harvest, ...requests]);
  assert.equal(traces.length, 0, `\n${describeTraces(traces)}`);
  assert.ok(tokens.length > 2, 'there were some to be found');
}

function assertCame({ leak }: Stage, from: RegExp, what: RegExp): void {
  const found = leak.harvest().some((each) => from.test(each.from) && what.test(each.text));
  assert.ok(found, `nothing like ${String(what)} came out at ${String(from)}\n${leak.output.slice(-3_000)}`);
}

/** Becomes the holder among echoes, and goes on while tokens are replaced. */
async function live(stage: Stage): Promise<void> {
  const { leak, netcup, refreshToken, env } = stage;
  netcup.identity.atUse = 'replaced';
  netcup.identity.accessMs = 2_000;
  const toLogins = echoing([503], isAboutTokens);
  const toReads = echoing([401, 500], isRead);
  const toWrites = echoing([503, 500], isWrite);
  netcup.http.faultFor = (exchange) => toLogins(exchange) ?? toReads(exchange) ?? toWrites(exchange);
  const { child, ended } = leak.start('run', [], env);
  await eventually('it has asked', () => netcup.http.exchanges.length > 2);
  await leak.ask();
  await leak.untilRole('serving');
  await eventually('tokens were replaced', () => netcup.identity.given.length > 3);
  // Somebody says back the first of all, which may still be good elsewhere.
  netcup.http.faultFor = (exchange) =>
    isRead(exchange) ? { is: 'answer', status: 500, body: { message: `${echoOf(exchange)} or ${refreshToken}` } } : null;
  const asked = netcup.http.exchanges.length;
  await eventually('it was said', () => netcup.http.exchanges.length > asked, 20_000);
  await leak.ask();
  child.kill('SIGKILL');
  await ended;
}

describe('no secret of netcup comes out', needsNamespaces(), () => {
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-leak-netcup-'));
    bundle = await buildAgent(join(folder, 'dist'));
  });
  after(() => rmSync(folder, { recursive: true }));

  describe('of an agent that is told back whatever it sends', () => {
    for (const [level, format, place] of CASES) {
      test(`at the level ${level}, as ${format}, with the refresh token ${place}`, async () => {
        await withStage(async (stage) => {
          const { leak, netcup, refreshToken, env } = stage;
          const path = join(leak.world.folder, 'netcup-token');
          writeFileSync(path, refreshToken);
          Object.assign(env, { LOG_LEVEL: level, LOG_FORMAT: format });
          if (place === 'in a file') Object.assign(env, { NETCUP_REFRESH_TOKEN: undefined, NETCUP_REFRESH_TOKEN_FILE: path });
          await live(stage);
          assertClean(stage);
          assertCame(stage, /^http \/status$/, /\[secret\]/);
          if (level !== 'fatal') assertCame(stage, /^stdout of run$/, /\[secret\]/);
          if (place === 'in a file') assert.ok(netcup.identity.given.includes(readFileSync(path, 'utf8').trim()), 'it was written back');
          else assertCame(stage, /^http \/status$/, /netcup has replaced the refresh token, and the new one could not be written/);
        });
      });
    }
  });

  for (const args of [['check'], ['check', '--output', 'json']]) {
    test(`of "${args.join(' ')}" among servers that say back what they are told`, async () => {
      await withStage(async (stage) => {
        const { leak, netcup, env } = stage;
        netcup.identity.atUse = 'replaced';
        for (const statuses of [[400], [200, 401, 403], [200, 500, 422]]) {
          const echo = echoing(statuses, () => true);
          netcup.http.faultFor = (exchange) => {
            const fault = echo(exchange);
            return fault?.is === 'answer' && fault.status !== 200 ? fault : null;
          };
          await leak.start('check', args, env).ended;
        }
        assertClean(stage);
        assertCame(stage, /^stdout of check$/, /\[secret\]/);
      });
    });
  }

  test('of "netcup-login", but on standard output, where it belongs', async () => {
    await withStage(async (stage) => {
      const { leak, netcup, env } = stage;
      netcup.identity.deviceIntervalMs = 1_000;
      const login = (): ReturnType<LeakRun['start']> =>
        leak.start('netcup-login', ['netcup-login'], { ...env, NETCUP_REFRESH_TOKEN: undefined });
      const first = login();
      await eventually('it shows a code', () => /The code is \S+/.test(leak.output));
      netcup.identity.decide(/The code is (QWER-TY\d+)/.exec(leak.output)?.[1] ?? '', 'approved');
      assert.equal(await first.ended, 0);
      netcup.http.faultFor = (exchange) => {
        const code = new URLSearchParams(exchange.body).get('device_code');
        const description = `you sent ${code ?? ''} ${encodeURIComponent(code ?? '')}`;
        return code === null ? null : { is: 'answer', status: 400, body: { error: 'invalid_grant', error_description: description } };
      };
      assert.equal(await login().ended, 69);
      const codes = netcup.http.exchanges
        .map(({ body }) => new URLSearchParams(body).get('device_code') ?? '')
        .filter((code) => code !== '');
      const planted = Object.fromEntries([...codes, ...netcup.identity.given].map((secret, index) => [`secret ${index + 1}`, secret]));
      assert.ok(Object.keys(planted).length >= 3);
      const [on, beside] = [/^stdout of netcup-login$/, /^std(err|out) of netcup-login$/];
      const harvest = leak.harvest().filter(({ from }) => !on.test(from));
      const traces = tracesOf(planted, harvest);
      assert.equal(traces.length, 0, `\n${describeTraces(traces)}`);
      assertCame(stage, on, /kind: Secret/);
      assertCame(stage, beside, /you sent \[secret\] \[secret\]/);
    });
  });
});
