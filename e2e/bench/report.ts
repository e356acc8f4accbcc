/**
 * The figures of the benchmark as people read them, and the form in which they are written down.
 */
import type { GrowthResult } from './growth.ts';
import { median, say, shown } from './measures.ts';
import type { Cost } from './measures.ts';
import type { ProviderResult } from './providers.ts';
import type { RoutedResult } from './routed.ts';
import type { ContestantResult, FaultResult } from './side-by-side.ts';
import type { TimingsResult } from './timings.ts';

/** What `--json` writes: null for each part that was not asked for. */
export interface BenchResult {
  readonly runs: number;
  readonly machine: string;
  readonly sideBySide: readonly ContestantResult[] | null;
  readonly growth: readonly GrowthResult[] | null;
  readonly timings: readonly TimingsResult[] | null;
  readonly routed: RoutedResult | null;
  readonly providers: readonly ProviderResult[] | null;
}

/** The result as a file holds it, with no more digits than were measured. */
export function asJson(result: BenchResult): string {
  const rounded = (_: string, value: unknown): unknown => (typeof value === 'number' ? Math.round(value * 100) / 100 : value);
  return `${JSON.stringify(result, rounded, 2)}\n`;
}

export function saySideBySide(contestants: readonly ContestantResult[], runs: number): void {
  say(`On a shared segment, a connection every 10 ms; median (minimum–maximum) of ${runs}.`);
  say('Nodes that answer one ARP request: once another node serves / at the most until everything is as before.');
  say();
  say(
    '| fault | contestant | until another node serves | clients without an answer | again when it is undone | nodes that answer | bound on | target |',
  );
  say('|---|---|---|---|---|---|---|---|');
  for (const fault of new Set(contestants.flatMap(({ faults }) => faults.map((each) => each.fault)))) {
    for (const { name, faults } of contestants) {
      for (const each of faults) if (each.fault === fault) say(`| ${fault} | ${name} | ${rowOf(each)} |`);
    }
  }
  say();
  for (const { name, setup } of contestants) say(`${name}: ${setup}`);
  say();
  for (const { name, idle } of contestants) {
    if (idle === null) continue;
    const { holder, candidates, apiRequestsPerMinute } = idle;
    const requests = apiRequestsPerMinute === null ? '' : `${apiRequestsPerMinute.toFixed(0)} API requests a minute in all; `;
    say(`three idle, ${name}: ${requests}holder ${costText(holder)}; others ${candidates.map(costText).join('; ')}`);
  }
  for (const { name, violations } of contestants) for (const violation of violations) say(`${name}: must never be: ${violation}`);
}

function rowOf({ movedMs, outageMs, returnOutageMs, helped, answering, mostAnswering, bound, targetMs }: FaultResult): string {
  const most = (values: readonly number[]): number => Math.max(...values);
  const target = targetMs === null ? '' : `≤ ${targetMs / 1_000} s${isMet(targetMs, movedMs, outageMs) ? '' : ', missed'}`;
  const again = `${shown(returnOutageMs)}${helped === 0 ? '' : `, cut short in ${helped} runs`}`;
  return [shown(movedMs), shown(outageMs), again, `${most(answering)} / ${most(mostAnswering)}`, most(bound), target].join(' | ');
}

function isMet(targetMs: number, ...measured: readonly (readonly number[])[]): boolean {
  return measured.every((ms) => median(ms) <= targetMs);
}

function costText({ residentMb, processor }: Cost): string {
  return `${residentMb.toFixed(0)} MB, ${processor.toFixed(2)} %`;
}

export function sayGrowth(growth: readonly GrowthResult[]): void {
  say();
  say('One process that holds so many Leases, each with default timings and a watch of its own:');
  say();
  say('| contenders | held at the end | API requests a minute | for each | of a core | for each | resident | for each beyond the first |');
  say('|---|---|---|---|---|---|---|---|');
  const [first] = growth;
  for (const { contenders, held, requestsPerMinute, cost } of growth) {
    const beyond = contenders - (first?.contenders ?? 0);
    const growthMb = beyond > 0 && first !== undefined ? `${((cost.residentMb - first.cost.residentMb) / beyond).toFixed(2)} MB` : '–';
    const requests = `${requestsPerMinute.toFixed(0)} | ${(requestsPerMinute / contenders).toFixed(0)}`;
    const processor = `${cost.processor.toFixed(1)} % | ${(cost.processor / contenders).toFixed(2)} %`;
    say(`| ${contenders} | ${held} | ${requests} | ${processor} | ${cost.residentMb.toFixed(0)} MB | ${growthMb} |`);
  }
}

/** What must never be: what the watcher saw, and two of our nodes that answered at once. */
export function violationsOf({ sideBySide, routed, providers }: Pick<BenchResult, 'sideBySide' | 'routed' | 'providers'>): string[] {
  const judged = [...(sideBySide ?? []), ...(routed === null ? [] : [routed]), ...(providers ?? [])];
  return judged.flatMap(({ violations }) => violations);
}
