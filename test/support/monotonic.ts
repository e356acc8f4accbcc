/**
 * CLOCK_MONOTONIC in milliseconds: the same for every process of this machine.
 */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
