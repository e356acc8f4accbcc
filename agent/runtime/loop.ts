/**
 * Runs one contender: turns events into its inputs and its commands into calls.
 *
 * Guarantees: one mailbox, one input at a time; every answer to a command comes back as an input; tenure is checked once
 * more, synchronously, right before each call that writes (rule 6). It decides nothing itself.
 */
import { asError, withDeadline } from '../clock.ts';
import type { Clock, Timer } from '../clock.ts';
import type { Command, LeaseCommand } from '../contender/command.ts';
import { step } from '../contender/contender.ts';
import type { BindOutcome, Input, LeaseTrouble } from '../contender/input.ts';
import { mayWriteToProvider, newContender } from '../contender/state.ts';
import type { Contender } from '../contender/state.ts';
import type { ContenderSettings } from '../contender/settings.ts';
import type { LeaseStore, LeaseWatch, LeaseWrite, Link, Provider, Reporter } from '../ports.ts';

/** An input before the loop has put the time to it. */
export type Event = Input extends infer Each ? (Each extends Input ? Omit<Each, 'atMs'> : never) : never;

export interface LoopPorts {
  readonly clock: Clock;
  readonly lease: LeaseStore;
  readonly watch: LeaseWatch;
  readonly link: Link;
  readonly provider: Pick<Provider, 'owner' | 'claim'>;
  readonly report: Reporter;
  /** Called with what should never have been thrown: a defect. The process ends there. */
  readonly onDefect: (error: Error) => void;
  /** Called once everything in the mailbox has been worked off, for those who watch. Must return at once. */
  readonly onStepped?: () => void;
}

/** One owner read must not take longer: its answer is worth nothing later. */
const OWNER_READ_TIMEOUT_MS = 5_000;

export class ContenderLoop {
  readonly #ports: LoopPorts;
  readonly #mailbox: Input[] = [];
  readonly #requests = new Map<number, AbortController>();
  readonly #claims = new Map<number, AbortController>();
  #contender: Contender;
  #isDraining = false;
  #timer: Timer | null = null;
  #lastStepMs: number;
  #onStopped: () => void = () => undefined;
  /** Resolves when the contender has nothing left to do. */
  readonly stopped: Promise<void>;

  constructor(settings: ContenderSettings, ports: LoopPorts) {
    this.#ports = ports;
    this.#lastStepMs = ports.clock.nowMs();
    this.#contender = newContender(settings, this.#lastStepMs);
    this.stopped = new Promise((resolve) => {
      this.#onStopped = resolve;
    });
  }

  get contender(): Contender {
    return this.#contender;
  }

  /** When the loop last took in an input, for the liveness probe. */
  get lastStepMs(): number {
    return this.#lastStepMs;
  }

  start(): void {
    this.post({ type: 'tick' });
  }

  /** Puts an event into the mailbox and works it off, unless that is going on already. */
  post(event: Event): void {
    this.#mailbox.push({ ...event, atMs: this.#ports.clock.nowMs() });
    if (this.#isDraining) return;
    this.#isDraining = true;
    try {
      for (let input = this.#mailbox.shift(); input !== undefined; input = this.#mailbox.shift()) this.#take(input);
    } catch (error) {
      this.#ports.onDefect(asError(error));
    } finally {
      this.#isDraining = false;
    }
    this.#sleepUntilDue();
    this.#ports.onStepped?.();
  }

  #take(input: Input): void {
    // An input may have waited behind calls that took time: what counts is the instant it is acted upon.
    this.#lastStepMs = this.#ports.clock.nowMs();
    const { contender, commands } = step(this.#contender, { ...input, atMs: this.#lastStepMs });
    this.#contender = contender;
    for (const command of commands) this.#execute(command);
  }

  #sleepUntilDue(): void {
    this.#timer?.cancel();
    this.#timer = null;
    const delayMs = this.#contender.wakeAtMs - this.#ports.clock.nowMs();
    if (delayMs === Number.POSITIVE_INFINITY) return;
    // A timer counts whole milliseconds, and one that fires early would only be set again.
    this.#timer = this.#ports.clock.setTimer(Math.max(0, Math.ceil(delayMs)), () => this.post({ type: 'tick' }));
  }

  #execute(command: Command): void {
    const { link, watch, report } = this.#ports;
    switch (command.type) {
      case 'read':
      case 'create':
      case 'acquire':
      case 'renew':
      case 'ask':
      case 'release':
        return this.#run(this.#request(command));
      case 'abort-request':
        return this.#requests.get(command.request)?.abort(new Error('called off'));
      case 'restart-watch':
        return watch.restart();
      case 'look':
        return this.post({ type: 'looked', view: link.look() });
      case 'probe':
        if (this.#ports.clock.nowMs() < command.notAfterMs) link.segment?.probe(command.address);
        return;
      case 'bind':
        return this.post({ type: 'bind-done', address: command.address, outcome: this.#bind(command) });
      case 'unbind': {
        const tellsClients = command.tellUntilMs !== null && this.#ports.clock.nowMs() < command.tellUntilMs;
        return this.post({ type: 'unbind-done', address: command.address, outcome: link.unbind(command.address, tellsClients) });
      }
      case 'announce': {
        const mayStill = (): boolean => this.#ports.clock.nowMs() < command.notAfterMs;
        const outcome = link.segment?.announce(command.address, mayStill) ?? { is: 'announced' };
        return this.post({ type: 'announce-done', address: command.address, outcome });
      }
      case 'sweep':
        return link.segment?.sweep();
      case 'claim':
        return this.#run(this.#claim(command));
      case 'cancel-claim':
        return this.#claims.get(command.attempt)?.abort(new Error('the office is over'));
      case 'verify-owner':
        return this.#run(this.#verify(command));
      case 'report':
        return report(command.report, this.#contender);
      case 'stop':
        this.#onStopped();
        return;
    }
  }

  #bind({ address, untilMs, openUntilMs, notAfterMs }: Command & { type: 'bind' }): BindOutcome {
    const nowMs = this.#ports.clock.nowMs();
    if (nowMs >= notAfterMs) return { is: 'too-late' };
    return this.#ports.link.bind(address, untilMs - nowMs, openUntilMs);
  }

  /** Work that goes on beside the loop. It handles every failure of the world itself, so what it throws is a defect. */
  #run(work: Promise<void>): void {
    work.catch((error: unknown) => this.#ports.onDefect(asError(error)));
  }

  async #request(command: LeaseCommand): Promise<void> {
    const { lease, clock } = this.#ports;
    const { request } = command;
    const controller = new AbortController();
    this.#requests.set(request, controller);
    try {
      if (command.type === 'read') {
        const outcome = await lease.read(command.timeoutMs, controller.signal);
        this.post({ type: 'lease-read', request, outcome });
        return;
      }
      const outcome = clock.nowMs() < command.notAfterMs ? await lease.write(command, controller.signal) : tooLate(command);
      this.post({ type: 'lease-written', request, outcome });
    } finally {
      this.#requests.delete(request);
    }
  }

  async #claim({ address, attempt, isFirst, timeoutMs }: Command & { type: 'claim' }): Promise<void> {
    const { clock, provider } = this.#ports;
    const controller = new AbortController();
    this.#claims.set(attempt, controller);
    const mayWrite = (): boolean => mayWriteToProvider(this.#contender, address, attempt, clock.nowMs());
    const outcome = await withDeadline(clock, timeoutMs, controller.signal, (signal) =>
      provider.claim(address, { signal, isFirst, mayWrite }),
    );
    this.#claims.delete(attempt);
    this.post({ type: 'claim-done', address, attempt, outcome });
  }

  async #verify({ address, attempt }: Command & { type: 'verify-owner' }): Promise<void> {
    const { clock, provider } = this.#ports;
    const owner = await withDeadline(clock, OWNER_READ_TIMEOUT_MS, null, (signal) => provider.owner(address, signal));
    this.post({ type: 'owner-read', address, attempt, owner });
  }
}

function tooLate(command: LeaseWrite): LeaseTrouble {
  return { is: 'unreachable', message: `not sent: the time to ${command.type} was over`, retryAfterMs: null };
}
