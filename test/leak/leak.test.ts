/**
 * No secret comes out, wherever it was planted and whatever befalls the agent.
 *
 * Each scenario plants secrets that were drawn for it, lets servers say back what they were sent, and searches everything that
 * came out. What should be there, too, is looked for as well, so that nothing is called clean because nobody listened.
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { SCHEMA } from '../../agent/config/schema.ts';
import type { SettingDefinition } from '../../agent/config/schema.ts';
import { SERVICE_ACCOUNT_FOLDER } from '../../agent/kube/credentials.ts';
import { eventsPath } from '../../agent/kube/events.ts';
import { buildAgent } from '../../scripts/build.ts';
import { selfSigned } from '../support/certificate.ts';
import { eventually } from '../support/eventually.ts';
import type { Exchange, Fault } from '../support/http-stand-in.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { IP, OTHER_SERVER } from '../support/agent-world.ts';
import { echoAtTheCut, echoOf, LeakRun } from './leak-run.ts';
import { apiToken, password, serviceAccountToken } from './secrets.ts';
import { describeTraces, tracesOf } from './traces.ts';
import type { Planted } from './traces.ts';

/** The commands of the program: whoever adds one adds it here (netcup-login is in netcup.test.ts). `ends`: it does so by itself. */
interface CommandToTry {
  readonly name: string;
  readonly args: readonly string[];
  /** Whether it ends by itself. */
  readonly ends: boolean;
  /** Whether it needs the settings of an agent. */
  readonly readsSettings: boolean;
}

const COMMANDS: readonly CommandToTry[] = [
  { name: 'run', args: [], ends: false, readsSettings: true },
  { name: 'check', args: ['check'], ends: true, readsSettings: true },
  { name: 'check --output json', args: ['check', '--output', 'json'], ends: true, readsSettings: true },
  { name: 'status', args: ['status'], ends: true, readsSettings: false },
  { name: 'status --output json', args: ['status', '--output', 'json'], ends: true, readsSettings: false },
  { name: 'step-down', args: ['step-down', '--timeout', '1s'], ends: true, readsSettings: false },
];

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
const FORMATS = ['json', 'pretty'] as const;
const MANY_COMMANDS_MS = 20_000;
const AT_A_TIME = 3;

let folder: string;
let bundle: string;
let run: LeakRun | null = null;

/** Fails with every place where a secret has come out. */
function assertClean(of: LeakRun): void {
  const traces = tracesOf(of.planted, of.harvest());
  assert.equal(traces.length, 0, `\n${describeTraces(traces)}`);
}

/** That something has come out where it should, so that this place was searched. */
function assertCame(of: LeakRun, from: RegExp, what: RegExp): void {
  const found = of.harvest().some((each) => from.test(each.from) && what.test(each.text));
  assert.ok(found, `nothing like ${String(what)} came out at ${String(from)}\n${of.output.slice(-3_000)}`);
}

async function open(planted: Planted = {}): Promise<LeakRun> {
  const token = apiToken();
  const kubeToken = serviceAccountToken();
  run = await LeakRun.open(bundle, {
    'the API token': token,
    'the Kubernetes token': kubeToken,
    'the key of a probe': apiToken(),
    ...planted,
  });
  run.world.hcloud.tokens.clear();
  run.world.hcloud.tokens.set(token, 'read-write');
  run.world.kube.tokens.clear();
  run.world.kube.tokens.set(kubeToken, { may: () => true });
  return run;
}

const secretOf = (of: LeakRun, name: string): string => of.planted[name] ?? assert.fail(`no ${name}`);

/** What an agent is told in most scenarios: a token in a variable, another in a kubeconfig, a key in the URL of a probe. */
function usual(of: LeakRun): Record<string, string> {
  return {
    HCLOUD_TOKEN: secretOf(of, 'the API token'),
    KUBECONFIG: of.kubeconfig({ token: secretOf(of, 'the Kubernetes token') }),
    PROBES: `${of.probed.url}/healthz?key=${secretOf(of, 'the key of a probe')}#interval=50ms&fall=1&expect=200`,
  };
}

/** Starts a program that sees a folder in the place of a service account's, which other tests use, too. */
const seeing = (account: string): string[] => {
  const script =
    'mkdir -p /run/secrets && mount -t tmpfs tmpfs /run/secrets && mkdir -p "$1" && mount --bind "$0" "$1" && shift && exec "$@"';
  return ['unshare', '--mount', 'sh', '-c', script, account, SERVICE_ACCOUNT_FOLDER];
};

/** Odd values wherever a header is read. */
const oddHeaders = (exchange: Exchange): Record<string, string> => {
  const credential = (exchange.headers.authorization ?? '').replace(/^\w+ /, '');
  return Object.fromEntries(
    ['retry-after', 'ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset', 'www-authenticate', 'warning'].map((name) => [
      name,
      credential,
    ]),
  );
};

/** One answer after the other that says back what was sent, then none any more. */
function echoing(statuses: readonly number[], of: LeakRun, isMeant: (exchange: Exchange) => boolean): (exchange: Exchange) => Fault | null {
  let index = 0;
  return (exchange) => {
    const status = isMeant(exchange) ? statuses[index] : undefined;
    if (status === undefined) return null;
    index += 1;
    const said = echoAtTheCut(exchange, index + 3);
    const body = {
      kind: 'Status',
      message: said,
      reason: echoOf(exchange),
      details: { name: said, causes: [{ field: said }] },
      error: {
        code: ['invalid_input', said, 'maintenance'][index % 3],
        message: said,
        details: { fields: [{ name: said }], announcement: said },
      },
    };
    const isText = index % 5 === 4;
    const location = `${of.trap.url}/${encodeURIComponent(said)}`;
    return { is: 'answer', status, body: isText ? said : body, headers: { ...oddHeaders(exchange), location } };
  };
}

const isRead = ({ method }: Exchange): boolean => method === 'GET';
const isWrite = ({ method }: Exchange): boolean => method !== 'GET';
const isAboutEvents = ({ path }: Exchange): boolean => path.startsWith(eventsPath('default'));
const isWatch = ({ path }: Exchange): boolean => path.includes('fieldSelector');
const isAboutTheLease = ({ path }: Exchange): boolean => path.includes('/leases');

/** A term from beginning to end, with everything saying back what it was sent, as often as it can be survived. */
async function liveAmongEchoes(of: LeakRun, env: Record<string, string>): Promise<void> {
  const { kube, hcloud } = of.world;
  hcloud.http.faultFor = echoing([401], of, isRead);
  hcloud.metadata.failNext({ is: 'answer', status: 200, body: secretOf(of, 'the API token') });
  kube.nodes.set('node-a', `hcloud://${secretOf(of, 'the API token')}`);
  const toTheWatch = echoing([403, 401, 500], of, isWatch);
  const toReads = echoing([500, 307, 401, 404, 503], of, (exchange) => isAboutTheLease(exchange) && !isWatch(exchange));
  kube.http.faultFor = (exchange) => toTheWatch(exchange) ?? toReads(exchange);
  const { child, ended } = of.start('run', [], env);
  await eventually('it has asked', () => hcloud.http.exchanges.length > 0 && kube.http.exchanges.length > 8);
  await of.ask();
  hcloud.http.faultFor = echoing([503, 500], of, isWrite);
  kube.http.faultFor = echoing([422, 500], of, isAboutEvents);
  await of.untilRole('serving');

  // The owner cannot be read, the probe fails, and the API turns everything away until the tenure is over.
  hcloud.http.faultFor = echoing([500, 301, 404], of, isRead);
  of.isProbedWell = false;
  await eventually('it wants relief', () => kube.lease()?.metadata.annotations?.['leasehold.dev/relief'] !== undefined);
  await of.ask();
  of.isProbedWell = true;
  await eventually('it wants none', () => kube.lease()?.metadata.annotations?.['leasehold.dev/relief'] === undefined);
  kube.cutWatches();
  kube.http.faultFor = echoing(
    Array.from({ length: 100 }, (_, index) => [500, 403, 401, 308, 503][index % 5] ?? 500),
    of,
    isAboutTheLease,
  );
  await eventually('the tenure is over', async () => !['serving', null].includes(await of.role()));
  await of.ask();
  kube.http.faultFor = () => null;
  await of.untilRole('serving');
  const atTheEnd = echoing([500, 403], of, isAboutTheLease);
  const refusingEvents = echoing([403], of, isAboutEvents);
  kube.http.faultFor = (exchange) => atTheEnd(exchange) ?? refusingEvents(exchange);
  child.kill('SIGTERM');
  await of.untilRole('leaving');
  await of.ask();
  of.world.hcloud.move(IP, OTHER_SERVER);
  assert.equal(await ended, 0, of.output.slice(-2_000));
}

describe('no secret comes out', needsNamespaces(), () => {
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-leak-'));
    bundle = await buildAgent(join(folder, 'dist'));
  });
  after(() => rmSync(folder, { recursive: true }));
  afterEach(async () => {
    await run?.close();
    run = null;
  });

  for (const format of FORMATS) {
    for (const level of LEVELS) {
      test(`of an agent that is told back whatever it sends, at the level ${level}, as ${format}`, async () => {
        const leak = await open();
        await liveAmongEchoes(leak, { ...usual(leak), LOG_LEVEL: level, LOG_FORMAT: format });
        assertClean(leak);
        assert.equal(leak.trap.exchanges.length, 0, 'no redirect is followed');
        assertCame(leak, /^http \/status$/, /\[secret\]/);
        assertCame(leak, /^http \/readyz$/, /\[secret\]/);
        assertCame(leak, /^http \/metrics$/, /leasehold_/);
        assertCame(leak, /^the Lease$/, /leasehold\.dev\/relief.*healthz\?…/);
        assertCame(leak, /^an Event$/, /"reason":"(Serving|ReliefWanted|LostLease)"/);
        assertCame(leak, /^a request to Kubernetes$/, /PATCH/);
        assertCame(leak, /^a request to the provider$/, /POST/);
        assertCame(leak, /^the arguments of the agent$/, /leasehold\.mjs/);
        if (level !== 'fatal') assertCame(leak, /^stdout of run$/, /\[secret\]/);
      });
    }
  }

  describe('wherever the credentials for Kubernetes come from', () => {
    test('a user and a password', async () => {
      const secret = password();
      const leak = await open({ 'the password': secret, 'user and password': Buffer.from(`agent:${secret}`).toString('base64') });
      leak.world.kube.tokens.set(Buffer.from(`agent:${secret}`).toString('base64'), { may: () => true });
      await liveAmongEchoes(leak, { ...usual(leak), KUBECONFIG: leak.kubeconfig({ username: 'agent', password: secret }) });
      assertClean(leak);
      assertCame(leak, /^stdout/, /\[secret\]/);
    });

    test('a client certificate with its key', async () => {
      const { key, cert } = await selfSigned('127.0.0.1');
      const leak = await open({ 'the key': key.trim(), 'the key as kubeconfigs have it': Buffer.from(key).toString('base64') });
      const user = {
        token: secretOf(leak, 'the Kubernetes token'),
        'client-certificate-data': Buffer.from(cert).toString('base64'),
        'client-key-data': Buffer.from(key).toString('base64'),
      };
      const says = echoing([500, 403, 500], leak, isAboutTheLease);
      leak.world.kube.http.faultFor = (exchange) => {
        const fault = says(exchange);
        return fault?.is === 'answer'
          ? { ...fault, body: { message: `${JSON.stringify(key)} ${Buffer.from(key).toString('base64')}` } }
          : fault;
      };
      const { child, ended } = leak.start('run', [], { ...usual(leak), KUBECONFIG: leak.kubeconfig(user) });
      await leak.untilRole('serving');
      await leak.ask();
      child.kill('SIGKILL');
      await ended;
      assertClean(leak);
      assertCame(leak, /^stdout/, /\[secret\]/);
    });

    test('a program, which sees none of the others', async () => {
      const leak = await open({ 'the token of the program': serviceAccountToken() });
      const token = secretOf(leak, 'the token of the program');
      leak.world.kube.tokens.set(token, { may: () => true });
      const program = join(leak.world.folder, 'plugin');
      const credential = { apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status: { token } };
      writeFileSync(`${program}.json`, JSON.stringify(credential));
      // It stays for a while, so that it can be looked at.
      writeFileSync(program, `#!/bin/sh\nsleep 0.3\ncat ${program}.json\n`);
      chmodSync(program, 0o700);
      const exec = {
        apiVersion: 'client.authentication.k8s.io/v1',
        command: program,
        args: ['get-token'],
        env: [{ name: 'PLUGIN', value: '1' }],
      };
      await liveAmongEchoes(leak, { ...usual(leak), KUBECONFIG: leak.kubeconfig({ exec }), LEASE_DURATION: '3s', RENEW_DEADLINE: '2s' });
      assertClean(leak);
      assertCame(leak, /^the environment of a child$/, /PLUGIN=1/);
      assertCame(leak, /^the arguments of a child$/, /get-token/);
    });

    for (const [what, script] of [
      ['says something else', 'cat "$0.json"; echo and more'],
      ['fails', 'cat "$0.json" >&2; exit 3'],
    ] as const) {
      test(`a program that ${what}`, async () => {
        const leak = await open({ 'the token of the program': serviceAccountToken() });
        const program = join(leak.world.folder, 'plugin');
        writeFileSync(`${program}.json`, secretOf(leak, 'the token of the program'));
        writeFileSync(program, `#!/bin/sh\n${script}\n`);
        chmodSync(program, 0o700);
        const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: program };
        leak.start('run', [], { ...usual(leak), KUBECONFIG: leak.kubeconfig({ exec }) });
        await eventually('it says so', () => leak.output.includes('cannot read the credentials'));
        await leak.ask();
        assertClean(leak);
      });
    }

    test('a service account, and another token after it was rotated', async () => {
      const leak = await open({ 'the rotated token': serviceAccountToken() });
      const { kube } = leak.world;
      const account = join(leak.world.folder, 'account');
      mkdirSync(account);
      writeFileSync(join(account, 'ca.crt'), kube.ca);
      writeFileSync(join(account, 'token'), secretOf(leak, 'the Kubernetes token'));
      const { hostname, port } = new URL(kube.http.url);
      const settings = { ...usual(leak), KUBECONFIG: undefined, KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
      const { child, ended } = leak.start('run', [], settings, seeing(account));
      await leak.untilRole('serving');
      kube.tokens.set(secretOf(leak, 'the rotated token'), { may: () => true });
      kube.tokens.delete(secretOf(leak, 'the Kubernetes token'));
      writeFileSync(join(account, 'token'), secretOf(leak, 'the rotated token'));
      const before = kube.lease()?.spec.renewTime;
      await eventually('it has renewed with the new one', () => kube.lease()?.spec.renewTime !== before);
      // Somebody says back the old one, which may still be good elsewhere.
      kube.http.failNext(
        { is: 'answer', status: 500, body: { message: `better was ${secretOf(leak, 'the Kubernetes token')}` } },
        (exchange) => isWrite(exchange) && isAboutTheLease(exchange),
      );
      await eventually('it is said', () => leak.output.includes('better was [secret]'));
      await leak.ask();
      child.kill('SIGKILL');
      await ended;
      assertClean(leak);
    });
  });

  test("of a provider's token in a file, and of the one that comes after it", async () => {
    const leak = await open({ 'the rotated API token': apiToken() });
    const { hcloud } = leak.world;
    const [old, next] = [secretOf(leak, 'the API token'), secretOf(leak, 'the rotated API token')];
    const path = join(leak.world.folder, 'token');
    writeFileSync(path, `${old}\n`);
    const { child, ended } = leak.start('run', [], { ...usual(leak), HCLOUD_TOKEN: undefined, HCLOUD_TOKEN_FILE: path });
    await leak.untilRole('serving');
    hcloud.tokens.set(next, 'read-write');
    hcloud.tokens.delete(old);
    writeFileSync(path, `${next}\n`);
    await eventually('it uses the new one', () => hcloud.http.exchanges.some(({ headers }) => headers.authorization === `Bearer ${next}`));
    hcloud.http.faultFor = (exchange) => ({
      is: 'answer',
      status: 500,
      body: { error: { code: 'x', message: `${echoOf(exchange)} or ${old}` } },
    });
    await eventually('it is said', () => leak.output.includes('you sent'), 20_000);
    await leak.ask();
    child.kill('SIGKILL');
    await ended;
    assertClean(leak);
  });

  describe('when it ends as it should not', () => {
    /** A module that is loaded before the agent and throws in the middle of its life. */
    const throwing = (of: LeakRun, what: string): string => {
      const path = join(of.world.folder, 'crash.mjs');
      const secrets = JSON.stringify(Object.values(of.planted));
      writeFileSync(
        path,
        `const secrets = ${secrets};
        const request = { headers: { authorization: 'Bearer ' + secrets[0] }, url: 'https://x/?token=' + encodeURIComponent(secrets[1]) };
        const error = Object.assign(new Error('cannot send ' + secrets.join(' and ') + JSON.stringify(request)), { request, options: request });
        error.cause = Object.assign(new Error(secrets.join(', ')), { request });
        setTimeout(() => { ${what} }, 1_500);`,
      );
      return path;
    };

    for (const [how, what] of [
      ['an error that nobody catches, with a request in it', 'throw error;'],
      ['a promise that fails with an error', 'Promise.reject(error);'],
      ['a promise that fails with a text', 'Promise.reject(JSON.stringify(request));'],
      ['many errors in one', 'throw new AggregateError([error, error.cause], error.message);'],
    ] as const) {
      for (const format of FORMATS) {
        test(`by ${how}, as ${format}`, async () => {
          const leak = await open();
          const { ended } = leak.start('run', [], { ...usual(leak), LOG_FORMAT: format, NODE_OPTIONS: `--import=${throwing(leak, what)}` });
          assert.equal(await ended, 1);
          assertClean(leak);
          assertCame(leak, /^stdout/, /a defect, please report it: .*\[secret\]/);
        });
      }
    }

    test('by a second signal', async () => {
      const leak = await open();
      const { child, ended } = leak.start('run', [], usual(leak));
      await leak.untilRole('serving');
      child.kill('SIGTERM');
      await leak.untilRole('leaving');
      child.kill('SIGINT');
      assert.equal(await ended, 130);
      assertClean(leak);
    });
  });

  describe('of settings that cannot be used', () => {
    for (const command of COMMANDS.filter(({ readsSettings }) => readsSettings)) {
      test(`when every other setting holds the token, with "${command.name}"`, async () => {
        const leak = await open();
        const token = secretOf(leak, 'the API token');
        const values = [token, `x-${token}`, `https://agent:${token}@127.0.0.1/x`, `https://127.0.0.1/${token}?token=${token}`];
        // What is long takes each form that a value may have; what is short is refused whatever it is.
        const wide = ['HCLOUD_ENDPOINT', 'HCLOUD_METADATA_ENDPOINT', 'PROBES', 'KUBECONFIG', 'NODE_NAME'];
        // Where secrets belong, that of another provider is none of its business.
        const names = Object.entries<SettingDefinition<unknown>>(SCHEMA).flatMap(([name, { isSecret }]) =>
          isSecret === true ? [] : [name],
        );
        const misplaced = [...names, 'HCLOUD_TOKEN_FILE'].flatMap((name) =>
          (wide.includes(name) ? values : [token]).flatMap((value) => [
            { ...usual(leak), [name]: value },
            { ...usual(leak), HCLOUD_TOKEN: undefined, [name]: value },
          ]),
        );
        const work = misplaced.values();
        const workers = Array.from({ length: AT_A_TIME }, async () => {
          for (const env of work) assert.equal(await leak.start(command.name, command.args, env).ended, 78, JSON.stringify(env));
        });
        await Promise.all(workers);
        assertClean(leak);
        assertCame(leak, /^std(out|err)/, /not usable|not accepted|is not set/);
      });
    }

    test('when a token was copied with something around it', async () => {
      const leak = await open();
      const token = secretOf(leak, 'the API token');
      for (const value of [`"${token}"`, `Bearer ${token}`, `${token}\n${token}`, `'${token}`]) {
        assert.equal(await leak.start('run', [], { ...usual(leak), HCLOUD_TOKEN: value }).ended, 78);
        const path = join(leak.world.folder, 'token');
        writeFileSync(path, value);
        assert.equal(await leak.start('run', [], { ...usual(leak), HCLOUD_TOKEN: undefined, HCLOUD_TOKEN_FILE: path }).ended, 78);
      }
      assertClean(leak);
    });

    test('when a kubeconfig is not one', async () => {
      const leak = await open();
      const token = secretOf(leak, 'the Kubernetes token');
      const path = join(leak.world.folder, 'broken');
      for (const text of [
        token,
        `token: ${token}\n  - ${token}: [`,
        `{"users": [{"user": {"token": "${token}"`,
        `users:\n- user:\n    token: "${token}`,
      ]) {
        writeFileSync(path, text);
        const { child, ended } = leak.start('run', [], { ...usual(leak), KUBECONFIG: path });
        const before = leak.output.length;
        await eventually('it says so', () => leak.output.slice(before).includes('cannot read the credentials'));
        await leak.ask();
        child.kill('SIGKILL');
        await ended;
      }
      assertClean(leak);
    });
  });

  for (const { name, args } of COMMANDS.filter(({ ends }) => ends)) {
    test(`of "${name}" among servers that say back what they are told`, { timeout: MANY_COMMANDS_MS }, async () => {
      const leak = await open();
      for (const format of FORMATS) {
        leak.world.hcloud.http.faultFor = echoing([401, 403, 422, 500], leak, () => true);
        leak.world.kube.http.faultFor = echoing([401, 403, 422, 500], leak, () => true);
        await leak.start(name, args, { ...usual(leak), LOG_FORMAT: format }).ended;
        await leak.start(name, args, { ...usual(leak), LOG_FORMAT: format }).ended;
      }
      assertClean(leak);
      assertCame(leak, new RegExp(`^std(out|err) of ${name}$`), /./);
    });
  }
});
