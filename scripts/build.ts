/**
 * Builds `dist/`: one minified bundle, and beside it the native module that a bundle cannot hold.
 *
 * Guarantees: `dist/` alone, copied anywhere, is the whole agent. The native module is the one for the architecture this
 * runs on, for glibc.
 */
import { build as bundle } from 'esbuild';
import type { Plugin } from 'esbuild';
import { chmodSync, copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Koffi looks for its native module in a package folder; in `dist/` it lies beside the bundle. */
const koffiBesideTheBundle: Plugin = {
  name: 'koffi-beside-the-bundle',
  setup(build) {
    build.onResolve({ filter: /^koffi$/ }, () => ({ path: 'koffi', namespace: 'beside' }));
    build.onLoad({ filter: /^koffi$/, namespace: 'beside' }, () => ({
      contents: "import { createRequire } from 'node:module'; export default createRequire(import.meta.url)('./koffi.node');",
      resolveDir: ROOT,
    }));
  },
};

/**
 * Parts of the Kubernetes client that only its generated API needs, which the agent does not use: all models of all
 * resources and another HTTP client. Left out, they save some 20 MB of memory. Whoever calls them after all is told so.
 */
const withoutTheGeneratedClient: Plugin = {
  name: 'without-the-generated-client',
  setup(build) {
    const leftOut = { namespace: 'left-out' };
    build.onResolve({ filter: /^undici$/ }, ({ path }) => ({ path, ...leftOut }));
    build.onResolve({ filter: /gen\/index\.js$/ }, ({ path, importer }) =>
      importer.includes('client-node') ? { path, ...leftOut } : undefined,
    );
    build.onLoad({ filter: /.*/, ...leftOut }, ({ path }) => ({
      contents: `module.exports = new Proxy({}, { get: () => function () { throw new Error('${path} is left out of the bundle'); } });`,
    }));
  },
};

/** Builds into a folder, from another entry point if that is wanted, and returns the path of the bundle. */
export async function buildAgent(folder = join(ROOT, 'dist'), entry = join(ROOT, 'agent', 'main.ts')): Promise<string> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const outfile = join(folder, 'leasehold.mjs');
  await bundle({
    entryPoints: [entry],
    outfile,
    bundle: true,
    minify: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    logLevel: 'warning',
    legalComments: 'none',
    // Some packages are CommonJS and call require for Node's own modules.
    // The first line is the shell's: the file runs by itself.
    banner: {
      js: "#!/usr/bin/env node\nimport { createRequire as leaseholdRequire } from 'node:module'; const require = leaseholdRequire(import.meta.url);",
    },
    plugins: [koffiBesideTheBundle, withoutTheGeneratedClient],
  });
  chmodSync(outfile, 0o755);
  const native = join(ROOT, 'node_modules', '@koromix', `koffi-linux-${process.arch}`, `linux_${process.arch}`, 'koffi.node');
  copyFileSync(native, join(folder, 'koffi.node'));
  return outfile;
}

if (import.meta.main) await buildAgent();
