/**
 * Writes the tables of the documentation that come from elsewhere (the settings in README.md from the schema, the values in the
 * chart's README.md from its values.yaml), or with `--check` says whether they are current.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { settingsTable } from '../agent/config/documentation.ts';
import { valuesTable } from './chart-values.ts';

/** A place in a page that is written by this, and by what. */
interface Table {
  readonly page: string;
  readonly begin: string;
  readonly end: string;
  readonly make: () => string;
}

const TABLES: readonly Table[] = [
  { page: 'README.md', begin: '<!-- settings: made by npm run docs -->', end: '<!-- end of settings -->', make: settingsTable },
  {
    page: 'charts/leasehold/README.md',
    begin: '<!-- values: made by npm run docs -->',
    end: '<!-- end of values -->',
    make: () => valuesTable(),
  },
];

/** The README with the table as the schema gives it. Throws where the place for it is missing. */
export function withCurrentTable(readme: string): string {
  const [settings] = TABLES;
  if (settings === undefined) throw new Error('no table is made');
  return withTable(readme, settings);
}

function withTable(text: string, { page, begin, end, make }: Table): string {
  const [before, rest] = text.split(begin);
  const after = rest?.split(end)[1];
  if (before === undefined || after === undefined) throw new Error(`${page} has no place for the table: ${begin} … ${end}`);
  return `${before}${begin}\n${make()}\n${end}${after}`;
}

if (import.meta.main) {
  for (const table of TABLES) {
    const path = fileURLToPath(new URL(`../${table.page}`, import.meta.url));
    const text = readFileSync(path, 'utf8');
    const current = withTable(text, table);
    if (text === current) {
      console.log(`The table in ${table.page} is current.`);
    } else if (process.argv.includes('--check')) {
      console.error(`The table in ${table.page} is not current: run npm run docs.`);
      process.exitCode = 1;
    } else {
      writeFileSync(path, current);
      console.log(`The table in ${table.page} was written.`);
    }
  }
}
