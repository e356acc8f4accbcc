import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { Budget } from '../../agent/provider/budget.ts';
import type { Counted, HeldBack, Purpose } from '../../agent/provider/budget.ts';
import type { ProviderAnswer } from '../../agent/provider/http.ts';
import type { Limit, ProviderProfile } from '../../agent/provider/profile.ts';
import { profileOf, PROVIDER_NAMES } from '../../agent/provider/profiles.ts';
import { ManualClock } from '../support/manual-clock.ts';

const IP = '203.0.113.10';
const SECOND = '2001:db8::1';
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** A window is a second longer than it says. */
const EDGE_MS = 1_000;
const MOVE = 'PATCH /addresses/{id}';
const READ = 'GET /addresses/{id}';
const API = 'https://api.example.org';

const limit = (fields: Partial<Limit>): Limit => ({
  name: 'moves',
  operations: [MOVE],
  max: 10,
  withinMs: 5 * MINUTE_MS,
  reserve: 3,
  ...fields,
});

function profile(limits: readonly Limit[], more: Partial<ProviderProfile> = {}): ProviderProfile {
  return {
    kind: 'routed',
    claimTimeoutMs: 30_000,
    verifyIntervalMs: 30_000,
    operations: { [READ]: { success: '200' }, [MOVE]: { success: '202', isMove: true } },
    limits,
    ...more,
  };
}

let clock: ManualClock;
let notices: string[];

beforeEach(() => {
  clock = new ManualClock();
  notices = [];
});

function open(
  limits: readonly Limit[],
  { movesPerHour = 1_000, more = {} }: { movesPerHour?: number; more?: Partial<ProviderProfile> } = {},
): Budget {
  return new Budget(profile(limits, more), { addresses: [IP, SECOND], movesPerHour }, clock, (message) => notices.push(message));
}

function ask(budget: Budget, purpose: Purpose, operation = MOVE, address: string | null = IP, origin = API): Counted | HeldBack {
  return budget.admit({ operation, origin, purpose, address });
}

/** How many requests in a row are admitted, at this instant. */
function admitted(budget: Budget, purpose: Purpose, operation = MOVE): number {
  for (let count = 0; count < 200; count += 1) if ('untilMs' in ask(budget, purpose, operation)) return count;
  return assert.fail('everything is admitted');
}

/** Sends one request that is answered like this. */
function answered(budget: Budget, answer: Partial<ProviderAnswer>, purpose: Purpose = 'first-claim', origin = API): void {
  const counted = ask(budget, purpose, READ, null, origin);
  assert.ok('answered' in counted);
  counted.answered({ status: 200, headers: {}, body: '', ...answer });
}

const headersOf = (remaining: number, total = 3_600): ProviderAnswer['headers'] => ({
  'ratelimit-limit': String(total),
  'ratelimit-remaining': String(remaining),
  'ratelimit-reset': String(Math.ceil(clock.wallMs() / 1_000) + (total - remaining)),
});

describe('the ledger', () => {
  test('lets a term’s first claim use everything, and a claim that repeats another only what is not kept for it', () => {
    const budget = open([limit({})]);
    assert.equal(admitted(budget, 'claim-again'), 7);
    assert.equal(admitted(budget, 'first-claim'), 3);
    assert.equal(admitted(budget, 'first-claim'), 0);
  });

  test('keeps verification from what a claim needs, and the question whether the provider can be used from both', () => {
    const budget = open([limit({ operations: [READ], max: 100, reserve: 20, withinMs: HOUR_MS })]);
    assert.equal(admitted(budget, 'preparation', READ), 40);
    assert.equal(admitted(budget, 'verification', READ), 20);
    assert.equal(admitted(budget, 'claim-again', READ), 20);
    assert.equal(admitted(budget, 'first-claim', READ), 20);
  });

  test('says until when, to the instant, and in words with the limit’s name', () => {
    const budget = open([limit({})]);
    const startMs = clock.nowMs();
    admitted(budget, 'claim-again');
    clock.freeze(MINUTE_MS);
    const held = ask(budget, 'claim-again');
    assert.ok('untilMs' in held);
    assert.equal(held.untilMs, startMs + 5 * MINUTE_MS + EDGE_MS);
    assert.equal(held.message, 'not asked before 2026-11-21T08:05:01Z: moves: 10 within 5 min, and the rest is kept for a failover');
    clock.freeze(held.untilMs - clock.nowMs() - 1);
    assert.ok('untilMs' in ask(budget, 'claim-again'));
    clock.freeze(1);
    assert.ok('answered' in ask(budget, 'claim-again'));
  });

  test('obeys the narrowest of several limits', () => {
    const budget = open([limit({}), limit({ name: 'moves an hour', max: 20, withinMs: HOUR_MS, reserve: 5 })]);
    let moves = 0;
    for (let minute = 0; minute < 59; minute += 1) {
      moves += admitted(budget, 'claim-again');
      clock.freeze(MINUTE_MS);
    }
    assert.equal(moves, 15);
    const held = ask(budget, 'claim-again');
    assert.ok('untilMs' in held && held.message.includes('moves an hour: 20 within 1 h'));
  });

  test('counts what is asked for side by side before any of it is answered', () => {
    const budget = open([limit({ max: 2, reserve: 0 })]);
    const [one, two] = [ask(budget, 'claim-again', MOVE, IP), ask(budget, 'claim-again', MOVE, SECOND)];
    assert.ok('answered' in one && 'answered' in two);
    assert.ok('untilMs' in ask(budget, 'claim-again'));
    one.answered(null);
    assert.ok('untilMs' in ask(budget, 'claim-again'), 'without an answer it may have counted');
  });

  test('does not count what never left this machine', () => {
    const budget = open([limit({})]);
    for (let times = 0; times < 50; times += 1) {
      const counted = ask(budget, 'first-claim');
      assert.ok('unsent' in counted);
      counted.unsent();
    }
    assert.deepEqual([budget.status.limits[0]?.used, budget.status.moves.own], [0, 0]);
  });

  test('counts the moves of others for everything but a first claim, which they need not have made', () => {
    const budget = open([limit({})]);
    for (let times = 0; times < 30; times += 1) budget.noteMoveOfOthers(IP);
    assert.equal(admitted(budget, 'claim-again'), 0);
    assert.equal(admitted(budget, 'first-claim'), 10);
    assert.deepEqual(budget.status.moves, { own: 10, others: 30 });
  });

  test('does not count the moves of others as anything else that is limited', () => {
    const budget = open([limit({ operations: [READ] })]);
    budget.noteMoveOfOthers(IP);
    assert.equal(budget.status.limits[0]?.used, 0);
  });

  test('begins empty in a new process', () => {
    admitted(open([limit({})]), 'first-claim');
    assert.equal(admitted(open([limit({})]), 'claim-again'), 7);
  });

  test('takes no notice of the wall clock', () => {
    const budget = open([limit({})]);
    admitted(budget, 'claim-again');
    const held = ask(budget, 'claim-again');
    const wallMs = clock.wallMs.bind(clock);
    clock.wallMs = () => wallMs() + 24 * HOUR_MS;
    const later = ask(budget, 'claim-again');
    assert.ok('untilMs' in held && 'untilMs' in later);
    assert.equal(later.untilMs, held.untilMs);
  });

  test('counts the time in which the machine was suspended', () => {
    const budget = open([limit({})]);
    admitted(budget, 'claim-again');
    clock.freeze(24 * HOUR_MS);
    assert.equal(admitted(budget, 'claim-again'), 7);
  });

  test('says now and then what is held back, and counts it each time', () => {
    const budget = open([limit({})]);
    admitted(budget, 'claim-again');
    for (let minute = 0; minute < 4; minute += 1) {
      ask(budget, 'claim-again');
      clock.freeze(MINUTE_MS);
    }
    assert.equal(notices.length, 1);
    assert.match(notices[0] ?? '', /^an address that was taken away is not claimed back yet: not asked before /);
    assert.deepEqual(budget.status.heldBack, { 'first-claim': 0, 'claim-again': 5, verification: 0, preparation: 0 });
  });
});

describe('MOVES_PER_HOUR', () => {
  test('ends claiming an address back, and neither holds back a failover nor the other address', () => {
    const budget = open([], { movesPerHour: 4 });
    assert.equal(admitted(budget, 'claim-again'), 4);
    const held = ask(budget, 'claim-again');
    assert.ok('untilMs' in held && held.message.includes('MOVES_PER_HOUR'));
    assert.ok('answered' in ask(budget, 'claim-again', MOVE, SECOND));
    for (let times = 0; times < 50; times += 1) assert.ok('answered' in ask(budget, 'first-claim'));
    assert.ok('answered' in ask(budget, 'claim-again', READ), 'reading moves nothing');
  });

  test('counts failovers and the moves of others', () => {
    const budget = open([], { movesPerHour: 4 });
    ask(budget, 'first-claim');
    for (let times = 0; times < 2; times += 1) budget.noteMoveOfOthers(IP);
    assert.equal(admitted(budget, 'claim-again'), 1);
    assert.deepEqual(
      budget.status.limits.map(({ name, used, max }) => ({ name, used, max })),
      [
        { name: `moves of ${IP}`, used: 4, max: 4 },
        { name: `moves of ${SECOND}`, used: 0, max: 4 },
      ],
    );
  });
});

describe('what an answer says is left', () => {
  test('is kept for a failover when it is little, until enough will be back', () => {
    const budget = open([]);
    answered(budget, { headers: headersOf(101) });
    assert.ok('answered' in ask(budget, 'preparation', READ));
    answered(budget, { headers: headersOf(90) });
    for (const purpose of ['claim-again', 'verification', 'preparation'] as const) {
      const held = ask(budget, purpose, READ);
      assert.ok('untilMs' in held, purpose);
      assert.equal(held.untilMs - clock.nowMs(), 11_000);
      assert.match(held.message, /only 90 of 3600 requests left, and they are kept for a failover/);
    }
    assert.ok('answered' in ask(budget, 'first-claim', READ));
    clock.freeze(11_000);
    assert.ok('answered' in ask(budget, 'verification', READ));
  });

  test('is asked for each half minute at the latest, because others use it, too', () => {
    const budget = open([]);
    answered(budget, { headers: headersOf(0) });
    clock.freeze(MINUTE_MS / 2 - 1);
    assert.ok('untilMs' in ask(budget, 'verification', READ));
    clock.freeze(1);
    assert.ok('answered' in ask(budget, 'verification', READ));
  });

  test('is judged by a tenth where little is granted at all', () => {
    const budget = open([]);
    answered(budget, { headers: headersOf(6, 50) });
    assert.ok('answered' in ask(budget, 'verification', READ));
    answered(budget, { headers: headersOf(5, 50) });
    assert.ok('untilMs' in ask(budget, 'verification', READ));
  });

  test('holds back nothing any more as soon as an answer says that enough is left', () => {
    const budget = open([]);
    answered(budget, { headers: headersOf(0) });
    answered(budget, { headers: headersOf(3_000) });
    assert.ok('answered' in ask(budget, 'preparation', READ));
    assert.equal(budget.status.quietUntilMs, null);
    assert.equal(budget.status.said?.remaining, 3_000);
  });

  test('is said of one place, and no other', () => {
    const budget = open([]);
    answered(budget, { headers: headersOf(0) });
    assert.ok('answered' in ask(budget, 'preparation', READ, null, 'http://metadata'));
  });

  test('is remembered for a few places, however many there are', () => {
    const budget = open([]);
    for (let place = 0; place < 50; place += 1) answered(budget, { headers: headersOf(0) }, 'first-claim', `https://${place}`);
    assert.ok('untilMs' in ask(budget, 'verification', READ, null, 'https://7'));
    assert.ok('answered' in ask(budget, 'verification', READ, null, 'https://8'));
  });

  test('is passed over where it makes no sense', () => {
    const budget = open([]);
    for (const headers of [{ 'ratelimit-limit': 'many', 'ratelimit-remaining': '0' }, { 'ratelimit-remaining': '0' }])
      answered(budget, { headers });
    assert.ok('answered' in ask(budget, 'preparation', READ));
    assert.equal(budget.status.said, null);
  });
});

describe('a refusal', () => {
  test('silences all but claims, which wait by themselves', () => {
    const budget = open([]);
    answered(budget, { status: 429, headers: { 'retry-after': '20' } });
    for (const purpose of ['verification', 'preparation'] as const) {
      const held = ask(budget, purpose, READ);
      assert.ok('untilMs' in held);
      assert.equal(held.untilMs - clock.nowMs(), 20_000);
    }
    for (const purpose of ['claim-again', 'first-claim'] as const) assert.ok('answered' in ask(budget, purpose, READ));
    clock.freeze(20_000);
    assert.ok('answered' in ask(budget, 'preparation', READ));
  });

  for (const [what, headers, pauseMs] of [
    ['says nothing of its length', {}, 30_000],
    ['asks for an hour', { 'retry-after': '3600' }, 60_000],
  ] as const) {
    test(`that ${what} is taken for ${pauseMs / 1_000} s`, () => {
      const budget = open([]);
      answered(budget, { status: 429, headers });
      assert.equal((budget.status.quietUntilMs ?? 0) - clock.nowMs(), pauseMs);
    });
  }

  test('may look otherwise, as the provider’s profile says', () => {
    const refusalPauseMs = ({ status }: ProviderAnswer): number | null => (status === 403 ? 300_000 : null);
    const budget = open([], { more: { refusalPauseMs } });
    answered(budget, { status: 403 });
    assert.equal((budget.status.quietUntilMs ?? 0) - clock.nowMs(), 300_000);
  });
});

for (const name of PROVIDER_NAMES) {
  test(`what ${name} declares of its limits is about its operations, and leaves something beside the reserve`, () => {
    const { limits, operations } = profileOf(name);
    for (const each of limits) {
      assert.deepEqual(
        each.operations.filter((operation) => operations[operation] === undefined),
        [],
      );
      assert.ok(each.reserve >= 0 && each.reserve < each.max);
    }
  });
}
