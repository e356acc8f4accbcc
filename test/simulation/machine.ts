/**
 * One node: its clocks, which run at a rate of their own, its kernel, and whether it is suspended.
 *
 * Guarantees: `bootMs` is CLOCK_BOOTTIME, which counts suspended time; timers run on CLOCK_MONOTONIC, which does not. Two
 * machines' rates differ by less than the 2 % that the rules allow.
 */
import type { ProcessNames } from '../../agent/link/abstract-socket.ts';
import { Kernel } from './kernel.ts';
import { PacketFilter } from './packet-filter.ts';
import type { Random } from './random.ts';
import type { CallOff, VirtualTime } from './virtual-time.ts';

/** Farthest from true time that a clock runs, so that the fastest and the slowest differ by just less than 2 %. */
const RATE_ERROR_MAX = 0.0098;

const STRANGER = {};

interface MachineTimer {
  readonly dueMonotonicMs: number;
  readonly work: () => void;
  callOff: CallOff;
}

export class Machine {
  readonly name: string;
  /** The provider's number of this server. */
  readonly server: number;
  readonly rate: number;
  readonly kernel: Kernel;
  readonly filter: PacketFilter;
  readonly #time: VirtualTime;
  readonly #offsetMs: number;
  readonly #names = new Map<string, object>();
  readonly #timers = new Set<MachineTimer>();
  #suspendedSinceMs: number | null = null;
  #suspendedBootMs = 0;
  /** How often it has been suspended. */
  suspensions = 0;
  /** When it was last resumed, in true time. */
  lastResumeMs = Number.NEGATIVE_INFINITY;
  /** How far its wall clock is off. */
  wallErrorMs = 0;
  /** The hash in identities: this boot of this machine. */
  bootHash: string;
  /** What its local service answers to probes. */
  service: 'well' | 'refusing' | 'hanging' = 'well';
  /** Since when the service has not been well without a break, in true time. */
  unwellSinceMs: number | null = null;

  constructor(time: VirtualTime, random: Random, name: string, server: number) {
    this.#time = time;
    this.name = name;
    this.server = server;
    this.rate = 1 + random.pick([-RATE_ERROR_MAX, RATE_ERROR_MAX, 0, random.between(-RATE_ERROR_MAX, RATE_ERROR_MAX)]);
    this.#offsetMs = random.between(1_000, 100_000_000);
    this.bootHash = random.hex(8);
    this.kernel = new Kernel(this, random);
    this.filter = new PacketFilter(this, random);
  }

  /** The true instant. */
  get nowMs(): number {
    return this.#time.nowMs;
  }

  get isSuspended(): boolean {
    return this.#suspendedSinceMs !== null;
  }

  bootMs(): number {
    return this.#offsetMs + this.#time.nowMs * this.rate;
  }

  monotonicMs(): number {
    const nowMs = this.#suspendedSinceMs ?? this.#time.nowMs;
    return this.#offsetMs + nowMs * this.rate - this.#suspendedBootMs;
  }

  /** Plans something for when CLOCK_MONOTONIC has gone on for so long. */
  timer(delayMs: number, work: () => void): CallOff {
    const timer: MachineTimer = { dueMonotonicMs: this.monotonicMs() + delayMs, work, callOff: () => undefined };
    this.#timers.add(timer);
    if (!this.isSuspended) this.#plan(timer);
    return () => {
      this.#timers.delete(timer);
      timer.callOff();
    };
  }

  suspend(): void {
    if (this.isSuspended) return;
    this.#suspendedSinceMs = this.#time.nowMs;
    this.suspensions += 1;
    for (const timer of this.#timers) timer.callOff();
    this.kernel.excuse('suspend');
  }

  resume(): void {
    if (this.#suspendedSinceMs === null) return;
    this.#suspendedBootMs += (this.#time.nowMs - this.#suspendedSinceMs) * this.rate;
    this.#suspendedSinceMs = null;
    this.lastResumeMs = this.#time.nowMs;
    for (const timer of this.#timers) this.#plan(timer);
  }

  /** Abstract sockets as names, for one process. */
  namesFor(process: object): ProcessNames {
    return {
      take: (name) => {
        if (this.#names.has(name)) return Promise.resolve(false);
        this.#names.set(name, process);
        return Promise.resolve(true);
      },
      release: (name) => {
        if (this.#names.get(name) === process) this.#names.delete(name);
      },
      holderOf: (name) => {
        const holder = this.#names.get(name);
        return holder === undefined ? null : { pid: 1, uid: holder === STRANGER ? 1_000 : 0 };
      },
    };
  }

  forgetNamesOf(process: object): void {
    for (const [name, holder] of this.#names) if (holder === process) this.#names.delete(name);
  }

  /** A process of an ordinary user takes names that it has no use for. */
  squatOn(names: readonly string[]): () => void {
    for (const name of names) if (!this.#names.has(name)) this.#names.set(name, STRANGER);
    return () => this.forgetNamesOf(STRANGER);
  }

  setService(service: Machine['service']): void {
    this.service = service;
    if (service === 'well') this.unwellSinceMs = null;
    else this.unwellSinceMs ??= this.#time.nowMs;
  }

  #plan(timer: MachineTimer): void {
    const delayMs = Math.max(0, timer.dueMonotonicMs - this.monotonicMs());
    timer.callOff = this.#time.after(delayMs / this.rate, () => {
      this.#timers.delete(timer);
      timer.work();
    });
  }
}
