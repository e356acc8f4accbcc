/**
 * The floating IPs of the Hetzner Cloud API, as a model (see hcloud-core.ts for what it guarantees).
 *
 * Awkward parts included: the owner changes when the action ends, not when it is accepted.
 * Where the facts are open (assigning to the present owner, or to another while it is assigned) both answers can be chosen.
 */
import type { Clock } from '../../agent/clock.ts';
import { actionJson, failure, HcloudCore, invalidInput, notFound, paged, parse } from './hcloud-core.ts';
import type { Action, HcloudRequest, Resource, Route } from './hcloud-core.ts';
import type { Answer } from './http-stand-in.ts';

export type { HcloudRequest } from './hcloud-core.ts';

/** A floating IP as a test describes it. */
export interface FloatingIpSpec {
  readonly id: number;
  /** An address, or for IPv6 a network such as `2001:db8:7:9::/64`. */
  readonly ip: string;
  readonly server?: number | null;
  readonly blocked?: boolean;
}

export interface HcloudOptions {
  readonly floatingIps: readonly FloatingIpSpec[];
  readonly servers: readonly number[];
  /** How long an assignment runs. */
  readonly actionMs?: number;
  /** When the owner changes. */
  readonly ownerChangesAt?: 'start' | 'end';
  /** How assigning to the present owner is answered. */
  readonly sameOwner?: 'success' | 'floating_ip_assigned';
  /** How assigning is answered while the floating IP is assigned to another server. */
  readonly otherOwner?: 'success' | 'floating_ip_assigned';
  /** Called when traffic moves. `begunAtMs`: when the action that moves it began; null where a person moves it. */
  readonly onOwner?: (ip: string, server: number | null, begunAtMs: number | null) => void;
  /** Called when a write is accepted. */
  readonly onAccepted?: (write: AcceptedWrite) => void;
}

interface FloatingIp {
  readonly id: number;
  readonly ip: string;
  server: number | null;
  readonly blocked: boolean;
}

/** A write that was accepted. */
export interface AcceptedWrite {
  readonly atMs: number;
  /** The address that the request came from. */
  readonly from: string;
  readonly floatingIp: number;
  readonly server: number | null;
}

export class HcloudModel extends HcloudCore {
  readonly accepted: AcceptedWrite[] = [];
  readonly #options: HcloudOptions;
  readonly #floatingIps: FloatingIp[];

  constructor(options: HcloudOptions, clock: Clock) {
    super(options.actionMs ?? 0, clock);
    this.#options = options;
    this.#floatingIps = options.floatingIps.map(({ id, ip, server, blocked }) => ({
      id,
      ip,
      server: server ?? null,
      blocked: blocked ?? false,
    }));
  }

  ownerOf(ip: string): number | null {
    return this.#floatingIps.find((each) => each.ip === ip)?.server ?? null;
  }

  /** Moves a floating IP as a person in the console would. */
  move(ip: string, server: number | null): void {
    const floatingIp = this.#floatingIps.find((each) => each.ip === ip);
    if (floatingIp === undefined) throw new Error(`there is no floating IP ${ip}`);
    this.#setOwner(floatingIp, server, null);
  }

  /** Begins an action that nobody of ours asked for, such as a late one of a holder that is gone. */
  beginAssign(id: number, server: number): void {
    const floatingIp = this.#floatingIps.find((each) => each.id === id);
    if (floatingIp !== undefined) this.#begin('assign_floating_ip', floatingIp, server);
  }

  protected override route(route: Route): Answer {
    const { request, parts, id, query } = route;
    if (parts[0] !== 'floating_ips') return failure(404, 'not_found', 'not found');
    if (parts.length === 1) return paged('floating_ips', this.#floatingIps.map(toJson), query);
    const floatingIp = this.#floatingIps.find((each) => each.id === id);
    if (floatingIp === undefined) return notFound('floating IP', parts[1]);
    if (parts.length === 2 && request.method === 'GET') return { status: 200, body: { floating_ip: toJson(floatingIp) } };
    if (parts[2] !== 'actions') return failure(404, 'not_found', 'not found');
    if (request.method === 'GET') return this.answerActions(resourceOf(floatingIp), route);
    return this.#write(parts[3] ?? '', floatingIp, request);
  }

  #write(command: string, floatingIp: FloatingIp, request: HcloudRequest): Answer {
    if (request.method !== 'POST') return failure(405, 'method_not_allowed', 'this method is not allowed here');
    if (this.runningOn(resourceOf(floatingIp)).length > 0) return failure(423, 'locked', 'the floating IP is locked by another action');
    if (command === 'unassign') return this.#accept('unassign_floating_ip', floatingIp, null, request);
    if (command !== 'assign') return failure(404, 'not_found', 'not found');
    const body = parse(request.body);
    if (body === undefined) return failure(400, 'json_error', 'the body is not JSON');
    const { server } = (body ?? {}) as { readonly server?: unknown };
    if (!Number.isInteger(server) || !this.#options.servers.includes(server as number)) return invalidInput('server', 'server not found');
    if (floatingIp.server === server && this.#options.sameOwner === 'floating_ip_assigned') {
      return failure(422, 'floating_ip_assigned', 'the floating IP is already assigned');
    }
    if (floatingIp.server !== null && floatingIp.server !== server && this.#options.otherOwner === 'floating_ip_assigned') {
      return failure(422, 'floating_ip_assigned', 'the floating IP is assigned to another server');
    }
    return this.#accept('assign_floating_ip', floatingIp, server as number, request);
  }

  #accept(command: string, floatingIp: FloatingIp, server: number | null, { from }: HcloudRequest): Answer {
    const write = { atMs: this.clock.nowMs(), from, floatingIp: floatingIp.id, server };
    this.accepted.push(write);
    this.#options.onAccepted?.(write);
    return { status: 201, body: { action: actionJson(this.#begin(command, floatingIp, server)) } };
  }

  #begin(command: string, floatingIp: FloatingIp, server: number | null): Action {
    const resources = [...(server === null ? [] : [{ id: server, type: 'server' }]), resourceOf(floatingIp)];
    const setOwner = (begunAtMs: number): void => this.#setOwner(floatingIp, server, begunAtMs);
    const changesAtStart = this.#options.ownerChangesAt === 'start';
    return this.begin(command, resources, { ...(changesAtStart ? { atStart: setOwner } : {}), atEnd: setOwner });
  }

  #setOwner(floatingIp: FloatingIp, server: number | null, begunAtMs: number | null): void {
    if (floatingIp.server === server) return;
    floatingIp.server = server;
    this.#options.onOwner?.(floatingIp.ip, server, begunAtMs);
  }
}

function resourceOf({ id }: FloatingIp): Resource {
  return { id, type: 'floating_ip' };
}

function toJson({ id, ip, server, blocked }: FloatingIp): object {
  return {
    id,
    name: `floating-ip-${id}`,
    description: null,
    ip,
    type: ip.includes(':') ? 'ipv6' : 'ipv4',
    server,
    dns_ptr: ip.includes(':') ? [] : [{ ip, dns_ptr: `static.${ip}.clients.example.org` }],
    home_location: {
      id: 2,
      name: 'nbg1',
      description: 'Nuremberg DC Park 1',
      country: 'DE',
      city: 'Nuremberg',
      latitude: 49.45,
      longitude: 11.08,
      network_zone: 'eu-central',
    },
    blocked,
    protection: { delete: false },
    labels: {},
    created: '2026-03-01T09:00:00Z',
  };
}
