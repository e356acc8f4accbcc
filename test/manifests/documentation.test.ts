/**
 * What the pages about installing tell people to type, typed: against a real API server, in a copy of the repository.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { findAssets } from '../../e2e/control-plane/assets.ts';
import { ControlPlane, kubeconfigFor } from '../../e2e/control-plane/control-plane.ts';
import { toolPath } from '../support/tools.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGES = ['docs/install.md', 'docs/services.md'];
const assets = findAssets(process.env);

const STEP_MS = 30_000;

/** What is not for an API server, and has a test elsewhere or none. */
const ELSEWHERE = /^(docker build|git update-index|cosign verify) /;

interface Block {
  readonly language: string;
  readonly text: string;
}

/** The fenced blocks of a page, without the indentation of the list that they are in. */
function blocksOf(page: string): Block[] {
  const found = readFileSync(join(ROOT, page), 'utf8').matchAll(/^( *)```(\w+)\n([\s\S]*?)^\1```$/gm);
  return [...found].map(([, indent = '', language = '', text = '']) => ({
    language,
    text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  }));
}

describe('the pages about installing', { skip: assets.is === 'unavailable' ? assets.why : false }, () => {
  let folder: string;
  let plane: ControlPlane;

  before(async () => {
    if (assets.is === 'unavailable') return;
    folder = mkdtempSync(join(tmpdir(), 'leasehold-pages-'));
    plane = await ControlPlane.start({ assets, folder: join(folder, 'plane') });
    // A copy, because people write into the overlays.
    for (const part of ['manifests', 'scripts', 'test', 'agent', 'e2e', 'package.json', 'package-lock.json', '.npmrc']) {
      cpSync(join(ROOT, part), join(folder, 'repository', part), { recursive: true });
    }
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'repository', 'node_modules'));
    writeFileSync(join(folder, 'repository', 'token'), 'a-token');
    writeFileSync(join(folder, 'kubeconfig'), kubeconfigFor(plane, plane.adminToken), { mode: 0o600 });
    mkdirSync(join(folder, 'bin'));
    symlinkSync(toolPath('kubectl') ?? assert.fail('there is no kubectl'), join(folder, 'bin', 'kubectl'));
    await plane.admin.create('/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-a' } });
  });

  after(async () => {
    await plane.close();
    rmSync(folder, { recursive: true });
  });

  for (const page of PAGES) {
    for (const [index, { language, text }] of blocksOf(page).entries()) {
      const [first = ''] = text.split('\n');
      if (language === 'yaml') {
        test(`${page}, block ${index + 1}: ${first.replace('# ', '')} can be written`, () => {
          const path = join(folder, 'repository', first.replace('# ', ''));
          assert.match(first, /^# [\w./-]+\.yaml$/, 'a file says in its first line what it is called');
          mkdirSync(dirname(path), { recursive: true });
          writeFileSync(path, text);
        });
      }
      if (language === 'sh' && !ELSEWHERE.test(text)) {
        test(`${page}, block ${index + 1}: ${first.slice(0, 70)}`, () => {
          const env = {
            ...process.env,
            PATH: `${join(folder, 'bin')}:${process.env['PATH'] ?? ''}`,
            KUBECONFIG: join(folder, 'kubeconfig'),
          };
          // Nobody is there who would carry out what a deletion waits for.
          const script = text.replaceAll('NODE', 'node-a').replaceAll('kubectl delete', 'kubectl delete --wait=false');
          const { status, stdout, stderr } = spawnSync('bash', ['-euo', 'pipefail', '-c', script], {
            cwd: join(folder, 'repository'),
            env,
            encoding: 'utf8',
            timeout: STEP_MS,
          });
          assert.equal(status, 0, `${script}${stdout}${stderr}`);
        });
      }
    }
  }

  test('left behind what they say', async () => {
    assert.ok(existsSync(join(folder, 'repository', 'leasehold.yaml')), 'the file for K3s');
    const daemonSets = (namespace: string): string => `/apis/apps/v1/namespaces/${namespace}/daemonsets/leasehold`;
    for (const namespace of ['leasehold-second', 'leasehold-third']) await plane.admin.get(daemonSets(namespace));
    assert.equal(
      (await plane.admin.request('GET', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/leasehold-third-node-reading')).status,
      200,
    );
    assert.equal((await plane.admin.request('GET', daemonSets('leasehold'))).status, 404, 'what was removed');
  });
});
