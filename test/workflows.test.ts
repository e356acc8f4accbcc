/**
 * .github/workflows, as far as that can be known without running them: their form, their pins, their rights, their scripts.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { validateWorkflow } from '@action-validator/core';
import { load } from 'js-yaml';
import { at } from '../agent/json.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FOLDER = join(ROOT, '.github', 'workflows');
/** GitHub knows this right for longer than the validator's copy of the schema. */
const NEWER_THAN_THE_SCHEMA = /^ +attestations: write\n/gm;
const hasShellcheck = spawnSync('shellcheck', ['--version']).error === undefined;
const scripts = (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }).scripts;

interface Step {
  readonly uses?: string;
  readonly run?: string;
}

interface Job {
  readonly uses?: string;
  readonly permissions?: object;
  readonly 'timeout-minutes'?: number;
  readonly steps?: readonly Step[];
}

for (const file of readdirSync(FOLDER)) {
  describe(`.github/workflows/${file}`, () => {
    const text = readFileSync(join(FOLDER, file), 'utf8');
    const workflow = load(text);
    const jobs = Object.entries(at(workflow, 'jobs') as Readonly<Record<string, Job>>);
    const steps = jobs.flatMap(([, { steps: all = [] }]) => all);
    const runs = steps.flatMap(({ run }) => (run === undefined ? [] : [run]));

    test('has the form that GitHub wants', () => {
      const { errors } = validateWorkflow(text.replace(NEWER_THAN_THE_SCHEMA, '')) as { errors: unknown[] };
      assert.deepEqual(errors, []);
    });

    test('takes every action by its commit, and says which version that is', () => {
      const lines = text.split('\n').filter((line) => /^ *(- )?uses: /.test(line) && !line.includes('uses: ./'));
      assert.ok(lines.length > 0);
      for (const line of lines) assert.match(line, /uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
    });

    test('gives no right to all, and each job its own', () => {
      assert.deepEqual(at(workflow, 'permissions'), {});
      for (const [name, { permissions }] of jobs) assert.ok(permissions !== undefined, name);
    });

    test('leaves no credentials behind for what runs later, and waits for nothing for ever', () => {
      for (const step of steps.filter(({ uses }) => uses?.startsWith('actions/checkout@')))
        assert.equal(at(step, 'with', 'persist-credentials'), false);
      for (const [name, job] of jobs) if (job.uses === undefined) assert.ok((job['timeout-minutes'] ?? 0) > 0, name);
    });

    test('has scripts that a shell reads, into which GitHub pastes nothing', () => {
      for (const run of runs) {
        assert.doesNotMatch(run, /\$\{\{/);
        const { status, stderr } = spawnSync('bash', ['-n'], { input: run, encoding: 'utf8' });
        assert.equal(status, 0, stderr);
      }
    });

    test('has scripts that shellcheck finds nothing in', { skip: hasShellcheck ? false : 'there is no shellcheck' }, () => {
      for (const run of runs) {
        const { stdout } = spawnSync('shellcheck', ['--shell=bash', '-'], { input: run, encoding: 'utf8' });
        assert.equal(stdout, '', run);
      }
    });

    test('runs scripts of package.json that there are', () => {
      const named = runs.flatMap((run) => [...run.matchAll(/npm run (?:--silent )?([\w:-]+)/g)].map(([, name = '']) => name));
      assert.deepEqual(
        named.filter((name) => !(name in scripts)),
        [],
      );
    });
  });
}

describe('what the release puts into the chart and takes out of the Dockerfile', () => {
  const release = readFileSync(join(FOLDER, 'release.yml'), 'utf8');

  test('is where it looks for it', () => {
    const values = readFileSync(join(ROOT, 'charts', 'leasehold', 'values.yaml'), 'utf8');
    const patterns = [...release.matchAll(/"s\|(\^[^|]+\$)\|/g)].map(([, pattern = '']) => new RegExp(pattern, 'gm'));
    assert.equal(patterns.length, 2);
    for (const pattern of patterns) assert.equal([...values.matchAll(pattern)].length, 1, String(pattern));
    const dockerfile = readFileSync(join(ROOT, 'Dockerfile'), 'utf8');
    for (const base of ['BUILD_BASE', 'RUN_BASE']) {
      assert.match(release, new RegExp(`by_digest ${base}`));
      assert.match(dockerfile, new RegExp(`^ARG ${base}=[^@\\s]+:[^:/\\s]+$`, 'm'));
    }
  });
});
