/**
 * The command `step-down`: asks the agent of this node, tells how it goes, and ends with a code that says whether it moved.
 */
import type { Clock } from '../clock.ts';
import { askAgent, ControlTrouble } from '../control/client.ts';
import type { Outcome } from '../control/protocol.ts';
import { EXIT } from './exit-codes.ts';
import type { Wanted } from './parse.ts';
import { plain } from './text.ts';

export interface StepDownOptions {
  readonly socket: string;
  readonly clock: Clock;
  readonly write: (text: string) => void;
  readonly complain: (text: string) => void;
}

/** Beside the time that a holder may wait, a release, another one's acquisition, and the longest move of a provider. */
const PATIENCE_MS = 120_000;

const CODES: { readonly [Each in Outcome]: number } = {
  moved: EXIT.done,
  'not-holding': EXIT.done,
  kept: EXIT.no,
  returned: EXIT.no,
  nobody: EXIT.no,
  refused: EXIT.no,
};

/** What to do about an end that is not the one that was wanted. */
const ADVICE: { readonly [Each in Outcome]?: string } = {
  kept: '"leasehold status" shows what keeps the others from taking over. --force gives it up all the same; to keep the address off this node, stop its agent.',
  returned: '"leasehold status" shows what keeps the others from taking over. To keep the address off this node, stop its agent.',
  nobody: '"leasehold status" shows what keeps the others from taking over; this node takes it back if nobody does.',
};

/** Returns the exit code. */
export async function runStepDown({ force, waitMs }: Wanted & { is: 'step-down' }, options: StepDownOptions): Promise<number> {
  const { socket, clock, write, complain } = options;
  try {
    const { outcome, message } = await askAgent(
      socket,
      { command: 'step-down', force, waitMs },
      { clock, timeoutMs: waitMs + PATIENCE_MS, onProgress: (progress) => write(`${plain(progress)}\n`) },
    );
    const code = CODES[outcome];
    const say = code === EXIT.done ? write : complain;
    say(`${plain(message)}\n`);
    const advice = ADVICE[outcome];
    if (advice !== undefined) complain(`${advice}\n`);
    return code;
  } catch (error) {
    if (!(error instanceof ControlTrouble)) throw error;
    complain(`leasehold step-down: ${error.message}${hintFor(error)}\n`);
    return error.kind === 'denied' ? EXIT.unable : EXIT.unavailable;
  }
}

function hintFor({ kind }: ControlTrouble): string {
  switch (kind) {
    case 'absent':
      return '. Run it on the node, or in the pod, of the agent that holds; CONTROL_SOCKET or --socket names another path';
    case 'denied':
      return ': run it as root';
    case 'broken':
      return '. "leasehold status" shows who holds the addresses now';
  }
}
