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
import type { Settings } from '../../agent/config/settings.ts';
import { constants } from 'node:os';
import { kindOf } from '../../agent/config/settings.ts';
import { Connections } from '../../agent/link/connections.ts';
import { SystemError } from '../../agent/link/libc.ts';
import { KernelLink } from '../../agent/link/kernel-link.ts';
import { L2Link } from '../../agent/link/l2-link.ts';
import { Segment } from '../../agent/link/segment.ts';
import { NetlinkSocket } from '../../agent/link/netlink-socket.ts';
import type { Log } from '../../agent/report/log.ts';
import { establishResidence, residenceNames } from '../../agent/residence.ts';
import type { Machine } from './machine.ts';
import type { Random } from './random.ts';
import type { VirtualTime } from './virtual-time.ts';

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
  network(process: SimProcess): Network;
  onDefect(process: SimProcess, error: Error): void;
  onLog(process: SimProcess, line: string): void;
  readonly logLevel: string;
}

type Kind = 'timer' | 'answer';

/** What a process does to the outside. */
export type Effect = 'request' | 'provider write' | 'address';

export class SimProcess {
  readonly identity: string;
  readonly machine: Machine;
  readonly settings: Settings;
  readonly startedAtMs: number;
  readonly #world: ProcessWorld;
  readonly #waiting: { readonly kind: Kind; readonly work: () => void }[] = [];
  #agent: Agent | null = null;
  #frozen = 0;
  #first: Kind = 'answer';
  #armedLeap: { readonly before: Effect; readonly ms: number } | null = null;
  #afterWrite: (() => void) | null = null;
  /** Until when the effects of the present turn are put off. */
  #leapUntilMs = 0;
  #atOnce = { atMs: -1, turns: 0, looks: 0 };
  isAlive = true;
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
    const socket = new NetlinkSocket(machine.kernel.socket(this, (change, excused) => this.#defer(change, excused)));
    const { addresses, interfaceChoice: choice } = this.settings;
    const kernel = new KernelLink(socket, { addresses, choice, kernelRelease: KERNEL_RELEASE, onNotice: () => undefined });
    const link = kindOf(this.settings.provider.name) === 'routed' ? kernel : this.#onSegment(kernel);
    this.#agent = startAgent(this.settings, {
      clock: this.clock,
      random: () => this.#world.random.next(),
      network: this.#world.network(this),
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
      onDefect: (error) => this.#world.onDefect(this, error),
    });
    this.#agent.stopped.then(
      () => this.kill(),
      (error: unknown) => this.#world.onDefect(this, error instanceof Error ? error : new Error(String(error))),
    );
  }

  #onSegment(kernel: KernelLink): L2Link {
    const { addresses } = this.settings;
    const silent = { send: () => undefined, receive: () => null, close: () => undefined };
    const receive = (): never => {
      throw new SystemError('recv', constants.errno.EAGAIN);
    };
    const nobody = new NetlinkSocket({ send: () => undefined, receive, close: () => undefined }, 'socket-diag');
    return new L2Link({
      kernel,
      fence: null,
      segment: new Segment(silent),
      connections: new Connections(nobody),
      addresses,
      readSysctl: () => null,
      onNotice: () => undefined,
    });
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
    this.isAlive = false;
    this.machine.forgetNamesOf(this);
  }

  shutdown(): void {
    this.deliver('answer', () => {
      this.askedToEndAtBootMs ??= this.machine.bootMs();
      this.#agent?.shutdown('asked to end by SIGTERM');
    });
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
      if (this.isAlive) change();
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
