import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { ClaimOutcome, Owner } from '../../agent/contender/input.ts';
import type { Contender } from '../../agent/contender/state.ts';
import type { ClaimTerms, Provider, ProviderReadiness } from '../../agent/ports.ts';
import { Reachability } from '../../agent/report/reachability.ts';
import { ADDRESS, Driver, record } from '../contender/driver.ts';
import { ManualClock } from '../support/manual-clock.ts';

const signal = new AbortController().signal;
const TERMS: ClaimTerms = { signal, isFirst: true, mayWrite: () => true };

let clock: ManualClock;
let reachability: Reachability;
let readiness: ProviderReadiness;
let owner: Owner;
let outcome: ClaimOutcome;
let provider: Provider;
let contender: Contender;

beforeEach(() => {
  clock = new ManualClock();
  reachability = new Reachability(clock);
  readiness = { is: 'ready', reason: 'this is server 1' };
  owner = { is: 'self' };
  outcome = { is: 'confirmed' };
  provider = reachability.noting({
    kind: 'routed',
    prepare: () => Promise.resolve(readiness),
    check: () => Promise.resolve([]),
    owner: () => Promise.resolve(owner),
    claim: () => Promise.resolve(outcome),
  });
  ({ contender } = new Driver().standBy());
});

const problems = (): string[] => reachability.problems(contender);

/** Everything is as it should be. */
async function well(): Promise<void> {
  reachability.noteApi(null);
  reachability.noteWatch(true, '');
  await provider.prepare(signal);
}

describe('an agent is ready', () => {
  test('once API, provider and interface have been reached', async () => {
    assert.deepEqual(reachability.problems(new Driver().contender), [
      'Kubernetes API: not reached yet',
      'whether another agent runs on this node is not known yet',
      'provider: it has not been asked yet',
      'interface: not looked at yet',
    ]);
    await well();
    assert.deepEqual(problems(), []);
  });

  test('though its API fails, until the last good answer is ten seconds old', async () => {
    await well();
    await clock.advance(5_000);
    reachability.noteApi('cannot get the Lease: 503');
    assert.deepEqual(problems(), []);
    await clock.advance(5_000);
    assert.deepEqual(problems(), ['Kubernetes API: cannot get the Lease: 503']);
  });

  test('on the word of its watch alone, as a candidate that has nothing to ask', async () => {
    await well();
    await clock.advance(600_000);
    assert.deepEqual(problems(), []);
    reachability.noteWatch(false, 'silent for 90000ms');
    assert.deepEqual(problems(), ['Kubernetes API: silent for 90000ms']);
  });

  test('not while the Lease belongs to another program', async () => {
    await well();
    ({ contender } = new Driver().standBy(record({ isOurs: false, holder: 'kube-scheduler' })));
    assert.match(problems().join(), /held by another program, "kube-scheduler"/);
  });

  test('not with a token that could not write, though it reads well', async () => {
    await well();
    outcome = { is: 'failed', definitive: true, message: 'token_readonly' };
    await provider.claim(ADDRESS, TERMS);
    await provider.prepare(signal);
    await provider.owner(ADDRESS, signal);
    assert.deepEqual(problems(), ['provider: token_readonly']);
    outcome = { is: 'confirmed' };
    await provider.claim(ADDRESS, TERMS);
    assert.deepEqual(problems(), []);
  });

  test('again as soon as a provider that was out of reach answers', async () => {
    await well();
    owner = { is: 'unknown', message: 'no answer' };
    outcome = { is: 'failed', definitive: false, message: 'not in time' };
    await provider.owner(ADDRESS, signal);
    await provider.claim(ADDRESS, TERMS);
    assert.deepEqual(problems(), ['provider: not in time']);
    owner = { is: 'self' };
    await provider.owner(ADDRESS, signal);
    assert.deepEqual(problems(), []);
  });

  test('although something was not asked, to leave the provider’s budget to a failover', async () => {
    await well();
    await provider.owner(ADDRESS, signal);
    owner = { is: 'unknown', message: 'not asked', notBeforeMs: clock.nowMs() + 1 };
    await provider.owner(ADDRESS, signal);
    outcome = { is: 'failed', definitive: false, message: 'not asked', notBeforeMs: clock.nowMs() + 1 };
    await provider.claim(ADDRESS, TERMS);
    assert.deepEqual(problems(), []);
    assert.equal(reachability.owners.get(ADDRESS)?.owner.is, 'self', 'and what was read last still stands');
  });

  test('without a healthy node: health is no part of it', async () => {
    await well();
    ({ contender } = new Driver().standBy().unhealthy());
    assert.deepEqual(problems(), []);
  });
});

test('the owner of each address is remembered as last read', async () => {
  owner = { is: 'other', name: 'server 2' };
  await provider.owner(ADDRESS, signal);
  assert.deepEqual(reachability.owners.get(ADDRESS), { owner, atMs: clock.nowMs() });
  await provider.claim(ADDRESS, TERMS);
  assert.deepEqual(reachability.owners.get(ADDRESS)?.owner, { is: 'self' });
});
