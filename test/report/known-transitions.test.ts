import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { CAUSES } from '../../agent/contender/command.ts';
import { Journal } from '../../agent/report/journal.ts';
import { knownTransitions } from '../../agent/report/known-transitions.ts';
import { run, UNRESTRICTED } from '../simulation/run.ts';

const RUNS = 25;

const key = ({ from, to, reason }: { from: string; to: string; reason: string }): string => `${from} → ${to}: ${reason}`;

describe('the known changes of role', () => {
  const known = knownTransitions().map(key);

  test('are each named once, and every cause but the missing one is among them', () => {
    assert.equal(new Set(known).size, known.length);
    const causes = new Set<string>(knownTransitions().map(({ reason }) => reason));
    assert.deepEqual(
      CAUSES.filter((cause) => !causes.has(cause)),
      ['unstated'],
    );
  });

  test(`are all that agents live through under the faults of ${RUNS} simulated runs, each with a cause`, async () => {
    const report = mock.method(Journal.prototype, 'report');
    for (let index = 0; index < RUNS; index += 1) await run(`roles.${index}`, UNRESTRICTED);
    const seen = new Set(
      report.mock.calls.flatMap(({ arguments: [each] }) => (each.kind === 'transition' ? [key({ ...each, reason: each.cause })] : [])),
    );
    report.mock.restore();
    assert.ok(seen.size > 20, `${seen.size} were seen`);
    assert.deepEqual(
      [...seen].filter((each) => !known.includes(each)),
      [],
    );
  });
});
