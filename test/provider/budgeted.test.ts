import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { withDeadline } from '../../agent/clock.ts';
import type { Report } from '../../agent/contender/command.ts';
import type { ClaimOutcome, Owner, ReadOutcome, WriteOutcome } from '../../agent/contender/input.ts';
import type { LeaseRecord } from '../../agent/contender/lease.ts';
import { ok } from '../../agent/finding.ts';
import type { Finding } from '../../agent/finding.ts';
import { CommandNotStarted } from '../../agent/host.ts';
import type { ClaimTerms, LeaseStore, LeaseWrite, Provider, ProviderReadiness } from '../../agent/ports.ts';
import { Budget } from '../../agent/provider/budget.ts';
import { Budgeted } from '../../agent/provider/budgeted.ts';
import { claimWithRetries } from '../../agent/provider/claim.ts';
import { ClaimWithdrawn, ProviderError } from '../../agent/provider/error.ts';
import type { ProviderAnswer, ProviderHttp } from '../../agent/provider/http.ts';
import type { ProviderProfile } from '../../agent/provider/profile.ts';
import { ContenderLoop } from '../../agent/runtime/loop.ts';
import { ADDRESS, record, released, SETTINGS } from '../contender/driver.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { MemoryLink, MemoryNode } from '../support/memory-link.ts';

const SECOND = '2001:db8::1';
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const never = new AbortController().signal;
const LIMITS = [
  { max: 10, withinMs: 5 * MINUTE_MS },
  { max: 20, withinMs: HOUR_MS },
] as const;

/** As a provider that grants so many moves, and counts them for everybody with this account, exactly. */
const PROFILE: ProviderProfile = {
  kind: 'routed',
  claimTimeoutMs: 30_000,
  verifyIntervalMs: 30_000,
  operations: { 'GET route': { success: '200' }, 'POST route': { success: '200', isMove: true } },
  limits: LIMITS.map(({ max, withinMs }, index) => ({
    name: `routing requests (${index})`,
    operations: ['POST route'],
    max,
    withinMs,
    reserve: 3,
  })),
};

/** The account at the provider. */
class Account {
  readonly #clock: ManualClock;
  owner: string | null = 'z';
  readonly movedAtMs: number[] = [];
  readonly requests: string[] = [];
  refused = 0;
  headers: ProviderAnswer['headers'] = {};

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  http(node: string): ProviderHttp {
    return ({ operation }) => {
      this.requests.push(operation);
      const answer = (status: number, body: string): Promise<ProviderAnswer> => Promise.resolve({ status, headers: this.headers, body });
      if (operation === 'GET route') return answer(200, this.owner ?? '');
      if (this.isUsedUp) {
        this.refused += 1;
        return answer(429, '');
      }
      this.movedAtMs.push(this.#clock.nowMs());
      this.owner = node;
      return answer(200, node);
    };
  }

  get isUsedUp(): boolean {
    return LIMITS.some(({ max, withinMs }) => this.movesWithin(withinMs) >= max);
  }

  movesWithin(ms: number): number {
    return this.movedAtMs.filter((atMs) => this.#clock.nowMs() - atMs < ms).length;
  }
}

/** A provider as anybody would write it, with no thought of budgets. */
class SimpleProvider implements Provider {
  readonly kind = 'routed';
  readonly #http: ProviderHttp;
  readonly #node: string;
  readonly #clock: ManualClock;

  constructor(http: ProviderHttp, node: string, clock: ManualClock) {
    this.#http = http;
    this.#node = node;
    this.#clock = clock;
  }

  async prepare(signal: AbortSignal): Promise<ProviderReadiness> {
    try {
      return { is: 'ready', reason: `somebody has it: ${await this.#read(signal)}` };
    } catch (error) {
      if (error instanceof ProviderError) return { is: 'not-ready', isPassing: true, reason: error.message };
      throw error;
    }
  }

  async check(signal: AbortSignal): Promise<readonly Finding[]> {
    const readiness = await this.prepare(signal);
    return [ok('token', readiness.reason)];
  }

  async owner(_: string, signal: AbortSignal): Promise<Owner> {
    try {
      const name = await this.#read(signal);
      return name === this.#node ? { is: 'self' } : { is: 'other', name };
    } catch (error) {
      if (error instanceof ProviderError) return { is: 'unknown', message: error.message };
      throw error;
    }
  }

  async claim(_: string, terms: ClaimTerms): Promise<ClaimOutcome> {
    return await claimWithRetries(this.#clock, terms, async () => {
      if ((await this.#read(terms.signal)) === this.#node) return;
      if (!terms.mayWrite()) throw new ClaimWithdrawn('not any more');
      await this.#ask('POST route', terms.signal);
    });
  }

  async #read(signal: AbortSignal): Promise<string> {
    return (await this.#ask('GET route', signal)).body;
  }

  async #ask(operation: string, signal: AbortSignal): Promise<ProviderAnswer> {
    const method = operation === 'GET route' ? 'GET' : 'POST';
    const url = 'https://api.example.org/route';
    const answer = await this.#http({ method, url, operation, headers: {}, timeoutMs: 1_000, signal });
    if (answer.status === 429) throw new ProviderError('rate-limited', 'too many requests', { retryAfterMs: 30_000 });
    return answer;
  }
}

let clock: ManualClock;
let account: Account;

beforeEach(() => {
  clock = new ManualClock();
  account = new Account(clock);
});

interface Agent {
  readonly provider: Provider;
  readonly budget: Budget;
}

function agent(node: string, profile: ProviderProfile = PROFILE, http = account.http(node)): Agent {
  const budget = new Budget(profile, { addresses: [ADDRESS, SECOND], movesPerHour: 1_000 }, clock, () => undefined);
  const budgeted = new Budgeted(budget, clock);
  return { budget, provider: budgeted.provider(new SimpleProvider(budgeted.http(http), node, clock)) };
}

/** Claims as the loop does, under a deadline, while time passes. */
async function claim({ provider }: Agent, isFirst: boolean, mayWrite = () => true, address = ADDRESS): Promise<ClaimOutcome> {
  const outcome = withDeadline(clock, 30_000, null, (signal) => provider.claim(address, { signal, isFirst, mayWrite }));
  await clock.advance(30_000);
  return await outcome;
}

async function useUp(who: Agent, times: number): Promise<void> {
  for (let time = 0; time < times; time += 1) {
    account.owner = 'z';
    assert.equal((await claim(who, true)).is, 'confirmed');
  }
}

/** Little is left, as every answer says. */
function run(dry: number): void {
  const resetS = Math.ceil(clock.wallMs() / 1_000) + 3_600 - dry;
  account.headers = { 'ratelimit-limit': '3600', 'ratelimit-remaining': String(dry), 'ratelimit-reset': String(resetS) };
}

describe('a provider behind the ledger', () => {
  test('is asked as before while there is plenty', async () => {
    const a = agent('a');
    assert.deepEqual(await a.provider.prepare(never), { is: 'ready', reason: 'somebody has it: z' });
    assert.deepEqual(await a.provider.owner(ADDRESS, never), { is: 'other', name: 'z' });
    assert.deepEqual(await claim(a, true), { is: 'confirmed' });
    assert.deepEqual(await a.provider.owner(ADDRESS, never), { is: 'self' });
    assert.deepEqual(a.budget.status.moves, { own: 1, others: 0 });
  });

  test('is not asked who the owner is while what is left is kept for a failover, and says when it may be', async () => {
    const a = agent('a');
    run(50);
    await a.provider.owner(ADDRESS, never);
    account.requests.length = 0;
    const owner = await a.provider.owner(ADDRESS, never);
    assert.ok(owner.is === 'unknown' && owner.notBeforeMs !== undefined);
    assert.ok(owner.notBeforeMs > clock.nowMs());
    assert.match(owner.message, /^not asked before /);
    assert.deepEqual(account.requests, []);
  });

  test('goes on being as ready as it was when that may not be asked', async () => {
    const a = agent('a');
    run(50);
    const before = await a.provider.prepare(never);
    account.owner = 'y';
    assert.deepEqual(await a.provider.prepare(never), before);
    await clock.advance(MINUTE_MS);
    assert.deepEqual(await a.provider.prepare(never), { is: 'ready', reason: 'somebody has it: y' });
  });

  test('is claimed by a new holder whatever is left', async () => {
    const a = agent('a');
    run(1);
    await a.provider.owner(ADDRESS, never);
    assert.deepEqual(await claim(a, true), { is: 'confirmed' });
  });

  test('finds little left when it is checked, and blames nobody for what it did not ask', async () => {
    const a = agent('a');
    run(50);
    const [token, budget] = await a.provider.check(never);
    assert.equal(token?.level, 'ok');
    assert.ok(budget?.name === 'budget' && budget.level === 'warn' && budget.message.includes('50 of 3600'));
    const again = await a.provider.check(never);
    assert.deepEqual(
      again.map(({ name, level }) => [name, level]),
      [['budget', 'warn']],
    );
  });

  test('has a claim that repeats another wait for its place, and go on by itself', async () => {
    const a = agent('a');
    await useUp(a, 7);
    account.owner = 'z';
    const outcome = withDeadline(clock, HOUR_MS, null, (signal) =>
      a.provider.claim(ADDRESS, { signal, isFirst: false, mayWrite: () => true }),
    );
    await clock.advance(MINUTE_MS);
    assert.equal(account.owner, 'z');
    await clock.advance(5 * MINUTE_MS);
    assert.deepEqual(await outcome, { is: 'confirmed' });
    assert.equal(account.owner, 'a');
  });

  test('lets such a claim fail in the end, not for good, with the reason and when to try again', async () => {
    const a = agent('a');
    await useUp(a, 7);
    account.owner = 'z';
    const outcome = await claim(a, false);
    assert.ok(outcome.is === 'failed' && !outcome.definitive && outcome.notBeforeMs !== undefined);
    assert.match(outcome.message, /^not confirmed in time: not asked before .*: routing requests \(0\): 10 within 5 min, and the rest/);
  });

  test('has a claim that has got past what was held back, and failed for another reason, tried again as soon as any other', async () => {
    const limited: ProviderProfile = {
      ...PROFILE,
      operations: { ...PROFILE.operations, 'GET list': { success: '200' } },
      limits: [{ name: 'reads', operations: ['GET route'], max: 2, withinMs: HOUR_MS, reserve: 1 }],
    };
    const budgeted = new Budgeted(new Budget(limited, { addresses: [ADDRESS], movesPerHour: 10 }, clock, () => undefined), clock);
    const http = budgeted.http(account.http('a'));
    const ask = (operation: string): Promise<unknown> =>
      http({ method: 'GET', url: 'https://api.example.org/', operation, headers: {}, timeoutMs: 1_000, signal: never });
    const claiming: Pick<Provider, 'claim'> = {
      claim: async () => {
        await ask('GET route');
        await ask('GET route').catch(() => ask('GET list'));
        return { is: 'failed', definitive: false, message: 'locked' };
      },
    };
    const provider = budgeted.provider(claiming as Provider);
    const outcome = await provider.claim(ADDRESS, { signal: never, isFirst: false, mayWrite: () => true });
    assert.deepEqual(outcome, { is: 'failed', definitive: false, message: 'locked' });
  });

  test('does not write for a claim that has waited until it may not write any more', async () => {
    const a = agent('a');
    await useUp(a, 7);
    account.owner = 'z';
    let mayWrite = true;
    const outcome = withDeadline(clock, HOUR_MS, null, (signal) =>
      a.provider.claim(ADDRESS, { signal, isFirst: false, mayWrite: () => mayWrite }),
    );
    await clock.advance(MINUTE_MS);
    mayWrite = false;
    await clock.advance(10 * MINUTE_MS);
    assert.deepEqual(await outcome, { is: 'withdrawn' });
    assert.equal(account.owner, 'z');
  });

  test('tells what is asked side by side apart, for several addresses and purposes', async () => {
    const limited: ProviderProfile = {
      ...PROFILE,
      limits: [{ name: 'reads', operations: ['GET route'], max: 8, withinMs: HOUR_MS, reserve: 4 }],
    };
    const a = agent('a', limited);
    const terms = { signal: never, isFirst: true, mayWrite: () => true };
    const [first, second, ...owners] = await Promise.all([
      a.provider.claim(ADDRESS, terms),
      a.provider.claim(SECOND, terms),
      ...Array.from({ length: 5 }, () => a.provider.owner(ADDRESS, never)),
    ]);
    assert.deepEqual([first.is, second.is], ['confirmed', 'confirmed']);
    // Of four that are not reserved verification may use three, and both claims have read once before.
    assert.equal(owners.filter(({ is }) => is === 'unknown').length, 4);
  });

  test('counts what was sent and never answered, and not what never left', async () => {
    const failing =
      (wasSent: boolean): ProviderHttp =>
      () =>
        Promise.reject(new ProviderError('unavailable', 'x', { wasSent }));
    const limited: ProviderProfile = {
      ...PROFILE,
      limits: [{ name: 'reads', operations: ['GET route'], max: 8, withinMs: HOUR_MS, reserve: 4 }],
    };
    for (const [wasSent, asked] of [
      [true, 3],
      [false, 20],
    ] as const) {
      let count = 0;
      const http: ProviderHttp = (call) => {
        count += 1;
        return failing(wasSent)(call);
      };
      const a = agent('a', limited, http);
      for (let time = 0; time < 20; time += 1) await a.provider.owner(ADDRESS, never);
      assert.equal(count, asked);
    }
  });
});

/** A Lease that is always granted. */
class ObligingStore implements LeaseStore {
  #sight: LeaseRecord = released();
  #version = 100;

  read(): Promise<ReadOutcome> {
    return Promise.resolve({ is: 'read', sight: this.#sight });
  }

  write(command: LeaseWrite): Promise<WriteOutcome> {
    this.#version += 1;
    const transitions = 'transitions' in command ? command.transitions : this.#sight.transitions;
    const marks = { ...this.#sight.marks, ...('marks' in command ? command.marks : {}) };
    const version = String(this.#version);
    this.#sight = record({ ...this.#sight, holder: SETTINGS.identity, transitions, resourceVersion: version, renewTime: version }, marks);
    return Promise.resolve({ is: 'written', record: this.#sight });
  }
}

describe('a command behind the ledger', () => {
  /** A claim again, of which two an hour are allowed, by a command that ends as told. */
  const command = { program: '/opt/move', args: [], env: {}, operation: 'POST route', signal: never };
  let runs: number;
  let budget: Budget;
  let claimAgain: (end?: Error) => Promise<unknown>;

  beforeEach(() => {
    runs = 0;
    budget = new Budget(PROFILE, { addresses: [ADDRESS], movesPerHour: 2 }, clock, () => undefined);
    const budgeted = new Budgeted(budget, clock);
    let end: Error | undefined;
    const gated = budgeted.run(() => {
      runs += 1;
      return end === undefined ? Promise.resolve({ exitCode: 0, endedBy: null, output: '', complaint: '' }) : Promise.reject(end);
    });
    const provider = budgeted.provider({
      kind: 'routed',
      prepare: () => Promise.reject(new Error('not asked')),
      check: () => Promise.reject(new Error('not asked')),
      owner: () => Promise.reject(new Error('not asked')),
      claim: async () => {
        await gated(command);
        return { is: 'confirmed' };
      },
    });
    claimAgain = (how) => {
      end = how;
      return provider.claim(ADDRESS, { signal: never, isFirst: false, mayWrite: () => true });
    };
  });

  test('is not run for a claim that has no place left', async () => {
    await claimAgain();
    await claimAgain();
    await assert.rejects(claimAgain(), { code: 'rate-limited' });
    assert.equal(runs, 2);
    assert.equal(budget.status.moves.own, 2);
  });

  test('counts although it failed, and not where it was never started', async () => {
    await assert.rejects(claimAgain(new Error('it broke')), /it broke/);
    await assert.rejects(claimAgain(new CommandNotStarted('/opt/move', 'EAGAIN')), /cannot be started/);
    assert.equal(budget.status.moves.own, 1);
  });
});

describe('a fight over hours with somebody who takes the address away again and again', () => {
  for (const [what, rivalUsesOurAccount] of [
    ['with the same account', true],
    ['by other means', false],
  ] as const) {
    test(`${what}: keeps to the limits, and a failover at any moment still gets its move`, async () => {
      const a = agent('a');
      const reports: Report[] = [];
      const node = new MemoryNode(clock);
      const loop = new ContenderLoop(
        { ...SETTINGS, leaseDurationMs: 60_000, renewDeadlineMs: 40_000, renewIntervalMs: 10_000 },
        {
          clock,
          lease: new ObligingStore(),
          watch: { restart: () => undefined },
          link: new MemoryLink(node, [ADDRESS]),
          provider: a.provider,
          // As the agent tells its ledger of what others move.
          report: (report) => {
            reports.push(report);
            if (report.kind === 'incident' && report.event === 'owner-drifted') a.budget.noteMoveOfOthers(ADDRESS);
          },
          onDefect: (error) => assert.fail(error),
        },
      );
      loop.start();
      loop.post({ type: 'verdict', healthy: true, reason: 'well' });
      loop.post({ type: 'provider-readiness', ready: true, reason: 'ready' });
      loop.post({ type: 'residence', residence: 'alone', reason: 'alone' });
      let stolen = 0;
      let mostUsed = 0;
      for (let step = 0; step < (3 * HOUR_MS) / 1_000; step += 1) {
        await clock.advance(1_000);
        // It takes the address as soon as it sees that it has lost it, unless nobody may move anything any more.
        if (account.owner === 'a' && !(rivalUsesOurAccount && account.movesWithin(HOUR_MS) >= 17)) {
          account.owner = 'rival';
          stolen += 1;
          if (rivalUsesOurAccount) account.movedAtMs.push(clock.nowMs());
        }
        for (const { max, withinMs } of LIMITS) mostUsed = Math.max(mostUsed, account.movesWithin(withinMs) / max);
        assert.equal(account.isUsedUp, false, 'nothing would be left for a failover');
      }
      assert.ok(stolen > 20, `there was a fight: ${stolen}`);
      assert.ok(mostUsed >= 0.4, `and it used what there was: ${mostUsed}`);
      assert.equal(account.refused, 0);
      assert.ok(reports.some((report) => report.kind === 'incident' && report.event === 'contested'));
      // A dies, and B, which has seen nothing, becomes the holder.
      const b = agent('b');
      assert.deepEqual(await claim(b, true), { is: 'confirmed' });
      assert.equal(account.refused, 0);
    });
  }

  test('keeps to the limits without any patience, too', async () => {
    const a = agent('a');
    let tries = 0;
    for (const untilMs = clock.nowMs() + 3 * HOUR_MS; clock.nowMs() < untilMs; tries += 1) {
      account.owner = 'rival';
      await claim(a, false);
      assert.equal(account.isUsedUp, false, 'nothing would be left for a failover');
    }
    assert.ok(tries > 100);
    assert.ok(account.movedAtMs.length > 40, `${account.movedAtMs.length} moves`);
    assert.equal(account.refused, 0);
    assert.deepEqual(await claim(agent('b'), true), { is: 'confirmed' });
  });

  test('without patience or a ledger would use up everything', async () => {
    // The same provider, asked directly: what the ledger is for.
    const bare = { provider: new SimpleProvider(account.http('a'), 'a', clock), budget: agent('a').budget };
    for (let time = 0; time < 25; time += 1) {
      account.owner = 'rival';
      await claim(bare, false);
    }
    assert.ok(account.refused > 0);
  });
});
