/**
 * One run: a seed, what it makes of a world, its faults, and the calm after them.
 *
 * Guarantees: the same seed, restrictions and faults give the same run, line by line. A run ends at its first violation.
 */
import { OF_ONE_NODE, OF_THE_API } from './availability.ts';
import type { Strike } from './availability.ts';
import { drawPlan, FAULT_KINDS, strike } from './faults.ts';
import type { Fault, FaultKind } from './faults.ts';
import type { Violation } from './invariants.ts';
import { Random } from './random.ts';
import { drawProvider, simProvider } from './providers/all.ts';
import type { SimProviderName } from './providers/all.ts';
import { drawScenario, providedBy } from './scenario.ts';
import type { Scenario, WorldKind } from './scenario.ts';
import { World } from './world.ts';
import type { HistoryLine } from './world.ts';

/** What narrows a run down. */
export interface Restrictions {
  readonly kind: WorldKind | null;
  /** The provider of routed worlds; any where null. */
  readonly provider: SimProviderName | null;
  /** Kinds of faults that may strike; all where empty. */
  readonly faults: readonly FaultKind[];
}

export const UNRESTRICTED: Restrictions = { kind: null, provider: null, faults: [] };

export interface RunResult {
  readonly seed: string;
  readonly scenario: Scenario;
  readonly plan: readonly Fault[];
  readonly violation: Violation | null;
  readonly exceptions: ReadonlyMap<string, number>;
  readonly virtualMs: number;
  readonly events: number;
  /** From the end of the faults until everything agreed. */
  readonly settledAfterMs: number | null;
  readonly history: readonly HistoryLine[];
}

export interface RunOptions {
  /** The positions of the faults that strike, where not all of the plan do. */
  readonly kept?: readonly number[];
  readonly keepsHistory?: boolean;
}

/** Within this time after the last fault everything agrees. The longest waits are those of a node that has failed often. */
const CALM_MAX_MS = 240_000;
/** What agrees for so long counts as settled. */
const SETTLED_MS = 5_000;
const LOOK_MS = 250;
const START_SPREAD_MS = 1_500;

/** Mostly everything at once; what is judged only where little else strikes gets runs of its own. */
const KINDS_TOGETHER = [...Array.from({ length: 8 }, () => FAULT_KINDS), OF_THE_API, OF_ONE_NODE];

/** Draws a seed's scenario and plan. */
export function draw(seed: string, { kind, provider, faults }: Restrictions): { scenario: Scenario; plan: Fault[]; leftUnhealthy: number } {
  const random = new Random(seed);
  const ofProvider = new Random(`${seed} provider`);
  const drawnProvider = drawProvider(ofProvider);
  const scenario = providedBy(drawScenario(random, kind), provider ?? drawnProvider, ofProvider);
  const drawnKinds = random.pick(KINDS_TOGETHER);
  const plan = drawPlan(random, scenario, faults.length > 0 ? faults : drawnKinds);
  // Some nodes may stay unwell for good, but never all.
  const leftUnhealthy = random.chance(0.3) ? random.integer(1, scenario.timings.length - 1) : 0;
  return { scenario, plan, leftUnhealthy };
}

/** Runs one seed. */
export async function run(seed: string, restrictions: Restrictions, options: RunOptions = {}): Promise<RunResult> {
  const drawn = draw(seed, restrictions);
  const plan = drawn.plan.filter((_, index) => options.kept?.includes(index) ?? true);
  const world = new World(seed, drawn.scenario, options.keepsHistory ?? false);
  begin(world, plan, drawn.leftUnhealthy);
  const settledAfterMs = await runToTheEnd(world);
  return {
    seed,
    scenario: drawn.scenario,
    plan,
    violation: world.observer.violation,
    exceptions: world.observer.exceptions,
    virtualMs: world.time.nowMs,
    events: world.time.events,
    settledAfterMs,
    history: world.history ?? [],
  };
}

function begin(world: World, plan: readonly Fault[], leftUnhealthy: number): void {
  const { time, scenario, machines } = world;
  if (scenario.leaseAtStart === 'from the manifests') world.createLease();
  for (const machine of machines) time.at(world.random.between(0, START_SPREAD_MS), () => world.startIfNone(machine));
  for (const fault of plan) {
    time.at(fault.atMs, () => {
      world.note(`FAULT ${describeFault(fault)} at ${world.machineFor(fault.node).name}`);
      const struck: Strike = { kind: fault.kind, how: fault.how, machine: world.machineFor(fault.node), atMs: time.nowMs, overAtMs: null };
      world.strikes.push(struck);
      const heal = strike(world, fault);
      const disturb = (): void => {
        if (fault.how !== 'foreign metadata') world.disturbedAtMs = time.nowMs;
      };
      disturb();
      time.at(Math.min(fault.atMs + fault.forMs, scenario.faultsMs), () => {
        if (fault.forMs > 0) world.note(`${fault.kind} is over`);
        disturb();
        heal();
        struck.overAtMs = time.nowMs;
      });
    });
  }
  // After the healing of every fault, which was planned for the same instant at the latest.
  time.at(scenario.faultsMs + 1, () => {
    world.note('calm');
    world.disturbedAtMs = time.nowMs;
    world.calm();
    for (const machine of machines) world.startIfNone(machine);
    for (const machine of machines.slice(0, leftUnhealthy)) machine.setService('refusing');
  });
}

async function runToTheEnd(world: World): Promise<number | null> {
  const { time, observer, scenario } = world;
  let agreesSinceMs: number | null = null;
  let isSettled = false;
  const look = (): void => {
    const disagreement = world.disagreement();
    agreesSinceMs = disagreement === null ? (agreesSinceMs ?? time.nowMs) : null;
    isSettled = agreesSinceMs !== null && time.nowMs - agreesSinceMs >= SETTLED_MS;
    if (!isSettled) time.after(LOOK_MS, look);
  };
  time.at(scenario.faultsMs + 2, look);
  const calmMaxMs = scenario.kind === 'routed' ? (simProvider(scenario.provider).settlesWithinMs ?? CALM_MAX_MS) : CALM_MAX_MS;
  await time.run(scenario.faultsMs + calmMaxMs, () => {
    observer.check();
    world.availability.check();
    return observer.violation !== null || isSettled;
  });
  const disagreement = world.disagreement();
  if (!isSettled)
    observer.violate('liveness', `${calmMaxMs / 1_000}s after the last fault ${disagreement ?? 'it has only just been settled'}`);
  return agreesSinceMs === null ? null : agreesSinceMs - scenario.faultsMs;
}

/** A fault in words. */
export function describeFault({ kind, forMs, node, size, how }: Fault): string {
  const parts = [kind, how, forMs > 0 ? `for ${forMs}ms` : '', `size ${size}`, `node ${node}`];
  return parts.filter((part) => part !== '').join(', ');
}
