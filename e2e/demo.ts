/**
 * Shows the main job: three agents keep one failover IP on one healthy node, whatever is done to them.
 *
 * In network namespaces where they can be had, else in memory. With `--l2` on a shared segment where no provider arbitrates,
 * which takes namespaces. Leaves nothing behind, also after Ctrl-C.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readOptions } from '../scripts/arguments.ts';
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

const MOVE_MS = 500;
/** A signal that has ended a program of ours has reached this one by then. */
const SIGNAL_MS = 50;
const WATCH_MS = 20;
/** How long a frozen agent stays so after another node serves. */
const FROZEN_MS = 1_000;
/** How long it takes at the most until it is known that an attempt got no answer. */
const ATTEMPT_KNOWN_MS = 600;
/** Why namespaces cannot be had, handed to the second start. */
const WHY_NOT = 'LEASEHOLD_DEMO_WITHOUT_NAMESPACES';

interface Result {
  readonly what: string;
  readonly outageMs: number;
  readonly from: string;
  readonly to: string;
  /** How many nodes answered on the wire at once; null where a provider routes. */
  readonly answeringAtOnce: number | null;
}

type L2Stage = NamespaceStage<StandInLeases>;

const isTerminal = process.stdout.isTTY;
const paint = (code: number, text: string): string => (isTerminal ? `\u001b[${code}m${text}\u001b[0m` : text);
const bold = (text: string): string => paint(1, text);
const dim = (text: string): string => paint(2, text);
const say = (text = ''): void => void process.stdout.write(`${text}\n`);

async function main(args: readonly string[]): Promise<number> {
  const { l2: isL2 } = readOptions(args, { l2: { type: 'boolean', default: false } });
  if (!isInside() && process.env[WHY_NOT] === undefined) {
    const namespaces = findNamespaces();
    if (namespaces.is === 'available') return await runInside(namespaces.unshare, fileURLToPath(import.meta.url), args);
    if (isL2) {
      say(`Nothing can be shown here, because a shared segment takes network namespaces: ${namespaces.why}.`);
      return 1;
    }
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
    if (isL2) {
      const l2 = await NamespaceStage.open(
        { bundle: await buildAgent(join(folder, 'dist')), moveMs: MOVE_MS, topology: 'l2', sampleMs: WATCH_MS },
        (onLease) => StandInLeases.open(onLease),
      );
      stage = l2;
      return await playOnSegment(l2);
    }
    stage = await openStage(join(folder, 'dist'));
    return await playRouted(stage);
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
    return await NamespaceStage.open({ bundle: await buildAgent(dist), moveMs: MOVE_MS }, (onLease) => StandInLeases.open(onLease));
  const entry = fileURLToPath(new URL('./lab/memory-agent.ts', import.meta.url));
  return await MemoryStage.open({ bundle: await buildAgent(dist, entry), moveMs: MOVE_MS });
}

async function playRouted(stage: Stage): Promise<number> {
  say(bold(`Three agents, one failover IP (${FLOATING_IP}), one Lease.`));
  if (isInside()) {
    say('Three nodes on a bridge, a router and a client, each in a network namespace.');
    say('The router follows a stand-in for Hetzner Cloud, which takes');
  } else {
    say('Three agents as real processes on loopback, with interfaces in memory,');
    say('beside a stand-in for Hetzner Cloud, which takes');
  }
  say(`${MOVE_MS / 1_000} s for an assignment; a client opens a connection every 20 ms.`);
  table(await play(stage, ACTS, { title: 'routed to', of: () => stage.owner() }));
  say();
  say(`Everything was looked at ${stage.samples} times: did anybody write to the provider who`);
  say('did not hold the Lease, was the address bound where nothing explains it?');
  return violations(stage);
}

async function playOnSegment(stage: L2Stage): Promise<number> {
  say(bold(`Three agents, one failover IP (${FLOATING_IP}) on a shared segment, one Lease.`));
  say('Three nodes and a client on a bridge, each in a network namespace; no provider arbitrates.');
  say('A packet filter on each node lets the address answer only while its tenure lasts. The');
  say('client believes its ARP cache, as any other, and opens a connection every 20 ms.');
  table(await play(stage, actsOnSegment(stage), { title: 'last heard', of: () => stage.owner() }));
  say();
  say(`All ${stage.framesHeard} frames in the name of the address were heard at the bridge: did anybody`);
  say('answer who did not hold the Lease, or when another node had?');
  return violations(stage);
}

/** Does what was planned, and shows it. */
async function play(stage: Stage, acts: readonly Act[], traffic: Column): Promise<Result[]> {
  const screen = new Screen(stage, traffic);
  const results: Result[] = [];
  try {
    screen.title('The agents start');
    await raiseCurtain(stage);
    for (const { title, what, act } of acts) {
      screen.title(title);
      results.push(await perform(stage, what, act));
    }
  } finally {
    screen.close();
  }
  return results;
}

function violations(stage: Stage): number {
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

const STOPPED: Act = {
  title: '1. The holder is asked to end (SIGTERM), as in a rolling update',
  what: 'holder stopped politely',
  act: async (stage, holder) => {
    const code = await stage.stopAgent(holder);
    if (code !== 0) throw new Error(`the agent ended with ${code} instead of 0`);
    await until('another node serves', hasMoved(stage, holder));
    stage.startAgent(holder);
  },
};

const CUT_OFF: Act = {
  title: '4. The node of the holder is cut off the network',
  what: 'node cut off',
  act: async (stage, holder) => {
    stage.cutOff(holder);
    await until('another node serves', hasMoved(stage, holder));
    stage.reconnect(holder);
  },
};

const ACTS: readonly Act[] = [
  STOPPED,
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
  CUT_OFF,
];

const actsOnSegment = (segment: L2Stage): readonly Act[] => [
  STOPPED,
  {
    title: '2. The agent of the holder is killed (kill -9): the address stays bound, and silent',
    what: 'agent killed, node alive',
    act: async (stage, holder) => {
      await stage.killAgent(holder);
      await until('another node serves', hasMoved(stage, holder));
      await until('the kernel has tidied up', () => !stage.boundOn().includes(holder));
      stage.startAgent(holder);
    },
  },
  {
    title: '3. The agent of the holder is frozen (SIGSTOP), and goes on when another node serves',
    what: 'agent frozen',
    act: async (stage, holder) => {
      segment.freezeAgent(holder);
      await until('another node serves', hasMoved(stage, holder));
      await pause(FROZEN_MS);
      segment.thawAgent(holder);
    },
  },
  CUT_OFF,
];

async function perform(stage: Stage, what: string, act: Act['act']): Promise<Result> {
  const from = stage.holder() ?? '';
  await answeringAtOnce(stage);
  const startedAtMs = monotonicMs();
  await act(stage, from);
  await until('everything has settled', () => isSettled(stage), 60_000);
  await until(`${from} stands by again`, async () => (await stage.role(from)) === 'standby');
  const settledAtMs = monotonicMs();
  await until('all attempts are known', () => monotonicMs() > settledAtMs + ATTEMPT_KNOWN_MS);
  const outageMs = totalOutageMs(findOutages(stage.attempts, startedAtMs, settledAtMs));
  say(bold(`  Clients were without an answer for ${seconds(outageMs)}.`));
  return { what, outageMs, from, to: stage.holder() ?? 'nobody', answeringAtOnce: await answeringAtOnce(stage) };
}

/** How many nodes answered on the wire at once since this was asked last. */
async function answeringAtOnce(stage: Stage): Promise<number | null> {
  if (!(stage instanceof NamespaceStage) || stage.topology !== 'l2') return null;
  await stage.judgeWire();
  return stage.takeMostAtOnce();
}

/** What says where the traffic goes. */
interface Column {
  readonly title: string;
  readonly of: () => string | null;
}

/** Prints a line whenever something about the address changes. */
class Screen {
  readonly #stage: Stage;
  readonly #traffic: Column;
  readonly #timer: NodeJS.Timeout;
  #startedAtMs = monotonicMs();
  #last = '';

  constructor(stage: Stage, traffic: Column) {
    this.#stage = stage;
    this.#traffic = traffic;
    this.#timer = setInterval(() => this.#look(), WATCH_MS);
  }

  title(text: string): void {
    say();
    say(bold(text));
    say(dim(`  ${'time'.padEnd(9)}${'Lease'.padEnd(9)}${this.#traffic.title.padEnd(11)}${'bound on'.padEnd(23)}clients`));
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
      (this.#traffic.of() ?? '–').padEnd(11),
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
  const isOnWire = results.some((each) => each.answeringAtOnce !== null);
  const row = (...[what = '', outage = '', nodes = '', moved = '']: readonly string[]): string =>
    `  ${what.padEnd(28)}${outage.padEnd(28)}${isOnWire ? nodes.padEnd(30) : ''}${moved}`;
  say();
  say(bold(row('what happened', 'clients without an answer', 'nodes that answered at once', 'the address moved')));
  for (const { what, outageMs, from, to, answeringAtOnce: nodes } of results)
    say(row(what, seconds(outageMs), String(nodes), `${from} → ${to}`));
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(2)} s`;
}

process.exit(await main(process.argv.slice(2)));
