/**
 * Writes the settings table of the README from the schema, or with `--check` says whether it is current.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { settingsTable } from '../agent/config/documentation.ts';

const README = fileURLToPath(new URL('../README.md', import.meta.url));
const BEGIN = '<!-- settings: made by npm run docs -->';
const END = '<!-- end of settings -->';

/** The README with the table as the schema gives it. Throws where the place for it is missing. */
export function withCurrentTable(readme: string): string {
  const [before, rest] = readme.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`README.md has no place for the settings: ${BEGIN} … ${END}`);
  return `${before}${BEGIN}\n${settingsTable()}\n${END}${after}`;
}

if (import.meta.main) {
  const readme = readFileSync(README, 'utf8');
  const current = withCurrentTable(readme);
  if (readme === current) {
    console.log('The settings table in README.md is current.');
  } else if (process.argv.includes('--check')) {
    console.error('The settings table in README.md is not current: run npm run docs.');
    process.exit(1);
  } else {
    writeFileSync(README, current);
    console.log('The settings table in README.md was written.');
  }
}
