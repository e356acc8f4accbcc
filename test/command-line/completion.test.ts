import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { bashCompletion, zshCompletion } from '../../agent/command-line/completion.ts';
import { COMMANDS } from '../../agent/command-line/table.ts';

const has = (shell: string): boolean => spawnSync(shell, ['--version']).status === 0;

let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'leasehold-completion-'));
  writeFileSync(join(folder, 'leasehold.bash'), bashCompletion());
  writeFileSync(join(folder, '_leasehold'), zshCompletion());
  writeFileSync(join(folder, 'a-file'), '');
});
after(() => rmSync(folder, { recursive: true }));

describe('completion in bash', { skip: has('bash') ? false : 'there is no bash' }, () => {
  /** What bash offers for the last of some words. */
  function offered(...words: string[]): string[] {
    const script = `
      source ./leasehold.bash
      COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
      _leasehold
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr, status } = spawnSync('bash', ['--norc', '-c', script, 'bash', 'leasehold', ...words], {
      cwd: folder,
      encoding: 'utf8',
    });
    assert.deepEqual([status, stderr], [0, '']);
    return stdout.split('\n').filter((line) => line !== '');
  }

  test('offers every command', () => {
    const words = offered('');
    for (const { name } of COMMANDS) assert.ok(words.includes(name), name);
    assert.deepEqual(offered('sta'), ['status']);
    assert.deepEqual(offered('help', 'ch'), ['check']);
  });

  test('offers the options of each command, and what they take', () => {
    for (const { name, options } of COMMANDS) {
      const words = offered(name, '--');
      assert.deepEqual(
        words,
        options.map((option) => `--${option.name}`),
      );
    }
    assert.deepEqual(offered('status', '--output', ''), ['table', 'json']);
    assert.deepEqual(offered('status', '-o', 'j'), ['json']);
    assert.deepEqual(offered('status', '--kubeconfig', 'a-'), ['a-file']);
    assert.deepEqual(offered('status', '--namespace', ''), []);
    assert.deepEqual(offered('completion', 'z'), ['zsh']);
  });
});

describe('completion in zsh', { skip: has('zsh') ? false : 'there is no zsh' }, () => {
  /** What zsh shows for a line on a terminal of its own. The words that are waited for are not in what is typed. */
  function offered(line: string): string {
    const setUp = [
      'RPROMPT=',
      'fpath=($PWD $fpath)',
      'autoload -Uz compinit',
      'compinit -u -D',
      'zstyle ":completion:*" insert-tab false',
      'setopt auto_list no_list_ambiguous',
      // Shown when the editor takes keys, and not before.
      'PROMPT=RE""ADY',
    ];
    const script = `
      zmodload zsh/zpty
      zpty z 'TERM=dumb COLUMNS=200 LINES=60 zsh -f -i'
      zpty -w z '${setUp.join('; ')}'
      zpty -r z part '*READY*'
      zpty -w -n z "$1"$'\\t'
      zpty -w -n z $'\\x15print DO""NE\\n'
      zpty -r z part '*DONE*'
      print -r -- "$part"
      zpty -d z`;
    return spawnSync('zsh', ['-f', '-c', script, 'zsh', line], { cwd: folder, encoding: 'utf8', timeout: 20_000 }).stdout;
  }

  test('offers every command with what it does', () => {
    const shown = offered('leasehold ');
    for (const { name } of COMMANDS) assert.match(shown, new RegExp(`${name} +-- `));
  });

  test('offers the options of a command, and what they take', () => {
    assert.match(offered('leasehold status --'), /--watch/);
    assert.match(offered('leasehold status --output '), /table/);
    assert.match(offered('leasehold completion '), /zsh/);
  });
});

test('the scripts are sound', () => {
  if (has('bash')) assert.equal(spawnSync('bash', ['-n', join(folder, 'leasehold.bash')], { encoding: 'utf8' }).stderr, '');
  if (has('zsh')) assert.equal(spawnSync('zsh', ['-n', join(folder, '_leasehold')], { encoding: 'utf8' }).stderr, '');
});
