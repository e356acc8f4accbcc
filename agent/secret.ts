/**
 * A credential that does not leak by being printed.
 *
 * Guarantees: turned into text, JSON or a log line, a Secret shows that it is one and nothing else; only `reveal` gives
 * the value, which is trimmed. One that lives in a file can be read again, because mounted Secrets are rotated. What was obtained
 * with one, such as an access token, can be remembered with it, so that it is kept secret like it.
 */

const MASK = '[secret]';
/** A shorter value would blot out half of an innocent line. */
const LENGTH_MIN = 6;
/** Of a secret of several lines, such as a key in PEM, each line this long gives part of it away. */
const LINE_LENGTH_MIN = 16;
/** Where a value stands inside what is encoded as base64, its own part of that looks different by its place. */
const BASE64_PLACES = [0, 1, 2] as const;
/** What stands before or after it changes so many characters of its base64 at the most. */
const BASE64_EDGE = 2;
const REMEMBERED_MAX = 256;
/** Of what was obtained with a secret so much is remembered: what is older has ended by itself, as a rule. */
const OBTAINED_MAX = 32;
/** A token that is replaced at each use has a great many values in a year. */
const HELD_MAX = 32;
/** So much of the beginning gives a secret away, or all of a shorter one. */
const BEGINNING_LENGTH = 12;

/** The forms of each secret, made once. */
const formsOf = new Map<string, readonly string[]>();

interface Forms {
  /** The longest come first, so that no part of one stays behind. */
  readonly whole: readonly string[];
  readonly byBeginning: ReadonlyMap<string, readonly string[]>;
}

/**
 * Replaces every secret in a text, also in the forms it takes inside JSON, a URL, a form, base64, or hexadecimal digits, and
 * each line of one that has several.
 */
export function blotOut(text: string, secrets: readonly string[]): string {
  const { whole, byBeginning } = formsOfAll(secrets);
  let clean = text;
  for (const form of whole) clean = clean.replaceAll(form, MASK);
  // Only then: what one begins with may be the beginning of another, whose rest would not be recognised any more.
  for (const [beginning, forms] of byBeginning) clean = withoutBeginning(clean, beginning, forms);
  return clean;
}

/** What was asked for last, as one line of the log after the other asks for the same. */
let latest: { readonly secrets: readonly string[]; readonly forms: Forms } = { secrets: [], forms: { whole: [], byBeginning: new Map() } };

/**
 * The forms of all secrets together. Tokens of one kind begin alike, and what begins like one of them may go on like another; and one
 * may be a part of another.
 */
function formsOfAll(secrets: readonly string[]): Forms {
  const isSame = secrets.length === latest.secrets.length && secrets.every((secret, index) => secret === latest.secrets[index]);
  if (!isSame) {
    const whole = [...new Set(secrets.flatMap(rememberedForms))].sort((a, b) => b.length - a.length);
    latest = { secrets: [...secrets], forms: { whole, byBeginning: Map.groupBy(whole, (form) => form.slice(0, BEGINNING_LENGTH)) } };
  }
  return latest.forms;
}

/** Whoever cuts a sentence short may cut a secret in two: what begins like one is blotted out as far as it goes on like it. */
function withoutBeginning(text: string, beginning: string, forms: readonly string[]): string {
  let clean = '';
  let from = 0;
  for (let at = text.indexOf(beginning); at !== -1; at = text.indexOf(beginning, from)) {
    clean += text.slice(from, at) + MASK;
    from = at + Math.max(...forms.map((form) => commonLength(text, at, form)));
  }
  return from === 0 ? text : clean + text.slice(from);
}

/** For how many characters a text goes on like a form from a place on. */
function commonLength(text: string, at: number, form: string): number {
  let length = 0;
  while (length < form.length && text[at + length] === form[length]) length += 1;
  return length;
}

function rememberedForms(secret: string): readonly string[] {
  const known = formsOf.get(secret);
  if (known !== undefined) return known;
  if (formsOf.size >= REMEMBERED_MAX) formsOf.clear();
  const forms = allForms(secret);
  formsOf.set(secret, forms);
  return forms;
}

function allForms(secret: string): readonly string[] {
  if (secret.length < LENGTH_MIN) return [];
  const lines = secret.includes('\n')
    ? secret.split(/\r?\n/).filter((line) => line.length >= LINE_LENGTH_MIN && !line.startsWith('-----'))
    : [];
  const forms = [secret, ...lines].flatMap((each) => [
    each,
    JSON.stringify(each).slice(1, -1),
    ...urlForms(each),
    ...base64Forms(each),
    Buffer.from(each).toString('hex'),
  ]);
  return [...new Set(forms)].filter((form) => form.length >= LENGTH_MIN);
}

function urlForms(text: string): readonly string[] {
  const encoded = encodeURIComponent(text);
  const form = new URLSearchParams({ '': text }).toString().slice(1);
  // The digits of an escape may be written small, too (RFC 3986, section 6.2.2.1).
  return [encoded, form].flatMap((each) => [each, each.replace(/%[0-9A-F]{2}/g, (escape) => escape.toLowerCase())]);
}

function base64Forms(text: string): readonly string[] {
  return BASE64_PLACES.flatMap((place) => {
    const encoded = Buffer.from('\0'.repeat(place) + text)
      .toString('base64')
      .replace(/=+$/, '');
    const inner = encoded.slice(place === 0 ? 0 : place + 1);
    const whole = place === 0 ? [inner] : [];
    const each = [...whole, inner.slice(0, -BASE64_EDGE)].filter((form) => form.length >= LENGTH_MIN * 2 || form === encoded);
    return each.flatMap((form) => [form, form.replaceAll('+', '-').replaceAll('/', '_')]);
  });
}

export class Secret {
  readonly #read: () => string;
  #value: string;
  readonly #everHeld = new Set<string>();
  readonly #obtained: string[] = [];

  /** Reads the value once; `read` is called again by `reload` only. Throws what `read` throws. */
  constructor(read: () => string) {
    this.#read = read;
    this.#value = read().trim();
    this.#everHeld.add(this.#value);
  }

  /** The latest values that this secret has had, and the latest that were obtained with it: what was rotated away may still be good elsewhere. */
  get everHeld(): readonly string[] {
    return [...this.#everHeld, ...this.#obtained];
  }

  /** Remembers a value that was obtained with this one and has to be kept secret, too. Of very many only the latest. */
  remember(obtained: string): void {
    if (this.#obtained.includes(obtained) || this.#everHeld.has(obtained)) return;
    this.#obtained.push(obtained);
    if (this.#obtained.length > OBTAINED_MAX) this.#obtained.shift();
  }

  #hold(value: string): void {
    // The latest last, one that comes back too.
    this.#everHeld.delete(value);
    this.#everHeld.add(value);
    const [oldest] = this.#everHeld;
    if (oldest !== undefined && this.#everHeld.size > HELD_MAX) this.#everHeld.delete(oldest);
  }

  reveal(): string {
    return this.#value;
  }

  /** Reads the value again and tells whether it has changed. A value that cannot be read now stays as it was. */
  reload(): boolean {
    const before = this.#value;
    try {
      this.#value = this.#read().trim();
      this.#hold(this.#value);
    } catch {
      return false;
    }
    return this.#value !== before;
  }

  /**
   * Whether there is another value than the one that was refused, read again where that is the present one. Of several requests that
   * were refused together the first has it read again, and the others may use it, too.
   */
  isReplaced(refused: string): boolean {
    if (this.#value === refused) this.reload();
    return this.#value !== refused;
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return MASK;
  }
}
