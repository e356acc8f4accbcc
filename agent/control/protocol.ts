/**
 * What is said on the control socket: one line of JSON in, lines of JSON out, the last of which says how it ended.
 *
 * Guarantees: what came from the other side is read without believing its shape; nothing here throws.
 */
import { at, integerAt, messageAt, parseJson, stringAt } from '../json.ts';

/** What can be asked of an agent. */
export interface ControlRequest {
  readonly command: 'step-down';
  /** Go at once, whether or not another node takes over. */
  readonly force: boolean;
  /** How long to wait for another node to offer to take over. */
  readonly waitMs: number;
}

/**
 * How a step down ended. `moved`: another node holds the Lease. `not-holding`: there was nothing to give up. `kept`: nobody has
 * offered to take over. `returned`: it was given up, and this node has taken it back. `nobody`: it was given up, and nobody has
 * taken it yet. `refused`: the agent could not do it, or did not understand.
 */
export type Outcome = 'moved' | 'not-holding' | 'kept' | 'returned' | 'nobody' | 'refused';

const OUTCOMES: readonly Outcome[] = ['moved', 'not-holding', 'kept', 'returned', 'nobody', 'refused'];

export type ControlReply =
  | { readonly is: 'progress'; readonly message: string }
  | { readonly is: 'done'; readonly outcome: Outcome; readonly message: string; readonly node: string | null };

/** The longest line that either side takes. */
export const LINE_LENGTH_MAX = 4_096;
/** The longest that a holder may be asked to wait for another one. */
export const WAIT_MAX_MS = 600_000;

/** Reads a request, or says what is wrong with it. */
export function parseRequest(line: string): ControlRequest | { readonly problem: string } {
  const json = parseJson(line);
  const command = stringAt(json, 'command');
  if (command !== 'step-down') return { problem: `this agent knows the command step-down, and not "${messageAt(json, 'command') ?? ''}"` };
  const force = at(json, 'force');
  const waitMs = integerAt(json, 'waitMs');
  if (typeof force !== 'boolean' || waitMs === undefined || waitMs < 0 || waitMs > WAIT_MAX_MS)
    return { problem: `step-down needs force (true or false) and waitMs (0 to ${WAIT_MAX_MS})` };
  return { command, force, waitMs };
}

/** Reads a reply; null for a line that is none. */
export function parseReply(line: string): ControlReply | null {
  const json = parseJson(line);
  const message = messageAt(json, 'message');
  if (message === undefined) return null;
  if (stringAt(json, 'is') === 'progress') return { is: 'progress', message };
  const outcome = OUTCOMES.find((each) => each === stringAt(json, 'outcome'));
  return outcome === undefined ? null : { is: 'done', outcome, message, node: stringAt(json, 'node') ?? null };
}
