/**
 * What must hold at every step, judged from outside: from what agents sent and were answered, from what the APIs store and
 * from what the kernels have bound, and never from what an agent believes.
 *
 * Guarantees: the first violation is kept, with its name. What rule 7 names as not covered is counted apart, by its reason.
 */
import type { Address } from '../../agent/address.ts';
import type { KubeCall } from '../../agent/kube/transport.ts';
import type { ProviderCall } from '../../agent/provider/http.ts';
import { profileOf } from '../../agent/provider/profiles.ts';
import type { Answer } from '../support/http-stand-in.ts';
import type { StoredLease } from '../support/kube-model.ts';
import { answering } from './answering.ts';
import type { Bound, Excuse, KernelChange } from './kernel.ts';
import type { Machine } from './machine.ts';
import type { Observer } from './network.ts';
import { keyText } from './packet-filter.ts';
import type { Element, FilterChange } from './packet-filter.ts';
import type { WorldKind } from './scenario.ts';
import type { SimProcess } from './sim-process.ts';
import type { VirtualTime } from './virtual-time.ts';
import type { WireObserver } from './wire.ts';

/** Every invariant, in one sentence each. */
export const INVARIANTS = {
  'one-tenure': 'the tenures of two processes never overlap, by true time',
  'l2-one-node': 'an L2 address of ours never answers on two nodes at once',
  'answers-in-time':
    'an L2 address answers only within the tenure and the moment it takes to close it, and of what is frozen or dead until D(1 − ρ) less the margin',
  'opened-in-time': 'a packet filter is opened only within the tenure, and not beyond what is safe',
  'announced-in-tenure': 'nobody says that an address is here after the tenure',
  announced: 'an address that answers is announced, again once its cable is plugged in, and then every half minute',
  'asks-first': 'an address for which a stranger answers is not bound',
  'yields-to-others': 'a claim of somebody else closes the address within one look',
  'leaves-no-trace': 'an agent that has ended in order leaves no packet filter behind',
  'bound-is-explained': 'what is bound is explained by a tenure, a bounded linger or a bounded kernel lifetime',
  'no-stale-provider-write': 'nothing is written to the provider outside the own tenure',
  'release-own-term': 'the Lease is released only by its own holder, after a fresh read, and on L2 once nothing is bound',
  'term-order': 'every acquisition raises the transitions by one, and nobody but an acquirer or a releaser changes the holder',
  'read-before-taking': 'a Lease whose holder lives is not taken, nor tried to be, without asking the API first',
  'keeps-office': 'a holder that nothing hinders neither lets its tenure lapse nor gives it up for a rumour',
  'healthy-before-contending': 'a node that has been unhealthy for longer than its probes need does not take the Lease',
  'foreign-untouched': 'addresses, labels, annotations and Leases of others stay as they are',
  'one-agent-a-node': 'nobody takes the Lease while an older agent lives on the same machine',
  'stays-served': 'where nothing but the Kubernetes API is away, an address that is held over is bound all the time',
  'no-needless-move': 'an outage in which the Kubernetes API refuses everybody, and that all have noticed, does not move the office',
  prompt: 'an undisturbed candidate takes a Lease that is free or has run out within a stated time',
  'claims-with-care': 'a claim that was confirmed while an earlier action still ran does not go unnoticed',
  liveness: 'once faults stop, exactly one healthy node holds within a bounded time, everything agrees and all others are clean',
  'no-storm': 'the requests of one process stay within a bound',
  'no-defect': 'no agent throws, reports a defect or never comes to rest',
} as const;

export type Invariant = keyof typeof INVARIANTS;

export interface Violation {
  readonly invariant: Invariant;
  readonly atMs: number;
  readonly message: string;
}

interface Tenure {
  readonly term: string;
  readonly sentAtBootMs: number;
  readonly untilBootMs: number;
  /** When it began, in true time. */
  readonly grantedAtMs: number;
  /** When it was given up, by the machine's clock. */
  endedBootMs: number | null;
  isReleased: boolean;
  isLapseJudged: boolean;
}

/** What is remembered of one process's requests. */
interface Dealings {
  /** The latest read that was answered. */
  read: { readonly resourceVersion: string; readonly sentAtMs: number; readonly handledAtMs: number } | null;
  writeSentAtMs: number;
  /** When the API first said, after the tenure, that the Lease is not this process's. By its own clock. */
  contradictedAtBootMs: number | null;
  kubeSentAtMs: number[];
  providerSentAtMs: number[];
}

interface Lease {
  readonly metadata: { readonly uid: string; readonly resourceVersion: string };
  readonly spec: { readonly holderIdentity?: string; readonly leaseTransitions?: number };
}

interface Patch {
  readonly metadata: { readonly resourceVersion?: string };
  readonly spec?: { readonly holderIdentity?: string; readonly leaseTransitions?: number };
}

/** What invariants need to know of the world besides what they see for themselves. Instants are true ones. */
export interface Calmness {
  /** When the provider last routed an address to a machine, or that machine could not be told. */
  lastRoutedToMs(machine: Machine, address: string): number;
  /** When a machine was last hindered in asking the provider, or told something wrong. */
  lastProviderTroubleMs(machine: Machine): number;
  /** When a machine was last hindered in asking the Kubernetes API, or anything else was last done to anybody. */
  lastKubeTroubleMs(machine: Machine): number;
  /** An agent that has been on this machine for longer, where no stranger has ever kept agents from knowing each other. */
  olderAgentOn(machine: Machine, than: SimProcess): SimProcess | null;
}

// The rules' numbers, written down again: an invariant does not take the product's word for them.
const CLOCK_RATE_ERROR = 0.02;
const UNBIND_MS = 250;
const LIFETIME_LATENESS_MS = 1_600;
const LIFETIME_MARGIN_MS = 5_000;

const FENCE_MARGIN_MS = 50;
const FENCED_LIFETIME_MARGIN_MS = 3_000;
/** The interface is looked at at least once a second, which a timer and an address that cannot be unbound at once may delay. */
const LOOK_MAX_MS = 1_200;
/** A question and its answer are under way for a few milliseconds, before it is known that they were there. */
const ASKED_MS = 100;
/** An address is announced at once, and again as soon as a look shows that the cable is back. */
const ANNOUNCED_AFTER_MS = 2_000;
/** Every half minute, less what a doubt about the term may delay. */
const ANNOUNCED_EVERY_MS = 45_000;

/** A process that has just stood still looks at the clock before it does anything else, and this is how long it may take. */
const MEND_MS = 300;
const ROUNDING_MS = 20;
/** A linger that is over is taken off at once, after a failed try a little later. */
const LINGER_SLACK_MS = 1_500;
/** Holding over, the owner is read every two seconds, each read may take five, and one odd answer is not believed. */
const HOLDOVER_SLACK_MS = 15_000;
/** A probe that hangs twice, asked twice each time because the process stood still, with pauses. */
const VERDICT_MAX_MS = 7_000;
/** After a disturbance a holder that has just been slow may be a little late once more. */
const UNDISTURBED_MS = 2_000;
/** While an earlier action runs, a claim asks about it once a second. */
const ASKS_AT_LEAST_EVERY_MS = 1_800;
const STORM_WINDOW_MS = 10_000;
const PROVIDER_REQUESTS_MAX = 300;
const OURS = 'leasehold.dev/';
const OUR_NAME_LABEL = 'app.kubernetes.io/name';

/** What an address does on a machine, and since when, in true time. */
interface Standing {
  /** Since when it has answered without a break; null while it does not. */
  sinceMs: number | null;
  /** Why it answers after its time, so that each is counted once. */
  excused: Excuse | null;
  /** When it was last bound. */
  boundAtMs: number;
  /** Who has bound it and not taken it off since. */
  keptBy: object | null;
  announcedAtMs: number;
  /** When somebody else said that the address was theirs, while it answered here. */
  claimedAtMs: number | null;
}

const NEVER: Standing = {
  sinceMs: null,
  excused: null,
  boundAtMs: Number.NEGATIVE_INFINITY,
  keptBy: null,
  announcedAtMs: Number.NEGATIVE_INFINITY,
  claimedAtMs: null,
};

/** What is looked at. */
export interface Judged {
  readonly time: VirtualTime;
  readonly kind: WorldKind;
  readonly addresses: readonly Address[];
  readonly machines: readonly Machine[];
  readonly lease: () => StoredLease | undefined;
  /** Since when a stranger on the segment has answered for an address, in true time; null where none does. */
  readonly strangerAnswersSinceMs: (address: string) => number | null;
}

export class Invariants implements Observer, WireObserver {
  violation: Violation | null = null;
  readonly exceptions = new Map<string, number>();
  readonly #time: VirtualTime;
  readonly #kind: WorldKind;
  readonly #machines: readonly Machine[];
  readonly #addresses: readonly Address[];
  readonly #standings = new Map<Machine, ReadonlyMap<string, Standing>>();
  /** Addresses that answer on several nodes now, each counted once. */
  readonly #overlaps = new Set<string>();
  readonly #lease: () => StoredLease | undefined;
  readonly #calmness: Calmness;
  readonly #strangerAnswersSinceMs: (address: string) => number | null;
  readonly #tenures = new Map<SimProcess, Tenure>();
  readonly #dealings = new Map<SimProcess, Dealings>();
  readonly #sent = new WeakMap<KubeCall, { sentAtMs: number; handledAtMs: number }>();
  /** The holder of each version of the Lease. */
  readonly #holders = new Map<string, string>();
  /** When the Lease changed, the latest last. */
  #changes: number[] = [];
  /** Told of every happening worth a line in the history. */
  note: (text: string, isRoutine?: boolean) => void = () => undefined;

  constructor({ time, kind, addresses, machines, lease, strangerAnswersSinceMs }: Judged, calmness: Calmness) {
    this.#strangerAnswersSinceMs = strangerAnswersSinceMs;
    this.#calmness = calmness;
    this.#time = time;
    this.#kind = kind;
    this.#machines = machines;
    this.#addresses = addresses;
    this.#lease = lease;
    for (const machine of machines) {
      machine.kernel.onChange = (by, change) => this.#onKernelChange(by as SimProcess, machine, change);
      machine.filter.onChange = (by, change) => this.#onFilterChange(by as SimProcess, machine, change);
      const standing = (): Standing => ({ ...NEVER });
      this.#standings.set(machine, new Map(addresses.map(({ text }) => [text, standing()])));
    }
  }

  violate(invariant: Invariant, message: string): void {
    this.violation ??= { invariant, atMs: this.#time.nowMs, message };
  }

  /** When the Lease was last written, by whomever. */
  get leaseChangedAtMs(): number {
    return this.#changes.at(-1) ?? 0;
  }

  hasBeenInOffice(process: SimProcess): boolean {
    return this.#tenures.has(process);
  }

  /** The processes whose tenure lasts now. */
  holders(): SimProcess[] {
    return [...this.#tenures.keys()].filter((process) => this.#isInTenure(process));
  }

  // What processes send and are answered.

  onLeaseSent(process: SimProcess, call: KubeCall): void {
    const dealings = this.#dealingsOf(process);
    const { nowMs } = this.#time;
    this.#sent.set(call, { sentAtMs: nowMs, handledAtMs: Number.POSITIVE_INFINITY });
    this.#countRequest(
      process,
      dealings.kubeSentAtMs,
      (STORM_WINDOW_MS / process.settings.lease.renewIntervalMs) * 4 + 100,
      'Kubernetes API',
    );
    if (call.method === 'GET') return;
    const patch = JSON.parse(call.body ?? '{}') as Patch;
    if (patch.spec?.holderIdentity === '') this.#onReleaseSent(process, patch, dealings);
    else if (patch.spec?.leaseTransitions !== undefined) this.#onAcquireSent(process, patch, dealings);
    dealings.writeSentAtMs = nowMs;
  }

  onLeaseHandled(process: SimProcess, call: KubeCall, before: StoredLease | undefined): void {
    const sent = this.#sent.get(call);
    if (sent !== undefined) sent.handledAtMs = this.#time.nowMs;
    const after = this.#lease();
    if (after === undefined || after === before) return;
    const holder = after.spec.holderIdentity ?? '';
    const transitions = after.spec.leaseTransitions ?? 0;
    const held = before?.spec.holderIdentity ?? '';
    this.note(`${process.identity} writes the Lease: ${leaseText(after)}`, holder === held);
    if (before === undefined) return;
    const raised = transitions - (before.spec.leaseTransitions ?? 0);
    if (holder === '' && held !== process.identity && held !== '')
      this.violate('release-own-term', `${process.identity} releases ${leaseText(before)}`);
    else if (holder === process.identity && held !== holder && raised !== 1)
      this.violate('term-order', `${process.identity} takes ${leaseText(before)} and leaves ${leaseText(after)}`);
    else if (holder === held && raised !== 0 && raised !== 1)
      this.violate('term-order', `${process.identity} turns ${leaseText(before)} into ${leaseText(after)}`);
    else if (holder !== held && holder !== '' && holder !== process.identity)
      this.violate('term-order', `${process.identity} makes ${holder} the holder`);
    this.#checkForeignMetadata(process, before, after);
  }

  onLeaseAnswer(process: SimProcess, call: KubeCall, sentAtBootMs: number, answer: Answer): void {
    // After a write that found nothing the Lease is read first (rule 3); until then the tenure goes on.
    if (answer.status === 404) return call.method === 'GET' ? this.#contradict(process) : undefined;
    if (answer.status !== 200 && answer.status !== 201) return;
    const lease = JSON.parse(String(answer.body)) as Lease | { readonly items: readonly Lease[] };
    // What the watch lists ends no tenure (rule 4).
    if ('items' in lease) return;
    if (call.method === 'GET') {
      const sent = this.#sent.get(call);
      if (sent !== undefined) this.#dealingsOf(process).read = { resourceVersion: lease.metadata.resourceVersion, ...sent };
      if (lease.spec.holderIdentity !== process.identity) this.#contradict(process);
      else if (termText(lease) !== this.#tenures.get(process)?.term) this.#endTenure(process);
      return;
    }
    const wanted = (JSON.parse(call.body ?? '{}') as Patch).spec;
    if (wanted?.holderIdentity !== process.identity || lease.spec.holderIdentity !== process.identity) return;
    this.#grant(process, lease, sentAtBootMs, wanted.leaseTransitions !== undefined);
  }

  onProviderSent(process: SimProcess, call: ProviderCall, isWrite: boolean, leapMs: number): void {
    const { providerSentAtMs } = this.#dealingsOf(process);
    this.#countRequest(process, providerSentAtMs, PROVIDER_REQUESTS_MAX, 'provider');
    if (!isWrite) return;
    this.note(`${process.identity} sends ${call.method} ${call.url} ${JSON.stringify(call.json ?? call.form)}`);
    const tenure = this.#tenures.get(process);
    if (tenure === undefined || !this.#isInTenure(process)) {
      return this.violate('no-stale-provider-write', `${process.identity} sends ${call.url} ${this.#describe(process, tenure)}`);
    }
    if (process.machine.bootMs() + leapMs * process.machine.rate >= tenure.untilBootMs)
      this.#except('freeze before a call', 'provider write');
  }

  /** Told by whoever changes the Lease, person or process. */
  onLeaseStored({ metadata, spec }: StoredLease): void {
    this.#holders.set(metadata.resourceVersion, spec.holderIdentity ?? '');
    this.#changes.push(this.#time.nowMs);
    if (this.#changes.length > 50) this.#changes = this.#changes.slice(-20);
  }

  /** Told when an action that began then has taken an address away from a server. */
  onMovedAway(server: number, begunAtMs: number): void {
    for (const process of this.holders()) {
      const { machine } = process;
      const grantedAtMs = this.#tenures.get(process)?.grantedAtMs ?? 0;
      // Who tells neither what is under way nor is asked often leaves nothing to be noticed sooner.
      if (profileOf(process.settings.provider.name).ownerReadPace !== undefined) continue;
      if (machine.server !== server || begunAtMs >= grantedAtMs || process.isPaused) continue;
      const { nowMs } = this.#time;
      const askedAtMs = this.#dealingsOf(process).providerSentAtMs.at(-1) ?? 0;
      const wasHindered =
        Math.max(this.#calmness.lastProviderTroubleMs(machine), process.lastThawMs, machine.lastResumeMs) > grantedAtMs - UNDISTURBED_MS;
      if (wasHindered || askedAtMs < grantedAtMs || nowMs - askedAtMs < ASKS_AT_LEAST_EVERY_MS) continue;
      this.violate(
        'claims-with-care',
        `${process.identity} has not asked the provider for ${Math.round(nowMs - askedAtMs)}ms while an action ran that began before its term`,
      );
    }
  }

  // What must hold at every step.

  check(): void {
    for (const [process, tenure] of this.#tenures) this.#checkLapse(process, tenure);
    for (const machine of this.#machines) {
      if (machine.isSuspended) continue;
      for (const bound of machine.kernel.bound) if (bound.isOurs) this.#checkBound(machine, bound);
    }
    if (this.#kind === 'l2') for (const address of this.#addresses) this.#checkAnswers(address);
  }

  // What clients on a segment see.

  #checkAnswers(address: Address): void {
    const machines: { readonly machine: Machine; readonly excuse: Excuse | null }[] = [];
    for (const machine of this.#machines) {
      const standing = this.#standings.get(machine)?.get(address.text);
      if (standing === undefined || machine.isSuspended) continue;
      const answer = answering(machine, address);
      // An administrator's own copy is no business of ours.
      if (answer?.bound.isOurs !== true) {
        Object.assign(standing, { sinceMs: null, claimedAtMs: null, excused: null });
        continue;
      }
      standing.sinceMs ??= this.#time.nowMs;
      machines.push({ machine, excuse: answer.excuse });
      const process = answer.by as SimProcess;
      this.#checkInTime(process, address.text, standing, answer.excuse);
      this.#checkAnnounced(process, address.text, standing);
      this.#checkYields(process, address.text, standing);
    }
    this.#checkOneNode(address.text, machines);
  }

  #checkOneNode(address: string, answers: readonly { readonly machine: Machine; readonly excuse: Excuse | null }[]): void {
    if (answers.length < 2) return void this.#overlaps.delete(address);
    const names = answers.map(({ machine }) => machine.name).join(' and ');
    const excuse = answers.find((each) => each.excuse !== null)?.excuse ?? null;
    if (excuse === null) return this.violate('l2-one-node', `${address} answers on ${names}`);
    if (!this.#overlaps.has(address)) this.#except(excuse, 'L2 address on two nodes');
    this.#overlaps.add(address);
  }

  #checkInTime(process: SimProcess, address: string, standing: Standing, excuse: Excuse | null): void {
    const { machine } = process;
    const tenure = this.#tenures.get(process);
    const nowBootMs = machine.bootMs();
    const marginMs = process.isFenced ? FENCE_MARGIN_MS : 0;
    const latestBootMs =
      (tenure?.sentAtBootMs ?? Number.NEGATIVE_INFINITY) + process.settings.lease.durationMs * (1 - CLOCK_RATE_ERROR) - marginMs;
    const isPastTheEnd = nowBootMs > latestBootMs + 1;
    if (excuse !== null) {
      if (isPastTheEnd && standing.excused !== excuse) this.#except(excuse, 'answers after the tenure');
      if (isPastTheEnd) standing.excused = excuse;
      return;
    }
    if (isPastTheEnd) {
      const text = `${address} answers on ${machine.name} by ${process.identity} ${Math.round(nowBootMs - latestBootMs)}ms longer than is safe`;
      return this.violate('answers-in-time', text);
    }
    if (!process.isAlive || process.isPaused || this.#isJustAwake(process)) return;
    // Without a packet filter only taking it off ends it.
    if (!process.isFenced && this.#time.nowMs - machine.kernel.lastFailureMs < LINGER_SLACK_MS) return;
    if (machine.filter.lastFailureMs > this.#time.nowMs - LINGER_SLACK_MS) return;
    if (nowBootMs - endOf(tenure) > UNBIND_MS + ROUNDING_MS)
      this.violate('answers-in-time', `${address} answers on ${machine.name} ${this.#describe(process, tenure)}`);
  }

  #checkAnnounced(process: SimProcess, address: string, { boundAtMs, announcedAtMs }: Standing): void {
    const { machine } = process;
    if (!this.#isInTenure(process) || process.isPaused || !machine.kernel.isConnected) return;
    const { nowMs } = this.#time;
    const grantedAtMs = this.#tenures.get(process)?.grantedAtMs ?? nowMs;
    const dueSinceMs = Math.max(boundAtMs, machine.kernel.connectedAtMs, grantedAtMs);
    const lastWakeMs = Math.max(process.lastThawMs, machine.lastResumeMs);
    const undisturbedMs = nowMs - Math.max(dueSinceMs, this.#calmness.lastKubeTroubleMs(machine), lastWakeMs);
    const lookMs = Math.max(process.settings.lease.renewIntervalMs, LOOK_MAX_MS);
    if (announcedAtMs < dueSinceMs && undisturbedMs > lookMs + ANNOUNCED_AFTER_MS)
      this.violate(
        'announced',
        `${process.identity} has not announced ${address}, which has been there for ${Math.round(nowMs - dueSinceMs)}ms`,
      );
    if (nowMs - Math.max(announcedAtMs, dueSinceMs, lastWakeMs) > ANNOUNCED_EVERY_MS)
      this.violate('announced', `${process.identity} has not announced ${address} for ${Math.round(nowMs - announcedAtMs)}ms`);
  }

  #checkYields(process: SimProcess, address: string, standing: Standing): void {
    const { claimedAtMs } = standing;
    if (claimedAtMs === null) return;
    const { machine } = process;
    if (!process.isAlive || process.isPaused || this.#isJustAwake(process)) {
      standing.claimedAtMs = null;
      return;
    }
    const { nowMs } = this.#time;
    if ((nowMs - claimedAtMs) * machine.rate <= LOOK_MAX_MS || machine.kernel.lastFailureMs > claimedAtMs - LINGER_SLACK_MS) return;
    this.violate(
      'yields-to-others',
      `${address} still answers on ${machine.name} ${Math.round(nowMs - claimedAtMs)}ms after somebody else claimed it`,
    );
  }

  /** What somebody has removed is put back without a question, and so is what was taken off because no packet filter could be had. */
  #checkAsked(process: SimProcess, address: string): void {
    const sinceMs = this.#strangerAnswersSinceMs(address);
    const { nowMs } = this.#time;
    const isPutBack = nowMs - process.machine.filter.lastFailureMs < LINGER_SLACK_MS + process.settings.lease.renewIntervalMs;
    if (sinceMs === null || isPutBack || !process.machine.kernel.isConnected) return;
    const connectedForMs = nowMs - process.machine.kernel.connectedAtMs;
    if (Math.min(nowMs - sinceMs, connectedForMs) > ASKED_MS && !this.#isJustAwake(process))
      this.violate(
        'asks-first',
        `${process.identity} binds ${address}, for which a stranger has answered for ${Math.round(nowMs - sinceMs)}ms`,
      );
  }

  /** Whether a process has just gone on, so that it may not have looked at the clock yet. */
  #isJustAwake(process: SimProcess): boolean {
    const { machine } = process;
    const { nowMs } = this.#time;
    // After a suspend nothing happens before the next timer, which has stood still, too.
    return (
      nowMs - machine.lastResumeMs < MEND_MS + process.settings.lease.renewIntervalMs / machine.rate || nowMs - process.lastThawMs < MEND_MS
    );
  }

  onClaimHeard(machine: Machine, address: string): void {
    const standing = this.#standings.get(machine)?.get(address);
    if (standing?.sinceMs != null) standing.claimedAtMs ??= this.#time.nowMs;
  }

  onClaimSent(process: SimProcess, address: string, leapMs: number): void {
    const { machine } = process;
    this.note(`${process.identity} announces ${address}`, true);
    const tenure = this.#tenures.get(process);
    const standing = this.#standings.get(machine)?.get(address);
    if (!this.#isInTenure(process)) {
      return this.violate('announced-in-tenure', `${process.identity} announces ${address} ${this.#describe(process, tenure)}`);
    }
    if (standing !== undefined) standing.announcedAtMs = this.#time.nowMs;
    if (tenure !== undefined && machine.bootMs() + leapMs * machine.rate >= tenure.untilBootMs)
      this.#except('freeze before a call', 'announced after the tenure');
  }

  #onFilterChange(process: SimProcess, machine: Machine, { opened }: FilterChange): void {
    for (const element of opened) this.#checkOpened(process, machine, element);
  }

  #checkOpened(process: SimProcess, machine: Machine, element: Element): void {
    const text = keyText(element);
    this.note(`${process.identity}: the packet filter is open for ${text} for ${element.timeoutMs}ms`, true);
    const tenure = this.#tenures.get(process);
    const nowBootMs = machine.bootMs();
    const safeMs =
      (tenure?.sentAtBootMs ?? Number.NEGATIVE_INFINITY) +
      process.settings.lease.durationMs * (1 - CLOCK_RATE_ERROR) -
      FENCE_MARGIN_MS -
      nowBootMs;
    const isInTime = nowBootMs <= endOf(tenure) && element.timeoutMs <= safeMs + 0.001;
    if (isInTime) return;
    if (element.isOfFrozen) return this.#except('freeze before a call', 'opened after the tenure');
    this.violate(
      'opened-in-time',
      `${process.identity} opens ${text} for ${element.timeoutMs}ms, where ${Math.round(safeMs)}ms are safe, ${this.#describe(process, tenure)}`,
    );
  }

  /** `hasCompany`: another agent lives on the machine, or strangers have kept this one from knowing whether any does. */
  onEnded(process: SimProcess, hasCompany: boolean): void {
    const { machine } = process;
    const { kernel, filter } = machine;
    const startedAtBootMs = machine.bootMs() - (this.#time.nowMs - process.startedAtMs) * machine.rate;
    // Who is asked to end before it knows that it is alone leaves what it may not touch.
    const hasLookedRound = (process.askedToEndAtBootMs ?? 0) - startedAtBootMs > LOOK_MAX_MS;
    const hasFailed = filter.lastFailureMs > process.startedAtMs;
    if (process.isPaused || hasCompany || !hasLookedRound || hasFailed || kernel.bound.some(({ isOurs }) => isOurs)) return;
    const [table] = filter.tables;
    if (table !== undefined) this.violate('leaves-no-trace', `${process.identity} has ended and left the packet filter ${table} behind`);
  }

  // What agents do to addresses.

  #checkLapse(process: SimProcess, tenure: Tenure): void {
    if (tenure.isLapseJudged || process.machine.bootMs() < tenure.untilBootMs) return;
    tenure.isLapseJudged = true;
    const lease = this.#lease();
    const isStillNamed = lease?.spec.holderIdentity === process.identity && termText(lease) === tenure.term;
    if (
      !process.isAlive ||
      process.isPaused ||
      tenure.endedBootMs !== null ||
      process.askedToEndAtBootMs !== null ||
      !isStillNamed ||
      isAskedToStepDown(lease)
    )
      return;
    const undisturbedMs = this.#time.nowMs - Math.max(this.#calmness.lastKubeTroubleMs(process.machine), process.lastThawMs);
    if (undisturbedMs < process.settings.lease.renewDeadlineMs + UNDISTURBED_MS) return;
    this.violate(
      'keeps-office',
      `${process.identity} lets its tenure (${tenure.term}) lapse, though nothing has hindered it for ${Math.round(undisturbedMs)}ms`,
    );
  }

  #checkBound(machine: Machine, bound: Bound): void {
    const process = bound.setBy as SimProcess;
    // The kernel's lifetime, which was judged when it was set, is all there is.
    if (!process.isAlive || process.isPaused || this.#isInTenure(process)) return;
    if (this.#isJustAwake(process) || this.#time.nowMs - machine.kernel.lastFailureMs < LINGER_SLACK_MS) return;
    if (this.#isExplained(process, bound)) return;
    this.violate('bound-is-explained', `${bound.text} is bound on ${machine.name} ${this.#describe(process, this.#tenures.get(process))}`);
  }

  /** Whether a process that runs may (still) have an address bound. */
  #isExplained(process: SimProcess, { text }: Bound): boolean {
    const tenure = this.#tenures.get(process);
    if (tenure === undefined) return false;
    const { machine, settings } = process;
    const nowBootMs = machine.bootMs();
    if (this.#kind === 'l2') return nowBootMs - endOf(tenure) <= UNBIND_MS + ROUNDING_MS;
    const lingersSinceMs = Math.max(endOf(tenure), this.#dealingsOf(process).contradictedAtBootMs ?? 0, process.askedToEndAtBootMs ?? 0);
    if (nowBootMs - lingersSinceMs <= settings.providerTimeoutMs + LINGER_SLACK_MS) return true;
    // What the API has spoken against, and what was asked to end, only lingers.
    const isContradicted = this.#dealingsOf(process).contradictedAtBootMs !== null || process.isAskedToEnd;
    if (settings.onApiLoss !== 'hold' || isContradicted || this.#unwellForMs(process) > VERDICT_MAX_MS) return false;
    const { ownerReadPace = 1 } = profileOf(settings.provider.name);
    return this.#time.nowMs - this.#calmness.lastRoutedToMs(machine, text) <= HOLDOVER_SLACK_MS * ownerReadPace;
  }

  #onKernelChange(process: SimProcess, machine: Machine, { is, bound }: KernelChange): void {
    this.note(`${process.identity}: ${bound.text} is ${is} for ${bound.validS}s`, is === 'refreshed');
    if (!bound.isOurs) return this.violate('foreign-untouched', `${process.identity}: ${bound.text}, which is not ours, is ${is}`);
    const standing = this.#standings.get(machine)?.get(bound.text);
    if (is === 'bound' && bound.excuse === null && this.#kind === 'l2' && standing?.keptBy !== process)
      this.#checkAsked(process, bound.text);
    // A renewal that left a frozen process late may find that the address has just run out. Nobody else can have had it since.
    const isLateRenewal = bound.excuse !== null && standing?.keptBy === process;
    if (is === 'bound' && standing !== undefined && !isLateRenewal) standing.boundAtMs = this.#time.nowMs;
    if (standing !== undefined) standing.keptBy = is === 'removed' ? null : process;
    if (is === 'removed') return;
    const tenure = this.#tenures.get(process);
    const nowBootMs = machine.bootMs();
    const { lease, providerTimeoutMs } = process.settings;
    if (bound.excuse === null) {
      const isInTime = tenure !== undefined && nowBootMs <= endOf(tenure) + ROUNDING_MS;
      if (tenure === undefined || (!isInTime && (this.#kind === 'l2' || !this.#isExplained(process, bound)))) {
        return this.violate('bound-is-explained', `${bound.text} is ${is} on ${machine.name} ${this.#describe(process, tenure)}`);
      }
      const longestMs =
        this.#kind === 'l2'
          ? tenure.sentAtBootMs + longestLifetimeMs(process) - nowBootMs
          : lease.durationMs + providerTimeoutMs + LIFETIME_MARGIN_MS;
      if (bound.validS * 1_000 > longestMs + 1) {
        return this.violate(
          'bound-is-explained',
          `${bound.text} is ${is} on ${machine.name} for ${bound.validS}s, longer than the ${Math.round(longestMs)}ms that are safe`,
        );
      }
    }
    if (bound.excuse !== null && nowBootMs > endOf(tenure)) this.#except(bound.excuse, 'bound after the tenure');
  }

  #onReleaseSent(process: SimProcess, patch: Patch, { read, writeSentAtMs }: Dealings): void {
    this.#endTenure(process);
    const tenure = this.#tenures.get(process);
    if (tenure !== undefined) tenure.isReleased = true;
    const isFresh = read !== null && read.resourceVersion === patch.metadata.resourceVersion && read.sentAtMs >= writeSentAtMs;
    if (!isFresh) this.violate('release-own-term', `${process.identity} releases what no fresh read has shown`);
    const left = process.machine.kernel.bound.find(({ isOurs, setBy }) => isOurs && setBy === process);
    if (this.#kind === 'l2' && left !== undefined)
      this.violate('release-own-term', `${process.identity} releases while ${left.text} is still bound`);
  }

  #onAcquireSent(process: SimProcess, { metadata }: Patch, { read }: Dealings): void {
    const { nowMs } = this.#time;
    const { machine, settings } = process;
    const lease = this.#lease();
    const unwellForMs = this.#unwellForMs(process);
    if (unwellForMs > VERDICT_MAX_MS) {
      this.violate(
        'healthy-before-contending',
        `${process.identity} takes the Lease though its service has been ${machine.service} for ${Math.round(unwellForMs)}ms`,
      );
    }
    const older = this.#calmness.olderAgentOn(machine, process);
    if (older !== null)
      this.violate('one-agent-a-node', `${process.identity} takes the Lease while ${older.identity} lives on the same machine`);
    if (lease === undefined) return;
    const tenure = this.#tenures.get(process);
    if (tenure !== undefined && this.#isInTenure(process) && tenure.term === termText(lease) && !isAskedToStepDown(lease)) {
      this.violate(
        'keeps-office',
        `${process.identity} takes the Lease although it is in office with ${Math.round(tenure.untilBootMs - machine.bootMs())}ms to go`,
      );
    }
    const basedOn = this.#holders.get(metadata.resourceVersion ?? '') ?? '';
    // An earlier process of this place that is gone need not be asked for.
    const isOfSamePlace = placeOf(basedOn) === placeOf(process.identity);
    if (basedOn === '' || basedOn === process.identity || isOfSamePlace) return;
    const readAtMs = read?.handledAtMs ?? 0;
    const unasked = this.#changes.filter((atMs) => atMs > readAtMs);
    const hasWaitedMs = nowMs - (unasked[0] ?? nowMs);
    // What was read is trusted for a tenure.
    const trustedForMs = Math.max(settings.lease.durationMs / 2, settings.lease.renewDeadlineMs);
    if (unasked.length >= 3 && hasWaitedMs > trustedForMs) {
      this.violate(
        'read-before-taking',
        `${process.identity} tries to take the Lease, which was renewed ${unasked.length} times since it last asked`,
      );
    }
  }

  /** The API has told the process that the Lease is not its own. */
  #contradict(process: SimProcess): void {
    this.#endTenure(process);
    this.#dealingsOf(process).contradictedAtBootMs ??= process.machine.bootMs();
  }

  /** The process has given up its tenure, or been told by the API that it is over. */
  #endTenure(process: SimProcess): void {
    const tenure = this.#tenures.get(process);
    if (tenure !== undefined) tenure.endedBootMs ??= process.machine.bootMs();
  }

  /** For how long the process could have known that its node is not well. */
  #unwellForMs({ machine, startedAtMs, lastThawMs }: SimProcess): number {
    const { nowMs } = this.#time;
    return nowMs - Math.max(machine.unwellSinceMs ?? nowMs, startedAtMs, lastThawMs);
  }

  #grant(process: SimProcess, lease: Lease, sentAtBootMs: number, isAcquired: boolean): void {
    const nowBootMs = process.machine.bootMs();
    const untilBootMs = sentAtBootMs + process.settings.lease.renewDeadlineMs;
    const term = termText(lease);
    const before = this.#tenures.get(process);
    // Too late to begin or to revive a tenure, or given up already (rule 3).
    const isRevived = !isAcquired && before?.term === term && (before.endedBootMs !== null || nowBootMs >= before.untilBootMs);
    if (nowBootMs >= untilBootMs || isRevived) return;
    this.#tenures.set(process, {
      term,
      sentAtBootMs,
      untilBootMs,
      grantedAtMs: before !== undefined && this.#goesOn(process, before, term) ? before.grantedAtMs : this.#time.nowMs,
      endedBootMs: null,
      isReleased: false,
      isLapseJudged: false,
    });
    this.#dealingsOf(process).contradictedAtBootMs = null;
    if (before?.term !== term) this.note(`${process.identity} is in office: ${term}`);
    for (const other of this.holders()) {
      if (other === process) continue;
      this.violate(
        'one-tenure',
        `${process.identity} is in office (${term}) while ${other.identity} is, ${this.#describe(other, this.#tenures.get(other))}`,
      );
    }
  }

  /** A term that follows the own one, which nothing but silence has ended, goes on with what was confirmed in that. */
  #goesOn(process: SimProcess, before: Tenure, term: string): boolean {
    if (before.term === term) return true;
    const isHeldOver = this.#kind === 'routed' && process.settings.onApiLoss === 'hold';
    return isHeldOver && !before.isReleased && this.#dealingsOf(process).contradictedAtBootMs === null;
  }

  #isInTenure(process: SimProcess): boolean {
    const tenure = this.#tenures.get(process);
    return process.isAlive && tenure?.endedBootMs === null && process.machine.bootMs() < tenure.untilBootMs;
  }

  #checkForeignMetadata(process: SimProcess, before: StoredLease, after: StoredLease): void {
    for (const part of ['labels', 'annotations'] as const) {
      for (const [name, value] of Object.entries(before.metadata[part] ?? {})) {
        const isOurs = name.startsWith(OURS) || name === OUR_NAME_LABEL;
        if (!isOurs && after.metadata[part]?.[name] !== value)
          this.violate('foreign-untouched', `${process.identity} changes ${part} ${name} of the Lease`);
      }
    }
    const bearsOurName =
      before.metadata.labels?.[OUR_NAME_LABEL] === 'leasehold' ||
      Object.keys(before.metadata.annotations ?? {}).some((name) => name.startsWith(OURS));
    const wasHeld =
      (before.spec.holderIdentity ?? '') !== '' || (before.spec.leaseTransitions ?? 0) > 0 || before.spec.renewTime !== undefined;
    // The term of an earlier process of this place is taken over whatever a person has removed from the Lease.
    const isOfThisPlace = placeOf(before.spec.holderIdentity ?? '') === placeOf(process.identity);
    if (!bearsOurName && wasHeld && !isOfThisPlace) {
      this.violate('foreign-untouched', `${process.identity} writes a Lease that another program has held: ${leaseText(before)}`);
    }
  }

  #countRequest(process: SimProcess, sentAtMs: number[], max: number, whom: string): void {
    const { nowMs } = this.#time;
    sentAtMs.push(nowMs);
    while ((sentAtMs[0] ?? nowMs) < nowMs - STORM_WINDOW_MS) sentAtMs.shift();
    if (sentAtMs.length > max)
      this.violate('no-storm', `${process.identity} has sent the ${whom} ${sentAtMs.length} requests within ${STORM_WINDOW_MS / 1_000}s`);
  }

  #except(excuse: Excuse, what: string): void {
    const name = `${what}: ${excuse}`;
    this.exceptions.set(name, (this.exceptions.get(name) ?? 0) + 1);
  }

  #describe(process: SimProcess, tenure: Tenure | undefined): string {
    if (tenure === undefined) return 'without ever having been in office';
    const agoMs = Math.round(process.machine.bootMs() - endOf(tenure));
    return agoMs >= 0 ? `${agoMs}ms after its tenure (${tenure.term})` : `with ${-agoMs}ms of its tenure (${tenure.term}) to go`;
  }

  #dealingsOf(process: SimProcess): Dealings {
    const known = this.#dealings.get(process);
    if (known !== undefined) return known;
    const dealings: Dealings = { read: null, writeSentAtMs: 0, contradictedAtBootMs: null, kubeSentAtMs: [], providerSentAtMs: [] };
    this.#dealings.set(process, dealings);
    return dealings;
  }
}

/** How long the kernel may keep an L2 address from when the last good renewal was sent: where nothing else closes it, less its lateness. */
function longestLifetimeMs({ settings, isFenced }: SimProcess): number {
  const { durationMs } = settings.lease;
  return isFenced ? durationMs + FENCED_LIFETIME_MARGIN_MS : durationMs * (1 - CLOCK_RATE_ERROR) - LIFETIME_LATENESS_MS;
}

function endOf(tenure: Tenure | undefined): number {
  if (tenure === undefined) return Number.NEGATIVE_INFINITY;
  return Math.min(tenure.untilBootMs, tenure.endedBootMs ?? Number.POSITIVE_INFINITY);
}

function isAskedToStepDown({ metadata }: StoredLease): boolean {
  return metadata.annotations?.[`${OURS}ask`] !== undefined || metadata.annotations?.[`${OURS}relief`] !== undefined;
}

function placeOf(identity: string): string {
  return identity.split('_').slice(0, 2).join('_');
}

function termText({ metadata, spec }: Lease): string {
  return `${metadata.uid} ${spec.leaseTransitions ?? 0}`;
}

function leaseText(lease: StoredLease): string {
  const { holderIdentity, leaseTransitions } = lease.spec;
  return `holder "${holderIdentity ?? ''}", transitions ${leaseTransitions ?? 0}, version ${lease.metadata.resourceVersion}`;
}
