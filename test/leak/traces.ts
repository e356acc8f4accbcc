/**
 * Searches texts for secrets, in every form in which one may come out, whole or in part.
 *
 * Knows nothing of how the agent takes secrets out of texts, so that what is overlooked there is not overlooked here.
 */

/** A text that came out somewhere. */
export interface Harvested {
  /** Where it came out. */
  readonly from: string;
  readonly text: string;
}

/** A secret that was planted, by what it is. */
export type Planted = Readonly<Record<string, string>>;

export interface Trace {
  readonly secret: string;
  readonly form: string;
  readonly from: string;
  /** What is around it. */
  readonly excerpt: string;
}

/** A piece this long of a secret is too much. */
const PIECE = 16;
const AROUND = 60;

/** The forms of one secret. Each is searched for in pieces, so where its ends are changed by what is beside it matters little. */
function formsOf(secret: string): Record<string, string> {
  const base64 = [0, 1, 2].map((place) => Buffer.concat([Buffer.alloc(place, 'x'), Buffer.from(secret)]).toString('base64'));
  const escaped = JSON.stringify(secret).slice(1, -1);
  const uri = encodeURIComponent(secret);
  return {
    plain: secret,
    'JSON-escaped': escaped,
    'JSON-escaped twice': JSON.stringify(escaped).slice(1, -1),
    'URL-encoded': uri,
    'URL-encoded, small': uri.replace(/%../g, (escape) => escape.toLowerCase()),
    'form-encoded': new URLSearchParams({ s: secret }).toString().slice(2),
    'base64 at 0': base64[0] ?? '',
    'base64 at 1': (base64[1] ?? '').slice(2),
    'base64 at 2': (base64[2] ?? '').slice(3),
    base64url: Buffer.from(secret).toString('base64url'),
    hexadecimal: Buffer.from(secret).toString('hex'),
    'base64 of base64': Buffer.from(base64[0] ?? '').toString('base64'),
    'URL-encoded base64': encodeURIComponent(base64[0] ?? ''),
  };
}

/** Every place where a piece of a secret shows, once for each secret, form and source. */
export function tracesOf(planted: Planted, harvest: readonly Harvested[]): Trace[] {
  const pieces = new Map<string, { secret: string; form: string }>();
  let shortest = PIECE;
  for (const [secret, value] of Object.entries(planted)) {
    for (const [form, text] of Object.entries(formsOf(value))) {
      const length = Math.min(PIECE, text.length);
      shortest = Math.min(shortest, length);
      for (let at = 0; at + length <= text.length; at += 1) pieces.set(text.slice(at, at + length), { secret, form });
    }
  }
  return harvest.flatMap((each) => tracesIn(each, pieces, shortest));
}

function tracesIn({ from, text }: Harvested, pieces: ReadonlyMap<string, { secret: string; form: string }>, shortest: number): Trace[] {
  const found = new Map<string, Trace>();
  for (let at = 0; at + shortest <= text.length; at += 1) {
    for (let length = shortest; length <= PIECE; length += 1) {
      const piece = pieces.get(text.slice(at, at + length));
      if (piece === undefined) continue;
      const key = `${piece.secret} ${piece.form}`;
      if (!found.has(key)) found.set(key, { ...piece, from, excerpt: text.slice(Math.max(0, at - AROUND), at + PIECE + AROUND) });
    }
  }
  return [...found.values()];
}

/** What was found, for people. */
export function describeTraces(traces: readonly Trace[]): string {
  return traces.map(({ secret, form, from, excerpt }) => `${secret} (${form}) came out at ${from}: …${excerpt}…`).join('\n');
}
