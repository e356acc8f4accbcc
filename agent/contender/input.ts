/**
 * Everything that can happen to a contender. Each input carries the instant it happened at, in milliseconds of
 * CLOCK_BOOTTIME; the heart itself has no clock.
 */
import type { LeaseRecord, LeaseSight } from './lease.ts';

/** Why a request to the Kubernetes API brought no usable answer. Each kind has its own right reaction. */
export type LeaseFailure =
  /** 401 after the credentials were read again, 403, or a request the server calls malformed: a person must act. */
  | 'refused'
  /** 429: come back after `retryAfterMs`. */
  | 'throttled'
  /** 5xx or an answer that makes no sense: nothing is known about what was done. */
  | 'unavailable'
  /** Time-out or a connection cut after the request was sent: it may have been carried out. */
  | 'unknown'
  /** The connection could not be made: it was not carried out. */
  | 'unreachable'
  /** Called off by us before an answer came: it may have been carried out. */
  | 'aborted';

export interface LeaseTrouble {
  readonly is: LeaseFailure;
  /** One sentence for people. Never holds credentials. */
  readonly message: string;
  readonly retryAfterMs: number | null;
}

export type ReadOutcome = { readonly is: 'read'; readonly sight: LeaseSight } | LeaseTrouble;

export type WriteOutcome =
  | { readonly is: 'written'; readonly record: LeaseRecord }
  /** 409, or 422 for another uid: the record is not the one that the write was based on. */
  | { readonly is: 'conflict' }
  /** 404: there is no such Lease. */
  | { readonly is: 'missing' }
  | LeaseTrouble;

/** Where the provider routes an address, as last read. */
export type Owner =
  | { readonly is: 'self' }
  | { readonly is: 'other'; readonly name: string }
  | { readonly is: 'nobody' }
  /** `notBeforeMs`: it was not asked at all, to leave what the provider grants to a failover, and may be asked from then on. */
  | { readonly is: 'unknown'; readonly message: string; readonly notBeforeMs?: number };

export type ClaimOutcome =
  | { readonly is: 'confirmed' }
  /** Given up before a write, because the claim was no longer allowed to write. */
  | { readonly is: 'withdrawn' }
  /**
   * `definitive`: trying again from this node cannot help until a person acts. `notBeforeMs`: something was not asked, because
   * the provider grants no more, and may be asked from then on.
   */
  | { readonly is: 'failed'; readonly definitive: boolean; readonly message: string; readonly notBeforeMs?: number };

/** What a look at the interface shows of one address. */
export type AddressView =
  | { readonly is: 'absent' }
  /** Bears this program's mark; `remainingMs` of its kernel lifetime are left, by whole seconds. */
  | { readonly is: 'ours'; readonly remainingMs: number }
  /** Somebody else configured it, on `interfaceName`. */
  | { readonly is: 'foreign'; readonly interfaceName: string };

/** What a look at the interface shows. */
export interface LinkView {
  /** Null when the interface can carry the addresses; otherwise what is wrong with it, for people. */
  readonly problem: string | null;
  /** Whether there is an interface at all that addresses could be bound to. */
  readonly isPresent: boolean;
  /** The name of the interface chosen for each address; no entry where there is none. */
  readonly interfaces: Readonly<Record<string, string>>;
  /** Why it is that one, for people. */
  readonly reasons: Readonly<Record<string, string>>;
  readonly addresses: Readonly<Record<string, AddressView>>;
  /**
   * Of the interface chosen for each address, a text that is another one whenever what is behind its cable may have to be told
   * anew who has the address; no entry where nobody has to be told.
   */
  readonly plugged: Readonly<Record<string, string>>;
  /** The hardware address of somebody else who has said since the last look that an address is theirs (L2). */
  readonly rivals: Readonly<Record<string, string>>;
}

/**
 * `alone`: proven, and so for as long as this process lives. `shared`: another agent lives here, so this one waits.
 * `unsure`: it cannot be told, so this one contends like any stranger and leaves what is bound here to its lifetime.
 */
export type Residence = 'alone' | 'shared' | 'unsure';

export type BindOutcome =
  | { readonly is: 'bound' }
  /** An administrator's own copy is there: it is used where routing decides, and never touched. */
  | { readonly is: 'foreign'; readonly interfaceName: string }
  /** Less than the kernel's shortest lifetime was left: the address is off the interface. */
  | { readonly is: 'too-late' }
  | { readonly is: 'failed'; readonly message: string };

export type AnnounceOutcome = { readonly is: 'announced' } | { readonly is: 'failed'; readonly message: string };

export type UnbindOutcome = { readonly is: 'unbound' } | { readonly is: 'failed'; readonly message: string };

export type Input = { readonly atMs: number } & (
  | { readonly type: 'tick' }
  | { readonly type: 'lease-read'; readonly request: number; readonly outcome: ReadOutcome }
  | { readonly type: 'lease-written'; readonly request: number; readonly outcome: WriteOutcome }
  /** A watch's word: it may be older than what is already known, so it never ends a term by itself (rule 4). */
  | { readonly type: 'lease-seen'; readonly sight: LeaseSight }
  | { readonly type: 'verdict'; readonly healthy: boolean; readonly reason: string }
  /** Whether the provider has told this agent which server it is and that the addresses exist. */
  | { readonly type: 'provider-readiness'; readonly ready: boolean; readonly reason: string }
  /** Whether another agent process for this Lease lives on this node. `reason` says which, for people. */
  | { readonly type: 'residence'; readonly residence: Residence; readonly reason: string }
  | { readonly type: 'looked'; readonly view: LinkView }
  | { readonly type: 'bind-done'; readonly address: string; readonly outcome: BindOutcome }
  | { readonly type: 'unbind-done'; readonly address: string; readonly outcome: UnbindOutcome }
  | { readonly type: 'announce-done'; readonly address: string; readonly outcome: AnnounceOutcome }
  | { readonly type: 'claim-done'; readonly address: string; readonly attempt: number; readonly outcome: ClaimOutcome }
  | { readonly type: 'owner-read'; readonly address: string; readonly attempt: number; readonly owner: Owner }
  /** The process is asked to end: step down in order, then stop. */
  | { readonly type: 'shutdown'; readonly reason: string }
  /**
   * An operator wants this node to give up office and stay a candidate. With `untilMs` that waits for another candidate to ask,
   * until then at the longest; null: it is done at once, whether anybody takes over or not. Without an office it means nothing.
   */
  | { readonly type: 'step-down-requested'; readonly reason: string; readonly untilMs: number | null }
);
