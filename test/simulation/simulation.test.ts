import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { drawPlan, FAULT_KINDS, FAULTS } from './faults.ts';
import { Random } from './random.ts';
import { run, UNRESTRICTED } from './run.ts';
import { drawScenario } from './scenario.ts';
import { fewestThat } from './shrink.ts';
import { VirtualTime } from './virtual-time.ts';
import { WEAKENINGS } from './weakenings.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const RUNS = 24;

describe('the simulation', () => {
  test('the same seed gives the same history, line by line', async () => {
    const first = await run('determinism', UNRESTRICTED, { keepsHistory: true });
    const second = await run('determinism', UNRESTRICTED, { keepsHistory: true });
    assert.ok(first.history.length > 100, `${first.history.length} lines`);
    assert.deepEqual(second, first);
  });

  test('keeping a history changes nothing', async () => {
    const { history, ...quiet } = await run('determinism', UNRESTRICTED);
    assert.deepEqual(history, []);
    assert.deepEqual({ ...(await run('determinism', UNRESTRICTED, { keepsHistory: true })), history: [] }, { ...quiet, history: [] });
  });

  test('another seed gives another history', async () => {
    const [one, other] = [await run('one', UNRESTRICTED, { keepsHistory: true }), await run('other', UNRESTRICTED, { keepsHistory: true })];
    assert.notDeepEqual(one.history, other.history);
  });

  for (let index = 0; index < RUNS; index += 1) {
    test(`nothing breaks under the faults of seed ci.${index}`, async () => {
      const { violation } = await run(`ci.${index}`, UNRESTRICTED);
      assert.equal(violation, null);
    });
  }

  test('a renewal that reaches the kernel late, when the address has just run out, is nothing to announce', async () => {
    const { violation } = await run('1795316516055.10', UNRESTRICTED, { kept: [0, 4] });
    assert.equal(violation, null);
  });

  test('every kind of fault is drawn', () => {
    const drawn = new Set<string>();
    for (let index = 0; index < 500; index += 1) {
      const random = new Random(`plan ${index}`);
      for (const { kind } of drawPlan(random, drawScenario(random, null), FAULT_KINDS)) drawn.add(kind);
    }
    assert.deepEqual([...drawn].sort(), FAULT_KINDS.filter((kind) => FAULTS[kind].weight > 0).sort());
  });
});

describe('the weakenings', () => {
  for (const { name, edits, caughtBy } of WEAKENINGS) {
    test(`${name}: what it replaces is in the product once`, () => {
      for (const { file, find } of edits) assert.equal(readFileSync(join(ROOT, file), 'utf8').split(find).length - 1, 1, file);
      assert.ok(caughtBy.length > 0);
    });
  }
});

describe('shrinking', () => {
  for (const needed of [[], [0], [7], [3, 11], [0, 1, 2], [2, 6, 9, 13]]) {
    test(`finds that ${needed.length === 0 ? 'nothing' : needed.join(' and ')} is enough`, async () => {
      const kept = await fewestThat(16, (some) => Promise.resolve(needed.every((index) => some.includes(index))));
      assert.deepEqual(kept, needed);
    });
  }
});

describe('virtual time', () => {
  test('passes in order, whatever the order of planning', async () => {
    const time = new VirtualTime();
    const random = new Random('heap');
    const happened: number[] = [];
    for (let index = 0; index < 500; index += 1) time.at(random.integer(0, 100), () => happened.push(time.nowMs));
    await time.run(1_000, () => false);
    assert.deepEqual(
      happened,
      happened.toSorted((a, b) => a - b),
    );
    assert.equal(happened.length, 500);
    assert.equal(time.nowMs, 1_000);
  });

  test('what was planned first for one instant happens first, and what was called off does not', async () => {
    const time = new VirtualTime();
    const happened: string[] = [];
    time.at(5, () => happened.push('first'));
    const callOff = time.at(5, () => happened.push('called off'));
    time.at(5, () => happened.push('second'));
    callOff();
    await time.run(10, () => false);
    assert.deepEqual(happened, ['first', 'second']);
  });
});
