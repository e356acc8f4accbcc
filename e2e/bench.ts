/**
 * Measures what each fault costs the clients, what agents cost, and how that grows; beside keepalived on a shared segment.
 *
 * Arguments: `--part side-by-side|growth|timings|routed|providers` (all of them by default), `--runs N` (7 by default), `--only TEXT`
 * (faults whose names contain it, and nothing else), `--contestant TEXT` and `--provider TEXT` (those whose names contain it), `--json FILE`. Needs network
 * namespaces. Where keepalived is not installed, only our agents are measured. Medians are given with minimum and maximum.
 * Ends with 1 if what must never be was seen.
 */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { misuse, positive, readOptions, writableFile } from '../scripts/arguments.ts';
import { buildAgent } from '../scripts/build.ts';
import { exitWith } from '../scripts/exit.ts';
import { findNamespaces, isInside, runInside } from '../test/support/namespaces.ts';
import { ROUTED_PROVIDERS } from '../test/support/stand-ins/all.ts';
import { findContestants } from './bench/contestants.ts';
import { measureGrowth } from './bench/growth.ts';
import { say } from './bench/measures.ts';
import { measureProviders, sayProviders } from './bench/providers.ts';
import { asJson, sayGrowth, saySideBySide, violationsOf } from './bench/report.ts';
import type { BenchResult } from './bench/report.ts';
import { FAULTS as ROUTED_FAULTS, measureRouted, sayRouted } from './bench/routed.ts';
import { FAULTS as L2_FAULTS, measureContestant } from './bench/side-by-side.ts';
import type { ContestantResult } from './bench/side-by-side.ts';
import { measureTimings, sayTimings } from './bench/timings.ts';
import { findKeepalived } from './lab/keepalived-stage.ts';

const PARTS = ['side-by-side', 'growth', 'timings', 'routed', 'providers'] as const;
type Part = (typeof PARTS)[number];

interface Options {
  readonly parts: readonly Part[];
  readonly runs: number;
  readonly only: string;
  readonly contestant: string;
  readonly provider: string;
  readonly json: string | undefined;
}

async function bench({ parts, runs, only, contestant, provider, json }: Options): Promise<number> {
  const bundle = await buildAgent('/run/leasehold-bench');
  const matches = ({ name }: { readonly name: string }): boolean => name.includes(only);
  const result: { -readonly [Key in keyof BenchResult]: BenchResult[Key] } = {
    runs,
    machine: `${cpus().length} cores, Node ${process.version}`,
    sideBySide: null,
    growth: null,
    timings: null,
    routed: null,
    providers: null,
  };
  if (parts.includes('side-by-side') && L2_FAULTS.some(matches)) {
    const installed = findKeepalived();
    if (installed === null) say('keepalived is not installed: only our agents are measured.');
    const contestants = findContestants(bundle, installed).filter(({ name }) => name.includes(contestant));
    const results: ContestantResult[] = [];
    for (const each of contestants) results.push(await measureContestant(each, { runs, only }));
    result.sideBySide = results;
  }
  if (parts.includes('growth') && only === '') result.growth = await measureGrowth();
  if (parts.includes('timings') && only === '') result.timings = await measureTimings(bundle);
  if (parts.includes('routed') && ROUTED_FAULTS.some(matches)) result.routed = await measureRouted(bundle, { runs, only });
  if (parts.includes('providers') && only === '') result.providers = await measureProviders(bundle, { runs, only: provider });

  say();
  if (result.sideBySide !== null) saySideBySide(result.sideBySide, runs);
  if (result.growth !== null) sayGrowth(result.growth);
  if (result.timings !== null) sayTimings(result.timings);
  if (result.routed !== null) sayRouted(result.routed);
  if (result.providers !== null) sayProviders(result.providers);
  if (json !== undefined) writeFileSync(json, asJson(result));
  return violationsOf(result).length === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  const values = readOptions(args, {
    part: { type: 'string' },
    runs: { type: 'string', default: '7' },
    only: { type: 'string', default: '' },
    contestant: { type: 'string', default: '' },
    provider: { type: 'string', default: '' },
    json: { type: 'string' },
  });
  const runs = positive('runs', values.runs);
  const json = writableFile('json', values.json);
  const parts = PARTS.filter((part) => values.part === undefined || part === values.part);
  if (parts.length === 0) misuse(`--part takes ${PARTS.join(', ')}, and not "${values.part ?? ''}".`);
  const faults = [...(parts.includes('side-by-side') ? L2_FAULTS : []), ...(parts.includes('routed') ? ROUTED_FAULTS : [])];
  if (values.only !== '' && !faults.some(({ name }) => name.includes(values.only))) misuse(`--only "${values.only}" matches no fault.`);
  if (!findContestants('', findKeepalived()).some(({ name }) => name.includes(values.contestant)))
    misuse(`--contestant "${values.contestant}" matches nobody who can take part here.`);
  if (!ROUTED_PROVIDERS.some((name) => name.includes(values.provider))) misuse(`--provider "${values.provider}" matches no provider.`);
  if (!isInside()) {
    const namespaces = findNamespaces();
    if (namespaces.is === 'available') return await runInside(namespaces.unshare, fileURLToPath(import.meta.url), args);
    say(`Nothing can be measured here, because no network namespaces can be had: ${namespaces.why}`);
    return 1;
  }
  return await bench({ parts, runs, only: values.only, contestant: values.contestant, provider: values.provider, json });
}

await exitWith(await main());
