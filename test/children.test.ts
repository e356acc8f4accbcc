/**
 * The commands that the agent runs, with real processes: what comes back of them, and that nothing of them stays.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DeadlineExceeded } from '../agent/clock.ts';
import { CommandNotStarted } from '../agent/host.ts';
import type { CommandEnd } from '../agent/host.ts';
import { openNetlinkSocket } from '../agent/link/libc.ts';
import { openChildren } from './support/children.ts';
import { eventually } from './support/eventually.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const never = new AbortController().signal;
const OUTPUT_BYTES_MAX = 64 * 1024;

let folder: string;
before(() => (folder = mkdtempSync(join(tmpdir(), 'leasehold-children-'))));
after(() => rmSync(folder, { recursive: true }));

interface Run {
  readonly signal?: AbortSignal;
  readonly env?: Readonly<Record<string, string>>;
  readonly children?: ReturnType<typeof openChildren>;
}

/** Runs a script of shell. */
async function sh(script: string, { signal = never, env = {}, children = openChildren() }: Run = {}): Promise<CommandEnd> {
  return await children.run({ program: '/bin/sh', args: ['-c', script], env, operation: 'locate', signal });
}

const isAlive = (pid: number): boolean => {
  const state = /^State:\t(\S)/m.exec(read(`/proc/${pid}/status`))?.[1];
  return state !== undefined && state !== 'Z';
};

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** The numbers that scripts have written into a file, one a line, once there are so many. */
async function pidsIn(name: string, count: number): Promise<number[]> {
  const pids = (): number[] => read(join(folder, name)).split('\n').filter(Boolean).map(Number);
  await eventually(`${count} processes have begun`, () => pids().length >= count);
  return pids();
}

const ownZombies = (): string[] =>
  readdirSync('/proc').filter((pid) => new RegExp(`^State:\\tZ[^]*^PPid:\\t${process.pid}$`, 'm').test(read(`/proc/${pid}/status`)));
const descriptors = (): number => readdirSync('/proc/self/fd').length;

describe('a command', () => {
  test('says what it has said and how it has ended', async () => {
    assert.deepEqual(await sh('echo out; echo no >&2; exit 75'), { exitCode: 75, endedBy: null, output: 'out\n', complaint: 'no\n' });
  });

  test('ends with each exit code that there is', async () => {
    const ends = await Promise.all([0, 1, 64, 77, 126, 127, 128, 255].map((code) => sh(`exit ${code}`)));
    assert.deepEqual(
      ends.map(({ exitCode }) => exitCode),
      [0, 1, 64, 77, 126, 127, 128, 255],
    );
  });

  test('that a signal ends says which', async () => {
    const { exitCode, endedBy } = await sh('kill -SEGV $$');
    assert.deepEqual([exitCode, endedBy], [null, 'SIGSEGV']);
  });

  test('finds what it is given and what every program needs, and nothing else of this process', async () => {
    const surroundings = {
      PATH: '/bin',
      HTTPS_PROXY: 'http://proxy:3128',
      HCLOUD_TOKEN: 'secret',
      NODE_OPTIONS: '--inspect',
      KUBECONFIG: '/x',
    };
    const { output } = await openChildren(surroundings).run({
      program: '/usr/bin/env',
      args: [],
      env: { EXEC_SERVER: 'node-a' },
      operation: 'locate',
      signal: never,
    });
    assert.deepEqual(output?.trim().split('\n').sort(), ['EXEC_SERVER=node-a', 'HTTPS_PROXY=http://proxy:3128', 'PATH=/bin']);
  });

  test('has nothing to read, no descriptor of this process, and a session of its own', async () => {
    const opened = [openSync(import.meta.filename, 'r'), openNetlinkSocket('route')];
    try {
      const { output } = await sh('cat; ls -l /proc/self/fd; cut -d" " -f6 /proc/self/stat; echo $$');
      assert.match(output ?? '', / 0 -> \/dev\/null/);
      for (const fd of opened) assert.ok(!output?.includes(readlinkSync(`/proc/self/fd/${fd}`)), output ?? '');
      const [own, session] = (output ?? '').trim().split('\n').reverse();
      assert.equal(session, own);
    } finally {
      for (const fd of opened) closeSync(fd);
    }
  });

  test('takes its arguments as they are: no shell looks at them', async () => {
    const { output } = await openChildren().run({
      program: '/bin/echo',
      args: ['$HOME', '*', ';'],
      env: {},
      operation: 'locate',
      signal: never,
    });
    assert.equal(output, '$HOME * ;\n');
  });

  test('that cannot be started says why, and has done nothing', async () => {
    const text = join(folder, 'text');
    writeFileSync(text, 'no program', { mode: 0o644 });
    const orphan = join(folder, 'orphan');
    writeFileSync(orphan, '#!/nowhere/node\n', { mode: 0o755 });
    for (const [program, code] of [
      ['/nowhere/command', 'ENOENT'],
      [orphan, 'ENOENT'],
      [text, 'EACCES'],
    ] as const) {
      await assert.rejects(
        openChildren().run({ program, args: [], env: {}, operation: 'locate', signal: never }),
        (error) => error instanceof CommandNotStarted && error.code === code,
      );
    }
  });

  test('that writes megabytes is read to its end, and remembered up to a bound', async () => {
    const { exitCode, output, complaint } = await sh('yes out | head -c 4000000; (yes no | head -c 4000000; echo the end) >&2');
    assert.equal(exitCode, 0);
    assert.equal(output, null, 'of what is too long there is no beginning that could be taken for all');
    assert.ok(complaint.endsWith('the end\n') && complaint.length <= OUTPUT_BYTES_MAX);
    const exact = await sh(`head -c ${OUTPUT_BYTES_MAX} /dev/zero`);
    assert.equal(exact.output?.length, OUTPUT_BYTES_MAX);
  });
});

describe('nothing of a command stays', () => {
  test('when it leaves something behind that ignores being asked to end', async () => {
    const { output } = await sh(`(trap '' TERM HUP; echo $$ >/dev/null; sleep 60) & echo $!; exit 0`);
    assert.ok(!isAlive(Number(output)), 'it was killed before the run was over');
  });

  test('when it is not wanted any more: it is killed at once, with what it has started', async () => {
    const end = new AbortController();
    const stubborn = `trap 'echo asked >>${folder}/asked' TERM HUP`;
    const running = sh(
      `${stubborn}; (${stubborn}; sh -c 'echo $$ >>${folder}/unwanted; sleep 60; :') & echo $$ >>${folder}/unwanted; wait`,
      {
        signal: end.signal,
      },
    );
    const pids = await pidsIn('unwanted', 2);
    end.abort(new Error('the office is over'));
    assert.equal((await running).endedBy, 'SIGKILL');
    assert.deepEqual(pids.filter(isAlive), []);
    assert.ok(!existsSync(join(folder, 'asked')), 'there was no time in which it could have begun something');
  });

  test('when its deadline is over: it is asked first, and may say a last word', async () => {
    const end = new AbortController();
    const running = sh(`trap 'echo waiting for action 12 >&2; exit 81' TERM; echo $$ >>${folder}/polite; while :; do sleep 0.02; done`, {
      signal: end.signal,
    });
    await pidsIn('polite', 1);
    end.abort(new DeadlineExceeded(10));
    const { exitCode, complaint } = await running;
    assert.equal(exitCode, 81);
    assert.match(complaint, /waiting for action 12/);
  });

  test('when its deadline is over and it does not want to end', async () => {
    const end = new AbortController();
    const running = sh(
      `trap '' TERM; (trap '' TERM; echo here >&2; while :; do sleep 1; done) & echo $$ >>${folder}/deaf; echo $! >>${folder}/deaf; wait`,
      {
        signal: end.signal,
      },
    );
    const pids = await pidsIn('deaf', 2);
    end.abort(new DeadlineExceeded(10));
    assert.equal((await running).endedBy, 'SIGKILL');
    assert.deepEqual(pids.filter(isAlive), []);
  });

  test('when this process ends', async () => {
    const children = openChildren();
    const running = sh(`(trap '' TERM; sleep 60) & echo $! >>${folder}/ending; wait`, { children });
    const pids = await pidsIn('ending', 1);
    children.endAll();
    assert.equal((await running).endedBy, 'SIGKILL');
    assert.deepEqual(pids.filter(isAlive), []);
  });

  test('when it was not wanted from the first: it is not even begun', async () => {
    const reason = new Error('too late');
    await assert.rejects(sh(`echo $$ >>${folder}/late`, { signal: AbortSignal.abort(reason) }), reason);
    assert.ok(!existsSync(join(folder, 'late')));
  });

  test('though something that has left its group holds its output open', { timeout: 20_000 }, async () => {
    const { exitCode } = await sh(
      `setsid sh -c 'echo $$ >>${folder}/left; sleep 600; :' & while [ ! -s ${folder}/left ]; do sleep 0.01; done`,
    );
    assert.equal(exitCode, 0);
    for (const pid of await pidsIn('left', 1)) {
      assert.ok(isAlive(pid), 'it is nobody’s any more');
      process.kill(-pid, 'SIGKILL');
    }
  });

  test('no dead process and no open file, however often', async () => {
    await sh('exit 0');
    const before = descriptors();
    for (let round = 0; round < 10; round += 1) await Promise.all([sh('sleep 60 & echo x; exit 3'), sh('echo y >&2'), sh('true | cat')]);
    await eventually('all pipes are closed', () => descriptors() <= before);
    assert.deepEqual(ownZombies(), []);
  });

  const canUnshare = spawnSync('unshare', ['--user', '--map-root-user', '--pid', '--fork', '--mount-proc', 'true']).status === 0;
  test(
    'not even where this process is the first of a container, to which orphans fall',
    { skip: canUnshare ? false : 'no namespaces' },
    async () => {
      const script = join(folder, 'first.ts');
      writeFileSync(
        script,
        `import { readdirSync, readFileSync } from 'node:fs';
      import { openChildren } from '${ROOT}test/support/children.ts';
      const script = '(trap "" TERM; sleep 60) & (sleep 60 & exec sleep 60) & exit 0';
      for (let round = 0; round < 5; round += 1)
        await openChildren().run({ program: '/bin/sh', args: ['-c', script], env: {}, operation: 'locate', signal: new AbortController().signal });
      const left = readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name) && name !== '1');
      console.log(process.pid, JSON.stringify(left.map((pid) => readFileSync('/proc/' + pid + '/stat', 'utf8'))));`,
      );
      const child = spawn('unshare', ['--user', '--map-root-user', '--pid', '--fork', '--mount-proc', process.execPath, script], {
        cwd: ROOT,
      });
      let said = '';
      for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (said += text));
      await new Promise((resolve) => child.on('close', resolve));
      assert.equal(said.trim(), '1 []');
    },
  );
});
