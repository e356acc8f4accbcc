/**
 * Three nodes, a router and a client in network namespaces of their own.
 *
 * Guarantees: this process's own namespace is the router, where the APIs are served and, in the routed topology, the
 * floating IP's route follows the provider's state. Agents, services and the client are real processes. Run it inside
 * namespaces of its own (see namespaces.ts): it leaves the tidying to them, unless it is closed.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { addressText } from '../../agent/address.ts';
import { nodeOfIdentity } from '../../agent/contender/lease.ts';
import { decodeAddress, RTM_GETADDR } from '../../agent/link/rtnetlink.ts';
import { openDatagrams, NetlinkSocket } from '../../agent/link/netlink-socket.ts';
import { HcloudStandIn } from '../../test/support/hcloud-api.ts';
import { inNamespace } from '../../test/support/inside-namespace.ts';
import { AgentProcess, entryPoint } from '../../test/support/agent-process.ts';
import type { Attempt } from './client.ts';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { spawnIn } from '../../test/support/namespaces.ts';
import { holderOf } from './leases.ts';
import type { Leases, OnLease } from './leases.ts';
import { API_IPS, buildNetwork, cutOff, cutPath, mendPath, placeOf, PLACES, reconnect, removeNetwork, routeTo } from './network.ts';
import type { Api, ClientKind, Topology } from './network.ts';
import { FLOATING_IP } from './stage.ts';
import { LocalServices, startClient } from './players.ts';
import type { Stage } from './stage.ts';
import { Watcher } from './watcher.ts';
import type { Bound, Sample } from './watcher.ts';

const FLOATING_IP_ID = 310_077;
const SAMPLE_MS = 50;
const FILES = '/run/leasehold-lab';
/** Where the status of an agent is served, and of a second one on the same node. */
const PORTS = { first: 9_808, second: 9_809 } as const;

export interface LabOptions {
  readonly bundle: string;
  /** How long the provider takes for an assignment. */
  readonly actionMs: number;
  /** Settings for every agent, beyond what the lab needs. */
  readonly env?: Readonly<Record<string, string>>;
  readonly providerTimeoutMs?: number;
  readonly topology?: Topology;
  /** On L2: whether the client believes its ARP cache. */
  readonly client?: ClientKind;
  /** How often the client opens a connection. */
  readonly clientIntervalMs?: number;
  /** How often everything is looked at. */
  readonly sampleMs?: number;
}

export class NamespaceStage<LeaseApi extends Leases = Leases> implements Stage {
  readonly nodes = PLACES.map(({ name }) => name);
  readonly attempts: Attempt[] = [];
  /** When everything was looked at. */
  readonly lookedAtMs: number[] = [];
  readonly leases: LeaseApi;
  readonly hcloud: HcloudStandIn;
  readonly watcher: Watcher;
  readonly #options: LabOptions;
  readonly #agents = new Map<string, AgentProcess>();
  readonly #services = new LocalServices();
  readonly #sockets = new Map<string, NetlinkSocket>();
  readonly #sampler: NodeJS.Timeout;
  /** Nodes that cannot ask the provider. */
  readonly #isolated = new Set<string>();
  /** Nodes that cannot reach the Kubernetes API. */
  readonly #deaf = new Set<string>();
  readonly #frozen = new Set<string>();
  /** Agents that run beside those of the nodes. */
  readonly #others: AgentProcess[] = [];
  #client: ChildProcess | null = null;
  #isClosed = false;

  private constructor(options: LabOptions, leases: LeaseApi, hcloud: HcloudStandIn, watcher: Watcher) {
    this.#options = options;
    this.leases = leases;
    this.hcloud = hcloud;
    this.watcher = watcher;
    for (const { name } of PLACES)
      this.#sockets.set(
        name,
        inNamespace(name, () => new NetlinkSocket(openDatagrams())),
      );
    this.#sampler = setInterval(() => this.#look(), options.sampleMs ?? SAMPLE_MS);
  }

  /** Builds the network, opens the Lease API, and starts the provider, the local services and the client. No agent runs yet. */
  static async open<LeaseApi extends Leases>(
    options: LabOptions,
    openLeases: (onLease: OnLease) => Promise<LeaseApi>,
  ): Promise<NamespaceStage<LeaseApi>> {
    const kind = options.topology ?? 'routed';
    buildNetwork(kind, options.client);
    // The stage is what the Lease API tells, and what it is asked through.
    let leases: LeaseApi | null = null;
    const watcher = new Watcher({
      timings: { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, providerTimeoutMs: options.providerTimeoutMs ?? 30_000 },
      kind,
      nowMs: monotonicMs,
      wallClockMs: Date.now,
      caughtUp: async () => await leases?.caughtUp(),
    });
    leases = await openLeases((lease) => watcher.onLease(lease));
    const hcloud = await HcloudStandIn.start(
      {
        floatingIps: [{ id: FLOATING_IP_ID, ip: FLOATING_IP }],
        servers: PLACES.map(({ server }) => server),
        actionMs: options.actionMs,
        onOwner: (_, server) => routeTo(server),
        onAccepted: ({ from }) => watcher.onProviderWrite(PLACES.find((place) => place.ip === from)?.name ?? from),
      },
      API_IPS.provider,
    );
    for (const { ip: address, server } of PLACES) hcloud.serverBySource.set(address, server);
    mkdirSync(FILES, { recursive: true });
    writeFileSync(`${FILES}/kubeconfig`, leases.kubeconfig);
    const stage = new NamespaceStage(options, leases, hcloud, watcher);
    await Promise.all(stage.nodes.map((node) => stage.startService(node)));
    stage.#client = startClient(stage.attempts, options.clientIntervalMs);
    return stage;
  }

  get topology(): Topology {
    return this.#options.topology ?? 'routed';
  }

  get violations(): readonly string[] {
    return this.watcher.violations;
  }

  get samples(): number {
    return this.watcher.samples;
  }

  agent(node: string): AgentProcess | undefined {
    return this.#agents.get(node);
  }

  startAgent(node: string): void {
    this.#agents.set(node, this.#spawnAgent(node, 'first'));
  }

  /** Starts one more agent beside the one that runs on a node, as a slip of the hand would. */
  startSecondAgent(node: string): AgentProcess {
    const agent = this.#spawnAgent(node, 'second');
    this.#others.push(agent);
    return agent;
  }

  async stopAgent(node: string): Promise<number | string> {
    const agent = this.#runningAgent(node);
    agent.signal('SIGTERM');
    return await agent.ended;
  }

  async killAgent(node: string): Promise<void> {
    const agent = this.#runningAgent(node);
    agent.signal('SIGKILL');
    await agent.ended;
  }

  freezeAgent(node: string): void {
    this.#frozen.add(node);
    this.#runningAgent(node).signal('SIGSTOP');
  }

  thawAgent(node: string): void {
    this.#runningAgent(node).signal('SIGCONT');
    this.#frozen.delete(node);
  }

  async startService(node: string): Promise<void> {
    await this.#services.start(node);
  }

  async stopService(node: string, how: 'refuse' | 'hang'): Promise<void> {
    await this.#services.stop(node, how);
  }

  /** Lets a local service tell its prober that it is ill, or well again, while it goes on serving clients. */
  feign(node: string, health: 'ill' | 'well'): void {
    this.#services.feign(node, health);
  }

  cutOff(node: string): void {
    cutOff(node);
    this.#isolated.add(node);
    this.#deaf.add(node);
  }

  reconnect(node: string): void {
    reconnect(node);
    this.#isolated.delete(node);
    this.#deaf.delete(node);
  }

  /** Loses every packet between a node and one API. */
  cutPath(node: string, api: Api): void {
    cutPath(node, api);
    this.#without(api).add(node);
  }

  mendPath(node: string, api: Api): void {
    mendPath(node, api);
    this.#without(api).delete(node);
  }

  holder(): string | null {
    const identity = holderOf(this.leases.lease());
    return identity === '' ? null : nodeOfIdentity(identity);
  }

  /** The number of the present or the last term. */
  transitions(): number {
    return this.leases.lease()?.spec.leaseTransitions ?? 0;
  }

  owner(): string | null {
    if (this.topology === 'l2') return this.boundOn()[0] ?? null;
    const server = this.hcloud.ownerOf(FLOATING_IP);
    return PLACES.find((place) => place.server === server)?.name ?? null;
  }

  boundOn(): string[] {
    return this.nodes.filter((node) => this.#boundOn(node).length > 0);
  }

  async role(node: string): Promise<string | null> {
    try {
      const response = await fetch(`http://${placeOf(node).ip}:${PORTS.first}/status`, { signal: AbortSignal.timeout(1_000) });
      return ((await response.json()) as { role: string }).role;
    } catch {
      return null;
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#sampler);
    this.#client?.kill('SIGKILL');
    for (const agent of [...this.#agents.values(), ...this.#others]) if (agent.isRunning) agent.signal('SIGKILL');
    this.#services.close();
    for (const socket of this.#sockets.values()) socket.close();
    await Promise.all([this.leases.close(), this.hcloud.close()]);
    removeNetwork();
  }

  #look(): void {
    this.lookedAtMs.push(monotonicMs());
    this.watcher.onSample(this.#sample());
  }

  #sample(): Sample {
    const bound = this.nodes.flatMap((node) => this.#boundOn(node));
    const [first] = bound;
    return {
      bound,
      owner: this.owner(),
      cutOff: [...this.#isolated],
      deaf: [...this.#deaf, ...this.leases.troubled],
      alive: this.nodes.filter((node) => this.#agents.get(node)?.isRunning === true && !this.#frozen.has(node)),
      isAtOnce: first !== undefined && bound.length > 1 && this.#boundOn(first.node).length > 0,
    };
  }

  /** Nodes that are cut off from one API. */
  #without(api: Api): Set<string> {
    return api === 'provider' ? this.#isolated : this.#deaf;
  }

  /** The address on one node, if it is there. */
  #boundOn(node: string): Bound[] {
    if (this.#isClosed) return [];
    const rows = this.#sockets.get(node)?.dump(RTM_GETADDR, Buffer.alloc(8)).map(decodeAddress) ?? [];
    const row = rows.find((each) => each !== null && addressText(each.bytes) === FLOATING_IP) ?? null;
    return row === null ? [] : [{ node, remainingMs: row.validS * 1_000 }];
  }

  #spawnAgent(node: string, which: keyof typeof PORTS): AgentProcess {
    const env = { ...this.#environmentOf(node), LISTEN: `${placeOf(node).ip}:${PORTS[which]}` };
    return new AgentProcess(node, spawnIn(node, entryPoint(this.#options.bundle), { env, stdio: ['ignore', 'pipe', 'inherit'] }));
  }

  #environmentOf(node: string): Record<string, string> {
    const provider: Record<string, string> =
      this.topology === 'l2'
        ? { PROVIDER: 'l2' }
        : {
            PROVIDER: 'hcloud-floating-ip',
            HCLOUD_TOKEN: 'hcloud-token',
            HCLOUD_ENDPOINT: this.hcloud.endpoint,
            HCLOUD_METADATA_ENDPOINT: this.hcloud.metadataEndpoint,
          };
    return {
      NODE_NAME: node,
      KUBECONFIG: `${FILES}/kubeconfig`,
      LEASE_NAMESPACE: this.leases.namespace,
      ADDRESSES: FLOATING_IP,
      ...provider,
      PROBES: 'http://127.0.0.1/',
      ...(this.#options.providerTimeoutMs === undefined ? {} : { PROVIDER_TIMEOUT: `${this.#options.providerTimeoutMs}ms` }),
      ...this.#options.env,
    };
  }

  #runningAgent(node: string): AgentProcess {
    const agent = this.#agents.get(node);
    if (agent?.isRunning !== true) throw new Error(`no agent runs on ${node}`);
    return agent;
  }
}
