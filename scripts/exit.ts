/**
 * Ending a command with everything said.
 *
 * A program that was started on the same output and killed may leave it so that writing does not wait (O_NONBLOCK), and
 * `process.exit` would then cut off what is still on its way: the last line, of all, by which others count.
 */

/** Ends this process once what it has written has been handed over. */
export async function exitWith(code: number): Promise<never> {
  await new Promise<void>((resolve) => process.stdout.write('', () => resolve()));
  process.exit(code);
}
