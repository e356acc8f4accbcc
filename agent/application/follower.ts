/**
 * Follows an application: tells whether it is ready on this node, and has this agent's pod evicted when it has moved away.
 *
 * Guarantees: what was seen last stays valid while the Kubernetes API is away, so its silence neither makes a node unhealthy
 * nor evicts anything. An eviction is decided by evictor.ts alone; each request of it has a deadline.
 */
import { asError, rejectOnAbort } from '../clock.ts';
import type { Clock, Timer } from '../clock.ts';
import { ApplicationWatch, applicationText } from '../kube/application-watch.ts';
import type { ApplicationName, ApplicationSight } from '../kube/application-watch.ts';
import { evict, listAgents } from '../kube/evictions.ts';
import type { OwnPod } from '../kube/evictions.ts';
import { WatchTrouble } from '../kube/object-watch.ts';
import type { KubeHttp } from '../kube/transport.ts';
import type { Ask } from '../probe/probe.ts';
import { evictorStep, newEvictor } from './evictor.ts';
import type { EvictorInput, EvictorState } from './evictor.ts';
import { presenceOn } from './presence.ts';
import type { Presence } from './presence.ts';
import { prospectOf } from './prospect.ts';
import type { Prospect } from './prospect.ts';

export interface FollowerOptions {
  readonly name: ApplicationName;
  readonly node: string;
  /** How this agent may have itself evicted; null where it may not. */
  readonly eviction: { readonly own: OwnPod; readonly delayMs: number } | null;
}

export interface FollowerWorld {
  readonly http: KubeHttp;
  readonly clock: Clock;
  /** A number from 0 up to 1. */
  readonly random: () => number;
  /** The node of the agent that holds the Lease; null where nobody is known to. */
  readonly holder: () => string | null;
  /** Called when the answer of `ask` has changed. */
  readonly onNews: () => void;
  readonly tell: (level: 'debug' | 'info' | 'warn' | 'error', event: string, message: string) => void;
}

/** What people see of it. */
export interface ApplicationStatus {
  readonly name: string;
  /** Whether it is ready on this node; null while that is not known. */
  readonly isHere: boolean | null;
  readonly elsewhere: readonly string[];
  readonly reason: string;
  /** Why it is not watched at present, for each of its watches. What was seen last stays valid. */
  readonly problems: readonly string[];
  /** What is to become of this pod: the last that was said of its eviction. Null where it may not be evicted. */
  readonly eviction: string | null;
}

export class ApplicationFollower {
  readonly #options: FollowerOptions;
  readonly #world: FollowerWorld;
  readonly #watch: ApplicationWatch;
  readonly #problems = new Map<string, string>();
  /** Resolves when there is something to go by: where the application is, or why that cannot be known. */
  readonly #informed: Promise<void>;
  #inform: () => void = () => undefined;
  #presence: Presence | null = null;
  #unknownBecause = 'where it is has not been read yet';
  #evictor: EvictorState | null;
  #timer: Timer | null = null;
  #signal: AbortSignal | null = null;

  constructor(options: FollowerOptions, world: FollowerWorld) {
    this.#options = options;
    this.#informed = new Promise((resolve) => (this.#inform = resolve));
    this.#world = world;
    this.#evictor = options.eviction === null ? null : newEvictor(options.eviction.delayMs);
    this.#watch = new ApplicationWatch(world.http, options.name, world.clock, world.random, {
      onSight: (sight) => this.#onSight(sight),
      onDropped: (what) => this.#problems.delete(what),
      onState: (what, { stands, problem, isRefused }) => {
        if (stands) this.#problems.delete(what);
        else this.#problems.set(what, problem);
        const event = stands ? 'application-watch-stands' : 'application-watch-broken';
        world.tell(isRefused ? 'warn' : 'debug', event, stands ? `watching ${what}` : `the watch of ${what} broke: ${problem}`);
        if (stands || this.#presence !== null) return;
        this.#inform();
        world.onNews();
      },
    });
  }

  /** Good while a pod of the application is ready on this node. Answers from memory, once there is anything in it. */
  readonly ask: Ask = async (signal) => {
    if (this.#presence === null) await Promise.race([this.#informed, rejectOnAbort(signal)]);
    const { isHere, reason } = this.status;
    if (isHere !== true) throw new Error(reason);
  };

  get status(): ApplicationStatus {
    const problems = [...this.#problems.values()];
    return {
      name: applicationText(this.#options.name),
      isHere: this.#presence?.isReady ?? null,
      elsewhere: this.#presence?.elsewhere ?? [],
      reason: this.#presence?.reason ?? [this.#unknownBecause, ...problems].join(': '),
      problems,
      eviction: this.#evictor?.told ?? null,
    };
  }

  /** Follows until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    const onAbort = (): void => this.#timer?.cancel();
    signal.addEventListener('abort', onAbort, { once: true });
    await this.#watch.run(signal);
  }

  #onSight(sight: ApplicationSight): void {
    const before = this.#presence;
    this.#presence = sight.is === 'seen' ? presenceOn(this.#options.node, sight.pods) : null;
    if (sight.is === 'unknown') this.#unknownBecause = sight.reason;
    const isNews = before?.isReady !== this.#presence?.isReady || before?.reason !== this.#presence?.reason;
    this.#inform();
    if (isNews) this.#world.onNews();
    this.#step({ type: 'presence', presence: this.#presence, atMs: this.#world.clock.nowMs() });
  }

  #step(input: EvictorInput): void {
    const [signal, own] = [this.#signal, this.#options.eviction?.own];
    if (this.#evictor === null || own === undefined || signal === null || signal.aborted) return;
    const { state, commands, dueAtMs } = evictorStep(this.#evictor, input);
    this.#evictor = state;
    this.#timer?.cancel();
    const { clock } = this.#world;
    const tick = (): void => this.#step({ type: 'tick', atMs: clock.nowMs() });
    this.#timer = dueAtMs === null ? null : clock.setTimer(Math.max(0, dueAtMs - clock.nowMs()), tick);
    for (const command of commands) {
      if (command.type === 'tell') this.#world.tell(command.level, 'eviction', command.message);
      else void this.#carryOut(command.type, own, signal).then((answer) => this.#step(answer));
    }
  }

  async #carryOut(command: 'look' | 'evict' | 'rehearse', own: OwnPod, signal: AbortSignal): Promise<EvictorInput> {
    const { http, clock } = this.#world;
    switch (command) {
      case 'look': {
        const prospect = await this.#look(own, signal);
        const atMs = clock.nowMs();
        return prospect instanceof Error ? { type: 'look-failed', message: prospect.message, atMs } : { type: 'looked', prospect, atMs };
      }
      case 'evict': {
        const outcome = await evict(http, own, signal);
        return { type: 'answered', outcome, atMs: clock.nowMs() };
      }
      case 'rehearse': {
        const [looked, outcome] = await Promise.all([this.#look(own, signal), evict(http, own, signal, { rehearse: true })]);
        const isRefused = looked instanceof WatchTrouble && looked.isRefused;
        const prospect: Prospect = looked instanceof Error ? { is: isRefused ? 'wrong' : 'no-better', reason: looked.message } : looked;
        return { type: 'rehearsed', prospect, outcome, atMs: clock.nowMs() };
      }
    }
  }

  /** What would come of an eviction by fresh reads, or why they have brought nothing. */
  async #look(own: OwnPod, signal: AbortSignal): Promise<Prospect | Error> {
    const { http, holder } = this.#world;
    try {
      const [application, agents] = await Promise.all([this.#watch.look(signal), listAgents(http, own.namespace, signal)]);
      return prospectOf({ node: this.#options.node, own, agents, application, holder: holder() });
    } catch (error) {
      return asError(error);
    }
  }
}
