/**
 * How requests, processor time and memory grow with the number of contenders in one process.
 *
 * The API that they ask is the stand-in, in a process of its own whose cost does not count. Measured once all of them hold.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildAgent } from '../../scripts/build.ts';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { until } from '../lab/stage.ts';
import type { ApiMessage } from './growth-api.ts';
import type { HostMessage } from './growth-host.ts';
import { beginCost, pause, say } from './measures.ts';
import type { Cost } from './measures.ts';

const CONTENDERS = [1, 10, 50, 200] as const;
const FOLDER = '/run/leasehold-growth';
/** Until what the start has left behind is collected. */
const WARM_UP_MS = 5_000;
const MEASURE_MS = 20_000;

export interface GrowthResult {
  readonly contenders: number;
  readonly requestsPerMinute: number;
  readonly cost: Cost;
  /** How many of them held at the end; all, unless the process was too busy to renew. */
  readonly held: number;
}

export async function measureGrowth(): Promise<GrowthResult[]> {
  const host = await buildAgent(FOLDER, fileURLToPath(new URL('./growth-host.ts', import.meta.url)));
  const results: GrowthResult[] = [];
  for (const contenders of CONTENDERS) results.push(await measure(host, contenders));
  return results;
}

async function measure(hostBundle: string, contenders: number): Promise<GrowthResult> {
  let opened: (ApiMessage & { is: 'open' }) | null = null;
  let requests = 0;
  let held = 0;
  const api = start(fileURLToPath(new URL('./growth-api.ts', import.meta.url)), [String(contenders)], (message: ApiMessage) => {
    if (message.is === 'open') opened = message;
    else requests = message.requests;
  });
  await until('the API answers', () => opened !== null);
  const { kubeconfig, leases } = opened as unknown as ApiMessage & { is: 'open' };
  writeFileSync(`${FOLDER}/kubeconfig`, kubeconfig);
  const host = start(hostBundle, [`${FOLDER}/kubeconfig`, ...leases], (message: HostMessage) => (held = message.held));
  try {
    await until('every contender holds', () => held === contenders, 60_000);
    await pause(WARM_UP_MS);
    const endCost = beginCost([host.pid ?? 0]);
    const [requestsBefore, sinceMs] = [requests, monotonicMs()];
    await pause(MEASURE_MS);
    const minutes = (monotonicMs() - sinceMs) / 60_000;
    const result = { contenders, requestsPerMinute: (requests - requestsBefore) / minutes, cost: endCost(), held };
    say(
      `${contenders} contenders: ${result.requestsPerMinute.toFixed(0)} requests a minute, ${result.cost.processor.toFixed(1)} % of a core`,
    );
    return result;
  } finally {
    host.kill('SIGKILL');
    api.kill('SIGKILL');
  }
}

function start(script: string, args: readonly string[], onMessage: (message: never) => unknown): ChildProcess {
  const child = spawn(process.execPath, [script, ...args], { env: {}, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  child.on('message', (message) => onMessage(message as never));
  return child;
}
