/**
 * Watches what must never be, whatever is done to the agents.
 *
 * Finds every write to the provider that was accepted from a node outside its tenure, and every address that is bound, or
 * will be by its kernel lifetime, for longer after its node's tenure than a linger or a lifetime may last. Tenures are
 * those that the Lease stand-in saw begin and end, so it knows nothing from the agents themselves.
 */
import { nodeOfIdentity } from '../../agent/contender/lease.ts';
import { LIFETIME_LATENESS_MS, LIFETIME_MARGIN_MS } from '../../agent/contender/settings.ts';
import type { StoredLease } from '../../test/support/kube-api.ts';

export interface Timings {
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly providerTimeoutMs: number;
}

/** The address on one node. */
export interface Bound {
  readonly node: string;
  /** What the kernel still gives it; Infinity if it would stay. */
  readonly remainingMs: number;
}

/** What travels between an agent and the stand-ins takes no longer than this. */
const SLACK_MS = 50;

export class Watcher {
  readonly violations: string[] = [];
  samples = 0;
  readonly #reported = new Set<string>();
  readonly #timings: Timings;
  readonly #nowMs: () => number;
  #holder: { readonly node: string; readonly identity: string; readonly renewedAtMs: number; readonly renewTime: string } | null = null;
  /** The latest instant of each node's tenures. */
  readonly #heldUntilMs = new Map<string, number>();

  constructor(timings: Timings, nowMs: () => number) {
    this.#timings = timings;
    this.#nowMs = nowMs;
  }

  /** Takes in a Lease as it was just stored. */
  onLease({ spec }: StoredLease): void {
    const identity = spec.holderIdentity ?? '';
    const nowMs = this.#nowMs();
    this.#noteTenure(nowMs);
    if (identity === '') {
      this.#holder = null;
    } else if (this.#holder?.identity !== identity || this.#holder.renewTime !== spec.renewTime) {
      this.#holder = { node: nodeOfIdentity(identity), identity, renewedAtMs: nowMs, renewTime: spec.renewTime ?? '' };
    }
  }

  /** Takes in a write that the provider has just accepted. */
  onProviderWrite(node: string): void {
    const nowMs = this.#nowMs();
    if (this.#holder?.node !== node) {
      this.#report(`${node} wrote to the provider while ${this.#holder?.node ?? 'nobody'} held the Lease`);
    } else if (nowMs > this.#holder.renewedAtMs + this.#timings.renewDeadlineMs + SLACK_MS) {
      this.#report(`${node} wrote to the provider ${Math.round(nowMs - this.#holder.renewedAtMs)}ms after its last renewal`);
    }
  }

  /** Takes in where the address is bound now. */
  onSample(boundOn: readonly Bound[]): void {
    this.samples += 1;
    const nowMs = this.#nowMs();
    this.#noteTenure(nowMs);
    const { leaseDurationMs, providerTimeoutMs } = this.#timings;
    // A lifetime is never shorter than what a linger takes; the kernel may be late to end it.
    const longestMs = leaseDurationMs + providerTimeoutMs + LIFETIME_MARGIN_MS + LIFETIME_LATENESS_MS;
    for (const { node, remainingMs } of boundOn) {
      const heldUntilMs = this.#heldUntilMs.get(node);
      const boundMs = nowMs + remainingMs - (heldUntilMs ?? 0);
      if (heldUntilMs === undefined) this.#report(`the address is bound on ${node}, which has never held the Lease`);
      else if (boundMs > longestMs)
        this.#report(`the address is bound on ${node} for longer than ${longestMs}ms after its tenure`, boundMs);
    }
  }

  #noteTenure(nowMs: number): void {
    if (this.#holder === null) return;
    const { node, renewedAtMs } = this.#holder;
    this.#heldUntilMs.set(node, Math.min(nowMs, renewedAtMs + this.#timings.renewDeadlineMs));
  }

  /** Notes each thing once, with the measure of its first time. */
  #report(what: string, ms?: number): void {
    if (this.#reported.has(what)) return;
    this.#reported.add(what);
    this.violations.push(ms === undefined ? what : `${what}: ${Math.round(ms)}ms`);
  }
}
