/**
 * The soak: random faults to the same three agents for an hour, and what became of their memory and open files meanwhile.
 *
 * Only faults that leave the processes alive are done, because a new process has no past to look at. Open files hold
 * sockets, pipes and what is watched; timers cannot be counted from outside. Arguments: `--minutes N`, 60 by default, and
 * `--l2` for a shared segment instead of a provider that routes.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { positive, readOptions } from '../scripts/arguments.ts';
import { buildAgent } from '../scripts/build.ts';
import { monotonicMs } from '../test/support/monotonic.ts';
import { findNamespaces, isInside, runInside } from '../test/support/namespaces.ts';
import { findAssets } from './control-plane/assets.ts';
import type { Assets } from './control-plane/assets.ts';
import { ControlPlane } from './control-plane/control-plane.ts';
import type { Arrangement } from './lab/arrangements.ts';
import type { Expectation, Fault } from './lab/fault.ts';
import { FAULTS } from './lab/faults.ts';
import { Lab } from './lab/lab.ts';
import { endsWell } from './lab/verdict.ts';
import { exitWith } from '../scripts/exit.ts';

const FILES = '/run/leasehold-soak';
/** What a process takes in its first part says little: it still warms up. */
const WARM_UP_SHARE = 0.2;
/** A slope from less than this tells nothing. */
const SLOPE_HOURS_MIN = 0.25;

interface Options {
  readonly minutes: number;
  readonly arrangement: Arrangement;
}

interface Look {
  readonly atMs: number;
  readonly residentMb: number;
  readonly files: number;
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);

async function main(args: readonly string[]): Promise<number> {
  const values = readOptions(args, { minutes: { type: 'string', default: '60' }, l2: { type: 'boolean', default: false } });
  const options: Options = { minutes: positive('minutes', values.minutes, 'fraction'), arrangement: values.l2 ? 'l2' : 'routed' };
  const assets = findAssets(process.env);
  if (isInside() && assets.is === 'available') return await soak(options, assets);
  const namespaces = findNamespaces();
  const why = namespaces.is === 'unavailable' ? namespaces.why : assets.is === 'unavailable' ? assets.why : null;
  if (namespaces.is === 'available' && why === null) return await runInside(namespaces.unshare, fileURLToPath(import.meta.url), args);
  say(`Nothing was soaked: ${why}`);
  return 1;
}

async function soak({ minutes, arrangement }: Options, assets: Assets & { is: 'available' }): Promise<number> {
  const plane = await ControlPlane.start({ assets, folder: `${FILES}/control-plane` });
  const lab = new Lab({ bundle: await buildAgent(`${FILES}/dist`), plane, arrangement });
  const choices = FAULTS.flatMap((fault) => {
    const expected = fault.expected[arrangement];
    return expected === undefined || 'cannot' in fault || fault.restarts === true || fault.leavesMarks === true
      ? []
      : [{ fault, expected }];
  });
  /** By process, because a node's agent is replaced after a fault that did not end as expected. */
  const looks = new Map<number, { readonly node: string; readonly series: Look[] }>();
  const startedAtMs = monotonicMs();
  let [done, failed] = [0, 0];
  while (monotonicMs() - startedAtMs < minutes * 60_000) {
    const { fault, expected } = choices[Math.floor(Math.random() * choices.length)] as { fault: Fault; expected: Expectation };
    const trial = await lab.try(fault, expected);
    done += 1;
    if (!endsWell(trial)) failed += 1;
    const minute = ((monotonicMs() - startedAtMs) / 60_000).toFixed(1);
    say(`${minute.padStart(5)} min  ${endsWell(trial) ? 'ok  ' : 'FAIL'}  ${fault.name}`);
    for (const line of [...trial.problems, ...trial.log]) say(`             ${line}`);
    for (const { node, pid } of lab.processes()) {
      const known = looks.get(pid) ?? { node, series: [] };
      known.series.push(lookAt(pid));
      looks.set(pid, known);
    }
  }
  const running = lab.processes().map(({ pid }) => pid);
  await lab.close();
  await plane.close();
  say('');
  for (const [pid, { node, series }] of looks) say(`${node}${running.includes(pid) ? '' : ' (replaced)'}: ${shown(series)}`);
  say(
    `${done} faults in ${minutes} minutes, ${failed} did not end as expected; looked ${lab.samples} times, violations: ${lab.violations.length}`,
  );
  return failed === 0 && lab.violations.length === 0 ? 0 : 1;
}

function lookAt(pid: number): Look {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    atMs: monotonicMs(),
    residentMb: Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1_000,
    files: readdirSync(`/proc/${pid}/fd`).length,
  };
}

function shown(series: readonly Look[]): string {
  const settled = series.slice(Math.floor(series.length * WARM_UP_SHARE));
  const files = series.map((look) => look.files);
  const memory = settled.map((look) => look.residentMb);
  return (
    `memory ${Math.min(...memory).toFixed(0)}–${Math.max(...memory).toFixed(0)} MB, ${slopePerHour(settled)}; ` +
    `open files ${Math.min(...files)}–${Math.max(...files)}, ${files.at(-1) ?? 0} at the end`
  );
}

/** The slope of a straight line through the memory of a process, by least squares, in words. */
function slopePerHour(looks: readonly Look[]): string {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const hours = looks.map(({ atMs }) => atMs / 3_600_000);
  const [meanHours, meanMb] = [mean(hours), mean(looks.map(({ residentMb }) => residentMb))];
  const above = looks.reduce((sum, { residentMb }, index) => sum + ((hours[index] ?? 0) - meanHours) * (residentMb - meanMb), 0);
  const below = hours.reduce((sum, each) => sum + (each - meanHours) ** 2, 0);
  const isLongEnough = (hours.at(-1) ?? 0) - (hours[0] ?? 0) >= SLOPE_HOURS_MIN;
  return isLongEnough ? `${(above / below).toFixed(1)} MB an hour` : 'too short to tell a slope';
}

await exitWith(await main(process.argv.slice(2)));
