import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Streams, STREAMS_MAX } from '../../agent/report/streams.ts';
import type { View } from '../../agent/report/streams.ts';
import { eventually } from '../support/eventually.ts';
import { ManualClock } from '../support/manual-clock.ts';

interface StreamEvent {
  readonly at: number;
  readonly edition?: string;
  readonly title?: string;
  readonly sections: Readonly<Record<string, string>>;
}

let clock: ManualClock;
let view: View;
let drawn: number;
let streams: Streams;
let server: http.Server;
let port: number;

beforeEach(async () => {
  clock = new ManualClock();
  view = { edition: 'e1', atMs: 0, tone: 'good', title: 'serving', icon: 'data:,', sections: { role: 'serving', probes: 'well' } };
  drawn = 0;
  streams = new Streams(clock, () => {
    drawn += 1;
    return { ...view, atMs: clock.wallMs() };
  });
  server = http.createServer((_, response) => {
    if (!streams.open(response, { 'cache-control': 'no-store' })) response.writeHead(503).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
});
afterEach(() => {
  streams.close();
  server.close();
  server.closeAllConnections();
});

/** A browser that follows. */
class Reader {
  text = '';
  status = 0;
  isOver = false;
  readonly #request: http.ClientRequest;

  constructor() {
    this.#request = http.get({ port, host: '127.0.0.1', agent: false }, (response) => {
      this.status = response.statusCode ?? 0;
      response.setEncoding('utf8').on('data', (text: string) => (this.text += text));
      response.on('close', () => (this.isOver = true));
    });
    this.#request.on('error', () => (this.isOver = true));
  }

  get events(): StreamEvent[] {
    return [...this.text.matchAll(/^data: (.*)$/gm)].map(([, json = '']) => JSON.parse(json) as StreamEvent);
  }

  close(): void {
    this.#request.destroy();
  }
}

async function follow(): Promise<Reader> {
  const reader = new Reader();
  await eventually('the stream begins', () => reader.events.length > 0);
  return reader;
}

const change = (role: string): void => {
  view = { ...view, title: role, sections: { ...view.sections, role } };
  streams.changed();
};

describe('a live stream', () => {
  test('begins with everything, and with how soon to try again', async () => {
    const reader = await follow();
    assert.match(reader.text, /^retry: 1000\n\ndata: /);
    assert.deepEqual(reader.events, [
      { at: clock.wallMs(), edition: 'e1', tone: 'good', title: 'serving', icon: 'data:,', sections: view.sections },
    ]);
  });

  test('sends what has changed, and only that', async () => {
    const reader = await follow();
    change('standby');
    await clock.advance(250);
    await eventually('the change arrives', () => reader.events.some(({ title }) => title === 'standby'));
    assert.deepEqual(reader.events.at(-1)?.sections, { role: 'standby' });
    assert.equal(reader.events.at(-1)?.edition, undefined);
  });

  test('sends at most four events a second, the last of them with the latest', async () => {
    const reader = await follow();
    await clock.advance(250);
    const before = drawn;
    for (let count = 0; count < 100; count += 1) {
      change(`role ${count}`);
      await clock.advance(10);
    }
    await clock.advance(250);
    assert.ok(drawn - before <= 5, `${drawn - before} in 1.25 s`);
    await eventually('the latest arrives', () => reader.events.at(-1)?.sections['role'] === 'role 99');
  });

  test('says every second that the agent is there, and shows then what nobody has told of', async () => {
    const reader = await follow();
    await clock.advance(1_000);
    const count = reader.events.length;
    await clock.advance(2_000);
    await eventually('two more have come', () => reader.events.length === count + 2);
    assert.deepEqual(reader.events.at(-1), { at: clock.wallMs(), sections: {} });
    view = { ...view, sections: { ...view.sections, probes: 'bad' } };
    await clock.advance(1_000);
    await eventually('it is shown', () => reader.events.at(-1)?.sections['probes'] === 'bad');
  });

  test('is the same for one that comes later', async () => {
    const first = await follow();
    change('standby');
    const second = await follow();
    change('serving');
    await clock.advance(250);
    for (const reader of [first, second]) {
      await eventually('both know', () => reader.events.findLast(({ sections }) => 'role' in sections)?.sections['role'] === 'serving');
    }
  });

  test('costs nothing while nobody reads: nothing is drawn and no timer runs', async () => {
    streams.changed();
    await clock.advance(60_000);
    assert.deepEqual([drawn, clock.timers], [0, 0]);
    const reader = await follow();
    reader.close();
    await eventually('it is forgotten', () => streams.readers === 0);
    const before = drawn;
    streams.changed();
    await clock.advance(60_000);
    assert.deepEqual([drawn, clock.timers], [before, 0]);
  });

  test('is refused to one reader too many, and open again once another has gone', async () => {
    const readers = await Promise.all(Array.from({ length: STREAMS_MAX }, follow));
    const refused = new Reader();
    await eventually('it is refused', () => refused.status === 503);
    readers[0]?.close();
    await eventually('one has gone', () => streams.readers === STREAMS_MAX - 1);
    await follow();
  });

  test('is dropped where its reader does not read, and goes on for others', async () => {
    const stuck = connect(port, '127.0.0.1');
    await new Promise((resolve) => stuck.on('connect', resolve));
    stuck.pause();
    stuck.on('error', () => undefined);
    stuck.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await eventually('it is taken on', () => streams.readers === 1);
    const reader = await follow();
    // More than the kernel keeps for a connection on loopback.
    for (let count = 0; streams.readers > 1; count += 1) {
      assert.ok(count < 500, 'it is kept for ever');
      change(String(count).padEnd(100_000, 'x'));
      await clock.advance(250);
    }
    change('standby');
    await clock.advance(250);
    await eventually('the other goes on', () => reader.events.at(-1)?.sections['role'] === 'standby');
    stuck.destroy();
  });

  test('ends with the latest when it is closed, and leaves no timer', async () => {
    const reader = await follow();
    change('stopped');
    streams.close();
    await eventually('it ends', () => reader.isOver);
    assert.equal(reader.events.at(-1)?.title, 'stopped');
    assert.equal(clock.timers, 0);
  });
});
