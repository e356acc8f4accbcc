/**
 * Where three agents play: the same acts run in real network namespaces and, where those cannot be had, in memory.
 */
import type { Attempt } from './client.ts';

export const FLOATING_IP = '203.0.113.10';
/** What moves together with it, where both families are played. */
export const FLOATING_IP6 = '2001:db8:77::10';

export interface Stage {
  readonly nodes: readonly string[];
  /** Everything that clients have tried so far. */
  readonly attempts: readonly Attempt[];
  /** What should never have been seen, in words. */
  readonly violations: readonly string[];
  /** How often everything was looked at. */
  readonly samples: number;

  startAgent(node: string): void;
  /** Asks an agent to end and resolves with its exit code. */
  stopAgent(node: string): Promise<number | string>;
  killAgent(node: string): Promise<void>;
  startService(node: string): Promise<void>;
  /** The local service dies, or hangs: it accepts connections and answers none. */
  stopService(node: string, how: 'refuse' | 'hang'): Promise<void>;
  /** Takes a node off the network, without its noticing by its carrier. */
  cutOff(node: string): void;
  reconnect(node: string): void;

  /** The node that the Lease names. */
  holder(): string | null;
  /** The node that the provider routes the address to; on a shared segment the one that spoke for it last. */
  owner(): string | null;
  /** The nodes that have the address bound. */
  boundOn(): readonly string[];
  /** What an agent says that it is doing, or null when it does not answer. */
  role(node: string): Promise<string | null>;
  close(): Promise<void>;
}

/** The node that answered the latest attempt of a client whose end is known; null when none did. */
export function servedBy({ attempts }: Pick<Stage, 'attempts'>): string | null {
  return latestOf(attempts).by;
}

/** The youngest attempt of a client whose end is known. */
export function latestOf(attempts: readonly Attempt[]): Attempt {
  // That an attempt got no answer is known late, so the youngest of the last ones to be known is looked for.
  const recent = attempts.slice(-50);
  return recent.reduce<Attempt>((latest, attempt) => (attempt.atMs >= latest.atMs ? attempt : latest), { atMs: 0, by: null });
}

/** Whether one node holds the Lease, is routed to, is the only one to have the address bound, and answers. */
export function isSettled(stage: Stage): boolean {
  const holder = stage.holder();
  if (holder === null || stage.owner() !== holder || servedBy(stage) !== holder) return false;
  return stage.boundOn().join() === holder;
}

/** Waits for a condition, looking every 10 ms. Throws with what was waited for. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  const giveUpAtMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > giveUpAtMs) throw new Error(`waited ${timeoutMs / 1_000}s in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Starts every agent and waits until one serves and the others stand by. */
export async function raiseCurtain(stage: Stage): Promise<void> {
  for (const node of stage.nodes) stage.startAgent(node);
  await until('one node serves', () => isSettled(stage));
  for (const node of stage.nodes) {
    await until(`${node} is ready`, async () => ['serving', 'standby'].includes((await stage.role(node)) ?? ''));
  }
}
