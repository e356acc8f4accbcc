import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { replaceFile } from '../agent/replace-file.ts';

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leasehold-replace-'));
  path = join(folder, 'token');
  writeFileSync(path, 'old');
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('replacing what a file holds', () => {
  test('keeps who may read it, and leaves nothing beside it', () => {
    chmodSync(path, 0o640);
    replaceFile(path, 'new', 'x');
    assert.equal(readFileSync(path, 'utf8'), 'new');
    assert.equal(statSync(path).mode & 0o7777, 0o640);
    assert.deepEqual(readdirSync(folder), ['token']);
  });

  test('puts another file in its place, so that whoever reads has the old one to its end', () => {
    const before = statSync(path).ino;
    replaceFile(path, 'new', 'x');
    assert.notEqual(statSync(path).ino, before);
  });

  test('follows a link, and leaves that one as it is', () => {
    symlinkSync('token', join(folder, 'link'));
    replaceFile(join(folder, 'link'), 'new', 'x');
    assert.equal(readFileSync(path, 'utf8'), 'new');
    assert.deepEqual(readdirSync(folder).sort(), ['link', 'token']);
  });

  test('that has no room for all of it leaves the file as it was, and nothing beside it', () => {
    const module = join(import.meta.dirname, '../agent/replace-file.ts');
    const program = `const { replaceFile } = await import(${JSON.stringify(module)}); replaceFile(${JSON.stringify(path)}, 'x'.repeat(3_000), 'y');`;
    // A file may not grow beyond 1 KiB there, or half of that, and going beyond is an error and not the end.
    const script = `trap '' XFSZ; ulimit -f 1; exec "$@"`;
    const { status, stderr } = spawnSync('sh', ['-c', script, 'sh', process.execPath, '--input-type=module', '--eval', program], {
      encoding: 'utf8',
    });
    assert.notEqual(status, 0);
    assert.match(stderr, /EFBIG/);
    assert.equal(readFileSync(path, 'utf8'), 'old');
    assert.deepEqual(readdirSync(folder), ['token']);
  });

  test('that fails leaves the file as it was, and nothing beside it', () => {
    assert.throws(() => replaceFile(join(folder, 'absent'), 'new', 'x'), /ENOENT/);
    mkdirSync(join(folder, 'sub'));
    assert.throws(() => replaceFile(join(folder, 'sub'), 'new', 'x'), /EISDIR|ENOTEMPTY|EEXIST/);
    writeFileSync(`${path}.taken`, 'another one');
    assert.throws(() => replaceFile(path, 'new', 'taken'), /EEXIST/);
    assert.equal(readFileSync(path, 'utf8'), 'old');
    assert.equal(readFileSync(`${path}.taken`, 'utf8'), 'another one');
    assert.deepEqual(readdirSync(folder).sort(), ['sub', 'token', 'token.taken']);
  });
});
