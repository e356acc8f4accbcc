/**
 * buildah as this proof uses it: images and layers in one folder of its own, no daemon, no namespaces, no registry.
 *
 * Guarantees: everything lies in that folder and is gone with it; images of this machine's own store are neither seen nor
 * changed.
 */
import { spawnSync } from 'node:child_process';
import type { SpawnSyncReturns } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Recipe {
  readonly name: string;
  /** The folder that the build may read from. */
  readonly context: string;
  readonly arguments: Readonly<Record<string, string>>;
  /** When the image and every file in its layers claim to be from, in seconds since 1970. */
  readonly dateS: number;
}

export class Buildah {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Why there is no buildah that works here, or null. */
  whyNot(): string | null {
    const { error, status, stderr } = this.#spawn(['images']);
    if (error !== undefined) return 'there is no program "buildah"';
    return status === 0 ? null : `buildah cannot be used here: ${stderr.trim()}`;
  }

  /** Makes an image of a folder's files, and returns its name. */
  compose(name: string, files: string, instructions: readonly string[]): string {
    const dockerfile = join(this.#folder, `${name}.Dockerfile`);
    writeFileSync(dockerfile, ['FROM scratch', 'COPY . /', ...instructions, ''].join('\n'));
    this.#do(['bud', '--isolation', 'chroot', '--tag', name, '--file', dockerfile, files]);
    return `localhost/${name}:latest`;
  }

  /** Builds an image from the Dockerfile of a folder and returns its id, the digest of its configuration. */
  build({ name, context, arguments: given, dateS }: Recipe): string {
    const args = Object.entries(given).flatMap(([key, value]) => ['--build-arg', `${key}=${value}`]);
    const date = ['--timestamp', String(dateS)];
    // Other builders say by themselves what they run on.
    const own = ['--build-arg', `BUILDPLATFORM=linux/${process.arch === 'x64' ? 'amd64' : process.arch}`];
    this.#do(['bud', '--isolation', 'chroot', '--pull-never', '--no-cache', ...own, ...args, ...date, '--tag', name, context]);
    return this.#do(['images', '--quiet', '--no-trunc', name]).trim();
  }

  /** Writes an image down in the layout of the Open Container Initiative. */
  writeTo(name: string, folder: string): void {
    this.#do(['push', '--quiet', name, `oci:${folder}:latest`]);
  }

  #do(args: readonly string[]): string {
    const { status, stdout, stderr } = this.#spawn(args);
    if (status === 0) return stdout;
    throw new Error(`buildah ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  }

  #spawn(args: readonly string[]): SpawnSyncReturns<string> {
    const store = ['--root', join(this.#folder, 'store'), '--runroot', join(this.#folder, 'store-run'), '--storage-driver', 'overlay'];
    return spawnSync('buildah', [...store, ...args], { encoding: 'utf8' });
  }
}
