import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { step } from '../../agent/contender/contender.ts';
import type { LeaseSight } from '../../agent/contender/lease.ts';
import { newContender } from '../../agent/contender/state.ts';
import { Credentials } from '../../agent/kube/credentials.ts';
import { ANNOTATIONS, decodeLease } from '../../agent/kube/lease-codec.ts';
import { KubeLeaseStore } from '../../agent/kube/lease-store.ts';
import { KubeLeaseWatch } from '../../agent/kube/lease-watch.ts';
import { KubeTransport, KubeTrouble } from '../../agent/kube/transport.ts';
import type { KubeAnswer, KubeHttp, KubeStream } from '../../agent/kube/transport.ts';
import { SETTINGS } from '../contender/driver.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { OUTBOUND } from '../support/outbound.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { fuzz } from './cases.ts';

const NAME = { namespace: 'default', name: 'leasehold' };
const ME = 'node-a_1_2';
const never = new AbortController().signal;

const TERM = { uid: 'b3c0fa1e-0000-4000-8000-000000000001', transitions: 7, holder: 'node-b_1_2' };
/** A Lease as a kube-apiserver writes it, with every mark there is. */
const LEASE = {
  kind: 'Lease',
  apiVersion: 'coordination.k8s.io/v1',
  metadata: {
    name: NAME.name,
    namespace: NAME.namespace,
    uid: TERM.uid,
    resourceVersion: '4711',
    creationTimestamp: '2026-11-21T08:00:00Z',
    labels: { 'app.kubernetes.io/name': 'leasehold' },
    annotations: {
      [ANNOTATIONS.duration]: JSON.stringify({ ...TERM, durationMs: 2_500 }),
      [ANNOTATIONS.released]: JSON.stringify(TERM),
      [ANNOTATIONS.relief]: JSON.stringify({ ...TERM, cause: 'unhealthy', reason: 'refused' }),
      [ANNOTATIONS.ask]: JSON.stringify({ ...TERM, by: 'node-c_1_2' }),
      [ANNOTATIONS.claimFailed]: '["node-d"]',
    },
    managedFields: [{ manager: 'leasehold', operation: 'Update', apiVersion: 'coordination.k8s.io/v1', fieldsV1: { 'f:spec': {} } }],
  },
  spec: {
    holderIdentity: TERM.holder,
    leaseDurationSeconds: 3,
    acquireTime: '2026-11-21T08:00:00.000000Z',
    renewTime: '2026-11-21T08:00:01.500000Z',
    leaseTransitions: 7,
  },
};

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** Whatever JSON can say. */
const json = fc.oneof(
  fc.jsonValue() as fc.Arbitrary<Json>,
  fc.constantFrom<Json>(null, '', 0, -1, 1.5, 2 ** 53, 1e300, '2147483648', [], {}, 'x'.repeat(100_000)),
);

/** A document with some of its parts, at whatever depth, replaced or gone. */
function changed(document: Json): fc.Arbitrary<Json> {
  const paths = pathsOf(document, []);
  const change = fc.record({ path: fc.constantFrom(...paths), to: fc.option(json, { nil: undefined }) });
  return fc.array(change, { maxLength: 4 }).map((changes) => changes.reduce((all, { path, to }) => put(all, path, to), document));
}

function pathsOf(value: Json, path: readonly string[]): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([name, part]) => pathsOf(part, [...path, name]))];
}

function put(value: Json, [name, ...rest]: readonly string[], to: Json | undefined): Json {
  if (name === undefined) return to ?? null;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const parts = Object.entries(value).flatMap(([each, part]): [string, Json][] => {
    if (each !== name) return [[each, part]];
    return rest.length === 0 && to === undefined ? [] : [[each, put(part, rest, to)]];
  });
  return Object.fromEntries(parts);
}

/** Annotations of any text: JSON that is damaged, JSON that means something else, and no JSON at all. */
const marks = fc.dictionary(
  fc.constantFrom(...Object.values(ANNOTATIONS)),
  fc.oneof(
    fc.constantFrom(...Object.values(LEASE.metadata.annotations)),
    fc.tuple(fc.constantFrom(...Object.values(LEASE.metadata.annotations)), fc.nat(120)).map(([text, at]) => text.slice(0, at)),
    changed({ ...TERM, durationMs: 1, by: 'x', cause: 'unhealthy', reason: 'x' }).map((mark) => JSON.stringify(mark)),
    fc.json(),
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.constantFrom('['.repeat(50_000), '"'.repeat(50_000), `["${'x'.repeat(200_000)}"]`),
  ),
);
const leases = fc.oneof(
  changed(LEASE),
  marks.map((annotations) => ({ ...LEASE, metadata: { ...LEASE.metadata, annotations } })),
  json,
);

describe('whatever a Lease says', () => {
  test('it is read as a Lease that makes sense, or not at all, and the rules can work with it', async (context) => {
    const property = fc.property(fc.array(leases, { minLength: 1, maxLength: 5 }), fc.boolean(), (documents, isWatched) => {
      let contender = newContender(SETTINGS, 0);
      for (const [index, document] of documents.entries()) {
        const record = decodeLease(document);
        if (record === null) continue;
        assertSensible(record);
        const request = contender.request?.id ?? 0;
        const atMs = (index + 1) * 1_000;
        const sight: LeaseSight = record;
        contender = step(
          contender,
          isWatched ? { type: 'lease-seen', sight, atMs } : { type: 'lease-read', request, outcome: { is: 'read', sight }, atMs },
        ).contender;
        assert.ok(!Number.isNaN(contender.wakeAtMs));
      }
    });
    await fuzz(context, property, 1_000);
  });
});

function assertSensible(record: Exclude<LeaseSight, 'absent'>): void {
  assert.ok(Number.isSafeInteger(record.transitions) && record.transitions >= 0, 'transitions are counted from 0');
  assert.ok(record.durationMs === null || (Number.isSafeInteger(record.durationMs) && record.durationMs > 0), 'a duration is positive');
  const { duration, relief, claimFailed } = record.marks;
  assert.ok(duration === null || (Number.isSafeInteger(duration.durationMs) && duration.durationMs > 0));
  assert.ok(relief === null || relief.reason.length <= 500, 'a reason is short enough for a log line');
  assert.ok(claimFailed.every((node) => typeof node === 'string'));
}

describe('whatever the API server answers', () => {
  const statuses = fc.oneof(fc.constantFrom(200, 201, 401, 403, 404, 409, 410, 422, 429, 500, 503), fc.integer({ min: 100, max: 599 }));
  const bodies = fc.oneof(
    leases.map((lease) => JSON.stringify(lease)),
    changed({ kind: 'Status', reason: 'NotFound', message: 'x', details: { name: 'leasehold', causes: [{ field: 'metadata.uid' }] } }).map(
      (status) => JSON.stringify(status),
    ),
    fc.string({ unit: 'binary' }),
    fc.constantFrom('', '[]', 'null', '['.repeat(100_000)),
  );
  const answers: fc.Arbitrary<KubeAnswer> = fc.record({
    status: statuses,
    retryAfterMs: fc.option(fc.nat(99_999_000)),
    body: bodies,
  });

  test('a read or a write ends in one of the ways that the rules know', async (context) => {
    const property = fc.asyncProperty(answers, fc.boolean(), async (answer, isRead) => {
      const http: KubeHttp = { request: () => Promise.resolve(answer), stream: () => Promise.reject(new Error('not asked')) };
      const store = new KubeLeaseStore(http, NAME, ME, REAL_CLOCK, () => undefined);
      const basis = { uid: 'u', resourceVersion: '1' };
      const outcome = isRead
        ? await store.read(1_000, never)
        : await store.write({ type: 'ask', request: 1, timeoutMs: 1, notAfterMs: 1, basis, marks: {} }, never);
      const ends = ['read', 'written', 'conflict', 'missing', 'refused', 'throttled', 'unavailable', 'unknown'];
      assert.ok(ends.includes(outcome.is), outcome.is);
      if (outcome.is === 'read' && outcome.sight === 'absent') assert.equal(answer.status, 404);
      if ('message' in outcome) assert.ok(outcome.message.length < 2_000, 'a message is short enough for a log line');
    });
    await fuzz(context, property, 1_000);
  });

  test('a watch tells of Leases that make sense and comes back, whatever its list and its lines are', async (context) => {
    const event = fc.record({ type: fc.constantFrom('ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR', ''), object: leases });
    const lines = fc.oneof(
      event.map((each) => JSON.stringify(each)),
      fc.string({ unit: 'binary' }),
    );
    const list = changed({ kind: 'LeaseList', metadata: { resourceVersion: '9' }, items: [LEASE] });
    const property = fc.asyncProperty(list, fc.array(lines, { maxLength: 5 }), async (listed, said) => {
      const clock = new ManualClock();
      const ending = new AbortController();
      const sights: LeaseSight[] = [];
      const http = new ScriptedHttp(JSON.stringify(listed), said);
      const events = { onSight: (sight: LeaseSight): void => void sights.push(sight), onState: (): void => undefined };
      const running = new KubeLeaseWatch(http, NAME, clock, () => 0, events).run(ending.signal);
      await clock.advance(3_000);
      const calls = http.calls;
      await clock.advance(30_000);
      assert.ok(http.calls > calls, 'it goes on');
      assert.ok(http.calls < 50, 'and does not rush');
      ending.abort(new Error('the end'));
      await running;
      for (const sight of sights) if (sight !== 'absent') assertSensible(sight);
      const mayBeAbsent = said.some((line) => line.includes('DELETED')) || JSON.stringify(listed).includes('"items":[]');
      if (!mayBeAbsent) assert.ok(!sights.includes('absent'), 'what is not understood is not taken for absent');
    });
    await fuzz(context, property, 100);
  });
});

/** Answers each list with one text and each watch with the same lines. */
class ScriptedHttp implements KubeHttp {
  readonly #list: string;
  readonly #lines: readonly string[];
  calls = 0;

  constructor(list: string, lines: readonly string[]) {
    this.#list = list;
    this.#lines = lines;
  }

  request(): Promise<KubeAnswer> {
    this.calls += 1;
    return Promise.resolve({ status: 200, retryAfterMs: null, body: this.#list });
  }

  async stream(call: KubeStream): Promise<KubeAnswer> {
    this.calls += 1;
    call.onOpen();
    try {
      for (const line of this.#lines) call.onLine(line);
    } catch (error) {
      throw new KubeTrouble('unknown', String(error), error);
    }
    return await Promise.resolve({ status: 200, retryAfterMs: null, body: '' });
  }
}

describe('whatever bytes come over the wire', () => {
  let folder: string;
  let server: Server;
  let sockets: Set<Socket>;
  let script: readonly Buffer[];

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
    sockets = new Set();
    server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
      socket.once('data', () => void say(socket)).resume();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const kubeconfig = {
      clusters: [{ name: 'x', cluster: { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'x', user: {} }],
      contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
      'current-context': 'x',
    };
    writeFileSync(join(folder, 'kubeconfig'), JSON.stringify(kubeconfig));
  });
  after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(folder, { recursive: true });
  });

  async function say(socket: Socket): Promise<void> {
    for (const part of script) {
      if (socket.destroyed) return;
      socket.write(part);
      await new Promise((resolve) => setImmediate(resolve));
    }
    // Half of what is fuzzed never ends by itself: then the agent's own deadline has to.
    if (script.length % 2 === 0) socket.end();
  }

  function open(): KubeTransport {
    return new KubeTransport(new Credentials({ kind: 'kubeconfig', path: join(folder, 'kubeconfig') }, REAL_CLOCK), REAL_CLOCK, OUTBOUND);
  }

  const head = (status: number, more = ''): Buffer => Buffer.from(`HTTP/1.1 ${status} X\r\n${more}\r\n`);
  const bytes = fc.uint8Array({ maxLength: 300 }).map((data) => Buffer.from(data));
  const chunks = fc.oneof(
    bytes,
    fc.constantFrom(
      Buffer.from(`${JSON.stringify({ type: 'MODIFIED', object: LEASE })}\n`),
      Buffer.from('{"type":"BOOKMARK"'),
      Buffer.from('\n'),
      Buffer.from('\n'.repeat(5_000)),
      Buffer.from([0xf0, 0x9f]),
      Buffer.from('ä\n').subarray(0, 1),
      Buffer.alloc(200_000, 'x'),
    ),
  );
  const scripts = fc.tuple(
    fc.oneof(
      fc.constantFrom(
        head(200),
        head(200),
        head(500),
        head(401),
        head(429, 'Retry-After: 99999999\r\n'),
        head(200, 'Content-Length: 999999\r\n'),
      ),
      fc.constant(head(200, 'Transfer-Encoding: chunked\r\n')),
      bytes,
    ),
    fc.array(chunks, { maxLength: 12 }),
  );

  test('a request and a stream end with an answer or in words that say why, and leave no connection behind', async (context) => {
    const property = fc.asyncProperty(scripts, fc.boolean(), async ([first, rest], isStream) => {
      // A connection that an earlier case has left behind is not this one's.
      for (const socket of sockets) socket.destroy();
      sockets.clear();
      script = [first, ...rest];
      const transport = open();
      const common = { path: '/x', timeoutMs: 60, signal: never };
      const lines: string[] = [];
      try {
        const stream = { ...common, idleMs: 60, onOpen: (): void => undefined, onLine: (line: string): void => void lines.push(line) };
        await (isStream ? transport.stream(stream) : transport.request({ ...common, method: 'GET' }));
      } catch (error) {
        // A machine may be too busy to connect in time, which is another word for the same end.
        assert.ok(error instanceof KubeTrouble && error.kind !== 'aborted' && !error.message.includes('credentials'), String(error));
      }
      assert.ok(lines.every((line) => line !== '' && !line.includes('\n') && line.length <= 1024 * 1024));
      const isClosed = (): boolean => sockets.size === 0;
      for (let turn = 0; turn < 200 && !isClosed(); turn += 1) await new Promise((resolve) => setTimeout(resolve, 5));
      assert.ok(isClosed(), 'no connection is left behind');
      transport.close();
    });
    await fuzz(context, property, 60);
  });
});
