/**
 * Judges what was heard on the wire: one node at a time speaks for an address, always.
 *
 * Two things are demanded of each frame. The node that sent it has to be in a tenure of its own, as the Lease API tells: no
 * earlier than a renewal was written and no later than its fence lets it speak on the strength of it. And it has to be that
 * node's turn: once a node has spoken in a term, nobody speaks in an earlier one any more. The second does not depend on any
 * clock but the kernel's that stamped the frames; the first is as exact as the slack.
 *
 * It knows nothing from the agents themselves. Terms have to be known up to the last frame that is judged.
 */
import type { Speech } from './wire-frames.ts';

/** One frame in which a node has spoken for an address. */
export interface Spoken {
  readonly node: string;
  /** When it was on the wire, by CLOCK_MONOTONIC. */
  readonly atMs: number;
  readonly address: string;
  readonly speech: Speech;
}

/** One term, as the Lease API has told of it. */
export interface Term {
  readonly node: string;
  /** When its acquisition and each of its renewals were written, in their order. */
  readonly renewedAtMs: readonly number[];
  /** When it was told that its holder had released the Lease or that another had taken over; null while it lasts. */
  readonly endedAtMs: number | null;
}

/** What clocks may be apart that are read one after the other, and renewals are written by whole milliseconds. */
export const WIRE_SLACK_MS = 20;

export interface Finding {
  readonly what: string;
  readonly ms?: number;
}

export class WireJudge {
  /** For how long a renewal lets its node speak. */
  readonly #openMs: number;
  readonly #turns = new Map<string, number>();
  /** The shortest time from a frame of one node to the next one of another; Infinity while there was none. */
  shortestSilenceMs = Number.POSITIVE_INFINITY;
  /** The last frame for each address. */
  readonly #last = new Map<string, Spoken>();
  /**
   * The nodes that spoke beside each other since this was asked last, by the term whose node was the only one to have the
   * right to.
   */
  #atOnce = new Map<number, Set<string>>();
  #hasSpoken = false;

  constructor(openMs: number) {
    this.#openMs = openMs;
  }

  /** Judges frames in the order in which they were on the wire, the first after the last that was judged before. */
  judge(frames: readonly Spoken[], terms: readonly Term[]): Finding[] {
    return frames.flatMap((frame) => this.#judgeFrame(frame, terms) ?? []);
  }

  /** How many nodes spoke at once at the most since this was asked last. */
  takeMostAtOnce(): number {
    const most = this.#hasSpoken ? Math.max(1, ...[...this.#atOnce.values()].map(({ size }) => size)) : 0;
    this.#atOnce = new Map();
    this.#hasSpoken = false;
    return most;
  }

  #judgeFrame(frame: Spoken, terms: readonly Term[]): Finding | null {
    const { node, atMs, address, speech } = frame;
    this.#hasSpoken = true;
    const last = this.#last.get(address);
    this.#last.set(address, frame);
    if (last !== undefined && last.node !== node) this.shortestSilenceMs = Math.min(this.shortestSilenceMs, atMs - last.atMs);
    const turn = this.#turns.get(address) ?? 0;
    const term = terms.findIndex((each, index) => index >= turn && each.node === node && this.#covers(each, atMs));
    if (term !== -1) {
      this.#turns.set(address, term);
      return null;
    }
    const whose = terms[turn]?.node;
    const isLate = whose !== undefined && whose !== node && terms.slice(0, turn).some((each) => each.node === node);
    if (isLate) {
      this.#noteBoth(turn, whose, node);
      const tookOverAtMs = terms[turn]?.renewedAtMs[0];
      return {
        what: `${node} spoke for ${address} (${speech}) when ${whose} had spoken in a later term`,
        ...(tookOverAtMs === undefined ? {} : { ms: atMs - tookOverAtMs }),
      };
    }
    this.#noteOutsider(node, atMs, terms);
    const own = terms.filter((each) => each.node === node && (each.renewedAtMs[0] ?? 0) - WIRE_SLACK_MS <= atMs).at(-1);
    if (own === undefined) return { what: `${node} spoke for ${address} (${speech}) without ever having held the Lease` };
    return { what: `${node} spoke for ${address} (${speech}) after its fence should have closed`, ms: atMs - this.#silentAtMs(own, atMs) };
  }

  /** Who speaks outside of every tenure of its own does so at once with whoever has one. */
  #noteOutsider(node: string, atMs: number, terms: readonly Term[]): void {
    const rightful = terms.findIndex((each) => each.node !== node && this.#covers(each, atMs));
    if (rightful !== -1) this.#noteBoth(rightful, terms[rightful]?.node ?? '', node);
  }

  #noteBoth(term: number, rightful: string, other: string): void {
    this.#atOnce.set(term, (this.#atOnce.get(term) ?? new Set()).add(rightful).add(other));
  }

  #covers(term: Term, atMs: number): boolean {
    return term.renewedAtMs.some((ms) => ms - WIRE_SLACK_MS <= atMs) && atMs <= this.#silentAtMs(term, atMs) + WIRE_SLACK_MS;
  }

  /** When a term's node has to be silent, as far as its renewals go that were written before an instant. */
  #silentAtMs({ renewedAtMs, endedAtMs }: Term, atMs: number): number {
    const last = renewedAtMs.findLast((ms) => ms - WIRE_SLACK_MS <= atMs) ?? 0;
    return Math.min(last + this.#openMs, endedAtMs ?? Number.POSITIVE_INFINITY);
  }
}
