/**
 * Proves the image: builds it from the Dockerfile as it stands, looks into it, and runs the agent in it.
 *
 * The bases are composed here, in the layout of the distroless ones, so that no registry of images is needed. The agent runs
 * as a kubelet would run our pod, with the capabilities of the manifests, against a real kube-apiserver with the rights of
 * our Role. Needs root, buildah, crun, Debian's packages, and what the lab needs; where one is missing everything is skipped,
 * with the reason. `--twice` builds everything once more and compares. The last line counts.
 */
import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readOptions } from '../scripts/arguments.ts';
import { exitWith } from '../scripts/exit.ts';
import { findNamespaces, isInside, runInside } from '../test/support/namespaces.ts';
import { findAssets } from './control-plane/assets.ts';
import type { Assets } from './control-plane/assets.ts';
import { composeBases, emptyBase } from './image/bases.ts';
import { Buildah } from './image/buildah.ts';
import { Checks, fail } from './image/checks.ts';
import { whyNoContainers } from './image/container.ts';
import { ImageLayout } from './image/layout.ts';
import { runAgent } from './image/run-agent.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Any date will do, as long as it is the same. */
const DATE_S = 1_700_000_000;
/** Where an ELF file says which machine it is for, and what it says for arm64. */
const MACHINE_AT = 18;
const MACHINE_ARM64 = 183;
/** What an image could be entered by, or changed with, once somebody is inside. */
const FOREIGN_TOOLS = /(^|\/)(ba|da|z|k|a)?sh$|\/(busybox|apt|apt-get|dpkg|apk|npm|npx|corepack|perl|python3?|curl|wget)$/;

async function main(args: readonly string[]): Promise<number> {
  const { unpacked, twice } = readOptions(args, { unpacked: { type: 'string' }, twice: { type: 'boolean', default: false } });
  const assets = findAssets(process.env);
  if (unpacked !== undefined && assets.is === 'available' && isInside()) return await inside(unpacked, assets);

  const folder = mkdtempSync(join(tmpdir(), 'leasehold-image-'));
  try {
    const namespaces = findNamespaces();
    const buildah = new Buildah(folder);
    const whyNot =
      (process.getuid?.() === 0 ? null : 'building and running images takes root here') ??
      buildah.whyNot() ??
      whyNoContainers() ??
      (assets.is === 'unavailable' ? assets.why : null);
    if (whyNot !== null) return skip(whyNot);
    if (namespaces.is === 'unavailable') return skip(`no network namespaces can be had here: ${namespaces.why}`);

    const checks = new Checks();
    await build(checks, buildah, folder, twice);
    if (checks.failed > 0) return checks.report();
    return await runInside(namespaces.unshare, fileURLToPath(import.meta.url), ['--unpacked', folder], 'shell');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function skip(why: string): number {
  console.log(`Skipped, because ${why}.`);
  console.log('0 passed, 0 failed, 1 skipped');
  return 0;
}

/** Builds the image and looks into it. Leaves its files in `image`, its layout in `layout`, and the checks in `checks.json`. */
async function build(checks: Checks, buildah: Buildah, folder: string, twice: boolean): Promise<void> {
  console.log('Composing the bases from this machine’s packages …');
  const bases = composeBases(buildah, folder);
  const args = { BUILD_BASE: bases.build, RUN_BASE: bases.run, SOURCE_DATE_EPOCH: String(DATE_S) };
  const context = sourcesIn(folder);

  console.log('Building the image …');
  const recipe = { name: 'leasehold', context, dateS: DATE_S };
  const id = buildah.build({ ...recipe, arguments: args });
  buildah.writeTo('leasehold', join(folder, 'layout'));
  const image = new ImageLayout(join(folder, 'layout'));
  const files = join(folder, 'image');
  image.unpackTo(files);

  const bundle = readFileSync(join(files, 'leasehold', 'leasehold.mjs'));
  await checks.that('it holds the same bundle, to the bit, as a build outside of it', () => bundle.equals(readFileSync(builtHere())));
  await checks.that('for arm64 it brings the native module of arm64, and again the same bundle', () => {
    // Another architecture's base would be of no use to a builder that emulates nothing.
    const other = { ...args, RUN_BASE: emptyBase(buildah, folder), TARGETARCH: 'arm64' };
    buildah.build({ ...recipe, name: 'for-arm64', arguments: other });
    buildah.writeTo('for-arm64', join(folder, 'layout-arm64'));
    new ImageLayout(join(folder, 'layout-arm64')).unpackTo(join(folder, 'image-arm64'));
    const file = (name: string): Buffer => readFileSync(join(folder, 'image-arm64', 'leasehold', name));
    return file('koffi.node').readUInt16LE(MACHINE_AT) === MACHINE_ARM64 && file('leasehold.mjs').equals(bundle);
  });
  if (twice)
    await checks.that('it is built again to the same digest', () => buildah.build({ ...recipe, name: 'again', arguments: args }) === id);
  await checks.that('there is no shell in it, and no tool to change it with', () => {
    const found = pathsIn(files).filter((path) => FOREIGN_TOOLS.test(path) && !lstatSync(join(files, path)).isDirectory());
    return found.length === 0 || fail(found.join(' '));
  });
  await checks.that('nothing can be started in it but Node and leasehold', () => {
    const started = pathsIn(files).filter((path) => isProgram(join(files, path)));
    return started.sort().join(' ') === '/leasehold/leasehold.mjs /nodejs/bin/node /usr/local/bin/leasehold' || fail(started.join(' '));
  });
  await checks.that('it brings its two files and nothing that the build needed', () => {
    const own = readdirSync(join(files, 'leasehold')).sort().join(' ');
    return own === 'koffi.node leasehold.mjs' && !pathsIn(files).some((path) => /^\/(source|target)|node_modules/.test(path));
  });
  await checks.that('it says what it is, and which signal ends it', () => {
    const { labels, stopSignal, user } = image.config;
    return labels['org.opencontainers.image.title'] === 'leasehold' && stopSignal === 'SIGTERM' && user === '0:0';
  });
  describeSize(image, files);
  writeFileSync(join(folder, 'checks.json'), JSON.stringify(checks));
}

/** What a clone would hold, so that nothing that lies about here gets in. */
function sourcesIn(folder: string): string {
  const context = join(folder, 'sources');
  mkdirSync(context);
  const list = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' });
  const { status } = spawnSync('tar', ['--create', '--null', '--files-from=-', '--file', `${folder}/sources.tar`], {
    cwd: ROOT,
    input: list.stdout,
  });
  const unpacked = spawnSync('tar', ['--extract', '--file', `${folder}/sources.tar`, '--directory', context]);
  if (list.status !== 0 || status !== 0 || unpacked.status !== 0) throw new Error('the sources cannot be copied');
  return context;
}

/** The bundle as `npm run build` makes it in this checkout. */
function builtHere(): string {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/build.ts'], { cwd: ROOT, encoding: 'utf8' });
  if (status !== 0) throw new Error(`the build failed: ${stderr}`);
  return join(ROOT, 'dist', 'leasehold.mjs');
}

function pathsIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((path) => `/${path}`);
}

/** Whether the kernel would start it: not the libraries that may be, too, and not what is there for a shell to read. */
function isProgram(path: string): boolean {
  const stat = lstatSync(path);
  return stat.isFile() && (stat.mode & 0o111) !== 0 && !/\.so(\.|$)|update-motd/.test(path);
}

function describeSize({ layers }: ImageLayout, files: string): void {
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
  const sum = (of: (layer: (typeof layers)[number]) => number): number => layers.reduce((total, layer) => total + of(layer), 0);
  console.log(`The image has ${mb(sum(({ bytes }) => bytes))}, as it travels ${mb(sum(({ compressedBytes }) => compressedBytes))}:`);
  for (const { bytes, compressedBytes, madeBy } of layers)
    console.log(`  ${mb(bytes).padStart(9)}  ${mb(compressedBytes).padStart(8)}  ${madeBy.replace(/^.*#\(nop\) /, '').slice(0, 90)}`);
  for (const file of readdirSync(join(files, 'leasehold')))
    console.log(`  ${mb(statSync(join(files, 'leasehold', file)).size).padStart(9)}  of these  ${file}`);
}

async function inside(folder: string, assets: Assets & { is: 'available' }): Promise<number> {
  const checks = Checks.from(readFileSync(join(folder, 'checks.json'), 'utf8'));
  await runAgent(checks, assets, { root: join(folder, 'image'), config: new ImageLayout(join(folder, 'layout')).config });
  return checks.report();
}

await exitWith(await main(process.argv.slice(2)));
