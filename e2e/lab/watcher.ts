/**
 * Watches what must never be, whatever is done to the agents.
 *
 * Guarantees: no write to the provider is accepted from a node outside its tenure, as the Lease stand-in saw it; an
 * address is bound only on a node that holds the Lease, or held it no longer ago than a linger or a kernel lifetime lasts.
 */
import { nodeOfIdentity } from '../../agent/contender/lease.ts';
import { LIFETIME_LATENESS_MS, LIFETIME_MARGIN_MS } from '../../agent/contender/settings.ts';
import type { StoredLease } from '../../test/support/kube-api.ts';

export interface Timings {
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly providerTimeoutMs: number;
}

/** What travels between an agent and the stand-ins takes no longer than this. */
const SLACK_MS = 50;

export class Watcher {
  readonly violations: string[] = [];
  samples = 0;
  readonly #timings: Timings;
  readonly #nowMs: () => number;
  #holder: { readonly node: string; readonly identity: string; readonly renewedAtMs: number; readonly renewTime: string } | null = null;
  readonly #lastHeldAtMs = new Map<string, number>();

  constructor(timings: Timings, nowMs: () => number) {
    this.#timings = timings;
    this.#nowMs = nowMs;
  }

  /** Takes in a Lease as it was just stored. */
  onLease({ spec }: StoredLease): void {
    const identity = spec.holderIdentity ?? '';
    const nowMs = this.#nowMs();
    if (this.#holder !== null) this.#lastHeldAtMs.set(this.#holder.node, nowMs);
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

  /** Takes in on which nodes the address is bound now. */
  onSample(boundOn: readonly string[]): void {
    this.samples += 1;
    const nowMs = this.#nowMs();
    const { leaseDurationMs, providerTimeoutMs } = this.#timings;
    if (this.#holder !== null) this.#lastHeldAtMs.set(this.#holder.node, nowMs);
    for (const node of boundOn) {
      const heldAtMs = this.#lastHeldAtMs.get(node);
      const boundMs = leaseDurationMs + providerTimeoutMs + LIFETIME_MARGIN_MS + LIFETIME_LATENESS_MS;
      if (heldAtMs === undefined) this.#report(`the address is bound on ${node}, which has never held the Lease`);
      else if (nowMs - heldAtMs > boundMs)
        this.#report(`the address is still bound on ${node}, ${Math.round(nowMs - heldAtMs)}ms after it held the Lease`);
    }
  }

  #report(what: string): void {
    if (!this.violations.includes(what)) this.violations.push(what);
  }
}
