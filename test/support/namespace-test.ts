/**
 * For tests that need network namespaces.
 */

/** Set to the reason where namespaces cannot be had. */
export const NO_NAMESPACES = 'LEASEHOLD_NO_NAMESPACES';

/** Options for a test that needs namespaces: it is skipped, with the reason, where there are none. */
export function needsNamespaces(): { readonly skip: string | false } {
  const why = process.env[NO_NAMESPACES];
  const isAlone = process.env['LEASEHOLD_INSIDE_NAMESPACES'] === undefined;
  return { skip: why === undefined && !isAlone ? false : `no network namespaces: ${why ?? 'run it with npm test'}` };
}
