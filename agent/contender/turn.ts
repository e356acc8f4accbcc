/**
 * One step in the making: the draft of the next state, the commands collected so far, and the next instant to wake at.
 *
 * Guarantees: the state that a step started from is never changed; a rule that is not due yet leaves its instant as a
 * wake-up, so that no rule needs a timer of its own.
 */
import type { Cause, Command, Incident, LeaseCommand } from './command.ts';
import type { LeaseTrouble } from './input.ts';
import type { AddressState, Contender, PendingRequest } from './state.ts';
import { requestTimeoutMs, stallMs } from './settings.ts';

type Draft = { -readonly [Field in keyof Contender]: Contender[Field] };

/** What a request needs besides the fields that every request has. */
type RequestBody = LeaseCommand extends infer Each
  ? Each extends LeaseCommand
    ? Omit<Each, 'request' | 'timeoutMs' | 'notAfterMs'>
    : never
  : never;

/** First pause after a failed request; it doubles up to the bound that the caller names. */
const FIRST_PAUSE_MS = 100;
/** The API server asks for a second or two. A page of a proxy that asks for an hour is not obeyed. */
const RETRY_AFTER_MAX_MS = 5_000;

export class Turn {
  readonly draft: Draft;
  readonly nowMs: number;
  /** For how long the loop stood still before this step, where that was too long; otherwise 0. */
  readonly stalledMs: number;
  readonly commands: Command[] = [];
  /** Why the role changes in this step, if it does. */
  why: { readonly cause: Cause; readonly reason: string } | null = null;
  wakeAtMs = Number.POSITIVE_INFINITY;

  constructor(contender: Contender, nowMs: number) {
    this.draft = { ...contender, nowMs };
    this.nowMs = nowMs;
    const lateMs = nowMs - contender.wakeAtMs;
    this.stalledMs = lateMs > stallMs(contender.settings) ? lateMs : 0;
  }

  /** Whether an instant has come; if not, the contender is woken at it. */
  due(atMs: number): boolean {
    if (this.nowMs >= atMs) return true;
    this.wakeAtMs = Math.min(this.wakeAtMs, atMs);
    return false;
  }

  /** Says why the role changes in this step, if it does. What is said last counts. */
  because(cause: Cause, reason: string): void {
    this.why = { cause, reason };
  }

  command(command: Command): void {
    this.commands.push(command);
  }

  /** Has the interface looked at, once however many want it. */
  lookNow(): void {
    if (!this.commands.some(({ type }) => type === 'look')) this.command({ type: 'look' });
  }

  incident(event: Incident, message: string, address: string | null = null): void {
    this.command({ type: 'report', report: { kind: 'incident', event, message, address } });
  }

  conflict(address: string, rival: string, message: string): void {
    this.command({ type: 'report', report: { kind: 'incident', event: 'conflict', message, address, rival } });
  }

  nextNumber(): number {
    this.draft.counter += 1;
    return this.draft.counter;
  }

  address(address: string): AddressState {
    const state = this.draft.addresses[address];
    if (state === undefined) throw new Error(`no such address: ${address}`);
    return state;
  }

  setAddress(address: string, state: AddressState): void {
    this.draft.addresses = { ...this.draft.addresses, [address]: state };
  }

  /** Sends the one request that may be under way. It is neither sent after `notAfterMs` nor waited for beyond it. */
  request(body: RequestBody, notAfterMs: number, timeoutMs = requestTimeoutMs(this.draft.settings)): void {
    const id = this.nextNumber();
    const kind: PendingRequest['kind'] = body.type === 'create' ? 'acquire' : body.type;
    this.draft.request = { id, kind, sentAtMs: this.nowMs };
    const bounded = Math.max(1, Math.min(timeoutMs, notAfterMs - this.nowMs));
    this.command({ ...body, request: id, timeoutMs: bounded, notAfterMs });
  }

  /** Reports what is wrong with requests about the Lease, once for each kind of trouble. */
  noteTrouble(trouble: LeaseTrouble): void {
    if (this.draft.reportedTrouble === trouble.is) return;
    this.draft.reportedTrouble = trouble.is;
    this.incident('lease-trouble', trouble.message);
  }

  noteNoTrouble(): void {
    if (this.draft.reportedTrouble === null) return;
    this.draft.reportedTrouble = null;
    this.incident('lease-trouble-over', 'the Kubernetes API answers again');
  }

  /** The pause before the next try after so many failures, as the last one suggests. */
  pauseMs(trouble: LeaseTrouble | null, failures: number, longestMs: number): number {
    const doubled = Math.min(longestMs, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10));
    return Math.max(doubled, Math.min(RETRY_AFTER_MAX_MS, trouble?.retryAfterMs ?? 0));
  }
}
