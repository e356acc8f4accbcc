import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { createLog } from '../../agent/report/log.ts';
import type { Log } from '../../agent/report/log.ts';
import { blotOut } from '../../agent/secret.ts';
import { eventually } from '../support/eventually.ts';

let folder: string;
let fd: number;
let log: Log;
let secrets: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
  fd = openSync(join(folder, 'log'), 'w');
  secrets = ['very-secret-token'];
});
afterEach(() => {
  log.lastWords(() => undefined);
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

function open(format: 'json' | 'pretty' = 'json', level = 'trace'): void {
  log = createLog({ level, format, fd, base: { node: 'node-a' }, secrets: () => secrets });
}

function written(): string {
  return readFileSync(join(folder, 'log'), 'utf8');
}

describe('the log', () => {
  test('is a JSON object a line, with time, level and node', async () => {
    open();
    log.logger.info({ event: 'start', answer: 42 }, 'hello');
    await eventually('it is written', () => written() !== '');
    const line = JSON.parse(written()) as Record<string, unknown>;
    assert.match(String(line['time']), /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.deepEqual({ ...line, time: '' }, { level: 'info', time: '', node: 'node-a', event: 'start', answer: 42, msg: 'hello' });
  });

  test('never shows a secret, wherever it stands in a line and whatever it is part of', async () => {
    open();
    const error = new Error('POST failed: Bearer very-secret-token', { cause: new Error('very-secret-token') });
    Object.assign(error, { options: { headers: { authorization: 'Bearer very-secret-token' } } });
    log.logger.error({ err: error, url: 'https://x/?t=very-secret-token', deep: { a: ['very-secret-token'] } }, 'very-secret-token');
    await eventually('it is written', () => written() !== '');
    assert.doesNotMatch(written(), /very-secret/);
    assert.match(written(), /\[secret\]/);
  });

  test('never shows a secret that was rotated in meanwhile', async () => {
    open();
    secrets.push('next-secret-token');
    log.logger.info('using next-secret-token');
    await eventually('it is written', () => written() !== '');
    assert.doesNotMatch(written(), /next-secret/);
  });

  test('shows of an error only its name, message, stack and cause', async () => {
    open();
    log.logger.error({ err: Object.assign(new Error('broken'), { request: { huge: true } }) }, 'oh');
    await eventually('it is written', () => written() !== '');
    assert.doesNotMatch(written(), /huge/);
  });

  test('can be read by people', async () => {
    open('pretty');
    log.logger.warn({ event: 'x' }, 'mind very-secret-token');
    await eventually('it is written', () => written() !== '');
    assert.match(written(), /WARN.*mind \[secret\]/);
  });

  test('leaves out what is below its level', () => {
    open('json', 'warn');
    log.logger.info('quiet');
    log.lastWords(() => log.logger.warn('loud'));
    assert.match(written(), /^[^\n]*loud[^\n]*\n$/);
  });

  for (const format of ['json', 'pretty'] as const) {
    test(`has written everything when the last words are said (${format})`, () => {
      open(format);
      for (let count = 0; count < 50; count += 1) log.logger.info(`line ${count}`);
      log.lastWords(() => log.logger.fatal('the end'));
      const lines = written().trim().split('\n');
      assert.equal(lines.length, 51);
      assert.match(lines.at(-1) ?? '', /the end/);
    });
  }
});

describe('when nobody reads', () => {
  test('what cannot be kept is dropped and counted, and the loop does not wait', () => {
    open();
    const line = 'x'.repeat(100_000);
    for (let count = 0; count < 200; count += 1) log.logger.info(line);
    assert.ok(log.dropped() > 0);
  });
});

test('a secret is blotted out in every form it takes', () => {
  assert.equal(blotOut('a p@ss"word b p%40ss%22word c p@ss\\"word', ['p@ss"word']), 'a [secret] b [secret] c [secret]');
  assert.equal(blotOut('a short one stays', ['one']), 'a short one stays');
});
