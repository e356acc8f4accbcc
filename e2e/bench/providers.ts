/**
 * Measures what a claim costs at each provider beyond the provider's own time, how many requests it makes, and how long clients
 * are without an answer when a node is gone and the provider takes as long as the real one does.
 *
 * The claim is counted by the holder's own log, from the line that it has acquired the Lease to the one that it has read itself
 * back as the owner. From that the time is taken off that the stand-in let each accepted change take.
 */
import type { AgentProcess } from '../../test/support/agent-process.ts';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { ROUTED, stagedFor } from '../lab/arrangements.ts';
import type { RoutedArrangement } from '../lab/arrangements.ts';
import { StandInLeases } from '../lab/leases.ts';
import { NamespaceStage } from '../lab/namespace-stage.ts';
import { placeOf } from '../lab/network.ts';
import { findOutages, totalOutageMs } from '../lab/outage.ts';
import { isSettled, raiseCurtain, servedBy, until } from '../lab/stage.ts';
import { median, pause, say, shown } from './measures.ts';

/** What a claim may cost beyond the provider's own time, by how many changes it takes. */
const TARGET_MS = { 1: 150, 2: 400 } as const;
/** Until clients are answered again, whatever the provider. */
const FAILOVER_TARGET_MS = 15_000;
const ATTEMPT_KNOWN_MS = 600;
const SETTLE_MS = 120_000;
/** A whole failover is less often measured than a claim, because some providers take a minute for it. */
const CLAIMS_PER_FAILOVER = 5;
const RHYTHM_MS = 1_000;

type BenchStage = NamespaceStage<StandInLeases>;

export interface ProviderResult {
  readonly provider: string;
  /** How many changes move an address. */
  readonly steps: number;
  /** How long the stand-in took for each. */
  readonly moveMs: number;
  /** From the acquisition to the owner read back, less the stand-in's own time. */
  readonly overheadMs: readonly number[];
  readonly targetMs: number;
  /** Requests of the new holder to the provider meanwhile. */
  readonly requests: readonly number[];
  /** How long each change takes at the provider itself, as the stand-in took for each below. */
  readonly realMoveMs: number;
  /** How long clients were without an answer when the holder's node was gone. */
  readonly failoverMs: readonly number[];
  readonly violations: readonly string[];
}

/** Measures each provider, or those whose names contain `only`. */
export async function measureProviders(
  bundle: string,
  { runs, only }: { readonly runs: number; readonly only: string },
): Promise<ProviderResult[]> {
  const results: ProviderResult[] = [];
  for (const arrangement of Object.values(ROUTED)) {
    if (arrangement.provider.includes(only)) results.push(await measureProvider(bundle, arrangement, runs));
  }
  return results;
}

async function measureProvider(bundle: string, arrangement: RoutedArrangement, runs: number): Promise<ProviderResult> {
  const { provider, steps, moveMs, realMoveMs, accountLasts = runs } = arrangement;
  const violations: string[] = [];
  const measure = async <Measured>(times: number, ms: number, once: (stage: BenchStage) => Promise<Measured>): Promise<Measured[]> => {
    const measured: Measured[] = [];
    while (measured.length < times) {
      const stage = await openStage(bundle, arrangement);
      stage.provider.moveMs = ms;
      for (let run = 0; run < accountLasts && measured.length < times; run += 1) measured.push(await once(stage));
      violations.push(...stage.violations);
      await stage.close();
    }
    return measured;
  };
  const claims = await measure(runs, moveMs, measureClaim);
  const failoverMs = await measure(Math.ceil(runs / CLAIMS_PER_FAILOVER), realMoveMs, measureFailover);
  const [overheadMs, requests] = [claims.map((claim) => claim.overheadMs), claims.map((claim) => claim.requests)];
  say(`  ${provider}: ${milliseconds(overheadMs)} beyond its own time, ${median(requests)} requests; node gone: ${shown(failoverMs)}`);
  return { provider, steps, moveMs, overheadMs, targetMs: TARGET_MS[steps], requests, realMoveMs, failoverMs, violations };
}

async function openStage(bundle: string, arrangement: RoutedArrangement): Promise<BenchStage> {
  const options = { bundle, ...stagedFor(arrangement) };
  const stage = await NamespaceStage.open(options, (onLease) => StandInLeases.open(onLease));
  await raiseCurtain(stage);
  return stage;
}

interface Claim {
  readonly overheadMs: number;
  readonly requests: number;
}

/** Stops the holder, and measures the claim of whoever comes to hold. */
async function measureClaim(stage: BenchStage): Promise<Claim> {
  const holder = await settled(stage);
  await pause(Math.random() * RHYTHM_MS);
  const { http, acceptedCount } = stage.provider;
  const before = http.exchanges.length;
  const marks = new Map(stage.nodes.map((node) => [node, stage.agent(node)?.log.length ?? 0]));
  await stage.stopAgent(holder);
  stage.startAgent(holder);
  await until('another node serves', () => ![holder, null].includes(stage.holder()) && isSettled(stage), SETTLE_MS);
  const node = stage.holder() ?? '';
  const spanNow = (): Span | null => claimIn(stage.agent(node), marks.get(node) ?? 0);
  await until('its log tells of the claim', () => spanNow() !== null, SETTLE_MS);
  const span = spanNow() ?? { fromMs: 0, toMs: 0 };
  const accepted = stage.provider.acceptedCount - acceptedCount;
  const isMeanwhile = (atMs: number): boolean => {
    const wallMs = performance.timeOrigin + atMs;
    return wallMs >= span.fromMs && wallMs <= span.toMs;
  };
  const between = http.exchanges.slice(before).filter(({ atMs, from }) => from === placeOf(node).ip && isMeanwhile(atMs));
  return { overheadMs: span.toMs - span.fromMs - accepted * stage.provider.moveMs, requests: between.length };
}

/** A span by the wall clock, which every process of this machine shares. */
interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** The first claim that an agent's log tells of after so many lines; null until it does. */
function claimIn(agent: AgentProcess | undefined, after: number): Span | null {
  const lines = agent?.log.slice(after) ?? [];
  const acquired = lines.find(({ cause }) => cause === 'acquired');
  const confirmed = lines.find(({ event }) => event === 'claim-confirmed');
  if (acquired === undefined || confirmed === undefined) return null;
  return { fromMs: Date.parse(acquired.time), toMs: Date.parse(confirmed.time) };
}

/** Cuts the holder's node off, and measures how long clients are without an answer. */
async function measureFailover(stage: BenchStage): Promise<number> {
  const holder = await settled(stage);
  await pause(Math.random() * RHYTHM_MS);
  const sinceMs = monotonicMs();
  stage.cutOff(holder);
  await until('another node serves', () => servedBy(stage) !== holder && servedBy(stage) === stage.holder(), SETTLE_MS);
  const servedMs = monotonicMs();
  await pause(ATTEMPT_KNOWN_MS);
  stage.reconnect(holder);
  return totalOutageMs(findOutages(stage.attempts, sinceMs, servedMs));
}

/** Waits until one node serves and every other is ready to take over, and returns the one. */
async function settled(stage: BenchStage): Promise<string> {
  await until('everything has settled', () => isSettled(stage), SETTLE_MS);
  const holder = stage.holder() ?? '';
  for (const node of stage.nodes) {
    const wanted = node === holder ? 'serving' : 'standby';
    await until(`${node} is ready`, async () => (await stage.role(node)) === wanted, SETTLE_MS);
  }
  return holder;
}

function milliseconds(values: readonly number[]): string {
  return `${median(values).toFixed(0)} ms (at most ${Math.max(...values).toFixed(0)} ms)`;
}

export function sayProviders(results: readonly ProviderResult[]): void {
  const runs = results[0]?.overheadMs.length ?? 0;
  say();
  say(`What a claim costs beyond the provider's own time, from the acquisition to the owner read back; median (maximum) of ${runs}:`);
  say();
  say('| provider | changes a move | beyond its own time | target | requests a move |');
  say('|---|---|---|---|---|');
  for (const { provider, steps, overheadMs, targetMs, requests } of results) {
    const missed = median(overheadMs) > targetMs ? ', missed' : '';
    say(
      `| ${provider} | ${steps} | ${milliseconds(overheadMs)} | ≤ ${targetMs} ms${missed} | ${median(requests)} (${Math.max(...requests)}) |`,
    );
  }
  say();
  say('A node cut off, until clients are answered again, with a provider that takes as long as the real one:');
  say();
  say('| provider | each change takes | clients without an answer | within 15 s |');
  say('|---|---|---|---|');
  for (const { provider, realMoveMs, failoverMs } of results) {
    const isMet = Math.max(...failoverMs) <= FAILOVER_TARGET_MS;
    say(`| ${provider} | ${realMoveMs / 1_000} s | ${shown(failoverMs)} | ${isMet ? 'yes' : 'no'} |`);
  }
  for (const { provider, violations } of results) for (const violation of violations) say(`${provider}: must never be: ${violation}`);
}
