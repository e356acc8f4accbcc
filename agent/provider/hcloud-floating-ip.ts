/**
 * Floating IPs of Hetzner Cloud: addresses that the provider routes to exactly one server of a project.
 *
 * Guarantees: looks before it writes, writes only while it may, waits for the action's end and believes nothing but the
 * owner read back. It never unassigns an address that it does not assign again right after.
 */
import { covers } from '../address.ts';
import { asError } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { ClaimOutcome, Owner } from '../contender/input.ts';
import { fail, ok, warn } from '../finding.ts';
import type { Finding } from '../finding.ts';
import { at, integerAt, messageAt } from '../json.ts';
import type { ClaimTerms, Provider, ProviderReadiness } from '../ports.ts';
import { claimWithRetries } from './claim.ts';
import { ProviderError } from './error.ts';
import { parseAction } from './hcloud-api.ts';
import type { HcloudAction, HcloudApi } from './hcloud-api.ts';
import { checkServer, checkToken } from './hcloud-checks.ts';
import { METADATA_OPERATION } from './hcloud-server-id.ts';
import type { HcloudServerId } from './hcloud-server-id.ts';
import { notReadyBecause } from './preparation.ts';
import type { ProviderProfile } from './profile.ts';
import { Turns } from './turns.ts';

export const HCLOUD_FLOATING_IP: ProviderProfile = {
  kind: 'routed',
  claimTimeoutMs: 30_000,
  verifyIntervalMs: 30_000,
  operations: {
    [METADATA_OPERATION]: { success: '200' },
    'GET /floating_ips': { success: '200' },
    'GET /floating_ips/{id}': { success: '200' },
    'GET /floating_ips/{id}/actions': { success: '200' },
    'POST /floating_ips/{id}/actions/assign': { success: '201', isMove: true },
    'POST /floating_ips/{id}/actions/unassign': { success: '201' },
    'GET /actions/{id}': { success: '200' },
  },
  // What it grants is said in each of its answers.
  limits: [],
};

/** One floating IP as the API lists it. `ip` is an address, or for IPv6 the /64 that the address lies in. */
interface FloatingIp {
  readonly id: number;
  readonly ip: string;
  readonly name: string;
  readonly server: number | null;
  readonly isBlocked: boolean;
}

export class HcloudFloatingIp implements Provider {
  readonly kind = 'routed';
  readonly #api: HcloudApi;
  readonly #serverId: HcloudServerId;
  readonly #addresses: readonly string[];
  readonly #clock: Clock;
  readonly #ids = new Map<string, number>();
  /** One claim at a time for each floating IP: two addresses of one /64 are one floating IP. */
  readonly #turns = new Turns<number>();

  constructor(api: HcloudApi, serverId: HcloudServerId, addresses: readonly string[], clock: Clock) {
    this.#api = api;
    this.#serverId = serverId;
    this.#addresses = addresses;
    this.#clock = clock;
  }

  async prepare(signal: AbortSignal): Promise<ProviderReadiness> {
    try {
      const server = await this.#serverId.find(signal);
      const all = await this.#listFloatingIps(signal);
      const missing = this.#addresses.filter((address) => this.#remember(address, all) === null);
      if (missing.length > 0) {
        const known = all.length === 0 ? 'it has none' : `its floating IPs are ${all.map(({ ip }) => ip).join(', ')}`;
        return {
          is: 'not-ready',
          isPassing: false,
          reason: `${missing.join(', ')}: no floating IP of the project that HCLOUD_TOKEN belongs to; ${known}`,
        };
      }
      const blocked = all.filter((each) => each.isBlocked && this.#addresses.some((address) => covers(each.ip, address)));
      const warning = blocked.length === 0 ? '' : `; Hetzner blocks the traffic of ${blocked.map(({ ip }) => ip).join(', ')}`;
      return { is: 'ready', reason: `this is server ${server}${warning}` };
    } catch (thrown) {
      return notReadyBecause(thrown, signal);
    }
  }

  async check(signal: AbortSignal): Promise<readonly Finding[]> {
    const [server, token] = await Promise.all([
      checkServer(this.#serverId, signal),
      checkToken(
        () => this.#listFloatingIps(signal),
        (all) => (all.length === 1 ? 'one floating IP' : `${all.length} floating IPs`),
      ),
    ]);
    return [server.finding, token.finding, ...this.#addresses.map((address) => checkAddress(address, token.seen, server.id))];
  }

  async owner(address: string, signal: AbortSignal): Promise<Owner> {
    try {
      const id = await this.#idOf(address, signal);
      return this.#ownerOf(await this.#read(id, signal), await this.#serverId.find(signal));
    } catch (thrown) {
      return { is: 'unknown', message: asError(thrown).message };
    }
  }

  async claim(address: string, terms: ClaimTerms): Promise<ClaimOutcome> {
    return await claimWithRetries(this.#clock, terms, async () => {
      const [id, server] = await Promise.all([this.#idOf(address, terms.signal), this.#serverId.find(terms.signal)]);
      await this.#turns.take(id, terms.signal, () => this.#claimOnce(id, server, terms));
    });
  }

  async #claimOnce(id: number, server: number, terms: ClaimTerms): Promise<void> {
    const { signal } = terms;
    const [running, before] = await Promise.all([this.#runningActions(id, signal), this.#read(id, signal)]);
    // An action that was begun earlier, by us or by a holder that is gone, may still move the address.
    for (const action of running) await this.#api.waitFor(action, signal);
    // Before a first "already mine" is believed, it is read once more now that nothing runs (rule 8).
    const isSettled = running.length === 0 && (before.server !== server || !terms.isFirst);
    const seen = isSettled ? before : await this.#read(id, signal);
    if (seen.server === server) return;
    await this.#assign(id, server, terms);
    const after = await this.#read(id, signal);
    if (after.server === server) return;
    throw new ProviderError(
      'busy',
      `${after.ip} was assigned to this server (${server}), yet the provider still shows ${serverName(after.server)}`,
    );
  }

  async #assign(id: number, server: number, terms: ClaimTerms): Promise<void> {
    const write = (action: string, body: Readonly<Record<string, unknown>>): Promise<void> =>
      this.#api.act(`/floating_ips/${id}/actions/${action}`, body, terms);
    try {
      await write('assign', { server });
    } catch (error) {
      if (!(error instanceof ProviderError) || error.providerCode !== 'floating_ip_assigned') throw error;
      // Documented, though not met any more: some addresses have to be taken away before they can be given.
      const { server: holder } = await this.#read(id, terms.signal);
      if (holder === server) return;
      if (holder !== null) await write('unassign', {});
      await write('assign', { server });
    }
  }

  async #runningActions(id: number, signal: AbortSignal): Promise<HcloudAction[]> {
    const actions = await this.#api.list(`/floating_ips/${id}/actions?status=running`, 'actions', parseAction, signal);
    return actions.filter(({ status }) => status === 'running');
  }

  async #read(id: number, signal: AbortSignal): Promise<FloatingIp> {
    try {
      const found = parseFloatingIp(at(await this.#api.get(`/floating_ips/${id}`, signal), 'floating_ip'));
      if (found?.id === id) return found;
      throw new ProviderError('unavailable', `GET /floating_ips/${id}: the answer is not a floating IP`);
    } catch (error) {
      // The floating IP may have been deleted and made anew: look it up again next time.
      if (error instanceof ProviderError && error.code === 'not-found') this.#ids.clear();
      throw error;
    }
  }

  #ownerOf({ server }: FloatingIp, own: number): Owner {
    if (server === own) return { is: 'self' };
    return server === null ? { is: 'nobody' } : { is: 'other', name: serverName(server) };
  }

  async #idOf(address: string, signal: AbortSignal): Promise<number> {
    const known = this.#ids.get(address);
    if (known !== undefined) return known;
    const found = this.#remember(address, await this.#listFloatingIps(signal));
    if (found === null) throw new ProviderError('not-found', `${address} is no floating IP of the project that HCLOUD_TOKEN belongs to`);
    return found;
  }

  #remember(address: string, all: readonly FloatingIp[]): number | null {
    const found = all.find(({ ip }) => covers(ip, address));
    if (found !== undefined) this.#ids.set(address, found.id);
    else this.#ids.delete(address);
    return found?.id ?? null;
  }

  async #listFloatingIps(signal: AbortSignal): Promise<FloatingIp[]> {
    return await this.#api.list('/floating_ips', 'floating_ips', parseFloatingIp, signal);
  }
}

/** What the provider says of one address. `all` is null where it cannot be asked. */
function checkAddress(address: string, all: readonly FloatingIp[] | null, ownServer: number | null): Finding {
  const name = `address ${address}`;
  if (all === null) return warn(name, 'whether the provider knows it could not be found out', 'see what is said of the token');
  const found = all.find(({ ip }) => covers(ip, address));
  if (found === undefined) {
    const known = all.length === 0 ? 'it has none' : `it has ${all.map(({ ip }) => ip).join(', ')}`;
    const advice = `create it there, or correct ADDRESSES or HCLOUD_TOKEN: ${known}`;
    return fail(name, 'it is no floating IP of the project that HCLOUD_TOKEN belongs to', advice);
  }
  const whose =
    found.server !== null && found.server === ownServer ? `${serverName(found.server)}, which is this one` : serverName(found.server);
  const what = `floating IP ${found.id}${found.name === '' ? '' : ` "${found.name}"`}, routed to ${whose}`;
  return found.isBlocked ? warn(name, `${what}; Hetzner blocks its traffic`, 'ask Hetzner why') : ok(name, what);
}

function parseFloatingIp(json: unknown): FloatingIp | null {
  const id = integerAt(json, 'id');
  const ip = messageAt(json, 'ip');
  const server = integerAt(json, 'server') ?? null;
  // An owner that cannot be read is not the same as none.
  if (id === undefined || ip === undefined || (server === null && at(json, 'server') !== null)) return null;
  return { id, ip, name: messageAt(json, 'name') ?? '', server, isBlocked: at(json, 'blocked') === true };
}

function serverName(server: number | null): string {
  return server === null ? 'no server' : `server ${server}`;
}
