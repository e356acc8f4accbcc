/**
 * No secret comes out with a command in the place of a provider's API: one that says whatever it was given, in all forms, wherever it
 * can say something. Only in the command's own environment is its secret meant to be.
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { buildAgent } from '../../scripts/build.ts';
import { eventually } from '../support/eventually.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { LeakRun } from './leak-run.ts';
import { apiToken, serviceAccountToken } from './secrets.ts';
import { describeTraces, tracesOf } from './traces.ts';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
const SECRET = 'the secret of the command';
const KUBERNETES = 'the Kubernetes token';

/** It ends with the codes that are written into a file named after what it is asked, one after the other, and then does it. */
const COMMAND = `#!/bin/sh
cd "$(dirname "$0")"
say() {
  echo "old: $EXEC_SECRET"
  printf '%0380d %s\\n' 0 "$EXEC_SECRET"
  printf '%s' "Bearer $EXEC_SECRET" | base64 -w0; echo
  printf '%s' "$EXEC_SECRET" | base64 -w0; echo
  printf '%s' "$EXEC_SECRET" | od -An -tx1 | tr -d ' \\n'; echo
  echo "retry-after: 0"
  printf '{"sent": "%s"}' "$EXEC_SECRET"
}
say >&2
code=$(head -n 1 "$1.codes")
if [ -n "$code" ]; then sed -i 1d "$1.codes"; say; exit "$code"; fi
if [ "$1" = claim ]; then echo "$EXEC_SERVER" >owner; else cat owner; fi
`;

let folder: string;
let bundle: string;
let run: LeakRun | null = null;

/** Fails with every place where a secret has come out that is not the environment of the command itself. */
function assertClean(of: LeakRun): void {
  const traces = tracesOf(of.planted, of.harvest()).filter(
    ({ secret, from }) => secret !== SECRET || from !== 'the environment of a child',
  );
  assert.equal(traces.length, 0, `\n${describeTraces(traces)}`);
}

function assertCame(of: LeakRun, from: RegExp, what: RegExp): void {
  const found = of.harvest().some((each) => from.test(each.from) && what.test(each.text));
  assert.ok(found, `nothing like ${String(what)} came out at ${String(from)}\n${of.output.slice(-3_000)}`);
}

interface Installed {
  readonly leak: LeakRun;
  readonly env: Readonly<Record<string, string>>;
  readonly secret: string;
  /** Where the command lies. */
  readonly place: string;
  readonly fail: (question: 'locate' | 'claim', codes: readonly number[]) => void;
  readonly move: (server: string) => void;
}

/** Plants the secrets, and puts the command where the agent finds it. The address is at a server that is called by the secret. */
async function install(): Promise<Installed> {
  const [secret, kubeToken] = [apiToken(), serviceAccountToken()];
  const leak = (run = await LeakRun.open(bundle, { [SECRET]: secret, [KUBERNETES]: kubeToken }));
  leak.world.kube.tokens.clear();
  leak.world.kube.tokens.set(kubeToken, { may: () => true });
  const place = mkdtempSync(join(folder, 'command-'));
  const program = join(place, 'command');
  writeFileSync(program, COMMAND);
  chmodSync(program, 0o755);
  const installed: Installed = {
    leak,
    secret,
    place,
    env: {
      PROVIDER: 'exec',
      EXEC_COMMAND: program,
      EXEC_SECRET: secret,
      KUBECONFIG: leak.kubeconfig({ token: kubeToken }),
      // Verification asks often enough for one to fail in time.
      VERIFY_INTERVAL: '5s',
    },
    fail: (question, codes) => writeFileSync(join(place, `${question}.codes`), codes.map((code) => `${code}\n`).join('')),
    move: (server) => writeFileSync(join(place, 'owner'), `${server}\n`),
  };
  for (const question of ['locate', 'claim'] as const) installed.fail(question, []);
  installed.move(`web-${secret}`);
  return installed;
}

describe('no secret comes out with a command', needsNamespaces(), () => {
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-leak-'));
    bundle = await buildAgent(join(folder, 'dist'));
  });
  after(() => rmSync(folder, { recursive: true }));
  afterEach(async () => {
    await run?.close();
    run = null;
  });

  for (const [level, format] of [...LEVELS.map((each) => [each, 'json'] as const), ['trace', 'pretty'] as const]) {
    test(`that says all it knows, at the level ${level}, as ${format}`, async () => {
      const { leak, env, secret, place, fail, move } = await install();
      fail('locate', [79]);
      fail('claim', [75, 81, 1]);
      const { child, ended } = leak.start('run', [], { ...env, LOG_LEVEL: level, LOG_FORMAT: format });
      await eventually('it answers', async () => (await leak.role()) !== null);
      await leak.ask();
      await leak.untilRole('serving');
      if (level === 'trace') {
        // Somebody moves it to a server that is called by the secret, and the command says why it cannot bring it back.
        fail('claim', [69, 77]);
        move(`web-${secret}`);
        await eventually('it has tried to', () => readFileSync(join(place, 'claim.codes'), 'utf8') === '', 15_000);
      }
      await leak.ask();
      child.kill('SIGTERM');
      move('somebody-else');
      assert.equal(await ended, 0, leak.output.slice(-2_000));
      assertClean(leak);
      assertCame(leak, /^the environment of a child$/, /EXEC_SECRET=/);
      assertCame(leak, /^the arguments of a child$/, /locate/);
      assertCame(leak, /^http \/status$/, /\[secret\]/);
      assertCame(leak, /^http \/metrics$/, /operation="locate",code="79"/);
      if (level !== 'fatal' && level !== 'error') assertCame(leak, /^stdout of run$/, /\[secret\]/);
    });
  }

  for (const args of [['check'], ['check', '--output', 'json']]) {
    test(`of "${args.join(' ')}" in each trouble`, async () => {
      const { leak, env, fail, secret } = await install();
      for (const code of [0, 1, 68, 75, 79]) {
        fail('locate', code === 0 ? [] : [code, code]);
        await leak.start(args.join(' '), args, env).ended;
      }
      writeFileSync(join(folder, 'secret'), secret);
      await leak.start(args.join(' '), args, { ...env, EXEC_SECRET: undefined, EXEC_SECRET_FILE: join(folder, 'secret') }).ended;
      assertClean(leak);
      assertCame(leak, /^std(out|err) of check/, /\[secret\]/);
    });
  }

  test('of settings that hold it where it is shown', async () => {
    const { leak, env, secret } = await install();
    for (const wrong of [
      { EXEC_COMMAND: `/bin/command --token=${secret}` },
      { EXEC_COMMAND: `/bin/command '${secret}'` },
      { EXEC_SERVER: secret },
      { EXEC_SERVER: `two ${secret}` },
      { EXEC_SECRET: undefined, EXEC_SECRET_FILE: secret },
    ])
      assert.equal(await leak.start('run', [], { ...env, ...wrong }).ended, 78, JSON.stringify(Object.keys(wrong)));
    assertClean(leak);
    assertCame(leak, /^stderr of run$/, /not usable|not accepted/);
  });
});
