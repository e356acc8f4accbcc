/**
 * docs/outside-a-cluster.md and systemd/: the commands are run, the unit is judged by systemd itself.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SCHEMA } from '../agent/config/schema.ts';
import { at, stringAt } from '../agent/json.ts';
import { findAssets } from '../e2e/control-plane/assets.ts';
import { ControlPlane, kubeconfigFor } from '../e2e/control-plane/control-plane.ts';
import { NAMESPACE } from '../e2e/control-plane/our-manifests.ts';
import type { ProviderName } from '../agent/provider/profiles.ts';
import { cannotRender, compose } from './support/manifests.ts';
import type { KubeObject } from './support/manifests.ts';
import { PROVIDERS } from './support/provider-overlays.ts';
import { containerOf, podOf } from './support/pod.ts';
import { toolPath } from './support/tools.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PAGE = readFileSync(join(ROOT, 'docs', 'outside-a-cluster.md'), 'utf8');
const UNITS = join(ROOT, 'systemd');
/** What systemd calls well protected ends here; what it rates higher is the network and root, which an agent is about. */
const MOST_EXPOSED = 2.6;

/** The commands of the page that a cluster is needed for, in their order. */
const steps = [...PAGE.matchAll(/<!-- run -->\n```sh\n([^]*?)```/g)].map(([, step = '']) => step);
const entryPoint = /^ENTRYPOINT (\[.*\])$/m.exec(readFileSync(join(ROOT, 'Dockerfile'), 'utf8'))?.[1] ?? '[]';
const assets = findAssets(process.env);
const hasSystemd = spawnSync('systemd-analyze', ['--version']).error === undefined;

/** The settings of a unit's section, all values of each in their order. */
function directives(...texts: readonly string[]): Readonly<Record<string, readonly string[]>> {
  const found: Record<string, string[]> = {};
  for (const [, name = '', value = ''] of texts.join('\n').matchAll(/^([A-Za-z]+)=(.*)$/gm)) (found[name] ??= []).push(value);
  return found;
}

const unitFor = (provider: ProviderName): Readonly<Record<string, readonly string[]>> =>
  directives(
    readFileSync(join(UNITS, 'leasehold.service'), 'utf8'),
    readFileSync(join(UNITS, 'leasehold.service.d', `${provider}.conf`), 'utf8'),
  );

const manifestsFor = (provider: ProviderName): KubeObject[] => compose({ provider, components: ['on-chosen-nodes'] });

describe('the unit of systemd', () => {
  for (const provider of PROVIDERS) {
    test(
      `with PROVIDER=${provider} is valid and leaves little exposed`,
      { skip: hasSystemd ? false : 'there is no systemd-analyze' },
      () => {
        const folder = mkdtempSync(join(tmpdir(), 'leasehold-unit-'));
        try {
          cpSync(UNITS, folder, { recursive: true });
          for (const other of PROVIDERS) if (other !== provider) rmSync(join(folder, 'leasehold.service.d', `${other}.conf`));
          const unit = join(folder, 'leasehold.service');
          // Where Node is differs, and whether it is there is not the unit's business.
          writeFileSync(unit, readFileSync(unit, 'utf8').replace('ExecStart=/usr/bin/node ', `ExecStart=${process.execPath} `));
          const env = { ...process.env, SYSTEMD_UNIT_PATH: `${folder}:` };
          const verified = spawnSync('systemd-analyze', ['verify', '--man=no', unit], { encoding: 'utf8', env });
          assert.equal(`${verified.stdout}${verified.stderr}`, '');
          const rated = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', unit], { encoding: 'utf8', env });
          const exposure = Number(/exposure level for \S+: ([0-9.]+)/.exec(rated.stdout)?.[1] ?? Infinity);
          assert.ok(exposure <= MOST_EXPOSED, rated.stdout + rated.stderr);
        } finally {
          rmSync(folder, { recursive: true });
        }
      },
    );

    test(`with PROVIDER=${provider} has the capabilities of the pod and as long to end`, { skip: cannotRender() }, () => {
      const unit = unitFor(provider);
      const objects = manifestsFor(provider);
      const capabilities = (unit['CapabilityBoundingSet'] ?? []).flatMap((line) => line.split(' ')).map((name) => name.replace('CAP_', ''));
      assert.deepEqual(capabilities, at(containerOf(objects).securityContext, 'capabilities', 'add'));
      assert.equal(unit['TimeoutStopSec']?.at(-1), `${String(podOf(objects)['terminationGracePeriodSeconds'])}s`);
    });
  }

  test('starts what the image starts', () => {
    const words = (JSON.parse(entryPoint) as string[]).slice(1);
    const [, ...started] = directives(readFileSync(join(UNITS, 'leasehold.service'), 'utf8'))['ExecStart']?.[0]?.split(' ') ?? [];
    assert.deepEqual(
      started.map((word) => word.replace('/usr/local/lib', '')),
      words,
    );
  });
});

describe('docs/outside-a-cluster.md', () => {
  test('names settings that there are', () => {
    const known = new Set(Object.entries(SCHEMA).flatMap(([name, { isSecret }]) => (isSecret ? [name, `${name}_FILE`] : [name])));
    const named = [...PAGE.matchAll(/^([A-Z_]{4,})=/gm), ...PAGE.matchAll(/--env ([A-Z_]+)=/g)].map(([, name = '']) => name);
    assert.ok(named.length > 4);
    assert.deepEqual(
      named.filter((name) => !known.has(name)),
      [],
    );
  });

  for (const provider of PROVIDERS) {
    test(`says what PROVIDER=${provider} takes, as its unit and its pod have it`, { skip: cannotRender() }, () => {
      const row = PAGE.split('\n').find((line) => line.startsWith(`| \`${provider}\` |`)) ?? assert.fail('it has no row');
      const [, , files = '', variables = '', seconds = ''] = row.split('|');
      const words = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word);
      const handedOver = (unitFor(provider)['LoadCredential'] ?? []).map((line) => line.split(':')[1]?.replace('/etc/leasehold/', ''));
      assert.deepEqual(['kubeconfig', ...words(files)], handedOver);
      const objects = manifestsFor(provider);
      const named = containerOf(objects).env.map(({ name }) => name);
      assert.deepEqual(
        words(variables),
        named.filter((name) => name.endsWith('_FILE')),
      );
      assert.equal(Number(seconds), podOf(objects)['terminationGracePeriodSeconds']);
    });
  }

  test('installs files that there are', () => {
    const files = [...PAGE.matchAll(/(?<!\/)\b(?:systemd|manifests)\/[\w./-]*\w/g)].map(([file]) => file);
    assert.ok(files.length > 3);
    assert.deepEqual(
      files.filter((file) => !existsSync(join(ROOT, file))),
      [],
    );
  });

  test('starts the container with what the manifests give a pod', { skip: cannotRender() }, () => {
    const [line = ''] = /docker run [^`]*/.exec(PAGE) ?? [];
    const values = (option: string): string[] => [...line.matchAll(new RegExp(`--${option} (\\S+)`, 'g'))].map(([, value = '']) => value);
    const objects = manifestsFor('hcloud-floating-ip');
    assert.deepEqual(values('cap-add'), at(containerOf(objects).securityContext, 'capabilities', 'add'));
    assert.deepEqual([values('cap-drop'), values('network'), values('security-opt')], [['ALL'], ['host'], ['no-new-privileges']]);
    assert.match(line, / --read-only /);
    assert.equal(values('stop-timeout')[0], String(podOf(objects)['terminationGracePeriodSeconds']));
    assert.equal(
      `${values('memory')[0] ?? ''}i`.toLowerCase(),
      String(at(containerOf(objects), 'resources', 'limits', 'memory')).toLowerCase(),
    );
    assert.equal(line.trim().split(' ').at(-1), containerOf(objects).image);
  });

  const why = assets.is === 'unavailable' ? assets.why : cannotRender();
  test('makes a kubeconfig that may do what an agent needs, with commands that work', { skip: why, timeout: 120_000 }, async () => {
    assert.ok(assets.is === 'available');
    const folder = mkdtempSync(join(tmpdir(), 'leasehold-outside-'));
    const plane = await ControlPlane.start({ assets, folder });
    try {
      writeFileSync(join(folder, 'admin'), kubeconfigFor(plane, plane.adminToken));
      symlinkSync(join(ROOT, 'manifests'), join(folder, 'manifests'));
      const kubectl = toolPath('kubectl') ?? assert.fail();
      const env = { ...process.env, KUBECONFIG: join(folder, 'admin'), PATH: `${dirname(kubectl)}:${process.env['PATH'] ?? ''}` };
      const run = (script: string): string => {
        const { status, stdout, stderr } = spawnSync('bash', ['-euo', 'pipefail', '-c', script], { cwd: folder, env, encoding: 'utf8' });
        assert.equal(status, 0, `${script}\n${stderr}`);
        return stdout;
      };
      const [manifests = '', secret = '', kubeconfig = '', looking = '', ...others] = steps;
      assert.deepEqual(others, []);
      run(manifests);
      run(secret);
      // What a controller of the cluster does, which is not here.
      const path = `/api/v1/namespaces/${NAMESPACE}/secrets/leasehold-outside`;
      assert.equal(stringAt(await plane.admin.get(path), 'type'), 'kubernetes.io/service-account-token');
      const encoded = (text: string): string => Buffer.from(text).toString('base64');
      await plane.admin.patch(path, { data: { token: encoded(plane.token), 'ca.crt': encoded(plane.ca) } });
      run(kubeconfig);
      assert.match(run(looking), /^leasehold .*\nyes$/m);
      assert.match(
        spawnSync('kubectl', ['--kubeconfig', 'kubeconfig', 'get', 'pods'], { cwd: folder, env, encoding: 'utf8' }).stderr,
        /Forbidden/,
      );
    } finally {
      await plane.close();
      rmSync(folder, { recursive: true });
    }
  });
});
