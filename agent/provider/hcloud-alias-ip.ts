/**
 * Alias IPs in a private network of Hetzner Cloud: addresses that the network routes to the server whose list has them.
 *
 * A move takes two steps, because the provider gives an address to a server only once no other has it. So a claim is a loop:
 * look who has it → take it away there, and wait → give it to this server, and wait → look again. Each try begins with the
 * look, so that whoever holds the Lease goes on where another has stopped: "on no server" is a state like any other.
 *
 * Guarantees: whether it may still write is asked before each step. Only entries of the one network are touched, and of them
 * only those for the address (hcloud-alias-lists.ts). An address that can never be an alias IP, or is some server's own, is
 * refused without a write. Nothing is asked of the server that has had it, which may be dead.
 *
 * Which interface the traffic arrives on is told by the API, which has this server's hardware address in the network. The
 * metadata service has it as well, later after a change, and no claim is possible without the API anyway.
 */
import { asError } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { ClaimOutcome, Owner } from '../contender/input.ts';
import { fail, ok, warn } from '../finding.ts';
import type { Finding } from '../finding.ts';
import type { ClaimTerms, Provider, ProviderReadiness } from '../ports.ts';
import { claimWithRetries } from './claim.ts';
import { ProviderError } from './error.ts';
import { HcloudAliasLists } from './hcloud-alias-lists.ts';
import type { HcloudApi } from './hcloud-api.ts';
import { checkServer, checkToken } from './hcloud-checks.ts';
import {
  addressProblem,
  capacityProblem,
  receptionProblem,
  findPlace,
  holdersOf,
  networkText,
  readNetwork,
  readServer,
  serverText,
} from './hcloud-network.ts';
import type { HcloudNetwork, HcloudPlace, HcloudServer } from './hcloud-network.ts';
import { METADATA_OPERATION } from './hcloud-server-id.ts';
import type { HcloudServerId } from './hcloud-server-id.ts';
import { notReadyBecause } from './preparation.ts';
import type { ProviderProfile } from './profile.ts';

export const HCLOUD_ALIAS_IP: ProviderProfile = {
  kind: 'routed',
  // Two actions in the place of one.
  claimTimeoutMs: 60_000,
  verifyIntervalMs: 30_000,
  tellsInterface: true,
  movesInSteps: true,
  operations: {
    [METADATA_OPERATION]: { success: '200' },
    'GET /networks': { success: '200' },
    'GET /servers': { success: '200' },
    'GET /servers/{id}': { success: '200' },
    'GET /servers/{id}/actions': { success: '200' },
    'POST /servers/{id}/actions/change_alias_ips': { success: '201', isMove: true },
    'GET /actions/{id}': { success: '200' },
  },
  // What it grants is said in each of its answers.
  limits: [],
};

/** Everything of the project that matters here. */
interface Project {
  readonly networks: readonly HcloudNetwork[];
  readonly servers: readonly HcloudServer[];
}

export class HcloudAliasIp implements Provider {
  readonly kind = 'routed';
  readonly #api: HcloudApi;
  readonly #lists: HcloudAliasLists;
  readonly #serverId: HcloudServerId;
  readonly #network: string | null;
  readonly #addresses: readonly string[];
  readonly #clock: Clock;
  /** This server's place as last found; null where it has to be found anew. */
  #place: HcloudPlace | null = null;

  /** `network`: the id or name of the network; null where it is the only one that this server is in. */
  constructor(api: HcloudApi, serverId: HcloudServerId, network: string | null, addresses: readonly string[], clock: Clock) {
    this.#api = api;
    this.#lists = new HcloudAliasLists(api);
    this.#serverId = serverId;
    this.#network = network;
    this.#addresses = addresses;
    this.#clock = clock;
  }

  async prepare(signal: AbortSignal): Promise<ProviderReadiness> {
    try {
      const [own, project] = await Promise.all([this.#serverId.find(signal), this.#readProject(signal)]);
      const place = findPlace(own, this.#network, project);
      const problems = [...this.#addressProblems(place.network, project.servers), ...this.#capacityProblems(place)];
      if (problems.length > 0) return { is: 'not-ready', isPassing: false, reason: problems.join('; ') };
      this.#place = place;
      const { server, network, attachment } = place;
      const reason = `this is ${serverText(server)}, with ${attachment.ip} in the network ${networkText(network)}`;
      return { is: 'ready', reason, ...(attachment.mac === null ? {} : { mac: attachment.mac }) };
    } catch (thrown) {
      return notReadyBecause(thrown, signal);
    }
  }

  async check(signal: AbortSignal): Promise<readonly Finding[]> {
    const [server, token] = await Promise.all([
      checkServer(this.#serverId, signal),
      checkToken(
        () => this.#readProject(signal),
        ({ servers, networks }) => `${counted(servers, 'server')} and ${counted(networks, 'network')}`,
      ),
    ]);
    const { place, findings } = this.#checkPlace(server.id, token.seen);
    return [server.finding, token.finding, ...findings, ...this.#addresses.map((address) => checkAddress(address, token.seen, place))];
  }

  async owner(address: string, signal: AbortSignal): Promise<Owner> {
    try {
      const { network, server } = await this.#findPlace(signal);
      // No two servers have it, so the others need not be read where this one does.
      if (holdersOf(address, network, [await this.#lists.read(server.id, signal)]).length > 0) return { is: 'self' };
      const holders = holdersOf(address, network, await this.#readServers(signal));
      const other = holders.find(({ id }) => id !== server.id);
      if (other !== undefined) return { is: 'other', name: serverText(other) };
      return holders.length > 0 ? { is: 'self' } : { is: 'nobody' };
    } catch (thrown) {
      return { is: 'unknown', message: asError(thrown).message };
    }
  }

  async claim(address: string, terms: ClaimTerms): Promise<ClaimOutcome> {
    return await claimWithRetries(this.#clock, terms, async () => {
      const place = await this.#findPlace(terms.signal);
      try {
        await this.#claimOnce(address, place, terms);
      } catch (error) {
        // The server may have been attached to another network: where it is has to be found anew.
        if (error instanceof ProviderError && error.isDefinitive) this.#place = null;
        throw error;
      }
    });
  }

  async #claimOnce(address: string, place: HcloudPlace, terms: ClaimTerms): Promise<void> {
    const { server, network } = place;
    const { signal } = terms;
    let seen = await this.#readServers(signal);
    // All of it before the address is taken away from anybody.
    const problem = addressProblem(address, network, seen) ?? receptionProblem(address, place, seen);
    if (problem !== null) throw new ProviderError('invalid', problem);
    const isHereAlone = (): boolean => {
      const [holder, ...others] = holdersOf(address, network, seen);
      return holder?.id === server.id && others.length === 0;
    };
    if (isHereAlone()) {
      // A change that was begun earlier, by us or by a holder that is gone, may still take it away (rule 8).
      const changes = await this.#lists.settle(server.id, signal);
      if (changes > 0 || terms.isFirst) seen = await this.#readServers(signal);
      if (isHereAlone()) return;
    }
    const others = holdersOf(address, network, seen).filter(({ id }) => id !== server.id);
    for (const other of others) await this.#lists.take(address, other, place, terms);
    await this.#lists.give(address, place, terms);
    seen = await this.#readServers(signal);
    if (isHereAlone()) return;
    const holders = holdersOf(address, network, seen).map(serverText);
    throw new ProviderError(
      'busy',
      `${address} was given to this ${serverText(server)}, yet the provider shows it on ${holders.length === 0 ? 'no server' : holders.join(', ')}`,
    );
  }

  async #findPlace(signal: AbortSignal): Promise<HcloudPlace> {
    if (this.#place !== null) return this.#place;
    const [own, project] = await Promise.all([this.#serverId.find(signal), this.#readProject(signal)]);
    this.#place = findPlace(own, this.#network, project);
    return this.#place;
  }

  async #readProject(signal: AbortSignal): Promise<Project> {
    const [networks, servers] = await Promise.all([
      this.#api.list('/networks', 'networks', readNetwork, signal),
      this.#readServers(signal),
    ]);
    return { networks, servers };
  }

  async #readServers(signal: AbortSignal): Promise<HcloudServer[]> {
    return await this.#api.list('/servers', 'servers', readServer, signal);
  }

  #addressProblems(network: HcloudNetwork, servers: readonly HcloudServer[]): string[] {
    return this.#addresses.flatMap((address) => addressProblem(address, network, servers) ?? []);
  }

  #capacityProblems(place: HcloudPlace): string[] {
    const problem = capacityProblem(place.attachment.aliases, this.#addresses, place);
    return problem === null ? [] : [problem];
  }

  /** What is found of the network and of this server's place in it. */
  #checkPlace(own: number | null, project: Project | null): { readonly place: HcloudPlace | null; readonly findings: readonly Finding[] } {
    if (own === null || project === null) {
      const unknown = warn(
        'network',
        'this server’s private network could not be looked at',
        'see what is said of the server and the token',
      );
      return { place: null, findings: [unknown] };
    }
    try {
      const place = findPlace(own, this.#network, project);
      const { server, network, attachment } = place;
      const what = `this ${serverText(server)} has ${attachment.ip} in the network ${networkText(network)}`;
      const full = this.#capacityProblems(place).map((problem) => fail('network', problem, 'take one of them away, or use another server'));
      if (full.length > 0) return { place, findings: full };
      if (attachment.mac === null)
        return { place, findings: [warn('network', `${what}; which interface that is was not told`, 'name the interface in INTERFACE')] };
      return { place, findings: [ok('network', `${what}, on the interface with the hardware address ${attachment.mac}`)] };
    } catch (error) {
      const advice = 'attach this server to the network in the Hetzner Cloud console, or correct HCLOUD_NETWORK';
      return { place: null, findings: [fail('network', asError(error).message, advice)] };
    }
  }
}

/** What the provider says of one address. */
function checkAddress(address: string, project: Project | null, place: HcloudPlace | null): Finding {
  const name = `address ${address}`;
  if (project === null || place === null)
    return warn(name, 'whether it can be an alias IP could not be found out', 'see what is said of the server, the token and the network');
  const problem = addressProblem(address, place.network, project.servers);
  if (problem !== null) return fail(name, problem, 'correct ADDRESSES or HCLOUD_NETWORK');
  const [holder] = holdersOf(address, place.network, project.servers);
  const whose = holder === undefined ? 'no server' : `${serverText(holder)}${holder.id === place.server.id ? ', which is this one' : ''}`;
  return ok(name, `alias IP in the network ${networkText(place.network)}, routed to ${whose}`);
}

function counted(all: readonly unknown[], what: string): string {
  return all.length === 1 ? `one ${what}` : `${all.length} ${what}s`;
}
