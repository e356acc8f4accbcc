import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Turns } from '../../agent/provider/turns.ts';

const never = new AbortController().signal;

describe('turns', () => {
  test('come one after the other for one thing, and side by side for others', async () => {
    const turns = new Turns<string>();
    const begun: string[] = [];
    let end = (): void => undefined;
    const first = turns.take('a', never, () => {
      begun.push('a1');
      return new Promise<void>((resolve) => (end = resolve));
    });
    const second = turns.take('a', never, () => Promise.resolve(begun.push('a2')));
    await turns.take('b', never, () => Promise.resolve(begun.push('b1')));
    assert.deepEqual(begun, ['a1', 'b1']);
    end();
    await Promise.all([first, second]);
    assert.deepEqual(begun, ['a1', 'b1', 'a2']);
  });

  test('go on after work that has failed', async () => {
    const turns = new Turns<string>();
    const failed = turns.take('a', never, () => Promise.reject(new Error('it failed')));
    const next = turns.take('a', never, () => Promise.resolve('done'));
    await assert.rejects(failed, /it failed/);
    assert.equal(await next, 'done');
  });

  for (const when of ['before', 'while'] as const) {
    test(`are not waited for by who is not wanted any more, as is known ${when} waiting`, async () => {
      const turns = new Turns<string>();
      let end = (): void => undefined;
      const first = turns.take('a', never, () => new Promise<void>((resolve) => (end = resolve)));
      const unwanted = new AbortController();
      if (when === 'before') unwanted.abort(new Error('not wanted'));
      let hasBegun = false;
      const waiting = turns.take('a', unwanted.signal, () => {
        hasBegun = true;
        return Promise.resolve();
      });
      const refused = assert.rejects(waiting, /not wanted/);
      unwanted.abort(new Error('not wanted'));
      await refused;
      end();
      await first;
      await turns.take('a', never, () => Promise.resolve());
      assert.equal(hasBegun, false);
    });
  }
});
