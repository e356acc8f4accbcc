import assert from 'node:assert/strict';
import type { LookupAddress, LookupOptions } from 'node:dns';
import { beforeEach, describe, test } from 'node:test';
import { rememberingLookup } from '../agent/outbound.ts';
import { ManualClock } from './support/manual-clock.ts';

const FOUR: LookupAddress = { address: '192.0.2.1', family: 4 };
const SIX: LookupAddress = { address: '2001:db8::1', family: 6 };

let clock: ManualClock;
let searches: { readonly resolve: (addresses: LookupAddress[]) => void; readonly reject: (error: Error) => void }[];
let lookup: ReturnType<typeof rememberingLookup>;

beforeEach(() => {
  clock = new ManualClock();
  searches = [];
  lookup = rememberingLookup(() => new Promise((resolve, reject) => searches.push({ resolve, reject })), clock);
});

function ask(options: LookupOptions = { all: true }, hostname = 'api.example'): Promise<string | LookupAddress[]> {
  return new Promise((resolve, reject) => {
    lookup(hostname, options, (error, found) => (error === null ? resolve(found) : reject(error)));
  });
}

describe('a host name', () => {
  test('that was found once is answered from memory, and looked up anew beside it', async () => {
    const first = ask();
    searches[0]?.resolve([FOUR]);
    assert.deepEqual(await first, [FOUR]);
    await clock.advance(9_999);
    assert.deepEqual(await ask(), [FOUR]);
    assert.equal(searches.length, 1, 'though not at every connection');
    await clock.advance(1);
    assert.deepEqual(await ask(), [FOUR]);
    searches[1]?.resolve([SIX]);
    await clock.advance(0);
    assert.deepEqual(await ask(), [SIX]);
  });

  test('keeps its answer while nobody can be asked', async () => {
    const first = ask();
    searches[0]?.resolve([FOUR]);
    await first;
    await clock.advance(60_000);
    await ask();
    searches[1]?.reject(new Error('EAI_AGAIN'));
    await clock.advance(60_000);
    assert.deepEqual(await ask(), [FOUR]);
  });

  test('is looked up once at a time, however many wait', async () => {
    const waiting = [ask(), ask(), ask()];
    assert.equal(searches.length, 1);
    searches[0]?.reject(new Error('EAI_AGAIN'));
    for (const each of waiting) await assert.rejects(each, /EAI_AGAIN/);
    void ask();
    assert.equal(searches.length, 2, 'and again when that has failed');
  });

  test('gives one address or all, of the family that is asked for', async () => {
    const all = ask({});
    searches[0]?.resolve([FOUR, SIX]);
    assert.equal(await all, FOUR.address);
    assert.equal(await ask({ family: 6 }), SIX.address);
    assert.deepEqual(await ask({ all: true, family: 'IPv4' }), [FOUR]);
  });

  test('without an address of that family is not found', async () => {
    const six = ask({ family: 6 });
    searches[0]?.resolve([FOUR]);
    await assert.rejects(six, { code: 'ENOTFOUND' });
  });

  test('localhost is this machine, and nobody is asked', async () => {
    assert.deepEqual(await ask({ all: true }, 'localhost'), [
      { address: '127.0.0.1', family: 4 },
      { address: '::1', family: 6 },
    ]);
    assert.equal(searches.length, 0);
  });
});
