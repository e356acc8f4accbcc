/**
 * The settings table of the documentation, made from the schema.
 */
import { SCHEMA } from './schema.ts';
import type { SettingDefinition } from './schema.ts';

/** The table in Markdown, a row for each setting. */
export function settingsTable(): string {
  const rows = Object.entries<SettingDefinition<unknown>>(SCHEMA).map(([name, definition]) => {
    const { default: fallback, defaultDoc, isSecret, doc } = definition;
    const shown = defaultDoc ?? (fallback === null || fallback === '' ? '–' : `\`${fallback}\``);
    const names = isSecret === true ? `\`${name}\`, \`${name}_FILE\`` : `\`${name}\``;
    return `| ${names} | ${shown} | ${doc.replaceAll('|', '\\|')} |`;
  });
  return ['| variable | default | meaning |', '|---|---|---|', ...rows].join('\n');
}
