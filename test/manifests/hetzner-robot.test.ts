/**
 * What docs/hetzner-robot.md has people do, as far as it can be done without a cluster: its commands are typed in a copy.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadAll } from 'js-yaml';
import { commandBlocks } from '../../e2e/walk/documents.ts';
import { loadSettings } from '../../agent/config/settings.ts';
import { HETZNER_ROBOT } from '../../agent/provider/hetzner-robot.ts';
import { cannotRender, kubectl } from '../support/manifests.ts';
import type { KubeObject } from '../support/manifests.ts';
import { environmentOf, podOf, readFileOf } from '../support/pod.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGE = readFileSync(join(ROOT, 'docs', 'hetzner-robot.md'), 'utf8');

describe('docs/hetzner-robot.md', { skip: cannotRender() }, () => {
  test('its commands make an overlay that an agent can use, with the user as it was written', () => {
    const folder = mkdtempSync(join(tmpdir(), 'leasehold-robot-'));
    try {
      cpSync(join(ROOT, 'manifests'), join(folder, 'manifests'), { recursive: true });
      const [fillIn, apply] = commandBlocks(PAGE).filter(({ triedBy }) => triedBy.is === 'another');
      const { status, stderr } = spawnSync('sh', ['-e', '-c', fillIn?.script ?? 'false'], { cwd: folder, encoding: 'utf8' });
      assert.equal(status, 0, stderr);
      const [, overlay = ''] = /apply -k (\S+)/.exec(apply?.script ?? '') ?? [];
      const objects = loadAll(kubectl(['kustomize', join(folder, overlay)])) as KubeObject[];
      const { provider, addresses, providerTimeoutMs } = loadSettings({
        env: environmentOf(objects),
        hostname: 'x',
        readFile: readFileOf(objects),
        serviceAccountFolder: '/sa',
      });
      assert.ok(provider.name === 'hetzner-robot');
      assert.equal(provider.login.reveal(), '#ws+a1b2c3:YOUR-PASSWORD');
      assert.deepEqual(
        addresses.map(({ text }) => text),
        ['203.0.113.10'],
      );
      assert.equal(podOf(objects)['terminationGracePeriodSeconds'], providerTimeoutMs / 1_000 + 15);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('has the figures of the provider', () => {
    assert.match(PAGE, new RegExp(`\`PROVIDER_TIMEOUT\` is ${HETZNER_ROBOT.claimTimeoutMs / 1_000} s`));
    const [reads, list, moves, servers] = HETZNER_ROBOT.limits.map(({ max }) => max);
    const granted = `${reads} reads of one failover, ${list} of the list, ${moves} moves, ${servers} lists of servers`;
    assert.ok(PAGE.includes(granted), granted);
    assert.match(PAGE, new RegExp(`by the holder \\| ${3_600_000 / HETZNER_ROBOT.verifyIntervalMs} \\|`));
  });
});
