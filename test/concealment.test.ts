import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { concealingData, concealingFindings, concealingProvider, concealingStore } from '../agent/concealment.ts';
import type { ClaimOutcome, Owner, ReadOutcome } from '../agent/contender/input.ts';
import type { Provider } from '../agent/ports.ts';

const conceal = (text: string): string => text.replaceAll('hidden', '…');
const never = new AbortController().signal;
const terms = { signal: never, isFirst: true, mayWrite: () => true };

function provider(owner: Owner, claimed: ClaimOutcome): Provider {
  return concealingProvider(
    {
      kind: 'routed',
      prepare: () => Promise.resolve({ is: 'not-ready', isPassing: true, reason: 'it said hidden' }),
      check: () => Promise.resolve([]),
      owner: () => Promise.resolve(owner),
      claim: () => Promise.resolve(claimed),
    },
    conceal,
  );
}

describe('what others say', () => {
  test('loses its secrets wherever they are in what is shown', () => {
    const shown = { nodes: [{ name: 'a', why: 'hidden', since: 3, role: null }], missing: 'not hidden' };
    assert.deepEqual(concealingData(shown, conceal), { nodes: [{ name: 'a', why: '…', since: 3, role: null }], missing: 'not …' });
  });

  test('loses its secrets where it was checked', () => {
    const finding = { name: 'token', level: 'fail', message: 'hidden is refused', advice: 'replace hidden' } as const;
    const [concealed, ok] = concealingFindings([finding, { ...finding, advice: null }], conceal);
    assert.deepEqual(concealed, { name: 'token', level: 'fail', message: '… is refused', advice: 'replace …' });
    assert.equal(ok?.advice, null);
  });

  test('loses its secrets where a provider is asked', async () => {
    const failing = provider({ is: 'unknown', message: 'hidden!' }, { is: 'failed', definitive: true, message: 'not hidden' });
    assert.deepEqual(await failing.prepare(never), { is: 'not-ready', isPassing: true, reason: 'it said …' });
    assert.deepEqual(await failing.owner('203.0.113.10', never), { is: 'unknown', message: '…!' });
    assert.deepEqual(await failing.claim('203.0.113.10', terms), { is: 'failed', definitive: true, message: 'not …' });
    assert.deepEqual(await provider({ is: 'other', name: 'hidden' }, { is: 'confirmed' }).owner('203.0.113.10', never), {
      is: 'other',
      name: '…',
    });
  });

  test('loses them where the Lease is read and written, and what the agent acts on stays as it was', async () => {
    const trouble: ReadOutcome = { is: 'unavailable', message: '500 hidden', retryAfterMs: 5 };
    const seen: ReadOutcome = { is: 'read', sight: 'absent' };
    const answers = [trouble, seen];
    const store = concealingStore(
      {
        read: () => Promise.resolve(answers.shift() ?? seen),
        write: () => Promise.resolve({ is: 'refused', message: 'hidden', retryAfterMs: null }),
      },
      conceal,
    );
    assert.deepEqual(await store.read(1, never), { ...trouble, message: '500 …' });
    assert.equal(await store.read(1, never), seen);
    const create = { type: 'create', request: 1, timeoutMs: 1, notAfterMs: 1, transitions: 1, durationMs: 1, marks: {} } as const;
    assert.deepEqual(await store.write(create, never), { is: 'refused', message: '…', retryAfterMs: null });
  });
});
