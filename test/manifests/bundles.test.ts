import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { loadAll } from 'js-yaml';
import { loadSettings, SettingsError } from '../../agent/config/settings.ts';
import type { ProviderName } from '../../agent/provider/profiles.ts';
import { Secret } from '../../agent/secret.ts';
import { bundles, placeholderOf, PLACEHOLDERS } from '../../scripts/bundles.ts';
import { problemsOf } from '../support/kube-schemas.ts';
import { cannotRender, overlays, render } from '../support/manifests.ts';
import type { KubeObject } from '../support/manifests.ts';
import { providerOverlay, PROVIDERS } from '../support/provider-overlays.ts';
import { containerOf, environmentOf, readFileOf } from '../support/pod.ts';

const VALUES = { address: '203.0.113.77/24', image: 'registry.example/team/leasehold:0.1.0' };

/** The keys of the Secrets that a provider takes, which are all different. */
function keysOf(provider: ProviderName): string[] {
  return providerOverlay(provider).secrets.flatMap(({ data }) => Object.keys(data));
}

const secretValue = (key: string): string => `the-${key}-of-somebody`;

/** What one sed makes of a bundle, as docs/install.md has it. */
function filledIn(text: string, provider: ProviderName): KubeObject[] {
  const values = [
    ...(['address', 'image'] as const).map((name) => [PLACEHOLDERS[name], VALUES[name]] as const),
    ...keysOf(provider).map((key) => [placeholderOf(key), secretValue(key)] as const),
  ];
  const script = values.flatMap(([placeholder, value]) => ['-e', `s|${placeholder}|${value}|`]);
  const { stdout } = spawnSync('sed', script, { input: text, encoding: 'utf8' });
  // The API server turns one into the other.
  return (loadAll(stdout) as KubeObject[]).map(({ stringData, ...object }) =>
    stringData === undefined ? object : { ...object, data: encoded(stringData as Record<string, string>) },
  );
}

function encoded(data: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, Buffer.from(value).toString('base64')]));
}

/** An object as others name it, without the hash that kustomize adds to what it generates. */
function described(object: KubeObject, provider: ProviderName): string {
  const { configMaps, secrets } = providerOverlay(provider);
  const names = ['leasehold-settings', ...[...configMaps, ...secrets].map(({ name }) => name)].join('|');
  return JSON.stringify(object).replaceAll(new RegExp(`\\b(${names})-[a-z0-9]{10}\\b`, 'g'), '$1');
}

describe('rendered bundles', { skip: cannotRender() }, () => {
  const all = cannotRender() === false ? bundles(PLACEHOLDERS.image) : [];

  test('there is one of every overlay, with every provider', () => {
    const names = all.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
    for (const overlay of overlays())
      assert.ok(
        names.some((name) => name.startsWith(`leasehold-${overlay.replace('overlays/', '')}`)),
        overlay,
      );
    for (const provider of PROVIDERS) assert.ok(names.includes(`leasehold-control-plane-${provider}`), provider);
  });

  test('what is not filled in is refused by the agent, with the name of what is missing', () => {
    for (const { name, text } of all) {
      const objects = loadAll(text) as KubeObject[];
      const load = (): unknown =>
        loadSettings({ env: environmentOf(objects), hostname: 'x', readFile: () => 'x', serviceAccountFolder: '/sa' });
      assert.throws(load, (error) => error instanceof SettingsError && error.message.includes(PLACEHOLDERS.address), name);
    }
  });

  for (const { name, text } of all) {
    test(`${name}: one sed fills it in, and it is what the Kubernetes API accepts`, () => {
      const expected = PROVIDERS.find((each) => name.endsWith(`-${each}`)) ?? assert.fail('a bundle is of a provider');
      const objects = filledIn(text, expected);
      assert.ok(!JSON.stringify(objects).includes('REPLACE_WITH'));
      assert.deepEqual(
        objects.flatMap((object) => problemsOf(object)),
        [],
      );
      const { addresses, provider } = loadSettings({
        env: environmentOf(objects),
        hostname: 'x',
        readFile: readFileOf(objects),
        serviceAccountFolder: '/sa',
      });
      assert.deepEqual(
        addresses.map((address) => [address.text, address.prefixLength]),
        [['203.0.113.77', 24]],
      );
      assert.equal(provider.name, expected);
      const known = Object.values(provider as object).map((value: unknown) => (value instanceof Secret ? value.reveal() : value));
      for (const key of keysOf(expected)) assert.ok(known.includes(secretValue(key)), key);
      assert.equal(containerOf(objects).image, VALUES.image);
    });
  }

  for (const overlay of overlays()) {
    test(`${overlay} renders to nothing else`, () => {
      const provider = PROVIDERS.find((each) => each === environmentOf(render(overlay))['PROVIDER']) ?? assert.fail();
      const name = overlay.replace('overlays/', 'leasehold-');
      const bundle =
        all.find((each) => each.name === name || each.name === `${name}-${provider}`) ?? assert.fail(`no bundle of ${overlay}`);
      const changed = ['ConfigMap', 'Secret'];
      const without = (objects: readonly KubeObject[]): string[] =>
        objects.filter(({ kind }) => !changed.includes(kind)).map((object) => described(object, provider));
      const text = bundle.text.replaceAll(PLACEHOLDERS.image, 'leasehold:0.1.0');
      assert.deepEqual(without(loadAll(text) as KubeObject[]), without(render(overlay)));
    });
  }
});
