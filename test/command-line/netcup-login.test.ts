import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { load } from 'js-yaml';
import { runNetcupLogin, secretManifest } from '../../agent/command-line/netcup-login.ts';
import type { LoginEnd } from '../../agent/command-line/netcup-login.ts';
import { parseCommandLine } from '../../agent/command-line/parse.ts';
import { buildAgent } from '../../scripts/build.ts';
import { eventually } from '../support/eventually.ts';
import { problemsOf } from '../support/kube-schemas.ts';
import type { KubeObject } from '../support/manifests.ts';
import { NetcupStandIn } from '../support/netcup-api.ts';

const TASK = { url: 'https://x/device', completeUrl: null, userCode: 'QWER-TYUI', lifetimeMs: 600_000 };
const GRANTED: LoginEnd = { is: 'granted', tokens: { refresh: 'a.b.c', refreshLifetimeMs: null, userId: 555_001 } };

interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(words: readonly string[], end: LoginEnd, task = TASK): Promise<Said> {
  const wanted = parseCommandLine(['netcup-login', ...words]);
  assert.ok(wanted.is === 'netcup-login');
  let [out, err] = ['', ''];
  const code = await runNetcupLogin(wanted, {
    write: (text) => (out += text),
    complain: (text) => (err += text),
    logIn: (onBegun) => {
      onBegun(task);
      return Promise.resolve(end);
    },
  });
  return { code, out, err };
}

describe('netcup-login', () => {
  test('writes the Secret that the manifests mount, and nothing else, to standard output', async () => {
    const { code, out, err } = await run([], GRANTED);
    assert.equal(code, 0);
    const secret = load(out) as KubeObject;
    assert.deepEqual(problemsOf(secret), []);
    assert.deepEqual(
      [secret.kind, secret.metadata.name, secret.metadata.namespace, secret['stringData']],
      ['Secret', 'netcup-token', 'leasehold', { token: 'a.b.c' }],
    );
    assert.match(err, /https:\/\/x\/device[^]*QWER-TYUI[^]*10m[^]*the user 555001/);
    assert.ok(!err.includes('a.b.c'));
  });

  test('takes another namespace, or writes the token alone', async () => {
    assert.equal((load((await run(['-n', 'edge'], GRANTED)).out) as KubeObject).metadata.namespace, 'edge');
    assert.equal((await run(['--output', 'token'], GRANTED)).out, 'a.b.c\n');
  });

  test('keeps whatever a token may hold in one piece', () => {
    for (const token of ['a: b', '"x"', "it's", '#no', 'a\\n'])
      assert.deepEqual((load(secretManifest(token, 'x')) as KubeObject)['stringData'], { token });
  });

  test('warns of a token that ends by itself', async () => {
    const end: LoginEnd = { ...GRANTED, tokens: { ...GRANTED.tokens, refreshLifetimeMs: 1_800_000 } };
    assert.match((await run([], end)).err, /ends by itself after 30m/);
  });

  for (const [end, code, reason] of [
    [{ is: 'expired' }, 1, /nobody has logged in/],
    [{ is: 'denied' }, 1, /not allowed/],
    [{ is: 'failed', message: 'ECONNREFUSED' }, 69, /ECONNREFUSED/],
  ] as const) {
    test(`ends with ${code} and writes nothing where it is ${end.is}`, async () => {
      const said = await run([], end);
      assert.deepEqual([said.code, said.out], [code, '']);
      assert.match(said.err, reason);
    });
  }

  test('shows nothing that would move the cursor about', async () => {
    const { err } = await run([], { is: 'denied' }, { ...TASK, userCode: 'A\u001b[2J', url: 'https://x/\u0007' });
    assert.doesNotMatch(err, /[\u0000-\u0009\u000b-\u001f]/);
  });

  test('is told what it does not take', () => {
    for (const [words, problem] of [
      [['--output', 'yaml'], /--output takes manifest or token/],
      [['--namespace', 'My Space'], /--namespace takes lower-case letters/],
      [['now'], /one word too many/],
    ] as const) {
      const wanted = parseCommandLine(['netcup-login', ...words]);
      assert.ok(wanted.is === 'misuse');
      assert.match(wanted.message, problem);
    }
  });
});

describe('netcup-login of a bundle', () => {
  let folder: string;
  let bundle: string;
  let netcup: NetcupStandIn;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-login-'));
    bundle = await buildAgent(join(folder, 'dist'));
  });
  after(() => rmSync(folder, { recursive: true }));
  beforeEach(async () => {
    netcup = await NetcupStandIn.start({ failoverIps: [], servers: [] });
    netcup.identity.deviceIntervalMs = 1_000;
  });
  afterEach(() => netcup.close());

  function start(env: Readonly<Record<string, string>> = { NETCUP_AUTH_ENDPOINT: netcup.authEndpoint }): {
    readonly said: { out: string; err: string };
    readonly kill: (signal: NodeJS.Signals) => void;
    readonly ended: Promise<number | null>;
  } {
    const child = spawn(process.execPath, [bundle, 'netcup-login'], { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    const said = { out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said.out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said.err += text));
    return { said, kill: (signal) => void child.kill(signal), ended: new Promise((resolve) => child.on('close', (code) => resolve(code))) };
  }

  test('logs in with no settings but the endpoint', async () => {
    const { said, ended } = start();
    await eventually('it shows a code', () => said.err.includes('The code is QWER-TY01'));
    netcup.identity.decide('QWER-TY01', 'approved');
    assert.equal(await ended, 0);
    const { token } = (load(said.out) as KubeObject)['stringData'] as { token: string };
    assert.ok(netcup.identity.refreshTokens.has(token));
  });

  test('ends at once at Ctrl-C, and has written nothing', async () => {
    const { said, kill, ended } = start();
    await eventually('it waits', () => said.err.includes('Ctrl-C'));
    kill('SIGINT');
    assert.equal(await ended, 130);
    assert.equal(said.out, '');
  });

  test('says what is wrong with an endpoint', async () => {
    const { said, ended } = start({ NETCUP_AUTH_ENDPOINT: 'servercontrolpanel' });
    assert.equal(await ended, 78);
    assert.match(said.err, /NETCUP_AUTH_ENDPOINT is no URL/);
  });
});
