/**
 * Builds `dist/`: one minified bundle, and beside it the native module that a bundle cannot hold.
 *
 * Guarantees: `dist/` alone, copied anywhere, is the whole agent. The same sources make the same bytes, dated
 * SOURCE_DATE_EPOCH where that is set. The native module is the one for glibc, of the architecture this runs on unless
 * another is named. Arguments: `--architecture amd64|arm64` (or `x64`, as Node says) and `--packages FOLDER`, the
 * `node_modules` that holds the native module where that is not this repository's.
 */
import { build as bundle } from 'esbuild';
import type { Plugin } from 'esbuild';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { misuse, readOptions } from './arguments.ts';

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

/** What an image index calls an architecture, and what Node and npm call it. */
const ARCHITECTURES: Readonly<Record<string, string>> = { amd64: 'x64', x64: 'x64', arm64: 'arm64' };

export interface BuildOptions {
  /** Made anew. */
  readonly folder?: string;
  readonly entry?: string;
  /** As an image index or Node names it; by default the one this runs on. */
  readonly architecture?: string;
  /** The `node_modules` that holds the native module for that architecture. */
  readonly packages?: string;
  /** When the files claim to be from, in seconds since 1970; by default from now. */
  readonly dateS?: number | undefined;
}

/** The native module for an architecture. Throws with how to get it where it is not installed. */
export function nativeModule(architecture: string = process.arch, packages = join(ROOT, 'node_modules')): string {
  const cpu = ARCHITECTURES[architecture];
  if (cpu === undefined)
    throw new Error(`There is no build for the architecture "${architecture}", only for ${Object.keys(ARCHITECTURES).join(', ')}.`);
  const native = join(packages, '@koromix', `koffi-linux-${cpu}`, `linux_${cpu}`, 'koffi.node');
  if (existsSync(native)) return native;
  throw new Error(
    `The native module for ${architecture} is not installed: there is no ${native}. In a folder that holds copies of package.json, ` +
      `package-lock.json and .npmrc run "npm ci --omit=dev --os=linux --cpu=${cpu}", and name its node_modules with --packages.`,
  );
}

/** Builds the agent and returns the path of the bundle. */
export async function build(options: BuildOptions = {}): Promise<string> {
  const { folder = join(ROOT, 'dist'), entry = join(ROOT, 'agent', 'main.ts'), architecture, packages, dateS } = options;
  const native = nativeModule(architecture, packages);
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
  copyFileSync(native, join(folder, 'koffi.node'));
  if (dateS !== undefined) for (const file of readdirSync(folder)) utimesSync(join(folder, file), dateS, dateS);
  return outfile;
}

/** Builds into a folder, from another entry point if that is wanted, for this machine, and returns the path of the bundle. */
export async function buildAgent(folder = join(ROOT, 'dist'), entry = join(ROOT, 'agent', 'main.ts')): Promise<string> {
  return await build({ folder, entry });
}

/** The date that reproducible builds are given, or undefined where there is none. Anything but whole seconds ends the command. */
function dateFrom(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  return /^\d+$/.test(text) ? Number(text) : misuse(`SOURCE_DATE_EPOCH is whole seconds since 1970, and not "${text}".`);
}

if (import.meta.main) {
  const { architecture, packages } = readOptions(process.argv.slice(2), {
    architecture: { type: 'string', default: process.arch },
    packages: { type: 'string', default: join(ROOT, 'node_modules') },
  });
  try {
    nativeModule(architecture, packages);
  } catch (error) {
    misuse((error as Error).message);
  }
  await build({ architecture, packages, dateS: dateFrom(process.env['SOURCE_DATE_EPOCH']) });
}
