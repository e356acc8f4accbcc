/**
 * The `events.k8s.io/v1` part of the Kubernetes API as a model: Events are made, changed by merge patch and listed, as a real
 * kube-apiserver was measured to.
 *
 * Guarantees: what a real one refuses is refused here, in the same words as far as they are looked at.
 * Not modelled: that an Event runs out by itself, watches of them, the core group's view, PUT. What may be changed besides the
 * series differs between versions, and nobody here changes it.
 */
import { failure, mergePatch, parse, SIX_DIGITS, sorted, toUtc } from './kube-model.ts';
import type { Json, JsonValue, KubeRequest } from './kube-model.ts';
import type { Answer } from './http-stand-in.ts';

/** An Event as it is stored. */
export interface StoredEvent {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid: string; readonly resourceVersion: string };
  readonly eventTime: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly action: string;
  readonly reason: string;
  readonly type: string;
  readonly note?: string;
  readonly regarding: Readonly<Record<string, string>>;
  readonly related?: Readonly<Record<string, string>>;
  readonly series?: { readonly count: number; readonly lastObservedTime: string };
}

export const EVENTS = /^\/apis\/events\.k8s\.io\/v1\/namespaces\/([^/]+)\/events(?:\/([^/]+))?$/;

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const TEXTS_MAX = { reportingInstance: 128, action: 128, reason: 128 } as const;
const NOTE_BYTES_MAX = 1_024;
const NAME_LENGTH_MAX = 253;

export interface EventsModelOptions {
  readonly now: () => string;
  readonly newUid: () => string;
  readonly nextVersion: () => string;
}

export class EventsModel {
  readonly #events = new Map<string, Json>();
  readonly #options: EventsModelOptions;

  constructor(options: EventsModelOptions) {
    this.#options = options;
  }

  /** Everything that is stored, in the order in which it was made. */
  get all(): readonly StoredEvent[] {
    return [...this.#events.values()] as unknown as StoredEvent[];
  }

  /** Lets every Event run out, as they do after an hour. */
  forget(): void {
    this.#events.clear();
  }

  /** Answers a request that is allowed. `name` is null where it is about all of them. */
  handle(verb: string, namespace: string, name: string | null, request: KubeRequest): Answer {
    if (name === null && verb === 'create') return this.#create(namespace, parse(request.body));
    if (name === null && verb === 'list') {
      const items = [...this.#events].flatMap(([key, event]) => (key.startsWith(`${namespace}/`) ? [event] : []));
      return { status: 200, body: { apiVersion: 'events.k8s.io/v1', kind: 'EventList', metadata: {}, items } };
    }
    if (name !== null && verb === 'patch') return this.#patch(namespace, name, request);
    if (name !== null && verb === 'get') {
      const event = this.#events.get(`${namespace}/${name}`);
      return event === undefined ? notFound(name) : { status: 200, body: event };
    }
    return failure(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource');
  }

  #create(namespace: string, body: Json | null): Answer {
    if (body === null) return failure(400, 'BadRequest', 'the object provided is unrecognized');
    const metadata = (body['metadata'] ?? {}) as Json;
    const name = textOf(metadata['name']);
    const problem = shapeProblem(body);
    if (problem !== null) return failure(400, 'BadRequest', problem);
    if (metadata['namespace'] !== undefined && metadata['namespace'] !== namespace)
      return failure(400, 'BadRequest', 'the namespace of the provided object does not match the namespace sent on the request');
    if (textOf(metadata['resourceVersion']) !== '')
      return failure(500, 'InternalError', 'resourceVersion should not be set on objects to be created');
    const fields = [...wrongFields(body, namespace), ...wrongSeries(body), ...wrongName(name)];
    if (fields.length > 0) return invalid(name, fields);
    const key = `${namespace}/${name}`;
    if (this.#events.has(key)) return failure(409, 'AlreadyExists', `events.events.k8s.io "${name}" already exists`, { name });
    const stored = {
      ...normalized(body),
      metadata: {
        name,
        namespace,
        uid: this.#options.newUid(),
        resourceVersion: this.#options.nextVersion(),
        creationTimestamp: this.#options.now(),
      },
    };
    this.#events.set(key, stored);
    return { status: 201, body: stored };
  }

  #patch(namespace: string, name: string, request: KubeRequest): Answer {
    if (request.headers['content-type'] !== 'application/merge-patch+json')
      return failure(415, 'UnsupportedMediaType', 'the body of the request was in an unknown format');
    const key = `${namespace}/${name}`;
    const stored = this.#events.get(key);
    if (stored === undefined) return notFound(name);
    const patch = parse(request.body);
    if (patch === null) return failure(400, 'BadRequest', 'error decoding patch');
    const merged = mergePatch(stored, patch) as Json;
    const problem = shapeProblem(merged);
    if (problem !== null) return invalid('', ['patch']);
    const before = stored['metadata'] as Json;
    if ((merged['metadata'] as Json)['resourceVersion'] !== before['resourceVersion'])
      return failure(409, 'Conflict', `Operation cannot be fulfilled on events.events.k8s.io "${name}": the object has been modified`, {
        name,
      });
    const next = normalized(merged);
    if (JSON.stringify(sorted(next)) === JSON.stringify(sorted(normalized(stored)))) return { status: 200, body: stored };
    const changed = { ...next, metadata: { ...before, resourceVersion: this.#options.nextVersion() } };
    this.#events.set(key, changed);
    return { status: 200, body: changed };
  }
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : '';
}

/** What cannot be read as an Event at all. */
function shapeProblem(body: Json): string | null {
  const series = (body['series'] ?? {}) as Json;
  for (const time of [body['eventTime'], series['lastObservedTime']]) {
    if (time === undefined || time === null) continue;
    if (typeof time !== 'string' || !SIX_DIGITS.test(time))
      return `Event in version "v1" cannot be handled as a Event: parsing time ${JSON.stringify(time)}`;
  }
  const count = series['count'] ?? 0;
  return Number.isInteger(count) ? null : 'json: cannot unmarshal into Go struct field EventSeries.series.count of type int32';
}

function wrongFields(body: Json, namespace: string): string[] {
  const regarding = (body['regarding'] ?? {}) as Json;
  const wrong: string[] = [];
  if (textOf(regarding['namespace']) === '') wrong.push('involvedObject.namespace');
  if (textOf(body['eventTime']) === '') wrong.push('eventTime');
  if (!QUALIFIED.test(textOf(body['reportingController']))) wrong.push('reportingController');
  for (const [field, max] of Object.entries(TEXTS_MAX)) {
    const text = textOf(body[field]);
    if (text === '' || text.length > max) wrong.push(field);
  }
  if (!['Normal', 'Warning'].includes(textOf(body['type']))) wrong.push('type');
  if (Buffer.byteLength(textOf(body['note'])) > NOTE_BYTES_MAX) wrong.push('message');
  const deprecated = {
    deprecatedCount: 'count',
    deprecatedFirstTimestamp: 'firstTimestamp',
    deprecatedLastTimestamp: 'lastTimestamp',
    deprecatedSource: 'source',
  };
  for (const [field, named] of Object.entries(deprecated)) if (body[field] !== undefined && body[field] !== null) wrong.push(named);
  // Of the objects that live in a namespace, an Event is in the same.
  if (textOf(regarding['namespace']) !== '' && regarding['namespace'] !== namespace) wrong.push('involvedObject.namespace');
  return wrong;
}

function wrongSeries(body: Json): string[] {
  const series = body['series'] as Json | null | undefined;
  if (series === undefined || series === null) return [];
  const wrong: string[] = [];
  if (Number(series['count'] ?? 0) < 2) wrong.push('series.count');
  if (textOf(series['lastObservedTime']) === '') wrong.push('series.lastObservedTime');
  return wrong;
}

function wrongName(name: string): string[] {
  return NAME.test(name) && name.length <= NAME_LENGTH_MAX ? [] : ['metadata.name'];
}

function normalized(body: Json): Json {
  const fields = [
    'eventTime',
    'reportingController',
    'reportingInstance',
    'action',
    'reason',
    'type',
    'note',
    'regarding',
    'related',
    'series',
  ];
  const kept = fields.flatMap((field) => (body[field] === undefined || body[field] === null ? [] : [[field, body[field]] as const]));
  const event: Json = { apiVersion: 'events.k8s.io/v1', kind: 'Event', ...Object.fromEntries(kept) };
  if (typeof event['eventTime'] === 'string') event['eventTime'] = toUtc(event['eventTime']);
  return event;
}

function invalid(name: string, fields: readonly string[]): Answer {
  const causes = fields.map((field) => ({ reason: 'FieldValueInvalid', message: 'Invalid value', field }));
  return failure(422, 'Invalid', `Event "${name}" is invalid: ${fields.join(', ')}`, {
    ...(name === '' ? {} : { name }),
    kind: 'Event',
    causes,
  });
}

function notFound(name: string): Answer {
  return failure(404, 'NotFound', `events.events.k8s.io "${name}" not found`, { name, group: 'events.k8s.io', kind: 'events' });
}
