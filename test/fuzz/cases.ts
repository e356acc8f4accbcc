/**
 * How many cases each fuzzing test tries.
 *
 * Within `npm test` it is a fixed number, small enough that all of them take a few seconds; `npm run fuzz` multiplies it.
 * A case that fails is shrunk and printed with the seed and the path that replay it.
 */
import type { TestContext } from 'node:test';
import fc from 'fast-check';

/** Set by `npm run fuzz`: by how much the number of cases is multiplied. */
export const FUZZ_FACTOR = 'LEASEHOLD_FUZZ_FACTOR';

/** Runs a property and notes how many cases were tried. Throws with the smallest case that fails. */
export async function fuzz<Case>(
  context: TestContext,
  property: fc.IAsyncProperty<Case> | fc.IProperty<Case>,
  cases: number,
): Promise<void> {
  const factor = Number(process.env[FUZZ_FACTOR] ?? '1');
  const details = await fc.check(property as fc.IAsyncProperty<Case>, { numRuns: cases * factor });
  context.diagnostic(`${details.numRuns} cases`);
  if (details.failed) throw new Error(fc.defaultReportMessage(details), { cause: details.errorInstance });
}
