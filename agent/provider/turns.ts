/**
 * One after the other for the same thing, side by side for different ones.
 *
 * Guarantees: whoever comes later begins once everybody before it has ended, however that was.
 */
export class Turns<Key> {
  readonly #last = new Map<Key, Promise<void>>();

  /** Does some work in its turn. Throws what the work throws. */
  async run(key: Key, work: () => Promise<void>): Promise<void> {
    const mine = (this.#last.get(key) ?? Promise.resolve()).then(work, work);
    this.#last.set(key, mine);
    try {
      await mine;
    } finally {
      if (this.#last.get(key) === mine) this.#last.delete(key);
    }
  }
}
