/**
 * The part of DigitalOcean's API and of its metadata service that has to do with reserved IPs, as a model.
 *
 * Guarantees: no socket, and no time but that of the clock it is given. Awkward parts included: the owner changes when the action
 * ends; meanwhile the address is locked, and whoever asks for another action is told 422; so is whoever assigns an address to the
 * Droplet that has it.
 */
import type { Clock, Timer } from '../../agent/clock.ts';
import { at, integerAt, parseJson } from '../../agent/json.ts';
import type { Answer } from './http-stand-in.ts';

export interface Droplet {
  readonly id: number;
  readonly name: string;
}

export interface DigitalOceanOptions {
  readonly addresses: readonly string[];
  readonly droplets: readonly Droplet[];
  readonly actionMs: number;
  readonly onOwner?: (address: string, droplet: number | null) => void;
  readonly onAccepted?: (from: string) => void;
}

/** One request, however it came. Names of headers are in lower case. */
export interface DigitalOceanRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: { readonly [name: string]: string | readonly string[] | undefined };
  readonly body: string;
  /** The address that the request came from. */
  readonly from: string;
}

interface Action {
  readonly id: number;
  readonly address: string;
  status: 'in-progress' | 'completed' | 'errored';
}

const FIRST_ACTION = 72_531_856;

export class DigitalOceanModel {
  readonly tokens = new Set(['dop_v1_stand-in']);
  /** Droplet numbers by the address that the metadata service is asked from. */
  readonly dropletBySource = new Map<string, number>();
  actionMs: number;
  /** How the next actions end. */
  actionsEnd: 'completed' | 'errored' = 'completed';
  acceptedCount = 0;
  readonly #options: DigitalOceanOptions;
  readonly #owners: Map<string, number | null>;
  readonly #actions: Action[] = [];
  readonly #timers = new Set<Timer>();
  readonly #clock: Clock;

  constructor(options: DigitalOceanOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.actionMs = options.actionMs;
    this.#owners = new Map(options.addresses.map((address) => [address, null]));
  }

  ownerOf(address: string): number | null {
    return this.#owners.get(address) ?? null;
  }

  /** Moves an address as a person in the control panel would. */
  move(address: string, droplet: number | null): void {
    if (!this.#owners.has(address)) throw new Error(`there is no reserved IP ${address}`);
    if (this.ownerOf(address) === droplet) return;
    this.#owners.set(address, droplet);
    this.#options.onOwner?.(address, droplet);
  }

  /** Calls off every action that still runs. */
  stopActions(): void {
    for (const timer of this.#timers) timer.cancel();
  }

  /** Begins an action that nobody of ours asked for, such as a late one of a holder that is gone. */
  beginAssign(address: string, droplet: number): Action {
    const action: Action = { id: FIRST_ACTION + this.#actions.length, address, status: 'in-progress' };
    this.#actions.push(action);
    const end = this.actionsEnd;
    const timer = this.#clock.setTimer(this.actionMs, () => {
      this.#timers.delete(timer);
      action.status = end;
      if (end === 'completed') this.move(address, droplet);
    });
    this.#timers.add(timer);
    return action;
  }

  /** Answers one request to the API. */
  handle({ method, path, headers, body, from }: DigitalOceanRequest): Answer {
    const [, token = ''] = /^Bearer (.+)$/.exec(String(headers['authorization'] ?? '')) ?? [];
    if (!this.tokens.has(token)) return failure(401, 'unauthorized', 'Unable to authenticate you');
    const [collection = '', address = '', actions, id] = path.replace(/^\/v2\//, '').split('/');
    if (collection === 'actions' && method === 'GET') return this.#showAction(Number(address));
    const isSix = address.includes(':');
    const isTheirs = collection === (isSix ? 'reserved_ipv6' : 'reserved_ips');
    if (!isTheirs || !this.#owners.has(address)) return failure(404, 'not_found', 'The resource you requested could not be found.');
    if (actions === undefined) return method === 'GET' ? this.#show(address) : failure(405, 'method_not_allowed', 'not allowed');
    if (id !== undefined) return this.#showAction(Number(id));
    return this.#assign(address, parseJson(body), from);
  }

  /** Answers one request to the metadata service. */
  handleMetadata({ path, from }: Pick<DigitalOceanRequest, 'path' | 'from'>): Answer {
    const droplet = this.dropletBySource.get(from);
    return path === '/metadata/v1/id' && droplet !== undefined
      ? { status: 200, body: String(droplet) }
      : { status: 404, body: 'not found' };
  }

  #assign(address: string, body: unknown, from: string): Answer {
    const droplet = integerAt(body, 'droplet_id');
    if (at(body, 'type') !== 'assign' || !this.#options.droplets.some(({ id }) => id === droplet) || droplet === undefined)
      return failure(422, 'unprocessable_entity', 'Droplet not found');
    if (this.#isLocked(address)) return failure(422, 'unprocessable_entity', 'The reserved IP has a pending event.');
    if (this.ownerOf(address) === droplet) return failure(422, 'unprocessable_entity', 'Droplet already has a reserved IP assigned');
    this.acceptedCount += 1;
    this.#options.onAccepted?.(from);
    return { status: 201, body: { action: actionJson(this.beginAssign(address, droplet)) } };
  }

  #show(address: string): Answer {
    const owner = this.#options.droplets.find(({ id }) => id === this.ownerOf(address)) ?? null;
    const droplet = owner === null ? null : { ...owner, status: 'active', locked: false };
    const region = { slug: 'fra1', name: 'Frankfurt 1' };
    return {
      status: 200,
      body: address.includes(':')
        ? { reserved_ipv6: { ip: address, region_slug: region.slug, droplet } }
        : { reserved_ip: { ip: address, droplet, region, locked: this.#isLocked(address), project_id: null } },
    };
  }

  #showAction(id: number): Answer {
    const action = this.#actions.find((each) => each.id === id);
    return action === undefined
      ? failure(404, 'not_found', 'The resource you requested could not be found.')
      : { status: 200, body: { action: actionJson(action) } };
  }

  #isLocked(address: string): boolean {
    return this.#actions.some((action) => action.address === address && action.status === 'in-progress');
  }
}

function actionJson({ id, status }: Action): object {
  return { id, status, type: 'assign_ip', resource_type: 'reserved_ip', region_slug: 'fra1' };
}

function failure(status: number, id: string, message: string): Answer {
  return { status, body: { id, message, request_id: 'stand-in' } };
}
