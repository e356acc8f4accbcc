/**
 * An image as it travels: its configuration, its layers with their sizes, and its files as a container would see them.
 *
 * Reads the layout of the Open Container Initiative. Layers are laid over each other in order; one that takes files away is
 * refused, because no image of ours has any.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { at, listAt, stringAt } from '../../agent/json.ts';

export interface Layer {
  /** What made it, as the image's history says. */
  readonly madeBy: string;
  readonly compressedBytes: number;
  readonly bytes: number;
}

export interface ImageConfig {
  readonly architecture: string;
  readonly entrypoint: readonly string[];
  readonly env: readonly string[];
  readonly user: string;
  readonly workingDir: string;
  readonly stopSignal: string;
  readonly labels: Readonly<Record<string, unknown>>;
}

export class ImageLayout {
  readonly config: ImageConfig;
  readonly layers: readonly Layer[];
  readonly #blobs: readonly string[];

  constructor(folder: string) {
    const blob = (digest: string): string => join(folder, 'blobs', ...digest.split(':'));
    const json = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));
    const manifest = json(blob(stringAt(listAt(json(join(folder, 'index.json')), 'manifests')?.[0], 'digest') ?? ''));
    const config = json(blob(stringAt(manifest, 'config', 'digest') ?? ''));
    this.config = configFrom(config);
    this.#blobs = (listAt(manifest, 'layers') ?? []).map((layer) => blob(stringAt(layer, 'digest') ?? ''));
    const history = (listAt(config, 'history') ?? []).filter((step) => at(step, 'empty_layer') !== true);
    this.layers = this.#blobs.map((path, index) => ({
      madeBy: stringAt(history[index], 'created_by') ?? '',
      compressedBytes: statSync(path).size,
      bytes: gunzipSync(readFileSync(path)).length,
    }));
  }

  /** Lays the layers over each other in a new folder. */
  unpackTo(folder: string): void {
    mkdirSync(folder, { recursive: true });
    for (const blob of this.#blobs) {
      const { stdout } = spawnSync('tar', ['--list', '--gzip', '--file', blob], { encoding: 'utf8', maxBuffer: 1 << 28 });
      if (/(^|\/)\.wh\./m.test(stdout)) throw new Error(`${blob} takes files away, which is not read here`);
      const { status, stderr } = spawnSync('tar', ['--extract', '--gzip', '--file', blob, '--directory', folder], { encoding: 'utf8' });
      if (status !== 0) throw new Error(`${blob} cannot be unpacked: ${stderr.trim()}`);
    }
  }
}

function configFrom(document: unknown): ImageConfig {
  const config = at(document, 'config');
  const texts = (name: string): string[] => (listAt(config, name) ?? []).filter((each) => typeof each === 'string');
  return {
    architecture: stringAt(document, 'architecture') ?? '',
    entrypoint: texts('Entrypoint'),
    env: texts('Env'),
    user: stringAt(config, 'User') ?? '',
    workingDir: stringAt(config, 'WorkingDir') ?? '/',
    stopSignal: stringAt(config, 'StopSignal') ?? '',
    labels: (at(config, 'Labels') ?? {}) as Record<string, unknown>,
  };
}
