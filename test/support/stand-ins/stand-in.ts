/**
 * What every stand-in for a provider can do, whatever its own API looks like, so that one contract suite and one lab serve all.
 *
 * Guarantees: nodes and addresses are named as the tests name them; how the provider numbers them is the stand-in's own affair.
 */
import type { ProviderName } from '../../../agent/provider/profiles.ts';
import type { HttpStandIn } from '../http-stand-in.ts';

/** A node as the provider knows it: one of its servers. */
export interface StandInNode {
  readonly name: string;
  /** Its own address, which its requests come from. */
  readonly ip: string;
  /** The hardware address of its interface, in lower case. */
  readonly mac: string;
}

export interface StandInOptions {
  /** The failover IPs that there are. They are routed nowhere at first. */
  readonly addresses: readonly string[];
  readonly nodes: readonly StandInNode[];
  /** How long one change takes, in milliseconds: an action, a task, the answer that is held back. */
  readonly moveMs: number;
  /** Where the stand-in listens. */
  readonly host?: string;
  /** Called when traffic moves to a node, or nowhere. */
  readonly onOwner?: (address: string, node: string | null) => void;
  /** Called when a request that changes something is accepted, with the address it came from. */
  readonly onAccepted?: (from: string) => void;
}

/** How a provider can be in trouble, in words that fit each of them. */
export type Trouble =
  /** Something else is being done to the address: nothing is changed meanwhile. */
  | 'busy'
  /** Too many requests. */
  | 'rate-limited'
  /** It cannot answer now. */
  | 'unavailable'
  /** It never answers. */
  | 'silent'
  /** It does not accept the credentials. */
  | 'unauthorized'
  /** What changes something is done, and the answer to it lost. */
  | 'answer-lost'
  /** What changes something is accepted, and fails in the end. */
  | 'move-fails';

export interface ProviderStandIn {
  readonly name: ProviderName;
  /** How long each change takes from now on, in milliseconds. */
  moveMs: number;
  /** The environment that makes an agent on a node use it. Its own node must be the one that asks. */
  env(node: string): Readonly<Record<string, string>>;
  /** The node that an address is routed to. */
  ownerOf(address: string): string | null;
  /** Moves an address at once, as a person would by hand in the provider's own panel. */
  move(address: string, node: string | null): void;
  /**
   * Is in trouble from now on, or no more with null; `times`: for so many requests that it applies to. `busy`, `answer-lost` and
   * `move-fails` apply to requests that change something, the others to all.
   */
  trouble(trouble: Trouble | null, times?: number): void;
  /** How many requests have met with a trouble so far. */
  readonly troubled: number;
  /** The requests, in the order they came. */
  readonly http: HttpStandIn;
  /** How many requests that change something have come, whatever became of them, of a node or of all. */
  writes(node?: string): number;
  /** How many of them were accepted. */
  readonly acceptedCount: number;
  /** What only some providers do to their users, by what it is, and how to let them begin and end it. */
  readonly quirks?: Readonly<Record<string, (isOn: boolean) => void>>;
  /** What was somebody else's and is not there any more, in words, where somebody else has anything there that could be lost. */
  lost?(): readonly string[];
  close(): Promise<void>;
}
