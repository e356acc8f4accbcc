/**
 * The end-to-end lab: does to real agents what the world does to them, and judges what came of it.
 *
 * Real processes of the built agent, in network namespaces, against a real kube-apiserver with the rights of our Role, a
 * stand-in for the provider, and a client that opens a connection every 10 ms. Arguments: `--only TEXT` (faults whose name
 * contains it), `--on routed|l2|l2-fast`, `--repeat N`, `--json FILE`, and `--ci`, with which nothing may be skipped but
 * what is known to be.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { misuse, positive, readOptions, writableFile } from '../scripts/arguments.ts';
import { buildAgent } from '../scripts/build.ts';
import { findNamespaces, isInside, runInside } from '../test/support/namespaces.ts';
import { findAssets } from './control-plane/assets.ts';
import type { Assets } from './control-plane/assets.ts';
import { ControlPlane } from './control-plane/control-plane.ts';
import { ARRANGEMENTS, EACH_ARRANGEMENT as EACH } from './lab/arrangements.ts';
import type { Arrangement } from './lab/arrangements.ts';
import type { Expectation, Fault, Untried } from './lab/fault.ts';
import { FAULTS } from './lab/faults.ts';
import { Lab } from './lab/lab.ts';
import { endsWell, inSeconds, tableOf } from './lab/verdict.ts';
import type { Result, Trial } from './lab/verdict.ts';
import { exitWith } from '../scripts/exit.ts';

const FILES = '/run/leasehold-e2e';
/** The only faults that a run for CI may leave out. */
const MAY_BE_SKIPPED: readonly string[] = ['clock of the node stepped'];

interface Options {
  readonly only: string;
  readonly on: Arrangement | undefined;
  readonly repeat: number;
  readonly json: string | undefined;
  readonly isCi: boolean;
}

/** What the run has seen beyond the faults, and how closely it has looked. */
interface Watched {
  readonly samples: number;
  readonly framesHeard: number;
  /** Null where no two nodes spoke one after the other. */
  readonly shortestSilenceMs: number | null;
  readonly violations: readonly string[];
  readonly gaps: Lab['gaps'];
}

const say = (text = ''): void => void process.stdout.write(`${text}\n`);

async function main(args: readonly string[]): Promise<number> {
  const options = optionsFrom(args);
  const namespaces = findNamespaces();
  const assets = findAssets(process.env);
  if (isInside() && assets.is === 'available') return await run(options, assets);
  if (namespaces.is === 'unavailable') return skipAll(options, `no network namespaces can be had here: ${namespaces.why}`);
  if (assets.is === 'unavailable') return skipAll(options, assets.why);
  return await runInside(namespaces.unshare, fileURLToPath(import.meta.url), args);
}

function optionsFrom(args: readonly string[]): Options {
  const { only, on, repeat, json, ci } = readOptions(args, {
    only: { type: 'string', default: '' },
    on: { type: 'string' },
    repeat: { type: 'string', default: '1' },
    json: { type: 'string' },
    ci: { type: 'boolean', default: false },
  });
  if (!FAULTS.some(({ name }) => name.includes(only))) misuse(`--only "${only}" matches no fault.`);
  const arrangement = EACH.find((each) => each === on);
  if (on !== undefined && arrangement === undefined) misuse(`--on takes one of ${EACH.join(', ')}, and not "${on}".`);
  return { only, on: arrangement, repeat: positive('repeat', repeat), json: writableFile('json', json), isCi: ci };
}

/** What is to be done in one arrangement, with what is expected there. */
function faultsFor(arrangement: Arrangement, { only, on }: Options): { fault: Fault | Untried; expected: Expectation }[] {
  if (on !== undefined && on !== arrangement) return [];
  return FAULTS.flatMap((fault) => {
    const expected = fault.expected[arrangement];
    return expected === undefined || !fault.name.includes(only) ? [] : [{ fault, expected }];
  });
}

function skipAll(options: Options, why: string): number {
  const names = EACH.flatMap((arrangement) => faultsFor(arrangement, options).map(({ fault }) => `${fault.name} (${arrangement})`));
  say(`Skipped, because ${why}:`);
  for (const name of names) say(`  ${name}`);
  // A run for CI that tries nothing has failed.
  say(options.isCi ? `0 passed, ${names.length} failed, 0 skipped` : `0 passed, 0 failed, ${names.length} skipped`);
  return options.isCi ? 1 : 0;
}

async function run(options: Options, assets: Assets & { is: 'available' }): Promise<number> {
  mkdirSync(FILES, { recursive: true });
  say('Building the agent, starting etcd and kube-apiserver …');
  const bundle = await buildAgent(`${FILES}/dist`);
  const plane = await ControlPlane.start({ assets, folder: `${FILES}/control-plane` });
  const results: Result[] = [];
  let samples = 0;
  let framesHeard = 0;
  let shortestSilenceMs: number | null = null;
  const violations: string[] = [];
  const gaps = { betweenLooksMs: 0, betweenAttemptsMs: 0 };
  for (const arrangement of EACH) {
    const faults = faultsFor(arrangement, options);
    if (faults.length === 0) continue;
    say();
    say(`${ARRANGEMENTS[arrangement].what}: three nodes, a client that opens a connection every 10 ms.`);
    const lab = new Lab({ bundle, plane, arrangement });
    for (const { fault, expected } of faults) results.push(await tryFault(lab, fault, expected, options.repeat));
    await lab.close();
    samples += lab.samples;
    framesHeard += lab.framesHeard;
    if (Number.isFinite(lab.shortestSilenceMs))
      shortestSilenceMs = Math.min(shortestSilenceMs ?? Number.POSITIVE_INFINITY, lab.shortestSilenceMs);
    violations.push(...lab.violations);
    gaps.betweenLooksMs = Math.max(gaps.betweenLooksMs, lab.gaps.betweenLooksMs);
    gaps.betweenAttemptsMs = Math.max(gaps.betweenAttemptsMs, lab.gaps.betweenAttemptsMs);
  }
  await plane.close();
  return report(options, results, { samples, framesHeard, shortestSilenceMs, violations, gaps });
}

/** A stage on which not even the beginning came about is left, so that the whole run is not lost with it. */
async function unsettled(lab: Lab, error: unknown): Promise<Trial> {
  await lab.close();
  const problems = [error instanceof Error ? error.message : String(error)];
  return { outageMs: Number.POSITIVE_INFINITY, nodes: 0, from: 'nobody', to: 'nobody', tookMs: 0, problems, log: [] };
}

async function tryFault(lab: Lab, fault: Fault | Untried, expected: Expectation, repeat: number): Promise<Result> {
  const { arrangement } = lab;
  if ('cannot' in fault) {
    say(`  skipped  ${fault.name}: ${fault.cannot}`);
    return { fault: fault.name, arrangement, expected, trials: [], skipped: fault.cannot };
  }
  const trials: Trial[] = [];
  for (let time = 0; time < repeat; time += 1) {
    const trial = await lab.try(fault, expected).catch(async (error: unknown) => await unsettled(lab, error));
    trials.push(trial);
    const what = `${inSeconds(trial.outageMs)} without an answer, ${trial.nodes} at most had it, ${trial.from} → ${trial.to}`;
    say(`  ${endsWell(trial) ? 'ok  ' : 'FAIL'}  ${fault.name}: ${what} (${(trial.tookMs / 1_000).toFixed(0)} s)`);
    for (const problem of trial.problems) say(`        ${problem}`);
    for (const line of trial.log) say(`          ${line}`);
  }
  return { fault: fault.name, arrangement, expected, trials, skipped: null };
}

function report(options: Options, results: readonly Result[], watched: Watched): number {
  for (const arrangement of EACH) {
    const rows = results.filter((each) => each.arrangement === arrangement);
    if (rows.length === 0) continue;
    say();
    say(`${ARRANGEMENTS[arrangement].what}:`);
    say();
    say(tableOf(rows));
  }
  say();
  say(`Everything was looked at ${watched.samples} times; what must never be was seen ${watched.violations.length} times.`);
  if (watched.framesHeard > 0)
    say(`On the segment ${watched.framesHeard} frames were heard in the name of an address, which are all that its nodes sent.`);
  if (watched.shortestSilenceMs !== null)
    say(`Between the last frame of one node and the first of the next there were ${Math.round(watched.shortestSilenceMs)} ms at least.`);
  const { betweenLooksMs, betweenAttemptsMs } = watched.gaps;
  say(
    `Nothing shorter than this is sure to be seen: the longest time between two looks was ${inSeconds(betweenLooksMs)}, between two attempts of the client ${inSeconds(betweenAttemptsMs)}.`,
  );
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ results, ...watched }, null, 2)}\n`);
  const skipped = results.filter((each) => each.skipped !== null);
  const unknown = options.isCi ? skipped.filter(({ fault }) => !MAY_BE_SKIPPED.includes(fault)) : [];
  const failed = results.filter(({ trials }) => !trials.every(endsWell)).length + unknown.length;
  say(`${results.length - failed - skipped.length + unknown.length} passed, ${failed} failed, ${skipped.length - unknown.length} skipped`);
  return failed === 0 ? 0 : 1;
}

await exitWith(await main(process.argv.slice(2)));
