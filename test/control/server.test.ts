import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { askAgent, ControlTrouble } from '../../agent/control/client.ts';
import { controlCheck } from '../../agent/control/check.ts';
import type { ControlRequest } from '../../agent/control/protocol.ts';
import { parseReply, parseRequest } from '../../agent/control/protocol.ts';
import { ControlServer, isSomebodyAt } from '../../agent/control/server.ts';
import type { ControlServerOptions } from '../../agent/control/server.ts';
import { eventually } from '../support/eventually.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';

const REQUEST: ControlRequest = { command: 'step-down', force: false, waitMs: 1_000 };

let folder: string;
let path: string;
let servers: ControlServer[];
let problems: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leasehold-control-'));
  path = join(folder, 'run', 'control.sock');
  servers = [];
  problems = [];
});
afterEach(() => {
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true });
});

function start(options: Partial<ControlServerOptions> = {}): ControlServer {
  const server = new ControlServer({
    path,
    unique: 'one',
    clock: REAL_CLOCK,
    onRequest: (request, tell) => {
      tell(`asked to ${request.command}`);
      return Promise.resolve({ outcome: 'moved', message: 'it has moved', node: 'node-b' });
    },
    onProblem: (problem) => problems.push(problem),
    ...options,
  });
  servers.push(server);
  return server;
}

const standing = (): Promise<void> => eventually('the socket is there', () => existsSync(path));
const mode = (where: string): string => (statSync(where).mode & 0o777).toString(8);

function ask(progress: string[] = [], timeoutMs = 5_000): ReturnType<typeof askAgent> {
  return askAgent(path, REQUEST, { clock: REAL_CLOCK, timeoutMs, onProgress: (message) => progress.push(message) });
}

/** Sends a text as it is, and gives all that comes back. */
async function say(text: string): Promise<string> {
  const socket = net.connect(path);
  socket.write(text);
  let answer = '';
  for await (const chunk of socket.setEncoding('utf8') as AsyncIterable<string>) answer += chunk;
  return answer;
}

describe('the control socket', () => {
  test('is for its own user alone, in a folder that is made for it, and is gone at the end', async () => {
    const server = start();
    await standing();
    assert.deepEqual([mode(path), mode(join(folder, 'run'))], ['600', '700']);
    server.close();
    assert.equal(existsSync(path), false);
  });

  test('tells how it goes, and then how it ended', async () => {
    start();
    await standing();
    const progress: string[] = [];
    assert.deepEqual(await ask(progress), { is: 'done', outcome: 'moved', message: 'it has moved', node: 'node-b' });
    assert.deepEqual(progress, ['asked to step-down']);
  });

  test('leaves the permissions of a folder that is there already as they are', async () => {
    mkdirSync(join(folder, 'run'));
    chmodSync(join(folder, 'run'), 0o755);
    start();
    await standing();
    assert.equal(mode(join(folder, 'run')), '755');
  });

  test('replaces what a dead agent has left', async () => {
    mkdirSync(join(folder, 'run'));
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script]);
    assert.ok(existsSync(path));
    start();
    await eventually('it answers', async () => (await ask().catch(() => null)) !== null);
    assert.deepEqual(problems, []);
  });

  test('leaves a living agent alone, says so once, and takes over when that one has ended', async () => {
    const first = start();
    await standing();
    const clock = new ManualClock();
    start({ clock, onRequest: () => Promise.resolve({ outcome: 'kept', message: 'the second', node: null }) });
    await eventually('it has said so', () => problems.length === 1);
    assert.match(problems[0] ?? '', /another process listens there/);
    await clock.advance(5_000);
    assert.equal((await ask()).outcome, 'moved');
    first.close();
    await clock.advance(5_000);
    await eventually('the second answers', async () => (await ask().catch(() => null))?.outcome === 'kept');
    assert.equal(problems.length, 1);
  });

  test('never touches what is no socket', async () => {
    mkdirSync(join(folder, 'run'));
    writeFileSync(path, 'mine');
    start();
    await eventually('it has said so', () => problems.length === 1);
    assert.match(problems[0] ?? '', /something that is no socket: remove it, or name another path in CONTROL_SOCKET/);
    assert.ok(statSync(path).isFile());
  });

  test('is a warning where its folder cannot be made', async () => {
    writeFileSync(join(folder, 'run'), 'a file');
    start();
    await eventually('it has said so', () => problems.length === 1);
    assert.match(problems[0] ?? '', /"leasehold step-down" will not work on this node/);
  });

  test('stops what nobody waits for any more', async () => {
    let gone = false;
    start({
      onRequest: (_, __, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            gone = true;
            reject(new Error('gone'));
          });
        }),
    });
    await standing();
    await assert.rejects(ask([], 50), ControlTrouble);
    await eventually('it has stopped', () => gone);
  });

  for (const [what, text] of [
    ['what is no JSON', 'step down!\n'],
    ['another command', '{"command":"reboot"}\n'],
    ['a command without what it needs', '{"command":"step-down"}\n'],
    ['a wait without an end', '{"command":"step-down","force":false,"waitMs":1e9}\n'],
  ] as const) {
    test(`refuses ${what}, and does nothing`, async () => {
      start({ onRequest: () => assert.fail('it was asked') });
      await standing();
      assert.equal(parseReply((await say(text)).trim())?.is, 'done');
      assert.match(await say(text), /"outcome":"refused"/);
    });
  }

  test('cuts off who never comes to the end of a line', async () => {
    start();
    await standing();
    assert.equal(await say('x'.repeat(10_000)), '');
  });

  test('is not removed at the end by an agent whose own one is gone', async () => {
    const first = start();
    await eventually('the first one listens', async () => await isSomebodyAt(path));
    unlinkSync(path);
    start({ unique: 'other' });
    await eventually('the other one listens', async () => await isSomebodyAt(path));
    first.close();
    assert.equal(await isSomebodyAt(path), true);
  });
});

describe('who asks', () => {
  test('is told that no agent is there', async () => {
    await assert.rejects(ask(), (error) => error instanceof ControlTrouble && error.kind === 'absent');
  });

  test('is told when the agent ends before it has answered', async () => {
    const server = start({ onRequest: () => new Promise(() => undefined) });
    await standing();
    const asked = assert.rejects(ask(), (error) => error instanceof ControlTrouble && error.kind === 'broken');
    await eventually('it has been asked', () => existsSync(path));
    setImmediate(() => server.close());
    await asked;
  });
});

describe('the check of the control socket', () => {
  const look = async (where = path): Promise<string> => {
    const [finding] = await controlCheck(where).run(new AbortController().signal);
    return `${finding?.level ?? ''}: ${finding?.message ?? ''}`;
  };

  test('makes nothing', async () => {
    assert.match(await look(), /^ok: .* can be made$/);
    assert.equal(existsSync(join(folder, 'run')), false);
  });

  test('tells an agent that listens from something else', async () => {
    start();
    await standing();
    assert.match(await look(), /^ok: an agent listens/);
    writeFileSync(join(folder, 'file'), '');
    assert.match(await look(join(folder, 'file')), /^warn: .* is no socket/);
  });
});

test('a request and a reply come back as they were written', () => {
  assert.deepEqual(parseRequest(JSON.stringify(REQUEST)), REQUEST);
  assert.equal(parseReply('{"is":"done","outcome":"perhaps","message":"x"}'), null);
});
