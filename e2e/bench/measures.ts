/**
 * What every part of the benchmark measures by: medians, and what /proc says of a process.
 */
import { readFileSync } from 'node:fs';

/** A kernel tick: the unit of the processor times in /proc. */
const TICK_MS = 10;

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export const say = (text = ''): void => void process.stdout.write(`${text}\n`);

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}

/** Milliseconds as a table shows them: the median in seconds, with minimum and maximum. */
export function shown(ms: readonly number[]): string {
  const s = (value: number): string => (value / 1_000).toFixed(2);
  return `${s(median(ms))} s (${s(Math.min(...ms))}–${s(Math.max(...ms))})`;
}

/** The processor time of a process and of those children of it that have ended (fields 14 to 17 of proc_pid_stat(5)). */
export function processorMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * TICK_MS;
}

export function residentMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1_000;
}

/** What some processes cost over a while. */
export interface Cost {
  readonly residentMb: number;
  /** Per cent of one core. */
  readonly processor: number;
}

/** Begins to measure what processes cost, and returns how to end it. */
export function beginCost(pids: readonly number[]): () => Cost {
  const spentMs = (): number => pids.reduce((sum, pid) => sum + processorMs(pid), 0);
  const [beforeMs, sinceMs] = [spentMs(), performance.now()];
  return () => ({
    residentMb: pids.reduce((sum, pid) => sum + residentMb(pid), 0),
    processor: ((spentMs() - beforeMs) / (performance.now() - sinceMs)) * 100,
  });
}
