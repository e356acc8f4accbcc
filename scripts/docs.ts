/**
 * Writes what is made and not written: tables in the documentation, the alerts as the Prometheus operator reads them, the
 * dashboard. With `--check` it says instead whether all of it is current.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { settingsTable } from '../agent/config/documentation.ts';
import { metricsTable } from '../agent/report/documentation.ts';
import { valuesTable } from './chart-values.ts';
import { dashboard } from './dashboard.ts';
import { prometheusRule } from './prometheus-rule.ts';

/** What is made: a file, and what it should be, given what it is now. */
interface Made {
  readonly path: string;
  readonly current: (now: string) => string;
}

export const MADE: readonly Made[] = [
  { path: 'README.md', current: (now) => withCurrentTable(now) },
  { path: 'docs/metrics.md', current: (now) => withPart(now, 'docs/metrics.md', 'metrics', metricsTable()) },
  { path: 'charts/leasehold/README.md', current: (now) => withPart(now, 'charts/leasehold/README.md', 'values', valuesTable()) },
  { path: 'manifests/monitoring/alerts.yaml', current: () => prometheusRule(read('manifests/monitoring/rules.yaml')) },
  { path: 'manifests/monitoring/dashboard.json', current: () => `${JSON.stringify(dashboard(), null, 2)}\n` },
];

/** The README with the table as the schema gives it. Throws where the place for it is missing. */
export function withCurrentTable(readme: string): string {
  return withPart(readme, 'README.md', 'settings', settingsTable());
}

/** A page with one part of it as it should be. Throws where the place for it is missing. */
function withPart(page: string, path: string, part: string, made: string): string {
  const begin = `<!-- ${part}: made by npm run docs -->`;
  const end = `<!-- end of ${part} -->`;
  const [before, rest] = page.split(begin);
  const after = rest?.split(end)[1];
  if (before === undefined || after === undefined) throw new Error(`${path} has no place for the ${part}: ${begin} … ${end}`);
  return `${before}${begin}\n${made}\n${end}${after}`;
}

/** A file of the repository. */
export function read(path: string): string {
  return readFileSync(pathOf(path), 'utf8');
}

function pathOf(path: string): string {
  return fileURLToPath(new URL(`../${path}`, import.meta.url));
}

if (import.meta.main) {
  const isCheck = process.argv.includes('--check');
  for (const { path, current } of MADE) {
    const now = read(path);
    const made = current(now);
    if (now === made) {
      console.log(`${path} is current.`);
    } else if (isCheck) {
      console.error(`${path} is not current: run npm run docs.`);
      process.exitCode = 1;
    } else {
      writeFileSync(pathOf(path), made);
      console.log(`${path} was written.`);
    }
  }
}
