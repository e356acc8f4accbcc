import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { Clock } from '../../agent/clock.ts';
import { Credentials } from '../../agent/kube/credentials.ts';
import { KubeTransport, KubeTrouble } from '../../agent/kube/transport.ts';
import type { KubeAnswer } from '../../agent/kube/transport.ts';
import { eventually } from '../support/eventually.ts';
import { HttpStandIn } from '../support/http-stand-in.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { OUTBOUND } from '../support/outbound.ts';

const never = new AbortController().signal;

let folder: string;
let server: HttpStandIn;
let streams: ServerResponse[];
let transport: KubeTransport;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
});
after(() => rmSync(folder, { recursive: true }));

beforeEach(async () => {
  streams = [];
  server = await new HttpStandIn(({ path }, response) => {
    if (path === '/refused') {
      response.writeHead(500);
      response.flushHeaders();
      streams.push(response);
      return null;
    }
    if (path !== '/stream') return { status: 200, body: {} };
    response.writeHead(200);
    response.flushHeaders();
    streams.push(response);
    return null;
  }, null).listen();
  connect(REAL_CLOCK);
});

afterEach(async () => {
  transport.close();
  await server.close();
});

function connect(clock: Clock): void {
  const path = join(folder, 'kubeconfig');
  const at = { name: 'here' };
  writeFileSync(
    path,
    JSON.stringify({
      clusters: [{ ...at, cluster: { server: server.url, 'insecure-skip-tls-verify': true } }],
      users: [{ ...at, user: {} }],
      contexts: [{ ...at, context: { cluster: 'here', user: 'here' } }],
      'current-context': 'here',
    }),
  );
  transport = new KubeTransport(new Credentials({ kind: 'kubeconfig', path }, clock), clock, OUTBOUND);
}

const get = (timeoutMs = 5_000): Promise<KubeAnswer> => transport.request({ method: 'GET', path: '/', timeoutMs, signal: never });

const kind =
  (is: KubeTrouble['kind']) =>
  (error: unknown): boolean =>
    error instanceof KubeTrouble && error.kind === is;

describe('a request', () => {
  test('that is cut on a connection used before may have been carried out', async () => {
    await get();
    server.failNext({ is: 'cut', when: 'before' });
    await assert.rejects(get(), kind('unknown'));
    assert.equal(server.connections, 1);
  });

  test('that missed its deadline gives every idle connection up, as they may be as dead', async () => {
    await Promise.all([get(), get()]);
    assert.equal(server.connections, 2);
    server.failNext({ is: 'hang', when: 'before' });
    await assert.rejects(get(50), kind('unknown'));
    await get();
    assert.equal(server.connections, 3);
  });
});

describe('a stream', () => {
  /** Opens one and collects its lines. */
  function open(): { lines: string[]; ended: Promise<KubeAnswer> } {
    const lines: string[] = [];
    const ended = transport.stream({
      path: '/stream',
      timeoutMs: 5_000,
      idleMs: 1_000,
      signal: never,
      onOpen: () => undefined,
      onLine: (line) => lines.push(line),
    });
    return { lines, ended };
  }

  test('is handed on line by line, wherever the network cut it', async () => {
    const { lines, ended } = open();
    await eventually('it is open', () => streams.length === 1);
    const bytes = Buffer.from('{"a":"ä"}\n\n{"b":2}\n');
    streams[0]?.write(bytes.subarray(0, 7));
    await new Promise((resolve) => setImmediate(resolve));
    streams[0]?.end(bytes.subarray(7));
    assert.equal((await ended).status, 200);
    assert.deepEqual(lines, ['{"a":"ä"}', '{"b":2}']);
  });

  test('is held for dead once it has been silent for long enough, counted from the last sign of life', async () => {
    const clock = new ManualClock();
    connect(clock);
    const { lines, ended } = open();
    const failed = assert.rejects(ended, kind('unknown'));
    await eventually('it is open', () => streams.length === 1);
    streams[0]?.write('first\n');
    await eventually('the first line is there', () => lines.length === 1);
    await clock.advance(900);
    streams[0]?.write('second\n');
    await eventually('the second line is there', () => lines.length === 2);
    await clock.advance(900);
    streams[0]?.write('third\n');
    await eventually('the third line is there', () => lines.length === 3);
    await clock.advance(1_000);
    await failed;
  });

  test('with a line that never ends is broken off', async () => {
    const { ended } = open();
    await eventually('it is open', () => streams.length === 1);
    streams[0]?.write('x'.repeat(2 * 1024 * 1024));
    await assert.rejects(ended, /longer than an object can be/);
  });

  test('that is refused in an answer without end leaves no connection behind', async () => {
    const call = { path: '/refused', timeoutMs: 100, idleMs: 1_000, signal: never, onOpen: () => undefined, onLine: () => undefined };
    await assert.rejects(transport.stream(call), kind('unknown'));
    await eventually('the connection is closed', () => streams[0]?.destroyed === true);
  });
});
