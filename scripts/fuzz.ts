/**
 * Runs the fuzzing tests for long: `npm run fuzz -- --minutes 15`. Ends early with what failed, and the seed that replays it.
 *
 * Rounds follow each other until the time is over, so the last one may take a little longer. Says how many cases were tried.
 */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';
import { FUZZ_FACTOR } from '../test/fuzz/cases.ts';
import { monotonicMs } from '../test/support/monotonic.ts';
import { positive, readOptions } from './arguments.ts';
import { exitWith } from './exit.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** A round takes about a minute. */
const FACTOR = 10;

async function main(args: readonly string[]): Promise<number> {
  const { minutes } = readOptions(args, { minutes: { type: 'string', default: '1' } });
  const untilMs = monotonicMs() + positive('minutes', minutes, 'fraction') * 60_000;
  process.env[FUZZ_FACTOR] = String(FACTOR);
  let cases = 0;
  let failed = 0;
  do {
    const round = await runOnce();
    cases += round.cases;
    failed += round.failed;
    process.stdout.write(`${cases} cases so far, ${failed} failed\n`);
  } while (failed === 0 && monotonicMs() < untilMs);
  return failed === 0 ? 0 : 1;
}

async function runOnce(): Promise<{ cases: number; failed: number }> {
  const counts = { cases: 0, failed: 0 };
  const files = globSync('test/fuzz/*.test.ts', { cwd: ROOT }).map((file) => join(ROOT, file));
  const events = run({ files, concurrency: 1, cwd: ROOT });
  events.on('test:diagnostic', ({ message }) => {
    counts.cases += Number(/^(\d+) cases$/.exec(message)?.[1] ?? '0');
  });
  events.on('test:fail', ({ details }) => {
    if (details.type !== 'suite') counts.failed += 1;
  });
  for await (const text of events.compose(new spec()) as AsyncIterable<string>) if (counts.failed > 0) process.stdout.write(text);
  return counts;
}

await exitWith(await main(process.argv.slice(2)));
