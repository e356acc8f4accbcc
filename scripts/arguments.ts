/**
 * What people write behind a command of this repository, read strictly.
 *
 * Guarantees: what is not known, or makes no sense, ends the command with one sentence and the exit code 64, before anything
 * has been done: a proof that did nothing must not look like one that passed.
 */
import { closeSync, openSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { ParseArgsConfig } from 'node:util';

const MISUSED = 64;

/** Ends the command with a sentence about what was wrong with its arguments. */
export function misuse(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(MISUSED);
}

/** The values of named options, as `parseArgs` gives them. Ends the command when there is one that it does not know. */
export function readOptions<Options extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: Options,
): ReturnType<typeof parseArgs<{ args: string[]; options: Options }>>['values'] {
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    const known = Object.keys(options).map((name) => `--${name}`);
    return misuse(`${(error as Error).message.split('. ')[0] ?? ''}. There are ${known.join(', ')}.`);
  }
}

/** A number above 0, whole unless fractions are allowed. */
export function positive(option: string, text: string, kind: 'whole' | 'fraction' = 'whole'): number {
  const value = Number(text);
  const isFine = /^\d+(\.\d+)?$/.test(text) && value > 0 && (kind === 'fraction' || Number.isSafeInteger(value));
  return isFine ? value : misuse(`--${option} takes a ${kind === 'whole' ? 'whole number' : 'number'} above 0, and not "${text}".`);
}

/** A file that can be written to. What is under /run would be gone with the namespaces that labs run in. */
export function writableFile(option: string, path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  if (/^\/(var\/)?run\//.test(path)) return misuse(`--${option}=${path} would be gone at the end: name a file outside /run.`);
  try {
    closeSync(openSync(path, 'a'));
    return path;
  } catch (error) {
    return misuse(`--${option}=${path} cannot be written: ${(error as Error).message}`);
  }
}
