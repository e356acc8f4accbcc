/**
 * One agent process on a machine: the unchanged agent, started as `process.ts` starts it, in virtual time.
 *
 * Guarantees: a process that is frozen or whose machine is suspended runs nothing; what came due meanwhile runs after the
 * thaw, timers or answers first as told. A process that was killed runs nothing ever again, while what it has sent goes on.
 */
import pino from 'pino';
import { startAgent } from '../../agent/assemble.ts';
import type { Agent, Network } from '../../agent/assemble.ts';
import type { Clock, Timer } from '../../agent/clock.ts';
import { checkUnfenced } from '../../agent/config/settings.ts';
import type { Settings } from '../../agent/config/settings.ts';
import { openLink } from '../../agent/link/open-link.ts';
import type { Sockets } from '../../agent/link/open-link.ts';
import type { Frames } from '../../agent/link/segment.ts';
import type { Link } from '../../agent/ports.ts';
import { kindOf } from '../../agent/provider/profiles.ts';
import type { Log } from '../../agent/report/log.ts';
import { establishResidence, residenceNames } from '../../agent/residence.ts';
import { NO_HOST } from '../support/host.ts';
import type { Machine } from './machine.ts';
import type { Defer } from './netlink-answers.ts';
import type { Random } from './random.ts';
import type { VirtualTime } from './virtual-time.ts';
import type { Wire } from './wire.ts';

const TIMER_LATENESS_MAX_MS = 1.5;
const KERNEL_RELEASE = '6.1.0';
/** More turns, and more looks at the clock, than any agent needs within one instant. */
const TURNS_AT_ONCE_MAX = 2_000;
const LOOKS_AT_ONCE_MAX = 50_000;

/** What a process comes from and reports to. */
export interface ProcessWorld {
  readonly time: VirtualTime;
  readonly random: Random;
  readonly baseWallMs: number;
  readonly wire: Wire;
  network(process: SimProcess): Network;
  onDefect(process: SimProcess, error: Error): void;
  onLog(process: SimProcess, line: string): void;
  onNotice(process: SimProcess, level: 'info' | 'warn', message: string): void;
  /** A process says to the segment that an address is here. */
  onClaimSent(process: SimProcess, address: string, leapMs: number): void;
  /** A process has ended by itself. */
  onEnded(process: SimProcess): void;
  readonly logLevel: string;
}

type Kind = 'timer' | 'answer';

/** What a process does to the outside. */
export type Effect = 'request' | 'provider write' | 'address' | 'frame';

export class SimProcess {
  readonly identity: string;
  readonly machine: Machine;
  readonly settings: Settings;
  readonly startedAtMs: number;
  readonly #world: ProcessWorld;
  readonly #waiting: { readonly kind: Kind; readonly work: () => void }[] = [];
  #agent: Agent | null = null;
  #frames: Frames | null = null;
  /** Whether a packet filter guards its addresses. */
  isFenced = false;
  #frozen = 0;
  #first: Kind = 'answer';
  #armedLeap: { readonly before: Effect; readonly ms: number } | null = null;
  #afterWrite: (() => void) | null = null;
  /** Until when the effects of the present turn are put off. */
  #leapUntilMs = 0;
  #atOnce = { atMs: -1, turns: 0, looks: 0 };
  isAlive = true;
  /** In true time; null while it lives. */
  endedAtMs: number | null = null;
  #hasEnded = false;
  /** By its own clock; null while it has not been asked. */
  askedToEndAtBootMs: number | null = null;
  /** When it last stood still, in true time. */
  lastThawMs = Number.NEGATIVE_INFINITY;

  constructor(world: ProcessWorld, machine: Machine, settings: Settings) {
    this.#world = world;
    this.machine = machine;
    this.settings = settings;
    this.startedAtMs = world.time.nowMs;
    this.identity = `${machine.name}_${machine.bootHash}_${world.random.hex(8)}`;
  }

  start(): void {
    const { machine } = this;
    const link = this.#openLink();
    this.isFenced = link.segment?.isFenced ?? false;
    this.#agent = startAgent(this.settings, {
      clock: this.clock,
      random: () => this.#world.random.next(),
      network: this.#world.network(this),
      host: NO_HOST,
      identity: this.identity,
      version: 'simulated',
      link,
      establishResidence: (signal, onReport) =>
        establishResidence(
          residenceNames(this.settings.lease),
          { names: machine.namesFor(this), clock: this.clock, uid: 0 },
          signal,
          onReport,
        ),
      log: this.#log(),
      usage: () => ({ cpuSeconds: 0, residentBytes: 0, heapUsedBytes: 0, openFileDescriptors: 0, startedAtSeconds: 0 }),
      conceal: (text) => text,
      onDefect: (error) => this.#world.onDefect(this, error),
    });
    this.#agent.stopped.then(
      () => {
        this.#hasEnded = true;
        this.#world.onEnded(this);
        this.kill();
      },
      (error: unknown) => this.#world.onDefect(this, error instanceof Error ? error : new Error(String(error))),
    );
  }

  /** As process.ts opens it. */
  #openLink(): Link {
    const { settings, machine } = this;
    const { addresses, interfaceChoice: choice, provider, lease } = settings;
    const defer: Defer = (change, excused) => this.#defer(change, excused);
    const sockets: Sockets = {
      datagrams: (protocol) => {
        if (protocol === 'netfilter') return machine.filter.socket(this, defer);
        return protocol === 'route' ? machine.kernel.socket(this, defer) : machine.kernel.diagnosisSocket();
      },
      readSysctl: () => null,
      frames: (about) => (this.#frames = this.#world.wire.socket(machine, (send, claims) => this.#sendFrame(send, claims), about)),
    };
    const { clock } = this;
    const onNotice = (level: 'info' | 'warn', message: string): void => this.#world.onNotice(this, level, message);
    const options = { kind: kindOf(provider.name), addresses, choice, lease, kernelRelease: KERNEL_RELEASE, clock, onNotice };
    const link = openLink(options, sockets);
    if (link.segment?.isFenced === false) checkUnfenced(settings);
    return link;
  }

  #sendFrame(send: () => void, claims: string | null): void {
    const leapMs = this.leapMs('frame');
    if (claims !== null) this.#world.onClaimSent(this, claims, leapMs);
    if (leapMs === 0) return send();
    this.#world.time.after(leapMs, () => (this.isAlive ? send() : undefined));
  }

  readonly clock: Clock = {
    nowMs: () => {
      this.#countLook();
      return this.machine.bootMs();
    },
    wallMs: () => Math.floor(this.#world.baseWallMs + this.#world.time.nowMs + this.machine.wallErrorMs),
    setTimer: (delayMs, callback): Timer => {
      let isOver = false;
      const fire = (): void => {
        if (!isOver) callback();
        isOver = true;
      };
      const lateMs = this.#world.random.between(0, TIMER_LATENESS_MAX_MS);
      const callOff = this.machine.timer(Math.max(1, Math.ceil(delayMs)) + lateMs, () => this.deliver('timer', fire));
      return {
        cancel: () => {
          isOver = true;
          callOff();
        },
      };
    },
  };

  get isAskedToEnd(): boolean {
    return this.askedToEndAtBootMs !== null;
  }

  get isPaused(): boolean {
    return this.#frozen > 0 || this.machine.isSuspended;
  }

  /** Hands the process something that it has been waiting for. */
  deliver(kind: Kind, work: () => void): void {
    if (!this.isAlive) return;
    if (this.isPaused) {
      this.#waiting.push({ kind, work });
      return;
    }
    this.#countTurn();
    work();
  }

  /** It is gone, and the kernel lets go of the names that it had. */
  kill(): void {
    if (this.isAlive) this.endedAtMs = this.#world.time.nowMs;
    this.isAlive = false;
    this.#frames?.close();
    this.machine.forgetNamesOf(this);
  }

  shutdown(): void {
    this.deliver('answer', () => {
      this.askedToEndAtBootMs ??= this.machine.bootMs();
      this.#agent?.shutdown('asked to end by SIGTERM');
    });
  }

  /** An operator wants it to give up office: when another one asks within `waitMs`, or at once. */
  stepDown(waitMs: number | null): void {
    this.deliver('answer', () => this.#agent?.requestStepDown('an operator has asked for a step down', waitMs));
  }

  freeze(): void {
    this.#frozen += 1;
  }

  /** Goes on; what has come due meanwhile runs in the order of kinds given. */
  thaw(first: Kind): void {
    this.#frozen -= 1;
    this.#first = first;
    this.wake();
  }

  /** Runs what has been waiting, unless it still has to. */
  wake(): void {
    if (this.isPaused || !this.isAlive) return;
    this.lastThawMs = this.#world.time.nowMs;
    const waiting = this.#waiting.splice(0);
    const sorted = [...waiting.filter(({ kind }) => kind === this.#first), ...waiting.filter(({ kind }) => kind !== this.#first)];
    for (const { kind, work } of sorted) this.#world.time.after(0, () => this.deliver(kind, work));
  }

  /** Before the next effect of a kind it freezes, after its last look at the clock. */
  armLeap(before: Effect, ms: number): void {
    this.#armedLeap = { before, ms };
  }

  /** Does something once, right after this process has sent its next write to the Lease. */
  onceItHasWritten(work: () => void): void {
    this.#afterWrite = work;
  }

  /** To be called when a write to the Lease has been sent. */
  hasWritten(): void {
    const work = this.#afterWrite;
    this.#afterWrite = null;
    work?.();
  }

  /** How much later what is being done now leaves this process. */
  leapMs(effect: Effect): number {
    const { time } = this.#world;
    if (this.#armedLeap?.before === effect) {
      this.#leapUntilMs = time.nowMs + this.#armedLeap.ms;
      this.#armedLeap = null;
      this.freeze();
      time.at(this.#leapUntilMs, () => this.thaw('answer'));
    }
    return Math.max(0, this.#leapUntilMs - time.nowMs);
  }

  #defer(change: () => void, excused: () => void): boolean {
    const leapMs = this.leapMs('address');
    if (leapMs === 0) return false;
    excused();
    this.#world.time.after(leapMs, () => {
      // Who was frozen right at its end does the last of it all the same.
      if (this.isAlive || this.#hasEnded) change();
    });
    return true;
  }

  #countTurn(): void {
    this.#countAtOnce().turns += 1;
    if (this.#atOnce.turns > TURNS_AT_ONCE_MAX) this.#world.onDefect(this, new Error('it does not come to rest'));
  }

  /** A loop without an end would never let another event happen, so it is broken from within. */
  #countLook(): void {
    this.#countAtOnce().looks += 1;
    if (this.#atOnce.looks > LOOKS_AT_ONCE_MAX) throw new Error('it does not come to rest within one turn');
  }

  #countAtOnce(): { turns: number; looks: number } {
    const { nowMs } = this.#world.time;
    if (this.#atOnce.atMs !== nowMs) this.#atOnce = { atMs: nowMs, turns: 0, looks: 0 };
    return this.#atOnce;
  }

  #log(): Log {
    const options = { level: this.#world.logLevel, base: null, timestamp: false as const };
    const logger = pino(options, { write: (line: string) => this.#world.onLog(this, line.trim()) });
    return { logger, dropped: () => 0, lastWords: (say) => say() };
  }
}
