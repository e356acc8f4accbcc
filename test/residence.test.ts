import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AbstractSockets, NAME_LENGTH_MAX } from '../agent/link/abstract-socket.ts';
import type { ProcessNames } from '../agent/link/abstract-socket.ts';
import type { UnixPeer } from '../agent/link/libc.ts';
import { establishResidence, residenceNames } from '../agent/residence.ts';
import type { ResidenceReport } from '../agent/residence.ts';
import { ManualClock } from './support/manual-clock.ts';

const NAMES = residenceNames({ namespace: 'default', name: 'leasehold' });
const [FIRST = '', SECOND = '', THIRD = ''] = NAMES;
const STRANGER = { pid: 4_711, uid: 1_000 };

/** Names that several processes of one node share; what dies lets go of its names. */
class Node {
  readonly holders = new Map<string, UnixPeer>();
  asked = 0;

  process(pid: number, uid = 0): ProcessNames & { die: () => void } {
    const mine = { pid, uid };
    return {
      take: (name) => {
        if (this.holders.has(name)) return Promise.resolve(false);
        this.holders.set(name, mine);
        return Promise.resolve(true);
      },
      release: (name) => void this.holders.delete(name),
      holderOf: (name) => {
        const holder = this.holders.get(name) ?? null;
        if (holder !== null) this.asked += 1;
        return holder;
      },
      die: () => {
        for (const [name, holder] of this.holders) if (holder === mine) this.holders.delete(name);
      },
    };
  }
}

class Started {
  readonly clock = new ManualClock();
  readonly ending = new AbortController();
  readonly reports: ResidenceReport[] = [];
  readonly done: Promise<void>;

  constructor(names: ProcessNames, uid = 0) {
    this.done = establishResidence(NAMES, { names, clock: this.clock, uid }, this.ending.signal, (report) => this.reports.push(report));
  }

  async now(): Promise<ResidenceReport | undefined> {
    await this.clock.advance(200);
    return this.reports.at(-1);
  }
}

describe('an agent', () => {
  test('that has the name is alone, for life', async () => {
    const node = new Node();
    const started = new Started(node.process(1));
    assert.equal((await started.now())?.residence, 'alone');
    await started.done;
    assert.deepEqual([...node.holders.keys()], [FIRST]);
  });

  test('that finds another one waits, says whom for, and is alone as soon as that one has died', async () => {
    const node = new Node();
    const first = node.process(1);
    await new Started(first).done;
    const second = new Started(node.process(2));
    assert.equal((await second.now())?.residence, 'shared');
    assert.match(second.reports[0]?.reason ?? '', /process 1\b/);
    await second.clock.advance(10_000);
    assert.equal(second.reports.length, 1, 'it says so once');
    first.die();
    assert.equal((await second.now())?.residence, 'alone');
  });

  test('that waits hardly ever asks who has the name: one that is frozen would answer only so often', async () => {
    const node = new Node();
    await new Started(node.process(1)).done;
    const second = new Started(node.process(2));
    await second.clock.advance(50_000);
    assert.ok(node.asked < 10, `asked ${node.asked} times`);
    second.ending.abort(new Error('enough'));
    await second.done;
  });

  test('knows an agent that runs as the same ordinary user', async () => {
    const node = new Node();
    await new Started(node.process(1, 998), 998).done;
    assert.equal((await new Started(node.process(2, 998), 998).now())?.residence, 'shared');
  });

  test('passes over a name that another user has taken, reports it, proves nothing, and is known to others all the same', async () => {
    const node = new Node();
    node.holders.set(FIRST, STRANGER);
    const first = new Started(node.process(1));
    assert.equal((await first.now())?.residence, 'unsure', 'the stranger may be an agent that runs as another user');
    assert.match(first.reports[0]?.reason ?? '', /process 4711 of user 1000/);
    await first.done;
    assert.equal((await new Started(node.process(2)).now())?.residence, 'shared');
    node.holders.delete(FIRST);
    const third = new Started(node.process(3));
    assert.equal((await third.now())?.residence, 'shared', 'the name is free now, but an agent lives at the next one');
    assert.deepEqual([...node.holders.keys()], [SECOND], 'and it keeps nothing while it waits');
  });

  test('proves nothing beside one that does not answer, such as an agent that is frozen', async () => {
    const node = new Node();
    node.holders.set(FIRST, { pid: null, uid: null });
    assert.equal((await new Started(node.process(1)).now())?.residence, 'unsure');
  });

  test('finds an agent that took a later name while strangers came and went', async () => {
    const node = new Node();
    node.holders.set(FIRST, STRANGER);
    node.holders.set(THIRD, { pid: 9, uid: 0 });
    assert.equal((await new Started(node.process(1)).now())?.residence, 'shared');
  });

  test('is unsure where strangers have every name, goes on without proof, and takes a name as soon as there is one', async () => {
    const node = new Node();
    for (const name of NAMES) node.holders.set(name, STRANGER);
    const started = new Started(node.process(1));
    assert.equal((await started.now())?.residence, 'unsure');
    node.holders.delete(FIRST);
    await started.now();
    assert.equal(node.holders.get(FIRST)?.pid, 1);
    await started.done;
  });

  test('says that the other one is in another container where the kernel gives it no number', async () => {
    const node = new Node();
    node.holders.set(FIRST, { pid: 0, uid: 0 });
    assert.match((await new Started(node.process(1)).now())?.reason ?? '', /in another container/);
  });

  test('is unsure where the kernel does not let it take a name, and says why', async () => {
    const started = new Started({ ...new Node().process(1), take: () => Promise.reject(new Error('listen EPERM')) });
    assert.match((await started.now())?.reason ?? '', /EPERM/);
  });
});

test('names say which Lease they are for, and always fit into an address', () => {
  assert.equal(FIRST, 'leasehold/default/leasehold/0');
  const long = residenceNames({ namespace: 'n'.repeat(63), name: 'l'.repeat(253) });
  for (const name of [...NAMES, ...long]) assert.ok(name.length <= NAME_LENGTH_MAX);
  assert.notDeepEqual(long, residenceNames({ namespace: 'n'.repeat(63), name: 'm'.repeat(253) }));
});

describe('real names', () => {
  const name = `leasehold-test/${process.pid}`;
  const holder = `
    import { AbstractSockets } from ${JSON.stringify(fileURLToPath(new URL('../agent/link/abstract-socket.ts', import.meta.url)))};
    if (process.argv[1] !== undefined) process.setuid(Number(process.argv[1]));
    if (!(await new AbstractSockets().take(${JSON.stringify(name)}))) process.exit(3);
    process.send('taken');
    setInterval(() => undefined, 1_000);`;

  async function anotherProcess(...args: string[]): Promise<{ pid: number; kill: (signal: NodeJS.Signals) => Promise<void> }> {
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', holder, ...args], {
      // Not the output of the tests: a process that is killed leaves it so that writing does not wait.
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    await new Promise((resolve) => child.once('message', resolve));
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    return {
      pid: child.pid ?? 0,
      kill: (signal) => {
        child.kill(signal);
        return ended;
      },
    };
  }

  test('are held until the process is killed, and tell who has them', async () => {
    const names = new AbstractSockets();
    assert.equal(names.holderOf(name), null);
    const other = await anotherProcess();
    assert.deepEqual(names.holderOf(name), { pid: other.pid, uid: process.getuid?.() });
    assert.equal(await names.take(name), false);
    await other.kill('SIGKILL');
    assert.equal(names.holderOf(name), null);
    assert.equal(await names.take(name), true);
    names.release(name);
  });

  test('are held by a process that is frozen, too', async () => {
    const names = new AbstractSockets();
    const other = await anotherProcess();
    process.kill(other.pid, 'SIGSTOP');
    assert.equal(await names.take(name), false);
    assert.equal(names.holderOf(name)?.pid, other.pid);
    await other.kill('SIGKILL');
  });

  const canChangeUser = process.getuid?.() === 0 && spawnSync('setpriv', ['--reuid=1000', 'true']).status === 0;
  test('tell an ordinary user from root', { skip: canChangeUser ? false : 'only root can run a process as another user' }, async () => {
    const other = await anotherProcess('1000');
    assert.equal(new AbstractSockets().holderOf(name)?.uid, 1_000);
    await other.kill('SIGKILL');
  });
});
