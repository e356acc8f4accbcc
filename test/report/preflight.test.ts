import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { Logger } from 'pino';
import { fail, ok, warn } from '../../agent/finding.ts';
import { PreflightLog } from '../../agent/report/preflight.ts';
import { ManualClock } from '../support/manual-clock.ts';

let lines: [fields: object, text: string][];
let clock: ManualClock;
let preflight: PreflightLog;

beforeEach(() => {
  lines = [];
  clock = new ManualClock();
  preflight = new PreflightLog({ error: (fields: object, text: string) => lines.push([fields, text]) } as unknown as Logger, clock);
});

const REFUSED = fail('provider', 'the token is not accepted', 'make another one');

describe('what the checks at the start have found', () => {
  test('is nothing until they have ended, and then the latest, with its time', async () => {
    assert.equal(preflight.latest, null);
    preflight.note([REFUSED]);
    await clock.advance(30_000);
    const findings = [ok('provider', 'well')];
    preflight.note(findings);
    assert.deepEqual(preflight.latest, { at: new Date(clock.wallMs()).toISOString(), findings });
  });

  test('is logged where it fails, with what to do, and not where it is well or only worth knowing', () => {
    preflight.note([ok('lease', 'well'), REFUSED, warn('listen', 'taken', 'free it'), { ...REFUSED, name: 'interface', advice: null }]);
    assert.deepEqual(lines, [
      [{ event: 'preflight', check: 'provider' }, 'provider: the token is not accepted: make another one'],
      [{ event: 'preflight', check: 'interface' }, 'interface: the token is not accepted'],
    ]);
  });

  test('is not logged again while it stays as it is, but is when it comes back', () => {
    preflight.note([REFUSED]);
    preflight.note([REFUSED]);
    assert.equal(lines.length, 1);
    preflight.note([ok('provider', 'well')]);
    preflight.note([REFUSED]);
    assert.equal(lines.length, 2);
  });
});
