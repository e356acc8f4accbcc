import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { loadAll } from 'js-yaml';
import { secretsIn } from '../../agent/config/provider-settings.ts';
import { loadSettings, SettingsError } from '../../agent/config/settings.ts';
import { bundles, PLACEHOLDERS } from '../../scripts/bundles.ts';
import { problemsOf } from '../support/kube-schemas.ts';
import { cannotRender, overlays, render } from '../support/manifests.ts';
import type { KubeObject } from '../support/manifests.ts';
import { containerOf, environmentOf, readFileOf } from '../support/pod.ts';

const VALUES = { address: '203.0.113.77/24', token: 'a-token-of-somebody', image: 'registry.example/team/leasehold:0.1.0' };

/** What one sed makes of a bundle, as docs/install.md has it. */
function filledIn(text: string): KubeObject[] {
  const names = ['address', 'token', 'image'] as const;
  const { stdout } = spawnSync(
    'sed',
    names.flatMap((name) => ['-e', `s|${PLACEHOLDERS[name]}|${VALUES[name]}|`]),
    { input: text, encoding: 'utf8' },
  );
  // The API server turns one into the other.
  return (loadAll(stdout) as KubeObject[]).map(({ stringData, ...object }) =>
    stringData === undefined ? object : { ...object, data: encoded(stringData as Record<string, string>) },
  );
}

function encoded(data: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, Buffer.from(value).toString('base64')]));
}

/** An object as others name it, without the hash that kustomize adds to what it generates. */
function described(object: KubeObject): string {
  return JSON.stringify(object).replaceAll(/(leasehold-settings|hcloud-token|exec-command|exec-secret)-[a-z0-9]{10}\b/g, '$1');
}

describe('rendered bundles', { skip: cannotRender() }, () => {
  const all = cannotRender() === false ? bundles(PLACEHOLDERS.image) : [];

  test('there is one of every overlay, with every provider', () => {
    const names = all.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
    for (const overlay of overlays().filter((each) => each !== 'overlays/hetzner-robot'))
      assert.ok(
        names.some((name) => name.startsWith(`leasehold-${overlay.replace('overlays/', '')}`)),
        overlay,
      );
    for (const provider of ['l2', 'hcloud-floating-ip']) assert.ok(names.includes(`leasehold-control-plane-${provider}`));
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
      const objects = filledIn(text);
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
      assert.ok(name.endsWith(provider.name));
      for (const secret of secretsIn(provider)) assert.equal(secret.reveal(), VALUES.token);
      assert.equal(containerOf(objects).image, VALUES.image);
    });
  }

  for (const overlay of overlays().filter((each) => each !== 'overlays/hetzner-robot')) {
    test(`${overlay} renders to nothing else`, () => {
      const provider = environmentOf(render(overlay))['PROVIDER'] ?? '';
      const name = overlay.replace('overlays/', 'leasehold-');
      const bundle =
        all.find((each) => each.name === name || each.name === `${name}-${provider}`) ?? assert.fail(`no bundle of ${overlay}`);
      const changed = ['ConfigMap', 'Secret'];
      const without = (objects: readonly KubeObject[]): string[] => objects.filter(({ kind }) => !changed.includes(kind)).map(described);
      const text = bundle.text.replaceAll(PLACEHOLDERS.image, 'leasehold:0.1.0');
      assert.deepEqual(without(loadAll(text) as KubeObject[]), without(render(overlay)));
    });
  }
});
