/**
 * That whoever looks for a way to install a provider finds one, and is told what its overlay takes.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { PROVIDER_NAMES } from '../../agent/provider/profiles.ts';
import { providerOverlay, PROVIDERS, SECRETS_FROM_ELSEWHERE } from '../support/provider-overlays.ts';

const INSTALL = readFileSync('docs/install.md', 'utf8');
const README = readFileSync('README.md', 'utf8');

describe('every provider', () => {
  test('has an overlay of its name', () => {
    assert.deepEqual(PROVIDERS, PROVIDER_NAMES);
  });

  for (const provider of PROVIDER_NAMES) {
    test(`${provider} has a row in docs/install.md, with the Secret of its overlay and a page`, () => {
      const row = INSTALL.split('\n').find((line) => line.startsWith(`| \`${provider}\` |`)) ?? assert.fail('it has no row');
      const [, , , secret = '', , page = ''] = row.split('|').map((cell) => cell.trim());
      const isMadeByLogin = secret.endsWith('made by a login');
      const secrets = isMadeByLogin ? SECRETS_FROM_ELSEWHERE : providerOverlay(provider).secrets;
      const said = secrets.map(({ name, data }) => [name, ...Object.keys(data)]);
      const named = [...secret.matchAll(/`([^`]+)`/g)].map(([, name]) => name);
      assert.deepEqual(named, said.flat());
      const file = /\((?:\.\.\/)?([^)#]+)/.exec(page)?.[1] ?? assert.fail('it has no page');
      assert.ok(existsSync(file) || existsSync(`docs/${file}`), file);
      assert.ok(file === 'README.md' || README.includes(`(docs/${file})`), `the README leads to ${file}`);
    });

    test(`${provider} is named by its overlay, its component and its unit`, () => {
      assert.equal(providerOverlay(provider).settings['PROVIDER'], provider);
      for (const path of [`manifests/components/${provider}/kustomization.yaml`, `systemd/leasehold.service.d/${provider}.conf`])
        assert.ok(existsSync(path), path);
    });
  }
});
