/**
 * The ledger of what this agent has asked of the provider, and of what is left for a failover.
 *
 * Guarantees: answers from memory, which is bounded, and counts at the instant something is sent, so that requests side by side
 * cannot both take the last place. A term's first claim may use all that the provider grants; whatever else there is to ask
 * leaves the reserve alone, and verification also what a claim would need to bring an address back.
 *
 * Not guaranteed: it begins empty with the process, and what others ask is known only as far as it is seen (terms of other
 * holders, addresses that were taken away). So a first claim is held back by nothing but what this agent itself has done.
 */
import type { Clock } from '../clock.ts';
import type { ProviderAnswer } from './http.ts';
import type { Limit, ProviderProfile } from './profile.ts';
import { budgetOf, rateLimitPauseMs, refusalPauseMs } from './rate-limit.ts';
import { SlidingWindow } from './sliding-window.ts';
import type { Occurrence } from './sliding-window.ts';

/** What something is asked for; what comes first may use more. */
export const PURPOSES = ['first-claim', 'claim-again', 'verification', 'preparation'] as const;
export type Purpose = (typeof PURPOSES)[number];

/** How much of what is not reserved each purpose may use up. A first claim may use the reserve, too. */
const SHARES: { readonly [Each in Purpose]: number } = { 'first-claim': 1, 'claim-again': 1, verification: 0.75, preparation: 0.5 };

/** Where answers say how many requests are left: a tenth of all, but no more than some failovers need, is kept for those. */
const RESERVED_SHARE = 0.1;
const RESERVED_MAX = 100;
/** Even then it is asked once in a while, because what others do with the rest is not known otherwise. */
const HOLD_MAX_MS = 30_000;
/** As many places as a provider has: its API, and perhaps another one for its tokens. */
const ORIGINS_MAX = 8;
const NOTICE_AGAIN_MS = 600_000;
const HOUR_MS = 3_600_000;

/** One request that is about to be sent. */
export interface Request {
  readonly operation: string;
  /** Where it goes: each place has an allowance of its own. */
  readonly origin: string;
  readonly purpose: Purpose;
  /** What it is about; null where it is about no single address. */
  readonly address: string | null;
}

/** Why something is not asked now, and from when on it may be. */
export interface HeldBack {
  readonly untilMs: number;
  /** One sentence for people. */
  readonly message: string;
}

/** A request that has been counted. */
export interface Counted {
  /** To be called with its answer, or with null where there was none. */
  answered(answer: ProviderAnswer | null): void;
  /** To be called where it has never left this machine. */
  unsent(): void;
}

/** How much of one limit is used. Instants are in milliseconds of the clock that was passed in. */
export interface LimitStatus {
  readonly name: string;
  readonly used: number;
  readonly max: number;
  readonly withinMs: number;
  readonly reserve: number;
  /** Whether a term's first claim has to keep it, too. */
  readonly bindsFailover: boolean;
  /** When anything but a first claim may use it again; null: now. */
  readonly freeAtMs: number | null;
}

export interface BudgetStatus {
  readonly limits: readonly LimitStatus[];
  /** What the last answer said that named a budget. */
  readonly said: { readonly limit: number; readonly remaining: number; readonly reserve: number; readonly atMs: number } | null;
  /** Until when nothing but claims is asked, because the provider has too little left or refused a request; null: no such time. */
  readonly quietUntilMs: number | null;
  /** Moves since the start of this process: its own, and those of others as far as they were seen. */
  readonly moves: { readonly own: number; readonly others: number };
  /** How often something was not asked, by what for. */
  readonly heldBack: { readonly [Each in Purpose]: number };
}

/** What a provider says of one place of its own. */
interface Said {
  readonly budget: NonNullable<BudgetStatus['said']> | null;
  /** Until when only first claims go there, to leave them what remains. */
  readonly reservedUntilMs: number;
  /** Until when it wants to be left alone; claims wait by themselves, as the refusal of each says. */
  readonly refusedUntilMs: number;
}

/** A limit with what counts towards it. */
interface Rule {
  readonly limit: Limit;
  /** The address that it is about; null where it is about all together. */
  readonly address: string | null;
  readonly bindsFailover: boolean;
  /** Everything that is known of. */
  readonly all: SlidingWindow;
  /** What this process has done. */
  readonly own: SlidingWindow;
}

export class Budget {
  readonly #clock: Clock;
  readonly #profile: ProviderProfile;
  readonly #rules: readonly Rule[];
  readonly #onNotice: (message: string) => void;
  readonly #said = new Map<string, Said>();
  readonly #noticedAtMs = new Map<Purpose, number>();
  readonly #moves = { own: 0, others: 0 };
  readonly #heldBack = { 'first-claim': 0, 'claim-again': 0, verification: 0, preparation: 0 };

  /**
   * `movesPerHour`: so many moves of each of `addresses` within an hour, after which it is not claimed back any more. `onNotice`
   * is told, now and then, what is held back.
   */
  constructor(
    profile: ProviderProfile,
    { addresses, movesPerHour }: { readonly addresses: readonly string[]; readonly movesPerHour: number },
    clock: Clock,
    onNotice: (message: string) => void,
  ) {
    this.#clock = clock;
    this.#profile = profile;
    this.#onNotice = onNotice;
    const moves = Object.keys(profile.operations).filter((operation) => this.#isMove(operation));
    this.#rules = [
      ...profile.limits.map((limit) => ruleOf(limit, null, true)),
      ...(moves.length === 0 ? [] : addresses).map((address) =>
        ruleOf({ name: `moves of ${address}`, operations: moves, max: movesPerHour, withinMs: HOUR_MS, reserve: 0 }, address, false),
      ),
    ];
  }

  /** Counts a request that is sent right after, or says why it is not to be sent. */
  admit(request: Request): Counted | HeldBack {
    const nowMs = this.#clock.nowMs();
    const held = this.#hindrance(request, nowMs);
    if (held !== null) {
      this.#heldBack[request.purpose] += 1;
      this.#notice(request.purpose, held, nowMs);
      return held;
    }
    if (this.#isMove(request.operation)) this.#moves.own += 1;
    const counted = this.#rules
      .filter((rule) => appliesTo(rule, request))
      .flatMap(({ all, own }) => [all, own].map((window): [SlidingWindow, Occurrence] => [window, window.add(nowMs)]));
    return {
      answered: (answer) => {
        const atMs = this.#clock.nowMs();
        for (const [window, occurrence] of counted) window.end(occurrence, atMs);
        if (answer !== null) this.#listen(request.origin, answer, atMs);
      },
      unsent: () => {
        if (this.#isMove(request.operation)) this.#moves.own -= 1;
        for (const [window, occurrence] of counted) window.remove(occurrence);
      },
    };
  }

  /** Whether a request leaves an address nowhere until another one has been made. */
  mustBeFinished(operation: string): boolean {
    return this.#profile.movesInSteps === true && this.#isMove(operation);
  }

  /** Somebody else has moved an address, or most likely has. */
  noteMoveOfOthers(address: string): void {
    const nowMs = this.#clock.nowMs();
    this.#moves.others += 1;
    for (const { limit, address: only, all } of this.#rules)
      if ((only === null || only === address) && limit.operations.some((operation) => this.#isMove(operation))) all.add(nowMs);
  }

  get status(): BudgetStatus {
    const nowMs = this.#clock.nowMs();
    const said = [...this.#said.values()];
    const quietUntilMs = Math.max(0, ...said.flatMap(({ reservedUntilMs, refusedUntilMs }) => [reservedUntilMs, refusedUntilMs]));
    const scarcest = said.flatMap(({ budget }) => budget ?? []).sort((a, b) => a.remaining / a.limit - b.remaining / b.limit)[0];
    return {
      limits: this.#rules.map((rule) => ({
        name: rule.limit.name,
        used: rule.all.count(nowMs),
        max: rule.limit.max,
        withinMs: rule.limit.withinMs,
        reserve: rule.limit.reserve,
        bindsFailover: rule.bindsFailover,
        freeAtMs: rule.all.freeAtMs(allowance(rule.limit, 'claim-again'), nowMs),
      })),
      said: scarcest ?? null,
      quietUntilMs: quietUntilMs > nowMs ? quietUntilMs : null,
      moves: { ...this.#moves },
      heldBack: { ...this.#heldBack },
    };
  }

  #hindrance(request: Request, nowMs: number): HeldBack | null {
    const { purpose, origin } = request;
    const hindrances: { readonly untilMs: number; readonly why: string }[] = [];
    for (const rule of this.#rules.filter((each) => appliesTo(each, request))) {
      const isFailover = purpose === 'first-claim';
      if (isFailover && !rule.bindsFailover) continue;
      const untilMs = (isFailover ? rule.own : rule.all).freeAtMs(allowance(rule.limit, purpose), nowMs);
      if (untilMs !== null) hindrances.push({ untilMs, why: whyOf(rule, purpose) });
    }
    const said = this.#said.get(origin);
    if (said !== undefined && purpose !== 'first-claim') {
      const { budget, reservedUntilMs, refusedUntilMs } = said;
      if (budget !== null && reservedUntilMs > nowMs)
        hindrances.push({
          untilMs: reservedUntilMs,
          why: `the provider has only ${budget.remaining} of ${budget.limit} requests left, and they are kept for a failover`,
        });
      if (purpose !== 'claim-again' && refusedUntilMs > nowMs)
        hindrances.push({ untilMs: refusedUntilMs, why: 'the provider has refused a request, because there were too many' });
    }
    const last = hindrances.sort((a, b) => b.untilMs - a.untilMs)[0];
    if (last === undefined) return null;
    return { untilMs: last.untilMs, message: `not asked before ${this.#wallTime(last.untilMs, nowMs)}: ${last.why}` };
  }

  /** Takes in what an answer says of the budget. */
  #listen(origin: string, answer: ProviderAnswer, atMs: number): void {
    const wallMs = this.#clock.wallMs();
    const pauseMs = this.#profile.refusalPauseMs?.(answer) ?? refusalPauseMs(answer, wallMs);
    const named = budgetOf(answer);
    const before = this.#said.get(origin);
    if ((pauseMs === null && named === null) || (before === undefined && this.#said.size >= ORIGINS_MAX)) return;
    const reserve = named === null ? 0 : Math.floor(Math.min(RESERVED_MAX, named.limit * RESERVED_SHARE));
    const isShort = named !== null && named.remaining <= reserve;
    const holdMs = isShort ? Math.min(HOLD_MAX_MS, (reserve + 1 - named.remaining) * rateLimitPauseMs(answer, wallMs)) : 0;
    this.#said.set(origin, {
      budget: named === null ? (before?.budget ?? null) : { ...named, reserve, atMs },
      reservedUntilMs: named === null ? (before?.reservedUntilMs ?? 0) : atMs + holdMs,
      refusedUntilMs: Math.max(before?.refusedUntilMs ?? 0, pauseMs === null ? 0 : atMs + pauseMs),
    });
  }

  #isMove(operation: string): boolean {
    return this.#profile.operations[operation]?.isMove === true;
  }

  /** Rarely: what is held back is held back again and again. */
  #notice(purpose: Purpose, { message }: HeldBack, nowMs: number): void {
    const before = this.#noticedAtMs.get(purpose);
    if (before !== undefined && nowMs - before < NOTICE_AGAIN_MS) return;
    this.#noticedAtMs.set(purpose, nowMs);
    this.#onNotice(`${WORDS[purpose]}: ${message}`);
  }

  /** Whole seconds, so that the same instant is the same text whenever it is said. */
  #wallTime(atMs: number, nowMs: number): string {
    const wallS = Math.ceil((this.#clock.wallMs() + atMs - nowMs) / 1_000);
    return new Date(wallS * 1_000).toISOString().replace(/\.\d+/, '');
  }
}

const WORDS: { readonly [Each in Purpose]: string } = {
  'first-claim': 'a failover has to wait',
  'claim-again': 'an address that was taken away is not claimed back yet',
  verification: 'where the addresses are routed is not read for now',
  preparation: 'whether the provider can be used is not asked for now',
};

function ruleOf(limit: Limit, address: string | null, bindsFailover: boolean): Rule {
  const window = (): SlidingWindow => new SlidingWindow(limit.max, limit.withinMs);
  return { limit, address, bindsFailover, all: window(), own: window() };
}

function appliesTo({ limit, address }: Rule, request: Request): boolean {
  return limit.operations.includes(request.operation) && (address === null || address === request.address);
}

function allowance({ max, reserve }: Limit, purpose: Purpose): number {
  return purpose === 'first-claim' ? max : Math.max(1, Math.floor((max - reserve) * SHARES[purpose]));
}

function whyOf({ limit: { name, max, withinMs }, bindsFailover }: Rule, purpose: Purpose): string {
  const span = withinMs % HOUR_MS === 0 ? `${withinMs / HOUR_MS} h` : `${withinMs / 60_000} min`;
  const what = `${name}: ${max} within ${span}`;
  if (!bindsFailover) return `${what}, as MOVES_PER_HOUR says, and so many have been`;
  return purpose === 'first-claim' ? `${what}, and so many have been` : `${what}, and the rest is kept for a failover`;
}
