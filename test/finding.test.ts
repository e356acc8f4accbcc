import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fail, keepChecking, ok, runChecks } from '../agent/finding.ts';
import type { Check, Finding } from '../agent/finding.ts';
import { ManualClock } from './support/manual-clock.ts';

const never = new AbortController().signal;
const found = (...findings: readonly Finding[]): Check => ({ name: 'x', run: () => Promise.resolve(findings) });

describe('checks', () => {
  test('are told in their order, whichever ends first', async () => {
    let end = (): void => undefined;
    const slow: Check = { name: 'slow', run: () => new Promise((resolve) => (end = () => resolve([ok('slow', 'x')]))) };
    const running = runChecks([slow, found(ok('fast', 'x'))], new ManualClock(), never);
    end();
    assert.deepEqual(
      (await running).map(({ name }) => name),
      ['slow', 'fast'],
    );
  });

  test('that throw or never end are findings, too, and keep no other from being made', async () => {
    const clock = new ManualClock();
    const broken: Check = { name: 'broken', run: () => Promise.reject(new Error('it is broken')) };
    const stuck: Check = { name: 'stuck', run: () => new Promise(() => undefined) };
    const running = runChecks([broken, stuck, found(ok('well', 'x'))], clock, never);
    await clock.advance(10_000);
    const findings = await running;
    assert.deepEqual(
      findings.map(({ name, level }) => [name, level]),
      [
        ['broken', 'fail'],
        ['stuck', 'fail'],
        ['well', 'ok'],
      ],
    );
    assert.match(findings[0]?.message ?? '', /it is broken/);
    assert.match(findings[1]?.message ?? '', /no answer within 10000ms/);
  });

  test('are made again for as long as one fails, and no longer', async () => {
    const clock = new ManualClock();
    const results = [fail('x', 'no', 'do something'), fail('x', 'no', 'do something'), ok('x', 'yes')];
    const told: string[] = [];
    const check: Check = { name: 'x', run: () => Promise.resolve([results.shift() ?? ok('x', 'again')]) };
    const running = keepChecking([check], clock, never, (findings) => told.push(findings[0]?.message ?? ''));
    await clock.advance(0);
    assert.deepEqual(told, ['no']);
    await clock.advance(30_000);
    assert.deepEqual(told, ['no', 'no']);
    await clock.advance(60_000);
    await running;
    assert.deepEqual(told, ['no', 'no', 'yes']);
  });
});
