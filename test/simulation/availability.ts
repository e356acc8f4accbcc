/**
 * What people run Leasehold for, judged from outside: that an address goes on being served, that it does not move without
 * need, and that it moves promptly where it has to.
 *
 * Guarantees: says something only where nothing but certain faults has struck for a while, because more at once may rightly
 * take longer. It judges until the end of the faults; how everything settles afterwards is `liveness`.
 */
import type { StoredLease } from '../support/kube-model.ts';
import type { FaultKind } from './faults.ts';
import type { Invariants } from './invariants.ts';
import type { Machine } from './machine.ts';
import type { Scenario } from './scenario.ts';
import type { SimProcess } from './sim-process.ts';
import type { VirtualTime } from './virtual-time.ts';

/** A fault that has struck. Instants are true ones. */
export interface Strike {
  readonly kind: FaultKind;
  readonly how: string;
  readonly machine: Machine;
  readonly atMs: number;
  /** When it was healed; null while it lasts. */
  overAtMs: number | null;
}

/** What is looked at. */
export interface Scene {
  readonly time: VirtualTime;
  readonly scenario: Scenario;
  readonly observer: Invariants;
  readonly processes: readonly SimProcess[];
  readonly strikes: readonly Strike[];
  lease(): StoredLease | undefined;
  /** The server that the provider routes an address to. */
  routedTo(address: string): number | null;
}

/** The Kubernetes API is away, for everybody. */
const OUTAGE: readonly FaultKind[] = ['api outage'];
/** Nothing but the Kubernetes API and the way there. */
export const OF_THE_API: readonly FaultKind[] = ['api outage', 'api cut off', 'api slow', 'api errors', 'api loses'];
/** What strikes one node and nothing else. */
export const OF_ONE_NODE: readonly FaultKind[] = ['crash', 'stop', 'reboot', 'freeze', 'cut off', 'api cut off', 'unhealthy'];

/** By then a watch that has fallen silent and a provider that was not ready have been noticed and asked again. */
const AFTERMATH_MS = 100_000;
/** By then a node has got over what struck only itself. */
const RECOVERED_MS = 10_000;
/** A holder has claimed and confirmed by then, where nothing hinders it. */
const ESTABLISHED_MS = 10_000;
const CLOCK_RATE_ERROR = 0.02;
/** Beyond the lease duration: reading it once more and taking it, with each message slow. */
const TAKING_OVER_MS = 1_000;
/** One request, and the pause before it. */
const ASKING_MS = 600;
const AFTER_RELEASE_MS = 800;

export class Availability {
  readonly #scene: Scene;
  /** The process that was in office last, and when it is known to have served at the latest. */
  #holder: SimProcess | null = null;
  #inOfficeSinceMs = 0;
  #isEstablished = false;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  check(): void {
    const { time, scenario, observer } = this.#scene;
    if (time.nowMs >= scenario.faultsMs) return;
    const [holder] = observer.holders();
    if (holder === undefined) this.#checkPromptness();
    else if (holder !== this.#holder) this.#onMoved(holder);
    this.#checkService();
  }

  #onMoved(holder: SimProcess): void {
    const before = this.#holder;
    const { scenario, observer } = this.#scene;
    const isHeldOver =
      scenario.kind === 'routed' && scenario.onApiLoss === 'hold' && scenario.timings.every((each) => each === scenario.timings[0]);
    if (isHeldOver && before !== null && this.#isEstablished && isUp(before) && this.#hasBeenNoticed()) {
      observer.violate('no-needless-move', `${holder.identity} takes over from ${before.identity} because the API was away`);
    }
    this.#holder = holder;
    this.#inOfficeSinceMs = this.#scene.time.nowMs;
    this.#isEstablished = false;
  }

  /** Whether nothing but outages has struck, in each of which requests fail at once, for so long that every candidate has asked in vain. */
  #hasBeenNoticed(): boolean {
    const { time, scenario, strikes } = this.#scene;
    const [{ durationMs, renewDeadlineMs } = { durationMs: 0, renewDeadlineMs: 0 }] = scenario.timings;
    const noticedAfterMs = durationMs * (1 + CLOCK_RATE_ERROR) + renewDeadlineMs + ASKING_MS;
    return (
      this.#hasOnlyStruck(OUTAGE) &&
      strikes.every(({ how, atMs, overAtMs }) => how === 'refused' && (overAtMs ?? time.nowMs) - atMs > noticedAfterMs)
    );
  }

  #checkService(): void {
    const { time, scenario, observer } = this.#scene;
    const holder = this.#holder;
    if (holder === null || scenario.kind !== 'routed' || scenario.onApiLoss !== 'hold') return;
    const missing = scenario.addresses.find((address) => !holder.machine.kernel.bound.some(({ text }) => text === address));
    if (missing === undefined && this.#isEstablished) return;
    const isNamed = this.#scene.lease()?.spec.holderIdentity === holder.identity;
    const isRouted = scenario.addresses.every((address) => this.#scene.routedTo(address) === holder.machine.server);
    if (!isUp(holder) || !isNamed || !isRouted || !this.#hasOnlyStruck(OF_THE_API)) {
      this.#isEstablished = false;
      return;
    }
    if (missing === undefined)
      this.#isEstablished = time.nowMs - this.#inOfficeSinceMs >= ESTABLISHED_MS && observer.holders()[0] === holder;
    else if (this.#isEstablished)
      observer.violate('stays-served', `${missing} is not bound on ${holder.machine.name}, though nothing but the API has been away`);
  }

  #checkPromptness(): void {
    const { time, scenario, observer } = this.#scene;
    const lease = this.#scene.lease();
    if (lease?.metadata.labels?.['app.kubernetes.io/name'] === undefined) return;
    const isReleased = lease.spec.holderIdentity === '' && lease.metadata.annotations?.['leasehold.dev/released'] !== undefined;
    const longestMs = Math.max(...scenario.timings.map(({ durationMs }) => durationMs)) * (1 + CLOCK_RATE_ERROR) + TAKING_OVER_MS;
    const boundMs = isReleased ? AFTER_RELEASE_MS : longestMs;
    const vacantForMs = time.nowMs - observer.leaseChangedAtMs;
    if (vacantForMs <= boundMs || !this.#hasOnlyStruck(OF_ONE_NODE)) return;
    const candidate = this.#scene.processes.find((process) => this.#isFit(process, vacantForMs));
    if (candidate !== undefined) {
      const state = isReleased ? 'has been free' : 'has not been renewed';
      observer.violate('prompt', `the Lease ${state} for ${Math.round(vacantForMs)}ms, and ${candidate.identity} has not taken it`);
    }
  }

  /** A candidate that nothing has struck and that has never been in office, so that it has no reason to let others go first. */
  #isFit(process: SimProcess, forMs: number): boolean {
    const { time, observer, strikes } = this.#scene;
    if (!isUp(process) || observer.hasBeenInOffice(process)) return false;
    const wellSinceMs = time.nowMs - forMs - RECOVERED_MS;
    if (process.startedAtMs > wellSinceMs || process.lastThawMs > wellSinceMs) return false;
    // Who has been asked to end may linger for as long as the provider's move takes, and keeps its successor waiting.
    const hasBeenAlone = this.#scene.processes.every(
      ({ machine, startedAtMs, endedAtMs }) =>
        machine !== process.machine || startedAtMs >= process.startedAtMs || (endedAtMs !== null && endedAtMs < wellSinceMs),
    );
    if (!hasBeenAlone) return false;
    return strikes.every(({ machine, overAtMs }) => machine !== process.machine || (overAtMs !== null && overAtMs < wellSinceMs));
  }

  /** Whether nothing but faults of these kinds has struck lately. */
  #hasOnlyStruck(kinds: readonly FaultKind[]): boolean {
    const sinceMs = this.#scene.time.nowMs - AFTERMATH_MS;
    return this.#scene.strikes.every(({ kind, overAtMs }) => kinds.includes(kind) || (overAtMs !== null && overAtMs < sinceMs));
  }
}

function isUp({ isAlive, isPaused, isAskedToEnd, machine }: SimProcess): boolean {
  return isAlive && !isPaused && !isAskedToEnd && machine.service === 'well';
}
