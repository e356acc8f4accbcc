/**
 * Watches one Lease, so that changes are seen at once and candidates need not ask.
 *
 * Guarantees: only an accelerator. It resumes where it broke off, starts over after a 410, restarts with growing and
 * jittered pauses, and holds a stream that has gone silent for dead. It never ends by itself, and what it misses the
 * contender's own timers find later.
 */
import { asError, sleep } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { LeaseSight } from '../contender/lease.ts';
import { at, integerAt, listAt, parseJson, stringAt } from '../json.ts';
import type { LeaseWatch } from '../ports.ts';
import { decodeLease } from './lease-codec.ts';
import type { LeaseName } from './lease-codec.ts';
import { leasesPath } from './lease-store.ts';
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
/** A watch that lasted this long was a good one: the next may follow without a pause. */
const GOOD_MS = 5_000;

export interface WatchEvents {
  readonly onSight: (sight: LeaseSight) => void;
  /** Told once when the watch stands and once when it has broken; `message` says why it broke. */
  readonly onState: (stands: boolean, message: string) => void;
}

export class KubeLeaseWatch implements LeaseWatch {
  readonly #http: KubeHttp;
  readonly #lease: LeaseName;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #events: WatchEvents;
  #resourceVersion: string | null = null;
  #stands = false;
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
      this.#setState(false, problem ?? 'ended by the server');
      const wasGood = this.#clock.nowMs() - startedAtMs >= GOOD_MS;
      failures = problem === null || wasGood ? 0 : failures + 1;
      if (!signal.aborted) await this.#pause(failures);
    }
  }

  /** Starts over, from a fresh list. */
  restart(): void {
    this.#resourceVersion = null;
    this.#attempt.abort(new Error('restarted'));
  }

  /** One list, if there is nothing to resume from, and one watch. Returns what went wrong, if anything. */
  async #once(signal: AbortSignal): Promise<string | null> {
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
        onOpen: () => this.#setState(true, ''),
        onLine: (line) => this.#onLine(line),
      });
      return answer.status === 200 ? null : this.#onRefused('watch', answer);
    } catch (error) {
      if (!(error instanceof KubeTrouble) && !(error instanceof WatchTrouble)) throw error;
      return asError(error).message;
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const answer = await this.#http.request({ method: 'GET', path: this.#path({}), timeoutMs: CONNECT_TIMEOUT_MS, signal });
    if (answer.status !== 200) throw new WatchTrouble(this.#onRefused('list', answer));
    const list = parseJson(answer.body);
    const items = listAt(list, 'items');
    if (items === undefined) throw new WatchTrouble('the list of Leases is not one');
    this.#resourceVersion = stringAt(list, 'metadata', 'resourceVersion') ?? null;
    const record = items.length === 0 ? null : decodeLease(items[0]);
    this.#events.onSight(record ?? 'absent');
  }

  #onLine(line: string): void {
    const event = parseJson(line);
    const type = stringAt(event, 'type');
    const object = at(event, 'object');
    if (type === 'ERROR') {
      this.#resourceVersion = null;
      throw new WatchTrouble(`the server ended it: ${integerAt(object, 'code') ?? ''} ${stringAt(object, 'message') ?? 'no explanation'}`);
    }
    const resourceVersion = stringAt(object, 'metadata', 'resourceVersion');
    if (resourceVersion === undefined) throw new WatchTrouble('it carried something that is no event');
    this.#resourceVersion = resourceVersion;
    if (type === 'DELETED') return this.#events.onSight('absent');
    const record = type === 'ADDED' || type === 'MODIFIED' ? decodeLease(object) : null;
    if (record !== null) this.#events.onSight(record);
  }

  #onRefused(verb: string, answer: KubeAnswer): string {
    // 410: the server has forgotten that far back. Anything else that is refused may be about what was remembered, too.
    this.#resourceVersion = null;
    const said = stringAt(parseJson(answer.body), 'message') ?? 'no explanation';
    return `cannot ${verb} the Lease ${this.#lease.namespace}/${this.#lease.name}: ${answer.status} ${said}`;
  }

  async #pause(failures: number): Promise<void> {
    const longestMs = failures === 0 ? FIRST_PAUSE_MS : Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10));
    try {
      await sleep(this.#clock, longestMs * (0.5 + this.#random() / 2), this.#attempt.signal);
    } catch {
      // Restarted or ended: either way there is nothing to wait for.
    }
  }

  #setState(stands: boolean, message: string): void {
    if (this.#stands === stands) return;
    this.#stands = stands;
    this.#events.onState(stands, message);
  }

  #path(query: Readonly<Record<string, string>>): string {
    const parameters = new URLSearchParams({ fieldSelector: `metadata.name=${this.#lease.name}`, ...query });
    return `${leasesPath(this.#lease.namespace)}?${parameters.toString()}`;
  }
}

class WatchTrouble extends Error {
  override readonly name = 'WatchTrouble';
}
