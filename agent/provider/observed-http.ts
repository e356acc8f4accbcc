/**
 * The same HTTP to a provider, with every exchange told to somebody who counts.
 *
 * Guarantees: changes nothing about what is sent, answered or thrown. Of an answer only its status and what it says of the
 * budget is told, never a header that was sent.
 */
import type { Clock } from '../clock.ts';
import type { RunCommand } from '../host.ts';
import { ProviderError } from './error.ts';
import type { ProviderHttp } from './http.ts';
import { budgetOf } from './rate-limit.ts';
import type { SaidBudget } from './rate-limit.ts';

/** One exchange that has ended. */
export interface ProviderExchange {
  /** What was asked, in the words of the provider's documentation: one of a few. */
  readonly operation: string;
  /** The answer's status, or a command's exit code; `no-answer`, or `aborted` (by us). */
  readonly code: string;
  readonly elapsedMs: number;
  /** How many requests the provider grants and how many of them are left, where the answer says so. */
  readonly budget: SaidBudget | null;
}

/** Wraps HTTP so that each exchange is told of once it has ended. */
export function observedProviderHttp(http: ProviderHttp, clock: Clock, onExchange: (exchange: ProviderExchange) => void): ProviderHttp {
  return async (call) => {
    const { operation } = call;
    const startedAtMs = clock.nowMs();
    const end = (code: string, budget: ProviderExchange['budget']): void =>
      onExchange({ operation, code, elapsedMs: clock.nowMs() - startedAtMs, budget });
    try {
      const answer = await http(call);
      end(String(answer.status), budgetOf(answer));
      return answer;
    } catch (error) {
      end(error instanceof ProviderError ? 'no-answer' : 'aborted', null);
      throw error;
    }
  };
}

/** The same for commands that are run in the place of an API: what such a one answers is its exit code. */
export function observedRun(run: RunCommand, clock: Clock, onExchange: (exchange: ProviderExchange) => void): RunCommand {
  return async (command) => {
    const { operation, signal } = command;
    const startedAtMs = clock.nowMs();
    const end = (code: string): void => onExchange({ operation, code, elapsedMs: clock.nowMs() - startedAtMs, budget: null });
    try {
      const ended = await run(command);
      end(signal.aborted ? 'aborted' : String(ended.exitCode ?? 'no-answer'));
      return ended;
    } catch (error) {
      end(signal.aborted ? 'aborted' : 'no-answer');
      throw error;
    }
  };
}
