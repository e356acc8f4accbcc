import assert from 'node:assert/strict';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { StatusServer } from '../../agent/report/server.ts';
import { eventually } from '../support/eventually.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';

let port: number;
let server: StatusServer | null;
let problems: string[];
let livenessProblem: string | null;
let readinessProblems: string[];

async function freePort(): Promise<number> {
  const probe = net.createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port: free } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return free;
}

function start(): void {
  server = new StatusServer({
    host: '127.0.0.1',
    port,
    clock: REAL_CLOCK,
    onProblem: (message) => problems.push(message),
    answers: {
      livenessProblem: () => livenessProblem,
      readinessProblems: () => readinessProblems,
      status: () => ({ role: 'standby' }),
      metrics: () => Promise.resolve({ contentType: 'text/plain; version=0.0.4', text: 'a 1\n' }),
    },
  });
}

beforeEach(async () => {
  port = await freePort();
  problems = [];
  livenessProblem = null;
  readinessProblems = [];
  server = null;
});
afterEach(() => server?.close());

async function get(path: string, method = 'GET'): Promise<[number, string]> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
  return [response.status, await response.text()];
}

describe('the port', () => {
  test('says whether the loop turns', async () => {
    start();
    assert.deepEqual(await get('/healthz'), [200, 'ok\n']);
    livenessProblem = 'the loop has stood still for 12000ms';
    assert.deepEqual(await get('/healthz'), [503, 'the loop has stood still for 12000ms\n']);
  });

  test('says whether the agent is ready, and everything that keeps it from it', async () => {
    start();
    assert.deepEqual(await get('/readyz'), [200, 'ok\n']);
    readinessProblems = ['Kubernetes API: not reached', 'provider: no'];
    assert.deepEqual(await get('/readyz'), [503, 'Kubernetes API: not reached\nprovider: no\n']);
  });

  test('gives the status as JSON', async () => {
    start();
    const [status, text] = await get('/status');
    assert.deepEqual([status, JSON.parse(text)], [200, { role: 'standby' }]);
  });

  test('answers nothing else, and changes nothing', async () => {
    start();
    assert.equal((await get('/'))[0], 404);
    assert.equal((await get('/status', 'POST'))[0], 405);
    assert.equal((await get('/status', 'DELETE'))[0], 405);
  });

  test('that is taken is said to be, and served once it is free', async () => {
    const other = net.createServer();
    await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', resolve));
    start();
    await eventually('the problem is told', () => problems.length > 0);
    assert.equal(
      problems[0],
      `cannot listen on 127.0.0.1:${port}: another process uses the port. Unless that is another agent on this node, set LISTEN to a free one, and both probes of the DaemonSet, too`,
    );
    await new Promise((resolve) => other.close(resolve));
    let answer: [number, string] | null = null;
    await eventually('it is served', () => {
      void get('/healthz').then(
        (got) => (answer = got),
        () => undefined,
      );
      return answer !== null;
    });
  });
});
