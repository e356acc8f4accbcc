/**
 * What a shared segment asks of whoever binds an address: to ask before it does, to tell everybody once it has, and to let go
 * at once when somebody else says the same.
 *
 * Guarantees: nothing is announced beyond the tenure, nor while something speaks against it. One frame of somebody else's is
 * enough to close; the Lease is read, and the segment asked again, before the address comes back.
 */
import type { LinkView } from './input.ts';
import { unbind } from './retention.ts';
import type { AddressState, Announcing, Office } from './state.ts';
import type { Turn } from './turn.ts';

/** How long whoever has the address already may take to answer: a neighbour's kernel needs less than a millisecond. */
const PROBE_MS = 25;
/** Announcements after the first one: a switch that was just plugged in and a cache that missed one get others soon. */
const ANNOUNCE_AFTER_MS = [0, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000] as const;
/** And from then on for as long as the address is here. */
const ANNOUNCE_EVERY_MS = 30_000;

/** Asks whether anybody has the address, before it is bound. */
export function probe(turn: Turn, address: string, problem: string | null, office: Office): void {
  turn.setAddress(address, { is: 'probing', untilMs: turn.nowMs + PROBE_MS, problem });
  turn.due(turn.nowMs + PROBE_MS);
  turn.command({ type: 'probe', address, notAfterMs: office.tenureEndMs });
}

/** The announcements of an address that has just been bound, or whose cable has just come back. */
export function announceFrom(atMs: number): Announcing {
  return { sinceMs: atMs, count: 0, atMs };
}

/** Announces if it is time to. */
export function advanceAnnouncing(turn: Turn, address: string, state: AddressState & { is: 'bound' }, office: Office): void {
  const { announcing } = state;
  if (announcing === null || office.doubt !== null || !turn.due(announcing.atMs)) return;
  const count = announcing.count + 1;
  const afterMs = ANNOUNCE_AFTER_MS[count];
  const atMs = afterMs === undefined ? turn.nowMs + ANNOUNCE_EVERY_MS : Math.max(turn.nowMs, announcing.sinceMs + afterMs);
  turn.setAddress(address, { ...state, announcing: { ...announcing, count, atMs } });
  turn.due(atMs);
  turn.command({ type: 'announce', address, notAfterMs: office.tenureEndMs });
}

/** Somebody else says that the address is theirs: close, then look. */
export function onRivalSeen(turn: Turn, address: string, rival: string): void {
  const { life } = turn.draft;
  turn.conflict(address, rival, `${rival} says that it has the address: taken off until the Lease has been read and nobody answers for it`);
  unbind(turn, address, 0, null);
  if (life.is !== 'holding') return;
  turn.draft.life = { is: 'holding', office: { ...life.office, doubt: 'sight', renewAtMs: turn.nowMs } };
}

/** Whether the carrier of an address's interface has come or gone between two looks, however shortly. */
export function hasCarrierChanged(before: LinkView | null, now: LinkView, address: string): boolean {
  const [earlier, later] = [before?.carrierChanges[address], now.carrierChanges[address]];
  return earlier !== undefined && later !== undefined && earlier !== later;
}
