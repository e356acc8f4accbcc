/**
 * The command `npm run simulate`: searches for schedules that break an invariant, and replays one.
 *
 * Arguments: `--runs N` (100), `--seed S` (made from the time, and printed), `--world routed|l2`, `--provider NAME`, `--faults "a,b"` (kinds of
 * faults that may strike), `--replay SEED` with `--keep 1,4` (positions of the faults that strike) prints a run's history;
 * `--weakenings` shows that what weakens a rule is caught, `--only TEXT` those whose name contains it; `--brief` prints JSON.
 */
import { misuse, positive, readOptions } from '../../scripts/arguments.ts';
import { FAULT_KINDS } from './faults.ts';
import type { FaultKind } from './faults.ts';
import { INVARIANTS } from './invariants.ts';
import { SIM_PROVIDER_NAMES } from './providers/all.ts';
import type { SimProviderName } from './providers/all.ts';
import { describeFault, run } from './run.ts';
import type { Restrictions, RunResult } from './run.ts';
import type { Scenario } from './scenario.ts';
import { shrink } from './shrink.ts';
import { removeCopiesOnSignals, tryWeakening, WEAKENINGS } from './weakenings.ts';
import type { Outcome } from './weakenings.ts';

/** Weakenings tried side by side, each in a process of its own. */
const AT_A_TIME = 2;
const HISTORY_LINES = 60;
const HOUR_MS = 3_600_000;

/** What many runs add up to. */
interface Totals {
  runs: number;
  virtualMs: number;
  readonly struck: Map<string, number>;
  readonly exceptions: Map<string, number>;
  readonly settledAfterMs: number[];
}

async function main(): Promise<number> {
  const values = readOptions(process.argv.slice(2), {
    runs: { type: 'string', default: '100' },
    seed: { type: 'string', default: String(Date.now()) },
    world: { type: 'string' },
    provider: { type: 'string' },
    faults: { type: 'string', default: '' },
    replay: { type: 'string' },
    keep: { type: 'string' },
    brief: { type: 'boolean', default: false },
    weakenings: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
  });
  const runs = positive('runs', values.runs);
  if (values.weakenings) return await weaken(values.only);
  const restrictions = restrictionsFrom(values.world, values.provider, values.faults);
  if (values.replay !== undefined) return await replay(values.replay, restrictions, values.keep);
  if (values.brief) return await searchBriefly(runs, values.seed, restrictions);
  return await search(runs, values.seed, restrictions);
}

function restrictionsFrom(world: string | undefined, provider: string | undefined, faults: string): Restrictions {
  const kinds = faults.split(',').map((kind) => kind.trim());
  const unknown = kinds.filter((kind) => kind !== '' && !(FAULT_KINDS as string[]).includes(kind));
  if (unknown.length > 0) misuse(`--faults: there is no ${unknown.join(', ')}; there are ${FAULT_KINDS.join(', ')}.`);
  if (world !== undefined && world !== 'routed' && world !== 'l2') return misuse(`--world takes routed or l2, and not "${world}".`);
  const known: readonly string[] = SIM_PROVIDER_NAMES;
  if (provider !== undefined && !known.includes(provider)) return misuse(`--provider takes ${known.join(', ')}, and not "${provider}".`);
  if (provider !== undefined && world === 'l2') return misuse('--provider is about routed worlds, and --world l2 has none.');
  const kind = provider === undefined ? (world ?? null) : 'routed';
  return { kind, provider: (provider ?? null) as SimProviderName | null, faults: kinds.filter((kind) => kind !== '') as FaultKind[] };
}

async function replay(seed: string, restrictions: Restrictions, keep: string | undefined): Promise<number> {
  const kept =
    keep === undefined
      ? {}
      : {
          kept: keep
            .split(',')
            .filter((index) => index !== '')
            .map((index) =>
              /^\d+$/.test(index.trim()) ? Number(index) : misuse(`--keep takes numbers such as "1,4", and not "${keep}".`),
            ),
        };
  const result = await run(seed, restrictions, { ...kept, keepsHistory: true });
  console.log(JSON.stringify(result.scenario));
  for (const line of result.history) console.log(historyLine(line));
  console.log(result.violation === null ? 'no violation' : violationText(result));
  return result.violation === null ? 0 : 1;
}

async function search(runs: number, seed: string, restrictions: Restrictions): Promise<number> {
  console.log(`${runs} runs from the seed ${seed}`);
  const startedAtMs = performance.now();
  const totals: Totals = { runs: 0, virtualMs: 0, struck: new Map(), exceptions: new Map(), settledAfterMs: [] };
  let violated: RunResult | null = null;
  for (let index = 0; index < runs && violated === null; index += 1) {
    const result = await run(`${seed}.${index}`, restrictions);
    addUp(totals, result);
    if (result.violation !== null) violated = result;
  }
  report(totals, (performance.now() - startedAtMs) / 1_000);
  if (violated === null) return 0;
  await explain(violated, restrictions);
  return 1;
}

/** The same for programs: one line of JSON. */
async function searchBriefly(runs: number, seed: string, restrictions: Restrictions): Promise<number> {
  for (let index = 0; index < runs; index += 1) {
    const { violation } = await run(`${seed}.${index}`, restrictions);
    if (violation === null) continue;
    console.log(JSON.stringify({ runs: index + 1, invariant: violation.invariant }));
    return 1;
  }
  console.log(JSON.stringify({ runs, invariant: null }));
  return 0;
}

async function weaken(only: string): Promise<number> {
  const chosen = WEAKENINGS.filter(({ name }) => name.includes(only));
  removeCopiesOnSignals();
  if (chosen.length === 0) misuse(`--only "${only}" matches no weakening.`);
  const outcomes: Outcome[] = [];
  const next = chosen.values();
  const work = async (): Promise<void> => {
    for (const weakening of next) {
      const outcome = await tryWeakening(weakening);
      outcomes.push(outcome);
      console.log(outcomeText(outcome));
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  const missed = outcomes.filter(({ problem }) => problem !== null);
  console.log(`${outcomes.length - missed.length} of ${outcomes.length} weakenings were caught`);
  return missed.length === 0 ? 0 : 1;
}

function outcomeText({ name, caughtBy, runs, problem }: Outcome): string {
  const how = `${caughtBy ?? '–'} after ${runs} ${runs === 1 ? 'run' : 'runs'}`;
  return `| ${name} | ${problem === null ? how : `${how}: ${problem.toUpperCase()}`} |`;
}

function addUp(totals: Totals, { virtualMs, plan, exceptions, settledAfterMs }: RunResult): void {
  totals.runs += 1;
  totals.virtualMs += virtualMs;
  for (const { kind } of plan) totals.struck.set(kind, (totals.struck.get(kind) ?? 0) + 1);
  for (const [name, count] of exceptions) totals.exceptions.set(name, (totals.exceptions.get(name) ?? 0) + count);
  if (settledAfterMs !== null) totals.settledAfterMs.push(settledAfterMs);
}

function report({ runs, virtualMs, struck, exceptions, settledAfterMs }: Totals, realS: number): void {
  const hours = virtualMs / HOUR_MS;
  console.log(
    `${runs} runs, ${hours.toFixed(2)} simulated hours in ${realS.toFixed(1)}s: ${(hours / realS).toFixed(3)} simulated hours a second`,
  );
  console.log(`faults struck: ${listed(struck)}`);
  console.log(`exceptions of rule 7, counted apart: ${exceptions.size === 0 ? 'none' : listed(exceptions)}`);
  console.log('left out, because nothing is guaranteed then: two deletions of the Lease within one lease duration');
  const sorted = settledAfterMs.toSorted((a, b) => a - b);
  const at = (share: number): string => ((sorted[Math.floor((sorted.length - 1) * share)] ?? 0) / 1_000).toFixed(1);
  console.log(`settled after the faults: half within ${at(0.5)}s, 99 % within ${at(0.99)}s, all within ${at(1)}s`);
}

function listed(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}

async function explain(violated: RunResult, restrictions: Restrictions): Promise<void> {
  const { kept, result } = await shrink(violated, restrictions);
  console.log('');
  console.log(violationText(result));
  console.log(`in a ${worldText(result.scenario)} world, with ${result.plan.length} of ${violated.plan.length} faults:`);
  for (const fault of result.plan) console.log(`  ${(fault.atMs / 1_000).toFixed(3)}  ${describeFault(fault)}`);
  console.log('the last that happened:');
  for (const line of result.history.filter(({ isRoutine }) => !isRoutine).slice(-HISTORY_LINES)) console.log(`  ${historyLine(line)}`);
  const narrowed = [
    ...(restrictions.provider !== null
      ? [`--provider ${restrictions.provider}`]
      : restrictions.kind === null
        ? []
        : [`--world ${restrictions.kind}`]),
    ...(restrictions.faults.length === 0 ? [] : [`--faults "${restrictions.faults.join(',')}"`]),
  ];
  console.log(`replay it: ${['npm run simulate --', `--replay ${violated.seed}`, `--keep "${kept.join(',')}"`, ...narrowed].join(' ')}`);
}

function historyLine({ atMs, text }: { readonly atMs: number; readonly text: string }): string {
  return `${(atMs / 1_000).toFixed(3)}  ${text}`;
}

function worldText({ kind, provider }: Scenario): string {
  return kind === 'routed' ? `routed (${provider})` : kind;
}

function violationText({ violation, seed }: RunResult): string {
  if (violation === null) return `${seed}: no violation`;
  return `VIOLATION of ${violation.invariant} (${INVARIANTS[violation.invariant]}) at ${(violation.atMs / 1_000).toFixed(3)}s: ${violation.message}`;
}

process.exit(await main());
