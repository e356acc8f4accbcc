import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { getText } from '../agent/get-text.ts';

describe('a question to this machine', () => {
  let answer: (response: http.ServerResponse) => void;
  let port: number;
  const server = http.createServer((_, response) => answer(response));
  const never = new AbortController().signal;
  const ask = (signal = never): Promise<string> => getText({ host: '127.0.0.1', port, path: '/status', signal });

  before(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ({ port } = server.address() as AddressInfo);
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  test('gives the text of the answer, whatever its status', async () => {
    answer = (response) => response.writeHead(503).end('not ready: ä');
    assert.equal(await ask(), 'not ready: ä');
  });

  test('takes in no answer without an end', async () => {
    const line = 'x'.repeat(64 * 1024);
    answer = (response) => {
      const pour = (): void => {
        while (!response.destroyed && response.write(line));
      };
      response.on('drain', pour);
      pour();
    };
    await assert.rejects(ask(), /longer than 1048576 characters/);
  });

  test('fails where the answer breaks off, and ends with its signal', async () => {
    answer = (response) => {
      response.write('{"role":');
      response.destroy();
    };
    await assert.rejects(ask(), /aborted|socket hang up/);
    const ending = new AbortController();
    answer = () => ending.abort();
    await assert.rejects(ask(ending.signal), { name: 'AbortError' });
  });
});
