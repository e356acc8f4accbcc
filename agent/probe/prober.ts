/**
 * Asks every probe at its interval and says what all of them say together.
 *
 * Guarantees: a probe never overlaps itself. One whose answer is known to have changed can be asked ahead of its time. Time in which this process stood still is not held against a service: a
 * question gets the time that is left of it afterwards, and one that failed is asked once more before it counts. A service
 * that hangs is found out all the same, however busy this process is. Each change of the verdict is told once, and a
 * change of its reason alone as well.
 */
import { asError, DeadlineExceeded, sleep } from '../clock.ts';
import type { Clock, Timer } from '../clock.ts';
import { httpAsk } from './http.ts';
import { judge, UNDECIDED } from './judge.ts';
import type { Judgement } from './judge.ts';
import type { Outbound } from '../outbound.ts';
import type { Ask, ProbeQuestion, ProbeSpec } from './probe.ts';
import { tcpAsk } from './tcp.ts';

/** The time for an answer passes in so many slices: one that this process slept through does not shorten the others. */
const SLICES = 4;
/** A slice that ends this much too late means that this process stood still. */
const STALL_MS = 50;
/** What has arrived by the deadline is still read: sockets are served between one timer and the next. */
const LAST_LOOK_MS = 1;

export interface Verdict {
  readonly healthy: boolean;
  /** Which probes fail and why, or that all are well. */
  readonly reason: string;
}

/** One probe as people see it. */
export interface ProbeStatus {
  readonly probe: string;
  /** Null until it was asked often enough. */
  readonly healthy: boolean | null;
  /** Why the last answer was bad; null where it was good or none has come. */
  readonly reason: string | null;
  /** Good answers in a row, and bad ones. */
  readonly goods: number;
  readonly bads: number;
  readonly rise: number;
  readonly fall: number;
  /** When the last answer came, or was given up; null before. */
  readonly answeredAtMs: number | null;
}

/** Told of every answer that counts, and how long it took. */
export type ProbeObserver = (answer: { readonly probe: string; readonly isGood: boolean; readonly elapsedMs: number }) => void;

/** What became of one question. `isDoubtful`: it failed, and this process stood still meanwhile. */
type Asked = { readonly is: 'good' } | { readonly is: 'bad'; readonly reason: string; readonly isDoubtful: boolean };

/** Makes the question for a probe. */
export function askFor(question: ProbeQuestion, outbound: Outbound): Ask {
  return question.kind === 'http' ? httpAsk(question, outbound) : tcpAsk(question, outbound);
}

/** One probe as it is run. */
interface Running<Question> {
  readonly spec: ProbeSpec<Question>;
  readonly ask: Ask;
  judgement: Judgement;
  answeredAtMs: number | null;
  /** Ends the pause before the next question. */
  hurry: () => void;
}

export class Prober<Question = ProbeQuestion> {
  readonly #probes: readonly Running<Question>[];
  readonly #clock: Clock;
  readonly #onVerdict: (verdict: Verdict) => void;
  readonly #observe: ProbeObserver;
  #verdict: Verdict | null = null;

  constructor(
    specs: readonly ProbeSpec<Question>[],
    ask: (question: Question) => Ask,
    clock: Clock,
    onVerdict: (verdict: Verdict) => void,
    observe: ProbeObserver = () => undefined,
  ) {
    this.#probes = specs.map((spec) => ({
      spec,
      ask: ask(spec.question),
      judgement: UNDECIDED,
      answeredAtMs: null,
      hurry: () => undefined,
    }));
    this.#clock = clock;
    this.#onVerdict = onVerdict;
    this.#observe = observe;
  }

  get status(): ProbeStatus[] {
    return this.#probes.map(({ spec, judgement, answeredAtMs }) => ({
      probe: spec.name,
      healthy: judgement.healthy,
      reason: judgement.bads > 0 ? judgement.reason : null,
      goods: judgement.goods,
      bads: judgement.bads,
      rise: spec.rise,
      fall: spec.fall,
      answeredAtMs,
    }));
  }

  /** Asks until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    this.#tell();
    await Promise.all(this.#probes.map((probe) => this.#repeat(probe, signal)));
  }

  /** Asks a probe now, unless it is being asked already: its answer is not what it was. */
  askAhead(name: string): void {
    for (const { spec, hurry } of this.#probes) if (spec.name === name) hurry();
  }

  async #repeat(probe: Running<Question>, signal: AbortSignal): Promise<void> {
    const { spec, ask } = probe;
    while (!signal.aborted) {
      const startedAtMs = this.#clock.nowMs();
      let answer = await this.#askOnce(ask, spec.timeoutMs, signal);
      if (answer.is === 'bad' && answer.isDoubtful && !signal.aborted) answer = await this.#askOnce(ask, spec.timeoutMs, signal);
      if (signal.aborted) return;
      this.#observe({ probe: spec.name, isGood: answer.is === 'good', elapsedMs: this.#clock.nowMs() - startedAtMs });
      probe.answeredAtMs = this.#clock.nowMs();
      probe.judgement = judge(probe.judgement, answer.is === 'bad' ? answer.reason : null, spec);
      this.#tell();
      const pauseMs = startedAtMs + spec.intervalMs - this.#clock.nowMs();
      await this.#pause(probe, Math.max(0, pauseMs), signal);
    }
  }

  async #pause(probe: Running<Question>, pauseMs: number, signal: AbortSignal): Promise<void> {
    const ending = new AbortController();
    const onAbort = (): void => ending.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    probe.hurry = (): void => ending.abort(new Error('asked ahead of its time'));
    await sleep(this.#clock, pauseMs, ending.signal).catch(() => undefined);
    probe.hurry = (): void => undefined;
    signal.removeEventListener('abort', onAbort);
  }

  async #askOnce(ask: Ask, timeoutMs: number, signal: AbortSignal): Promise<Asked> {
    const deadline = new StallAwareDeadline(this.#clock, timeoutMs, signal);
    try {
      await ask(deadline.signal);
      return { is: 'good' };
    } catch (error) {
      if (deadline.signal.aborted) return { is: 'bad', reason: `no answer within ${timeoutMs}ms`, isDoubtful: false };
      return { is: 'bad', reason: explain(asError(error)), isDoubtful: deadline.hasStalled };
    } finally {
      deadline.end();
    }
  }

  #tell(): void {
    const judgements = this.#probes.map(({ judgement }) => judgement.healthy);
    const failing = this.#probes.filter(({ judgement }) => judgement.healthy === false);
    if (failing.length === 0 && judgements.includes(null)) return;
    const healthy = failing.length === 0;
    const reason = healthy
      ? this.#probes.length === 0
        ? 'no probe is configured'
        : 'every probe is well'
      : failing.map(({ spec, judgement }) => `${spec.name}: ${judgement.reason ?? 'failed'}`).join('; ');
    if (this.#verdict?.healthy === healthy && this.#verdict.reason === reason) return;
    this.#verdict = { healthy, reason };
    this.#onVerdict(this.#verdict);
  }
}

/** A deadline that counts the time in which this process could have seen an answer. */
class StallAwareDeadline {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #outer: AbortSignal;
  readonly #onOuterAbort = (): void => this.#controller.abort(this.#outer.reason);
  #timer: Timer | null = null;
  hasStalled = false;

  constructor(clock: Clock, timeoutMs: number, outer: AbortSignal) {
    this.#clock = clock;
    this.#outer = outer;
    if (outer.aborted) this.#onOuterAbort();
    outer.addEventListener('abort', this.#onOuterAbort, { once: true });
    this.#wait(timeoutMs / SLICES, SLICES);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(): void {
    this.#timer?.cancel();
    this.#outer.removeEventListener('abort', this.#onOuterAbort);
  }

  #wait(sliceMs: number, slices: number): void {
    const dueAtMs = this.#clock.nowMs() + sliceMs;
    this.#timer = this.#clock.setTimer(sliceMs, () => {
      if (this.#clock.nowMs() - dueAtMs > STALL_MS) this.hasStalled = true;
      if (slices > 1) return this.#wait(sliceMs, slices - 1);
      this.#timer = this.#clock.setTimer(LAST_LOOK_MS, () => this.#controller.abort(new DeadlineExceeded(sliceMs * SLICES)));
    });
  }
}

/** Why a question brought no good answer, in words for people. */
export function explain(error: Error & { code?: string }): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return 'connection refused';
    case 'ECONNRESET':
      return 'connection reset';
    case 'ENOTFOUND':
      return 'the host name is not known';
    default:
      return error.message === '' ? (error.code ?? 'failed') : error.message;
  }
}
