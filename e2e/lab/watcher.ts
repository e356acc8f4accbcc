/**
 * Watches what must never be, whatever is done to the agents.
 *
 * Finds every write to the provider that was accepted from a node outside its tenure, and every address that is bound, or
 * will be by its kernel lifetime, for longer after its node's tenure than a linger or a lifetime may last; where nobody
 * arbitrates, also one that is still bound when its node has released the Lease. Tenures are those that the Lease API tells
 * of, so it knows nothing from the agents themselves. Where nobody arbitrates, an address may be bound behind a closed
 * fence: who answers for it is judged on the wire (wire-judge.ts).
 *
 * A real API tells of a Lease after it was stored. So whatever looks wrong is judged again once everything has been told
 * that was stored before; what is still wrong then, is. A write that came before its writer's own term by less than that, or
 * after a tenure by less than the slack, is not found.
 *
 * A tenure is counted from the time that the renewal itself bears, because it may be told seconds later when the API server
 * stands still. That takes agents whose wall clock is the watcher's; where none is given, a tenure told late is judged too
 * long. A node counts as holding over only while its agent runs, the provider names it or cannot be asked by it, and it
 * cannot yet have read that the Lease names somebody else. Whether a new process on it has any right to go on with what the
 * one before it held over is not looked at.
 */
import { ANNOTATIONS } from '../../agent/kube/lease-codec.ts';
import { nodeOfIdentity } from '../../agent/contender/lease.ts';
import { FENCED_LIFETIME_MARGIN_MS, LIFETIME_LATENESS_MS, LIFETIME_MARGIN_MS } from '../../agent/contender/settings.ts';
import { holderOf } from './leases.ts';
import type { SeenLease } from './leases.ts';
import type { Finding, Term } from './wire-judge.ts';

export interface Timings {
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly providerTimeoutMs: number;
}

export interface WatcherOptions {
  readonly timings: Timings;
  readonly kind: 'routed' | 'l2';
  readonly nowMs: () => number;
  /** The clock that the agents write renewal times by, if it is known. */
  readonly wallClockMs?: () => number;
  /** Resolves when every Lease has been told that was stored before this was asked. */
  readonly caughtUp?: () => Promise<void>;
}

/** One of the addresses on one node. */
export interface Bound {
  readonly node: string;
  /** What the kernel still gives it; Infinity if it would stay. */
  readonly remainingMs: number;
}

/** One look at every node. */
export interface Sample {
  readonly bound: readonly Bound[];
  /** The node that the provider routes the address to. */
  readonly owner: string | null;
  /** Nodes that cannot ask the provider, and so may go on believing what it said last. */
  readonly cutOff: readonly string[];
  /** Nodes that cannot ask the Kubernetes API as they should, and so may not know what the Lease says. */
  readonly deaf: readonly string[];
  /** Nodes whose agent runs. One that is dead or frozen holds nothing over: its address is left to its lifetime. */
  readonly alive: readonly string[];
  /** Whether the first node of several was looked at again and still had the address: then they had it at once. */
  readonly isAtOnce: boolean;
}

interface Tenure extends Term {
  readonly uid: string | undefined;
  readonly identity: string;
  readonly transitions: number;
  renewTime: string;
  readonly renewedAtMs: number[];
  endedAtMs: number | null;
  isReleased: boolean;
}

/** What travels between an agent and the stand-ins takes no longer than this. */
const SLACK_MS = 50;

/** How soon an agent that holds over has read what the Lease says: it pauses for 0.5 s at the most, and reads for 0.6 s. */
const READ_WITHIN_MS = 2_000;

export class Watcher {
  readonly violations: string[] = [];
  samples = 0;
  readonly #options: WatcherOptions;
  readonly #reported = new Set<string>();
  /** What will be judged again. */
  readonly #doubted = new Set<string>();
  readonly #tenures: Tenure[] = [];
  /** Until when each node has had the address with nothing that it could see against it, though the API was silent. */
  readonly #heldOverUntilMs = new Map<string, number>();
  /** Since when each node could have read that the Lease does not name it any more. */
  readonly #unnamedSinceMs = new Map<string, number>();
  /** The node that the Lease was told to name last, if any. */
  #named: string | null = null;
  #mostAtOnce = 0;

  constructor(options: WatcherOptions) {
    this.#options = options;
  }

  /** Takes in a Lease as it was stored, or null when it was deleted. */
  onLease(lease: SeenLease | null): void {
    const identity = holderOf(lease);
    const nowMs = this.#options.nowMs();
    const last = this.#tenures.at(-1);
    this.#noteNamed(identity === '' ? null : nodeOfIdentity(identity), nowMs);
    if (lease === null || identity === '') {
      // Deleted or emptied by others, it still leaves its holder the rest of the tenure.
      const isReleased = lease?.metadata.annotations?.[ANNOTATIONS.released]?.includes(last?.identity ?? '') === true;
      if (isReleased && last?.endedAtMs === null) Object.assign(last, { endedAtMs: nowMs, isReleased });
      return;
    }
    // Somebody who is none of ours has no tenure, and ends nobody's.
    if (nodeOfIdentity(identity) === identity) return;
    const { uid } = lease.metadata;
    const { renewTime = '', leaseTransitions: transitions = 0 } = lease.spec;
    const renewedAtMs = this.#writtenAtMs(renewTime, nowMs);
    if (last?.identity === identity && last.transitions === transitions && last.uid === uid) {
      if (last.renewTime === renewTime) return;
      last.renewTime = renewTime;
      last.renewedAtMs.push(renewedAtMs);
      return;
    }
    if (last !== undefined) last.endedAtMs ??= nowMs;
    const node = nodeOfIdentity(identity);
    this.#tenures.push({ uid, node, identity, transitions, renewTime, renewedAtMs: [renewedAtMs], endedAtMs: null, isReleased: false });
  }

  #noteNamed(node: string | null, nowMs: number): void {
    if (this.#named !== null && this.#named !== node) this.#unnamedSinceMs.set(this.#named, nowMs);
    if (node !== null) this.#unnamedSinceMs.delete(node);
    this.#named = node;
  }

  /** When a record was written by the time in it; never later than it was told. */
  #writtenAtMs(renewTime: string, toldAtMs: number): number {
    const { wallClockMs } = this.#options;
    const ageMs = wallClockMs === undefined ? 0 : wallClockMs() - Date.parse(renewTime);
    return toldAtMs - Math.max(0, ageMs || 0);
  }

  /** Every term so far, in their order. */
  get terms(): readonly Term[] {
    return this.#tenures;
  }

  /** Takes in a write that the provider has just accepted. */
  onProviderWrite(node: string): void {
    const atMs = this.#options.nowMs();
    this.#judge(() => {
      const untilMs = this.#heldUntilMs(node);
      if (untilMs === null) return { what: `${node} wrote to the provider without ever having held the Lease` };
      if (atMs <= untilMs + SLACK_MS) return null;
      return { what: `${node} wrote to the provider after its tenure`, ms: atMs - untilMs };
    });
  }

  /** Takes in where the address is bound now. */
  onSample(sample: Sample): void {
    this.samples += 1;
    const atMs = this.#options.nowMs();
    const { bound, isAtOnce } = sample;
    const nodes = new Set(bound.map(({ node }) => node)).size;
    this.#mostAtOnce = Math.max(this.#mostAtOnce, isAtOnce ? nodes : Math.min(1, nodes));
    for (const node of sample.deaf) if (this.#unnamedSinceMs.has(node)) this.#unnamedSinceMs.set(node, atMs);
    for (const { node, remainingMs } of bound) {
      if (this.#mayHoldOver(node, sample, atMs)) this.#heldOverUntilMs.set(node, atMs);
      this.#judge(() => this.#boundTooLong(node, atMs, remainingMs));
    }
  }

  /** The most nodes that have had the address at once since this was asked last. */
  takeMostAtOnce(): number {
    const most = this.#mostAtOnce;
    this.#mostAtOnce = 0;
    return most;
  }

  #mayHoldOver(node: string, { owner, cutOff, alive }: Sample, atMs: number): boolean {
    if (this.#options.kind !== 'routed' || !alive.includes(node)) return false;
    if (owner !== node && !cutOff.includes(node)) return false;
    return atMs <= (this.#unnamedSinceMs.get(node) ?? atMs) + READ_WITHIN_MS;
  }

  #boundTooLong(node: string, atMs: number, remainingMs: number): Finding | null {
    const { timings, kind } = this.#options;
    const heldUntilMs = this.#heldUntilMs(node);
    const last = this.#tenures.findLast((each) => each.node === node);
    if (kind === 'l2' && last?.isReleased === true) return { what: `the address is bound on ${node}, which has released the Lease` };
    if (heldUntilMs === null) return { what: `the address is bound on ${node}, which has never held the Lease` };
    const boundMs = atMs + remainingMs - Math.min(atMs, Math.max(heldUntilMs, this.#heldOverUntilMs.get(node) ?? 0));
    // Routed, a lifetime is never shorter than what a linger takes. On L2 it only tidies up behind the fence.
    const marginMs = kind === 'routed' ? timings.providerTimeoutMs + LIFETIME_MARGIN_MS : FENCED_LIFETIME_MARGIN_MS;
    const longestMs = timings.leaseDurationMs + marginMs + LIFETIME_LATENESS_MS;
    return boundMs > longestMs
      ? { what: `the address is bound on ${node} for longer than ${longestMs}ms after its tenure`, ms: boundMs }
      : null;
  }

  /** The latest instant of a node's tenures, or null if it has had none. */
  #heldUntilMs(node: string): number | null {
    const tenure = this.#tenures.findLast((each) => each.node === node);
    if (tenure === undefined) return null;
    return Math.min(tenure.endedAtMs ?? Number.POSITIVE_INFINITY, (tenure.renewedAtMs.at(-1) ?? 0) + this.#options.timings.renewDeadlineMs);
  }

  /** Reports what is wrong, and still is when nothing is behind any more. */
  #judge(look: () => Finding | null): void {
    const finding = look();
    if (finding === null || this.#reported.has(finding.what)) return;
    const { caughtUp } = this.#options;
    if (caughtUp === undefined) return this.report(finding);
    if (this.#doubted.has(finding.what)) return;
    this.#doubted.add(finding.what);
    void caughtUp().then(() => {
      this.#doubted.delete(finding.what);
      const still = look();
      if (still !== null) this.report(still);
    });
  }

  /** Notes each thing once, with the measure of its first time. */
  report({ what, ms }: Finding): void {
    if (this.#reported.has(what)) return;
    this.#reported.add(what);
    this.violations.push(ms === undefined ? what : `${what}: ${Math.round(ms)}ms`);
  }
}
