/**
 * The life of one contender, from candidate to holder and back, as data that never changes in place.
 *
 * Guarantees: only `holding` carries a tenure, so nothing can act for an office that is over; each member of a union
 * has exactly the fields that make sense in it.
 */
import type { Basis, Role } from './command.ts';
import type { Contest } from './contest.ts';
import type { LinkView, Residence } from './input.ts';
import { termAmong } from './lease.ts';
import type { LeaseSight, Observation, ReliefCause, Term } from './lease.ts';
import type { ContenderSettings } from './settings.ts';

export interface Contender {
  readonly settings: ContenderSettings;
  /** The latest instant that any input carried. */
  readonly nowMs: number;
  /** When the next tick is due, whatever else happens before. */
  readonly wakeAtMs: number;
  readonly life: Life;
  /** Since when the present role has lasted. */
  readonly roleSinceMs: number;
  readonly observation: Observation | null;
  /** The one request about the Lease that is under way. */
  readonly request: PendingRequest | null;
  /** The terms that this process has held or asked for, as far as one of them may stand. A uid is '' where the Lease was to be created. */
  readonly ownTerms: readonly Term[];
  /** Numbers requests, claims and owner reads, so that a late answer is told from the awaited one. */
  readonly counter: number;
  readonly verdict: { readonly healthy: boolean; readonly reason: string } | null;
  readonly provider: { readonly ready: boolean; readonly reason: string } | null;
  /** Whether another agent process lives on this node. */
  readonly residence: { readonly is: Residence; readonly reason: string } | null;
  readonly link: LinkView | null;
  readonly lookAtMs: number;
  readonly addresses: Readonly<Record<string, AddressState>>;
  readonly standBack: StandBack;
  /** The term whose holder this candidate has asked to step down. */
  readonly asked: Term | null;
  /** What was last reported as keeping this candidate from contending. */
  readonly reportedHindrance: Hindrance['about'] | null;
  /** When people are told again that nobody holds the Lease, or that an address is held over; null while neither is so. */
  readonly remindAtMs: number | null;
  /** What was last reported as wrong with requests about the Lease. */
  readonly reportedTrouble: string | null;
}

/** What keeps a node from contending, in words for people. */
export interface Hindrance {
  readonly about: 'probes' | 'interface' | 'provider' | 'lease' | 'residence';
  readonly reason: string;
}

export type Life =
  /** Watches the Lease, and takes it when it is free and nothing hinders this node. */
  | {
      readonly is: 'standby';
      /** A read of the Lease is due at this instant; null while there is nothing to find out. */
      readonly readAtMs: number | null;
      /** No attempt to acquire or ask before this instant. */
      readonly notBeforeMs: number;
      /** Requests in a row that brought no answer. */
      readonly failures: number;
      /** Attempts to take the Lease in a row that brought no office. */
      readonly lostRaces: number;
      /** A term that this contender asked for without learning whether it was granted; null once a read has told. */
      readonly uncertain: Term | null;
    }
  /** Has sent a write that would make it the holder. The term's uid is '' where the Lease has yet to be created. */
  | { readonly is: 'acquiring'; readonly term: Term; readonly lostRaces: number }
  | { readonly is: 'holding'; readonly office: Office }
  /** Gives the office up in order (rule 5). */
  | {
      readonly is: 'stepping-down';
      readonly term: Term;
      /** Why, for whoever reads the Lease. */
      readonly reason: string;
      readonly stage: 'unbinding' | 'settling' | 'reading' | 'writing';
      readonly afterwards: 'standby' | 'leaving';
      /** The Lease is left to run out if it could not be released by then. */
      readonly giveUpAtMs: number;
      /** A request that is still under way is called off at this instant. */
      readonly abortAtMs: number;
      readonly failures: number;
      readonly retryAtMs: number;
    }
  /** Has let go of the Lease for good and keeps serving only what still lingers. */
  | { readonly is: 'leaving' }
  | { readonly is: 'stopped' };

export interface Office {
  readonly term: Term;
  readonly acquiredAtMs: number;
  /** What the next conditional write is based on. */
  readonly basis: Basis;
  readonly renewTime: string | null;
  /** When the last good renewal was sent. */
  readonly renewalSentAtMs: number;
  /** s + R. Never moved by anything but a good renewal. */
  readonly tenureEndMs: number;
  readonly renewAtMs: number;
  readonly renewFailures: number;
  /** Conflicts in a row. */
  readonly conflicts: number;
  /** What makes a consistent read necessary before the next renewal; null when nothing does. */
  readonly doubt: Doubt | null;
  readonly relief: Relief | null;
  /** An operator's wish that another node take over, which lasts until an instant; null while there is none. */
  readonly planned: { readonly reason: string; readonly untilMs: number } | null;
  /** Nodes whose first claim failed, as the record lists them. */
  readonly claimFailed: readonly string[];
  /** Since when every address has been confirmed; null while that is still to come. */
  readonly servingSinceMs: number | null;
}

/**
 * `conflict`: somebody wrote to the record, perhaps only ourselves in a request that was given up. `stall`: the loop stood
 * still. `sight`: a watch has shown something that speaks against the term.
 */
export type Doubt = 'conflict' | 'stall' | 'sight';

/** The holder's wish to be relieved. */
export interface Relief {
  readonly cause: ReliefCause;
  readonly reason: string;
  readonly sinceMs: number;
  readonly remindAtMs: number;
}

export type PendingRequest = {
  readonly id: number;
  /** The instant the command was given, which is never after the instant of sending. */
  readonly sentAtMs: number;
} & (
  | { readonly kind: 'read' }
  | { readonly kind: 'acquire' }
  | { readonly kind: 'renew' }
  | { readonly kind: 'ask' }
  | { readonly kind: 'release' }
);

export type AddressState =
  /** Not bound by this program. */
  | { readonly is: 'absent'; readonly problem: string | null; readonly retryAtMs: number }
  /** Bound by an earlier agent on this node; its kernel lifetime runs out by itself. */
  | { readonly is: 'leftover'; readonly reading: OwnerReading }
  /** L2: whether anybody else has it is being asked, until an instant. */
  | { readonly is: 'probing'; readonly untilMs: number; readonly problem: string | null }
  /** `problem` is why it could not be bound before. */
  | { readonly is: 'binding'; readonly problem: string | null }
  /** `managed` is false where an administrator's own copy is used; `problem` says why the last refresh failed. */
  | {
      readonly is: 'bound';
      readonly managed: boolean;
      readonly problem: string | null;
      readonly claim: Claim;
      /** Null while nobody else seems to claim it. */
      readonly contest: Contest | null;
      /** Null where nothing is announced. */
      readonly announcing: Announcing | null;
    }
  /** Still bound after the term, for clients that the provider still sends here; nothing is written for it. */
  | { readonly is: 'lingering'; readonly managed: boolean; readonly untilMs: number; readonly reading: OwnerReading }
  /**
   * Still ours although the tenure ran out, because nothing but the API's silence ended it and the provider goes on routing
   * here; ends with the first evidence to the contrary. `isOff`: taken off the interface until the provider has said again
   * that it is routed here, and the node is healthy.
   */
  | { readonly is: 'held-over'; readonly managed: boolean; readonly isOff: boolean; readonly reading: OwnerReading }
  | { readonly is: 'unbinding'; readonly failures: number; readonly retryAtMs: number };

/** Telling the segment who has an address: at once, soon again, and slowly for ever. */
export interface Announcing {
  readonly sinceMs: number;
  /** How often it has been told. */
  readonly count: number;
  /** When it is told next. */
  readonly atMs: number;
}

/** A repeated read of the owner, with growing pauses. */
export interface OwnerReading {
  readonly attempt: number | null;
  readonly readAtMs: number;
  readonly pauseMs: number;
  /** How many reads in a row have shown another owner. */
  readonly foreignReads: number;
  /** Whether the last read that was answered showed this node. */
  readonly isHere: boolean;
}

export type Claim =
  /** L2: whoever binds the address has it. */
  | { readonly is: 'not-needed' }
  | { readonly is: 'claiming'; readonly attempt: number; readonly isFirst: boolean; readonly failures: number; readonly sinceMs: number }
  /** To be made at `atMs`, after so many that failed. */
  | { readonly is: 'due'; readonly isFirst: boolean; readonly failures: number; readonly atMs: number }
  | {
      readonly is: 'confirmed';
      readonly sinceMs: number;
      /** How many of the early verifications are done. */
      readonly verified: number;
      /** Whether the last read brought no answer. */
      readonly isUnknown: boolean;
      readonly foreignReads: number;
      readonly attempt: number | null;
      readonly readAtMs: number;
    };

/** After a failed term others go first for a while that grows with each failure. */
export interface StandBack {
  readonly healthFailures: number;
  readonly claimFailures: number;
  /** Others go first until then; null when there is no reason to. */
  readonly untilMs: number | null;
  /** This node does not ask again to try a claim that others could not make until then. */
  readonly claimUntilMs: number | null;
}

/** A contender that has just been started and knows nothing yet. */
export function newContender(settings: ContenderSettings, atMs: number): Contender {
  return {
    settings,
    nowMs: atMs,
    wakeAtMs: atMs,
    life: { is: 'standby', readAtMs: atMs, notBeforeMs: atMs, failures: 0, lostRaces: 0, uncertain: null },
    roleSinceMs: atMs,
    observation: null,
    request: null,
    ownTerms: [],
    counter: 0,
    verdict: null,
    provider: null,
    residence: null,
    link: null,
    lookAtMs: atMs,
    addresses: Object.fromEntries(settings.addresses.map((address) => [address, { is: 'absent', problem: null, retryAtMs: atMs }])),
    standBack: { healthFailures: 0, claimFailures: 0, untilMs: null, claimUntilMs: null },
    asked: null,
    reportedHindrance: null,
    remindAtMs: null,
    reportedTrouble: null,
  };
}

export function roleOf(contender: Contender): Role {
  const { life } = contender;
  switch (life.is) {
    case 'standby':
      if (isHoldingOver(contender)) return 'holding-over';
      return contender.observation === null ? 'starting' : 'standby';
    case 'holding':
      return life.office.servingSinceMs === null ? 'claiming' : 'serving';
    default:
      return life.is;
  }
}

/** Whether an address is kept beyond its tenure because nothing but the API's silence has ended it. */
export function isHoldingOver({ addresses }: Pick<Contender, 'addresses'>): boolean {
  return Object.values(addresses).some((address) => address.is === 'held-over');
}

/** The term of this very process that a sight of the Lease shows, or null. */
export function ownTermIn(sight: LeaseSight, { ownTerms }: Pick<Contender, 'ownTerms'>): Term | null {
  return termAmong(sight, ownTerms);
}

/** Whether it is proven that no other agent process for this Lease lives on this node. */
export function isAlone({ residence }: Pick<Contender, 'residence'>): boolean {
  return residence?.is === 'alone';
}

/** The term in which a contender holds office, or null. */
export function officeTerm(contender: Contender): Term | null {
  const { life } = contender;
  if (life.is === 'holding') return life.office.term;
  return life.is === 'stepping-down' ? life.term : null;
}

/**
 * The check before each write to the provider (rule 6): whether the claim with this attempt number is still wanted by
 * a holder whose tenure lasts at `nowMs`.
 */
export function mayWriteToProvider(contender: Contender, address: string, attempt: number, nowMs: number): boolean {
  const { life, settings } = contender;
  if (life.is !== 'holding' || nowMs >= life.office.tenureEndMs) return false;
  const state = contender.addresses[address];
  if (state?.is !== 'bound' || state.claim.is !== 'claiming' || state.claim.attempt !== attempt) return false;
  return !state.claim.isFirst || nowMs >= firstClaimNotBeforeMs(life.office, settings);
}

/** A node that turned unhealthy before it drew any client leaves healthier ones one lease duration to offer relief. */
export function firstClaimNotBeforeMs(office: Office, settings: ContenderSettings): number {
  return office.relief?.cause === 'unhealthy' ? office.relief.sinceMs + settings.leaseDurationMs : Number.NEGATIVE_INFINITY;
}
