/**
 * One arrangement of the lab from its beginning to its end, with a control plane of its own.
 *
 * Guarantees: it needs nothing of this machine but its processors, so that several may run side by side in namespaces of their
 * own.
 */
import { mkdirSync } from 'node:fs';
import { buildAgent } from '../../scripts/build.ts';
import type { Assets } from '../control-plane/assets.ts';
import { ControlPlane } from '../control-plane/control-plane.ts';
import { ARRANGEMENTS } from './arrangements.ts';
import type { Arrangement } from './arrangements.ts';
import type { Expectation, Fault, Untried } from './fault.ts';
import { FAULTS } from './faults.ts';
import { Lab } from './lab.ts';
import { endsWell, inSeconds } from './verdict.ts';
import type { Result, Trial } from './verdict.ts';

const FILES = '/run/leasehold-e2e';

/** What a lane has seen beyond the faults, and how closely it has looked. */
export interface Watched {
  readonly samples: number;
  readonly framesHeard: number;
  /** Infinity where no two nodes spoke one after the other. */
  readonly shortestSilenceMs: number;
  readonly violations: readonly string[];
  readonly gaps: Lab['gaps'];
}

export interface LaneResult {
  readonly results: readonly Result[];
  readonly watched: Watched;
}

/** What is to be done in one arrangement: the faults whose names contain a text, each with what is expected there. */
export function faultsFor(arrangement: Arrangement, only: string): { readonly fault: Fault | Untried; readonly expected: Expectation }[] {
  return FAULTS.flatMap((fault) => {
    const expected = fault.expected[arrangement];
    return expected === undefined || !fault.name.includes(only) ? [] : [{ fault, expected }];
  });
}

/** Tries the faults of one arrangement, and says of each what came of it. */
export async function runLane(
  arrangement: Arrangement,
  { only, repeat }: { readonly only: string; readonly repeat: number },
  assets: Assets & { is: 'available' },
): Promise<LaneResult> {
  mkdirSync(FILES, { recursive: true });
  say(`${ARRANGEMENTS[arrangement].what}: three nodes, a client that opens a connection every 10 ms.`);
  const bundle = await buildAgent(`${FILES}/dist`);
  const plane = await ControlPlane.start({ assets, folder: `${FILES}/control-plane` });
  const lab = new Lab({ bundle, plane, arrangement });
  const results: Result[] = [];
  for (const { fault, expected } of faultsFor(arrangement, only)) results.push(await tryFault(lab, fault, expected, repeat));
  await lab.close();
  await plane.close();
  const { samples, framesHeard, shortestSilenceMs, violations, gaps } = lab;
  return { results, watched: { samples, framesHeard, shortestSilenceMs, violations, gaps } };
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);

async function tryFault(lab: Lab, fault: Fault | Untried, expected: Expectation, repeat: number): Promise<Result> {
  const { arrangement } = lab;
  if ('cannot' in fault) {
    say(`skipped  ${fault.name}: ${fault.cannot}`);
    return { fault: fault.name, arrangement, expected, trials: [], skipped: fault.cannot };
  }
  const trials: Trial[] = [];
  for (let time = 0; time < repeat; time += 1) {
    const trial = await lab.try(fault, expected).catch(async (error: unknown) => await unsettled(lab, error));
    trials.push(trial);
    const what = `${inSeconds(trial.outageMs)} without an answer, ${trial.nodes} at most had it, ${trial.from} → ${trial.to}`;
    say(`${endsWell(trial) ? 'ok  ' : 'FAIL'}  ${fault.name}: ${what} (${(trial.tookMs / 1_000).toFixed(0)} s)`);
    for (const problem of trial.problems) say(`      ${problem}`);
    for (const line of trial.log) say(`        ${line}`);
  }
  return { fault: fault.name, arrangement, expected, trials, skipped: null };
}

/** A stage on which not even the beginning came about is left, so that the whole run is not lost with it. */
async function unsettled(lab: Lab, error: unknown): Promise<Trial> {
  await lab.close();
  const problems = [error instanceof Error ? error.message : String(error)];
  return { outageMs: Number.POSITIVE_INFINITY, nodes: 0, from: 'nobody', to: 'nobody', tookMs: 0, problems, log: [] };
}
