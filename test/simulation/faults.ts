/**
 * Everything that the world does to the agents, as a table: how often it is drawn, how long it lasts, what it does.
 *
 * Guarantees: a plan is plain data that follows from the seed, so that it can be shrunk and replayed; every fault can be
 * healed. Two deletions of the Lease are never closer together than the longest lease duration allows, because nothing is
 * guaranteed then (see the README).
 */
import { residenceNames } from '../../agent/residence.ts';
import type { StoredLease } from '../support/kube-model.ts';
import type { Machine } from './machine.ts';
import { ERRNO } from './netlink-answers.ts';
import type { Misbehaviour, Way } from './network.ts';
import type { Random } from './random.ts';
import { serverOf } from './scenario.ts';
import type { Scenario, WorldKind } from './scenario.ts';
import type { Effect } from './sim-process.ts';
import type { World } from './world.ts';

/** One fault, as plain data. */
export interface Fault {
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly forMs: number;
  /** The node it strikes, or whichever holds the Lease then. */
  readonly node: number | 'holder';
  /** How hard, from 0 up to 1. */
  readonly size: number;
  readonly how: string;
}

/** Ends what a fault has begun. */
type Heal = () => void;

interface FaultDefinition {
  readonly weight: number;
  readonly forMs: readonly [fromMs: number, toMs: number];
  readonly only?: WorldKind;
  readonly hows?: readonly string[];
  readonly deletesLease?: true;
  readonly strike: (world: World, fault: Fault, machine: Machine) => Heal | undefined;
}

const FOREIGN_ELECTOR = 'another-program';
const FOREIGN_DURATION_MS = 5_000;
const DELETIONS_APART_MS = 25_000;

export const FAULTS = {
  // The Kubernetes API and the way there.
  'api loses': fault(
    3,
    [1_000, 15_000],
    (world, { size, how }, machine) =>
      change(world.way(machine, 'kube'), how === 'requests' ? { requestLoss: size } : { answerLoss: size }),
    { hows: ['requests', 'answers'] },
  ),
  'api cut off': fault(3, [500, 15_000], (world, { how }, machine) => change(world.way(machine, 'kube'), { cut: how as Way['cut'] }), {
    hows: ['refused', 'silent'],
  }),
  'api outage': fault(2, [500, 120_000], ({ conditions }, { how }) => change(conditions.kube, { outage: how as 'refused' | 'silent' }), {
    hows: ['refused', 'silent'],
  }),
  'api slow': fault(3, [1_000, 15_000], (world, { size }, machine) => change(world.way(machine, 'kube'), { slowMs: size * 1_500 })),
  'api errors': fault(3, [1_000, 10_000], ({ conditions }, { size, how }) => misbehave(conditions.kube.misbehaviours, size, how), {
    hows: ['500', '500 carried out', '503', '429', '409', '409 carried out', '410'],
  }),
  'watch lags': fault(2, [2_000, 20_000], ({ conditions }, { size }) => change(conditions.kube, { watchLagMs: size * 6_000 })),
  'watch breaks': fault(2, [0, 0], ({ streams }) => each([...streams], (broken) => broken())),
  'watch falls silent': fault(2, [0, 0], ({ kube }) => done(() => kube.silenceWatches())),
  'watch compacted': fault(1, [0, 0], ({ kube, streams }) => {
    kube.compact();
    for (const broken of [...streams]) broken();
    return undefined;
  }),
  'lease deleted': fault(1, [0, 0], ({ kube }) => done(() => kube.delete()), { deletesLease: true }),
  'lease recreated': fault(
    1,
    [0, 0],
    (world) => {
      world.kube.delete();
      world.createLease();
      return undefined;
    },
    { deletesLease: true },
  ),
  'lease edited': fault(4, [0, 0], (world, { how, size, node }) => done(() => editLease(world, how, size, node)), {
    hows: [
      'emptied',
      'label removed',
      'annotation removed',
      'transitions raised',
      'transitions lowered',
      'foreign metadata',
      'other holder',
      'agent made holder',
    ],
  }),
  'lease taken by a client-go elector': fault(2, [3_000, 12_000], takeLikeClientGo, { hows: ['released', 'left'] }),
  'lease of another program': fault(0.5, [3_000, 12_000], replaceLease, { deletesLease: true }),
  // The provider.
  'provider answers slowly': fault(
    2,
    [2_000, 20_000],
    (world, { size }, machine) => change(world.way(machine, 'provider'), { slowMs: size * 1_500 }),
    { only: 'routed' },
  ),
  'provider slow': fault(
    2,
    [2_000, 20_000],
    ({ provider }, { size }) => change(provider, { moveMs: Math.max(provider.moveMs, 500 + size * 19_500) }),
    {
      only: 'routed',
    },
  ),
  'provider locked': fault(2, [0, 0], lockProvider, { only: 'routed' }),
  'provider errors': fault(3, [1_000, 15_000], ({ conditions }, { size, how }) => misbehave(conditions.provider.misbehaviours, size, how), {
    only: 'routed',
    hows: ['500', '504 carried out', '503', '504', '409'],
  }),
  'provider actions fail': fault(2, [1_000, 15_000], ({ provider }) => change(provider, { movesFail: true }), { only: 'routed' }),
  'provider writes land late': fault(
    3,
    [2_000, 20_000],
    ({ conditions }, { size }) => change(conditions.provider, { lateWritesMs: size * 10_000 }),
    {
      only: 'routed',
    },
  ),
  'provider lies': fault(2, [1_000, 10_000], lie, { only: 'routed', hows: ['nobody', 'another'] }),
  'provider rate limited': fault(1, [2_000, 10_000], ({ provider }) => change(provider, { isLimited: true }), { only: 'routed' }),
  'provider token': fault(
    2,
    [2_000, 15_000],
    ({ provider }, { how }) => change(provider, { credentials: how as 'revoked' | 'read-only' }),
    { only: 'routed', hows: ['revoked', 'read-only'] },
  ),
  'provider moved by a person': fault(2, [0, 0], moveByHand, { only: 'routed', hows: ['nowhere', 'to another node'] }),
  'provider cut off': fault(
    2,
    [1_000, 20_000],
    (world, { how }, machine) => change(world.way(machine, 'provider'), { cut: how as Way['cut'] }),
    {
      only: 'routed',
      hows: ['refused', 'silent'],
    },
  ),
  // The kernel.
  'address removed': fault(2, [0, 0], ({ scenario }, _, { kernel }) =>
    each(scenario.addresses, (address) => kernel.removeByHand(address, 'ours')),
  ),
  'address of the administrator': fault(1, [3_000, 20_000], ({ scenario }, _, { kernel }) => {
    for (const address of scenario.addresses) kernel.addByHand(address, address.includes(':') ? 128 : 32);
    return () => scenario.addresses.forEach((address) => kernel.removeByHand(address, 'own'));
  }),
  'link down': fault(
    2,
    [500, 10_000],
    (_, { how }, { kernel }) => {
      kernel.setUplink(how === 'carrier' ? { hasCarrier: false } : { isUp: false });
      return () => kernel.setUplink({ isUp: true, hasCarrier: true });
    },
    { hows: ['carrier', 'down'] },
  ),
  'interface gone': fault(1, [500, 8_000], (_, __, { kernel }) => {
    kernel.unplug();
    return () => kernel.plugIn();
  }),
  // The packet filter and the segment.
  'packet filter removed': fault(
    2,
    [0, 0],
    (_, { how, size }, { filter }) => {
      if (how === 'a rule') filter.removeRuleByHand(size);
      else filter.removeTablesByHand(how === 'all' ? null : (how as 'arp' | 'inet'));
      return undefined;
    },
    { only: 'l2', hows: ['all', 'all', 'arp', 'inet', 'a rule'] },
  ),
  'packet filter changed by others': fault(1, [0, 0], (_, __, { filter }) => done(() => filter.changeByOthers()), { only: 'l2' }),
  'packet filter fails': fault(
    1,
    [200, 4_000],
    ({ time }, _, { filter }) => change(filter, { failure: { errno: ERRNO.ENOBUFS, sinceMs: time.nowMs } }),
    { only: 'l2' },
  ),
  'a stranger has the address': fault(2, [200, 10_000], beStrange, {
    only: 'l2',
    hows: ['answers and announces', 'answers', 'announces', 'one stale frame', 'one stale frame'],
  }),
  'netlink fails': fault(1, [200, 4_000], (_, __, { kernel }) => change(kernel, { failure: ERRNO.ENOBUFS })),
  // Nodes and processes.
  crash: fault(4, [100, 30_000], (world, _, machine) => {
    world.killAll(machine);
    return () => world.startIfNone(machine);
  }),
  'crash and instant restart': fault(2, [0, 0], (world, _, machine) => {
    world.killAll(machine);
    world.startIfNone(machine);
    return undefined;
  }),
  stop: fault(3, [5_000, 30_000], (world, _, machine) => {
    world.stopAll(machine);
    return () => world.startIfNone(machine);
  }),
  'asked to step down': fault(
    3,
    [0, 0],
    (world, { how, size }, machine) =>
      each(world.processesOn(machine), (process) => process.stepDown(how === 'at once' ? null : 500 + size * 10_000)),
    { hows: ['when another asks', 'when another asks', 'at once'] },
  ),
  freeze: fault(4, [300, 20_000], (world, { how }, machine) => world.freeze(machine, how === 'timers first' ? 'timer' : 'answer'), {
    hows: ['timers first', 'answers first'],
  }),
  'freeze for about a tenure': fault(2, [0, 0], freezeForATenure, {
    hows: ['timers first', 'answers first', 'while a write is under way'],
  }),
  stall: fault(4, [20, 400], (world, { how }, machine) => world.freeze(machine, how === 'timers first' ? 'timer' : 'answer'), {
    hows: ['timers first', 'answers first'],
  }),
  'freeze before a call': fault(
    2,
    [0, 0],
    (world, { size, how }, machine) => each(world.processesOn(machine), (process) => process.armLeap(how as Effect, 100 + size * 5_000)),
    { hows: ['request', 'provider write', 'address', 'address', 'frame'] },
  ),
  suspend: fault(1, [500, 20_000], (world, _, machine) => world.suspend(machine)),
  reboot: fault(1, [3_000, 20_000], (world, _, machine) => world.reboot(machine)),
  'second agent': fault(1, [3_000, 20_000], (world, _, machine) => {
    const second = world.start(machine);
    return () => second.shutdown();
  }),
  'names taken by a stranger': fault(1, [1_000, 20_000], ({ settings }, { size }, machine) =>
    machine.squatOn(settings.slice(0, 1).flatMap(({ lease }) => residenceNames(lease).slice(0, Math.ceil(size * 10)))),
  ),
  unhealthy: fault(
    4,
    [1_000, 30_000],
    (_, { how }, machine) => {
      machine.setService(how as Machine['service']);
      return () => machine.setService('well');
    },
    { hows: ['refusing', 'hanging'] },
  ),
  flapping: fault(2, [3_000, 20_000], flap),
  'cut off': fault(
    3,
    [500, 20_000],
    (world, { how }, machine) => {
      const cut = how as Way['cut'];
      const heals = [change(world.way(machine, 'kube'), { cut }), change(world.way(machine, 'provider'), { cut })];
      return () => heals.forEach((heal) => heal());
    },
    { hows: ['refused', 'silent'] },
  ),
  'wall clock jumps': fault(1, [0, 0], (_, { size }, machine) => done(() => (machine.wallErrorMs = (size - 0.5) * 7_200_000))),
} as const satisfies Record<string, FaultDefinition>;

export type FaultKind = keyof typeof FAULTS;

export const FAULT_KINDS = Object.keys(FAULTS) as FaultKind[];

/** Draws a plan: what strikes when, sorted. `kinds` narrows what may be drawn. */
export function drawPlan(random: Random, scenario: Scenario, kinds: readonly FaultKind[]): Fault[] {
  const possible = kinds.filter((kind) => {
    const { only }: FaultDefinition = FAULTS[kind];
    return only === undefined || only === scenario.kind;
  });
  if (possible.length === 0) return [];
  const plan = Array.from({ length: random.integer(3, 16) }, () => drawFault(random, scenario, possible)).sort((a, b) => a.atMs - b.atMs);
  return withDeletionsApart(plan, scenario);
}

function drawFault(random: Random, { timings, faultsMs }: Scenario, kinds: readonly FaultKind[]): Fault {
  const kind = pickKind(random, kinds);
  const { forMs, hows = [''] }: FaultDefinition = FAULTS[kind];
  const [fromMs, toMs] = forMs;
  return {
    kind,
    atMs: Math.round(random.between(3_000, faultsMs)),
    // Short ones are as interesting as long ones.
    forMs: Math.round(fromMs * (toMs / Math.max(1, fromMs)) ** random.next()),
    node: random.chance(0.5) ? 'holder' : random.integer(0, timings.length - 1),
    size: Math.round(random.next() * 1_000) / 1_000,
    how: random.pick(hows),
  };
}

/** By weight, or each as often as any other where only some may strike. */
function pickKind(random: Random, kinds: readonly FaultKind[]): FaultKind {
  if (kinds.length < FAULT_KINDS.length / 2) return random.pick(kinds);
  const total = kinds.reduce((sum, kind) => sum + FAULTS[kind].weight, 0);
  let left = random.next() * total;
  return kinds.find((each) => (left -= FAULTS[each].weight) < 0) ?? random.pick(kinds);
}

/** A Lease that is missing at the start counts as deleted then: who creates and holds it may not be seen either. */
function withDeletionsApart(plan: readonly Fault[], { leaseAtStart }: Scenario): Fault[] {
  let freeAtMs = leaseAtStart === 'absent' ? DELETIONS_APART_MS : 0;
  return plan.filter(({ kind, atMs, forMs }) => {
    const { deletesLease }: FaultDefinition = FAULTS[kind];
    if (deletesLease === undefined) return true;
    if (atMs < freeAtMs) return false;
    freeAtMs = atMs + forMs + DELETIONS_APART_MS;
    return true;
  });
}

/** Strikes, and returns how to heal. */
export function strike(world: World, planned: Fault): Heal {
  const { strike: begin }: FaultDefinition = FAULTS[planned.kind];
  return begin(world, planned, world.machineFor(planned.node)) ?? ((): void => undefined);
}

function fault(
  weight: number,
  forMs: FaultDefinition['forMs'],
  begin: FaultDefinition['strike'],
  rest: Pick<FaultDefinition, 'only' | 'hows' | 'deletesLease'> = {},
): FaultDefinition {
  return { weight, forMs, strike: begin, ...rest };
}

/** What each changed field of something was before, and what it was changed to since by faults that last, the latest last. */
const changedFields = new WeakMap<object, Map<string, { readonly value: unknown }[]>>();

/** Sets some fields for a while. Where several faults set one field the latest that lasts counts. */
function change<Target extends object>(target: Target, changes: Partial<Target>): Heal {
  const fields = changedFields.get(target) ?? new Map<string, { readonly value: unknown }[]>();
  changedFields.set(target, fields);
  const heals = Object.entries(changes).map(([name, value]) => {
    const values = fields.get(name) ?? [{ value: target[name as keyof Target] }];
    fields.set(name, values);
    const entry = { value };
    values.push(entry);
    return () => {
      values.splice(values.indexOf(entry), 1);
      Object.assign(target, { [name]: values.at(-1)?.value });
      if (values.length === 1) fields.delete(name);
    };
  });
  Object.assign(target, changes);
  return () => heals.forEach((heal) => heal());
}

function done(work: () => unknown): undefined {
  work();
}

function each<Item>(items: readonly Item[], work: (item: Item) => void): undefined {
  items.forEach((item) => work(item));
}

function misbehave(all: Misbehaviour[], size: number, how: string): Heal {
  const [status = '500', ...rest] = how.split(' ');
  const isConflict = status === '409' || status === '410';
  const misbehaviour: Misbehaviour = {
    share: isConflict ? size * 0.5 : size,
    status: Number(status),
    retryAfterS: status === '429' ? 1 : null,
    isCarriedOut: rest.length > 0,
    onlyWrites: isConflict,
  };
  all.push(misbehaviour);
  return () => (misbehaviour.share = 0);
}

function editLease(world: World, how: string, size: number, node: number | 'holder'): void {
  const { kube } = world;
  if (kube.lease() === undefined) return;
  kube.edit(({ spec, metadata }) => {
    switch (how) {
      case 'emptied':
        return (spec.holderIdentity = '');
      case 'label removed':
        return delete metadata.labels;
      case 'annotation removed': {
        const names = Object.keys(metadata.annotations ?? {});
        return delete metadata.annotations?.[names[Math.floor(size * names.length)] ?? ''];
      }
      case 'transitions raised':
        return (spec.leaseTransitions = (spec.leaseTransitions ?? 0) + 1 + Math.floor(size * 3));
      case 'transitions lowered':
        return (spec.leaseTransitions = Math.floor((spec.leaseTransitions ?? 0) * size));
      case 'foreign metadata':
        metadata.labels = { ...metadata.labels, team: 'network' };
        return (metadata.annotations = { ...metadata.annotations, 'example.org/note': `${size}` });
      case 'other holder':
        return (spec.holderIdentity = 'somebody');
      default: {
        const [process] = world.processesOn(world.machineFor(node === 'holder' ? 0 : node));
        return process === undefined ? undefined : (spec.holderIdentity = process.identity);
      }
    }
  });
}

/** An elector as client-go has it: takes a Lease that is vacant or has run out by its own clock, and renews it. */
function takeLikeClientGo(world: World, { how }: Fault): Heal {
  const { kube, time } = world;
  let isOver = false;
  let seen = '';
  let seenAtMs = time.nowMs;
  const now = (): string => new Date(world.baseWallMs + time.nowMs).toISOString().replace(/Z$/, '000Z');
  const turn = (): void => {
    const lease = kube.lease();
    if (isOver) return;
    time.after(1_000, turn);
    if (lease === undefined) return;
    const { holderIdentity = '' } = lease.spec;
    if (lease.metadata.resourceVersion !== seen) [seen, seenAtMs] = [lease.metadata.resourceVersion, time.nowMs];
    const isOurs = holderIdentity === FOREIGN_ELECTOR;
    if (!isOurs && holderIdentity !== '' && time.nowMs - seenAtMs < FOREIGN_DURATION_MS) return;
    kube.edit(({ spec }) => {
      if (!isOurs) Object.assign(spec, { acquireTime: now(), leaseTransitions: (spec.leaseTransitions ?? 0) + 1 });
      Object.assign(spec, { holderIdentity: FOREIGN_ELECTOR, renewTime: now(), leaseDurationSeconds: FOREIGN_DURATION_MS / 1_000 });
    });
  };
  turn();
  return () => {
    isOver = true;
    if (how !== 'released' || kube.lease()?.spec.holderIdentity !== FOREIGN_ELECTOR) return;
    kube.edit(({ spec }) => Object.assign(spec, { holderIdentity: '', leaseDurationSeconds: 1, renewTime: now(), acquireTime: now() }));
  };
}

/** Somebody's own Lease under our name: the agents keep off until it is deleted. */
function replaceLease({ kube }: World): Heal {
  kube.delete();
  const spec: StoredLease['spec'] = {
    holderIdentity: FOREIGN_ELECTOR,
    leaseDurationSeconds: 2,
    leaseTransitions: 3,
    acquireTime: '2026-11-21T07:00:00.000000Z',
    renewTime: '2026-11-21T07:00:00.000000Z',
  };
  kube.create(spec, { annotations: { 'example.org/owner': FOREIGN_ELECTOR } });
  return () => kube.delete();
}

function lockProvider({ provider, scenario }: World, { size }: Fault, machine: Machine): undefined {
  for (const address of scenario.addresses) provider.beginMove(address, machine.server, size * 20_000);
}

function lie({ conditions, scenario }: World, { how, size }: Fault, machine: Machine): Heal {
  const others = scenario.timings.map((_, node) => serverOf(node)).filter((server) => server !== machine.server);
  return change(conditions.provider, { lie: { server: how === 'nobody' ? null : (others[0] ?? null), share: size } });
}

/** A machine that nobody knows of has the addresses, or once had them. */
function beStrange({ wire, addresses: all }: World, { how, size }: Fault): Heal | undefined {
  const addresses = size < 0.3 ? all.slice(0, 1) : size < 0.5 ? all.slice(-1) : all;
  if (how === 'one stale frame') {
    wire.staleFrame(addresses);
    return undefined;
  }
  const announcesEveryMs = how === 'answers' ? null : 300 + size * 5_000;
  return wire.strangerHas(addresses, { answers: how.startsWith('answers'), announcesEveryMs });
}

function moveByHand({ provider, machines, scenario }: World, { how, size }: Fault): undefined {
  const server = how === 'nowhere' ? null : (machines[Math.floor(size * machines.length)]?.server ?? null);
  for (const address of scenario.addresses) provider.move(address, server);
}

function freezeForATenure(world: World, { size, how }: Fault, machine: Machine): undefined {
  const { renewDeadlineMs = 0 } = world.scenario.timings[world.machines.indexOf(machine)] ?? {};
  const freeze = (): void => {
    const thaw = world.freeze(machine, how === 'timers first' ? 'timer' : 'answer');
    world.time.after(renewDeadlineMs * (0.8 + size * 0.6), thaw);
  };
  if (how !== 'while a write is under way') freeze();
  else for (const process of world.processesOn(machine)) process.onceItHasWritten(freeze);
}

function flap({ time }: World, { size }: Fault, machine: Machine): Heal {
  let isOver = false;
  const turn = (): void => {
    if (isOver) return;
    machine.setService(machine.service === 'well' ? 'refusing' : 'well');
    time.after(500 + size * 4_000, turn);
  };
  turn();
  return () => {
    isOver = true;
    machine.setService('well');
  };
}
