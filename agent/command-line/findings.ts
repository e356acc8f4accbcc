/**
 * What the checks have found, for people and for programs.
 *
 * Guarantees: one line for each finding, with a mark in words as well as in colour, and below what is not as it should be what to
 * do about it.
 */
import type { Finding, FindingLevel } from '../finding.ts';
import { plain, wrap } from './text.ts';
import type { Colour, Paint } from './text.ts';

const COLOURS: { readonly [Level in FindingLevel]: Colour } = { ok: 'green', warn: 'yellow', fail: 'red' };

export function findingsText(findings: readonly Finding[], { width, paint }: { readonly width: number; readonly paint: Paint }): string {
  const widest = Math.max(...findings.map(({ name }) => name.length));
  // Beside its name a message needs room to be read; where there is none it goes below.
  const isBeside = width - widest - 8 >= 40;
  const indent = ' '.repeat(isBeside ? widest + 8 : 6);
  const lines = findings.flatMap(({ name, level, message, advice }) => {
    const mark = paint(COLOURS[level], level.padEnd(4));
    const text = wrap(plain(message), width - indent.length);
    const body = isBeside
      ? text.map((line, index) => (index === 0 ? `${mark}  ${name.padEnd(widest)}  ${line}` : indent + line))
      : [`${mark}  ${name}`, ...text.map((line) => indent + line)];
    const todo = advice === null || level === 'ok' ? [] : wrap(`→ ${plain(advice)}`, width - indent.length);
    return [...body, ...todo.map((line, index) => indent + (index === 0 ? '' : '  ') + line)];
  });
  return `${[...lines, '', summary(findings, paint)].join('\n')}\n`;
}

function summary(findings: readonly Finding[], paint: Paint): string {
  const count = (level: FindingLevel): number => findings.filter((each) => each.level === level).length;
  const [failed, warned] = [count('fail'), count('warn')];
  const parts = [
    `${count('ok')} ok`,
    ...(warned > 0 ? [`${warned} ${warned === 1 ? 'warning' : 'warnings'}`] : []),
    ...(failed > 0 ? [`${failed} ${failed === 1 ? 'failure' : 'failures'}`] : []),
  ];
  const verdict = failed > 0 ? 'An agent could not do its work like this.' : 'An agent could do its work here.';
  return paint('bold', `${parts.join(', ')}. ${verdict}`);
}
