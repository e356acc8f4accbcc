/**
 * Writes each way of using Leasehold as one file for `kubectl apply -f`, with placeholders that one `sed` fills in.
 *
 * Guarantees: a bundle is what its overlay renders to, but for the placeholders and for the names of ConfigMaps and Secrets, which
 * bear no hash. An overlay named after a provider is one bundle; one that says where the agents run is a bundle for each
 * provider, with what the provider's own overlay says that it takes. Each key of a Secret is a placeholder of its own.
 * Options: `--image NAME:TAG` (a placeholder otherwise), `--out FOLDER` (bundles).
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load } from 'js-yaml';
import type { ProviderName } from '../agent/provider/profiles.ts';
import { kubectl } from '../test/support/manifests.ts';
import { asLiterals, MANIFESTS, providerOverlay, PROVIDERS } from '../test/support/provider-overlays.ts';
import type { Generated } from '../test/support/provider-overlays.ts';
import { readOptions } from './arguments.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What stands in a bundle for what only its user knows. */
export const PLACEHOLDERS = { address: 'REPLACE_WITH_ADDRESS', image: 'REPLACE_WITH_IMAGE' } as const;

/** What stands in it for what a key of a Secret holds. */
export function placeholderOf(key: string): string {
  return `REPLACE_WITH_${key.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`;
}

export interface Bundle {
  /** What its file is called, without the ending. */
  readonly name: string;
  readonly text: string;
}

interface Kustomization {
  readonly components: readonly string[];
  readonly [field: string]: unknown;
}

const isProvider = (name: string): name is ProviderName => (PROVIDERS as readonly string[]).includes(name);

/** All bundles. */
export function bundles(image: string): Bundle[] {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  // An overlay of somebody's own may keep its settings elsewhere, and is nobody else's matter.
  const overlays = readdirSync(join(MANIFESTS, 'overlays')).filter((name) => existsSync(join(MANIFESTS, 'overlays', name, 'settings.env')));
  return overlays.flatMap((overlay) => {
    return (isProvider(overlay) ? [overlay] : PROVIDERS).map((provider) => {
      const name = isProvider(overlay) ? overlay : `${overlay}-${provider}`;
      const objects = rendered(overlay, provider).replaceAll('image: leasehold:0.1.0', `image: ${image}`);
      const kind = /^kind: Deployment$/m.test(objects) ? 'deployment' : 'daemonset';
      return { name: `leasehold-${name}`, text: `${heading(version, kind)}${objects}` };
    });
  });
}

/** What the overlay renders to with a provider, and with placeholders. */
function rendered(overlay: string, provider: ProviderName): string {
  const copy = mkdtempSync(join(tmpdir(), 'leasehold-bundle-'));
  try {
    cpSync(MANIFESTS, copy, { recursive: true });
    const folder = join(copy, 'overlays', overlay);
    const { settings, configMaps, secrets } = providerOverlay(provider);
    writeFileSync(join(folder, 'settings.env'), settingsWith(readFileSync(join(folder, 'settings.env'), 'utf8'), settings));
    const kustomization = load(readFileSync(join(folder, 'kustomization.yaml'), 'utf8')) as Kustomization;
    const changed = {
      ...kustomization,
      // An image by a name of its own is put in afterwards.
      images: [],
      components: kustomization.components.map((path) => path.replace(/[^/]+$/, (name) => (isProvider(name) ? provider : name))),
      generatorOptions: { disableNameSuffixHash: true },
      configMapGenerator: [{ name: 'leasehold-settings', envs: ['settings.env'] }, ...configMaps.map(asLiterals)],
      secretGenerator: secrets.map(withPlaceholders).map(asLiterals),
    };
    writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(changed));
    return secrets.reduce(inPlainWords, kubectl(['kustomize', folder]));
  } finally {
    rmSync(copy, { recursive: true });
  }
}

/** An overlay's settings with a placeholder for the address, and with what a provider's own overlay sets beside it. */
function settingsWith(text: string, settings: Readonly<Record<string, string>>): string {
  const wanted: Readonly<Record<string, string>> = { ...settings, ADDRESSES: PLACEHOLDERS.address };
  const nameOf = (line: string): string => line.split('=')[0] ?? '';
  const lines = text.trimEnd().split('\n');
  const changed = lines.map((line) => (nameOf(line) in wanted ? `${nameOf(line)}=${wanted[nameOf(line)] ?? ''}` : line));
  const missing = Object.keys(wanted).filter((name) => !lines.some((line) => nameOf(line) === name));
  return [...changed, ...missing.map((name) => `${name}=${wanted[name] ?? ''}`)].join('\n');
}

function withPlaceholders({ name, data }: Generated): Generated {
  return { name, data: Object.fromEntries(Object.keys(data).map((key) => [key, placeholderOf(key)])) };
}

/** The placeholders of a Secret so that `sed` finds them. */
function inPlainWords(text: string, { data }: Generated): string {
  const keys = Object.keys(data).sort();
  const encoded = keys.map((key) => `  ${key}: ${Buffer.from(placeholderOf(key)).toString('base64')}\n`).join('');
  return text.replace(`data:\n${encoded}`, `stringData:\n${keys.map((key) => `  ${key}: ${placeholderOf(key)}\n`).join('')}`);
}

/** Says nothing that a `sed` which fills in the rest would change. */
function heading(version: string, kind: string): string {
  return [
    `# Leasehold ${version}. Wherever this says REPLACE_WITH_… something of yours has to be filled in, by hand or by the one sed of`,
    '# docs/install.md. Further settings go into the ConfigMap leasehold-settings; after a change of it:',
    '#',
    `#   kubectl -n leasehold rollout restart ${kind}/leasehold`,
    '',
  ].join('\n');
}

function main(): void {
  const { image, out } = readOptions(process.argv.slice(2), {
    image: { type: 'string', default: PLACEHOLDERS.image },
    out: { type: 'string', default: join(ROOT, 'bundles') },
  });
  mkdirSync(out, { recursive: true });
  for (const { name, text } of bundles(image)) {
    writeFileSync(join(out, `${name}.yaml`), text);
    console.log(join(out, `${name}.yaml`));
  }
}

if (import.meta.main) main();
