/**
 * What a check has found: one thing that was looked at, how it is, and what to do about it.
 *
 * Guarantees: a check only reads. One that fails in an unexpected way, or does not end in time, is a finding like any other,
 * so that nothing else goes unchecked for it.
 */
import { asError, rejectOnAbort, sleep, withDeadline } from './clock.ts';
import type { Clock } from './clock.ts';

/** `ok`: as it should be. `warn`: it works, though something should be known or done. `fail`: the agent cannot do its work so. */
export type FindingLevel = 'ok' | 'warn' | 'fail';

export interface Finding {
  /** What was looked at, in a word or two. */
  readonly name: string;
  readonly level: FindingLevel;
  /** One sentence for people. Never holds a credential. */
  readonly message: string;
  /** What to do about it; null where there is nothing to do. */
  readonly advice: string | null;
}

/** One thing to look at. `run` resolves within the deadline that its signal carries. */
export interface Check {
  readonly name: string;
  readonly run: (signal: AbortSignal) => Promise<readonly Finding[]>;
}

/** How long one check may take. */
const CHECK_MS = 10_000;
const FIRST_PAUSE_MS = 30_000;
const LONGEST_PAUSE_MS = 600_000;

export function ok(name: string, message: string): Finding {
  return { name, level: 'ok', message, advice: null };
}

export function warn(name: string, message: string, advice: string): Finding {
  return { name, level: 'warn', message, advice };
}

export function fail(name: string, message: string, advice: string): Finding {
  return { name, level: 'fail', message, advice };
}

/** Runs all checks side by side. The findings come in the order of the checks. */
export async function runChecks(checks: readonly Check[], clock: Clock, signal: AbortSignal): Promise<Finding[]> {
  const findings = await Promise.all(checks.map((check) => runCheck(check, clock, signal)));
  return findings.flat();
}

async function runCheck({ name, run }: Check, clock: Clock, signal: AbortSignal): Promise<readonly Finding[]> {
  try {
    // A check may be stuck where no signal reaches, as in the look-up of a name.
    return await withDeadline(clock, CHECK_MS, signal, async (inner) => await Promise.race([run(inner), rejectOnAbort(inner)]));
  } catch (error) {
    return [fail(name, `this could not be checked: ${asError(error).message}`, 'try again; if it stays so, please report it')];
  }
}

/** Runs all checks, and again with growing pauses for as long as one fails, until the signal is aborted. Tells each result. */
export async function keepChecking(
  checks: readonly Check[],
  clock: Clock,
  signal: AbortSignal,
  onFindings: (findings: readonly Finding[]) => void,
): Promise<void> {
  for (let pauseMs = FIRST_PAUSE_MS; !signal.aborted; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2)) {
    const findings = await runChecks(checks, clock, signal);
    if (signal.aborted) return;
    onFindings(findings);
    if (findings.every(({ level }) => level !== 'fail')) return;
    await sleep(clock, pauseMs, signal).catch(() => undefined);
  }
}
