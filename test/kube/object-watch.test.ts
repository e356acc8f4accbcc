import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ObjectWatch } from '../../agent/kube/object-watch.ts';
import { KubeTrouble } from '../../agent/kube/transport.ts';
import type { KubeAnswer, KubeHttp, KubeStream } from '../../agent/kube/transport.ts';
import { ManualClock } from '../support/manual-clock.ts';

const PODS = { path: '/api/v1/namespaces/default/pods', query: { labelSelector: 'app=web' }, what: 'the pods', advice: (): string => '' };

/** Answers each list with the next page, and keeps each stream open until it is told otherwise. */
class Pages implements KubeHttp {
  readonly lists: URLSearchParams[] = [];
  readonly streams: { readonly call: KubeStream; readonly fail: (trouble: KubeTrouble) => void }[] = [];
  readonly #pages: readonly object[];

  constructor(...pages: readonly object[]) {
    this.#pages = pages;
  }

  request({ path }: { readonly path: string }): Promise<KubeAnswer> {
    const page = this.#pages[this.lists.length % this.#pages.length];
    this.lists.push(new URLSearchParams(path.split('?')[1]));
    return Promise.resolve({ status: 200, retryAfterMs: null, body: JSON.stringify(page) });
  }

  stream(call: KubeStream): Promise<KubeAnswer> {
    return new Promise((_, reject) => {
      this.streams.push({ call, fail: reject });
      call.signal.addEventListener('abort', () => reject(new KubeTrouble('aborted', 'called off')));
    });
  }
}

const page = (names: readonly string[], more = ''): object => ({
  metadata: { resourceVersion: '7', ...(more === '' ? {} : { continue: more }) },
  items: names.map((name) => ({ metadata: { name } })),
});

function start(http: KubeHttp): { lists: (readonly unknown[])[]; clock: ManualClock; stop: () => void } {
  const lists: (readonly unknown[])[] = [];
  const clock = new ManualClock();
  const ending = new AbortController();
  const events = {
    onList: (objects: readonly unknown[]): void => void lists.push(objects),
    onChange: (): void => undefined,
    onState: (): void => undefined,
  };
  void new ObjectWatch(http, PODS, clock, () => 0, events).run(ending.signal);
  return { lists, clock, stop: () => ending.abort() };
}

describe('a watch of objects', () => {
  test('reads a long list page by page, and shows it as one', async () => {
    const http = new Pages(page(['a', 'b'], 'next'), page(['c']));
    const { lists, clock, stop } = start(http);
    await clock.advance(0);
    assert.deepEqual(lists, [[{ metadata: { name: 'a' } }, { metadata: { name: 'b' } }, { metadata: { name: 'c' } }]]);
    assert.deepEqual(
      http.lists.map((query) => [query.get('labelSelector'), query.get('continue')]),
      [
        ['app=web', null],
        ['app=web', 'next'],
      ],
    );
    stop();
  });

  test('lists again after a stream that carried nothing at all, because nothing of it may have come through', async () => {
    const http = new Pages(page(['a']));
    const { lists, clock, stop } = start(http);
    await clock.advance(0);
    await clock.advance(http.streams[0]?.call.idleMs ?? assert.fail());
    http.streams[0]?.fail(new KubeTrouble('unknown', 'silent'));
    await clock.advance(1_000);
    assert.equal(lists.length, 2);
    stop();
  });

  test('resumes without a list after a stream that broke while it was heard of', async () => {
    const http = new Pages(page(['a']));
    const { lists, clock, stop } = start(http);
    await clock.advance(0);
    await clock.advance(60_000);
    http.streams[0]?.call.onLine('{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}');
    await clock.advance(60_000);
    http.streams[0]?.fail(new KubeTrouble('unknown', 'cut'));
    await clock.advance(1_000);
    assert.equal(lists.length, 1);
    assert.match(http.streams[1]?.call.path ?? '', /resourceVersion=9/);
    stop();
  });
});
