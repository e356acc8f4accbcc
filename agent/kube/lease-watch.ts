/**
 * Watches one Lease, so that changes are seen at once and candidates need not ask.
 *
 * Guarantees: only an accelerator. It resumes where it broke off, starts over after a 410, restarts with growing and
 * jittered pauses, and holds a stream that has gone silent for dead. It never ends by itself, and what it misses the
 * contender's own timers find later.
 */
import { sleep } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { LeaseSight } from '../contender/lease.ts';
import { at, integerAt, listAt, messageAt, parseJson, stringAt } from '../json.ts';
import type { LeaseWatch } from '../ports.ts';
import { decodeLease } from './lease-codec.ts';
import type { LeaseName } from './lease-codec.ts';
import { advice, leasesPath } from './lease-store.ts';
import { KubeTrouble } from './transport.ts';
import type { KubeAnswer, KubeHttp } from './transport.ts';

const CONNECT_TIMEOUT_MS = 5_000;
/** The API server sends a bookmark about once a minute, so a longer silence means a dead connection. */
const IDLE_MS = 90_000;
/** The server ends each watch after a time drawn from here, so that many agents do not come back all at once. */
const SHORTEST_S = 300;
const LONGEST_S = 600;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 10_000;
/** A watch that lasted this long was a good one: the next follows after the shortest pause. */
const GOOD_MS = 5_000;

export interface WatchEvents {
  readonly onSight: (sight: LeaseSight) => void;
  /** Told when the watch stands, when it has broken, and when the reason for its not standing changes. */
  readonly onState: (state: WatchState) => void;
}

export interface WatchState {
  readonly stands: boolean;
  /** Why it does not stand; '' while it does. */
  readonly problem: string;
  /** The server does not let this agent watch: a person must act. */
  readonly isRefused: boolean;
}

export class KubeLeaseWatch implements LeaseWatch {
  readonly #http: KubeHttp;
  readonly #lease: LeaseName;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #events: WatchEvents;
  #resourceVersion: string | null = null;
  #state: WatchState = { stands: false, problem: '', isRefused: false };
  /** Aborted to restart at once. */
  #attempt = new AbortController();

  constructor(http: KubeHttp, lease: LeaseName, clock: Clock, random: () => number, events: WatchEvents) {
    this.#http = http;
    this.#lease = lease;
    this.#clock = clock;
    this.#random = random;
    this.#events = events;
  }

  /** Watches until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.#attempt.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    let failures = 0;
    while (!signal.aborted) {
      this.#attempt = new AbortController();
      const startedAtMs = this.#clock.nowMs();
      const problem = await this.#once(this.#attempt.signal);
      const isRefused = problem instanceof WatchTrouble && problem.isRefused;
      this.#setState({ stands: false, problem: problem?.message ?? 'the server has ended it', isRefused });
      const wasGood = this.#clock.nowMs() - startedAtMs >= GOOD_MS;
      failures = wasGood ? 0 : failures + 1;
      if (!signal.aborted) await this.#pause(failures);
    }
  }

  /** Starts over, from a fresh list. */
  restart(): void {
    this.#resourceVersion = null;
    this.#attempt.abort(new Error('restarted'));
  }

  /** One list, if there is nothing to resume from, and one watch. Returns what went wrong, if anything. */
  async #once(signal: AbortSignal): Promise<WatchTrouble | KubeTrouble | null> {
    try {
      if (this.#resourceVersion === null) await this.#list(signal);
      const answer = await this.#http.stream({
        path: this.#path({
          watch: '1',
          allowWatchBookmarks: 'true',
          resourceVersion: this.#resourceVersion ?? '',
          timeoutSeconds: String(Math.round(SHORTEST_S + this.#random() * (LONGEST_S - SHORTEST_S))),
        }),
        timeoutMs: CONNECT_TIMEOUT_MS,
        idleMs: IDLE_MS,
        signal,
        onOpen: () => this.#setState({ stands: true, problem: '', isRefused: false }),
        onLine: (line) => this.#onLine(line),
      });
      return answer.status === 200 ? null : this.#onRefused('watch', answer);
    } catch (error) {
      if (!(error instanceof KubeTrouble) && !(error instanceof WatchTrouble)) throw error;
      return error;
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const answer = await this.#http.request({ method: 'GET', path: this.#path({}), timeoutMs: CONNECT_TIMEOUT_MS, signal });
    if (answer.status !== 200) throw this.#onRefused('list', answer);
    const list = parseJson(answer.body);
    const items = listAt(list, 'items');
    if (items === undefined) throw new WatchTrouble('the list of Leases is not one');
    const sight = items.length === 0 ? 'absent' : decodeLease(items[0]);
    if (sight === null) throw new WatchTrouble('the list holds something that is no Lease');
    this.#resourceVersion = stringAt(list, 'metadata', 'resourceVersion') ?? null;
    this.#events.onSight(sight);
  }

  #onLine(line: string): void {
    const event = parseJson(line);
    const type = stringAt(event, 'type');
    const object = at(event, 'object');
    if (type === 'ERROR') {
      this.#resourceVersion = null;
      throw new WatchTrouble(`the server ended it: ${integerAt(object, 'code') ?? ''} ${messageAt(object, 'message') ?? 'no explanation'}`);
    }
    const resourceVersion = stringAt(object, 'metadata', 'resourceVersion');
    if (resourceVersion === undefined) throw new WatchTrouble('it carried something that is no event');
    this.#resourceVersion = resourceVersion;
    if (type === 'DELETED') return this.#events.onSight('absent');
    const record = type === 'ADDED' || type === 'MODIFIED' ? decodeLease(object) : null;
    if (record !== null) this.#events.onSight(record);
  }

  #onRefused(verb: string, answer: KubeAnswer): WatchTrouble {
    // 410: the server has forgotten that far back. Anything else that is refused may be about what was remembered, too.
    this.#resourceVersion = null;
    const said = messageAt(parseJson(answer.body), 'message') ?? 'no explanation';
    const { status } = answer;
    const what = `cannot ${verb} the Lease ${this.#lease.namespace}/${this.#lease.name}`;
    return new WatchTrouble(`${what}: ${status} ${said}${advice(status, verb)}`, status === 401 || status === 403);
  }

  async #pause(failures: number): Promise<void> {
    const longestMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(Math.max(0, failures - 1), 10));
    try {
      await sleep(this.#clock, longestMs * (0.5 + this.#random() / 2), this.#attempt.signal);
    } catch {
      // Restarted or ended: either way there is nothing to wait for.
    }
  }

  #setState(state: WatchState): void {
    const isNews = state.stands !== this.#state.stands || state.problem !== this.#state.problem;
    this.#state = state;
    if (isNews) this.#events.onState(state);
  }

  #path(query: Readonly<Record<string, string>>): string {
    const parameters = new URLSearchParams({ fieldSelector: `metadata.name=${this.#lease.name}`, ...query });
    return `${leasesPath(this.#lease.namespace)}?${parameters.toString()}`;
  }
}

class WatchTrouble extends Error {
  override readonly name = 'WatchTrouble';
  readonly isRefused: boolean;

  constructor(message: string, isRefused = false) {
    super(message);
    this.isRefused = isRefused;
  }
}
