/**
 * Runs a script of this repository on the Node that it is made for, and installs what that needs first.
 *
 * Works on any Node from 18 on, because it is the first thing that runs on a bare machine. Installs only when the lock file
 * has changed since the last time.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const STAMP = join(ROOT, 'node_modules', '.installed-lock');
const OLDEST_NODE = 24;

const [script, ...args] = process.argv.slice(2);
if (script === undefined) {
  console.error('usage: node scripts/run.mjs <script> [argument…]');
  process.exit(64);
}
install();
run(findNode(), [join(ROOT, script), ...args]);

function install() {
  const lock = createHash('sha256')
    .update(readFileSync(join(ROOT, 'package-lock.json')))
    .digest('hex');
  if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === lock) return;
  console.error('Installing packages, this once …');
  const { status, error } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0) {
    console.error(
      `The packages could not be installed (npm ci ${error === undefined ? `ended with ${status}` : `failed: ${error.message}`}).`,
    );
    process.exit(1);
  }
  writeFileSync(STAMP, lock);
}

/** The Node that the lock file pins, else the one that runs this if it is new enough. */
function findNode() {
  const pinned = join(ROOT, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');
  if (existsSync(pinned)) return pinned;
  if (Number(process.versions.node.split('.')[0]) >= OLDEST_NODE) return process.execPath;
  console.error(
    `Node ${OLDEST_NODE} is needed; there is no pinned one for linux-${process.arch}, and this is Node ${process.versions.node}.`,
  );
  process.exit(1);
}

/** Signals go to the whole foreground group, so the child gets them, too: its end is what counts. */
function run(node, argv) {
  for (const signal of ['SIGINT', 'SIGHUP']) process.on(signal, () => undefined);
  const child = spawn(node, argv, { stdio: 'inherit' });
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.on('error', (error) => {
    console.error(error.message);
    process.exit(1);
  });
  child.on('exit', (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
}
