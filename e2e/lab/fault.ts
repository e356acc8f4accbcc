/**
 * What a fault is, what may be expected of it, and what most of them are made of.
 *
 * The bounds come from the rules. `MOVE_MS` is what a cut cable may cost: the lease duration, half a second of the provider,
 * and as much again as a busy machine may take. What a provider takes beyond that half second comes on top.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { ROUTED } from './arrangements.ts';
import type { Arrangement, RoutedArrangement } from './arrangements.ts';
import type { NamespaceStage } from './namespace-stage.ts';
import type { Api } from './network.ts';
import type { RealLeases } from './real-leases.ts';
import { until } from './stage.ts';

export type LabStage = NamespaceStage<RealLeases>;

/** Who must hold the address at the end: in the same term, under a new one, or wherever. */
export type AtTheEnd = 'same term' | 'same node' | 'another node' | 'any node';

export interface Expectation {
  /** How long clients may be without an answer in all. */
  readonly outageMs: number;
  /** How many nodes may have the address at once. */
  readonly nodes: number;
  readonly atTheEnd: AtTheEnd;
}

type Expectations<On extends Arrangement = Arrangement> = { readonly [Each in On]?: Expectation };

interface Named {
  readonly name: string;
  readonly expected: Expectations;
}

/** What belongs into the table and cannot be done here. */
export interface Untried extends Named {
  /** Why. */
  readonly cannot: string;
}

export interface Fault extends Named {
  /** Does it. Where it lasts for a while and ends by itself, this ends with it. */
  readonly strike: (stage: LabStage, holder: string) => Promise<void> | void;
  /** Undoes what is still there when the address has settled. */
  readonly mend?: (stage: LabStage, holder: string) => Promise<void> | void;
  /** Ends agents and starts new ones. */
  readonly restarts?: true;
  /** Afterwards agents stand back for a while: they are started afresh, so that the next fault finds them as any other. */
  readonly leavesMarks?: true;
}

/** Nothing, but for one attempt on a machine that is busy with something else. */
export const NOTHING_MS = 100;
export const MOVE_MS = 5_000;
/** What of the provider is in that. */
const MOVE_PART_MS = 500;
/** What each change beyond the first may take besides the provider's own time. */
const STEP_MS = 500;
/** Until a holder believes what it has read, and has begun to claim. */
const FOUND_OUT_MS = 2_000;

/** Behind one provider that routes. */
export const routed = (outageMs: number, atTheEnd: AtTheEnd, nodes = 2): Expectation => ({ outageMs, nodes, atTheEnd });

/** Behind any provider that routes, where the address is not moved. */
export function unmoved(atTheEnd: AtTheEnd, nodes = 1): Expectations {
  return behindEach(() => routed(NOTHING_MS, atTheEnd, nodes));
}

/** Behind any provider that routes, where the node that the address moves away from goes on answering meanwhile, so many times. */
export function handedOver(outageMs: number, atTheEnd: AtTheEnd, nodes = 2, moves = 1): Expectations {
  return behindEach(({ steps, moveMs }) => routed(outageMs + moves * (steps - 1) * (moveMs + STEP_MS), atTheEnd, nodes));
}

/** Behind any provider that routes, where nobody answers until the address has moved. */
export function movedLate(outageMs: number, atTheEnd: AtTheEnd, nodes = 2): Expectations {
  return behindEach(({ steps, moveMs }) => routed(outageMs + slowerMs({ steps, moveMs }), atTheEnd, nodes));
}

/** Like `movedLate`, where the provider is left alone for a while in between and is asked again then. */
export function movedAtSecondTry(outageMs: number, atTheEnd: AtTheEnd, nodes = 2): Expectations {
  return behindEach(({ steps, moveMs, patienceMs = 0 }) =>
    routed(outageMs + moveMs + patienceMs + slowerMs({ steps, moveMs }), atTheEnd, nodes),
  );
}

/** How much longer a whole move takes than what is counted anyway. */
function slowerMs({ steps, moveMs }: Pick<RoutedArrangement, 'steps' | 'moveMs'>): number {
  return Math.max(0, steps * moveMs + (steps - 1) * STEP_MS - MOVE_PART_MS);
}

/** Behind those that need two changes for a move. */
export function betweenChanges(outageMs: number, atTheEnd: AtTheEnd, nodes = 3): Expectations {
  return behindEach(({ steps, moveMs }) => (steps === 2 ? routed(outageMs + 2 * (moveMs + STEP_MS), atTheEnd, nodes) : null));
}

/** Behind any provider that routes and is asked often, where the address is moved by somebody else and has to be moved back. */
export function foundOut(atTheEnd: AtTheEnd): Expectations {
  return behindEach((arrangement) => {
    const { steps, moveMs, verifyS } = arrangement;
    return verifyS === null ? null : routed(verifyS * 1_000 + FOUND_OUT_MS + steps * (moveMs + STEP_MS), atTheEnd, 1);
  });
}

/** Behind any provider that routes and may be asked with credentials again that it has refused. */
export function trustedAgain(outageMs: number, atTheEnd: AtTheEnd, nodes = 2): Expectations {
  return behindEach(({ steps, moveMs, isRefusedForGood }) =>
    isRefusedForGood === true ? null : routed(outageMs + (steps - 1) * (moveMs + STEP_MS), atTheEnd, nodes),
  );
}

function behindEach(expectation: (arrangement: RoutedArrangement) => Expectation | null): Expectations {
  const each = Object.entries(ROUTED).map(([name, arrangement]) => [name, expectation(arrangement)] as const);
  return Object.fromEntries(each.filter(([, expected]) => expected !== null));
}

/** Where the wire tells who has the address, that is one node, always. */
export const l2 = (outageMs: number, atTheEnd: AtTheEnd): Expectation => ({ outageMs, nodes: 1, atTheEnd });

export const everybody = (stage: LabStage): readonly string[] => stage.nodes;
export const others = (stage: LabStage, holder: string): string[] => stage.nodes.filter((node) => node !== holder);
export const startAgent = (stage: LabStage, node: string): void => stage.startAgent(node);
export const reconnect = (stage: LabStage, node: string): void => stage.reconnect(node);

/** Stops a node's agent, which must end well. */
export async function stopPolitely(stage: LabStage, node: string): Promise<void> {
  const code = await stage.stopAgent(node);
  if (code !== 0) throw new Error(`the agent ended with ${code} instead of 0`);
}

export async function isReady(stage: LabStage, node: string): Promise<void> {
  await until(`${node} is ready`, async () => ['serving', 'standby'].includes((await stage.role(node)) ?? ''));
}

/** Loses every packet between some nodes and one API for a while. */
export async function cutPathsFor(stage: LabStage, nodes: readonly string[], api: Api, ms: number): Promise<void> {
  for (const node of nodes) stage.cutPath(node, api);
  await pause(ms);
  for (const node of nodes) stage.mendPath(node, api);
}

/** Waits until a node that is none of these holds the Lease, and returns it. */
export async function nextHolder(stage: LabStage, ...notThese: readonly string[]): Promise<string> {
  const isAnother = (): boolean => ![...notThese, null].includes(stage.holder());
  await until('another agent holds the Lease', isAnother);
  return stage.holder() ?? '';
}
