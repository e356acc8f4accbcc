/**
 * Reading JSON that came from outside: nothing is believed about its shape.
 *
 * Guarantees: no function here throws; what is not there, or of another type, is undefined.
 */

const MESSAGE_LENGTH_MAX = 500;

/** Parses a text, or gives undefined where it is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** The value at a path of field names, through objects only. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let here = value;
  for (const name of path) {
    if (typeof here !== 'object' || here === null || Array.isArray(here) || !Object.hasOwn(here, name)) return undefined;
    here = (here as Readonly<Record<string, unknown>>)[name];
  }
  return here;
}

export function stringAt(value: unknown, ...path: readonly string[]): string | undefined {
  const found = at(value, ...path);
  return typeof found === 'string' ? found : undefined;
}

/** What somebody else says to people, cut to a length that a log line is not the worse for. */
export function messageAt(value: unknown, ...path: readonly string[]): string | undefined {
  return stringAt(value, ...path)?.slice(0, MESSAGE_LENGTH_MAX);
}

/** A whole number that JSON carries exactly. */
export function integerAt(value: unknown, ...path: readonly string[]): number | undefined {
  const found = at(value, ...path);
  return Number.isSafeInteger(found) ? (found as number) : undefined;
}

export function listAt(value: unknown, ...path: readonly string[]): readonly unknown[] | undefined {
  const found = at(value, ...path);
  return Array.isArray(found) ? (found as readonly unknown[]) : undefined;
}
