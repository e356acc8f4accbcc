/**
 * What the simulation needs of the model of a provider, whatever its API is like.
 *
 * Guarantees: servers are numbered as the machines are, addresses written as the agents' settings write them. No real time:
 * what takes time there takes it by the clock that the model was made with.
 */
import type { HcloudNetworkOptions } from '../../support/hcloud-network-model.ts';
import type { HcloudOptions, HcloudRequest } from '../../support/hcloud-model.ts';
import type { Answer } from '../../support/http-stand-in.ts';

/** One request, however it came: each model takes the same. */
export type SimRequest = HcloudRequest;

/** How the open questions of the providers' APIs are answered. */
export type OpenQuestions = Required<
  Pick<HcloudOptions, 'ownerChangesAt' | 'sameOwner' | 'otherOwner'> & Pick<HcloudNetworkOptions, 'notReleased'>
>;

/** What the model is of: made with the scenario. */
export interface SimProviderOptions {
  readonly addresses: readonly string[];
  readonly servers: readonly number[];
  readonly moveMs: number;
  readonly open: OpenQuestions;
  /** The hardware address of a server's interface, as it is now. */
  readonly macOf: (server: number) => string;
  /** Called when traffic moves. `begunAtMs`: when what moves it began; null where a person moves it. */
  readonly onOwner: (address: string, server: number | null, begunAtMs: number | null) => void;
  /** Called when something changes that is none of ours. */
  readonly onForeign: (message: string) => void;
}

export interface SimProvider {
  /** Answers a request, at once or later. */
  handle(request: SimRequest): Answer | Promise<Answer>;
  /** Whether a request changes what an address is routed to. */
  isWrite(request: Pick<SimRequest, 'method' | 'path'>): boolean;
  /** What a file holds that the agents' settings name. */
  readFile?(path: string): string;
  ownerOf(address: string): number | null;
  /** Moves an address at once, as a person would. */
  move(address: string, server: number | null): void;
  /** Begins a move that none of our agents has asked for, and that takes some time. */
  beginMove(address: string, server: number, lastsMs: number): void;
  /** How long a change takes from now on. */
  moveMs: number;
  movesFail: boolean;
  /** Whether it answers everybody that there were too many requests. */
  isLimited: boolean;
  credentials: 'good' | 'revoked' | 'read-only';
  /** The same answer with another owner in it, where it is about an owner; null for any other answer. */
  lieIn(request: SimRequest, answer: Answer, server: number | null): Answer | null;
  /** Gives back as much of what it grants as comes back in that time. */
  refill(ms: number): void;
}
