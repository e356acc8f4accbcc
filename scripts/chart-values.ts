/**
 * The table of the Helm chart's values, made from `values.yaml`: each value with its default and the comment above it.
 *
 * Guarantees: every value has a row. One without a comment is an error, unless it only groups others.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { load } from 'js-yaml';
import { at } from '../agent/json.ts';

const VALUES = fileURLToPath(new URL('../charts/leasehold/values.yaml', import.meta.url));

/** Markdown, without a line end behind the last row. */
export function valuesTable(text = readFileSync(VALUES, 'utf8')): string {
  const values = load(text);
  const rows: string[] = [];
  let comment: string[] = [];
  let group: string | null = null;
  for (const line of text.split('\n')) {
    const [, indent = '', remark, key] = /^( *)(?:# ?(.*)|([A-Za-z]+):.*)$/.exec(line) ?? [];
    if (remark !== undefined) comment.push(remark);
    else if (key === undefined) comment = [];
    else if (indent === '') {
      // A value whose default has parts is one value.
      group = comment.length === 0 ? key : null;
      if (group === null) rows.push(row([key], values, comment));
      comment = [];
    } else if (group !== null) {
      if (comment.length === 0) throw new Error(`charts/leasehold/values.yaml says nothing of ${group}.${key}`);
      rows.push(row([group, key], values, comment));
      comment = [];
    }
  }
  return ['| value | default | meaning |', '|---|---|---|', ...rows].join('\n');
}

function row(path: readonly string[], values: unknown, comment: readonly string[]): string {
  const value = at(values, ...path);
  const isNothing = value === null || value === '';
  return `| \`${path.join('.')}\` | ${isNothing ? '–' : `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``} | ${comment.join(' ').replaceAll('|', '\\|')} |`;
}
