/**
 * Measures our agents behind a provider's API: how long clients are without an answer after each fault, and what an agent costs.
 *
 * Every fault comes at a random moment of the agents' rhythm.
 */
import { monotonicMs } from '../../test/support/monotonic.ts';
import { NamespaceNode } from '../../test/support/namespace-lab.ts';
import { StandInLeases } from '../lab/leases.ts';
import { NamespaceStage } from '../lab/namespace-stage.ts';
import { findOutages, totalOutageMs } from '../lab/outage.ts';
import { isSettled, raiseCurtain, servedBy, until } from '../lab/stage.ts';
import { beginCost, pause, say, shown } from './measures.ts';
import type { Cost } from './measures.ts';

const MOVE_MS = 500;
const ATTEMPT_KNOWN_MS = 600;
/** Longer than the interval of renewals and of probes, so that faults come at any moment of them. */
const RHYTHM_MS = 1_000;
const STEADY_MS = 60_000;

type BenchStage = NamespaceStage<StandInLeases>;

interface Fault {
  readonly name: string;
  /** What clients may be without an answer for, in milliseconds. */
  readonly targetMs: number;
  /** Does it, and ends when another node serves. Returns more to measure, by name, in milliseconds. */
  readonly strike: (stage: BenchStage, holder: string) => Promise<Readonly<Record<string, number>>>;
  /** Undoes it. */
  readonly mend: (stage: BenchStage, node: string) => Promise<void> | void;
}

interface Measured {
  readonly fault: string;
  readonly targetMs: number;
  readonly outageMs: readonly number[];
  readonly extra: Readonly<Record<string, readonly number[]>>;
}

export interface RoutedResult {
  readonly faults: readonly Measured[];
  /** How often one held while every node was unhealthy, from 0 to 1; null where it was not measured, as all below. */
  readonly heldWhenAllUnhealthy: number | null;
  readonly startMs: readonly number[] | null;
  readonly steady: Steady | null;
  /** Of one refresh of a lifetime, in microseconds. */
  readonly refreshUs: { readonly alone: number; readonly crowded: number } | null;
  readonly samples: number;
  readonly violations: readonly string[];
}

/** Waits until another node serves. */
const hasMoved = (stage: BenchStage, from: string): Promise<void> =>
  until('another node serves', () => servedBy(stage) !== from && servedBy(stage) === stage.holder());

/** How long the address stays on a node that nobody tidies up. */
async function leftoverMs(stage: BenchStage, node: string): Promise<number> {
  const sinceMs = monotonicMs();
  await until('the leftover is gone', () => !stage.boundOn().includes(node), 60_000);
  return monotonicMs() - sinceMs;
}

/** A node whose service comes back. A new agent, because one that has just failed stands back, longer each time. */
async function recover(stage: BenchStage, node: string): Promise<void> {
  await stage.startService(node);
  await stage.stopAgent(node);
  stage.startAgent(node);
}

export const FAULTS: readonly Fault[] = [
  {
    name: 'holder stopped politely',
    targetMs: 100,
    strike: async (stage, holder) => {
      const startedAtMs = monotonicMs();
      const ended = stage.stopAgent(holder);
      await until('the Lease is free', () => stage.holder() !== holder);
      const leaseFreeMs = monotonicMs() - startedAtMs;
      const code = await ended;
      if (code !== 0) throw new Error(`the agent ended with ${code}`);
      const exitMs = monotonicMs() - startedAtMs;
      await hasMoved(stage, holder);
      return { 'Lease free': leaseFreeMs, 'process ended': exitMs };
    },
    mend: (stage, node) => {
      stage.startAgent(node);
    },
  },
  {
    name: 'agent killed (SIGKILL), node alive',
    targetMs: 100,
    strike: async (stage, holder) => {
      await stage.killAgent(holder);
      await hasMoved(stage, holder);
      return { 'leftover gone after': await leftoverMs(stage, holder) };
    },
    mend: (stage, node) => {
      stage.startAgent(node);
    },
  },
  {
    name: 'agent frozen (SIGSTOP), node alive',
    targetMs: 100,
    strike: async (stage, holder) => {
      stage.freezeAgent(holder);
      await hasMoved(stage, holder);
      return { 'leftover gone after': await leftoverMs(stage, holder) };
    },
    mend: (stage, node) => {
      stage.thawAgent(node);
    },
  },
  {
    name: 'agent killed and restarted within 1 s',
    targetMs: 100,
    strike: async (stage, holder) => {
      await stage.killAgent(holder);
      await pause(Math.random() * RHYTHM_MS);
      stage.startAgent(holder);
      // Any node may win, the restarted one included; what matters is that one serves under a new term.
      const transitions = stage.transitions();
      await until('a new term has begun', () => stage.transitions() > transitions);
      await until('everything has settled', () => isSettled(stage), 60_000);
      return {};
    },
    mend: () => undefined,
  },
  {
    name: 'node cut off',
    targetMs: 3_600,
    strike: async (stage, holder) => {
      stage.cutOff(holder);
      await hasMoved(stage, holder);
      return {};
    },
    mend: (stage, node) => {
      stage.reconnect(node);
    },
  },
  {
    name: 'local service dies: refused',
    targetMs: 2_600,
    strike: async (stage, holder) => {
      await stage.stopService(holder, 'refuse');
      await hasMoved(stage, holder);
      return {};
    },
    mend: recover,
  },
  {
    name: 'local service dies: hanging',
    targetMs: 3_600,
    strike: async (stage, holder) => {
      await stage.stopService(holder, 'hang');
      await hasMoved(stage, holder);
      return {};
    },
    mend: recover,
  },
];

async function measureFault(stage: BenchStage, fault: Fault, runs: number): Promise<Measured> {
  const outageMs: number[] = [];
  const extra: Record<string, number[]> = {};
  for (let run = 0; run < runs; run += 1) {
    await until('everything has settled', () => isSettled(stage), 60_000);
    const holder = stage.holder() ?? '';
    await pause(RHYTHM_MS + Math.random() * RHYTHM_MS);
    const startedAtMs = monotonicMs();
    const more = await fault.strike(stage, holder);
    await fault.mend(stage, holder);
    await until('everything has settled', () => isSettled(stage), 60_000);
    const settledAtMs = monotonicMs();
    await pause(ATTEMPT_KNOWN_MS);
    outageMs.push(totalOutageMs(findOutages(stage.attempts, startedAtMs, settledAtMs)));
    for (const [name, ms] of Object.entries(more)) (extra[name] ??= []).push(ms);
    for (const node of stage.nodes)
      await until(`${node} is ready`, async () => ['serving', 'standby'].includes((await stage.role(node)) ?? ''));
  }
  say(
    `  ${fault.name}: ${shown(outageMs)}${Object.entries(extra)
      .map(([name, ms]) => `; ${name} ${shown(ms)}`)
      .join('')}`,
  );
  return { fault: fault.name, targetMs: fault.targetMs, outageMs, extra };
}

/** With every node unhealthy one of them still holds. */
async function measureAllUnhealthy(stage: BenchStage): Promise<number> {
  for (const node of stage.nodes) await stage.stopService(node, 'refuse');
  let holders = 0;
  let samples = 0;
  const untilMs = monotonicMs() + 10_000;
  while (monotonicMs() < untilMs) {
    samples += 1;
    if (stage.holder() !== null && stage.boundOn().length > 0) holders += 1;
    await pause(50);
  }
  for (const node of stage.nodes) await stage.startService(node);
  return holders / samples;
}

interface Steady {
  readonly apiRequestsPerMinute: number;
  readonly providerRequestsPerMinute: number;
  readonly holder: Cost;
  readonly candidates: readonly Cost[];
}

async function measureSteady(stage: BenchStage): Promise<Steady> {
  const endOf = new Map(stage.nodes.map((node) => [node, beginCost([stage.agent(node)?.pid ?? 0])]));
  const [apiBefore, providerBefore] = [stage.leases.kube.http.exchanges.length, stage.provider.http.exchanges.length];
  const startedAtMs = monotonicMs();
  await pause(STEADY_MS);
  const minutes = (monotonicMs() - startedAtMs) / 60_000;
  const cost = (node: string): Cost => endOf.get(node)?.() ?? { residentMb: 0, processor: 0 };
  const holder = stage.holder() ?? '';
  return {
    apiRequestsPerMinute: (stage.leases.kube.http.exchanges.length - apiBefore) / minutes,
    providerRequestsPerMinute: (stage.provider.http.exchanges.length - providerBefore) / minutes,
    holder: cost(holder),
    candidates: stage.nodes.filter((node) => node !== holder).map(cost),
  };
}

/** How long an agent takes from its start until it stands by, ready to contend. */
async function measureStart(stage: BenchStage, runs: number): Promise<number[]> {
  const times: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    const node = stage.nodes.find((each) => each !== stage.holder()) ?? '';
    await stage.stopAgent(node);
    const startedAtMs = monotonicMs();
    stage.startAgent(node);
    const agent = stage.agent(node);
    const isReady = (): boolean => {
      const events = agent?.log.map(({ event }) => event) ?? [];
      return events.includes('provider-ready') && events.includes('verdict') && events.includes('transition');
    };
    await until('it is ready to contend', isReady);
    times.push(monotonicMs() - startedAtMs);
    await pause(RHYTHM_MS);
  }
  return times;
}

/** What refreshing a lifetime costs, in microseconds, beside so many pairs of other interfaces. */
function measureRefresh(pairs: number): number {
  const count = 5_000;
  const node = new NamespaceNode();
  for (let pair = 0; pair < pairs; pair += 1) node.addInterface(`v${pair}`);
  const link = node.link(['203.0.113.10']);
  link.bind('203.0.113.10', 38_000);
  for (let warm = 0; warm < count; warm += 1) link.bind('203.0.113.10', 38_000);
  const startedAtMs = monotonicMs();
  for (let refresh = 0; refresh < count; refresh += 1) link.bind('203.0.113.10', 38_000);
  const us = ((monotonicMs() - startedAtMs) * 1_000) / count;
  link.close();
  node.close();
  return us;
}

/** Measures all of it, or only the faults whose names contain `only`. */
export async function measureRouted(bundle: string, options: { readonly runs: number; readonly only: string }): Promise<RoutedResult> {
  const stage = await NamespaceStage.open({ bundle, moveMs: MOVE_MS }, (onLease) => StandInLeases.open(onLease));
  await raiseCurtain(stage);
  say(
    `Routed: default settings, a provider that takes ${MOVE_MS / 1_000} s for an assignment, a connection every 20 ms; median (minimum–maximum) of ${options.runs}.`,
  );
  const faults: Measured[] = [];
  for (const fault of FAULTS) if (fault.name.includes(options.only)) faults.push(await measureFault(stage, fault, options.runs));
  const isWhole = options.only === '';
  const heldWhenAllUnhealthy = isWhole ? await measureAllUnhealthy(stage) : null;
  await until('everything has settled', () => isSettled(stage), 60_000);
  const startMs = isWhole ? await measureStart(stage, options.runs) : null;
  const steady = isWhole ? await measureSteady(stage) : null;
  const refreshUs = isWhole ? { alone: measureRefresh(0), crowded: measureRefresh(100) } : null;
  const { violations, samples } = stage;
  await stage.close();

  return { faults, heldWhenAllUnhealthy, startMs, steady, refreshUs, samples, violations };
}

/** Writes down what was found, as a table and a sentence for each of the rest. */
export function sayRouted({ faults, heldWhenAllUnhealthy, startMs, steady, refreshUs, samples, violations }: RoutedResult): void {
  say();
  say('| fault | clients without an answer: median (min–max) | target |');
  say('|---|---|---|');
  for (const { fault, outageMs, targetMs } of faults) say(`| ${fault} | ${shown(outageMs)} | ≤ ${(targetMs / 1_000).toFixed(1)} s |`);
  say();
  for (const { fault, extra } of faults) for (const [name, ms] of Object.entries(extra)) say(`${fault}: ${name} ${shown(ms)}`);
  if (heldWhenAllUnhealthy !== null)
    say(`every node unhealthy: one still held in ${Math.round(heldWhenAllUnhealthy * 100)} % of the looks of 10 s`);
  if (startMs !== null) say(`start until ready to contend: ${shown(startMs)}`);
  if (steady !== null) {
    const { holder, candidates, apiRequestsPerMinute, providerRequestsPerMinute } = steady;
    say(
      `three idle agents: ${apiRequestsPerMinute.toFixed(0)} API requests and ${providerRequestsPerMinute.toFixed(0)} provider requests a minute in all`,
    );
    say(`holder: ${holder.residentMb.toFixed(0)} MB resident, ${holder.processor.toFixed(2)} % of a core`);
    say(`candidates: ${candidates.map((each) => `${each.residentMb.toFixed(0)} MB, ${each.processor.toFixed(2)} %`).join('; ')}`);
  }
  if (refreshUs !== null)
    say(`refreshing a lifetime: ${refreshUs.alone.toFixed(0)} µs; beside 200 other interfaces ${refreshUs.crowded.toFixed(0)} µs`);
  say(`looked ${samples} times, violations: ${violations.length}`);
  for (const violation of violations) say(`  ${violation}`);
}
