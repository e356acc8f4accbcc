/**
 * The log: one JSON object a line on standard output, or lines for people.
 *
 * Guarantees: writing never blocks the loop; when nobody reads, at most a bounded amount is kept and what is dropped is
 * counted. Whatever is written, in any field, the secrets it is told of are blotted out.
 */
import pino from 'pino';
import type { Logger } from 'pino';
import pretty from 'pino-pretty';
import { blotOut } from '../secret.ts';

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
  /** Lets something be said and writes all that is still waiting, which waits for its reader. Nothing is logged after it. */
  readonly lastWords: (say: () => void) => void;
}

/** About ten thousand lines. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
const IN_FLIGHT_MS = 10;

export function createLog({ level, format, secrets, base, fd }: LogOptions): Log {
  const destination = pino.destination({ fd, sync: false, minLength: 0, maxLength: WAITING_BYTES_MAX });
  let dropped = 0;
  destination.on('drop', () => (dropped += 1));
  // Standard output may be closed by whoever reads it, or its disk be full: that is no reason to give up the address.
  let isBroken = false;
  destination.on('error', () => (isBroken = true));
  destination.on('write', () => (isBroken = false));
  // Only what it needs to write: given more, pino would wait at a fatal line until everything is written.
  const plain = { write: (line: string): void => void destination.write(line) };
  const forPeople = { destination, ignore: 'pid,hostname', translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l', hideObject: true };
  const stream = format === 'pretty' ? pretty(forPeople) : plain;
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
    lastWords: (say) => {
      // What another thread is writing at this very moment takes it microseconds, and comes first.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, IN_FLIGHT_MS);
      // From here on a line is written before the call that logs it returns.
      Object.assign(destination, { sync: true });
      say();
      // It would be tried again for ever.
      if (isBroken) return;
      try {
        destination.flushSync();
      } catch {
        // Nobody reads: there is nobody to tell either.
      }
    },
  };
}

/** An error's own fields may hold a whole request with its headers, so only these are shown. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return String(error);
  const { name, message, stack, cause } = error;
  return { type: name, message, stack, ...(cause instanceof Error ? { cause: `${cause.name}: ${cause.message}` } : {}) };
}
