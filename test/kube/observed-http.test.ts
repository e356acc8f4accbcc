import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { observedKubeHttp } from '../../agent/kube/observed-http.ts';
import type { KubeExchange } from '../../agent/kube/observed-http.ts';
import { KubeTrouble } from '../../agent/kube/transport.ts';
import type { KubeAnswer, KubeCall, KubeHttp, KubeStream } from '../../agent/kube/transport.ts';
import { ManualClock } from '../support/manual-clock.ts';

const LEASES = '/apis/coordination.k8s.io/v1/namespaces/edge/leases';
const signal = new AbortController().signal;

let clock: ManualClock;
let seen: KubeExchange[];
/** What the next exchange brings, after 25 ms. */
let answer: () => KubeAnswer;
let http: KubeHttp;

const answered =
  (status: number): (() => KubeAnswer) =>
  () => ({ status, retryAfterMs: null, body: '{}' });
const call = (method: KubeCall['method'], path: string): Promise<KubeAnswer> => http.request({ method, path, timeoutMs: 1, signal });
const watch = (onOpen = (): void => undefined): Promise<KubeAnswer> =>
  http.stream({ path: `${LEASES}?watch=1`, timeoutMs: 1, idleMs: 1, signal, onOpen, onLine: () => undefined });

beforeEach(() => {
  clock = new ManualClock();
  seen = [];
  answer = answered(200);
  const inner: KubeHttp = {
    request: async () => {
      await clock.advance(25);
      return answer();
    },
    stream: async ({ onOpen }: KubeStream) => {
      await clock.advance(25);
      const opened = answer();
      if (opened.status === 200) onOpen();
      await clock.advance(300_000);
      return opened;
    },
  };
  http = observedKubeHttp(inner, clock, (exchange) => seen.push(exchange));
});

describe('HTTP to the Kubernetes API that is observed', () => {
  for (const [method, path, verb, resource] of [
    ['GET', `${LEASES}/leasehold`, 'get', 'leases'],
    ['GET', `${LEASES}?fieldSelector=metadata.name%3Dx`, 'list', 'leases'],
    ['PATCH', `${LEASES}/leasehold`, 'patch', 'leases'],
    ['POST', LEASES, 'create', 'leases'],
    ['GET', '/api/v1/nodes/node-a', 'get', 'nodes'],
    ['POST', '/apis/events.k8s.io/v1/namespaces/edge/events', 'create', 'events'],
    ['POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', 'create', 'selfsubjectaccessreviews'],
    ['GET', '/version', 'list', 'other'],
  ] as const) {
    test(`tells ${method} ${path} as ${verb} ${resource}, with how long it took`, async () => {
      await call(method, path);
      assert.deepEqual(seen, [{ verb, resource, code: '200', elapsedMs: 25 }]);
    });
  }

  test('tells why there was no answer, and throws the same', async () => {
    for (const [kind, code] of [
      ['unreachable', 'unreachable'],
      ['unknown', 'no-answer'],
      ['aborted', 'aborted'],
    ] as const) {
      const trouble = new KubeTrouble(kind, 'x');
      answer = () => {
        throw trouble;
      };
      await assert.rejects(call('GET', `${LEASES}/x`), (error) => error === trouble);
      assert.equal(seen.pop()?.code, code);
    }
  });

  test('tells of a watch once it has begun, and not again when it ends', async () => {
    let opened = 0;
    await watch(() => (opened += 1));
    assert.equal(opened, 1);
    assert.deepEqual(seen, [{ verb: 'watch', resource: 'leases', code: '200', elapsedMs: 25 }]);
  });

  test('tells of a watch that was refused, or could not be reached', async () => {
    answer = answered(410);
    await watch();
    answer = () => {
      throw new KubeTrouble('unreachable', 'x');
    };
    await assert.rejects(watch());
    assert.deepEqual(
      seen.map(({ code }) => code),
      ['410', 'unreachable'],
    );
  });
});
