/**
 * `events.k8s.io/v1` Events in the Kubernetes API: making one, and saying of one that it has happened again.
 *
 * Guarantees: one call is one request, with a deadline of its own. What is written is what the API server accepts, whatever
 * it is made from: times of exactly six fraction digits, a note of at most 1024 bytes, in the namespace of the object that
 * it regards. No way that a request can end is thrown.
 */
import { asError } from '../clock.ts';
import type { Happening } from '../happening.ts';
import { messageAt, parseJson } from '../json.ts';
import { microTime } from './lease-codec.ts';
import type { KubeAnswer, KubeHttp } from './transport.ts';

/** The object that an Event regards. It shows in `kubectl describe` of an object with this very uid. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string;
}

/** An Event as it is to be seen: what happened, how often, first and last when. */
export interface SeenEvent {
  readonly name: string;
  readonly regarding: ObjectReference;
  readonly related: ObjectReference | null;
  readonly happening: Happening;
  /** Milliseconds since 1970. */
  readonly firstWallMs: number;
  readonly lastWallMs: number;
  readonly count: number;
}

export type EventOutcome =
  | { readonly is: 'written' }
  /** There is no such Event any more: the API server keeps each for an hour by default. */
  | { readonly is: 'gone' }
  /** A person has to act before any Event of this namespace can be written. */
  | { readonly is: 'refused'; readonly message: string }
  /** The server does not take this one. */
  | { readonly is: 'unacceptable'; readonly message: string }
  /** It may be written already; the next try settles it. */
  | { readonly is: 'trouble'; readonly message: string; readonly retryAfterMs: number | null };

/** Limits of the API server: k8s.io/kubernetes/pkg/apis/core/validation/events.go. */
const NOTE_BYTES_MAX = 1_024;
const INSTANCE_LENGTH_MAX = 128;
const NAME_LENGTH_MAX = 253;
const CONTROLLER = 'leasehold.dev/agent';
const CUT = '…';

export class KubeEvents {
  readonly #http: KubeHttp;
  readonly #instance: string;

  /** `instance` tells this process from others: the identity that the Lease knows it by. */
  constructor(http: KubeHttp, instance: string) {
    this.#http = http;
    this.#instance = instance.slice(-INSTANCE_LENGTH_MAX);
  }

  /** Makes a new Event. One that an earlier try has made already counts as written. */
  async create(event: SeenEvent, timeoutMs: number, signal: AbortSignal): Promise<EventOutcome> {
    const { regarding, related, happening, name } = event;
    const { reason, action, type, note } = happening;
    const body = {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name, namespace: regarding.namespace },
      eventTime: microTime(event.firstWallMs, null),
      reportingController: CONTROLLER,
      reportingInstance: this.#instance,
      action,
      reason,
      type,
      note: cutToBytes(note, NOTE_BYTES_MAX),
      regarding,
      ...(related === null ? {} : { related }),
      ...(event.count > 1 ? { series: seriesOf(event) } : {}),
    };
    const path = eventsPath(regarding.namespace);
    const answer = await this.#exchange('POST', path, body, timeoutMs, signal);
    if ('is' in answer) return answer;
    if (answer.status === 409) return { is: 'written' };
    return outcomeOf(answer, regarding.namespace);
  }

  /** Says how often an Event has happened by now, and when last. */
  async repeat(event: SeenEvent, timeoutMs: number, signal: AbortSignal): Promise<EventOutcome> {
    const { namespace } = event.regarding;
    const path = `${eventsPath(namespace)}/${event.name}`;
    const answer = await this.#exchange('PATCH', path, { series: seriesOf(event) }, timeoutMs, signal);
    if ('is' in answer) return answer;
    return answer.status === 404 ? { is: 'gone' } : outcomeOf(answer, namespace);
  }

  async #exchange(
    method: 'POST' | 'PATCH',
    path: string,
    body: object,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<KubeAnswer | EventOutcome> {
    const contentType = method === 'POST' ? 'application/json' : 'application/merge-patch+json';
    try {
      return await this.#http.request({ method, path, contentType, body: JSON.stringify(body), timeoutMs, signal });
    } catch (error) {
      return { is: 'trouble', message: asError(error).message, retryAfterMs: null };
    }
  }
}

export function eventsPath(namespace: string): string {
  return `/apis/events.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/events`;
}

/**
 * A name that no other Event has: the object's, the instant and chance, `random` being from 0 up to 1. It stays a valid name
 * however long the object's is.
 */
export function eventName(objectName: string, wallMs: number, random: number): string {
  const unique = `${Math.round(wallMs).toString(16)}${Math.floor(random * 2 ** 32)
    .toString(16)
    .padStart(8, '0')}`;
  const front = objectName.slice(0, NAME_LENGTH_MAX - unique.length - 1).replace(/[^a-z0-9]+$/, '');
  return `${front}.${unique}`;
}

function seriesOf({ count, lastWallMs }: SeenEvent): object {
  return { count, lastObservedTime: microTime(lastWallMs, null) };
}

function outcomeOf({ status, body, retryAfterMs }: KubeAnswer, namespace: string): EventOutcome {
  if (status === 200 || status === 201) return { is: 'written' };
  const said = `${status} ${messageAt(parseJson(body), 'message') ?? 'no explanation'}`;
  switch (status) {
    case 403:
      return {
        is: 'refused',
        message: `${said}; grant the verbs "create" and "patch" on events in the group events.k8s.io in the namespace ${namespace}: apply the Role in manifests/base`,
      };
    case 404:
      return {
        is: 'refused',
        message: `${said}; the namespace ${namespace} and the API events.k8s.io/v1 (Kubernetes 1.19 and later) are needed`,
      };
    case 400:
    case 405:
    case 413:
    case 415:
    case 422:
      return { is: 'unacceptable', message: said };
    default:
      return { is: 'trouble', message: said, retryAfterMs };
  }
}

/** A text of so many bytes in UTF-8 at the most, with no character cut in two. */
export function cutToBytes(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= bytesMax) return text;
  let end = bytesMax - Buffer.byteLength(CUT);
  // Where a character goes on, a byte begins with the bits 10.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end).toString() + CUT;
}
