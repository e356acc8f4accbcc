/**
 * What came of a fault, in numbers and in words for people.
 */
import { isRouted } from './arrangements.ts';
import type { Arrangement } from './arrangements.ts';
import type { Expectation } from './fault.ts';

/** One time that a fault was tried. */
export interface Trial {
  /** How long clients were without an answer in all; Infinity when they still are. */
  readonly outageMs: number;
  /** The most nodes that had the address at once; on L2 those that spoke for it on the wire. */
  readonly nodes: number;
  readonly from: string;
  readonly to: string;
  readonly tookMs: number;
  /** What was not as expected, in words. */
  readonly problems: readonly string[];
  /** What the agents said meanwhile, if something was not as expected. */
  readonly log: readonly string[];
}

export interface Result {
  readonly fault: string;
  readonly arrangement: Arrangement;
  readonly expected: Expectation;
  readonly trials: readonly Trial[];
  /** Why it was not tried. */
  readonly skipped: string | null;
}

export function endsWell({ problems }: Trial): boolean {
  return problems.length === 0;
}

export function inSeconds(ms: number): string {
  return Number.isFinite(ms) ? `${(ms / 1_000).toFixed(2)} s` : 'for ever';
}

/** The results as the Markdown table of the README. */
export function tableOf(results: readonly Result[]): string {
  const nodesHead = results.every(({ arrangement }) => isRouted(arrangement))
    ? 'nodes with the address at once'
    : 'nodes that answered at once';
  const rows = results.map(({ fault, expected, trials, skipped }) => {
    if (skipped !== null) return [fault, 'not tried', '', '', expected.atTheEnd];
    const nodes = Math.max(...trials.map((trial) => trial.nodes));
    return [fault, measured(trials.map(({ outageMs }) => outageMs)), `≤ ${inSeconds(expected.outageMs)}`, String(nodes), expected.atTheEnd];
  });
  const head = ['fault', 'clients without an answer', 'allowed', nodesHead, 'held at the end by'];
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** One time alone as it is, several as their median (minimum–maximum). */
function measured(ms: readonly number[]): string {
  const sorted = [...ms].sort((a, b) => a - b);
  const [least = 0, most = 0] = [sorted[0], sorted.at(-1)];
  if (sorted.length === 1) return inSeconds(least);
  const [low = 0, high = 0] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.ceil((sorted.length - 1) / 2)]];
  return `${inSeconds((low + high) / 2)} (${(least / 1_000).toFixed(2)}–${(most / 1_000).toFixed(2)})`;
}
