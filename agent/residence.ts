/**
 * Whether this is the only agent process for its Lease on this node.
 *
 * Guarantees: the proof is a name that one process at a time can have, held for life, so an earlier process that held it is
 * gone. Who finds another agent waits for that one's end. A process of another user that sits on the name, or one that
 * cannot be identified, may be a stranger or an agent: it is reported and passed over, there being several names, and this
 * agent goes on without proof, known to later ones by the name that it took.
 * Covers one network namespace of one machine; what lives in another has interfaces of its own.
 */
import { asError, sleep } from './clock.ts';
import type { Clock } from './clock.ts';
import type { Residence } from './contender/input.ts';
import { nameAfterLease } from './lease-name.ts';
import { NAME_LENGTH_MAX } from './link/abstract-socket.ts';
import type { ProcessNames } from './link/abstract-socket.ts';
import type { UnixPeer } from './link/libc.ts';

/** A stranger would have to take as many names to keep an agent from being known to others. */
const NAMES = 8;
/** How soon an agent that waits notices that the other one has ended. */
const PAUSE_MS = 100;
const TRIES_BEFORE_ASKING_AGAIN = 600;
const ROOT = 0;

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

/** What one try has shown. */
interface Attempt {
  readonly report: ResidenceReport;
  /** The name that has to become free before another try can show more; null when this is the last word. */
  readonly waitFor: string | null;
}

/** The names that agents for a Lease take. Readable in `ss -xl`, unless the Lease's own name is too long for that. */
export function residenceNames(lease: Parameters<typeof nameAfterLease>[0]): string[] {
  const base = nameAfterLease(lease, NAME_LENGTH_MAX - '/0'.length);
  return Array.from({ length: NAMES }, (_, index) => `${base}/${index}`);
}

/** Tries until it has a name and has judged all others, and tells each change. Ends then, or when the signal is aborted. */
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
  try {
    const own = await takeFirst(all, names);
    // All of them, and only now that nobody can pass this one by unseen: who has which may have changed meanwhile.
    const others = all.flatMap((name) => {
      const holder = name === own ? null : names.holderOf(name);
      return holder === null ? [] : [{ name, holder }];
    });
    const agent = others.find(({ holder }) => holder.uid === ROOT || holder.uid === uid);
    if (agent !== undefined) {
      if (own !== null) names.release(own);
      return shared(agent.name, agent.holder);
    }
    if (own !== null && others.length === 0)
      return { report: { residence: 'alone', reason: 'no other agent runs on this node' }, waitFor: null };
    const strangers = others.map(({ name, holder }) => `${nameOf(holder)} at @${name}`);
    const why = `what agents know each other by is taken by ${strangers.join(', ')}; end that, or run all agents of this node as one user, and restart this one`;
    return unsure(why, own === null ? (all[0] ?? null) : null);
  } catch (error) {
    return unsure(asError(error).message, null);
  }
}

async function takeFirst(all: readonly string[], names: ProcessNames): Promise<string | null> {
  for (const name of all) if (await names.take(name)) return name;
  return null;
}

function shared(waitFor: string, holder: UnixPeer): Attempt {
  const reason = `another agent for this Lease runs on this node (${nameOf(holder)}): waiting for its end`;
  return { report: { residence: 'shared', reason }, waitFor };
}

function unsure(why: string, waitFor: string | null): Attempt {
  return { report: { residence: 'unsure', reason: `whether another agent runs on this node cannot be told: ${why}` }, waitFor };
}

/** The kernel tells no number of a process that another container hides. */
function nameOf(holder: UnixPeer): string {
  if (holder.uid === null) return 'a process that does not answer';
  const process = holder.pid === null || holder.pid === 0 ? 'a process in another container' : `process ${holder.pid}`;
  return holder.uid === ROOT ? process : `${process} of user ${holder.uid}`;
}
