/**
 * Everything that a contender can want done, as plain data. Whoever carries a command out looks at the clock once more
 * right before it (rule 6) and answers with the input that belongs to it.
 */
import type { LeaseMarks, Term } from './lease.ts';

/** The record that a conditional write is based on. */
export interface Basis {
  readonly uid: string;
  readonly resourceVersion: string;
}

/** The marks that one write leaves behind it; what is not named stays as it is in the record. */
export type MarkChanges = { readonly [Mark in keyof LeaseMarks]?: LeaseMarks[Mark] };

/** A request about the Lease. `timeoutMs` bounds the wait for the answer, `notAfterMs` the instant of sending. */
interface LeaseRequest {
  readonly request: number;
  readonly timeoutMs: number;
  readonly notAfterMs: number;
}

export type LeaseCommand =
  | (LeaseRequest & { readonly type: 'read' })
  | (LeaseRequest & {
      readonly type: 'create';
      readonly transitions: number;
      readonly durationMs: number;
      readonly marks: Pick<MarkChanges, 'reason'>;
    })
  | (LeaseRequest & {
      readonly type: 'acquire';
      readonly basis: Basis;
      readonly transitions: number;
      readonly durationMs: number;
      readonly marks: MarkChanges;
    })
  | (LeaseRequest & {
      readonly type: 'renew';
      readonly basis: Basis;
      readonly term: Term;
      readonly durationMs: number;
      /** The renewTime this one must differ from, so that every candidate sees the change. */
      readonly lastRenewTime: string | null;
      readonly marks: MarkChanges;
    })
  | (LeaseRequest & { readonly type: 'ask'; readonly basis: Basis; readonly marks: MarkChanges })
  | (LeaseRequest & { readonly type: 'release'; readonly basis: Basis; readonly marks: MarkChanges });

export type Command =
  | LeaseCommand
  | { readonly type: 'abort-request'; readonly request: number }
  /** The watch has missed something that a read has shown: start it afresh. */
  | { readonly type: 'restart-watch' }
  | { readonly type: 'look' }
  /** L2: ask the segment who has the address, before it is bound. */
  | { readonly type: 'probe'; readonly address: string; readonly notAfterMs: number }
  /**
   * Bind or refresh, so that the kernel ends the address at `untilMs` if nobody renews it, and open its fence, where there is
   * one, until `openUntilMs`. Not done after `notAfterMs`.
   */
  | {
      readonly type: 'bind';
      readonly address: string;
      readonly untilMs: number;
      readonly openUntilMs: number | null;
      readonly notAfterMs: number;
    }
  /** Close the fence and unbind. Until `tellUntilMs` clients may first be told that their connections are over; null: not at all. */
  | { readonly type: 'unbind'; readonly address: string; readonly tellUntilMs: number | null }
  /** L2: tell the segment who has the address. Not done after `notAfterMs`. */
  | { readonly type: 'announce'; readonly address: string; readonly notAfterMs: number }
  /** Nobody else uses what an earlier agent process has left of its fence: close it. */
  | { readonly type: 'sweep' }
  | {
      readonly type: 'claim';
      readonly address: string;
      readonly attempt: number;
      /** A term's first claim counts only once nothing that was begun before it can still move the address (rule 8). */
      readonly isFirst: boolean;
      readonly timeoutMs: number;
    }
  | { readonly type: 'cancel-claim'; readonly address: string; readonly attempt: number }
  | { readonly type: 'verify-owner'; readonly address: string; readonly attempt: number }
  | { readonly type: 'report'; readonly report: Report }
  /** Nothing is left to do: the process may end. */
  | { readonly type: 'stop' };

/** One word for what a contender is doing, for people. */
export type Role = (typeof ROLES)[number];

export const ROLES = [
  'starting',
  'standby',
  'acquiring',
  'claiming',
  'serving',
  'holding-over',
  'stepping-down',
  'leaving',
  'stopped',
] as const;

/** Why a role has changed, as one of so many words, for whoever counts. The reason beside it says the same in a sentence. */
export type Cause = (typeof CAUSES)[number];

export const CAUSES = [
  /** The Lease was seen for the first time. */
  'first-sight',
  /** Nobody held the Lease, and its last holder's word for it was missing. */
  'vacancy',
  /** The last holder had released the Lease. */
  'holder-released',
  /** The holder had given no sign of life for the whole duration. */
  'holder-silent',
  /** The Lease named this agent already, or an earlier one of this node that has ended. */
  'restart',
  /** Another candidate was faster. */
  'race-lost',
  /** The Lease names this agent now. */
  'acquired',
  /** Every address is bound and, where a provider decides, routed here. */
  'ready-to-serve',
  /** A request about the Lease brought no usable answer, or brought it too late. */
  'api-trouble',
  /** No renewal has succeeded in time. */
  'tenure-ended',
  'lease-deleted',
  /** Somebody who is no candidate wrote to the Lease. */
  'lease-changed',
  /** The Lease is in another agent's hands. */
  'other-holder',
  /** The provider routes an address elsewhere. */
  'owner-moved',
  /** This node cannot serve: its probes, its interface, an address that cannot be bound. */
  'unhealthy',
  /** A first claim could not be made. */
  'claim-failed',
  /** A candidate asked for the Lease, and nothing was wrong here. */
  'asked',
  /** Somebody on this node wished it. */
  'planned',
  'shutdown',
  /** The Lease was released, as intended. */
  'released',
  /** The Lease could not be released and is left to run out. */
  'release-failed',
  /** Nothing was left to do. */
  'done',
  'unstated',
] as const;

/** Something that people should be able to read about. */
export type Report =
  | {
      readonly kind: 'transition';
      readonly from: Role;
      readonly to: Role;
      readonly cause: Cause;
      readonly reason: string;
      readonly term: Term | null;
      /** How long the role that ended had lasted. */
      readonly elapsedMs: number;
    }
  | {
      readonly kind: 'incident';
      readonly event: Incident;
      readonly message: string;
      readonly address: string | null;
      /** The hardware address of another machine that says that the address is its own. */
      readonly rival?: string;
    };

export type Incident = (typeof INCIDENTS)[number];

export const INCIDENTS = [
  'hindered',
  'unhindered',
  'vacant',
  'lease-trouble',
  'lease-trouble-over',
  'relief-wanted',
  'relief-withdrawn',
  'unrelieved',
  'asked-for-relief',
  'bind-failed',
  'bound-elsewhere',
  'address-repaired',
  'address-left-behind',
  'conflict',
  'announce-failed',
  'stalled',
  'holding-over',
  'holdover-ended',
  'set-aside',
  'residence-disproved',
  'linger-ended',
  'linger-expired',
  'claim-failed',
  'claim-confirmed',
  'owner-drifted',
  'contested',
  'contest-over',
  'owner-unknown',
  'owner-known',
  'release-failed',
] as const;
