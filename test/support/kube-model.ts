/**
 * The part of the Kubernetes API that Leasehold uses as a model: Leases with optimistic concurrency, watches, Events (see
 * kube-events-model.ts), permissions of bearer tokens. It answers one request at a time as a real kube-apiserver was measured to.
 *
 * Guarantees: no socket and no timer of its own, and nothing but the clock and the uids that it is given, so that a stand-in
 * serves it over TLS and a simulation in virtual time. A watch is told of each event in the call that makes it.
 * Pods and Services are beside it, in kube-objects.ts.
 * Not modelled: other resources, server-side apply, managed fields, pagination, admission.
 */
import type { Answer } from './http-stand-in.ts';
import { EVENTS, EventsModel } from './kube-events-model.ts';
import { KubeObjects } from './kube-objects.ts';

export type Json = { [name: string]: JsonValue };
export type JsonValue = string | number | boolean | null | JsonValue[] | Json;

/** A stored Lease. */
export interface StoredLease {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace: string;
    uid: string;
    resourceVersion: string;
    creationTimestamp: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  spec: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
}

/** Who a token belongs to and what it may do. */
export interface Permissions {
  readonly may: (verb: string, resource: string, name: string, namespace: string) => boolean;
}

interface Event {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly version: number;
  readonly key: string;
  readonly object: StoredLease;
}

/** One request, however it came. Names of headers are in lower case. */
export interface KubeRequest {
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  readonly headers: { readonly [name: string]: string | readonly string[] | undefined };
  readonly body: string;
}

/** A watch that was granted. */
export interface Watch {
  readonly is: 'watch';
  /** The server ends it by itself after so long; 0: right after what is sent at once. */
  readonly endsAfterMs: number;
  /** Sends what is due at once and from then on every event, one line each. Returns how to end it. */
  readonly open: (send: (line: string) => void) => () => void;
}

export interface KubeModelOptions {
  readonly wallMs: () => number;
  readonly newUid: () => string;
}

interface Watcher {
  readonly key: string | null;
  readonly namespace: string;
  /** It is told of what comes after this version, even if that is still a long way off. */
  readonly from: number;
  readonly send: (line: string) => void;
  readonly wantsBookmarks: boolean;
}

const LEASES = /^\/apis\/coordination\.k8s\.io\/v1\/namespaces\/([^/]+)\/leases(?:\/([^/]+))?$/;
const REVIEWS = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
const NODES = /^\/api\/v1\/nodes\/([^/]+)$/;
export const SIX_DIGITS = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}(Z|[+-]\d{2}:\d{2})$/;
const OBJECTS = /^\/api\/v1\/namespaces\/([^/]+)\/(pods|services)(?:\/([^/]+)\/(eviction))?$/;
const FIRST_VERSION = 1_000;
const ANYTHING: Permissions = { may: () => true };

export class KubeModel {
  /** By what comes after `Bearer`, or after `Basic`, which old servers took. */
  readonly tokens = new Map<string, Permissions>([['agent-token', ANYTHING]]);
  /** `spec.providerID` of each Node. */
  readonly nodes = new Map<string, string>();
  /** Pods and Services. */
  readonly objects: KubeObjects;
  /** Told of every Lease as it is stored. */
  onStored: (lease: StoredLease) => void = () => undefined;
  readonly events: EventsModel;
  readonly #leases = new Map<string, StoredLease>();
  readonly #watchers = new Set<Watcher>();
  readonly #history: Event[] = [];
  readonly #options: KubeModelOptions;
  #version = FIRST_VERSION;
  /** Watches from before this are answered with 410. */
  #oldestVersion = FIRST_VERSION;

  constructor(options: KubeModelOptions) {
    this.#options = options;
    this.events = new EventsModel({ now: () => this.#now(), newUid: options.newUid, nextVersion: () => String((this.#version += 1)) });
    this.objects = new KubeObjects(options.newUid);
  }

  /** How many watches of Leases there are. */
  get watchers(): number {
    return this.#watchers.size;
  }

  lease(name = 'leasehold', namespace = 'default'): StoredLease | undefined {
    return this.#leases.get(`${namespace}/${name}`);
  }

  /** Creates a Lease as a person or the manifests would. */
  create(spec: StoredLease['spec'] = {}, metadata: Partial<StoredLease['metadata']> = {}): StoredLease {
    const lease: StoredLease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        name: 'leasehold',
        namespace: 'default',
        uid: this.#options.newUid(),
        creationTimestamp: this.#now(),
        ...metadata,
        resourceVersion: '',
      },
      spec,
    };
    return this.#store('ADDED', lease);
  }

  /** Changes a Lease as a person with kubectl would. */
  edit(change: (lease: StoredLease) => void, name = 'leasehold', namespace = 'default'): StoredLease {
    const lease = structuredClone(this.#leases.get(`${namespace}/${name}`));
    if (lease === undefined) throw new Error(`there is no Lease ${namespace}/${name}`);
    change(lease);
    return this.#store('MODIFIED', lease);
  }

  delete(name = 'leasehold', namespace = 'default'): void {
    const key = `${namespace}/${name}`;
    const lease = this.#leases.get(key);
    if (lease === undefined) return;
    this.#leases.delete(key);
    this.#version += 1;
    this.#record('DELETED', { ...lease, metadata: { ...lease.metadata, resourceVersion: String(this.#version) } });
  }

  /** Forgets the history, so that a watch that resumes is told to list again. */
  compact(): void {
    this.#history.length = 0;
    this.#oldestVersion = this.#version;
  }

  /** Lets every watch go silent: nothing is sent to any of them any more. */
  silenceWatches(): void {
    this.#watchers.clear();
    this.objects.silenceWatches();
  }

  /** Sends the bookmarks that a server sends about once a minute. */
  sendBookmarks(): void {
    const object = {
      kind: 'Lease',
      apiVersion: 'coordination.k8s.io/v1',
      metadata: { resourceVersion: String(this.#version), creationTimestamp: null },
      spec: {},
    };
    for (const { send, wantsBookmarks } of this.#watchers) if (wantsBookmarks) send(JSON.stringify({ type: 'BOOKMARK', object }));
  }

  /** Answers one request. */
  handle(request: KubeRequest): Answer | Watch {
    const url = new URL(request.path, 'http://stand-in');
    const others = OBJECTS.exec(url.pathname);
    if (others !== null) return this.#object(request, url.searchParams, others);
    const [, namespace, name] = LEASES.exec(url.pathname) ?? [];
    const [, node] = NODES.exec(url.pathname) ?? [];
    const [, eventNamespace, event] = EVENTS.exec(url.pathname) ?? [];
    if (eventNamespace !== undefined) {
      const verb = verbOf(request.method, event !== undefined, false);
      return (
        this.#authorize(request, verb, 'events', event ?? '', eventNamespace) ??
        this.events.handle(verb, eventNamespace, event ?? null, request)
      );
    }
    if (url.pathname === '/version') return { status: 200, body: { major: '1', minor: '33', gitVersion: 'v1.33.0' } };
    if (url.pathname === REVIEWS) return this.#review(request);
    const selected = /^metadata\.name=(.+)$/.exec(url.searchParams.get('fieldSelector') ?? '')?.[1];
    const isWatch = ['1', 'true'].includes(url.searchParams.get('watch') ?? '');
    const verb = verbOf(request.method, name !== undefined || node !== undefined, isWatch);
    const denied = this.#authorize(request, verb, node === undefined ? 'leases' : 'nodes', node ?? name ?? selected ?? '', namespace ?? '');
    if (denied !== null) return denied;
    if (node !== undefined) return this.#node(node);
    if (namespace === undefined) return failure(404, 'NotFound', 'the server could not find the requested resource');
    if (name === undefined) {
      if (verb === 'create') return this.#post(namespace, parse(request.body));
      return isWatch
        ? this.#watch(namespace, selected ?? null, url.searchParams)
        : this.#list(namespace, selected ?? null, url.searchParams);
    }
    switch (verb) {
      case 'get':
        return this.#get(namespace, name);
      case 'update':
        return this.#put(namespace, name, parse(request.body));
      case 'patch':
        return this.#patch(namespace, name, request);
      case 'delete':
        return this.#remove(namespace, name, parse(request.body));
      default:
        return failure(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource');
    }
  }

  #authorize(request: KubeRequest, verb: string, resource: string, name: string, namespace: string): Answer | null {
    const [, token] = /^(?:Bearer|Basic) (.+)$/.exec(String(request.headers['authorization'] ?? '')) ?? [];
    if (token === undefined)
      return failure(403, 'Forbidden', `${resource} is forbidden: User "system:anonymous" cannot ${verb} resource "${resource}"`);
    const permissions = this.tokens.get(token);
    if (permissions === undefined) return failure(401, 'Unauthorized', 'Unauthorized');
    if (permissions.may(verb, resource, name, namespace)) return null;
    const message = `${resource} "${name}" is forbidden: User "agent" cannot ${verb} resource "${resource}"`;
    return failure(403, 'Forbidden', message, name === '' ? {} : { name });
  }

  #object(
    request: KubeRequest,
    query: URLSearchParams,
    [, namespace = '', resource = '', name = '', sub]: RegExpExecArray,
  ): Answer | Watch {
    const isWatch = ['1', 'true'].includes(query.get('watch') ?? '');
    const verb = verbOf(request.method, name !== '', isWatch);
    const denied = this.#authorize(request, verb, sub === undefined ? resource : `${resource}/${sub}`, name, namespace);
    if (denied !== null) return denied;
    const filter = { resource: resource as 'pods' | 'services', namespace, query };
    if (verb === 'list') return this.objects.list(filter);
    if (verb === 'watch') return this.objects.watch(filter);
    if (verb !== 'create' || sub === undefined) return failure(405, 'MethodNotAllowed', 'the stand-in does not do that');
    const options = (parse(request.body)?.['deleteOptions'] ?? {}) as { preconditions?: { uid?: string }; dryRun?: string[] };
    return this.objects.evict(namespace, name, options.preconditions?.uid, options.dryRun?.includes('All') === true);
  }

  /** What a token may do, as it is told itself. */
  #review(request: KubeRequest): Answer {
    const [, token = ''] = /^Bearer (.+)$/.exec(String(request.headers['authorization'] ?? '')) ?? [];
    const permissions = this.tokens.get(token);
    const body = parse(request.body);
    if (permissions === undefined) return failure(401, 'Unauthorized', 'Unauthorized');
    const spec = (body?.['spec'] ?? {}) as Json;
    const {
      verb = '',
      resource = '',
      subresource,
      name = '',
      namespace = '',
    } = (spec['resourceAttributes'] ?? {}) as Readonly<Record<string, string>>;
    return {
      status: 201,
      body: {
        ...body,
        status: { allowed: permissions.may(verb, subresource === undefined ? resource : `${resource}/${subresource}`, name, namespace) },
      },
    };
  }

  #node(name: string): Answer {
    const providerID = this.nodes.get(name);
    if (providerID === undefined) return notFound('nodes', name);
    return { status: 200, body: { apiVersion: 'v1', kind: 'Node', metadata: { name }, spec: { providerID } } };
  }

  #get(namespace: string, name: string): Answer {
    const lease = this.#leases.get(`${namespace}/${name}`);
    return lease === undefined ? notFound('leases', name) : { status: 200, body: lease };
  }

  #list(namespace: string, name: string | null, query: URLSearchParams): Answer {
    const from = Number(query.get('resourceVersion') ?? '0');
    if (from > this.#version) {
      return failure(504, 'Timeout', `Too large resource version: ${from}, current: ${this.#version}`, {
        causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
        retryAfterSeconds: 1,
      });
    }
    const items = [...this.#leases.values()].filter(
      ({ metadata }) => metadata.namespace === namespace && (name === null || metadata.name === name),
    );
    const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'LeaseList', metadata: { resourceVersion: String(this.#version) }, items };
    return { status: 200, body };
  }

  #watch(namespace: string, name: string | null, query: URLSearchParams): Answer | Watch {
    const from = Number(query.get('resourceVersion') ?? '0');
    if (!Number.isInteger(from))
      return failure(500, 'InternalError', `strconv.ParseUint: parsing "${query.get('resourceVersion') ?? ''}": invalid syntax`);
    const key = name === null ? null : `${namespace}/${name}`;
    if (from !== 0 && from < this.#oldestVersion) {
      const object = failure(410, 'Expired', `too old resource version: ${from} (${this.#oldestVersion})`).body;
      return { is: 'watch', endsAfterMs: 0, open: (send) => (send(JSON.stringify({ type: 'ERROR', object })), () => undefined) };
    }
    const open = (send: (line: string) => void): (() => void) => {
      const watcher: Watcher = { key, namespace, from, send, wantsBookmarks: query.get('allowWatchBookmarks') === 'true' };
      if (from === 0) {
        for (const object of this.#leases.values()) if (isFor(watcher, object)) sendEvent(send, 'ADDED', object);
      } else {
        for (const event of this.#history)
          if (event.version > from && isFor(watcher, event.object)) sendEvent(send, event.type, event.object);
      }
      this.#watchers.add(watcher);
      return () => void this.#watchers.delete(watcher);
    };
    return { is: 'watch', endsAfterMs: Number(query.get('timeoutSeconds') ?? '1800') * 1_000, open };
  }

  #post(namespace: string, body: Json | null): Answer {
    if (body === null) return badRequest('the object provided is unrecognized');
    const metadata = (body['metadata'] ?? {}) as Json;
    const name = typeof metadata['name'] === 'string' ? metadata['name'] : '';
    const problem = timeProblem(body) ?? integerProblem(body) ?? annotationProblem(body);
    if (problem !== null) return badRequest(problem);
    if (metadata['resourceVersion'] !== undefined && metadata['resourceVersion'] !== '') {
      return failure(500, 'InternalError', 'resourceVersion should not be set on objects to be created');
    }
    if (this.#leases.has(`${namespace}/${name}`))
      return failure(409, 'AlreadyExists', `leases.coordination.k8s.io "${name}" already exists`, { name });
    const lease = normalized(body, namespace, name);
    const invalid = invalidSpec(name, lease);
    if (invalid !== null) return invalid;
    lease.metadata.uid = this.#options.newUid();
    lease.metadata.creationTimestamp = this.#now();
    return { status: 201, body: this.#store('ADDED', lease) };
  }

  #put(namespace: string, name: string, body: Json | null): Answer {
    if (body === null) return badRequest('the object provided is unrecognized');
    const problem = timeProblem(body) ?? integerProblem(body) ?? annotationProblem(body);
    if (problem !== null) return badRequest(problem);
    const lease = normalized(body, namespace, name);
    const stored = this.#leases.get(`${namespace}/${name}`);
    const { uid, resourceVersion } = lease.metadata;
    if (resourceVersion !== '' && !/^\d+$/.test(resourceVersion)) return failure(500, 'InternalError', 'strconv.ParseUint: invalid syntax');
    if (stored === undefined) {
      if (uid !== '') return conflict(name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: `);
      lease.metadata.uid = this.#options.newUid();
      lease.metadata.creationTimestamp = this.#now();
      return { status: 201, body: this.#store('ADDED', lease) };
    }
    if (uid !== '' && uid !== stored.metadata.uid)
      return conflict(name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${stored.metadata.uid}`);
    if (resourceVersion === '') {
      return invalid(name, 'metadata.resourceVersion', 'Invalid value: 0: must be specified for an update');
    }
    if (resourceVersion !== stored.metadata.resourceVersion) return conflict(name);
    lease.metadata.uid = stored.metadata.uid;
    lease.metadata.creationTimestamp = stored.metadata.creationTimestamp;
    return invalidSpec(name, lease) ?? { status: 200, body: this.#storeIfChanged(stored, lease) };
  }

  #patch(namespace: string, name: string, request: KubeRequest): Answer {
    if (request.headers['content-type'] !== 'application/merge-patch+json') {
      return failure(
        415,
        'UnsupportedMediaType',
        'the body of the request was in an unknown format - accepted media types include: application/merge-patch+json',
      );
    }
    const patch = parse(request.body);
    if (patch === null) return badRequest('error decoding patch: invalid character');
    const stored = this.#leases.get(`${namespace}/${name}`);
    if (stored === undefined) return notFound('leases', name);
    const merged = mergePatch(stored as unknown as Json, patch) as Json;
    const problem = timeProblem(merged) ?? integerProblem(merged) ?? annotationProblem(merged);
    if (problem !== null) return invalidPatch(problem);
    const lease = normalized(merged, namespace, name);
    if (lease.metadata.resourceVersion !== stored.metadata.resourceVersion) return conflict(name);
    if (lease.metadata.uid !== stored.metadata.uid)
      return invalid(name, 'metadata.uid', `Invalid value: "${lease.metadata.uid}": field is immutable`);
    return invalidSpec(name, lease) ?? { status: 200, body: this.#storeIfChanged(stored, lease) };
  }

  #remove(namespace: string, name: string, body: Json | null): Answer {
    const stored = this.#leases.get(`${namespace}/${name}`);
    if (stored === undefined) return notFound('leases', name);
    const wanted = (body?.['preconditions'] ?? {}) as Json;
    const isStale = wanted['resourceVersion'] !== undefined && wanted['resourceVersion'] !== stored.metadata.resourceVersion;
    const isOther = wanted['uid'] !== undefined && wanted['uid'] !== stored.metadata.uid;
    if (isStale || isOther) return conflict(name, 'Precondition failed');
    this.delete(name, namespace);
    return { status: 200, body: { kind: 'Status', apiVersion: 'v1', status: 'Success' } };
  }

  #now(): string {
    return new Date(this.#options.wallMs()).toISOString().replace(/\.\d+Z$/, 'Z');
  }

  /** A write that changes nothing is answered with 200, and neither raises the version nor wakes a watch. */
  #storeIfChanged(stored: StoredLease, lease: StoredLease): StoredLease {
    return JSON.stringify(sorted(stored)) === JSON.stringify(sorted(lease)) ? stored : this.#store('MODIFIED', lease);
  }

  #store(type: 'ADDED' | 'MODIFIED', lease: StoredLease): StoredLease {
    this.#version += 1;
    lease.metadata.resourceVersion = String(this.#version);
    this.#leases.set(`${lease.metadata.namespace}/${lease.metadata.name}`, lease);
    this.#record(type, structuredClone(lease));
    this.onStored(lease);
    return lease;
  }

  #record(type: Event['type'], object: StoredLease): void {
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    this.#history.push({ type, version: this.#version, key, object });
    for (const watcher of this.#watchers) if (this.#version > watcher.from && isFor(watcher, object)) sendEvent(watcher.send, type, object);
  }
}

function verbOf(method: string, isNamed: boolean, isWatch: boolean): string {
  if (method === 'GET') return isWatch ? 'watch' : isNamed ? 'get' : 'list';
  return { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' }[method] ?? method.toLowerCase();
}

function isFor({ key, namespace }: Watcher, { metadata }: StoredLease): boolean {
  return key === null ? metadata.namespace === namespace : key === `${metadata.namespace}/${metadata.name}`;
}

function sendEvent(send: (line: string) => void, type: string, object: StoredLease): void {
  send(JSON.stringify({ type, object }));
}

export function parse(text: string): Json | null {
  try {
    const json = JSON.parse(text) as JsonValue;
    return typeof json === 'object' && json !== null && !Array.isArray(json) ? json : null;
  } catch {
    return null;
  }
}

/** RFC 7396. */
export function mergePatch(target: JsonValue, patch: JsonValue): JsonValue {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Json = typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) Reflect.deleteProperty(result, name);
    else result[name] = mergePatch(result[name] ?? null, value);
  }
  return result;
}

/** Keeps the fields that a Lease has and drops the rest, as the API server does. */
function normalized(body: Json, namespace: string, name: string): StoredLease {
  const metadata = (body['metadata'] ?? {}) as Json;
  const spec = (body['spec'] ?? {}) as Json;
  const field = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '');
  const texts = (value: JsonValue | undefined): Record<string, string> | undefined => {
    const entries = Object.entries((value ?? {}) as Record<string, string>);
    return entries.length === 0 ? undefined : Object.fromEntries(entries);
  };
  const labels = texts(metadata['labels']);
  const annotations = texts(metadata['annotations']);
  const times = (value: JsonValue | undefined): string | undefined => (typeof value === 'string' ? toUtc(value) : undefined);
  const kept = {
    holderIdentity: spec['holderIdentity'],
    leaseDurationSeconds: spec['leaseDurationSeconds'],
    acquireTime: times(spec['acquireTime']),
    renewTime: times(spec['renewTime']),
    leaseTransitions: spec['leaseTransitions'],
  };
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      name,
      namespace,
      uid: field(metadata['uid']),
      resourceVersion: field(metadata['resourceVersion']),
      creationTimestamp: field(metadata['creationTimestamp']),
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
    },
    spec: Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined && value !== null)),
  };
}

/** An offset is normalised to Z. */
export function toUtc(time: string): string {
  if (time.endsWith('Z')) return time;
  const micros = /\.(\d{6})/.exec(time)?.[1] ?? '000000';
  return new Date(Date.parse(time)).toISOString().replace(/\.\d{3}Z$/, `.${micros}Z`);
}

function timeProblem(body: Json): string | null {
  const spec = (body['spec'] ?? {}) as Json;
  for (const name of ['acquireTime', 'renewTime']) {
    const value = spec[name];
    if (value === undefined || value === null) continue;
    if (typeof value !== 'string' || !SIX_DIGITS.test(value)) {
      return `Lease in version "v1" cannot be handled as a Lease: parsing time ${JSON.stringify(value)} as "2006-01-02T15:04:05.000000Z07:00": cannot parse`;
    }
  }
  return null;
}

function integerProblem(body: Json): string | null {
  const spec = (body['spec'] ?? {}) as Json;
  for (const name of ['leaseDurationSeconds', 'leaseTransitions']) {
    const value = spec[name];
    if (value !== undefined && value !== null && !isInt32(value))
      return `json: cannot unmarshal into Go struct field LeaseSpec.spec.${name} of type int32`;
  }
  return null;
}

function isInt32(value: JsonValue): boolean {
  return typeof value === 'number' && (value | 0) === value;
}

function annotationProblem(body: Json): string | null {
  const annotations = ((body['metadata'] ?? {}) as Json)['annotations'] ?? {};
  const isText = Object.values(annotations).every((value) => typeof value === 'string');
  return isText ? null : 'json: cannot unmarshal into Go struct field ObjectMeta.metadata.annotations of type string';
}

function invalidSpec(name: string, { spec }: StoredLease): Answer | null {
  if (spec.leaseDurationSeconds !== undefined && spec.leaseDurationSeconds <= 0)
    return invalid(name, 'spec.leaseDurationSeconds', 'must be greater than 0');
  if (spec.leaseTransitions !== undefined && spec.leaseTransitions < 0)
    return invalid(name, 'spec.leaseTransitions', 'must be greater than or equal to 0');
  return null;
}

export function failure(status: number, reason: string, message: string, details: Json = {}): Answer {
  return { status, body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, details, code: status } };
}

function notFound(resource: string, name: string): Answer {
  const group = resource === 'leases' ? 'coordination.k8s.io' : '';
  return failure(404, 'NotFound', `${resource}${group === '' ? '' : `.${group}`} "${name}" not found`, { name, group, kind: resource });
}

function conflict(
  name: string,
  why = 'the object has been modified; please apply your changes to the latest version and try again',
): Answer {
  return failure(409, 'Conflict', `Operation cannot be fulfilled on leases.coordination.k8s.io "${name}": ${why}`, {
    name,
    group: 'coordination.k8s.io',
    kind: 'leases',
  });
}

function badRequest(message: string): Answer {
  return failure(400, 'BadRequest', message);
}

function invalid(name: string, field: string, message: string): Answer {
  return failure(422, 'Invalid', `Lease.coordination.k8s.io "${name}" is invalid: ${field}: ${message}`, {
    name,
    group: 'coordination.k8s.io',
    kind: 'Lease',
    causes: [{ reason: 'FieldValueInvalid', message, field }],
  });
}

/** A patch that makes no Lease is refused before anybody asks which Lease it was for. */
function invalidPatch(problem: string): Answer {
  return failure(422, 'Invalid', ` "" is invalid: patch: Invalid value: ${problem}`, {
    causes: [{ reason: 'FieldValueInvalid', message: `Invalid value: ${problem}`, field: 'patch' }],
  });
}

export function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, part]) => [name, sorted(part)]),
  );
}
