/**
 * The log: one JSON object a line on standard output, or lines for people.
 *
 * Guarantees: writing never blocks the loop; when nobody reads, at most a bounded amount is kept and what is dropped is
 * counted. Whatever is written, in any field, the secrets it is told of are blotted out.
 */
import pino from 'pino';
import type { Logger } from 'pino';
import pretty from 'pino-pretty';

export interface LogOptions {
  readonly level: string;
  readonly format: 'json' | 'pretty';
  /** The values of all secrets, asked anew for each line because they can change. */
  readonly secrets: () => readonly string[];
  /** Fields of every line. */
  readonly base: Readonly<Record<string, string>>;
  readonly fd: number;
}

export interface Log {
  readonly logger: Logger;
  /** How many lines were dropped because nobody read them. */
  readonly dropped: () => number;
  /** Writes what is still waiting, blocking. Only for the last words of a process. */
  readonly flush: () => void;
}

/** About ten thousand lines. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
const BLOT = '[secret]';
/** A shorter value would blot out half of an innocent line. */
const SECRET_LENGTH_MIN = 6;

export function createLog({ level, format, secrets, base, fd }: LogOptions): Log {
  const destination = pino.destination({ fd, sync: false, minLength: 0, maxLength: WAITING_BYTES_MAX });
  let dropped = 0;
  destination.on('drop', () => (dropped += 1));
  // Standard output may be closed by whoever reads it: that is no reason to give up the address.
  destination.on('error', () => undefined);
  const stream = format === 'pretty' ? pretty({ destination, ignore: 'pid,hostname', messageFormat: '{msg}' }) : destination;
  const logger = pino(
    {
      level,
      base,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
      hooks: { streamWrite: (line) => blotOut(line, secrets()) },
    },
    stream,
  );
  return {
    logger,
    dropped: () => dropped,
    flush: () => {
      try {
        destination.flushSync();
      } catch {
        // Nobody reads: there is nobody to tell either.
      }
    },
  };
}

/** Replaces every secret in a text, also in the form it takes inside JSON or a URL. */
export function blotOut(line: string, secrets: readonly string[]): string {
  let clean = line;
  for (const secret of secrets) {
    if (secret.length < SECRET_LENGTH_MIN) continue;
    for (const form of new Set([secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)]))
      clean = clean.replaceAll(form, BLOT);
  }
  return clean;
}

/** An error's own fields may hold a whole request with its headers, so only these are shown. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return String(error);
  const { name, message, stack, cause } = error;
  return { type: name, message, stack, ...(cause instanceof Error ? { cause: `${cause.name}: ${cause.message}` } : {}) };
}
