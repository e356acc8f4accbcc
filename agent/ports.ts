/**
 * The seams of the house: what a contender's loop needs from the outside, in the heart's own words. Each is implemented
 * by the room that is named for it; tests and simulations bring others. None of the methods throws: what can go wrong in
 * the world is part of what they return.
 */
import type { LeaseCommand, Report } from './contender/command.ts';
import type {
  AnnounceOutcome,
  BindOutcome,
  ClaimOutcome,
  LinkView,
  Owner,
  ReadOutcome,
  UnbindOutcome,
  WriteOutcome,
} from './contender/input.ts';
import type { Contender } from './contender/state.ts';
import type { AddressKind } from './contender/settings.ts';
import type { Finding } from './finding.ts';

export type LeaseWrite = Exclude<LeaseCommand, { type: 'read' }>;

/** One Lease. Every method answers within the time-out it is given. */
export interface LeaseStore {
  /** A consistent read, never from a cache. */
  read(timeoutMs: number, signal: AbortSignal): Promise<ReadOutcome>;
  /** A conditional write that cannot create a Lease, except for the command `create`. */
  write(command: LeaseWrite, signal: AbortSignal): Promise<WriteOutcome>;
}

/** Shows changes of the Lease early. Losing it costs time and nothing else. */
export interface LeaseWatch {
  restart(): void;
}

/** The interface that carries the addresses. Every method is one or a few system calls and returns at once. */
export interface Link {
  /** The segment that the addresses share with other machines; null where a provider routes them. */
  readonly segment: SegmentPort | null;
  look(): LinkView;
  /** Takes in the hardware address that the provider names, for where the choice of the interface has been left to it. */
  tellInterface(mac: string): void;
  /**
   * Binds or refreshes so that the kernel ends the address after `lifetimeMs`, rounded down to whole seconds. Where there is a
   * fence, `openUntilMs` says until which instant it lets the address answer; null elsewhere.
   */
  bind(address: string, lifetimeMs: number, openUntilMs: number | null): BindOutcome;
  /** `tellsClients`: their connections to the address are reset first, while it still may answer. */
  unbind(address: string, tellsClients: boolean): UnbindOutcome;
  /** Leaves nothing behind but addresses that could not be taken off, and their closed fence. */
  close(): void;
}

/** What there is to do about addresses on a shared segment besides binding them. */
export interface SegmentPort {
  /** Whether an address answers only while its fence is open. */
  readonly isFenced: boolean;
  /** Asks the segment who has an address; who answers is seen by the looks that follow. Forgets what was said of it before. */
  probe(address: string): void;
  /** Tells the segment that this node has an address. `mayStill` is asked right before each frame. */
  announce(address: string, mayStill: () => boolean): AnnounceOutcome;
  /** Closes what an earlier process has left of its fence. No other process uses it any more. */
  sweep(): void;
}

/** What decides where traffic for an address goes. */
export interface Provider {
  readonly kind: AddressKind;
  /** Finds this server and the addresses. Ready means that claims are possible from what can be known without writing. */
  prepare(signal: AbortSignal): Promise<ProviderReadiness>;
  /**
   * What `leasehold check` says of it: this server and how it was found, the credentials, and each address with where it is routed
   * now. It only reads, so it has to say what cannot be known without writing.
   */
  check(signal: AbortSignal): Promise<readonly Finding[]>;
  owner(address: string, signal: AbortSignal): Promise<Owner>;
  /** Makes the provider route the address here, and ends when the owner read back is this node or that has failed. */
  claim(address: string, terms: ClaimTerms): Promise<ClaimOutcome>;
}

/** `reason` is one sentence for people: who this server is, or what is missing and what to do. */
export type ProviderReadiness =
  /** `mac`: the hardware address of the interface that its traffic arrives on, where the provider tells that. */
  | { readonly is: 'ready'; readonly reason: string; readonly mac?: string }
  /** `isPassing`: it may become ready without anybody doing anything. */
  | { readonly is: 'not-ready'; readonly isPassing: boolean; readonly reason: string };

/** How a claim is bounded. */
export interface ClaimTerms {
  /** Aborted with DeadlineExceeded when the claim has taken too long, with anything else when it is no longer wanted. */
  readonly signal: AbortSignal;
  /** A term's first claim waits for whatever still runs on the address before it believes what it reads (rule 8). */
  readonly isFirst: boolean;
  /** Asked right before each write. Once it says no, the claim is withdrawn. */
  readonly mayWrite: () => boolean;
}

export type Reporter = (report: Report, contender: Contender) => void;
