import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { judge, UNDECIDED } from '../../agent/probe/judge.ts';

/** What a judge makes of a row of answers: + for a good one, - for a bad one. */
function verdicts(answers: string, rise: number, fall: number): string {
  let judgement = UNDECIDED;
  return Array.from(answers)
    .map((answer) => {
      judgement = judge(judgement, answer === '+' ? null : 'refused', { rise, fall });
      return judgement.healthy === null ? '?' : judgement.healthy ? '+' : '-';
    })
    .join('');
}

describe('a probe', () => {
  test('is undecided until enough answers in a row agree', () => {
    assert.equal(verdicts('+', 1, 2), '+');
    assert.equal(verdicts('--', 1, 2), '?-');
    assert.equal(verdicts('+-++', 2, 2), '???+');
    assert.equal(verdicts('-+-+', 2, 2), '????');
  });

  test('falls after so many bad answers in a row, and a good one in between starts the count anew', () => {
    assert.equal(verdicts('+-+--', 1, 2), '++++-');
    assert.equal(verdicts('+--', 1, 1), '+--');
  });

  test('rises after so many good answers in a row', () => {
    assert.equal(verdicts('--+++', 3, 2), '?---+');
    assert.equal(verdicts('--++-+++', 3, 2), '?------+');
  });

  test('remembers why it fell', () => {
    assert.equal(judge(UNDECIDED, 'connection refused', { rise: 1, fall: 1 }).reason, 'connection refused');
  });
});
