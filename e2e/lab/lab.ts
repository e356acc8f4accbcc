/**
 * Tries faults one after the other on a stage, and judges each.
 *
 * Guarantees: every fault begins with all agents well and one of them holding. After one that did not end as expected the
 * stage is built anew, so that the next is not judged by what it left.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { monotonicMs } from '../../test/support/monotonic.ts';
import type { ControlPlane } from '../control-plane/control-plane.ts';
import { ARRANGEMENTS } from './arrangements.ts';
import type { Arrangement } from './arrangements.ts';
import type { Expectation, Fault, LabStage } from './fault.ts';
import { NamespaceStage } from './namespace-stage.ts';
import { findOutages, totalOutageMs } from './outage.ts';
import { RealLeases } from './real-leases.ts';
import { isSettled, latestOf, raiseCurtain, until } from './stage.ts';
import type { Trial } from './verdict.ts';

const CLIENT_INTERVAL_MS = 10;
const SAMPLE_MS = 20;
/** How long it takes at the most until it is known that an attempt got no answer. */
const ATTEMPT_KNOWN_MS = 600;
const SETTLE_MS = 60_000;
const LOG_LINES = 40;

export interface LabSettings {
  readonly bundle: string;
  readonly plane: ControlPlane;
  readonly arrangement: Arrangement;
}

export class Lab {
  readonly arrangement: Arrangement;
  readonly violations: string[] = [];
  samples = 0;
  /** How many frames in the name of the addresses were heard on the wire. */
  framesHeard = 0;
  /** The shortest time there from a frame of one node to the next one of another. */
  shortestSilenceMs = Number.POSITIVE_INFINITY;
  /** The longest time between two looks at everything, and between two attempts of a client, while a fault was tried. */
  readonly gaps = { betweenLooksMs: 0, betweenAttemptsMs: 0 };
  readonly #settings: LabSettings;
  #stage: LabStage | null = null;
  /** How many faults the stage has seen. */
  #tried = 0;

  constructor(settings: LabSettings) {
    this.#settings = settings;
    this.arrangement = settings.arrangement;
  }

  async try(fault: Fault, expected: Expectation): Promise<Trial> {
    if (this.#tried >= (ARRANGEMENTS[this.arrangement].stageLasts ?? Number.POSITIVE_INFINITY)) await this.close();
    const stage = (this.#stage ??= await this.#open());
    this.#tried += 1;
    await until('all is well', () => isWell(stage), SETTLE_MS);
    stage.takeMostAtOnce();
    const violations = stage.violations.length;
    const startedAtMs = monotonicMs();
    const startedAt = new Date().toISOString();
    const [from, transitions] = [stage.holder() ?? '', stage.transitions()];
    const problems: string[] = [];
    try {
      await fault.strike(stage, from);
      const before = { holder: from, transitions, struckAtMs: monotonicMs() };
      await until(`the right node serves: ${expected.atTheEnd}`, () => isServedRight(stage, expected, before), SETTLE_MS);
      await mend(stage, fault, from);
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
    const settledAtMs = monotonicMs();
    await pause(ATTEMPT_KNOWN_MS);
    this.#noteGaps(stage, startedAtMs, settledAtMs);
    const outageMs = Math.max(...stage.clients.map((attempts) => totalOutageMs(findOutages(attempts, startedAtMs, settledAtMs))));
    if (!(await stage.judgeWire())) problems.push('what was on the wire could not be judged: the API does not say who held the Lease');
    const nodes = stage.takeMostAtOnce();
    if (outageMs > expected.outageMs) problems.push(`clients were without an answer for longer than ${expected.outageMs}ms`);
    if (nodes > expected.nodes) problems.push(`${nodes} nodes had the address at once, and ${expected.nodes} may`);
    problems.push(...stage.violations.slice(violations), ...(stage.provider.lost?.() ?? []));
    const log = problems.length === 0 ? [] : whatAgentsSaid(stage, startedAt);
    const trial = { outageMs, nodes, from, to: stage.holder() ?? 'nobody', tookMs: settledAtMs - startedAtMs, problems, log };
    if (problems.length > 0) await this.close();
    else if (fault.leavesMarks === true) await startAfresh(stage);
    return trial;
  }

  /** The processes of the agents that run now, by their nodes. */
  processes(): { readonly node: string; readonly pid: number }[] {
    const stage = this.#stage;
    if (stage === null) return [];
    return stage.nodes.flatMap((node) => {
      const agent = stage.agent(node);
      return agent?.isRunning === true ? [{ node, pid: agent.pid }] : [];
    });
  }

  async close(): Promise<void> {
    const stage = this.#stage;
    this.#stage = null;
    this.#tried = 0;
    if (stage === null) return;
    this.samples += stage.samples;
    this.framesHeard += stage.framesHeard;
    this.shortestSilenceMs = Math.min(this.shortestSilenceMs, stage.shortestSilenceMs);
    this.violations.push(...stage.violations);
    await stage.close();
  }

  #noteGaps({ lookedAtMs, attempts }: LabStage, fromMs: number, toMs: number): void {
    const attemptedAtMs = attempts.map(({ atMs }) => atMs).sort((a, b) => a - b);
    this.gaps.betweenLooksMs = Math.max(this.gaps.betweenLooksMs, largestGapMs(lookedAtMs, fromMs, toMs));
    this.gaps.betweenAttemptsMs = Math.max(this.gaps.betweenAttemptsMs, largestGapMs(attemptedAtMs, fromMs, toMs));
  }

  async #open(): Promise<LabStage> {
    const { bundle, plane, arrangement } = this.#settings;
    const stage = await NamespaceStage.open(
      {
        bundle,
        ...ARRANGEMENTS[arrangement].staged,
        clientIntervalMs: CLIENT_INTERVAL_MS,
        sampleMs: SAMPLE_MS,
      },
      (onLease) => RealLeases.open(plane, onLease),
    );
    await raiseCurtain(stage);
    return stage;
  }
}

function largestGapMs(inOrder: readonly number[], fromMs: number, toMs: number): number {
  const within = inOrder.filter((atMs) => atMs >= fromMs && atMs <= toMs);
  return within.reduce((largest, atMs, index) => Math.max(largest, atMs - (within[index - 1] ?? fromMs)), 0);
}

/** One node serves, alone, and the other agents stand by. */
async function isWell(stage: LabStage): Promise<boolean> {
  if (!isSettled(stage) || !answersAll(stage, stage.holder() ?? '', 0)) return false;
  const roles = await Promise.all(stage.nodes.map((node) => stage.role(node)));
  return roles.every((role, index) => role === (stage.nodes[index] === stage.holder() ? 'serving' : 'standby'));
}

/** What was when a fault began, and when it had been done. */
interface Before {
  readonly holder: string;
  readonly transitions: number;
  readonly struckAtMs: number;
}

/**
 * Whether the right node holds the Lease, says so, and has answered every client after the fault was done. Another may still
 * have the address, too.
 */
async function isServedRight(stage: LabStage, { atTheEnd }: Expectation, before: Before): Promise<boolean> {
  const holder = stage.holder();
  if (holder === null || !stage.nodes.includes(holder) || stage.owner() !== holder || !answersAll(stage, holder, before.struckAtMs))
    return false;
  if ((await stage.role(holder)) !== 'serving') return false;
  switch (atTheEnd) {
    case 'same term':
      return holder === before.holder && stage.transitions() === before.transitions;
    case 'same node':
      return holder === before.holder;
    case 'another node':
      return holder !== before.holder;
    case 'any node':
      return true;
  }
}

/** Whether a node has answered the latest attempt of each client, begun since some time. */
function answersAll({ clients }: LabStage, node: string, sinceMs: number): boolean {
  return clients.map(latestOf).every(({ atMs, by }) => by === node && atMs >= sinceMs);
}

/** Undoes a fault, which must not move the address. */
async function mend(stage: LabStage, fault: Fault, from: string): Promise<void> {
  const transitions = stage.transitions();
  await fault.mend?.(stage, from);
  await until('all is well again', () => isWell(stage), SETTLE_MS);
  if (stage.transitions() !== transitions) throw new Error('the address moved when the fault was over');
}

/** Agents without a past. */
async function startAfresh(stage: LabStage): Promise<void> {
  for (const node of stage.nodes) await stage.killAgent(node);
  for (const node of stage.nodes) stage.startAgent(node);
}

function whatAgentsSaid(stage: LabStage, since: string): string[] {
  const lines = stage.nodes.flatMap((node) => (stage.agent(node)?.log ?? []).map((line) => ({ node, ...line })));
  return lines
    .filter(({ time }) => time >= since)
    .sort((a, b) => (a.time < b.time ? -1 : 1))
    .slice(0, LOG_LINES)
    .map(({ time, node, level, msg }) => `${time.slice(11, 23)} ${node} ${level} ${msg}`);
}
