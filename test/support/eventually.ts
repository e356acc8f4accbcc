/**
 * Waiting for a condition instead of for a time.
 */

/** Resolves as soon as the condition holds. Throws with what was waited for when it does not for very long. */
export async function eventually(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const giveUpAtMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > giveUpAtMs) throw new Error(`waited ${timeoutMs / 1_000}s in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
