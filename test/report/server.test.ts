import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { StatusServer } from '../../agent/report/server.ts';
import { eventually } from '../support/eventually.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { statusOf } from '../support/status-example.ts';
import { Driver } from '../contender/driver.ts';

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
    names: ['node-a.example.com'],
    clock: REAL_CLOCK,
    onProblem: (message) => problems.push(message),
    answers: {
      livenessProblem: () => livenessProblem,
      readinessProblems: () => readinessProblems,
      status: () => statusOf(new Driver().standBy()),
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
    assert.deepEqual([status, JSON.parse(text)], [200, JSON.parse(JSON.stringify(statusOf(new Driver().standBy())))]);
  });

  test('gives people a page, under a policy that lets it load nothing and nobody frame it', async () => {
    start();
    const response = await fetch(`http://127.0.0.1:${port}/`);
    assert.match(await response.text(), /^<!doctype html>.*<h1>.*Standby.*<\/html>\n$/s);
    const headers = Object.fromEntries(response.headers);
    assert.match(headers['content-security-policy'] ?? '', /^default-src 'none';.* frame-ancestors 'none'$/);
    assert.doesNotMatch(headers['content-security-policy'] ?? '', /unsafe/);
    assert.equal(headers['content-type'], 'text/html; charset=utf-8');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['referrer-policy'], 'no-referrer');
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(headers['cross-origin-resource-policy'], 'same-origin');
  });

  test('answers a question for the head alone without a body, that of a stream without waiting', async () => {
    start();
    for (const path of ['/', '/status', '/status/stream', '/healthz']) assert.deepEqual(await get(path, 'HEAD'), [200, ''], path);
  });

  test('streams what the page shows, and ends with its streams', async () => {
    start();
    const response = await fetch(`http://127.0.0.1:${port}/status/stream`);
    assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    assert.equal(response.headers.get('cache-control'), 'no-store');
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    assert.match((await reader?.read())?.value ?? '', /^retry: .*"title":"standby · node-a/s);
    server?.close();
    await assert.doesNotReject(async () => {
      while ((await reader?.read().catch(() => ({ done: true })))?.done === false);
    });
  });

  test('tells of the cluster only under a name that a stranger cannot own', async () => {
    start();
    const statusFor = (path: string, host: string): Promise<number> =>
      new Promise((resolve, reject) => {
        http
          .get({ host: '127.0.0.1', port, path, headers: { host }, agent: false }, (response) => {
            response.resume();
            resolve(response.statusCode ?? 0);
          })
          .on('error', reject);
      });
    for (const host of ['127.0.0.1:9808', '10.0.0.7', '[::1]:9808', 'localhost:9808', 'LOCALHOST', 'node-b', 'Node-A.example.com:9808'])
      assert.equal(await statusFor('/status', host), 200, host);
    for (const host of [
      'evil.example',
      'node-a.example.com.evil.example',
      'localhost.evil.example:9808',
      '127.0.0.1.evil.example',
      'localhost.',
    ])
      for (const path of ['/', '/status']) assert.equal(await statusFor(path, host), 421, host);
    assert.equal(await statusFor('/status/stream', 'evil.example'), 421);
    for (const path of ['/healthz', '/readyz', '/metrics']) assert.equal(await statusFor(path, 'node-a.internal.example'), 200, path);
  });

  test('answers nothing else, and changes nothing', async () => {
    start();
    assert.equal((await get('/favicon.ico'))[0], 404);
    assert.equal((await get('/', 'POST'))[0], 405);
    assert.equal((await get('/status/stream', 'POST'))[0], 405);
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
      `cannot listen on 127.0.0.1:${port}: another process uses the port. Unless that is another agent on this node, set LISTEN to a free one, and in a cluster the container's port http, too (kustomize: the component second-port; Helm: port)`,
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

  test('answers although others have connected and say nothing', { timeout: 20_000 }, async () => {
    start();
    assert.deepEqual(await get('/healthz'), [200, 'ok\n']);
    const silent = Array.from({ length: 300 }, () => net.connect(port, '127.0.0.1').on('error', () => undefined));
    await Promise.all(silent.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
    const answers = async (): Promise<boolean> =>
      await get('/healthz').then(
        ([status]) => status === 200,
        () => false,
      );
    await eventually('it answers again', answers, 10_000);
    for (const socket of silent) socket.destroy();
  });
});
