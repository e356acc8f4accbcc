/**
 * Interfaces and addresses in memory, with lifetimes that end by the clock it is given.
 *
 * Stands in for KernelLink where no network namespace can be had; the same contract tests run against both.
 */
import type { Clock } from '../../agent/clock.ts';
import type { AddressView, BindOutcome, LinkView, UnbindOutcome } from '../../agent/contender/input.ts';
import type { Link } from '../../agent/ports.ts';

interface Bound {
  readonly untilMs: number;
}

/** What one node has bound. It outlives the agent, as the kernel does. */
export class MemoryNode {
  readonly #clock: Clock;
  readonly #bound = new Map<string, Bound>();
  readonly #foreign = new Set<string>();
  problem: string | null = null;
  isPresent = true;
  /** Told of every bind and unbind. */
  onChange: () => void = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  has(address: string): boolean {
    return this.#foreign.has(address) || this.remainingMs(address) > 0;
  }

  remainingMs(address: string): number {
    return Math.max(0, (this.#bound.get(address)?.untilMs ?? 0) - this.#clock.nowMs());
  }

  set(address: string, lifetimeMs: number): void {
    this.#bound.set(address, { untilMs: this.#clock.nowMs() + lifetimeMs });
    this.onChange();
  }

  /** Removes an address as a person would. */
  remove(address: string): void {
    this.#bound.delete(address);
    this.onChange();
  }

  /** Configures an address as an administrator would. */
  addForeign(address: string): void {
    this.#foreign.add(address);
  }

  isForeign(address: string): boolean {
    return this.#foreign.has(address);
  }
}

export class MemoryLink implements Link {
  readonly segment = null;
  readonly #node: MemoryNode;
  readonly #addresses: readonly string[];
  /** What binds fail with, or null. */
  failure: string | null = null;

  constructor(node: MemoryNode, addresses: readonly string[]) {
    this.#node = node;
    this.#addresses = addresses;
  }

  look(): LinkView {
    const addresses = Object.fromEntries(this.#addresses.map((address) => [address, this.#view(address)]));
    const interfaces = Object.fromEntries(this.#addresses.map((address) => [address, 'memory0']));
    return { problem: this.#node.problem, isPresent: this.#node.isPresent, interfaces, reasons: {}, addresses, plugged: {}, rivals: {} };
  }

  tellInterface(): void {
    // There is but one.
  }

  bind(address: string, lifetimeMs: number): BindOutcome {
    if (this.failure !== null) return { is: 'failed', message: this.failure };
    if (!this.#node.isPresent) return { is: 'failed', message: this.#node.problem ?? 'there is no interface' };
    const wholeSecondsMs = Math.floor(lifetimeMs / 1_000) * 1_000;
    if (wholeSecondsMs < 1_000) {
      this.#node.remove(address);
      return { is: 'too-late' };
    }
    if (this.#node.isForeign(address)) return { is: 'foreign', interfaceName: 'memory0' };
    this.#node.set(address, wholeSecondsMs);
    return { is: 'bound' };
  }

  unbind(address: string): UnbindOutcome {
    if (this.failure !== null) return { is: 'failed', message: this.failure };
    this.#node.remove(address);
    return { is: 'unbound' };
  }

  close(): void {
    // What is bound outlives the link, as in a kernel.
  }

  #view(address: string): AddressView {
    if (this.#node.isForeign(address)) return { is: 'foreign', interfaceName: 'memory0' };
    const remainingMs = this.#node.remainingMs(address);
    return remainingMs > 0 ? { is: 'ours', remainingMs } : { is: 'absent' };
  }
}
