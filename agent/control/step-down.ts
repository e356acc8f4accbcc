/**
 * A step down that an operator asks for, from the wish to where the address went.
 *
 * Guarantees: it only tells the contender what is wanted, and watches; what happens is the heart's matter (rules 5 and 9). Every
 * wait has an end.
 */
import { sleep } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { nodeOfIdentity, sameTerm, termOf } from '../contender/lease.ts';
import type { Term } from '../contender/lease.ts';
import { isHoldingOver, officeTerm } from '../contender/state.ts';
import type { Contender } from '../contender/state.ts';
import type { ControlRequest, Outcome } from './protocol.ts';

/** The agent, as far as this needs it. */
export interface SteppingAgent {
  readonly contender: Contender;
  requestStepDown(reason: string, waitMs: number | null): void;
}

export interface StepDownEnd {
  readonly outcome: Outcome;
  readonly message: string;
  /** Where the Lease is now; null where nobody holds it. */
  readonly node: string | null;
}

const REASON = 'an operator has asked for a step down';
const LOOK_MS = 25;
/** Beyond what the heart itself allows for a release. */
const PATIENCE_MS = 3_000;

/** Runs one to its end. Throws the signal's reason when that is aborted; what has been begun then goes on. */
export async function stepDown(
  { force, waitMs }: ControlRequest,
  agent: SteppingAgent,
  clock: Clock,
  tell: (message: string) => void,
  signal: AbortSignal,
): Promise<StepDownEnd> {
  const { settings } = agent.contender;
  const { node } = settings;
  const term = officeTerm(agent.contender);
  if (term === null) return nothingToGiveUp(agent.contender);
  const until = async (what: (contender: Contender) => boolean, timeoutMs: number): Promise<boolean> => {
    const giveUpAtMs = clock.nowMs() + timeoutMs;
    while (!what(agent.contender)) {
      if (clock.nowMs() >= giveUpAtMs) return false;
      await sleep(clock, LOOK_MS, signal);
    }
    return true;
  };

  agent.requestStepDown(REASON, force ? null : waitMs);
  if (!force && holds(agent.contender, term)) {
    tell(`the Lease is marked: waiting up to ${seconds(waitMs)} for another healthy node to offer to take over`);
    await until((contender) => !holds(contender, term) || !isPlanned(contender), waitMs + PATIENCE_MS);
    if (holds(agent.contender, term)) {
      const message = `no other node has offered to take over within ${seconds(waitMs)}, so ${node} goes on holding the Lease`;
      return { outcome: 'kept', message, node };
    }
  }
  tell(`${node} steps down`);
  const isTaken = await until((contender) => isInOtherHands(contender, term), 2 * settings.leaseDurationMs + PATIENCE_MS);
  const next = termOf(agent.contender.observation?.sight ?? 'absent');
  if (!isTaken || next === null)
    return { outcome: 'nobody', message: `${node} has stepped down, and nobody holds the Lease yet`, node: null };
  const nextNode = nodeOfIdentity(next.holder);
  if (next.holder === settings.identity) {
    return {
      outcome: 'returned',
      message: `nobody else has taken the Lease, so ${node} has taken it back (term ${next.transitions})`,
      node,
    };
  }
  tell(`${nextNode} holds the Lease now, in term ${next.transitions}`);
  const names = settings.addresses.join(', ');
  if (settings.kind === 'l2') return { outcome: 'moved', message: `${names} moved from ${node} to ${nextNode}`, node: nextNode };
  const isLetGo = await until(hasLetGo, settings.worstMoveMs + PATIENCE_MS);
  const how = isLetGo ? '' : `; ${node} still has it bound, as the provider still routes it here`;
  return { outcome: 'moved', message: `${names} moved from ${node} to ${nextNode}${how}`, node: nextNode };
}

function nothingToGiveUp(contender: Contender): StepDownEnd {
  const { node } = contender.settings;
  const holder = termOf(contender.observation?.sight ?? 'absent')?.holder ?? null;
  const holderNode = holder === null ? null : nodeOfIdentity(holder);
  if (contender.life.is === 'acquiring')
    return { outcome: 'refused', message: `${node} is about to take the Lease: try again in a moment`, node };
  if (isHoldingOver(contender)) {
    const message = `${node} only holds the address over while the Kubernetes API is silent: there is nobody to hand it to before that answers`;
    return { outcome: 'refused', message, node };
  }
  const whose = holderNode === null ? 'nobody does' : `${holderNode} does`;
  return { outcome: 'not-holding', message: `${node} does not hold the Lease (${whose}): there is nothing to give up`, node: holderNode };
}

function holds({ life }: Contender, term: Term): boolean {
  return life.is === 'holding' && sameTerm(life.office.term, term);
}

function isPlanned({ life }: Contender): boolean {
  return life.is === 'holding' && life.office.planned !== null;
}

/** Whether the Lease shows a later term than one. */
function isInOtherHands({ observation }: Contender, term: Term): boolean {
  const now = termOf(observation?.sight ?? 'absent');
  return now !== null && !sameTerm(now, term);
}

function hasLetGo({ addresses }: Contender): boolean {
  return Object.values(addresses).every(({ is }) => is !== 'lingering' && is !== 'unbinding' && is !== 'held-over');
}

function seconds(ms: number): string {
  return ms % 1_000 === 0 ? `${ms / 1_000} s` : `${ms} ms`;
}
