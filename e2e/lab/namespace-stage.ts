/**
 * Three nodes, a router and a client in network namespaces of their own.
 *
 * Guarantees: this process's own namespace is the router, where the APIs are served and, in the routed topology, the
 * address's route follows the provider's state. Agents, services and the client are real processes. On L2 the nodes'
 * ends of the bridge are listened to all the time, and what was heard is judged each second. Run it inside namespaces of its
 * own (see namespaces.ts): it leaves the tidying to them, unless it is closed.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { addressText, parseAddress } from '../../agent/address.ts';
import type { Address } from '../../agent/address.ts';
import { duration } from '../../agent/config/formats.ts';
import { SCHEMA } from '../../agent/config/schema.ts';
import { nodeOfIdentity } from '../../agent/contender/lease.ts';
import { CLOCK_RATE_ERROR, FENCE_MARGIN_MS } from '../../agent/contender/settings.ts';
import { fenceTable } from '../../agent/link/open-link.ts';
import { decodeAddress, RTM_GETADDR } from '../../agent/link/rtnetlink.ts';
import { openDatagrams, NetlinkSocket } from '../../agent/link/netlink-socket.ts';
import { profileOf } from '../../agent/provider/profiles.ts';
import { inNamespace } from '../../test/support/inside-namespace.ts';
import { STAND_INS } from '../../test/support/stand-ins/all.ts';
import type { RoutedProviderName } from '../../test/support/stand-ins/all.ts';
import type { ProviderStandIn } from '../../test/support/stand-ins/stand-in.ts';
import { AgentProcess, entryPoint } from '../../test/support/agent-process.ts';
import type { Attempt } from './client.ts';
import type { ListenerMessage } from './listener.ts';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { spawnIn } from '../../test/support/namespaces.ts';
import { holderOf } from './leases.ts';
import type { Leases, OnLease } from './leases.ts';
import {
  addIpv6,
  API_IPS,
  buildNetwork,
  cutOff,
  cutPath,
  mendPath,
  placeOf,
  PLACES,
  reconnect,
  removeNetwork,
  routeAddress,
} from './network.ts';
import type { Api, Topology } from './network.ts';
import { FLOATING_IP, FLOATING_IP6 } from './stage.ts';
import { LocalServices, startClient } from './players.ts';
import type { Stage } from './stage.ts';
import { Watcher } from './watcher.ts';
import type { Bound, Sample, Timings } from './watcher.ts';
import { WireJudge } from './wire-judge.ts';
import type { Spoken } from './wire-judge.ts';
import { Wire } from './wire.ts';

/** The other family is only looked after: what it costs to move is the same. */
const CLIENT6_INTERVAL_MS = 50;
const SAMPLE_MS = 50;
const JUDGE_MS = 1_000;
/** How long a Lease API may take to say what it knows. */
const CAUGHT_UP_MS = 10_000;
/** How long an end is waited for that should come at once. */
const LISTENER_MS = 5_000;
const FILES = '/run/leasehold-lab';
const LEASE_NAME = 'leasehold';
/** What tells an agent which server of the provider it runs on. Here it finds that out by itself. */
const OWN_SERVER: readonly string[] = ['HCLOUD_SERVER_ID', 'NETCUP_SERVER_ID', 'ROBOT_SERVER_IP'];
/** Where the status of an agent is served, and of a second one on the same node. */
const PORTS = { first: 9_808, second: 9_809 } as const;

export interface LabOptions {
  readonly bundle: string;
  /** Who routes the address, where it is routed: Hetzner Cloud's floating IPs unless said otherwise. */
  readonly provider?: RoutedProviderName;
  /** How long the provider takes for each change. */
  readonly moveMs: number;
  /** The address that the agents keep. */
  readonly address?: string;
  /** Settings for every agent, beyond what the lab needs. */
  readonly env?: Readonly<Record<string, string>>;
  readonly providerTimeoutMs?: number;
  readonly topology?: Topology;
  /** On L2: an IPv6 address moves together with the other one, and has a client of its own. */
  readonly withIpv6?: boolean;
  /** How often the client opens a connection. */
  readonly clientIntervalMs?: number;
  /** How often everything is looked at. */
  readonly sampleMs?: number;
}

/** A client that only listens. */
export interface Listener {
  /** When and how its connection ended. */
  readonly ended: () => Promise<{ readonly atMs: number; readonly how: string }>;
}

export class NamespaceStage<LeaseApi extends Leases = Leases> implements Stage {
  readonly nodes = PLACES.map(({ name }) => name);
  readonly attempts: Attempt[] = [];
  /** Those of the client that uses IPv6. */
  readonly attempts6: Attempt[] = [];
  /** When everything was looked at. */
  readonly lookedAtMs: number[] = [];
  readonly leases: LeaseApi;
  readonly provider: ProviderStandIn;
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
  readonly #clientProcesses: ChildProcess[] = [];
  readonly #addresses: readonly Address[];
  /** Where nobody but the wire says who has the address. */
  readonly #wire: Wire | null;
  readonly #judge: WireJudge;
  readonly #judging: NodeJS.Timeout;
  /** What was heard and not judged yet. */
  #heard: Spoken[] = [];
  #judged: Promise<void> = Promise.resolve();
  #isJudging = false;
  #isClosed = false;

  private constructor(options: LabOptions, leases: LeaseApi, provider: ProviderStandIn, watcher: Watcher) {
    this.#options = options;
    this.leases = leases;
    this.provider = provider;
    this.watcher = watcher;
    for (const { name } of PLACES)
      this.#sockets.set(
        name,
        inNamespace(name, () => new NetlinkSocket(openDatagrams())),
      );
    this.#addresses = addressesOf(options);
    const ports = PLACES.map(({ name, port }) => ({ node: name, interfaceName: port }));
    this.#wire = options.topology === 'l2' ? new Wire(ports, this.#addresses) : null;
    this.#judge = new WireJudge(timingsOf(options).leaseDurationMs * (1 - CLOCK_RATE_ERROR) - FENCE_MARGIN_MS);
    this.#sampler = setInterval(() => this.#look(), options.sampleMs ?? SAMPLE_MS);
    this.#judging = setInterval(() => {
      if (!this.#isJudging) void this.judgeWire();
    }, JUDGE_MS);
  }

  /**
   * Builds the network, opens the Lease API, and starts the provider, the local services and the client. No agent runs yet.
   */
  static async open<LeaseApi extends Leases>(
    options: LabOptions,
    openLeases: (onLease: OnLease) => Promise<LeaseApi>,
  ): Promise<NamespaceStage<LeaseApi>> {
    const kind = options.topology ?? 'routed';
    buildNetwork(kind);
    if (options.withIpv6 === true) addIpv6();
    // The stage is what the Lease API tells, and what it is asked through.
    let leases: LeaseApi | null = null;
    const providerName = options.provider ?? 'hcloud-floating-ip';
    const watcher = new Watcher({
      timings: { ...timingsOf(options), providerTimeoutMs: options.providerTimeoutMs ?? profileOf(providerName).claimTimeoutMs },
      kind,
      nowMs: monotonicMs,
      wallClockMs: Date.now,
      caughtUp: async () => await leases?.caughtUp(),
    });
    leases = await openLeases((lease) => watcher.onLease(lease));
    const provider = await STAND_INS[providerName]({
      addresses: [options.address ?? FLOATING_IP],
      nodes: PLACES,
      moveMs: options.moveMs,
      host: API_IPS.provider,
      onOwner: routeAddress,
      onAccepted: (from) => watcher.onProviderWrite(PLACES.find((place) => place.ip === from)?.name ?? from),
    });
    mkdirSync(FILES, { recursive: true });
    writeFileSync(`${FILES}/kubeconfig`, leases.kubeconfig);
    const stage = new NamespaceStage(options, leases, provider, watcher);
    await Promise.all(stage.nodes.map((node) => stage.startService(node)));
    stage.#clientProcesses.push(startClient(stage.attempts, options.clientIntervalMs, stage.address));
    if (options.withIpv6 === true) stage.#clientProcesses.push(startClient(stage.attempts6, CLIENT6_INTERVAL_MS, FLOATING_IP6));
    return stage;
  }

  /** The address that is watched by everybody; the one of the other family only moves together with it. */
  get address(): string {
    return this.#options.address ?? FLOATING_IP;
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

  /** What each client has tried so far. */
  get clients(): readonly (readonly Attempt[])[] {
    return this.#options.withIpv6 === true ? [this.attempts, this.attempts6] : [this.attempts];
  }

  /** How many frames in the name of the addresses were heard. */
  get framesHeard(): number {
    return this.#wire?.count ?? 0;
  }

  /** The shortest time from a frame of one node to the next one of another; Infinity while there was none. */
  get shortestSilenceMs(): number {
    return this.#judge.shortestSilenceMs;
  }

  /** What the tables of the agents' packet filters are called. */
  get fenceTable(): string {
    return fenceTable({ namespace: this.leases.namespace, name: LEASE_NAME });
  }

  /**
   * The most nodes that had the address at once since this was asked last: bound where it is routed, on the wire where it is
   * not.
   */
  takeMostAtOnce(): number {
    const bound = this.watcher.takeMostAtOnce();
    return this.#wire === null ? bound : this.#judge.takeMostAtOnce();
  }

  /** Judges what was heard on the wire until now. Returns whether the Lease API has said in time who held it. */
  async judgeWire(): Promise<boolean> {
    this.#judged = this.#judged.then(async () => await this.#judgeHeard());
    return await within(this.#judged, CAUGHT_UP_MS);
  }

  async #judgeHeard(): Promise<void> {
    this.#listen();
    const heard = this.#heard;
    this.#heard = [];
    this.#isJudging = true;
    if (heard.length > 0) await this.leases.caughtUp();
    this.#isJudging = false;
    if (!this.#isClosed) for (const finding of this.#judge.judge(heard, this.watcher.terms)) this.watcher.report(finding);
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
    if (this.#wire !== null) return this.#wire.speaker;
    return this.provider.ownerOf(this.address);
  }

  /** The nodes that have one of the addresses bound, or this one. */
  boundOn(text?: string): string[] {
    return this.nodes.filter((node) => this.#boundOn(node, text).length > 0);
  }

  async role(node: string): Promise<string | null> {
    const status = await this.status(node);
    return status === '' ? null : (JSON.parse(status) as { role: string }).role;
  }

  /** What an agent says at /status, or '' when it does not answer. */
  async status(node: string): Promise<string> {
    try {
      const response = await fetch(`http://${placeOf(node).ip}:${PORTS.first}/status`, { signal: AbortSignal.timeout(1_000) });
      return await response.text();
    } catch {
      return '';
    }
  }

  /** Starts a client that opens one connection and only listens; resolves when that stands. */
  async startListener(): Promise<Listener> {
    const child = this.#spawnClient('listener.ts', [this.address]);
    const ended = new Promise<ListenerMessage & { is: 'ended' }>((resolve) => {
      child.on('message', (message: ListenerMessage) => {
        if (message.is === 'ended') resolve(message);
      });
    });
    await new Promise((resolve) => child.once('message', resolve));
    return {
      ended: async () => {
        const end = await Promise.race([ended, pause(LISTENER_MS, { atMs: Number.POSITIVE_INFINITY, how: 'not at all' }, { ref: false })]);
        child.kill('SIGKILL');
        return end;
      },
    };
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#sampler);
    clearInterval(this.#judging);
    this.#wire?.close();
    for (const client of this.#clientProcesses) client.kill('SIGKILL');
    for (const agent of [...this.#agents.values(), ...this.#others]) if (agent.isRunning) agent.signal('SIGKILL');
    this.#services.close();
    for (const socket of this.#sockets.values()) socket.close();
    await Promise.all([this.leases.close(), this.provider.close()]);
    removeNetwork();
  }

  #look(): void {
    this.lookedAtMs.push(monotonicMs());
    this.#listen();
    this.watcher.onSample(this.#sample());
  }

  #listen(): void {
    if (this.#wire === null) return;
    this.#heard.push(...this.#wire.heard());
    if (this.#wire.lost > 0) this.watcher.report({ what: 'frames of the wire were lost before they were read' });
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

  /** The addresses on one node that are there. */
  #boundOn(node: string, text?: string): Bound[] {
    if (this.#isClosed) return [];
    const rows = this.#sockets.get(node)?.dump(RTM_GETADDR, Buffer.alloc(8)).map(decodeAddress) ?? [];
    const texts = text === undefined ? this.#addresses.map((address) => address.text) : [text];
    return rows.flatMap((row) =>
      row !== null && texts.includes(addressText(row.bytes)) ? [{ node, remainingMs: row.validS * 1_000 }] : [],
    );
  }

  #spawnAgent(node: string, which: keyof typeof PORTS): AgentProcess {
    const env = {
      ...this.#environmentOf(node),
      LISTEN: `${placeOf(node).ip}:${PORTS[which]}`,
      CONTROL_SOCKET: `${FILES}/${node}-${which}.sock`,
    };
    return new AgentProcess(node, spawnIn(node, entryPoint(this.#options.bundle), { env, stdio: ['ignore', 'pipe', 'inherit'] }));
  }

  #environmentOf(node: string): Record<string, string> {
    const provider = this.topology === 'l2' ? { PROVIDER: 'l2' } : withoutOwnServer(this.provider.env(node));
    return {
      NODE_NAME: node,
      KUBECONFIG: `${FILES}/kubeconfig`,
      LEASE_NAMESPACE: this.leases.namespace,
      LEASE_NAME,
      ADDRESSES: this.#addresses.map(({ text }) => text).join(),
      ...provider,
      PROBES: 'http://127.0.0.1/',
      // More faults strike here in an hour than a cluster sees in a year.
      MOVES_PER_HOUR: '100000',
      ...(this.#options.providerTimeoutMs === undefined ? {} : { PROVIDER_TIMEOUT: `${this.#options.providerTimeoutMs}ms` }),
      ...this.#options.env,
    };
  }

  #spawnClient(file: string, args: readonly string[]): ChildProcess {
    const script = fileURLToPath(new URL(`./${file}`, import.meta.url));
    const client = spawnIn('client', [process.execPath, script, ...args], { env: {}, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#clientProcesses.push(client);
    return client;
  }

  #runningAgent(node: string): AgentProcess {
    const agent = this.#agents.get(node);
    if (agent?.isRunning !== true) throw new Error(`no agent runs on ${node}`);
    return agent;
  }
}

/** What the agents' environment says of the Lease, and their defaults where it is silent. */
function timingsOf({ env = {} }: LabOptions): Pick<Timings, 'leaseDurationMs' | 'renewDeadlineMs'> {
  return {
    leaseDurationMs: durationMs(env['LEASE_DURATION'] ?? SCHEMA.LEASE_DURATION.default),
    renewDeadlineMs: durationMs(env['RENEW_DEADLINE'] ?? SCHEMA.RENEW_DEADLINE.default),
  };
}

function durationMs(text: string | null): number {
  const parsed = duration.parse(text ?? '');
  if (parsed === null || !('value' in parsed)) throw new Error(`${String(text)} is no duration`);
  return parsed.value;
}

function withoutOwnServer(env: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !OWN_SERVER.includes(name)));
}

function addressesOf({ address = FLOATING_IP, withIpv6 }: LabOptions): Address[] {
  return [address, ...(withIpv6 === true ? [FLOATING_IP6] : [])].flatMap((text) => parseAddress(text) ?? []);
}

/** Whether something comes to its end in time. */
async function within(work: Promise<void>, ms: number): Promise<boolean> {
  const end = new AbortController();
  const isLate = pause(ms, false, { signal: end.signal }).catch(() => false);
  const isDone = await Promise.race([work.then(() => true), isLate]);
  end.abort();
  return isDone;
}
