/**
 * What the overlay of each provider says that the provider takes: its settings, its Secrets, its files.
 *
 * An overlay is a provider's if it bears the provider's name. Whatever combines a provider with another place for the agents to
 * run (bundles, tests) takes it from here, so that it is written once.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load } from 'js-yaml';
import { PROVIDER_NAMES } from '../../agent/provider/profiles.ts';
import type { ProviderName } from '../../agent/provider/profiles.ts';

export const MANIFESTS = fileURLToPath(new URL('../../manifests', import.meta.url));
/** The ConfigMap of settings, which every overlay generates. */
const SETTINGS = 'leasehold-settings';

/** A ConfigMap or a Secret that kustomize generates out of files, by their names. */
export interface Generated {
  readonly name: string;
  /** What each key holds. */
  readonly data: Readonly<Record<string, string>>;
}

export interface ProviderOverlay {
  readonly settings: Readonly<Record<string, string>>;
  readonly secrets: readonly Generated[];
  /** Besides that of the settings. */
  readonly configMaps: readonly Generated[];
}

/** The Secrets that agents mount and no overlay makes: at netcup a login does. */
export const SECRETS_FROM_ELSEWHERE: readonly Generated[] = [{ name: 'netcup-token', data: { token: 'replace-me' } }];

interface Generator {
  readonly name: string;
  readonly files?: readonly string[];
}

/** The providers that have an overlay of their own, which all are to have. */
export const PROVIDERS: readonly ProviderName[] = PROVIDER_NAMES.filter((name) => existsSync(join(MANIFESTS, 'overlays', name)));

export function providerOverlay(provider: ProviderName): ProviderOverlay {
  const folder = join(MANIFESTS, 'overlays', provider);
  const kustomization = load(readFileSync(join(folder, 'kustomization.yaml'), 'utf8'));
  const { configMapGenerator = [], secretGenerator = [] } = kustomization as Readonly<Record<string, readonly Generator[] | undefined>>;
  const generated = ({ name, files = [] }: Generator): Generated => ({
    name,
    data: Object.fromEntries(
      files.map((entry) => {
        // KEY=FILE, or a file that is called as its key is.
        const [key = '', file = key] = entry.split('=');
        return [key, readFileSync(join(folder, file), 'utf8')];
      }),
    ),
  });
  return {
    settings: settingsIn(readFileSync(join(folder, 'settings.env'), 'utf8')),
    secrets: secretGenerator.map(generated),
    configMaps: configMapGenerator.filter(({ name }) => name !== SETTINGS).map(generated),
  };
}

function settingsIn(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]));
}

/** How kustomize is told to generate the same by literals. */
export function asLiterals({ name, data }: Generated): { readonly name: string; readonly literals: readonly string[] } {
  return { name, literals: Object.entries(data).map(([key, value]) => `${key}=${value}`) };
}
