/**
 * The two bases that the Dockerfile starts from, composed on this machine where no registry of images can be reached.
 *
 * Guarantees: what the agent runs on has the layout of the distroless base (Node at /nodejs/bin/node, glibc and what Node
 * links to, no shell, nothing else that could be started), from the packages of this machine's Debian and the Node that the
 * lock file pins. What builds has a shell, Node and this machine's npm. Neither is ever published.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Buildah } from './buildah.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const LIBRARIES = ['libc6', 'libstdc++6', 'libgcc-s1'];
/** What the distroless base for Node consists of, besides Node and the certificates. */
const RUNNING = [...LIBRARIES, 'libssl3', 'base-files', 'netbase', 'tzdata'];
/** A shell and what the build calls from it. */
const BUILDING = [...LIBRARIES, 'dash', 'coreutils', 'sed', 'libacl1', 'libattr1', 'libgmp10', 'libselinux1', 'libpcre2-8-0'];

/** Where the distroless base has its Node. */
const NODE = '/nodejs/bin/node';
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Where a machine that has to trust a certificate of its own names it. */
const EXTRA_CERTIFICATES = 'NODE_EXTRA_CA_CERTS';

export interface Bases {
  readonly run: string;
  readonly build: string;
}

/** Composes both bases. Throws where Debian's packages cannot be had. */
export function composeBases(buildah: Buildah, folder: string): Bases {
  const node = join(ROOT, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node');
  const packages = join(folder, 'packages');
  download([...new Set([...RUNNING, ...BUILDING])], packages);

  const run = join(folder, 'run');
  unpack(RUNNING, packages, run);
  place(node, run, NODE);
  const build = join(folder, 'build');
  unpack(BUILDING, packages, build);
  place(node, build, '/usr/local/bin/node');
  placeNpm(build);
  for (const each of [run, build])
    for (const empty of ['tmp', 'root', 'proc', 'sys', 'dev']) mkdirSync(join(each, empty), { recursive: true });

  return {
    run: buildah.compose('leasehold-run-base', run, [`ENV PATH=${PATH}`, `ENTRYPOINT ["${NODE}"]`]),
    build: buildah.compose('leasehold-build-base', build, [
      `ENV PATH=${PATH}`,
      ...(placeCertificates(build) ? [`ENV ${EXTRA_CERTIFICATES}=/etc/extra-certificates.pem`] : []),
    ]),
  };
}

/** A base with nothing in it: enough to see what an image would hold that cannot run here. */
export function emptyBase(buildah: Buildah, folder: string): string {
  const empty = join(folder, 'empty');
  mkdirSync(join(empty, 'etc'), { recursive: true });
  return buildah.compose('leasehold-empty-base', empty, [`ENV PATH=${PATH}`]);
}

function download(names: readonly string[], folder: string): void {
  mkdirSync(folder, { recursive: true });
  const { status, stderr, error } = spawnSync('apt-get', ['download', '-qq', ...names], { cwd: folder, encoding: 'utf8' });
  if (status !== 0) throw new Error(`Debian's packages cannot be had: ${error?.message ?? stderr.trim()}`);
}

function unpack(names: readonly string[], packages: string, folder: string): void {
  for (const name of names) {
    const file = readdirSync(packages).find((each) => each.startsWith(`${name}_`)) ?? '';
    const { status, stderr } = spawnSync('dpkg-deb', ['-x', join(packages, file), folder], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${file} cannot be unpacked: ${stderr.trim()}`);
  }
}

function place(file: string, root: string, path: string): void {
  mkdirSync(join(root, path, '..'), { recursive: true });
  copyFileSync(file, join(root, path));
}

/** The npm of this machine: its files, and the name that it is called by. */
function placeNpm(root: string): void {
  const { stdout } = spawnSync('npm', ['root', '--global'], { encoding: 'utf8' });
  const modules = '/usr/local/lib/node_modules/npm';
  cpSync(realpathSync(join(stdout.trim(), 'npm')), join(root, modules), { recursive: true });
  symlinkSync(`..${modules.slice('/usr/local'.length)}/bin/npm-cli.js`, join(root, 'usr', 'local', 'bin', 'npm'));
  // For the first line of scripts, "#!/usr/bin/env node".
  writeFileSync(join(root, 'etc', 'passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
}

/** Whether this machine trusts certificates of its own, which the build has to trust, too, when it asks for packages. */
function placeCertificates(root: string): boolean {
  const named = process.env[EXTRA_CERTIFICATES] ?? '';
  if (named === '' || !existsSync(named)) return false;
  place(named, root, '/etc/extra-certificates.pem');
  return true;
}
