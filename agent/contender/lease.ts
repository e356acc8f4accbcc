/**
 * What a Lease says and what follows from it: whose term it is, and when it may be taken.
 *
 * Guarantees: a record's age is counted only from when this process saw it change (rule 1), and a vacant Lease
 * counts as free at once only when its last holder said so itself (rule 2).
 * Does not trust the times written in a record: they are compared for being different, never read as times.
 */
import type { ContenderSettings } from './settings.ts';

/** One holder's time in office. Every acquisition raises `transitions`; a recreated Lease has another `uid`. */
export interface Term {
  readonly uid: string;
  readonly transitions: number;
  readonly holder: string;
}

/** Why a holder would rather be relieved: it cannot serve, it cannot make its first claim, or an operator wants it so. */
export type ReliefCause = 'unhealthy' | 'claim-failed' | 'planned';

/** What Leasehold writes beside the fields that every Lease has. Each mark names the term that it is about. */
export interface LeaseMarks {
  /** The exact lease duration, which `leaseDurationSeconds` can only round up. */
  readonly duration: { readonly term: Term; readonly durationMs: number } | null;
  /** The last holder's own word that it has let go. */
  readonly released: Term | null;
  /** The holder's wish that a healthier candidate take over. */
  readonly relief: { readonly term: Term; readonly cause: ReliefCause; readonly reason: string } | null;
  /** A candidate's offer to take over, which the holder answers by stepping down. */
  readonly ask: { readonly term: Term; readonly by: string } | null;
  /** Nodes whose first claim failed since the last one that was confirmed. */
  readonly claimFailed: readonly string[];
  /**
   * Why the Lease moved last, for people; nothing is decided by it. Its term is the one that began with the move or, in a released
   * Lease, the one that ended. In a Lease that was just created the uid is ''.
   */
  readonly reason: { readonly term: Term; readonly reason: string } | null;
}

export const NO_MARKS: LeaseMarks = { duration: null, released: null, relief: null, ask: null, claimFailed: [], reason: null };

/** A Lease as it was read. */
export interface LeaseRecord {
  readonly uid: string;
  readonly resourceVersion: string;
  /** The holder's identity, or '' when nobody holds it. */
  readonly holder: string;
  readonly transitions: number;
  readonly acquireTime: string | null;
  readonly renewTime: string | null;
  /** `leaseDurationSeconds` in milliseconds, or null where the record names none. */
  readonly durationMs: number | null;
  /** Whether Leasehold or its manifests have ever written to this Lease. */
  readonly isOurs: boolean;
  readonly marks: LeaseMarks;
}

/** A Lease, or the fact that there is none. */
export type LeaseSight = LeaseRecord | 'absent';

/** What this process knows of the Lease, and since when by its own clock. */
export interface Observation {
  readonly sight: LeaseSight;
  /** When this process saw the present holder's last sign of life, or the vacancy begin. */
  readonly sinceMs: number;
  /** The term whose holder may still be serving, whatever the record says now; null when it has let go or none was seen. */
  readonly lastTerm: Term | null;
  /** The longest duration seen in that term. */
  readonly longestDurationMs: number;
  /** When the latest consistent read was sent that showed this very state; null if only a watch has shown it. */
  readonly confirmedAtMs: number | null;
}

/** When a Lease may be taken. */
export type Freedom =
  { readonly is: 'free' } | { readonly is: 'free-at'; readonly atMs: number } | { readonly is: 'foreign'; readonly holder: string };

export function sameTerm(a: Term, b: Term): boolean {
  return a.uid === b.uid && a.transitions === b.transitions && a.holder === b.holder;
}

/** Whether a term is the one that was held or asked for. Asked for with a creation, it had no uid yet. */
export function isTermAskedFor(term: Term, asked: Term): boolean {
  return sameTerm(term, asked) || (asked.uid === '' && sameTerm({ ...term, uid: '' }, asked));
}

/** The term among one's own that a sight shows, or null. */
export function termAmong(sight: LeaseSight, ownTerms: readonly Term[]): Term | null {
  const term = termOf(sight);
  return term !== null && ownTerms.some((own) => isTermAskedFor(term, own)) ? term : null;
}

/** The term that a record is in, or null when nobody holds the Lease. */
export function termOf(sight: LeaseSight): Term | null {
  if (sight === 'absent' || sight.holder === '') return null;
  return { uid: sight.uid, transitions: sight.transitions, holder: sight.holder };
}

/** Whether a mark speaks about the term that the record is in. */
export function markNames(mark: { readonly term: Term } | null, term: Term | null): boolean {
  return mark !== null && term !== null && sameTerm(mark.term, term);
}

/**
 * Takes a new sight of the Lease into account. Only a changed spec counts as a sign of life: a candidate's ask or a
 * person's label raises the resourceVersion too and must not keep a dead holder alive.
 */
export function observe(
  previous: Observation | null,
  sight: LeaseSight,
  seen: { readonly atMs: number; readonly readSentAtMs: number | null },
): Observation {
  const term = termOf(sight);
  if (previous !== null && signOfLife(previous.sight) === signOfLife(sight)) {
    return { ...previous, sight, confirmedAtMs: seen.readSentAtMs ?? previous.confirmedAtMs };
  }
  const confirmedAtMs = seen.readSentAtMs;
  if (term !== null && sight !== 'absent') {
    const durationMs = durationOf(sight);
    const isSameTerm = previous?.lastTerm !== undefined && previous.lastTerm !== null && sameTerm(previous.lastTerm, term);
    return {
      sight,
      sinceMs: seen.atMs,
      lastTerm: term,
      longestDurationMs: isSameTerm ? Math.max(previous.longestDurationMs, durationMs) : durationMs,
      confirmedAtMs,
    };
  }
  if (sight !== 'absent' && isReleasedByItsHolder(sight, previous?.lastTerm ?? null)) {
    return { sight, sinceMs: seen.atMs, lastTerm: null, longestDurationMs: 0, confirmedAtMs };
  }
  return {
    sight,
    sinceMs: previous !== null && isSameVacancy(previous.sight, sight) ? previous.sinceMs : seen.atMs,
    lastTerm: previous?.lastTerm ?? null,
    longestDurationMs: Math.max(previous?.longestDurationMs ?? 0, sight === 'absent' ? 0 : durationOf(sight)),
    confirmedAtMs,
  };
}

/** Whether nothing in two vacant sights shows that somebody has held the Lease in between. */
function isSameVacancy(before: LeaseSight, now: LeaseSight): boolean {
  if (termOf(before) !== null || now === 'absent') return false;
  // Made anew by a person or by the manifests, and not held since.
  if (before === 'absent') return wasNeverHeld(now);
  return (
    before.uid === now.uid &&
    before.transitions === now.transitions &&
    before.acquireTime === now.acquireTime &&
    before.renewTime === now.renewTime
  );
}

/** What a candidate knows of itself. */
export interface Self {
  readonly settings: ContenderSettings;
  /** The terms that this process has held or asked for. */
  readonly ownTerms: readonly Term[];
  /** No other agent process lives on this node. */
  readonly isAlone: boolean;
}

/** Whether a Lease belongs to another program: somebody has held it, and Leasehold never has. */
export function isAnotherPrograms(record: LeaseRecord): boolean {
  return !record.isOurs && (record.holder !== '' || !wasNeverHeld(record));
}

/** When a candidate may take the Lease that it observes. */
export function freedomOf(observation: Observation, { settings, ownTerms, isAlone }: Self): Freedom {
  const { sight, sinceMs, lastTerm } = observation;
  const afterAWholeDuration: Freedom = {
    is: 'free-at',
    atMs: sinceMs + Math.max(settings.leaseDurationMs, observation.longestDurationMs),
  };
  if (sight === 'absent') return afterAWholeDuration;
  // A term of this very process that has ended holds nobody up: this process knows that it no longer serves in it.
  // That it is named is not enough: a person may have written that while another one serves.
  if (termAmong(sight, ownTerms) !== null) return { is: 'free' };
  // Nor does that of an earlier process on this node, once it is known to be gone: what it bound is here. Its own mark shows
  // that the term was acquired, and its name not only written there.
  const isSucceeded = isAlone && isPredecessor(sight.holder, settings.identity);
  if (isSucceeded && markNames(sight.marks.duration, termOf(sight))) return { is: 'free' };
  const isUntouched = sight.holder === '' && wasNeverHeld(sight);
  if (!sight.isOurs && !isUntouched) return { is: 'foreign', holder: sight.holder };
  if (isReleasedByItsHolder(sight, lastTerm)) return { is: 'free' };
  return afterAWholeDuration;
}

/**
 * Whether an identity `<node>_<hash>_<random>` is that of another process of one's own node, in one boot of its machine and
 * one network namespace.
 */
export function isPredecessor(identity: string, own: string): boolean {
  const [place, ownPlace] = [identity, own].map((each) => /^(.+_[^_]+)_[^_]+$/.exec(each)?.[1]);
  return identity !== own && place !== undefined && place === ownPlace;
}

/** The node part of an identity `<node>_<hash>_<random>`; the whole text where it has another form. */
export function nodeOfIdentity(identity: string): string {
  const parts = identity.split('_');
  return parts.length < 3 ? identity : parts.slice(0, -2).join('_');
}

function durationOf(record: LeaseRecord): number {
  const exact = record.marks.duration;
  return markNames(exact, termOf(record)) && exact !== null ? exact.durationMs : (record.durationMs ?? 0);
}

/** The mark is the word of the last holder that was seen, or of one that came lawfully after it without being seen. */
function isReleasedByItsHolder(record: LeaseRecord, lastTerm: Term | null): boolean {
  const { released } = record.marks;
  if (record.holder !== '' || released === null) return false;
  if (released.uid !== record.uid || released.transitions !== record.transitions) return false;
  if (lastTerm === null || sameTerm(lastTerm, released)) return true;
  return lastTerm.uid === released.uid && lastTerm.transitions < released.transitions;
}

/** Neither times nor transitions: just created. */
function wasNeverHeld({ transitions, acquireTime, renewTime }: LeaseRecord): boolean {
  return transitions === 0 && acquireTime === null && renewTime === null;
}

function signOfLife(sight: LeaseSight): string {
  if (sight === 'absent') return 'absent';
  const { uid, holder, transitions, acquireTime, renewTime, durationMs } = sight;
  return JSON.stringify([uid, holder, transitions, acquireTime, renewTime, durationMs]);
}
