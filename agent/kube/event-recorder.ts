/**
 * Brings what has happened into the API as Events, in its own time.
 *
 * Guarantees: taking something in never waits, throws or sends. Requests go one at a time, over a way of their own, each with
 * a deadline, within the budget of the object that they regard. What happens again within six minutes is counted in the Event
 * that there is. What waits is bounded in number and in time; what cannot be told is dropped and counted. A refusal is said
 * once.
 */
import { asError } from '../clock.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Happening } from '../happening.ts';
import { EventBudget } from './event-budget.ts';
import { eventName } from './events.ts';
import type { EventOutcome, KubeEvents, ObjectReference, SeenEvent } from './events.ts';

/** What happens first at a failover, on the same connection or the same processor, is not held up by telling of it. */
const FIRST_PAUSE_MS = 250;
const REQUEST_MS = 2_000;
/** Within this time of the last one the same is counted and not told anew, as in client-go. */
const SERIES_MS = 6 * 60_000;
/** A series is brought up to date after this long at first, then after twice as long each time. */
const UPDATE_FIRST_MS = 30_000;
const UPDATE_MAX_MS = 10 * 60_000;
/** So much of the budget is kept for what is new. */
const RESERVE = 5;
const REMEMBERED_MAX = 64;
/** The API server forgets Events after an hour, so an older one is hardly news. */
const KEPT_MS = 10 * 60_000;
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 30_000;
const RETRY_AFTER_MAX_MS = 60_000;
const REFUSED_MS = 10 * 60_000;

export interface EventObjects {
  /** Its uid comes with what happens to it. */
  readonly lease: { readonly namespace: string; readonly name: string };
  readonly pod: { readonly namespace: string; readonly name: string; readonly uid: string } | null;
}

export interface RecorderWorld {
  readonly events: Pick<KubeEvents, 'create' | 'repeat'>;
  readonly clock: Clock;
  /** A number from 0 up to 1. */
  readonly random: () => number;
  /** Takes secrets out of a text. */
  readonly conceal: (text: string) => string;
  /** Told, once each, what keeps Events from being written. */
  readonly onProblem: (message: string) => void;
  readonly onDefect: (error: Error) => void;
}

/** How many requests were made and what was not told. */
export interface EventCounts {
  readonly created: number;
  readonly repeated: number;
  /** `budget`: too much happened; `waited`: the API was away for too long; `refused`: it does not take them. */
  readonly dropped: { readonly budget: number; readonly waited: number; readonly refused: number };
}

interface Entry {
  readonly key: string;
  readonly budget: EventBudget;
  event: SeenEvent;
  /** How often it has happened according to the API; 0 before it is there. */
  written: number;
  lastMs: number;
  /** When something of it is to be written; Infinity while nothing is. */
  dueAtMs: number;
  updateAfterMs: number;
  writtenAtMs: number;
}

export class EventRecorder {
  readonly #objects: EventObjects;
  readonly #world: RecorderWorld;
  readonly #entries = new Map<string, Entry>();
  readonly #budgets: { readonly lease: EventBudget; readonly pod: EventBudget };
  readonly #refusedUntilMs = new Map<string, number>();
  readonly #said = new Set<string>();
  readonly #calledOff = new AbortController();
  #counts = { created: 0, repeated: 0, dropped: { budget: 0, waited: 0, refused: 0 } };
  #failures = 0;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | null = null;
  #underWay: Promise<void> | null = null;
  #isEnding = false;

  constructor(objects: EventObjects, world: RecorderWorld) {
    this.#objects = objects;
    this.#world = world;
    this.#budgets = { lease: new EventBudget(world.clock), pod: new EventBudget(world.clock) };
  }

  get counts(): EventCounts {
    return structuredClone(this.#counts);
  }

  /** Takes in what has happened. `leaseUid` is null where no Lease has been seen. */
  record(happening: Happening, leaseUid: string | null): void {
    const { lease, pod } = this.#objects;
    const uid = leaseUid === null ? {} : { uid: leaseUid };
    const leaseReference = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', ...lease, ...uid };
    const podReference = pod === null ? null : { apiVersion: 'v1', kind: 'Pod', ...pod };
    const told = { ...happening, note: this.#world.conceal(happening.note) };
    if (told.about === 'lease-and-pod') this.#take(told, leaseReference, podReference, this.#budgets.lease);
    if (podReference !== null) this.#take(told, podReference, leaseReference, this.#budgets.pod);
    this.#arm();
  }

  /** Tells what is still to be told, for so long at the most, and nothing after it. */
  async end(withinMs: number): Promise<void> {
    this.#isEnding = true;
    this.#timer?.cancel();
    const alarm = this.#world.clock.setTimer(withinMs, () => this.#calledOff.abort(new Error('the agent ends')));
    for (const entry of this.#entries.values()) if (entry.dueAtMs !== Number.POSITIVE_INFINITY) entry.dueAtMs = Number.NEGATIVE_INFINITY;
    try {
      await this.#underWay;
      for (let entry = this.#next(); entry !== null && !this.#calledOff.signal.aborted; entry = this.#next()) {
        const failures = this.#failures;
        await this.#write(entry);
        // Who does not answer one does not answer the others in time either.
        if (this.#failures > failures) break;
      }
    } finally {
      alarm.cancel();
      for (let entry = this.#next(); entry !== null; entry = this.#next()) this.#drop(entry, 'waited');
    }
  }

  #take(happening: Happening, regarding: ObjectReference, related: ObjectReference | null, budget: EventBudget): void {
    const { clock, random } = this.#world;
    if (this.#isEnding) return this.#count('waited');
    const [nowMs, wallMs] = [clock.nowMs(), clock.wallMs()];
    this.#forget(nowMs);
    const key = keyOf(happening, regarding);
    const known = this.#entries.get(key);
    if (known !== undefined) return this.#takeAgain(known, nowMs, wallMs);
    if (this.#isRefused(regarding, nowMs)) return this.#count('refused');
    if (this.#entries.size >= REMEMBERED_MAX || !budget.take()) return this.#count('budget');
    this.#entries.set(key, {
      key,
      budget,
      event: {
        name: eventName(regarding.name, wallMs, random()),
        regarding,
        related,
        happening,
        firstWallMs: wallMs,
        lastWallMs: wallMs,
        count: 1,
      },
      written: 0,
      lastMs: nowMs,
      dueAtMs: nowMs + FIRST_PAUSE_MS,
      updateAfterMs: UPDATE_FIRST_MS,
      writtenAtMs: nowMs,
    });
  }

  #takeAgain(entry: Entry, nowMs: number, wallMs: number): void {
    const { event } = entry;
    entry.event = { ...event, count: event.count + 1, lastWallMs: wallMs };
    entry.lastMs = nowMs;
    if (entry.dueAtMs !== Number.POSITIVE_INFINITY) return;
    entry.dueAtMs = Math.max(nowMs, entry.writtenAtMs + entry.updateAfterMs);
  }

  /** What has not happened for a while is told anew when it happens again. What still waits to be written stays. */
  #forget(nowMs: number): void {
    for (const entry of this.#entries.values())
      if (entry.dueAtMs === Number.POSITIVE_INFINITY && nowMs - entry.lastMs >= SERIES_MS) this.#entries.delete(entry.key);
  }

  /** What is to be written first. */
  #next(): Entry | null {
    let next: Entry | null = null;
    for (const entry of this.#entries.values())
      if (entry.dueAtMs !== Number.POSITIVE_INFINITY && (next === null || entry.dueAtMs < next.dueAtMs)) next = entry;
    return next;
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#timer = null;
    const next = this.#next();
    if (next === null || this.#underWay !== null || this.#isEnding) return;
    const { clock, onDefect } = this.#world;
    const delayMs = Math.max(next.dueAtMs, this.#notBeforeMs) - clock.nowMs();
    this.#timer = clock.setTimer(Math.max(0, Math.ceil(delayMs)), () => {
      const entry = this.#next();
      if (entry === null) return;
      this.#underWay = this.#write(entry)
        .catch((error: unknown) => onDefect(asError(error)))
        .finally(() => {
          this.#underWay = null;
          this.#arm();
        });
    });
  }

  async #write(entry: Entry): Promise<void> {
    const { clock, events } = this.#world;
    const nowMs = clock.nowMs();
    const isNew = entry.written === 0;
    // What has happened again meanwhile is still news.
    const isOld = !this.#isEnding && nowMs - Math.max(entry.dueAtMs, entry.lastMs) > KEPT_MS;
    if (isOld || this.#isRefused(entry.event.regarding, nowMs)) {
      this.#drop(entry, isOld ? 'waited' : 'refused');
      return;
    }
    if (!isNew && !entry.budget.take(RESERVE)) {
      entry.dueAtMs = nowMs + entry.budget.waitMs(RESERVE);
      if (this.#isEnding) this.#drop(entry, 'budget');
      return;
    }
    const { event } = entry;
    const { signal } = this.#calledOff;
    const outcome = isNew ? await events.create(event, REQUEST_MS, signal) : await events.repeat(event, REQUEST_MS, signal);
    this.#settle(entry, event.count, isNew, outcome);
  }

  #settle(entry: Entry, count: number, isNew: boolean, outcome: EventOutcome): void {
    const nowMs = this.#world.clock.nowMs();
    if (outcome.is === 'trouble') return this.#retryLater(nowMs, outcome.retryAfterMs);
    this.#failures = 0;
    switch (outcome.is) {
      case 'written':
        this.#counts[isNew ? 'created' : 'repeated'] += 1;
        this.#said.delete('waited');
        if (!isNew) entry.updateAfterMs = Math.min(UPDATE_MAX_MS, entry.updateAfterMs * 2);
        entry.written = count;
        entry.writtenAtMs = nowMs;
        // It may have happened again meanwhile.
        entry.dueAtMs = entry.event.count > count ? nowMs + entry.updateAfterMs : Number.POSITIVE_INFINITY;
        return;
      case 'gone':
        return this.#tellAnew(entry, nowMs);
      case 'refused':
        this.#refusedUntilMs.set(entry.event.regarding.namespace, nowMs + REFUSED_MS);
        this.#sayOnce('refused', `Events cannot be written: ${outcome.message}`);
        return this.#drop(entry, 'refused');
      case 'unacceptable':
        this.#sayOnce('unacceptable', `an Event was not accepted: ${outcome.message}`);
        return this.#drop(entry, 'refused');
    }
  }

  /** The Event that it would have been counted in has run out: what happened since becomes one of its own. */
  #tellAnew(entry: Entry, nowMs: number): void {
    const { event, written } = entry;
    if (!entry.budget.take()) return this.#drop(entry, 'budget');
    const { lastWallMs } = event;
    const name = eventName(event.regarding.name, lastWallMs, this.#world.random());
    entry.event = { ...event, name, firstWallMs: lastWallMs, count: Math.max(1, event.count - written) };
    entry.written = 0;
    entry.dueAtMs = nowMs;
    entry.updateAfterMs = UPDATE_FIRST_MS;
  }

  #retryLater(nowMs: number, retryAfterMs: number | null): void {
    const doubledMs = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(this.#failures, 10));
    this.#failures += 1;
    const jitteredMs = doubledMs * (0.5 + this.#world.random() / 2);
    this.#notBeforeMs = nowMs + Math.max(jitteredMs, Math.min(RETRY_AFTER_MAX_MS, retryAfterMs ?? 0));
  }

  #isRefused({ namespace }: ObjectReference, nowMs: number): boolean {
    return nowMs < (this.#refusedUntilMs.get(namespace) ?? Number.NEGATIVE_INFINITY);
  }

  #drop(entry: Entry, why: keyof EventCounts['dropped']): void {
    this.#entries.delete(entry.key);
    this.#count(why);
    if (why === 'waited' && !this.#isEnding)
      this.#sayOnce('waited', `Events are dropped: the Kubernetes API has taken none for ${Math.round(KEPT_MS / 60_000)} minutes`);
  }

  #count(why: keyof EventCounts['dropped']): void {
    this.#counts.dropped[why] += 1;
  }

  #sayOnce(what: string, message: string): void {
    if (this.#said.has(what)) return;
    this.#said.add(what);
    this.#world.onProblem(this.#world.conceal(message));
  }
}

/** What counts as the same: how long something took is different each time and says nothing new. */
function keyOf({ reason, action, type, note }: Happening, { kind, uid }: ObjectReference): string {
  return JSON.stringify([kind, uid, reason, action, type, note.replace(/\b\d+(\.\d+)?(ms|s)\b/g, '#')]);
}
