import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { DeadlineExceeded } from '../../agent/clock.ts';
import type { Report } from '../../agent/contender/command.ts';
import type { BindOutcome, ClaimOutcome, LinkView, Owner, ReadOutcome, WriteOutcome } from '../../agent/contender/input.ts';
import type { LeaseRecord } from '../../agent/contender/lease.ts';
import type { ContenderSettings } from '../../agent/contender/settings.ts';
import { roleOf } from '../../agent/contender/state.ts';
import type { ClaimTerms, LeaseStore, LeaseWrite } from '../../agent/ports.ts';
import { ContenderLoop } from '../../agent/runtime/loop.ts';
import { ADDRESS, released, record, SETTINGS } from '../contender/driver.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { MemoryLink, MemoryNode } from '../support/memory-link.ts';

/** A Lease that answers when told to. */
class ScriptedStore implements LeaseStore {
  readonly writes: { command: LeaseWrite; signal: AbortSignal; answer: (outcome: WriteOutcome) => void }[] = [];
  sight: LeaseRecord = released();
  /** Answers writes by itself. */
  isObliging = true;
  #version = 100;

  read(): Promise<ReadOutcome> {
    return Promise.resolve({ is: 'read', sight: this.sight });
  }

  write(command: LeaseWrite, signal: AbortSignal): Promise<WriteOutcome> {
    return new Promise((resolve) => {
      this.writes.push({ command, signal, answer: resolve });
      signal.addEventListener('abort', () => resolve({ is: 'aborted', message: 'called off', retryAfterMs: null }));
      if (this.isObliging) resolve(this.#carryOut(command));
    });
  }

  #carryOut(command: LeaseWrite): WriteOutcome {
    this.#version += 1;
    const holder = command.type === 'release' ? '' : SETTINGS.identity;
    const transitions = 'transitions' in command ? command.transitions : this.sight.transitions;
    const marks = { ...this.sight.marks, ...('marks' in command ? command.marks : {}) };
    const version = String(this.#version);
    this.sight = record({ ...this.sight, holder, transitions, resourceVersion: version, renewTime: version }, marks);
    return { is: 'written', record: this.sight };
  }
}

/** An interface in memory whose calls can be listened to. */
class AudibleLink extends MemoryLink {
  override look(): LinkView {
    look();
    return super.look();
  }

  override bind(address: string, lifetimeMs: number): BindOutcome {
    bind(address);
    return super.bind(address, lifetimeMs);
  }
}

class ScriptedProvider {
  onClaim: (address: string) => void = () => undefined;
  readonly claims: { terms: ClaimTerms; answer: (outcome: ClaimOutcome) => void }[] = [];

  owner(): Promise<Owner> {
    return Promise.resolve({ is: 'other', name: 'server 2' });
  }

  claim(address: string, terms: ClaimTerms): Promise<ClaimOutcome> {
    this.onClaim(address);
    return new Promise((resolve) => {
      this.claims.push({ terms, answer: resolve });
      terms.signal.addEventListener('abort', () =>
        resolve(
          terms.signal.reason instanceof DeadlineExceeded
            ? { is: 'failed', definitive: false, message: 'not in time' }
            : { is: 'withdrawn' },
        ),
      );
    });
  }
}

let clock: ManualClock;
let store: ScriptedStore;
let provider: ScriptedProvider;
let node: MemoryNode;
let reports: Report[];
let defects: Error[];
let restarts: number;
let loop: ContenderLoop;
/** Called before each look and each bind. */
let look: () => void;
let bind: (address: string) => void;

beforeEach(() => {
  look = () => undefined;
  bind = () => undefined;
  clock = new ManualClock();
  store = new ScriptedStore();
  provider = new ScriptedProvider();
  node = new MemoryNode(clock);
  reports = [];
  defects = [];
  restarts = 0;
  open(SETTINGS);
});

function open(settings: ContenderSettings): void {
  loop = new ContenderLoop(settings, {
    clock,
    lease: store,
    watch: { restart: () => (restarts += 1) },
    link: new AudibleLink(node, settings.addresses),
    provider,
    report: (report) => reports.push(report),
    onDefect: (error) => defects.push(error),
  });
}

/** Starts the loop, with nothing to hinder it, and lets it get as far as its first claim. */
async function begin(): Promise<void> {
  loop.start();
  loop.post({ type: 'verdict', healthy: true, reason: 'well' });
  loop.post({ type: 'provider-readiness', ready: true, reason: 'ready' });
  loop.post({ type: 'residence', residence: 'alone', reason: 'alone' });
  await clock.advance(0);
}

async function serve(): Promise<void> {
  await begin();
  provider.claims[0]?.answer({ is: 'confirmed' });
  await clock.advance(0);
  assert.equal(roleOf(loop.contender), 'serving');
}

describe('the loop', () => {
  test('takes a free Lease, binds the address, claims it and serves', async () => {
    await serve();
    assert.ok(node.has(ADDRESS));
    assert.deepEqual(
      reports.flatMap((report) => (report.kind === 'transition' ? [report.to] : [])),
      ['acquiring', 'claiming', 'serving'],
    );
    assert.deepEqual(defects, []);
  });

  test('renews at its interval for as long as it is let', async () => {
    await serve();
    await clock.advance(10_000);
    assert.equal(store.writes.filter(({ command }) => command.type === 'renew').length, 20);
    assert.equal(roleOf(loop.contender), 'serving');
  });

  /** From now on the process stands still for ten seconds once it has looked at its clock so many times. */
  function freezeAfterLooks(looks: number): void {
    const nowMs = clock.nowMs.bind(clock);
    let looked = 0;
    clock.nowMs = () => {
      looked += 1;
      return nowMs() + (looked > looks ? 10_000 : 0);
    };
  }

  // An event looks at the clock once when it is posted and once when it is taken in; what it makes the loop do, once more.

  test('does not send a write when it stood still between the decision and the call', async () => {
    await serve();
    const before = store.writes.length;
    clock.freeze(500);
    freezeAfterLooks(2);
    loop.post({ type: 'tick' });
    assert.equal(store.writes.length, before);
    await clock.advance(0);
    assert.notEqual(roleOf(loop.contender), 'serving');
  });

  test('does not bind when it stood still between the decision and the call', async () => {
    store.isObliging = false;
    await begin();
    const request = loop.contender.request?.id ?? assert.fail();
    freezeAfterLooks(2);
    const granted = record({ holder: SETTINGS.identity, transitions: 1, resourceVersion: '2' });
    loop.post({ type: 'lease-written', request, outcome: { is: 'written', record: granted } });
    assert.equal(node.has(ADDRESS), false);
    assert.notEqual(roleOf(loop.contender), 'claiming');
  });

  test('counts an input from when it is acted upon, not from when it came: the tenure ends before a late answer is taken in', async () => {
    await serve();
    store.isObliging = false;
    await clock.advance(500);
    const renewal = store.writes.at(-1) ?? assert.fail();
    const { sight } = store;
    const renewed = record({ ...sight, resourceVersion: '999', renewTime: 'later' }, sight.marks);
    // The answer would have prolonged the tenure, but waits in the mailbox while the loop is busy until that is over.
    look = () => {
      look = () => undefined;
      loop.post({ type: 'lease-written', request: renewal.command.request, outcome: { is: 'written', record: renewed } });
      clock.freeze(1_200);
    };
    await clock.advance(500);
    assert.notEqual(roleOf(loop.contender), 'serving');
  });

  test('takes one input in at a time: what a call brings waits until every command of a step is carried out', async () => {
    const calls: string[] = [];
    const both = [ADDRESS, '203.0.113.11'];
    open({ ...SETTINGS, addresses: both });
    bind = (address) => calls.push(`bind ${address}`);
    provider.onClaim = (address) => calls.push(`claim ${address}`);
    await begin();
    assert.deepEqual(calls, [...both.map((address) => `bind ${address}`), ...both.map((address) => `claim ${address}`)]);
  });

  test('tells a claim, at every moment, whether it may write', async () => {
    await begin();
    const { mayWrite } = provider.claims[0]?.terms ?? assert.fail();
    assert.equal(mayWrite(), true);
    clock.freeze(1_999);
    assert.equal(mayWrite(), true);
    clock.freeze(1);
    assert.equal(mayWrite(), false, 'the tenure is over, though nothing has run since');
  });

  test('calls a claim off when its office is over', async () => {
    await begin();
    store.isObliging = false;
    await clock.advance(2_100);
    assert.equal(roleOf(loop.contender), 'acquiring');
    assert.equal(provider.claims[0]?.terms.signal.aborted, true);
    assert.equal(provider.claims[0].terms.signal.reason instanceof DeadlineExceeded, false);
  });

  test('ends a claim at its deadline', async () => {
    await begin();
    await clock.advance(30_000);
    assert.equal(provider.claims[0]?.terms.signal.reason instanceof DeadlineExceeded, true);
    assert.ok(reports.some((report) => report.kind === 'incident' && report.event === 'claim-failed'));
    assert.equal(roleOf(loop.contender), 'claiming', 'and goes on holding');
  });

  test('steps down in order and stops', async () => {
    await serve();
    loop.post({ type: 'shutdown', reason: 'SIGTERM' });
    await clock.advance(0);
    assert.equal(store.sight.holder, '');
    assert.deepEqual(store.sight.marks.released?.holder, SETTINGS.identity);
    assert.ok(node.has(ADDRESS), 'it lingers');
    await clock.advance(1_000);
    assert.equal(node.has(ADDRESS), false);
    await loop.stopped;
  });

  test('calls a renewal off that does not settle when it is to step down', async () => {
    await serve();
    store.isObliging = false;
    await clock.advance(500);
    const renewal = store.writes.at(-1);
    assert.equal(renewal?.command.type, 'renew');
    loop.post({ type: 'shutdown', reason: 'SIGTERM' });
    store.isObliging = true;
    await clock.advance(60);
    assert.equal(renewal?.signal.aborted, true);
    assert.equal(store.sight.holder, '');
  });

  test('restarts the watch when a read shows what it missed', async () => {
    store.sight = record();
    await begin();
    await clock.advance(2_900);
    store.sight = record({ renewTime: 'later' });
    await clock.advance(200);
    assert.equal(restarts, 1);
  });

  test('leaves no timer behind once it has stopped', async () => {
    await serve();
    loop.post({ type: 'shutdown', reason: 'SIGTERM' });
    await clock.advance(60_000);
    await loop.stopped;
    assert.equal(clock.timers, 0);
  });

  test('hands on what should never have been thrown', async () => {
    await serve();
    provider.owner = () => Promise.reject(new Error('a defect'));
    await clock.advance(5_000);
    assert.equal(defects[0]?.message, 'a defect');
  });
});
