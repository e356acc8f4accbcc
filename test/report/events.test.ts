import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import type { Report, Role } from '../../agent/contender/command.ts';
import { EventChoice, INCIDENT_EVENTS, leaseUidOf, ROLE_EVENTS } from '../../agent/report/events.ts';

const IP = '203.0.113.10';
const TERM = { uid: 'lease-uid', transitions: 4, holder: 'node-a_1_2' };

const becomes = (from: Role, to: Role, reason: string): Report => ({ kind: 'transition', from, to, reason, term: TERM, elapsedMs: 5 });
const choice = (): EventChoice => new EventChoice('node-a', [IP, '2001:db8::1']);
const said = (all: EventChoice, ...reports: Report[]): string[] =>
  reports.flatMap((report) => all.of(report).map(({ type, reason, note }) => `${type} ${reason}: ${note}`));

describe('what becomes an Event', () => {
  test('is a change of office, with the reason why the Lease was reached for', () => {
    const story = said(
      choice(),
      becomes('starting', 'standby', 'saw the Lease for the first time'),
      becomes('standby', 'acquiring', 'node-b has not renewed the Lease for its whole duration'),
      becomes('acquiring', 'claiming', 'the Lease names this agent now, in term 4'),
      becomes('claiming', 'serving', 'every address is bound and routed here'),
      becomes('serving', 'stepping-down', 'asked to end by SIGTERM'),
      becomes('stepping-down', 'leaving', 'the Lease is released'),
      becomes('leaving', 'stopped', 'nothing is left to do'),
    );
    assert.deepEqual(story, [
      'Normal BecameHolder: node-a became the holder: node-b has not renewed the Lease for its whole duration',
      `Normal Serving: node-a serves ${IP}, 2001:db8::1: every address is bound and routed here`,
      'Normal SteppedDown: node-a steps down: asked to end by SIGTERM',
    ]);
  });

  test('is an office that was lost, whether the address is held over or not', () => {
    for (const to of ['standby', 'holding-over'] as const) {
      assert.deepEqual(said(choice(), becomes('serving', to, 'no renewal has succeeded for 2001ms: the tenure is over')), [
        'Warning LostLease: node-a lost the Lease: no renewal has succeeded for 2001ms: the tenure is over',
      ]);
    }
  });

  test('is not an attempt that brought no office', () => {
    assert.deepEqual(said(choice(), becomes('standby', 'acquiring', 'x'), becomes('acquiring', 'standby', 'another was faster')), []);
  });

  test('names the address that an incident is about', () => {
    const report: Report = { kind: 'incident', event: 'conflict', message: '52:54:00:00:00:01 says that it has the address', address: IP };
    assert.deepEqual(said(choice(), report), [`Warning AddressConflict: node-a: ${IP}: 52:54:00:00:00:01 says that it has the address`]);
  });

  test('is told of the pod alone where it concerns nothing but this agent', () => {
    const [happening] = choice().of({ kind: 'incident', event: 'hindered', message: 'not contending: x', address: null });
    assert.deepEqual([happening?.reason, happening?.about], ['NotContending', 'pod']);
  });

  test('has a reason and an action in UpperCamelCase, and no reason stands for two things', () => {
    const kinds = [...Object.values(ROLE_EVENTS), ...Object.values(INCIDENT_EVENTS).filter((kind) => kind !== null)];
    for (const { reason, action } of kinds) for (const word of [reason, action]) assert.match(word, /^([A-Z][a-z]+)+$/);
    assert.equal(new Set(kinds.map(({ reason }) => reason)).size, kinds.length);
  });

  test('is in the documentation, with its type and what it is told of, and nothing else is', () => {
    const page = readFileSync(new URL('../../docs/events.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| `(\w+)` \| (\w+) \| ([^|]+) \|/gm)].map(([, ...cells]) => cells.join(' '));
    const kinds = [...Object.values(ROLE_EVENTS), ...Object.values(INCIDENT_EVENTS).filter((kind) => kind !== null)];
    const expected = kinds.map(({ reason, type, about }) => `${reason} ${type} ${about === 'pod' ? 'pod' : 'Lease, pod'}`);
    assert.deepEqual(rows.sort(), expected.sort());
  });

  test('regards the Lease that was seen, and one that was deleted by the term that ended with it', () => {
    const lost = becomes('serving', 'standby', 'the Lease was deleted');
    const seen = { sinceMs: 0, lastTerm: null, longestDurationMs: 0, confirmedAtMs: null };
    assert.equal(leaseUidOf(lost, { observation: { ...seen, sight: 'absent' } }), 'lease-uid');
    assert.equal(leaseUidOf({ kind: 'incident', event: 'stalled', message: '', address: null }, { observation: null }), null);
  });
});
