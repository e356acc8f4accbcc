/**
 * Hetzner Cloud in the simulation: floating IPs, and alias IPs in a private network.
 *
 * Each server has an alias IP that is none of ours, and that has to survive.
 */
import type { Clock } from '../../../agent/clock.ts';
import { RATE_LIMIT } from '../../support/hcloud-core.ts';
import type { HcloudCore } from '../../support/hcloud-core.ts';
import { HcloudModel } from '../../support/hcloud-model.ts';
import { HcloudNetworkModel } from '../../support/hcloud-network-model.ts';
import type { Answer } from '../../support/http-stand-in.ts';
import type { SimProvider, SimProviderOptions, SimRequest } from './provider.ts';

const TOKEN = 'hcloud-token';
/** What others use, who are not hindered by what becomes of ours. */
const FOREIGN_TOKEN = 'token-of-others';
const NETWORK = 47_001;
const PREFIX = '203.0.113';
/** The last number of the first server's own address in the network. */
const FIRST_OWN = 101;
/** The same of the first alias IP that is none of ours. */
const FIRST_FOREIGN = 151;

/** The settings that make the agent of a server use it. */
export function hcloudEnv(server: number): Readonly<Record<string, string>> {
  return { HCLOUD_TOKEN: TOKEN, HCLOUD_SERVER_ID: String(server) };
}

/** What all of its parts have in common. */
abstract class SimHcloud<Model extends HcloudCore> implements SimProvider {
  protected readonly model: Model;

  constructor(model: Model) {
    this.model = model;
    model.tokens.set(FOREIGN_TOKEN, 'read-write');
  }

  abstract ownerOf(address: string): number | null;
  abstract move(address: string, server: number | null): void;
  abstract lieIn(request: SimRequest, answer: Answer, server: number | null): Answer | null;
  /** As a move of ours, begun by others. */
  protected abstract begin(address: string, server: number): void;

  handle(request: SimRequest): Answer {
    return this.model.handle(request);
  }

  isWrite({ method }: Pick<SimRequest, 'method'>): boolean {
    return method !== 'GET';
  }

  beginMove(address: string, server: number, lastsMs: number): void {
    const { actionMs } = this.model;
    this.model.actionMs = lastsMs;
    this.begin(address, server);
    this.model.actionMs = actionMs;
  }

  get moveMs(): number {
    return this.model.actionMs;
  }

  set moveMs(ms) {
    this.model.actionMs = ms;
  }

  get movesFail(): boolean {
    return this.model.actionsEnd === 'error';
  }

  set movesFail(fail) {
    this.model.actionsEnd = fail ? 'error' : 'success';
  }

  get isLimited(): boolean {
    return this.model.remaining === 0;
  }

  set isLimited(isLimited) {
    this.model.remaining = isLimited ? 0 : RATE_LIMIT;
  }

  get credentials(): SimProvider['credentials'] {
    const rights = this.model.tokens.get(TOKEN);
    return rights === 'read-write' ? 'good' : (rights ?? 'revoked');
  }

  set credentials(credentials) {
    if (credentials === 'revoked') this.model.tokens.delete(TOKEN);
    else this.model.tokens.set(TOKEN, credentials === 'good' ? 'read-write' : credentials);
  }

  refill(ms: number): void {
    if (!this.isLimited) this.model.remaining += ms / 1_000;
  }
}

export class SimFloatingIps extends SimHcloud<HcloudModel> {
  readonly #addresses: readonly string[];

  constructor({ addresses, servers, moveMs, open, onOwner }: SimProviderOptions, clock: Clock) {
    const floatingIps = addresses.map((address, index) => ({ id: index + 1, ip: floatingIpOf(address), server: null }));
    const { ownerChangesAt, sameOwner, otherOwner } = open;
    super(new HcloudModel({ ownerChangesAt, sameOwner, otherOwner, actionMs: moveMs, floatingIps, servers, onOwner }, clock));
    this.#addresses = addresses;
  }

  ownerOf(address: string): number | null {
    return this.model.ownerOf(floatingIpOf(address));
  }

  move(address: string, server: number | null): void {
    this.model.move(floatingIpOf(address), server);
  }

  protected begin(address: string, server: number): void {
    this.model.beginAssign(this.#addresses.indexOf(address) + 1, server);
  }

  lieIn({ method, path }: SimRequest, answer: Answer, server: number | null): Answer | null {
    if (method !== 'GET' || !/\/floating_ips\/\d+$/.test(path) || answer.status !== 200) return null;
    const body = structuredClone(answer.body) as { floating_ip: { server: number | null } };
    body.floating_ip.server = server;
    return { ...answer, body };
  }
}

/** A floating IP as the provider writes it: an address, or for IPv6 the network that it lies in. */
function floatingIpOf(address: string): string {
  return address.includes(':') ? '2001:db8::/64' : address;
}

interface ServerBody {
  readonly id: number;
  readonly private_net: { alias_ips: readonly string[] }[];
}

export class SimAliasIps extends SimHcloud<HcloudNetworkModel> {
  readonly #options: SimProviderOptions;

  constructor(options: SimProviderOptions, clock: Clock) {
    const { addresses, servers, moveMs, open, macOf, onOwner, onForeign } = options;
    super(
      new HcloudNetworkModel(
        {
          networks: [
            { id: NETWORK, name: 'prod', range: `${PREFIX}.0/24`, subnets: [{ range: `${PREFIX}.0/24`, gateway: `${PREFIX}.1` }] },
          ],
          servers: servers.map((id, index) => ({
            id,
            name: `server-${id}`,
            attachments: [
              { network: NETWORK, ip: `${PREFIX}.${FIRST_OWN + index}`, mac: macOf(id), aliases: [`${PREFIX}.${FIRST_FOREIGN + index}`] },
            ],
          })),
          actionMs: moveMs,
          listChangesAt: open.ownerChangesAt,
          notReleased: open.notReleased,
          onOwner: (ip, server, _, begunAtMs) => {
            if (addresses.includes(ip)) onOwner(ip, server, begunAtMs);
            else onForeign(`the alias IP ${ip}, which is none of ours, is ${server === null ? 'taken away' : `given to server ${server}`}`);
          },
        },
        clock,
      ),
    );
    this.#options = options;
  }

  override handle(request: SimRequest): Answer {
    for (const server of this.#options.servers) this.model.setMac(server, this.#options.macOf(server));
    return super.handle(request);
  }

  ownerOf(address: string): number | null {
    return this.model.ownerOf(address);
  }

  /** A person is told like anybody that a list is just being changed, and leaves it at that. */
  move(address: string, server: number | null): void {
    const before = this.ownerOf(address);
    if ([before, server].some((each) => each !== null && this.#isChanging(each))) return;
    this.model.move(address, server);
  }

  /** Either step of a move, whichever is next. */
  protected begin(address: string, server: number): void {
    const before = this.ownerOf(address);
    const rest = this.model.aliasesOf(before ?? server).filter((each) => each !== address);
    const aliases = before === null || before === server ? [...rest, address] : rest;
    this.#ask('POST', `/servers/${before ?? server}/actions/change_alias_ips`, { network: NETWORK, alias_ips: aliases });
  }

  lieIn({ method, path }: SimRequest, answer: Answer, server: number | null): Answer | null {
    if (method !== 'GET' || !/\/servers(\/\d+)?(\?.*)?$/.test(path) || answer.status !== 200) return null;
    const body = structuredClone(answer.body) as { readonly servers?: readonly ServerBody[]; readonly server?: ServerBody };
    const { addresses } = this.#options;
    for (const each of body.servers ?? [body.server].filter((one) => one !== undefined)) {
      for (const place of each.private_net) {
        const others = place.alias_ips.filter((ip) => !addresses.includes(ip));
        place.alias_ips = each.id === server ? [...others, ...addresses] : others;
      }
    }
    return { ...answer, body };
  }

  #isChanging(server: number): boolean {
    const { body } = this.#ask('GET', `/servers/${server}/actions?status=running`);
    return (body as { readonly actions?: readonly unknown[] }).actions?.length !== 0;
  }

  #ask(method: string, path: string, body: object = {}): Answer {
    const headers = { authorization: `Bearer ${FOREIGN_TOKEN}` };
    return this.model.handle({ method, path: `/v1${path}`, headers, body: JSON.stringify(body), from: 'others' });
  }
}
