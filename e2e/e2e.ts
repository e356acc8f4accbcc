/**
 * The end-to-end lab: does to real agents what the world does to them, and judges what came of it.
 *
 * Real processes of the built agent, in network namespaces, against a real kube-apiserver with the rights of our Role, a
 * stand-in for the provider, and a client that opens a connection every 10 ms. Each arrangement runs in namespaces of its own;
 * three of them side by side, where there are two processors or more, because most of what happens is waiting. Arguments: `--only TEXT`
 * (faults whose name contains it), `--on ARRANGEMENT`, `--repeat N`, `--at-once N` (arrangements side by side), `--json FILE`, and
 * `--ci`, with which nothing may be skipped but what is known to be.
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { misuse, positive, readOptions, writableFile } from '../scripts/arguments.ts';
import { exitWith } from '../scripts/exit.ts';
import { endOf, findNamespaces, isInside, startInside } from '../test/support/namespaces.ts';
import { findAssets } from './control-plane/assets.ts';
import { ARRANGEMENTS, EACH_ARRANGEMENT } from './lab/arrangements.ts';
import type { Arrangement } from './lab/arrangements.ts';
import { FAULTS } from './lab/faults.ts';
import { faultsFor, runLane } from './lab/lane.ts';
import type { LaneResult } from './lab/lane.ts';
import { endsWell, inSeconds, tableOf } from './lab/verdict.ts';

/** The only faults that a run for CI may leave out. */
const MAY_BE_SKIPPED: readonly string[] = ['clock of the node stepped'];
/** Each needs a third of a processor. More than this would be in each other's way, and would be looked at less often. */
const AT_ONCE = availableParallelism() > 1 ? 3 : 1;

interface Options {
  readonly only: string;
  readonly on: Arrangement | undefined;
  readonly repeat: number;
  readonly atOnce: number;
  readonly json: string | undefined;
  readonly isCi: boolean;
}

/** What came of one arrangement; null if it was not brought to its end. */
interface Lane {
  readonly arrangement: Arrangement;
  readonly result: LaneResult | null;
}

const say = (text = ''): void => void process.stdout.write(`${text}\n`);

async function main(args: readonly string[]): Promise<number> {
  const options = optionsFrom(args);
  const assets = findAssets(process.env);
  if (isInside() && assets.is === 'available' && options.on !== undefined) {
    // Nobody waits for it any more.
    process.on('disconnect', () => process.exit(1));
    const result = await runLane(options.on, options, assets);
    await new Promise<void>((resolve) => process.send?.(result, () => resolve()));
    return 0;
  }
  const namespaces = findNamespaces();
  if (namespaces.is === 'unavailable') return skipAll(options, `no network namespaces can be had here: ${namespaces.why}`);
  if (assets.is === 'unavailable') return skipAll(options, assets.why);
  return report(options, await runAll(options, namespaces.unshare));
}

function optionsFrom(args: readonly string[]): Options {
  const values = readOptions(args, {
    only: { type: 'string', default: '' },
    on: { type: 'string' },
    repeat: { type: 'string', default: '1' },
    'at-once': { type: 'string', default: String(AT_ONCE) },
    json: { type: 'string' },
    ci: { type: 'boolean', default: false },
  });
  const { only } = values;
  const on = EACH_ARRANGEMENT.find((each) => each === values.on);
  if (!FAULTS.some(({ name }) => name.includes(only))) misuse(`--only "${only}" matches no fault.`);
  if (on === undefined && values.on !== undefined) misuse(`--on takes one of ${EACH_ARRANGEMENT.join(', ')}, and not "${values.on}".`);
  const [repeat, atOnce] = [positive('repeat', values.repeat), positive('at-once', values['at-once'])];
  return { only, on, repeat, atOnce, json: writableFile('json', values.json), isCi: values.ci };
}

/** The arrangements in which there is something to do. */
function arrangementsFor({ only, on }: Options): Arrangement[] {
  return EACH_ARRANGEMENT.filter((each) => (on === undefined || on === each) && faultsFor(each, only).length > 0);
}

function skipAll(options: Options, why: string): number {
  const names = arrangementsFor(options).flatMap((each) => faultsFor(each, options.only).map(({ fault }) => `${fault.name} (${each})`));
  say(`Skipped, because ${why}:`);
  for (const name of names) say(`  ${name}`);
  // A run for CI that tries nothing has failed.
  say(options.isCi ? `0 passed, ${names.length} failed, 0 skipped` : `0 passed, 0 failed, ${names.length} skipped`);
  return options.isCi ? 1 : 0;
}

/** Runs every arrangement, so many at a time, and then those that want the machine to themselves. */
async function runAll(options: Options, unshare: readonly string[]): Promise<Lane[]> {
  const wanted = arrangementsFor(options);
  // Those with the most to do come first, so that they end together.
  const amount = (arrangement: Arrangement): number => faultsFor(arrangement, options.only).length;
  const lanes: Lane[] = [];
  let isEnding = false;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => (isEnding = true));
  const run = async (waiting: Arrangement[]): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined && !isEnding; next = waiting.shift())
      lanes.push(await runApart(next, options, unshare));
  };
  const together = wanted.filter((each) => ARRANGEMENTS[each].isAlone !== true).sort((a, b) => amount(b) - amount(a));
  await Promise.all(Array.from({ length: options.atOnce }, () => run(together)));
  await run(wanted.filter((each) => ARRANGEMENTS[each].isAlone === true));
  return wanted.flatMap((arrangement) => lanes.find((lane) => lane.arrangement === arrangement) ?? []);
}

/** Runs one arrangement in namespaces of its own, and passes on what it says. */
async function runApart(arrangement: Arrangement, { only, repeat }: Options, unshare: readonly string[]): Promise<Lane> {
  const args = ['--on', arrangement, '--only', only, '--repeat', String(repeat)];
  const child = startInside(unshare, fileURLToPath(import.meta.url), args, {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    // What never ends is Infinity, which JSON does not know.
    serialization: 'advanced',
  });
  let result: LaneResult | null = null;
  child.on('message', (message: LaneResult) => (result = message));
  const width = Math.max(...EACH_ARRANGEMENT.map(({ length }) => length));
  if (child.stdout !== null) createInterface(child.stdout).on('line', (line) => say(`${arrangement.padEnd(width)}  ${line}`));
  const code = await endOf(child);
  if (result === null) say(`${arrangement.padEnd(width)}  FAIL  it ended with ${code} before it was through`);
  return { arrangement, result };
}

function report(options: Options, lanes: readonly Lane[]): number {
  const through = lanes.flatMap(({ result }) => result ?? []);
  const results = through.flatMap((lane) => lane.results);
  for (const { arrangement, result } of lanes) {
    if (result === null) continue;
    say();
    say(`${ARRANGEMENTS[arrangement].what}:`);
    say();
    say(tableOf(result.results));
  }
  const watched = allSeen(through);
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
  const unfinished = lanes.filter(({ result }) => result === null);
  const ill = results.filter(({ trials }) => !trials.every(endsWell));
  const failed = ill.length + unknown.length + unfinished.length;
  say(`${results.length - ill.length - skipped.length} passed, ${failed} failed, ${skipped.length - unknown.length} skipped`);
  return failed === 0 ? 0 : 1;
}

/** What all arrangements have seen, and how closely the one looked that looked least closely. */
function allSeen(lanes: readonly LaneResult[]): {
  samples: number;
  framesHeard: number;
  shortestSilenceMs: number | null;
  violations: string[];
  gaps: LaneResult['watched']['gaps'];
} {
  const all = lanes.map(({ watched }) => watched);
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const shortestSilenceMs = Math.min(...all.map((each) => each.shortestSilenceMs));
  return {
    samples: sum(all.map(({ samples }) => samples)),
    framesHeard: sum(all.map(({ framesHeard }) => framesHeard)),
    shortestSilenceMs: Number.isFinite(shortestSilenceMs) ? shortestSilenceMs : null,
    violations: all.flatMap(({ violations }) => violations),
    gaps: {
      betweenLooksMs: Math.max(0, ...all.map(({ gaps }) => gaps.betweenLooksMs)),
      betweenAttemptsMs: Math.max(0, ...all.map(({ gaps }) => gaps.betweenAttemptsMs)),
    },
  };
}

await exitWith(await main(process.argv.slice(2)));
