/**
 * Shows the main job: three agents keep one failover IP on one healthy node, whatever is done to them.
 *
 * In network namespaces where they can be had, else in memory. Leaves nothing behind, also after Ctrl-C.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildAgent } from '../scripts/build.ts';
import { monotonicMs } from '../test/support/monotonic.ts';
import { findNamespaces, isInside, runInside } from '../test/support/namespaces.ts';
import type { Attempt } from './lab/client.ts';
import { StandInLeases } from './lab/leases.ts';
import { MemoryStage } from './lab/memory-stage.ts';
import { NamespaceStage } from './lab/namespace-stage.ts';
import { findOutages, totalOutageMs } from './lab/outage.ts';
import { FLOATING_IP, isSettled, raiseCurtain, servedBy, until } from './lab/stage.ts';
import type { Stage } from './lab/stage.ts';

const ACTION_MS = 500;
/** A signal that has ended a program of ours has reached this one by then. */
const SIGNAL_MS = 50;
const WATCH_MS = 20;
/** How long it takes at the most until it is known that an attempt got no answer. */
const ATTEMPT_KNOWN_MS = 600;
/** Why namespaces cannot be had, handed to the second start. */
const WHY_NOT = 'LEASEHOLD_DEMO_WITHOUT_NAMESPACES';

interface Result {
  readonly what: string;
  readonly outageMs: number;
  readonly from: string;
  readonly to: string;
}

const isTerminal = process.stdout.isTTY;
const paint = (code: number, text: string): string => (isTerminal ? `\u001b[${code}m${text}\u001b[0m` : text);
const bold = (text: string): string => paint(1, text);
const dim = (text: string): string => paint(2, text);
const say = (text = ''): void => void process.stdout.write(`${text}\n`);

async function main(): Promise<number> {
  if (!isInside() && process.env[WHY_NOT] === undefined) {
    const namespaces = findNamespaces();
    if (namespaces.is === 'available') return await runInside(namespaces.unshare, fileURLToPath(import.meta.url), []);
    say(`No network namespaces can be had here (${namespaces.why}): the same is shown with interfaces in memory.`);
  }
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-demo-'));
  let stage: Stage | null = null;
  const clean = async (): Promise<void> => {
    await stage?.close();
    rmSync(folder, { recursive: true, force: true });
  };
  let isEnding = false;
  const end = (code: number): void => {
    if (isEnding) return;
    isEnding = true;
    void clean().finally(() => process.exit(code));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (!isEnding) say(`\nEnded by ${signal}; everything is tidied away.`);
      end(128 + constants.signals[signal]);
    });
  }
  // Whoever reads this has seen enough, as in `npm run demo | head`.
  process.stdout.on('error', () => end(0));
  try {
    stage = await openStage(join(folder, 'dist'));
    return await play(stage);
  } catch (error) {
    // What was under way when the end began fails, because its ground is taken away, or Ctrl-C has ended it, too.
    await new Promise((resolve) => setTimeout(resolve, SIGNAL_MS));
    if (isEnding) return await new Promise<never>(() => undefined);
    throw error;
  } finally {
    if (!isEnding) await clean();
  }
}

async function openStage(dist: string): Promise<Stage> {
  if (isInside())
    return await NamespaceStage.open({ bundle: await buildAgent(dist), actionMs: ACTION_MS }, (onLease) => StandInLeases.open(onLease));
  const entry = fileURLToPath(new URL('./lab/memory-agent.ts', import.meta.url));
  return await MemoryStage.open({ bundle: await buildAgent(dist, entry), actionMs: ACTION_MS });
}

async function play(stage: Stage): Promise<number> {
  say(bold(`Three agents, one failover IP (${FLOATING_IP}), one Lease.`));
  if (isInside()) {
    say('Three nodes on a bridge, a router and a client, each in a network namespace.');
    say('The router follows a stand-in for Hetzner Cloud, which takes');
  } else {
    say('Three agents as real processes on loopback, with interfaces in memory,');
    say('beside a stand-in for Hetzner Cloud, which takes');
  }
  say(`${ACTION_MS / 1_000} s for an assignment; a client opens a connection every 20 ms.`);
  const screen = new Screen(stage);
  const results: Result[] = [];
  try {
    screen.title('The agents start');
    await raiseCurtain(stage);
    for (const { title, what, act } of ACTS) {
      screen.title(title);
      results.push(await perform(stage, what, act));
    }
  } finally {
    screen.close();
  }
  table(results);
  say();
  say(`Everything was looked at ${stage.samples} times: did anybody write to the provider who`);
  say('did not hold the Lease, was the address bound where nothing explains it?');
  say(`Violations: ${stage.violations.length}.`);
  for (const violation of stage.violations) say(`  ${violation}`);
  return stage.violations.length === 0 ? 0 : 1;
}

interface Act {
  readonly title: string;
  readonly what: string;
  readonly act: (stage: Stage, holder: string) => Promise<void>;
}

const hasMoved = (stage: Stage, from: string) => (): boolean =>
  servedBy(stage) !== from && stage.holder() === stage.owner() && servedBy(stage) === stage.holder();

const ACTS: readonly Act[] = [
  {
    title: '1. The holder is asked to end (SIGTERM), as in a rolling update',
    what: 'holder stopped politely',
    act: async (stage, holder) => {
      const code = await stage.stopAgent(holder);
      if (code !== 0) throw new Error(`the agent ended with ${code} instead of 0`);
      await until('another node serves', hasMoved(stage, holder));
      stage.startAgent(holder);
    },
  },
  {
    title: '2. The agent of the holder is killed (SIGKILL), and started again later',
    what: 'agent killed, node alive',
    act: async (stage, holder) => {
      await stage.killAgent(holder);
      await until('another node serves', hasMoved(stage, holder));
      // What it left bound would go with its lifetime; its successor tidies it away as soon as it starts.
      stage.startAgent(holder);
    },
  },
  {
    title: '3. The service on the holder dies: it refuses connections',
    what: 'local service dies',
    act: async (stage, holder) => {
      await stage.stopService(holder, 'refuse');
      await until('another node serves', hasMoved(stage, holder));
      await stage.startService(holder);
    },
  },
  {
    title: '4. The node of the holder is cut off the network',
    what: 'node cut off',
    act: async (stage, holder) => {
      stage.cutOff(holder);
      await until('another node serves', hasMoved(stage, holder));
      stage.reconnect(holder);
    },
  },
];

async function perform(stage: Stage, what: string, act: Act['act']): Promise<Result> {
  const from = stage.holder() ?? '';
  const startedAtMs = monotonicMs();
  await act(stage, from);
  await until('everything has settled', () => isSettled(stage), 60_000);
  await until(`${from} stands by again`, async () => (await stage.role(from)) === 'standby');
  const settledAtMs = monotonicMs();
  await until('all attempts are known', () => monotonicMs() > settledAtMs + ATTEMPT_KNOWN_MS);
  const outageMs = totalOutageMs(findOutages(stage.attempts, startedAtMs, settledAtMs));
  say(bold(`  Clients were without an answer for ${seconds(outageMs)}.`));
  return { what, outageMs, from, to: stage.holder() ?? 'nobody' };
}

/** Prints a line whenever something about the address changes. */
class Screen {
  readonly #stage: Stage;
  readonly #timer: NodeJS.Timeout;
  #startedAtMs = monotonicMs();
  #last = '';

  constructor(stage: Stage) {
    this.#stage = stage;
    this.#timer = setInterval(() => this.#look(), WATCH_MS);
  }

  title(text: string): void {
    say();
    say(bold(text));
    say(dim(`  ${'time'.padEnd(9)}${'Lease'.padEnd(9)}${'routed to'.padEnd(11)}${'bound on'.padEnd(23)}clients`));
    this.#startedAtMs = monotonicMs();
    this.#last = '';
    this.#look();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const clients = clientsSee(this.#stage.attempts);
    const columns = [
      (this.#stage.holder() ?? '–').padEnd(9),
      (this.#stage.owner() ?? '–').padEnd(11),
      (this.#stage.boundOn().join(' ') || '–').padEnd(23),
      clients,
    ].join('');
    if (columns === this.#last) return;
    this.#last = columns;
    const time = `${((monotonicMs() - this.#startedAtMs) / 1_000).toFixed(2)} s`;
    say(`  ${time.padEnd(9)}${columns}`);
  }
}

function clientsSee(attempts: readonly Attempt[]): string {
  const last = attempts.at(-1);
  if (last === undefined) return '–';
  const { by } = attempts.slice(-50).reduce((latest, attempt) => (attempt.atMs >= latest.atMs ? attempt : latest), last);
  return by === null ? paint(31, 'no answer') : `answered by ${by}`;
}

function table(results: readonly Result[]): void {
  say();
  say(bold(`  ${'what happened'.padEnd(28)}${'clients without an answer'.padEnd(28)}the address moved`));
  for (const { what, outageMs, from, to } of results) say(`  ${what.padEnd(28)}${seconds(outageMs).padEnd(28)}${from} → ${to}`);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(2)} s`;
}

process.exit(await main());
