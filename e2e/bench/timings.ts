/**
 * What a choice of timings costs and stands: three agents on a shared segment, with nothing wrong but a machine that is busy.
 *
 * Measures for each choice the requests and writes to the Kubernetes API, and how many terms were lost for no fault of the
 * nodes: while nothing else runs, and beside as many endless loops as there are cores. A lost term is no danger, only an
 * outage: whether two nodes ever answer is what the lab and the simulation look at.
 */
import { spawn } from 'node:child_process';
import { cpus } from 'node:os';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { StandInLeases } from '../lab/leases.ts';
import { NamespaceStage } from '../lab/namespace-stage.ts';
import { isSettled, raiseCurtain, until } from '../lab/stage.ts';
import { pause, say } from './measures.ts';

const WATCHED_MS = 30_000;

export interface Timings {
  readonly durationMs: number;
  readonly deadlineMs: number;
  readonly intervalMs: number;
}

/** From what survives long silences of the API down to what a machine like this one cannot keep up with any more. */
export const TIMINGS: readonly Timings[] = [
  { durationMs: 15_000, deadlineMs: 10_000, intervalMs: 2_000 },
  { durationMs: 3_000, deadlineMs: 2_000, intervalMs: 500 },
  { durationMs: 1_500, deadlineMs: 1_000, intervalMs: 300 },
  { durationMs: 1_000, deadlineMs: 600, intervalMs: 200 },
  { durationMs: 600, deadlineMs: 300, intervalMs: 150 },
  { durationMs: 500, deadlineMs: 220, intervalMs: 100 },
  { durationMs: 400, deadlineMs: 140, intervalMs: 70 },
];

export interface TimingsResult extends Timings {
  readonly requestsPerMinute: number;
  readonly writesPerMinute: number;
  /** Terms lost in half a minute while nothing else ran. */
  readonly lostIdle: number;
  /** Terms lost in half a minute beside busy loops. */
  readonly lostBusy: number;
}

/** Watches three agents for each choice of timings. */
export async function measureTimings(bundle: string): Promise<TimingsResult[]> {
  const results: TimingsResult[] = [];
  for (const timings of TIMINGS) {
    const { durationMs, deadlineMs, intervalMs } = timings;
    const env = { LEASE_DURATION: `${durationMs}ms`, RENEW_DEADLINE: `${deadlineMs}ms`, RENEW_INTERVAL: `${intervalMs}ms` };
    const options = { bundle, moveMs: 0, topology: 'l2', clientIntervalMs: 1_000, env } as const;
    const stage = await NamespaceStage.open(options, (onLease) => StandInLeases.open(onLease));
    try {
      await raiseCurtain(stage);
      const idle = await watch(stage);
      const loops = cpus().map(() => spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }));
      const busy = await watch(stage).finally(() => {
        for (const loop of loops) loop.kill('SIGKILL');
      });
      results.push({ ...timings, ...idle.rates, lostIdle: idle.lost, lostBusy: busy.lost });
      say(`  ${durationMs}/${deadlineMs}/${intervalMs} ms: ${idle.lost} and ${busy.lost} terms lost`);
    } finally {
      await stage.close();
    }
  }
  return results;
}

interface Watched {
  readonly lost: number;
  readonly rates: Pick<TimingsResult, 'requestsPerMinute' | 'writesPerMinute'>;
}

async function watch(stage: NamespaceStage<StandInLeases>): Promise<Watched> {
  await until('one node serves', () => isSettled(stage), 60_000);
  const { exchanges } = stage.leases.kube.http;
  const [termBefore, requestsBefore, sinceMs] = [stage.transitions(), exchanges.length, monotonicMs()];
  await pause(WATCHED_MS);
  const minutes = (monotonicMs() - sinceMs) / 60_000;
  const made = exchanges.slice(requestsBefore);
  const rates = {
    requestsPerMinute: made.length / minutes,
    writesPerMinute: made.filter(({ method }) => method !== 'GET').length / minutes,
  };
  return { lost: stage.transitions() - termBefore, rates };
}

export function sayTimings(results: readonly TimingsResult[]): void {
  say();
  say('Three agents on a shared segment, half a minute each:');
  say();
  say(
    '| lease duration | renew deadline | renew interval | API requests a minute | of them writes | terms lost, idle | terms lost, busy |',
  );
  say('|---|---|---|---|---|---|---|');
  for (const { durationMs, deadlineMs, intervalMs, requestsPerMinute, writesPerMinute, lostIdle, lostBusy } of results) {
    const rates = `${requestsPerMinute.toFixed(0)} | ${writesPerMinute.toFixed(0)}`;
    say(`| ${durationMs} ms | ${deadlineMs} ms | ${intervalMs} ms | ${rates} | ${lostIdle} | ${lostBusy} |`);
  }
}
