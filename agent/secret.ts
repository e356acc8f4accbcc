/**
 * A credential that does not leak by being printed.
 *
 * Guarantees: turned into text, JSON or a log line, a Secret shows that it is one and nothing else; only `reveal` gives
 * the value, which is trimmed. One that lives in a file can be read again, because mounted Secrets are rotated.
 */

const MASK = '[secret]';

export class Secret {
  readonly #read: () => string;
  #value: string;
  readonly #everHeld = new Set<string>();

  /** Reads the value once; `read` is called again by `reload` only. Throws what `read` throws. */
  constructor(read: () => string) {
    this.#read = read;
    this.#value = read().trim();
    this.#everHeld.add(this.#value);
  }

  /** Every value that this secret has had: what was rotated away may still be good elsewhere. */
  get everHeld(): readonly string[] {
    return [...this.#everHeld];
  }

  reveal(): string {
    return this.#value;
  }

  /** Reads the value again and tells whether it has changed. A value that cannot be read now stays as it was. */
  reload(): boolean {
    const before = this.#value;
    try {
      this.#value = this.#read().trim();
      this.#everHeld.add(this.#value);
    } catch {
      return false;
    }
    return this.#value !== before;
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
