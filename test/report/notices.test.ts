import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { pino } from 'pino';
import { ok, warn } from '../../agent/finding.ts';
import { Notices } from '../../agent/report/notices.ts';

let lines: { readonly level: number; readonly msg: string }[];
let notices: Notices;

beforeEach(() => {
  lines = [];
  notices = new Notices(pino({ level: 'trace' }, { write: (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[number]) }));
});

const CHECKED = { at: '2026-11-21T08:00:00Z', findings: [ok('token', 'it may read'), ok('refresh token', 'as it was')] };

describe('what a provider tells of later', () => {
  test('is logged with what to do, loudly where something is to be done, and again only when it is news', () => {
    const replaced = warn('refresh token', 'it was replaced', 'log in');
    notices.note(replaced);
    notices.note({ ...replaced });
    notices.note(ok('refresh token', 'there is another one'));
    assert.deepEqual(
      lines.map(({ level, msg }) => `${level} ${msg}`),
      ['50 it was replaced: log in', '30 there is another one'],
    );
  });

  test('takes the place of what the checks had found of the same thing', () => {
    assert.deepEqual(notices.addedTo(CHECKED), CHECKED);
    const replaced = warn('refresh token', 'it was replaced', 'log in');
    notices.note(replaced);
    assert.deepEqual(notices.addedTo(CHECKED), { ...CHECKED, findings: [CHECKED.findings[0], replaced] });
    assert.equal(notices.addedTo(null), null);
  });
});
