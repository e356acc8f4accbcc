/**
 * Records a failover as it happens and draws it: docs/failover.svg, the picture in the README.
 *
 * Three real agents in network namespaces, an address that a stand-in for Hetzner Cloud routes, a client that opens a
 * connection every 20 ms. The node of the holder is cut off the network, and comes back. Arguments: `--svg FILE`.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readOptions, writableFile } from '../scripts/arguments.ts';
import { buildAgent } from '../scripts/build.ts';
import { exitWith } from '../scripts/exit.ts';
import { timelineOf } from '../scripts/timeline.ts';
import type { Sight } from '../scripts/timeline.ts';
import { monotonicMs } from '../test/support/monotonic.ts';
import { findNamespaces, isInside, runInside } from '../test/support/namespaces.ts';
import { StandInLeases } from './lab/leases.ts';
import { NamespaceStage } from './lab/namespace-stage.ts';
import { isSettled, raiseCurtain, servedBy, until } from './lab/stage.ts';
import type { Stage } from './lab/stage.ts';

const DOCS = fileURLToPath(new URL('../docs', import.meta.url));
const [MOVE_MS, SAMPLE_MS] = [500, 10];
/** How long all is well before the fault, how long the node stays away afterwards, and what is seen of its return. */
const [BEFORE_MS, AWAY_MS, AFTER_MS] = [1_500, 1_500, 2_000];
/** How long it takes at the most until it is known that an attempt got no answer. */
const ATTEMPT_KNOWN_MS = 600;

async function main(args: readonly string[]): Promise<number> {
  const { svg } = readOptions(args, { svg: { type: 'string', default: join(DOCS, 'failover.svg') } });
  if (!isInside()) {
    const namespaces = findNamespaces();
    if (namespaces.is === 'available') return await runInside(namespaces.unshare, fileURLToPath(import.meta.url), args);
    process.stdout.write(`Nothing can be recorded here, because there are no network namespaces: ${namespaces.why}.\n`);
    return 1;
  }
  const file = writableFile('svg', svg) ?? svg;
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-picture-'));
  const stage = await NamespaceStage.open({ bundle: await buildAgent(join(folder, 'dist')), moveMs: MOVE_MS }, (onLease) =>
    StandInLeases.open(onLease),
  );
  try {
    writeFileSync(file, timelineOf(await record(stage)));
    process.stdout.write(`${file} was drawn.\n`);
    return 0;
  } finally {
    await stage.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function record(stage: NamespaceStage): Promise<Parameters<typeof timelineOf>[0]> {
  await raiseCurtain(stage);
  const from = stage.holder() ?? '';
  const startedAtMs = monotonicMs();
  const sinceMs = (): number => monotonicMs() - startedAtMs;
  const sights: Sight[] = [];
  const sampler = setInterval(() => note(sights, { atMs: sinceMs(), ...seen(stage) }), SAMPLE_MS);
  const acts: { atMs: number; text: string }[] = [];
  const act = (text: string, done: () => void): void => {
    done();
    acts.push({ atMs: sinceMs(), text });
  };
  const wait = async (ms: number): Promise<void> => {
    const untilMs = sinceMs() + ms;
    await until('the time is over', () => sinceMs() >= untilMs);
  };
  await wait(BEFORE_MS);
  act(`${from} is cut off the network`, () => stage.cutOff(from));
  await until('another node serves', () => stage.owner() !== from && servedBy(stage) === stage.owner());
  await wait(AWAY_MS);
  act(`${from} is back`, () => stage.reconnect(from));
  await until('everything has settled', () => isSettled(stage), 60_000);
  await wait(AFTER_MS);
  const lengthMs = sinceMs();
  clearInterval(sampler);
  await wait(ATTEMPT_KNOWN_MS);
  const tries = stage.attempts
    .map(({ atMs, by }) => ({ atMs: atMs - startedAtMs, by }))
    .filter(({ atMs }) => atMs >= 0 && atMs <= lengthMs);
  return { title: 'A node is cut off: the failover IP moves to another node', nodes: stage.nodes, lengthMs, acts, sights, tries };
}

function seen(stage: Stage): Omit<Sight, 'atMs'> {
  return { holder: stage.holder(), boundOn: stage.boundOn(), owner: stage.owner() };
}

/** Keeps a sight only where it differs from the one before. */
function note(sights: Sight[], sight: Sight): void {
  const last = sights.at(-1);
  const key = ({ holder, boundOn, owner }: Sight): string => JSON.stringify([holder, boundOn, owner]);
  if (last === undefined || key(last) !== key(sight)) sights.push(sight);
}

await exitWith(await main(process.argv.slice(2)));
