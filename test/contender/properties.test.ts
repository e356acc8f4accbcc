import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { step } from '../../agent/contender/contender.ts';
import type { Command } from '../../agent/contender/command.ts';
import type { Input } from '../../agent/contender/input.ts';
import { NO_MARKS } from '../../agent/contender/lease.ts';
import type { LeaseSight, Term } from '../../agent/contender/lease.ts';
import { newContender } from '../../agent/contender/state.ts';
import type { Contender } from '../../agent/contender/state.ts';
import { ADDRESS, ME, OTHER, record, SETTINGS } from './driver.ts';

/** Any sight of a Lease, with marks that fit its term about half of the time. */
const sights: fc.Arbitrary<LeaseSight> = fc.oneof(
  fc.constant('absent' as const),
  fc
    .record({
      uid: fc.constantFrom('uid-1', 'uid-2'),
      resourceVersion: fc.nat(50).map(String),
      holder: fc.constantFrom('', ME, OTHER),
      transitions: fc.nat(4),
      renewTime: fc.option(fc.nat(5).map((n) => `t${n}`)),
      acquireTime: fc.option(fc.constant('t0')),
      durationMs: fc.option(fc.constantFrom(1_000, 3_000, 15_000)),
      isOurs: fc.boolean(),
      fitting: fc.boolean(),
      mark: fc.constantFrom('none', 'released', 'relief', 'ask'),
    })
    .map(({ fitting, mark, ...fields }) => {
      const term: Term = {
        uid: fields.uid,
        transitions: fields.transitions + (fitting ? 0 : 1),
        holder: fields.holder === '' ? OTHER : fields.holder,
      };
      const marks = { ...NO_MARKS };
      if (mark === 'released') return record(fields, { ...marks, released: term });
      if (mark === 'relief') return record(fields, { ...marks, relief: { term, cause: 'unhealthy', reason: 'x' } });
      return record(fields, mark === 'ask' ? { ...marks, ask: { term, by: OTHER } } : marks);
    }),
);

const troubles = fc
  .constantFrom('refused', 'throttled', 'unavailable', 'unknown', 'unreachable', 'aborted')
  .map((is) => ({ is, message: 'x', retryAfterMs: null }) as const);

/** What may happen next; answers are given to the request, claim or read that is under way. */
const events = fc.oneof(
  { weight: 8, arbitrary: fc.constant({ type: 'tick' } as const) },
  { weight: 2, arbitrary: sights.map((sight) => ({ type: 'lease-seen', sight }) as const) },
  {
    weight: 4,
    arbitrary: fc
      .oneof(
        sights.map((sight) => ({ is: 'read', sight }) as const),
        troubles,
      )
      .map((outcome) => ({ type: 'lease-read', outcome }) as const),
  },
  {
    weight: 8,
    arbitrary: fc
      .oneof(
        { weight: 5, arbitrary: fc.constant('good' as const) },
        { weight: 1, arbitrary: fc.constant({ is: 'conflict' } as const) },
        fc.constant({ is: 'missing' } as const),
        troubles,
      )
      .map((outcome) => ({ type: 'lease-written', outcome }) as const),
  },
  fc.boolean().map((healthy) => ({ type: 'verdict', healthy, reason: 'x' }) as const),
  fc.boolean().map((ready) => ({ type: 'provider-readiness', ready, reason: 'x' }) as const),
  fc.constantFrom('alone', 'shared', 'unsure').map((residence) => ({ type: 'residence', residence, reason: 'x' }) as const),
  fc.constantFrom('absent', 'ours', 'foreign').map((view) => ({ type: 'looked', view }) as const),
  {
    weight: 3,
    arbitrary: fc.constantFrom('bound', 'foreign', 'too-late', 'failed').map((outcome) => ({ type: 'bind-done', outcome }) as const),
  },
  fc.constantFrom('unbound', 'failed').map((outcome) => ({ type: 'unbind-done', outcome }) as const),
  {
    weight: 3,
    arbitrary: fc.constantFrom('confirmed', 'withdrawn', 'failed').map((outcome) => ({ type: 'claim-done', outcome }) as const),
  },
  { weight: 2, arbitrary: fc.constantFrom('self', 'other', 'nobody', 'unknown').map((is) => ({ type: 'owner-read', is }) as const) },
  { weight: 1, arbitrary: fc.constant({ type: 'shutdown' } as const) },
  { weight: 1, arbitrary: fc.option(fc.nat(5_000)).map((waitMs) => ({ type: 'step-down-requested', waitMs }) as const) },
);

type Event = typeof events extends fc.Arbitrary<infer Each> ? Each : never;

/** Fills in what an event cannot know beforehand. */
function inputOf(event: Event, contender: Contender, issued: readonly Command[], atMs: number): Input {
  const request = contender.request?.id ?? 0;
  switch (event.type) {
    case 'lease-read':
      return { ...event, request, atMs };
    case 'lease-written': {
      if (event.outcome !== 'good') return { type: 'lease-written', request, outcome: event.outcome, atMs };
      const command = issued.findLast((each) => 'request' in each && each.type !== 'abort-request' && each.request === request);
      const transitions =
        command !== undefined && 'transitions' in command
          ? command.transitions
          : contender.life.is === 'holding'
            ? contender.life.office.term.transitions
            : 1;
      const uid = command !== undefined && 'basis' in command ? command.basis.uid : 'uid-1';
      const written = record({
        holder: command?.type === 'release' ? '' : ME,
        uid,
        transitions,
        resourceVersion: `w${issued.length}`,
        renewTime: `w${issued.length}`,
      });
      return { type: 'lease-written', request, outcome: { is: 'written', record: written }, atMs };
    }
    case 'looked': {
      const view =
        event.view === 'ours'
          ? ({ is: 'ours', remainingMs: 2_000 } as const)
          : event.view === 'foreign'
            ? ({ is: 'foreign', interfaceName: 'lo' } as const)
            : ({ is: 'absent' } as const);
      return {
        type: 'looked',
        view: { problem: null, isPresent: true, interfaces: {}, reasons: {}, addresses: { [ADDRESS]: view }, plugged: {}, rivals: {} },
        atMs,
      };
    }
    case 'bind-done':
      return {
        type: 'bind-done',
        address: ADDRESS,
        outcome:
          event.outcome === 'foreign'
            ? { is: 'foreign', interfaceName: 'lo' }
            : event.outcome === 'failed'
              ? { is: 'failed', message: 'x' }
              : { is: event.outcome },
        atMs,
      };
    case 'unbind-done':
      return {
        type: 'unbind-done',
        address: ADDRESS,
        outcome: event.outcome === 'failed' ? { is: 'failed', message: 'x' } : { is: 'unbound' },
        atMs,
      };
    case 'claim-done': {
      const attempt = issued.findLast((each) => each.type === 'claim')?.attempt ?? 0;
      return {
        type: 'claim-done',
        address: ADDRESS,
        attempt,
        outcome: event.outcome === 'failed' ? { is: 'failed', definitive: false, message: 'x' } : { is: event.outcome },
        atMs,
      };
    }
    case 'owner-read': {
      const attempt = issued.findLast((each) => each.type === 'verify-owner')?.attempt ?? 0;
      const owner =
        event.is === 'other'
          ? ({ is: 'other', name: 'x' } as const)
          : event.is === 'unknown'
            ? ({ is: 'unknown', message: 'x' } as const)
            : ({ is: event.is } as const);
      return { type: 'owner-read', address: ADDRESS, attempt, owner, atMs };
    }
    case 'shutdown':
      return { type: 'shutdown', reason: 'x', atMs };
    case 'step-down-requested':
      return { type: 'step-down-requested', reason: 'x', untilMs: event.waitMs === null ? null : atMs + event.waitMs, atMs };
    default:
      return { ...event, atMs };
  }
}

const schedules = fc.array(fc.tuple(fc.oneof({ weight: 6, arbitrary: fc.nat(300) }, fc.nat(4_000)), events), {
  minLength: 1,
  maxLength: 120,
});

for (const [kind, onApiLoss] of [
  ['routed', 'hold'],
  ['routed', 'release'],
  ['l2', 'hold'],
] as const) {
  test(`whatever happens in whatever order, a contender (${kind}, ${onApiLoss}) keeps the rules`, () => {
    fc.assert(
      fc.property(schedules, (schedule) => {
        let nowMs = 1_000;
        let contender = newContender({ ...SETTINGS, kind, onApiLoss, worstMoveMs: kind === 'routed' ? 30_000 : 0 }, nowMs);
        let tenureEndMs = Number.NEGATIVE_INFINITY;
        let sentAtMs = 0;
        const issued: Command[] = [];
        for (const [ms, event] of schedule) {
          nowMs += ms;
          const input = inputOf(event, contender, issued, nowMs);
          const before = contender;
          const frozen = JSON.stringify(before);
          const result = step(before, input);
          assert.equal(JSON.stringify(before), frozen, 'the state that a step starts from is never changed');
          contender = result.contender;
          issued.push(...result.commands);

          const isGood = input.type === 'lease-written' && before.request?.id === input.request && input.outcome.is === 'written';
          if (isGood && (before.life.is === 'acquiring' || before.life.is === 'holding'))
            tenureEndMs = Math.max(tenureEndMs, sentAtMs + SETTINGS.renewDeadlineMs);
          if (contender.life.is === 'holding') {
            assert.ok(nowMs < contender.life.office.tenureEndMs, 'nobody holds after its tenure');
            assert.ok(contender.life.office.tenureEndMs <= tenureEndMs, 'only a good write, counted from its sending, prolongs a tenure');
          }
          for (const command of result.commands) {
            const isHolding = contender.life.is === 'holding';
            if (command.type === 'claim') assert.ok(isHolding && kind === 'routed', 'only a holder claims');
            if (command.type === 'renew') assert.ok(isHolding, 'only a holder renews');
            if (command.type === 'bind' && !isHolding) {
              const allowed = onApiLoss === 'hold' && kind === 'routed' ? ['lingering', 'held-over'] : ['lingering'];
              assert.ok(allowed.includes(contender.addresses[ADDRESS]?.is ?? ''), 'only a holder binds, or one that lingers or holds over');
            }
            if (command.type === 'bind' && kind === 'l2')
              assert.ok(command.untilMs <= tenureEndMs + 1_000, 'on L2 an address outlives no other node’s wait');
            if (command.type === 'release') {
              assert.equal(input.type, 'lease-read', 'a release follows a fresh read');
              assert.ok(input.type === 'lease-read' && input.outcome.is === 'read' && input.outcome.sight !== 'absent');
              assert.equal(input.outcome.sight.holder, ME);
              assert.equal(command.basis.resourceVersion, input.outcome.sight.resourceVersion);
              if (kind === 'l2')
                assert.equal(contender.addresses[ADDRESS]?.is, 'absent', 'on L2 nothing is released that is not seen unbound');
            }
            if ('request' in command && command.type !== 'abort-request') {
              assert.ok(command.timeoutMs > 0);
              sentAtMs = nowMs;
            }
          }
          const requests = result.commands.filter((command) => 'request' in command && command.type !== 'abort-request');
          assert.ok(requests.length <= 1, 'one request at a time');
          assert.ok(contender.wakeAtMs > nowMs || contender.life.is === 'stopped', 'what is due has been done');
        }
      }),
      { numRuns: 2_000 },
    );
  });
}
