/**
 * The private networks of the Hetzner Cloud API and the alias IPs of the servers in them, as a model (see hcloud-core.ts for
 * what it guarantees).
 *
 * Awkward parts included: a list is replaced as a whole, whatever it was; it changes when the action ends, not when it is
 * accepted; an address that another server has, or is about to have, or is about to lose, is given to nobody; five are the
 * most. How a premature request is answered is not documented, so that it can be chosen.
 */
import type { Clock } from '../../agent/clock.ts';
import { contains, parseAddress } from '../../agent/address.ts';
import { actionJson, failure, HcloudCore, invalidInput, notFound, paged, parse } from './hcloud-core.ts';
import type { Action, Resource, Route } from './hcloud-core.ts';
import { networkJson, serverJson } from './hcloud-network-json.ts';
import type { Answer } from './http-stand-in.ts';

export interface NetworkSpec {
  readonly id: number;
  readonly name: string;
  /** Such as `10.20.0.0/16`. */
  readonly range: string;
  readonly subnets: readonly { readonly range: string; readonly gateway: string }[];
}

export interface AttachmentSpec {
  readonly network: number;
  /** The server's own address in the network. */
  readonly ip: string;
  readonly mac: string;
  readonly aliases?: readonly string[];
}

export interface ServerSpec {
  readonly id: number;
  readonly name: string;
  readonly attachments: readonly AttachmentSpec[];
}

export interface HcloudNetworkOptions {
  readonly networks: readonly NetworkSpec[];
  readonly servers: readonly ServerSpec[];
  /** How long a change of a list runs. */
  readonly actionMs?: number;
  /** When a list changes. */
  readonly listChangesAt?: 'start' | 'end';
  /** How it is answered that another server still has an address. */
  readonly notReleased?: 'ip_not_available' | 'invalid_input' | 'conflict' | 'service_error';
  /** Called when traffic for an address moves in a network. `begunAtMs`: when the action began; null where a person did it. */
  readonly onOwner?: (ip: string, server: number | null, network: number, begunAtMs: number | null) => void;
  /** Called when a write is accepted. */
  readonly onAccepted?: (write: AcceptedListWrite) => void;
}

/** A replacement of a list that was accepted. */
export interface AcceptedListWrite {
  readonly atMs: number;
  /** The address that the request came from. */
  readonly from: string;
  readonly server: number;
  readonly network: number;
  readonly aliases: readonly string[];
}

/** A server's place in a network. */
export interface Attachment extends Omit<AttachmentSpec, 'aliases' | 'mac'> {
  readonly server: number;
  mac: string;
  aliases: readonly string[];
  /** What the list was before its last change and was to be after it. */
  changing: readonly string[];
}

const ALIASES_MAX = 5;
const NEVER_USABLE = '172.31.1.1';

const NOT_RELEASED: Readonly<Record<NonNullable<HcloudNetworkOptions['notReleased']>, Answer>> = {
  ip_not_available: failure(422, 'ip_not_available', 'IP is not available'),
  invalid_input: invalidInput('alias_ips', 'the IP is used by another server'),
  conflict: failure(409, 'conflict', 'another change is in progress'),
  service_error: failure(422, 'service_error', 'the service failed'),
};

export class HcloudNetworkModel extends HcloudCore {
  readonly accepted: AcceptedListWrite[] = [];
  readonly #options: HcloudNetworkOptions;
  readonly #servers: { readonly id: number; readonly name: string }[];
  #attachments: Attachment[];

  constructor(options: HcloudNetworkOptions, clock: Clock) {
    super(options.actionMs ?? 0, clock);
    this.#options = options;
    this.#servers = [...options.servers];
    this.#attachments = options.servers.flatMap(({ id, attachments }) =>
      attachments.map((each) => ({ ...each, server: id, aliases: each.aliases ?? [], changing: [] })),
    );
  }

  /** The server that has an address as an alias IP, in the first network unless another one is named. */
  ownerOf(ip: string, network = this.#firstNetwork): number | null {
    return this.#attachments.find((each) => each.network === network && each.aliases.includes(ip))?.server ?? null;
  }

  /** The list of a server. */
  aliasesOf(server: number, network = this.#firstNetwork): readonly string[] {
    return this.#attachment(server, network).aliases;
  }

  /** Moves an address as a person in the console would, in one go. */
  move(ip: string, server: number | null, network = this.#firstNetwork): void {
    const before = this.ownerOf(ip, network);
    if (before === server) return;
    if (before !== null)
      this.setAliases(
        before,
        this.aliasesOf(before, network).filter((each) => each !== ip),
        network,
      );
    if (server !== null) this.setAliases(server, [...this.aliasesOf(server, network), ip], network);
  }

  /** Sets a list as another program would, in one go. */
  setAliases(server: number, aliases: readonly string[], network = this.#firstNetwork): void {
    this.#setList(this.#attachment(server, network), aliases, null);
  }

  /** Begins a change that nobody of ours asked for, such as a late one of a holder that is gone. */
  beginChange(server: number, aliases: readonly string[], network = this.#firstNetwork): void {
    this.#begin(this.#attachment(server, network), aliases);
  }

  /** Begins something else on a server that takes its time, such as a snapshot. */
  beginOther(server: number, command: string): void {
    this.begin(command, [{ id: server, type: 'server' }], { atEnd: () => undefined });
  }

  /** Gives a server's interface in a network another hardware address, as when it is attached anew. */
  setMac(server: number, mac: string, network = this.#firstNetwork): void {
    this.#attachment(server, network).mac = mac;
  }

  /** Takes a server out of a network, as a person would. */
  detach(server: number, network = this.#firstNetwork): void {
    const gone = this.#attachment(server, network);
    this.#setList(gone, [], null);
    this.#attachments = this.#attachments.filter((each) => each !== gone);
  }

  /** Deletes a server. */
  deleteServer(server: number): void {
    for (const { network } of this.#attachments.filter((each) => each.server === server)) this.detach(server, network);
    this.#servers.splice(
      this.#servers.findIndex(({ id }) => id === server),
      1,
    );
  }

  get #firstNetwork(): number {
    return this.#options.networks[0]?.id ?? 0;
  }

  #attachment(server: number, network: number): Attachment {
    const found = this.#attachments.find((each) => each.server === server && each.network === network);
    if (found === undefined) throw new Error(`server ${server} is not in the network ${network}`);
    return found;
  }

  protected override route(route: Route): Answer {
    const { request, parts, id, query } = route;
    if (parts[0] === 'networks') return this.#routeNetworks(route);
    if (parts[0] !== 'servers') return failure(404, 'not_found', 'not found');
    if (parts.length === 1)
      return paged(
        'servers',
        this.#servers.map((each) => this.#serverJson(each)),
        query,
      );
    const server = this.#servers.find((each) => each.id === id);
    if (server === undefined) return notFound('server', parts[1]);
    if (parts.length === 2 && request.method === 'GET') return { status: 200, body: { server: this.#serverJson(server) } };
    if (parts[2] !== 'actions') return failure(404, 'not_found', 'not found');
    if (request.method === 'GET') return this.answerActions(resourceOf(id), route);
    if (request.method !== 'POST') return failure(405, 'method_not_allowed', 'this method is not allowed here');
    return parts[3] === 'change_alias_ips' ? this.#change(route) : failure(404, 'not_found', 'not found');
  }

  #routeNetworks({ parts, id, query }: Route): Answer {
    const { networks } = this.#options;
    const serversIn = (network: number): number[] =>
      this.#attachments.filter((each) => each.network === network).map(({ server }) => server);
    if (parts.length === 1)
      return paged(
        'networks',
        networks.map((each) => networkJson(each, serversIn(each.id))),
        query,
      );
    const network = networks.find((each) => each.id === id);
    if (network === undefined || parts.length > 2) return notFound('network', parts[1]);
    return { status: 200, body: { network: networkJson(network, serversIn(id)) } };
  }

  #change({ request, id }: Route): Answer {
    const body = parse(request.body);
    if (body === undefined) return failure(400, 'json_error', 'the body is not JSON');
    const { network, alias_ips: wanted } = (body ?? {}) as { readonly network?: unknown; readonly alias_ips?: unknown };
    const attachment = this.#attachments.find((each) => each.server === id && each.network === network);
    if (attachment === undefined) return invalidInput('network', 'the server is not attached to this network');
    if (!Array.isArray(wanted)) return invalidInput('alias_ips', 'not a list of IPs');
    const aliases = wanted.map(String);
    if (this.runningOn(resourceOf(id)).length > 0) return failure(423, 'locked', 'the server is locked by another action');
    const refused = this.#refusal(attachment, aliases);
    if (refused !== null) return refused;
    const write = { atMs: this.clock.nowMs(), from: request.from, server: id, network: attachment.network, aliases };
    this.accepted.push(write);
    this.#options.onAccepted?.(write);
    return { status: 201, body: { action: actionJson(this.#begin(attachment, aliases)) } };
  }

  #refusal(attachment: Attachment, aliases: readonly string[]): Answer | null {
    const { network, server } = attachment;
    if (new Set(aliases).size !== aliases.length) return invalidInput('alias_ips', 'an IP is named twice');
    if (aliases.length > ALIASES_MAX) return invalidInput('alias_ips', `more than ${ALIASES_MAX} IPs`);
    if (!aliases.every((each) => this.#isUsable(each, network))) return invalidInput('alias_ips', 'an IP cannot be used in this network');
    const within = this.#attachments.filter((each) => each.network === network);
    if (within.some(({ ip }) => aliases.includes(ip))) return failure(422, 'ip_not_available', 'IP is not available');
    const others = within.filter((each) => each.server !== server).flatMap((each) => [...each.aliases, ...this.#changing(each)]);
    return aliases.some((each) => others.includes(each)) ? NOT_RELEASED[this.#options.notReleased ?? 'ip_not_available'] : null;
  }

  #isUsable(address: string, network: number): boolean {
    const subnets = this.#options.networks.find(({ id }) => id === network)?.subnets ?? [];
    const parsed = parseAddress(address);
    if (parsed?.family !== 4 || address === NEVER_USABLE || subnets.some(({ gateway }) => gateway === address)) return false;
    return subnets.some(({ range }) => {
      const subnet = parseAddress(range);
      return subnet !== null && contains(subnet.bytes, subnet.prefixLength, parsed.bytes);
    });
  }

  #begin(attachment: Attachment, aliases: readonly string[]): Action {
    const setList = (begunAtMs: number): void => this.#setList(attachment, aliases, begunAtMs);
    const resources = [resourceOf(attachment.server), { id: attachment.network, type: 'network' }];
    attachment.changing = [...attachment.aliases, ...aliases];
    return this.begin('change_alias_ips', resources, {
      ...(this.#options.listChangesAt === 'start' ? { atStart: setList } : {}),
      atEnd: setList,
    });
  }

  /** What a server is about to have, or about to lose. */
  #changing({ server, changing }: Attachment): readonly string[] {
    return this.runningOn(resourceOf(server)).some(({ command }) => command === 'change_alias_ips') ? changing : [];
  }

  #setList(attachment: Attachment, aliases: readonly string[], begunAtMs: number | null): void {
    const { aliases: before, server, network } = attachment;
    attachment.aliases = aliases;
    for (const ip of before.filter((each) => !aliases.includes(each))) this.#options.onOwner?.(ip, null, network, begunAtMs);
    for (const ip of aliases.filter((each) => !before.includes(each))) this.#options.onOwner?.(ip, server, network, begunAtMs);
  }

  #serverJson({ id, name }: { readonly id: number; readonly name: string }): object {
    return serverJson(
      { id, name },
      this.#attachments.filter(({ server }) => server === id),
    );
  }
}

function resourceOf(server: number): Resource {
  return { id: server, type: 'server' };
}
