/**
 * Failover IPs of netcup in the simulation, with the tokens for its API.
 *
 * It knows no credentials that may only read: in their place it is not to be used from where the agents are.
 */
import type { Clock } from '../../../agent/clock.ts';
import { covers } from '../../../agent/address.ts';
import type { Answer } from '../../support/http-stand-in.ts';
import { DEVICE_PATH, REFRESH_TOKEN } from '../../support/netcup-identity.ts';
import { NetcupModel } from '../../support/netcup-model.ts';
import type { SimProvider, SimProviderOptions, SimRequest } from './provider.ts';

const FIRST_FAILOVER_IP = 7_781;

/** The settings that make the agent of a server use it. */
export function netcupEnv(server: number): Readonly<Record<string, string>> {
  return { NETCUP_REFRESH_TOKEN: REFRESH_TOKEN, NETCUP_SERVER_NAME: nameOf(server) };
}

export class SimNetcup implements SimProvider {
  readonly #model: NetcupModel;

  constructor({ addresses, servers, moveMs, macOf, onOwner }: SimProviderOptions, clock: Clock) {
    this.#model = new NetcupModel(
      {
        failoverIps: addresses.map((address, index) => ({ id: FIRST_FAILOVER_IP + index, ip: failoverIpOf(address) })),
        servers: servers.map((id, index) => ({ id, name: nameOf(id), ip: `198.51.100.${index + 11}`, mac: macOf(id) })),
        moveMs,
        onOwner: (ip, server, begunAtMs) => onOwner(addresses.find((address) => covers(ip, address)) ?? ip, server, begunAtMs),
      },
      clock,
    );
  }

  handle(request: SimRequest): Answer {
    return this.#model.handle(request);
  }

  isWrite({ method, path }: Pick<SimRequest, 'method' | 'path'>): boolean {
    return method !== 'GET' && !path.startsWith(DEVICE_PATH);
  }

  ownerOf(address: string): number | null {
    return this.#model.ownerOf(address);
  }

  move(address: string, server: number | null): void {
    this.#model.move(address, server);
  }

  beginMove(address: string, server: number, lastsMs: number): void {
    this.#model.beginRoute(address, server, lastsMs);
  }

  get moveMs(): number {
    return this.#model.moveMs;
  }

  set moveMs(ms) {
    this.#model.moveMs = ms;
  }

  get movesFail(): boolean {
    return this.#model.tasksEnd === 'ERROR';
  }

  set movesFail(fail) {
    this.#model.tasksEnd = fail ? 'ERROR' : 'FINISHED';
  }

  get isLimited(): boolean {
    return this.#model.isLimited;
  }

  set isLimited(isLimited) {
    this.#model.isLimited = isLimited;
  }

  get credentials(): SimProvider['credentials'] {
    if (!this.#model.identity.refreshTokens.has(REFRESH_TOKEN)) return 'revoked';
    return this.#model.allowedFrom === null ? 'good' : 'read-only';
  }

  set credentials(credentials) {
    const { identity } = this.#model;
    this.#model.allowedFrom = credentials === 'read-only' ? [] : null;
    if (credentials === 'revoked') {
      identity.refreshTokens.clear();
      identity.endAccess();
    } else {
      identity.refreshTokens.add(REFRESH_TOKEN);
    }
  }

  lieIn({ method, path }: SimRequest, answer: Answer, server: number | null): Answer | null {
    if (method !== 'GET' || !/\/failoverips\/v[46](\?.*)?$/.test(path) || answer.status !== 200) return null;
    const body = (structuredClone(answer.body) as { server?: object }[]).map((each) => {
      delete each.server;
      return server === null ? each : { ...each, server: { id: server, name: nameOf(server) } };
    });
    return { ...answer, body };
  }

  /** What it grants comes back by the clock. */
  refill(): void {
    return undefined;
  }
}

function nameOf(server: number): string {
  return `v2202601${server}`;
}

/** A failover IP as the provider has it: an address, or for IPv6 the network that it lies in. */
function failoverIpOf(address: string): string {
  return address.includes(':') ? '2001:db8::/64' : address;
}
