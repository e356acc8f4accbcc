/**
 * What the simulation needs of the model of a provider, whatever its API is like.
 *
 * Guarantees: servers are numbered as the machines are, addresses written as the agents' settings write them. No real time:
 * what takes time there takes it by the clock that the model was made with.
 */
import type { Clock } from '../../agent/clock.ts';
import type { Answer } from '../support/http-stand-in.ts';
import { HcloudModel } from '../support/hcloud-model.ts';
import type { HcloudOptions, HcloudRequest } from '../support/hcloud-model.ts';

/** What the model is of: made with the scenario. */
export interface SimProviderOptions {
  readonly addresses: readonly string[];
  readonly servers: readonly number[];
  readonly moveMs: number;
  /** How the open questions of the floating IPs' API are answered. */
  readonly floatingIps: Required<Pick<HcloudOptions, 'ownerChangesAt' | 'sameOwner' | 'otherOwner'>>;
  /** Called when traffic moves. `begunAtMs`: when what moves it began; null where a person moves it. */
  readonly onOwner: (address: string, server: number | null, begunAtMs: number | null) => void;
}

export interface SimProvider {
  /** The settings that make the agent of a server use it. */
  env(server: number): Readonly<Record<string, string>>;
  handle(request: HcloudRequest): Answer;
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
  lieIn(request: HcloudRequest, answer: Answer, server: number | null): Answer | null;
  /** Gives back as much of what it grants as comes back in that time. */
  refill(ms: number): void;
}

const RATE_LIMIT = 3_600;

/** Floating IPs of Hetzner Cloud. */
export class SimFloatingIps implements SimProvider {
  readonly #model: HcloudModel;
  readonly #addresses: readonly string[];

  constructor({ addresses, servers, moveMs, floatingIps, onOwner }: SimProviderOptions, clock: Clock) {
    this.#addresses = addresses;
    this.#model = new HcloudModel(
      {
        ...floatingIps,
        actionMs: moveMs,
        floatingIps: addresses.map((address, index) => ({ id: index + 1, ip: floatingIpOf(address), server: null })),
        servers,
        onOwner,
      },
      clock,
    );
  }

  env(server: number): Readonly<Record<string, string>> {
    return { PROVIDER: 'hcloud-floating-ip', HCLOUD_TOKEN: 'hcloud-token', HCLOUD_SERVER_ID: String(server) };
  }

  handle(request: HcloudRequest): Answer {
    return this.#model.handle(request);
  }

  ownerOf(address: string): number | null {
    return this.#model.ownerOf(floatingIpOf(address));
  }

  move(address: string, server: number | null): void {
    this.#model.move(floatingIpOf(address), server);
  }

  beginMove(address: string, server: number, lastsMs: number): void {
    const { actionMs } = this.#model;
    this.#model.actionMs = lastsMs;
    this.#model.beginAssign(this.#addresses.indexOf(address) + 1, server);
    this.#model.actionMs = actionMs;
  }

  get moveMs(): number {
    return this.#model.actionMs;
  }

  set moveMs(ms) {
    this.#model.actionMs = ms;
  }

  get movesFail(): boolean {
    return this.#model.actionsEnd === 'error';
  }

  set movesFail(fail) {
    this.#model.actionsEnd = fail ? 'error' : 'success';
  }

  get isLimited(): boolean {
    return this.#model.remaining === 0;
  }

  set isLimited(isLimited) {
    this.#model.remaining = isLimited ? 0 : RATE_LIMIT;
  }

  get credentials(): SimProvider['credentials'] {
    const rights = this.#model.tokens.get('hcloud-token');
    return rights === 'read-write' ? 'good' : (rights ?? 'revoked');
  }

  set credentials(credentials) {
    if (credentials === 'revoked') this.#model.tokens.clear();
    else this.#model.tokens.set('hcloud-token', credentials === 'good' ? 'read-write' : credentials);
  }

  lieIn({ method, path }: HcloudRequest, answer: Answer, server: number | null): Answer | null {
    if (method !== 'GET' || !/\/floating_ips\/\d+$/.test(path) || answer.status !== 200) return null;
    const body = structuredClone(answer.body) as { floating_ip: { server: number | null } };
    body.floating_ip.server = server;
    return { ...answer, body };
  }

  refill(ms: number): void {
    if (!this.isLimited) this.#model.remaining += ms / 1_000;
  }
}

/** A floating IP as the provider writes it: an address, or for IPv6 the network that it lies in. */
function floatingIpOf(address: string): string {
  return address.includes(':') ? '2001:db8::/64' : address;
}
