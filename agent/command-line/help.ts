/**
 * The help, made from the table of commands.
 *
 * Guarantees: no line is wider than the terminal, down to a width at which nothing can be read any more.
 */
import { wrap } from './text.ts';
import { COMMANDS, GLOBAL_OPTIONS } from './table.ts';
import type { CommandSpec, OptionSpec } from './table.ts';

const INTRODUCTION =
  'Leasehold keeps failover IP addresses on exactly one healthy Kubernetes node. One agent runs on each node; the one that holds the Lease has the addresses.';

/** The help for everything. */
export function generalHelp(width: number): string {
  return [
    ...wrap(INTRODUCTION, width),
    '',
    'Usage: leasehold [COMMAND] [OPTION…]',
    '',
    'Commands:',
    ...pairs(
      COMMANDS.map(({ name, summary }) => [name, summary]),
      width,
    ),
    '',
    'Options:',
    ...pairs(
      GLOBAL_OPTIONS.map((option) => [optionText(option), option.doc]),
      width,
    ),
    '',
    'Start here:',
    ...example(['leasehold check', 'See whether an agent could work here, before the first one runs.'], width),
    ...example(['leasehold status', 'See who holds the addresses now, and who could take over.'], width),
    '',
  ].join('\n');
}

/** The help for one command. */
export function commandHelp({ name, summary, operand, description, options, examples, exits }: CommandSpec, width: number): string {
  const usage = [
    'leasehold',
    name,
    ...(operand === undefined ? [] : [operand.choices.join('|')]),
    ...(options.length > 1 ? ['[OPTION…]'] : []),
  ];
  return [
    ...wrap(`${summary}.`, width),
    '',
    `Usage: ${usage.join(' ')}`,
    ...description.flatMap((paragraph) => ['', ...wrap(paragraph, width)]),
    '',
    'Options:',
    ...pairs(
      options.map((option) => [optionText(option), option.doc]),
      width,
    ),
    '',
    'Examples:',
    ...examples.flatMap((each) => example(each, width)),
    '',
    'Exit codes:',
    ...pairs(
      exits.map(([code, meaning]) => [String(code), meaning]),
      width,
    ),
    '',
  ].join('\n');
}

function optionText({ name, short, argument }: OptionSpec): string {
  const value = argument === undefined ? '' : ` ${argument.choices?.join('|') ?? argument.name}`;
  return `${short === undefined ? '    ' : `-${short}, `}--${name}${value}`;
}

/** Examples are there to be copied, so they are never broken. */
function example([command, doc]: readonly [string, string], width: number): string[] {
  return [`  ${command}`, ...wrap(doc, width - 6).map((line) => `      ${line}`)];
}

/** Names with what they mean beside them, or below them where there is too little room. */
function pairs(rows: readonly (readonly [name: string, doc: string])[], width: number): string[] {
  const widest = Math.max(...rows.map(([name]) => name.length));
  if (width - widest - 4 < 24) return rows.flatMap(([name, doc]) => [`  ${name}`, ...wrap(doc, width - 6).map((line) => `      ${line}`)]);
  return rows.flatMap(([name, doc]) =>
    wrap(doc, width - widest - 4).map((line, index) => `  ${(index === 0 ? name : '').padEnd(widest)}  ${line}`),
  );
}
