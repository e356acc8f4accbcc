/**
 * Drives one contender by hand: gives it inputs at chosen instants, keeps what it commands, and answers for the world.
 */
import assert from 'node:assert/strict';
import type { Command, Incident, LeaseCommand, Report } from '../../agent/contender/command.ts';
import { step } from '../../agent/contender/contender.ts';
import type { Input, LinkView, Owner, ReadOutcome, WriteOutcome } from '../../agent/contender/input.ts';
import { NO_MARKS } from '../../agent/contender/lease.ts';
import type { LeaseMarks, LeaseRecord, LeaseSight, Term } from '../../agent/contender/lease.ts';
import type { ContenderSettings } from '../../agent/contender/settings.ts';
import { newContender, roleOf } from '../../agent/contender/state.ts';
import type { AddressState, Contender } from '../../agent/contender/state.ts';

export const ADDRESS = '203.0.113.10';
export const ME = 'node-a_boot_0001';
export const OTHER = 'node-b_boot_0002';

export const SETTINGS: ContenderSettings = {
  identity: ME,
  node: 'node-a',
  leaseDurationMs: 3_000,
  renewDeadlineMs: 2_000,
  renewIntervalMs: 500,
  addresses: [ADDRESS],
  kind: 'routed',
  isFenced: false,
  worstMoveMs: 30_000,
  claimTimeoutMs: 30_000,
  verifyIntervalMs: 30_000,
  ownerReadPace: 1,
  whenAllUnhealthy: 'keep',
  onApiLoss: 'release',
};

type Event = Input extends infer Each ? (Each extends Input ? Omit<Each, 'atMs'> : never) : never;
type CommandOf<Type extends Command['type']> = Command & { type: Type };

/** A Lease as it might be read; what is not named is as in a Lease that node-b holds in its seventh term. */
export function record(fields: Partial<LeaseRecord> = {}, marks: Partial<LeaseMarks> = {}): LeaseRecord {
  return {
    uid: 'uid-1',
    resourceVersion: '100',
    holder: OTHER,
    transitions: 7,
    acquireTime: '2026-11-21T08:00:00.000000Z',
    renewTime: '2026-11-21T08:00:00.000000Z',
    durationMs: 3_000,
    isOurs: true,
    ...fields,
    marks: { ...NO_MARKS, ...marks },
  };
}

/** A Lease that was created and never held. */
export function neverHeld(fields: Partial<LeaseRecord> = {}): LeaseRecord {
  return record({ holder: '', transitions: 0, acquireTime: null, renewTime: null, durationMs: null, ...fields });
}

/** A Lease that its last holder has released, so that it is free at once. */
export function released(fields: Partial<LeaseRecord> = {}): LeaseRecord {
  const lease = neverHeld(fields);
  return { ...lease, marks: { ...NO_MARKS, released: term({ uid: lease.uid, transitions: lease.transitions }) } };
}

export function term(fields: Partial<Term> = {}): Term {
  return { uid: 'uid-1', transitions: 7, holder: OTHER, ...fields };
}

export class Driver {
  contender: Contender;
  nowMs = 1_000_000;
  /** Every command since the last `forget`. */
  commands: Command[] = [];
  readonly #history: Command[] = [];
  #version = 1_000;

  constructor(settings: Partial<ContenderSettings> = {}) {
    this.contender = newContender({ ...SETTINGS, ...settings }, this.nowMs);
  }

  get role(): string {
    return roleOf(this.contender);
  }

  give(event: Event): this {
    const { contender, commands } = step(this.contender, { ...event, atMs: this.nowMs });
    this.contender = contender;
    this.commands.push(...commands);
    this.#history.push(...commands);
    return this;
  }

  /** Lets time pass, waking the contender whenever it wants to be woken. */
  pass(ms: number): this {
    const untilMs = this.nowMs + ms;
    for (let wakes = 0; this.contender.wakeAtMs <= untilMs; wakes += 1) {
      assert.ok(wakes < 10_000, 'the contender wakes without end');
      this.nowMs = Math.max(this.nowMs, this.contender.wakeAtMs);
      this.give({ type: 'tick' });
    }
    this.nowMs = untilMs;
    return this.give({ type: 'tick' });
  }

  /** Lets time pass without waking it: the process is frozen. */
  freeze(ms: number): this {
    this.nowMs += ms;
    return this;
  }

  /** The latest command of a type, however long ago. Fails when there is none. */
  last<Type extends Command['type']>(type: Type): CommandOf<Type> {
    const found = this.#history.findLast((command): command is CommandOf<Type> => command.type === type);
    assert.ok(found, `there was no command ${type}`);
    return found;
  }

  all<Type extends Command['type']>(type: Type): CommandOf<Type>[] {
    return this.commands.filter((command): command is CommandOf<Type> => command.type === type);
  }

  /** The types of all commands since the last `forget`, without reports and looks. */
  types(): string[] {
    return this.commands.map(({ type }) => type).filter((type) => type !== 'report' && type !== 'look');
  }

  forget(): this {
    this.commands = [];
    return this;
  }

  transitions(): string[] {
    return this.all('report').flatMap(({ report }) => (report.kind === 'transition' ? [`${report.from} → ${report.to}`] : []));
  }

  incidents(): Incident[] {
    return this.all('report').flatMap(({ report }) => (report.kind === 'incident' ? [report.event] : []));
  }

  lastTransition(): Report & { kind: 'transition' } {
    const found = this.all('report').findLast(({ report }) => report.kind === 'transition');
    assert.ok(found?.report.kind === 'transition', 'no transition was reported');
    return found.report;
  }

  address(address = ADDRESS): AddressState {
    const state = this.contender.addresses[address];
    assert.ok(state, `no state of ${address}`);
    return state;
  }

  // What the world answers.

  healthy(): this {
    return this.give({ type: 'verdict', healthy: true, reason: 'every probe is well' });
  }

  unhealthy(reason = 'http://127.0.0.1/: connection refused'): this {
    return this.give({ type: 'verdict', healthy: false, reason });
  }

  ready(): this {
    return this.give({ type: 'provider-readiness', ready: true, reason: 'this is server 1' });
  }

  alone(): this {
    return this.give({ type: 'residence', residence: 'alone', reason: 'no other agent runs on this node' });
  }

  looked(view: Partial<LinkView> = {}): this {
    const addresses = Object.fromEntries(this.contender.settings.addresses.map((address) => [address, { is: 'absent' as const }]));
    return this.give({
      type: 'looked',
      view: { problem: null, isPresent: true, interfaces: {}, reasons: {}, addresses, plugged: {}, rivals: {}, ...view },
    });
  }

  /** A look that shows every address bound by us, with a long life before it. */
  lookedBound(remainingMs = 38_000): this {
    const addresses = Object.fromEntries(
      this.contender.settings.addresses.map((address) => [address, { is: 'ours' as const, remainingMs }]),
    );
    return this.looked({ addresses });
  }

  answerRead(outcome: ReadOutcome | LeaseSight): this {
    const { request } = this.last('read');
    const isOutcome = outcome !== 'absent' && 'is' in outcome;
    return this.give({ type: 'lease-read', request, outcome: isOutcome ? outcome : { is: 'read', sight: outcome } });
  }

  answer(type: Exclude<LeaseCommand['type'], 'read'>, outcome: WriteOutcome): this {
    return this.give({ type: 'lease-written', request: this.last(type).request, outcome });
  }

  /** The record that a write would leave behind. */
  written(type: Exclude<LeaseCommand['type'], 'read'>, fields: Partial<LeaseRecord> = {}): WriteOutcome {
    const command = this.last(type);
    this.#version += 1;
    const before = this.contender.observation?.sight;
    const base = before === undefined || before === 'absent' ? neverHeld() : before;
    const changes = 'marks' in command ? command.marks : {};
    const times = {
      renewTime: `time-${this.#version}`,
      durationMs: 'durationMs' in command ? Math.ceil(command.durationMs / 1_000) * 1_000 : base.durationMs,
    };
    const holder = type === 'release' ? '' : type === 'ask' ? base.holder : this.contender.settings.identity;
    const transitions = 'transitions' in command ? command.transitions : base.transitions;
    const written: LeaseRecord = {
      ...base,
      holder,
      transitions,
      resourceVersion: String(this.#version),
      ...(type === 'ask' || type === 'release' ? {} : times),
      marks: { ...base.marks, ...changes },
      ...fields,
    };
    return { is: 'written', record: written };
  }

  succeed(type: Exclude<LeaseCommand['type'], 'read'>, fields: Partial<LeaseRecord> = {}): this {
    return this.answer(type, this.written(type, fields));
  }

  bound(address = ADDRESS): this {
    return this.give({ type: 'bind-done', address, outcome: { is: 'bound' } });
  }

  unbound(address = ADDRESS): this {
    return this.give({ type: 'unbind-done', address, outcome: { is: 'unbound' } });
  }

  claimed(address = ADDRESS): this {
    const claim = this.#history.findLast((each): each is CommandOf<'claim'> => each.type === 'claim' && each.address === address);
    assert.ok(claim, `there was no claim of ${address}`);
    return this.give({ type: 'claim-done', address, attempt: claim.attempt, outcome: { is: 'confirmed' } });
  }

  claimFails(definitive = true, address = ADDRESS): this {
    const { attempt } = this.last('claim');
    return this.give({ type: 'claim-done', address, attempt, outcome: { is: 'failed', definitive, message: 'the token may only read' } });
  }

  ownerIs(owner: Owner, address = ADDRESS): this {
    const { attempt } = this.last('verify-owner');
    return this.give({ type: 'owner-read', address, attempt, owner });
  }

  // Whole stretches of a life.

  /** Knows the Lease as given, and nothing hinders it. */
  standBy(sight: LeaseSight = record()): this {
    return this.healthy().ready().alone().looked().give({ type: 'tick' }).answerRead(sight);
  }

  /** Holds the Lease, from one that was released. */
  acquire(): this {
    return this.standBy(released()).succeed('acquire', { acquireTime: 'time-0' });
  }

  /** Nobody on the segment has said that an address is theirs by the time that it may be bound. */
  probed(): this {
    return this.contender.settings.kind === 'l2' ? this.pass(25).looked() : this;
  }

  /** Holds the Lease with every address bound and confirmed. */
  serve(): this {
    this.acquire().probed();
    for (const address of this.contender.settings.addresses) this.bound(address);
    if (this.contender.settings.kind === 'routed') for (const address of this.contender.settings.addresses) this.claimed(address);
    assert.equal(this.role, 'serving');
    return this.lookedBound().forget();
  }

  /** Serves on for a while, with every renewal good and every address in its place. */
  serveOn(ms: number): this {
    const untilMs = this.nowMs + ms;
    while (this.nowMs < untilMs) {
      this.pass(Math.min(50, untilMs - this.nowMs));
      if (this.contender.request?.kind === 'renew') this.succeed('renew').lookedBound();
      if (this.contender.request?.kind === 'read') this.answerRead(this.contender.observation?.sight ?? 'absent');
    }
    return this;
  }
}
