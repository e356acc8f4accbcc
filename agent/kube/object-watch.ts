/**
 * Watches a few objects of one kind, so that changes are seen at once and nobody need ask.
 *
 * Guarantees: it begins with a list of all there is, resumes where it broke off, and lists again after a 410, a refusal or a
 * stream that had fallen silent. It restarts with growing and jittered pauses and never ends by itself; where only lists are
 * allowed, each restart brings one. What is shown may be old, and is never undone by the API's silence.
 */
import { sleep } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { at, integerAt, listAt, messageAt, parseJson, stringAt } from '../json.ts';
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
/** So many objects come with one answer: a Pod has some ten kilobytes, and an answer has a limit. */
const PAGE_SIZE = 50;

/** Some objects of one kind, and how they are called in sentences. */
export interface Selection {
  /** The collection, such as `/api/v1/namespaces/default/pods`. */
  readonly path: string;
  /** What selects the objects in it: `fieldSelector`, `labelSelector`. */
  readonly query: Readonly<Record<string, string>>;
  /** Completes "cannot watch …". */
  readonly what: string;
  /** What a person can do about a refusal of a verb, to be put behind the sentence; '' when nothing comes to mind. */
  readonly advice: (status: number, verb: string) => string;
}

export interface ObjectEvents {
  /** All the objects that there are. May throw WatchTrouble where they are not what was asked for. */
  readonly onList: (objects: readonly unknown[]) => void;
  readonly onChange: (object: unknown, isGone: boolean) => void;
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

/** Why a list or a watch has brought nothing. */
export class WatchTrouble extends Error {
  override readonly name = 'WatchTrouble';
  readonly isRefused: boolean;

  constructor(message: string, isRefused = false) {
    super(message);
    this.isRefused = isRefused;
  }
}

/** All the objects of a selection by consistent reads, and the version a watch can go on from. Throws WatchTrouble or KubeTrouble. */
export async function listObjects(
  http: KubeHttp,
  selection: Selection,
  signal: AbortSignal,
): Promise<{ readonly objects: readonly unknown[]; readonly resourceVersion: string | null }> {
  const objects: unknown[] = [];
  let next = '';
  do {
    const page = { limit: String(PAGE_SIZE), ...(next === '' ? {} : { continue: next }) };
    const answer = await http.request({ method: 'GET', path: pathOf(selection, page), timeoutMs: CONNECT_TIMEOUT_MS, signal });
    if (answer.status !== 200) throw refusal(selection, 'list', answer);
    const list = parseJson(answer.body);
    const items = listAt(list, 'items');
    if (items === undefined) throw new WatchTrouble(`cannot list ${selection.what}: the answer is no list`);
    objects.push(...items);
    next = stringAt(list, 'metadata', 'continue') ?? '';
    if (next === '') return { objects, resourceVersion: stringAt(list, 'metadata', 'resourceVersion') ?? null };
  } while (!signal.aborted);
  throw new KubeTrouble('aborted', 'called off');
}

export class ObjectWatch {
  readonly #http: KubeHttp;
  readonly #selection: Selection;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #events: ObjectEvents;
  #resourceVersion: string | null = null;
  #state: WatchState = { stands: false, problem: '', isRefused: false };
  #heardAtMs = 0;
  /** Aborted to restart at once. */
  #attempt = new AbortController();

  constructor(http: KubeHttp, selection: Selection, clock: Clock, random: () => number, events: ObjectEvents) {
    this.#http = http;
    this.#selection = selection;
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
      if (!signal.aborted) this.#setState({ stands: false, problem: problem?.message ?? 'the server has ended it', isRefused });
      const wasGood = this.#clock.nowMs() - startedAtMs >= GOOD_MS;
      failures = wasGood ? 0 : failures + 1;
      if (!signal.aborted) await this.#pause(failures);
    }
    signal.removeEventListener('abort', onAbort);
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
      this.#heardAtMs = this.#clock.nowMs();
      const query = {
        watch: '1',
        allowWatchBookmarks: 'true',
        resourceVersion: this.#resourceVersion ?? '',
        timeoutSeconds: String(Math.round(SHORTEST_S + this.#random() * (LONGEST_S - SHORTEST_S))),
      };
      const answer = await this.#http.stream({
        path: pathOf(this.#selection, query),
        timeoutMs: CONNECT_TIMEOUT_MS,
        idleMs: IDLE_MS,
        signal,
        onOpen: () => this.#setState({ stands: true, problem: '', isRefused: false }),
        onLine: (line) => this.#onLine(line),
      });
      if (answer.status === 200) return null;
      // 410: the server has forgotten that far back. Anything else that is refused may be about what was remembered, too.
      this.#resourceVersion = null;
      return refusal(this.#selection, 'watch', answer);
    } catch (error) {
      if (!(error instanceof KubeTrouble) && !(error instanceof WatchTrouble)) throw error;
      // Not even a bookmark has come: what stands between may let nothing of a stream through, and a list gets through.
      if (this.#clock.nowMs() - this.#heardAtMs >= IDLE_MS) this.#resourceVersion = null;
      return error;
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { objects, resourceVersion } = await listObjects(this.#http, this.#selection, signal);
    this.#events.onList(objects);
    this.#resourceVersion = resourceVersion;
  }

  #onLine(line: string): void {
    this.#heardAtMs = this.#clock.nowMs();
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
    if (type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED') this.#events.onChange(object, type === 'DELETED');
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
}

function refusal({ what, advice }: Selection, verb: string, { status, body }: KubeAnswer): WatchTrouble {
  const said = messageAt(parseJson(body), 'message') ?? 'no explanation';
  return new WatchTrouble(`cannot ${verb} ${what}: ${status} ${said}${advice(status, verb)}`, status === 401 || status === 403);
}

function pathOf({ path, query }: Selection, more: Readonly<Record<string, string>>): string {
  return `${path}?${new URLSearchParams({ ...query, ...more }).toString()}`;
}
