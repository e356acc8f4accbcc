/**
 * One simulated cluster: machines with agents on them, the Kubernetes API, a provider, and the networks in between.
 *
 * Guarantees: everything in it follows from the scenario, the plan of faults and the seed. Nothing in it knows real time.
 */
import { parseAddress } from '../../agent/address.ts';
import type { Address } from '../../agent/address.ts';
import type { Clock } from '../../agent/clock.ts';
import type { Settings } from '../../agent/config/settings.ts';
import { KubeModel } from '../support/kube-model.ts';
import { answering, isGuarded } from './answering.ts';
import { Availability } from './availability.ts';
import type { Strike } from './availability.ts';
import { Invariants } from './invariants.ts';
import type { Calmness } from './invariants.ts';
import { Machine } from './machine.ts';
import { networkOf } from './network.ts';
import type { Conditions, NetworkWorld, Way } from './network.ts';
import type { Lack } from './packet-filter.ts';
import { simProvider } from './providers/all.ts';
import type { SimProvider } from './providers/provider.ts';
import { Random } from './random.ts';
import { serverOf, settingsOf } from './scenario.ts';
import type { Scenario } from './scenario.ts';
import { SimProcess } from './sim-process.ts';
import type { ProcessWorld } from './sim-process.ts';
import { VirtualTime } from './virtual-time.ts';
import { Wire } from './wire.ts';

const BASE_WALL_MS = Date.UTC(2026, 10, 21, 8);
const BOOKMARK_MS = 60_000;
const LOOK_AROUND_MS = 500;
const SLOWEST_MS = 150;
const SLOWEST_SHARE = 0.13;
const LACKS: readonly Lack[] = ['netfilter sockets', 'nf_tables', 'the family arp', 'the expression fib'];
const LABELS = { 'app.kubernetes.io/name': 'leasehold' };

/** A line of what happened, for people. */
export interface HistoryLine {
  readonly atMs: number;
  readonly text: string;
  /** What happens all the time: renewals and refreshes. */
  readonly isRoutine: boolean;
}

export class World implements ProcessWorld, NetworkWorld {
  readonly time = new VirtualTime();
  readonly baseWallMs = BASE_WALL_MS;
  readonly random: Random;
  readonly scenario: Scenario;
  readonly machines: readonly Machine[];
  readonly kube: KubeModel;
  readonly provider: SimProvider;
  readonly wire: Wire;
  readonly observer: Invariants;
  readonly conditions: Conditions = {
    kube: { outage: null, misbehaviours: [], watchLagMs: 0 },
    provider: { misbehaviours: [], lateWritesMs: 0, lie: null },
  };
  readonly streams = new Set<() => void>();
  readonly slowestMs: number;
  readonly processes: SimProcess[] = [];
  /** What has struck so far. */
  readonly strikes: Strike[] = [];
  readonly availability: Availability;
  readonly addresses: readonly Address[];
  readonly history: HistoryLine[] | null;
  readonly logLevel: string;
  readonly settings: readonly Settings[];
  readonly #lastTimes = new Map<string, number>();
  readonly #owners = new Map<string, number | null>();
  readonly #macs = new Map<number, string>();
  /** When something was last done to anything but a stranger's part of the Lease. */
  disturbedAtMs = 0;
  /** What invariants need to know of the world besides what they see for themselves. */
  readonly calmness: Calmness = {
    lastRoutedToMs: (machine, address) => this.#lastTime(`routes ${address}`, machine),
    lastProviderTroubleMs: (machine) => this.#lastTime('provider trouble', machine),
    lastKubeTroubleMs: (machine) => Math.max(this.disturbedAtMs, this.#lastTime('kube trouble', machine)),
    olderAgentOn: (machine, than) => this.#olderAgentOn(machine, than),
  };
  readonly #ways = new Map<Machine, { readonly kube: Way; readonly provider: Way }>();

  constructor(seed: string, scenario: Scenario, keepsHistory: boolean) {
    this.random = new Random(`${seed} world`);
    this.scenario = scenario;
    // Who sets short timings has a network for them: a message there and one back within a request's deadline.
    this.slowestMs = Math.min(SLOWEST_MS, ...scenario.timings.map(({ renewDeadlineMs }) => renewDeadlineMs * SLOWEST_SHARE));
    this.history = keepsHistory ? [] : null;
    this.logLevel = keepsHistory ? 'info' : 'silent';
    this.machines = scenario.timings.map((_, node) => new Machine(this.time, this.random, `node-${node}`, serverOf(node)));
    for (const machine of this.machines) this.#ways.set(machine, { kube: freeWay(), provider: freeWay() });
    if (scenario.kind === 'l2') this.machines.forEach((machine, node) => this.#furnish(machine, scenario.isFenced[node] ?? false));
    const clock = trueClock(this.time);
    this.kube = new KubeModel({ wallMs: () => clock.wallMs(), newUid: () => `uid-${this.random.hex(6)}` });
    this.provider = simProvider(scenario.provider).open(
      {
        addresses: scenario.addresses,
        servers: this.machines.map(({ server }) => server),
        moveMs: scenario.moveMs,
        open: scenario.open,
        macOf: (server) => this.#macOf(server),
        onOwner: (address, server, begunAtMs) => this.#onOwner(address, server, begunAtMs),
        onForeign: (message) => this.observer.violate('foreign-untouched', message),
      },
      clock,
    );
    this.settings = scenario.timings.map((_, node) => settingsOf(scenario, node, (path) => this.provider.readFile?.(path) ?? ''));
    this.addresses = scenario.addresses.map((text) => parseAddress(text)).filter((address) => address !== null);
    this.wire = new Wire(this.time, this.random, this.addresses, this.machines, () => this.observer);
    this.observer = new Invariants(
      {
        time: this.time,
        kind: scenario.kind,
        addresses: this.addresses,
        machines: this.machines,
        lease: () => this.kube.lease(),
        strangerAnswersSinceMs: (address) => this.wire.strangerAnswersSinceMs(address),
      },
      this.calmness,
    );
    this.availability = new Availability({
      time: this.time,
      scenario,
      observer: this.observer,
      processes: this.processes,
      strikes: this.strikes,
      lease: () => this.kube.lease(),
      routedTo: (address) => this.provider.ownerOf(address),
    });
    this.#lookAround();
    this.observer.note = (text, isRoutine) => this.note(text, isRoutine);
    this.kube.onStored = (lease) => this.observer.onLeaseStored(lease);
    this.#sendBookmarks();
  }

  /** Puts a line into the history, if there is one. */
  note(text: string, isRoutine = false): void {
    this.history?.push({ atMs: this.time.nowMs, text, isRoutine });
  }

  createLease(): void {
    this.kube.create({}, { labels: LABELS });
  }

  way(of: SimProcess | Machine, to: 'kube' | 'provider'): Way {
    const ways = this.#ways.get(of instanceof Machine ? of : of.machine);
    if (ways === undefined) throw new Error('no such machine');
    return ways[to];
  }

  network(process: SimProcess): ReturnType<typeof networkOf> {
    return networkOf(this, process);
  }

  onDefect(process: SimProcess, error: Error): void {
    this.observer.violate('no-defect', `${process.identity}: ${error.stack ?? error.message}`);
  }

  onLog(process: SimProcess, line: string): void {
    if (this.history === null) return;
    const { level, msg } = JSON.parse(line) as { level: number; msg: string };
    this.note(`${process.identity} ${level >= 50 ? 'ERROR ' : level >= 40 ? 'WARN ' : ''}logs: ${msg}`);
  }

  onNotice(process: SimProcess, level: 'info' | 'warn', message: string): void {
    this.note(`${process.identity} ${level === 'warn' ? 'WARN ' : ''}notes: ${message}`);
  }

  onClaimSent(process: SimProcess, address: string, leapMs: number): void {
    this.observer.onClaimSent(process, address, leapMs);
  }

  onEnded(process: SimProcess): void {
    this.observer.onEnded(process, this.processesOn(process.machine).length > 1 || this.#haveNamesBeenTaken(process.machine));
  }

  /** What each machine's kernel can do, as far as that differs. */
  #furnish({ kernel, filter }: Machine, isFenced: boolean): void {
    filter.lack = isFenced ? null : this.random.pick(LACKS);
    filter.takesOverTimeouts = this.random.chance(0.5);
    kernel.hasSocketDiag = this.random.chance(0.7);
  }

  #haveNamesBeenTaken(machine: Machine): boolean {
    return this.strikes.some((each) => each.kind === 'names taken by a stranger' && each.machine === machine);
  }

  // Processes and machines.

  start(machine: Machine): SimProcess {
    const settings = this.settings[this.machines.indexOf(machine)];
    if (settings === undefined) throw new Error('no such machine');
    const process = new SimProcess(this, machine, settings);
    this.processes.push(process);
    this.note(`${process.identity} starts`);
    process.start();
    return process;
  }

  processesOn(machine: Machine): SimProcess[] {
    return this.processes.filter((process) => process.isAlive && process.machine === machine);
  }

  /** The machine that a fault names; while nobody holds the Lease, the first one. */
  machineFor(node: number | 'holder'): Machine {
    const holder = this.kube.lease()?.spec.holderIdentity;
    const ofHolder = this.processes.find(({ identity }) => identity === holder)?.machine;
    const machine = node === 'holder' ? (ofHolder ?? this.machines[0]) : this.machines[node % this.machines.length];
    if (machine === undefined) throw new Error('there are no machines');
    return machine;
  }

  killAll(machine: Machine): void {
    for (const process of this.processesOn(machine)) process.kill();
  }

  stopAll(machine: Machine): void {
    for (const process of this.processesOn(machine)) process.shutdown();
  }

  /** Starts an agent unless one runs that is going to stay. */
  startIfNone(machine: Machine): void {
    if (machine.isSuspended || this.processesOn(machine).some(({ isAskedToEnd }) => !isAskedToEnd)) return;
    this.start(machine);
  }

  freeze(machine: Machine, first: 'timer' | 'answer'): () => void {
    const frozen = this.processesOn(machine);
    for (const process of frozen) process.freeze();
    return () => frozen.forEach((process) => process.thaw(first));
  }

  suspend(machine: Machine): () => void {
    machine.suspend();
    return () => {
      machine.resume();
      for (const process of this.processesOn(machine)) process.wake();
    };
  }

  /** The machine goes down at once and comes up again with nothing but what its administrator configured. */
  reboot(machine: Machine): () => void {
    this.killAll(machine);
    machine.kernel.reboot();
    machine.filter.reboot();
    machine.bootHash = this.random.hex(8);
    return () => this.startIfNone(machine);
  }

  /** Ends every fault that is a state of the world. */
  calm(): void {
    for (const { kube, provider } of this.#ways.values()) {
      Object.assign(kube, freeWay());
      Object.assign(provider, freeWay());
    }
    Object.assign(this.conditions.kube, { outage: null, misbehaviours: [], watchLagMs: 0 });
    Object.assign(this.conditions.provider, { misbehaviours: [], lateWritesMs: 0, lie: null });
    Object.assign(this.provider, { moveMs: this.scenario.moveMs, movesFail: false, isLimited: false, credentials: 'good' });
    const lease = this.kube.lease();
    // A Lease that bears our name no more belongs to another program, until a person says otherwise.
    if (lease !== undefined && lease.metadata.labels?.['app.kubernetes.io/name'] === undefined) {
      this.kube.edit(({ metadata }) => (metadata.labels = { ...metadata.labels, ...LABELS }));
    }
    for (const machine of this.machines) {
      machine.kernel.plugIn();
      machine.kernel.setUplink({ isUp: true, hasCarrier: true });
      machine.kernel.failure = null;
      machine.filter.failure = null;
      for (const address of this.scenario.addresses) machine.kernel.removeByHand(address, 'own');
    }
  }

  // What can be said of the whole, for the end.

  /** Why not all is as it should be after the faults, or null when it is. */
  disagreement(): string | null {
    const fit = this.machines.filter(
      (machine) => machine.service === 'well' && this.processesOn(machine).some(({ isAskedToEnd }) => !isAskedToEnd),
    );
    if (fit.length === 0) return null;
    const holders = this.observer.holders();
    const [holder, second] = holders;
    if (holder === undefined) return 'nobody is in office';
    if (second !== undefined) return `${holder.identity} and ${second.identity} are in office`;
    if (!fit.includes(holder.machine)) return `${holder.identity} is in office though its node is not well`;
    if (this.kube.lease()?.spec.holderIdentity !== holder.identity)
      return `the Lease names "${this.kube.lease()?.spec.holderIdentity ?? ''}"`;
    for (const address of this.scenario.addresses) {
      for (const machine of this.machines) {
        const isBound = machine.kernel.bound.some(({ isOurs, text }) => isOurs && text === address);
        if (isBound !== (machine === holder.machine))
          return `${address} is ${isBound ? '' : 'not '}bound on ${machine.name}, while ${holder.identity} is in office`;
      }
      const unknown = this.scenario.kind === 'l2' ? this.#segmentDisagreement(address, holder) : null;
      if (unknown !== null) return `${unknown}, while ${holder.identity} is in office`;
      const owner = this.provider.ownerOf(address);
      if (this.scenario.kind === 'routed' && owner !== holder.machine.server)
        return `the provider routes ${address} to ${owner ?? 'nobody'}, while ${holder.identity} is in office`;
    }
    return null;
  }

  /** Why clients on the segment do not find an address where it should be, or others do not keep off. */
  #segmentDisagreement(text: string, { machine, isFenced }: SimProcess): string | null {
    const address = this.addresses.find((each) => each.text === text);
    if (address === undefined) return null;
    if (answering(machine, address) === null) return `${text} does not answer on ${machine.name}`;
    if (isFenced && !isGuarded(machine, address)) return `nothing guards ${text} on ${machine.name}`;
    const sentTo = this.wire.cache.get(text);
    if (sentTo !== machine.kernel.uplink?.mac.toString('hex')) return `the client sends what is for ${text} to ${sentTo ?? 'nobody'}`;
    const other = this.machines.find((each) => each !== machine && each.filter.hasOpen(address));
    return other === undefined ? null : `the packet filter of ${other.name} is open for ${text}`;
  }

  #olderAgentOn(machine: Machine, than: SimProcess): SimProcess | null {
    if (this.#haveNamesBeenTaken(machine)) return null;
    return this.processesOn(machine).find(({ startedAtMs }) => startedAtMs < than.startedAtMs) ?? null;
  }

  /** While a machine has no interface the provider goes on naming the last one. */
  #macOf(server: number): string {
    const { uplink } = this.machines.find((each) => each.server === server)?.kernel ?? {};
    const mac = uplink?.mac.toString('hex').replace(/..(?!$)/g, '$&:') ?? this.#macs.get(server) ?? '';
    this.#macs.set(server, mac);
    return mac;
  }

  #onOwner(address: string, server: number | null, begunAtMs: number | null): void {
    this.note(`the provider routes ${address} to ${server === null ? 'no server' : `server ${server}`}`);
    const before = this.#owners.get(address) ?? null;
    this.#owners.set(address, server);
    if (before !== null && begunAtMs !== null) this.observer.onMovedAway(before, begunAtMs);
  }

  /** Notes what each machine that asks would be told, and what stands in its way. */
  #lookAround(): void {
    for (const machine of this.machines) {
      const isTroubled = this.#isProviderTroubled(machine);
      if (isTroubled) this.#noteTime('provider trouble', machine);
      if (this.#isKubeTroubled(machine)) this.#noteTime('kube trouble', machine);
      for (const address of this.scenario.addresses) {
        if (isTroubled || this.provider.ownerOf(address) === machine.server) this.#noteTime(`routes ${address}`, machine);
      }
    }
    this.time.after(LOOK_AROUND_MS, () => this.#lookAround());
  }

  #isProviderTroubled(machine: Machine): boolean {
    const { misbehaviours, lie } = this.conditions.provider;
    const { movesFail, credentials, isLimited } = this.provider;
    const isWrong = lie !== null || movesFail || credentials !== 'good' || isLimited;
    return isWrong || misbehaviours.some(({ share }) => share > 0) || isTroubled(this.way(machine, 'provider'));
  }

  #isKubeTroubled(machine: Machine): boolean {
    const { outage, misbehaviours } = this.conditions.kube;
    return outage !== null || misbehaviours.some(({ share }) => share > 0) || isTroubled(this.way(machine, 'kube'));
  }

  #noteTime(what: string, { name }: Machine): void {
    this.#lastTimes.set(`${what} ${name}`, this.time.nowMs);
  }

  #lastTime(what: string, { name }: Machine): number {
    return this.#lastTimes.get(`${what} ${name}`) ?? Number.NEGATIVE_INFINITY;
  }

  #sendBookmarks(): void {
    this.time.after(BOOKMARK_MS, () => {
      this.kube.sendBookmarks();
      this.provider.refill(BOOKMARK_MS);
      this.#sendBookmarks();
    });
  }
}

function freeWay(): Way {
  return { cut: null, slowMs: 0, requestLoss: 0, answerLoss: 0 };
}

function isTroubled({ cut, slowMs, requestLoss, answerLoss }: Way): boolean {
  return cut !== null || slowMs > 0 || requestLoss > 0 || answerLoss > 0;
}

function trueClock(time: VirtualTime): Clock {
  return {
    nowMs: () => time.nowMs,
    wallMs: () => Math.floor(BASE_WALL_MS + time.nowMs),
    setTimer: (delayMs, callback) => ({ cancel: time.after(delayMs, callback) }),
  };
}
