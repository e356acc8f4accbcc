/**
 * Runs the tests and says at the end how many passed, failed and were skipped.
 *
 * Everything runs inside namespaces of its own, so that tests of the network touch nothing of this machine. Where those
 * cannot be had, the tests that need them are skipped, with the reason.
 * Arguments: test files; all of them by default.
 */
import { globSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';
import { NO_NAMESPACES } from '../test/support/namespace-test.ts';
import { findNamespaces, isInside, runInside } from '../test/support/namespaces.ts';
import { exitWith } from './exit.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FILES_AT_A_TIME = 2;
const OWN_NETWORK = new URL('../test/support/own-network.ts', import.meta.url).href;

async function main(args: readonly string[]): Promise<number> {
  if (!isInside()) {
    const namespaces = findNamespaces();
    if (namespaces.is === 'available') return await runInside(namespaces.unshare, fileURLToPath(import.meta.url), args);
    process.env[NO_NAMESPACES] = namespaces.why;
  }
  const files =
    args.length > 0
      ? [...args]
      : globSync('test/**/*.test.ts', { cwd: ROOT })
          .sort()
          .map((file) => join(ROOT, file));
  return await runTests(files);
}

async function runTests(files: string[]): Promise<number> {
  // What the tests have begun is gone with the namespaces.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(128 + constants.signals[signal]));
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const events = run({ files, concurrency: FILES_AT_A_TIME, cwd: ROOT, execArgv: ['--import', OWN_NETWORK] });
  events.on('test:pass', ({ details, skip }) => {
    // A group that is skipped as a whole is never opened, so nobody knows how many tests are in it: it counts as one.
    const isSkipped = skip !== undefined && skip !== false;
    if (isSkipped) counts.skipped += 1;
    else if (details.type !== 'suite') counts.passed += 1;
  });
  events.on('test:fail', ({ details }) => {
    if (details.type !== 'suite') counts.failed += 1;
  });
  for await (const text of events.compose(new spec()) as AsyncIterable<string>) process.stdout.write(text);
  process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
  return counts.failed === 0 ? 0 : 1;
}

await exitWith(await main(process.argv.slice(2)));
