/**
 * Writes each way of using Leasehold as one file for `kubectl apply -f`, with placeholders that one `sed` fills in.
 *
 * Guarantees: a bundle is what its overlay renders to, but for the placeholders and for the names of the ConfigMap and the
 * Secret, which bear no hash. An overlay named after a provider is one bundle; one that says where the agents run is a
 * bundle for each provider. Options: `--image NAME:TAG` (a placeholder otherwise), `--out FOLDER` (bundles).
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load } from 'js-yaml';
import { kubectl } from '../test/support/manifests.ts';
import { readOptions } from './arguments.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MANIFESTS = join(ROOT, 'manifests');

/** What stands in a bundle for what only its user knows. */
export const PLACEHOLDERS = { address: 'REPLACE_WITH_ADDRESS', token: 'REPLACE_WITH_TOKEN', image: 'REPLACE_WITH_IMAGE' } as const;

/** The providers, and the Secret that each needs. `isAlone`: it takes files that only its own overlay has. */
const PROVIDERS: Readonly<Record<string, { readonly secret?: string; readonly isAlone?: true }>> = {
  'hcloud-floating-ip': { secret: 'hcloud-token' },
  'hcloud-alias-ip': { secret: 'hcloud-token' },
  exec: { secret: 'exec-secret', isAlone: true },
  netcup: { secret: 'netcup-token' },
  l2: {},
};

export interface Bundle {
  /** What its file is called, without the ending. */
  readonly name: string;
  readonly text: string;
}

interface Kustomization {
  readonly components: readonly string[];
  readonly [field: string]: unknown;
}

/** All bundles. */
export function bundles(image: string): Bundle[] {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  // An overlay of somebody's own may keep its settings elsewhere, and is nobody else's matter; of Robot's the Secret has two keys.
  const overlays = readdirSync(join(MANIFESTS, 'overlays')).filter(
    (name) => name !== 'hetzner-robot' && existsSync(join(MANIFESTS, 'overlays', name, 'settings.env')),
  );
  return overlays.flatMap((overlay) => {
    const isProvider = overlay in PROVIDERS;
    const fitting = Object.keys(PROVIDERS).filter((name) => PROVIDERS[name]?.isAlone !== true);
    return (isProvider ? [overlay] : fitting).map((provider) => {
      const name = isProvider ? overlay : `${overlay}-${provider}`;
      const objects = rendered(overlay, provider).replaceAll('image: leasehold:0.1.0', `image: ${image}`);
      const kind = /^kind: Deployment$/m.test(objects) ? 'deployment' : 'daemonset';
      return { name: `leasehold-${name}`, text: `${heading(version, kind)}${objects}` };
    });
  });
}

/** What the overlay renders to with a provider, and with placeholders. */
function rendered(overlay: string, provider: string): string {
  const copy = mkdtempSync(join(tmpdir(), 'leasehold-bundle-'));
  try {
    cpSync(MANIFESTS, copy, { recursive: true });
    const folder = join(copy, 'overlays', overlay);
    const settings = readFileSync(join(folder, 'settings.env'), 'utf8')
      .replace(/^PROVIDER=.*$/m, `PROVIDER=${provider}`)
      .replace(/^ADDRESSES=.*$/m, `ADDRESSES=${PLACEHOLDERS.address}`);
    writeFileSync(join(folder, 'settings.env'), settings);
    const { secret } = PROVIDERS[provider] ?? {};
    const kustomization = load(readFileSync(join(folder, 'kustomization.yaml'), 'utf8')) as Kustomization;
    const changed = {
      ...kustomization,
      // An image by a name of its own is put in afterwards.
      images: [],
      components: kustomization.components.map((path) => path.replace(/[^/]+$/, (name) => (name in PROVIDERS ? provider : name))),
      generatorOptions: { disableNameSuffixHash: true },
      secretGenerator: secret === undefined ? [] : [{ name: secret, literals: [`token=${PLACEHOLDERS.token}`] }],
    };
    writeFileSync(join(folder, 'kustomization.yaml'), JSON.stringify(changed));
    const encoded = Buffer.from(PLACEHOLDERS.token).toString('base64');
    return kubectl(['kustomize', folder]).replace(`data:\n  token: ${encoded}\n`, `stringData:\n  token: ${PLACEHOLDERS.token}\n`);
  } finally {
    rmSync(copy, { recursive: true });
  }
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
