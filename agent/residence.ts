/**
 * Whether this is the only agent process for its Lease on this node.
 *
 * Guarantees: the proof is a name that one process at a time can have, held for life, so an earlier process that held it is
 * gone. Who finds it with another agent waits for that one's end. A process of an ordinary user that has taken the name is
 * reported and passed over: there are several names, each agent takes the first that no agent and no stranger has, and
 * counts as alone only after it has seen no agent at any of the others.
 * Covers one network namespace of one machine; what lives in another has interfaces of its own.
 */
import { createHash } from 'node:crypto';
import { asError, sleep } from './clock.ts';
import type { Clock } from './clock.ts';
import type { Residence } from './contender/input.ts';
import { NAME_LENGTH_MAX } from './link/abstract-socket.ts';
import type { ProcessNames } from './link/abstract-socket.ts';

/** Strangers would have to take as many names to leave an agent without proof. */
const NAMES = 8;
/** How soon an agent that waits notices that the other one has ended. */
const PAUSE_MS = 100;
const TRIES_BEFORE_ASKING_AGAIN = 600;
const ROOT = 0;

interface Attempt {
  readonly report: ResidenceReport;
  /** The name of the agent to wait for; null when there is nothing to wait for. */
  readonly waitFor: string | null;
}

export interface ResidenceReport {
  readonly residence: Residence;
  /** One sentence for people. */
  readonly reason: string;
}

export interface ResidenceWorld {
  readonly names: ProcessNames;
  readonly clock: Clock;
  /** The user that this process runs as: agents of one node run as the same user or as root. */
  readonly uid: number;
}

/** The names that agents for a Lease take. Readable in `ss -xl`, unless the Lease's own name is too long for that. */
export function residenceNames({ namespace, name }: { readonly namespace: string; readonly name: string }): string[] {
  const readable = `leasehold/${namespace}/${name}`;
  const isTooLong = readable.length + 2 > NAME_LENGTH_MAX;
  const base = isTooLong ? `leasehold/${createHash('sha256').update(readable).digest('hex')}` : readable;
  return Array.from({ length: NAMES }, (_, index) => `${base}/${index}`);
}

/** Tries until it is alone or cannot know, and tells each change. Ends then, or when the signal is aborted. */
export async function establishResidence(
  names: readonly string[],
  world: ResidenceWorld,
  signal: AbortSignal,
  onReport: (report: ResidenceReport) => void,
): Promise<void> {
  let lastReason = '';
  while (!signal.aborted) {
    const { report, waitFor } = await tryOnce(names, world);
    if (report.reason !== lastReason) onReport(report);
    lastReason = report.reason;
    if (waitFor === null) return;
    await untilFree(waitFor, world, signal);
  }
}

/** Waits until a name may be had, without asking who has it: an agent that is frozen accepts only so many questions. */
async function untilFree(name: string, { names, clock }: ResidenceWorld, signal: AbortSignal): Promise<void> {
  for (let tries = 0; tries < TRIES_BEFORE_ASKING_AGAIN && !signal.aborted; tries += 1) {
    await sleep(clock, PAUSE_MS, signal).catch(() => undefined);
    if (!(await names.take(name))) continue;
    names.release(name);
    return;
  }
}

async function tryOnce(all: readonly string[], { names, uid }: ResidenceWorld): Promise<Attempt> {
  const strangers: string[] = [];
  /** The agent that has a name, in words; null where it is free or a stranger has it. */
  const agentAt = (name: string): string | null => {
    const holder = names.holderOf(name);
    if (holder === null) return null;
    if (holder.uid === ROOT || holder.uid === uid) return `process ${holder.pid ?? 'unknown'}`;
    strangers.push(`process ${holder.pid ?? 'unknown'} of user ${holder.uid ?? 'unknown'} at @${name}`);
    return null;
  };
  try {
    let own: string | null = null;
    for (const name of all) {
      if (await names.take(name)) {
        own = name;
        break;
      }
      const agent = agentAt(name);
      if (agent !== null) return shared(agent, name);
    }
    if (own === null) return unsure(taken(strangers));
    // Only now that nobody can pass this one by unseen: another may have begun while a stranger had other names than now.
    for (const name of all) {
      const agent = name === own ? null : agentAt(name);
      if (agent === null) continue;
      names.release(own);
      return shared(agent, name);
    }
    const passedOver = strangers.length === 0 ? '' : `; ${taken(strangers)}`;
    return { report: { residence: 'alone', reason: `no other agent runs on this node${passedOver}` }, waitFor: null };
  } catch (error) {
    return unsure(asError(error).message);
  }
}

function shared(agent: string, waitFor: string): Attempt {
  const reason = `another agent for this Lease runs on this node (${agent}): waiting for its end`;
  return { report: { residence: 'shared', reason }, waitFor };
}

function unsure(why: string): Attempt {
  return { report: { residence: 'unsure', reason: `whether another agent runs on this node cannot be told: ${why}` }, waitFor: null };
}

function taken(strangers: readonly string[]): string {
  return `what agents know each other by is taken by ${strangers.join(', ')}`;
}
