/**
 * What is particular to a command in the place of a provider's API: how its answers are understood, and how it is run. Its machine is
 * a script here; test/children.test.ts has real processes, and the contract suite the example of the overlay.
 */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { DeadlineExceeded } from '../../agent/clock.ts';
import type { ClaimOutcome } from '../../agent/contender/input.ts';
import { CommandNotStarted } from '../../agent/host.ts';
import type { Command, CommandEnd } from '../../agent/host.ts';
import { Exec } from '../../agent/provider/exec.ts';
import { EXIT_CODES, ExecCommand } from '../../agent/provider/exec-command.ts';
import { observedRun } from '../../agent/provider/observed-http.ts';
import type { ProviderExchange } from '../../agent/provider/observed-http.ts';
import { Secret } from '../../agent/secret.ts';
import { eventually } from '../support/eventually.ts';
import { ManualClock } from '../support/manual-clock.ts';

const IP = '203.0.113.10';
const SECRET = 'dop_v1_0123456789abcdef';
const never = new AbortController().signal;

type Answer = Partial<CommandEnd> | Error | 'hang';

/** What the command answers next, and at last for ever; what it was run with. */
let answers: Record<'locate' | 'claim', Answer[]>;
let runs: Command[];
let running: number;
let mostAtOnce: number;
let clock: ManualClock;

beforeEach(() => {
  answers = { locate: [{ output: 'node-b\n' }], claim: [{}] };
  [runs, running, mostAtOnce, clock] = [[], 0, 0, new ManualClock()];
});

async function run(command: Command): Promise<CommandEnd> {
  runs.push(command);
  running += 1;
  mostAtOnce = Math.max(mostAtOnce, running);
  try {
    // A process is never over at once.
    await new Promise((resolve) => setImmediate(resolve));
    const waiting = answers[command.operation as 'locate' | 'claim'];
    const answer = (waiting.length > 1 ? waiting.shift() : waiting[0]) ?? {};
    if (answer instanceof Error) throw answer;
    const killed = { exitCode: null, endedBy: 'SIGKILL', output: '', complaint: '' };
    if (answer !== 'hang') return { exitCode: 0, endedBy: null, output: '', complaint: '', ...answer };
    if (command.signal.aborted) return killed;
    return await new Promise((resolve) => command.signal.addEventListener('abort', () => resolve(killed)));
  } finally {
    running -= 1;
  }
}

function open(secret: Secret | null = new Secret(() => SECRET)): Exec {
  const options = { program: '/opt/move', args: ['--region=fra1'], secret, server: 'web-1', nodeName: 'node-a' };
  return new Exec(new ExecCommand(run, clock, options), 'web-1', [IP], clock);
}

const ended = (exitCode: number, complaint = ''): Answer => ({ exitCode, complaint });
const asked = (): string[] => runs.map(({ operation }) => operation);

async function claim(provider: Exec, signal = never, mayWrite = () => true): Promise<ClaimOutcome> {
  return await provider.claim(IP, { signal, isFirst: true, mayWrite });
}

/** Lets time pass until something is settled. */
async function passing<Result>(promise: Promise<Result>): Promise<Result> {
  let isSettled = false;
  void promise.finally(() => (isSettled = true)).catch(() => undefined);
  while (!isSettled) await clock.advance(100);
  return await promise;
}

describe('a command', () => {
  test('is run with its own arguments, what is asked and the address; the secret is in its environment alone', async () => {
    await open().owner(IP, never);
    const [{ program, args, env } = assert.fail()] = runs;
    assert.deepEqual([program, args], ['/opt/move', ['--region=fra1', 'locate', IP]]);
    assert.deepEqual(env, { NODE_NAME: 'node-a', EXEC_SERVER: 'web-1', EXEC_SECRET: SECRET });
  });

  test('without a secret finds none', async () => {
    await open(null).owner(IP, never);
    assert.deepEqual(runs[0]?.env, { NODE_NAME: 'node-a', EXEC_SERVER: 'web-1' });
  });

  test('names the server that has the address, or nobody', async () => {
    answers.locate = [{ output: 'web-1\n' }, { output: ' node-b' }, { output: '\n' }];
    const provider = open();
    assert.deepEqual(await provider.owner(IP, never), { is: 'self' });
    assert.deepEqual(await provider.owner(IP, never), { is: 'other', name: 'node-b' });
    assert.deepEqual(await provider.owner(IP, never), { is: 'nobody' });
  });

  for (const output of ['two words', 'a\nb', 'x'.repeat(257), 'a\u001b[31m', null]) {
    test(`that answers ${JSON.stringify(output)?.slice(0, 20)} has told nothing`, async () => {
      answers.locate = [{ output }];
      const owner = await open().owner(IP, never);
      assert.ok(owner.is === 'unknown');
      assert.match(owner.message, /not the name of one server/);
    });
  }

  test('is run once at a time for an address', async () => {
    const provider = open();
    await Promise.all([provider.owner(IP, never), provider.owner(IP, never), provider.prepare(never)]);
    assert.deepEqual([runs.length, mostAtOnce], [3, 1]);
  });

  test('that does not answer is asked to end, and what it said last is told', async () => {
    answers.locate = ['hang'];
    const owner = await passing(open().owner(IP, never));
    assert.ok(owner.is === 'unknown');
    assert.match(owner.message, /has not answered within 5 s/);
    assert.ok(runs[0]?.signal.reason instanceof DeadlineExceeded);
  });

  test('is run again with another secret where the file has a new one', async () => {
    let value = SECRET;
    const secret = new Secret(() => value);
    value = 'dop_v1_the-next-one';
    answers.locate = [ended(79), { output: 'web-1' }];
    assert.deepEqual(await open(secret).owner(IP, never), { is: 'self' });
    assert.deepEqual(
      runs.map(({ env }) => env['EXEC_SECRET']),
      [SECRET, value],
    );
  });

  test('that is refused for two addresses at once is run again for both', async () => {
    let value = SECRET;
    const secret = new Secret(() => value);
    const provider = open(secret);
    value = 'dop_v1_the-next-one';
    answers.locate = [ended(79), ended(79), { output: 'web-1' }];
    const owners = await Promise.all([provider.owner(IP, never), provider.owner('198.51.100.8', never)]);
    assert.deepEqual(owners, [{ is: 'self' }, { is: 'self' }]);
  });

  test('is told of by what it was asked and its exit code', async () => {
    const told: ProviderExchange[] = [];
    const observed = observedRun(run, clock, (exchange) => told.push(exchange));
    const command = { program: '/opt/move', args: [], env: {}, operation: 'locate', signal: never };
    answers.locate = [ended(75), { exitCode: null, endedBy: 'SIGSEGV' }, new CommandNotStarted('/opt/move', 'ENOENT'), 'hang'];
    await observed(command);
    await observed(command);
    await assert.rejects(observed(command));
    const end = new AbortController();
    const last = observed({ ...command, signal: end.signal });
    end.abort(new Error('not wanted'));
    await last;
    assert.deepEqual(
      told.map(({ operation, code }) => `${operation} ${code}`),
      ['locate 75', 'locate no-answer', 'locate no-answer', 'locate aborted'],
    );
  });
});

describe('a claim', () => {
  test('looks, claims, and looks until the address is here', async () => {
    answers.locate = [{ output: 'node-b' }, { output: 'node-b' }, ended(75), { output: 'web-1' }];
    assert.deepEqual(await passing(claim(open())), { is: 'confirmed' });
    assert.deepEqual(asked(), ['locate', 'claim', 'locate', 'locate', 'locate']);
  });

  test('does not believe an owner while the command says that it is being moved', async () => {
    answers.locate = [ended(75), ended(75), { output: 'web-1' }];
    assert.deepEqual(await passing(claim(open())), { is: 'confirmed' });
    assert.deepEqual(asked(), ['locate', 'locate', 'locate']);
  });

  test('is made again where nothing has come of it', async () => {
    const signal = new AbortController();
    const outcome = claim(open(), signal.signal);
    const hasClaimedTwice = (): boolean => asked().filter((operation) => operation === 'claim').length === 2;
    while (!hasClaimedTwice()) await clock.advance(500);
    signal.abort(new DeadlineExceeded(60_000));
    const failed = await passing(outcome);
    assert.ok(failed.is === 'failed' && !failed.definitive);
    assert.match(failed.message, /ended well, yet after 20 s locate says that node-b has it; this node is web-1/);
  });

  for (const [exitCode, code] of Object.entries(EXIT_CODES)) {
    const isDefinitive = ['invalid', 'not-found', 'forbidden', 'unauthorized'].includes(code);
    test(`that ends with ${exitCode} is "${code}": ${isDefinitive ? 'it fails at once' : 'it is tried again after a look'}`, async () => {
      answers.claim = [ended(Number(exitCode), 'the provider says no\n'), {}];
      answers.locate = [{ output: 'node-b' }, { output: isDefinitive ? 'node-b' : 'web-1' }];
      const outcome = await passing(claim(open()));
      assert.deepEqual(asked().slice(0, 2), ['locate', 'claim']);
      if (!isDefinitive) return assert.deepEqual(outcome, { is: 'confirmed' });
      assert.ok(outcome.is === 'failed' && outcome.definitive);
      assert.match(
        outcome.message,
        new RegExp(`^EXEC_COMMAND claim ${IP} ended with ${exitCode} \\(${code}\\); it said: the provider says no; `),
      );
    });
  }

  for (const [what, answer] of [
    ['with a code that means nothing', ended(1)],
    ['by a signal', { exitCode: null, endedBy: 'SIGKILL' }],
  ] as const) {
    test(`that ends ${what} may have been done, so the next thing is a look`, async () => {
      answers.claim = [answer];
      answers.locate = [{ output: 'node-b' }, { output: 'web-1' }];
      assert.deepEqual(await passing(claim(open())), { is: 'confirmed' });
      assert.deepEqual(asked(), ['locate', 'claim', 'locate']);
    });
  }

  test('waits for as long as the command asks to be left alone', async () => {
    answers.claim = [ended(80, 'slow down\nRetry-After: 30\n'), {}];
    answers.locate = [{ output: 'node-b' }, { output: 'web-1' }];
    const outcome = claim(open());
    await clock.advance(29_000);
    assert.deepEqual(asked(), ['locate', 'claim']);
    assert.deepEqual(await passing(outcome), { is: 'confirmed' });
  });

  test('is not begun once it may not be', async () => {
    assert.deepEqual(await claim(open(), never, () => false), { is: 'withdrawn' });
    assert.deepEqual(asked(), ['locate']);
  });

  test('that is not wanted any more does not wait for its turn', async () => {
    answers.locate = ['hang'];
    const provider = open();
    const other = new AbortController();
    const first = provider.owner(IP, other.signal);
    const end = new AbortController();
    const outcome = claim(provider, end.signal);
    end.abort(new Error('the office is over'));
    assert.deepEqual(await outcome, { is: 'withdrawn' });
    other.abort(new Error('enough'));
    await first;
    assert.equal(runs.length, 1);
  });

  test('that is not wanted any more ends with the run', async () => {
    answers.claim = ['hang'];
    const end = new AbortController();
    const outcome = claim(open(), end.signal);
    await eventually('it claims', () => asked().includes('claim'));
    end.abort(new Error('the office is over'));
    assert.deepEqual(await outcome, { is: 'withdrawn' });
    assert.equal(running, 0);
  });
});

describe('what people are told', () => {
  test('are the last lines of what it complained of, without the secret, and without what steers a terminal', async () => {
    const key = Buffer.from(SECRET).toString('base64');
    answers.locate = [ended(69, `old\n${'x'.repeat(600)}\none\n\u001b[31mtwo ${SECRET} ${key}\u0007\nthree\nretry-after: 5\n\n`)];
    const owner = await open().owner(IP, never);
    assert.ok(owner.is === 'unknown');
    assert.match(owner.message, /it said: one \/ \[31mtwo \[secret\] \[secret\]=* \/ three$/);
  });

  test('is bounded, also where the secret lies across the bound', async () => {
    for (let before = 380; before < 420; before += 1) {
      answers.locate = [ended(69, `${SECRET}${'.'.repeat(before - SECRET.length / 2)}`)];
      const owner = await open().owner(IP, never);
      assert.ok(owner.is === 'unknown' && owner.message.length < 600);
      assert.doesNotMatch(owner.message, /0123456789|89abcdef/);
    }
  });

  test('is never the secret as the name of a server', async () => {
    answers.locate = [{ output: `web-${SECRET}` }];
    assert.deepEqual(await open().owner(IP, never), { is: 'other', name: 'web-[secret]' });
    assert.ok(!JSON.stringify(await open().check(never)).includes(SECRET));
  });

  for (const [code, said] of [
    ['ENOENT', /there is no such file, or none of the name that its first line begins with; correct EXEC_COMMAND/],
    ['EACCES', /not executable/],
  ] as const) {
    test(`is why it cannot be started: ${code}`, async () => {
      answers.locate = [new CommandNotStarted('/opt/move', code)];
      const readiness = await open().prepare(never);
      assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
      assert.match(readiness.reason, said);
      const [finding] = await open().check(never);
      assert.equal(finding?.level, 'fail');
    });
  }

  test('is passing where there was no room for another process', async () => {
    answers.locate = [new CommandNotStarted('/opt/move', 'EAGAIN')];
    const readiness = await open().prepare(never);
    assert.ok(readiness.is === 'not-ready' && readiness.isPassing);
    const [finding] = await open().check(never);
    assert.equal(finding?.level, 'warn');
  });

  test('is ready, too, where an address is just being moved', async () => {
    answers.locate = [ended(75)];
    assert.equal((await open().prepare(never)).is, 'ready');
    assert.deepEqual(
      (await open().check(never)).map(({ level }) => level),
      ['ok', 'ok'],
    );
  });
});
