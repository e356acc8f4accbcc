/**
 * The page's live streams (server-sent events): each reader is sent what has changed, as soon as it has.
 *
 * Guarantees: costs nothing while nobody reads: no timer runs and nothing is drawn. Readers are bounded in number, and what
 * waits for each in bytes: one that does not read is dropped. At most four events a second; at least one a second, so that a
 * page that hears nothing knows that nothing is there. Closing sends what is new and waits for nobody.
 */
import type http from 'node:http';
import type { Clock, Timer } from '../clock.ts';

/** What a page shows, in parts that change apart from each other. */
export interface View {
  /** Which version of the page this is for: another one has to load itself anew. */
  readonly edition: string;
  /** When it was drawn, in milliseconds since 1970. */
  readonly atMs: number;
  readonly tone: string;
  readonly title: string;
  readonly icon: string;
  /** HTML by the id of the element that holds it. Holds no ages: what nothing has happened to stays word for word the same. */
  readonly sections: Readonly<Record<string, string>>;
}

/** So many pages at once: a port that everybody watches must still answer the kubelet. */
export const STREAMS_MAX = 16;
/** A page that has heard nothing for so long says so. */
export const SILENCE_SHOWN_AFTER_MS = 4_000;
const BEAT_MS = 1_000;
const BETWEEN_EVENTS_MS = 250;
/** How soon a browser tries again when its stream ends. */
const RETRY_MS = 1_000;
/** So much may wait for a reader beside what the kernel keeps: some ten full pages. */
const WAITING_BYTES_MAX = 64 * 1024;

export class Streams {
  readonly #clock: Clock;
  readonly #draw: () => View;
  readonly #readers = new Set<http.ServerResponse>();
  /** What every reader has been sent by now. */
  #sent: View | null = null;
  #sentAtMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | null = null;
  #dueAtMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, draw: () => View) {
    this.#clock = clock;
    this.#draw = draw;
  }

  get readers(): number {
    return this.#readers.size;
  }

  /** Takes a reader on, whose response has not been begun. False where there are too many. */
  open(response: http.ServerResponse, headers: Readonly<Record<string, string>>): boolean {
    if (this.#readers.size >= STREAMS_MAX) return false;
    // A proxy that collects an answer before it passes it on would show nothing.
    response.writeHead(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' });
    response.on('close', () => this.#forget(response));
    this.#sent ??= this.#draw();
    this.#readers.add(response);
    this.#write(response, `retry: ${RETRY_MS}\n\n${eventOf(this.#sent, null)}`);
    this.changed();
    return true;
  }

  /** Something may look different now. */
  changed(): void {
    if (this.#readers.size > 0) this.#sendAt(this.#sentAtMs + BETWEEN_EVENTS_MS);
  }

  /** Sends what is new and ends every stream. */
  close(): void {
    if (this.#readers.size > 0) this.#send();
    for (const reader of this.#readers) reader.end();
    this.#readers.clear();
    this.#rest();
  }

  #forget(reader: http.ServerResponse): void {
    this.#readers.delete(reader);
    if (this.#readers.size === 0) this.#rest();
  }

  #rest(): void {
    this.#timer?.cancel();
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    this.#sent = null;
  }

  #sendAt(atMs: number): void {
    if (atMs >= this.#dueAtMs) return;
    this.#timer?.cancel();
    this.#dueAtMs = atMs;
    // Never at once: the loop goes on first.
    this.#timer = this.#clock.setTimer(Math.max(0, atMs - this.#clock.nowMs()), () => this.#send());
  }

  #send(): void {
    const view = this.#draw();
    const event = eventOf(view, this.#sent);
    this.#sent = view;
    this.#sentAtMs = this.#clock.nowMs();
    for (const reader of this.#readers) this.#write(reader, event);
    this.#timer?.cancel();
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    if (this.#readers.size > 0) this.#sendAt(this.#sentAtMs + BEAT_MS);
  }

  #write(reader: http.ServerResponse, text: string): void {
    if (reader.writableLength > WAITING_BYTES_MAX) reader.destroy();
    else reader.write(text);
  }
}

/** An event with all that differs from what was sent before; one without anything says that the agent is there. */
function eventOf(view: View, before: View | null): string {
  const { edition, atMs, tone, title, icon, sections } = view;
  const isOther = before?.tone !== tone || before.title !== title;
  const changed = Object.entries(sections).filter(([id, html]) => before?.sections[id] !== html);
  const data = {
    at: Math.round(atMs),
    ...(before === null ? { edition } : {}),
    ...(isOther ? { tone, title, icon } : {}),
    sections: Object.fromEntries(changed),
  };
  return `data: ${JSON.stringify(data)}\n\n`;
}
