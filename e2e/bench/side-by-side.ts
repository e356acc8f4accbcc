/**
 * The same faults for each contestant on a shared segment, one after the other in one run.
 *
 * Measures from the instant of the fault until another node answers the client, how long the client is without an answer by
 * the fault and by its being undone, how many nodes answered one ARP request at once, and how many had the address bound.
 * Every fault comes at a random moment of the contestant's rhythm. Then what three of them cost while nothing happens.
 * A client that is still without an answer 4 s after the fault was undone is made to ask anew, so that the run can go on.
 */
import { monotonicMs } from '../../test/support/monotonic.ts';
import { ip } from '../../test/support/namespaces.ts';
import { findOutages, totalOutageMs } from '../lab/outage.ts';
import { RollCall } from '../lab/roll-call.ts';
import { isSettled, raiseCurtain, servedBy, until } from '../lab/stage.ts';
import type { Contestant, FaultName, Performance } from './contestants.ts';
import { beginCost, pause, say, shown } from './measures.ts';
import type { Cost } from './measures.ts';

/** As long as the longest interval of adverts, renewals and probes, so that faults come at any moment of them. */
const RHYTHM_MS = 1_000;
/** Once another node serves, so long until the fault is undone: time for a few roll calls. */
const AFTERMATH_MS = 350;
/** After that, so long until it may be over: two that serve at once would show. */
const RETURN_MS = 1_000;
const PATIENCE_MS = 4_000;
const ATTEMPT_KNOWN_MS = 600;
const IDLE_MS = 20_000;

interface Fault {
  readonly name: FaultName;
  readonly strike: (performance: Performance, holder: string) => Promise<void> | void;
  readonly mend: (performance: Performance, node: string) => Promise<void> | void;
}

export const FAULTS: readonly Fault[] = [
  {
    name: 'process killed',
    strike: ({ stage }, holder) => stage.killAgent(holder),
    mend: ({ restart }, node) => restart(node),
  },
  {
    name: 'node cut off',
    strike: ({ stage }, holder) => stage.cutOff(holder),
    mend: ({ stage }, node) => stage.reconnect(node),
  },
  {
    name: 'stopped politely',
    strike: async ({ stage }, holder) => {
      const code = await stage.stopAgent(holder);
      if (code !== 0) throw new Error(`stopped politely, it ended with ${code}`);
    },
    mend: ({ restart }, node) => restart(node),
  },
  {
    name: 'health check fails',
    strike: ({ stage }, holder) => stage.stopService(holder, 'refuse'),
    mend: ({ recover }, node) => recover(node),
  },
];

/** One fault, done to one contestant several times. */
export interface FaultResult {
  readonly fault: FaultName;
  readonly targetMs: number | null;
  /** From the fault until another node answered the client. */
  readonly movedMs: readonly number[];
  /** How long the client was without an answer until the fault was undone. */
  readonly outageMs: readonly number[];
  /** How long it was once more, from then until everything was as before. */
  readonly returnOutageMs: readonly number[];
  /** In how many runs the client had to be made to ask anew, 4 s after the fault was undone. */
  readonly helped: number;
  /** How many nodes answered one ARP request once another node served, and the fault was not yet undone. */
  readonly answering: readonly number[];
  /** The same at the most, from the fault until everything was as before. */
  readonly mostAnswering: readonly number[];
  /** How many nodes had the address bound once another node served. */
  readonly bound: readonly number[];
}

export interface Idle {
  readonly apiRequestsPerMinute: number | null;
  readonly holder: Cost;
  readonly candidates: readonly Cost[];
}

export interface ContestantResult {
  readonly name: string;
  readonly setup: string;
  readonly faults: readonly FaultResult[];
  readonly idle: Idle | null;
  readonly violations: readonly string[];
}

interface Trial {
  readonly movedMs: number;
  readonly outageMs: number;
  readonly returnOutageMs: number;
  readonly helped: number;
  readonly answering: number;
  readonly mostAnswering: number;
  readonly bound: number;
}

/** Lets one contestant go through the faults whose names contain `only`, each `runs` times. */
export async function measureContestant(
  contestant: Contestant,
  options: { readonly runs: number; readonly only: string },
): Promise<ContestantResult> {
  const { name, setup, targetsMs } = contestant;
  say(`${name} (${setup})`);
  const performance = await contestant.open();
  const { stage } = performance;
  const rollCall = new RollCall();
  const faults: FaultResult[] = [];
  try {
    await raiseCurtain(stage);
    for (const fault of FAULTS) {
      if (!fault.name.includes(options.only)) continue;
      const trials: Trial[] = [];
      for (let run = 0; run < options.runs; run += 1) trials.push(await tryOnce(performance, rollCall, fault));
      const all = (key: keyof Trial): number[] => trials.map((trial) => trial[key]);
      const result: FaultResult = {
        fault: fault.name,
        targetMs: targetsMs[fault.name] ?? null,
        movedMs: all('movedMs'),
        outageMs: all('outageMs'),
        returnOutageMs: all('returnOutageMs'),
        helped: all('helped').reduce((sum, each) => sum + each, 0),
        answering: all('answering'),
        mostAnswering: all('mostAnswering'),
        bound: all('bound'),
      };
      faults.push(result);
      say(`  ${fault.name}: moved after ${shown(result.movedMs)}, nodes that answer ${result.answering.join(' ')}`);
    }
    const idle = options.only === '' ? await measureIdle(performance) : null;
    const crowds = faults.filter(({ mostAnswering }) => contestant.mustBeAlone && Math.max(...mostAnswering) > 1);
    return { name, setup, faults, idle, violations: crowds.map(({ fault }) => `${fault}: two nodes answered at once`) };
  } finally {
    rollCall.close();
    await stage.close();
  }
}

async function tryOnce(performance: Performance, rollCall: RollCall, fault: Fault): Promise<Trial> {
  const { stage } = performance;
  await asBefore(performance);
  const holder = stage.holder() ?? '';
  await pause(Math.random() * RHYTHM_MS);
  const startedAtMs = monotonicMs();
  const struck = fault.strike(performance, holder);
  await until('another node serves', () => ![holder, null].includes(servedBy(stage)));
  const seenAtMs = monotonicMs();
  await pause(AFTERMATH_MS);
  const bound = stage.boundOn().length;
  await struck;
  const mendedAtMs = monotonicMs();
  await fault.mend(performance, holder);
  await pause(RETURN_MS);
  const helped = await helpClient(performance);
  await asBefore(performance);
  const overAtMs = monotonicMs();
  await pause(ATTEMPT_KNOWN_MS);
  const byAnother = stage.attempts.filter(({ atMs, by }) => atMs >= startedAtMs && by !== null && by !== holder).map(({ atMs }) => atMs);
  return {
    movedMs: Math.min(...byAnother) - startedAtMs,
    outageMs: totalOutageMs(findOutages(stage.attempts, startedAtMs, mendedAtMs)),
    returnOutageMs: totalOutageMs(findOutages(stage.attempts, mendedAtMs, overAtMs)),
    helped,
    answering: rollCall.most(seenAtMs, mendedAtMs),
    mostAnswering: rollCall.most(startedAtMs, overAtMs),
    bound,
  };
}

/** Waits until the client is served, and lets it ask anew if it is not in time. Returns how often that was done. */
async function helpClient({ stage }: Performance): Promise<0 | 1> {
  const untilMs = monotonicMs() + PATIENCE_MS - RETURN_MS;
  while (stage.holder() === null || servedBy(stage) !== stage.holder()) {
    if (monotonicMs() > untilMs) {
      ip('-n client neigh flush dev eth0');
      return 1;
    }
    await pause(10);
  }
  return 0;
}

/** Waits until one serves and the others stand by. */
async function asBefore({ stage }: Performance): Promise<void> {
  const isReady = async (node: string): Promise<boolean> => ['serving', 'standby'].includes((await stage.role(node)) ?? '');
  await until(
    'one node serves and the others stand by',
    async () => isSettled(stage) && (await Promise.all(stage.nodes.map(isReady))).every(Boolean),
    60_000,
  );
}

async function measureIdle({ stage, processesOf, apiRequests }: Performance): Promise<Idle> {
  const holder = stage.holder() ?? '';
  const endOf = new Map(stage.nodes.map((node) => [node, beginCost(processesOf(node))]));
  const [requestsBefore, sinceMs] = [apiRequests(), monotonicMs()];
  await pause(IDLE_MS);
  const requests = apiRequests();
  const minutes = (monotonicMs() - sinceMs) / 60_000;
  const costs = new Map([...endOf].map(([node, end]) => [node, end()]));
  return {
    apiRequestsPerMinute: requests === null || requestsBefore === null ? null : (requests - requestsBefore) / minutes,
    holder: costs.get(holder) ?? { residentMb: 0, processor: 0 },
    candidates: [...costs].filter(([node]) => node !== holder).map(([, cost]) => cost),
  };
}
