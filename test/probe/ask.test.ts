import assert from 'node:assert/strict';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { httpAsk } from '../../agent/probe/http.ts';
import type { ProbeQuestion } from '../../agent/probe/probe.ts';
import { tcpAsk } from '../../agent/probe/tcp.ts';
import { selfSigned } from '../support/certificate.ts';
import { OUTBOUND } from '../support/outbound.ts';

const never = new AbortController().signal;
type HttpQuestion = ProbeQuestion & { kind: 'http' };

let server: http.Server;
let secure: https.Server;
let certificate: { key: string; cert: string };
let connections = 0;

const portOf = (of: http.Server | https.Server | net.Server): number => (of.address() as AddressInfo).port;
const listen = async (of: http.Server | https.Server | net.Server): Promise<void> =>
  new Promise((resolve) => of.listen(0, '127.0.0.1', resolve));

/** Answers with the status that the path names; /host answers 200 only for the right Host header; /hang never answers. */
function answer(request: http.IncomingMessage, response: http.ServerResponse): void {
  if (request.url === '/hang') return;
  const status = request.url === '/host' ? (request.headers.host === 'app.example.org' ? 200 : 404) : Number(request.url?.slice(1));
  response.writeHead(status, { location: '/200' });
  response.end('body');
}

before(async () => {
  certificate = await selfSigned('127.0.0.1');
  server = http.createServer(answer);
  server.on('connection', () => (connections += 1));
  secure = https.createServer(certificate, answer);
  await Promise.all([listen(server), listen(secure)]);
});
after(() => {
  server.close();
  secure.close();
});

function question(path: string, fields: Partial<HttpQuestion> = {}): HttpQuestion {
  const url = new URL(`http://127.0.0.1:${portOf(server)}${path}`);
  return { kind: 'http', url, expect: [[200, 399]], host: null, ca: null, verifyTls: true, ...fields };
}

function overTls(fields: Partial<HttpQuestion> = {}): HttpQuestion {
  return question('/200', { url: new URL(`https://127.0.0.1:${portOf(secure)}/200`), ...fields });
}

const ask = (asked: HttpQuestion, signal = never): Promise<void> => httpAsk(asked, OUTBOUND)(signal);

describe('an http probe', () => {
  test('takes 200 to 399 for good, and redirects are not followed', async () => {
    for (const status of [200, 204, 302, 399]) await ask(question(`/${status}`));
    for (const status of [400, 404, 500, 503]) await assert.rejects(ask(question(`/${status}`)), new RegExp(`answered ${status}`));
  });

  test('takes only what it is told to expect', async () => {
    await ask(question('/418', { expect: [[418, 418]] }));
    await assert.rejects(ask(question('/204', { expect: [[200, 200]] })), /answered 204/);
  });

  test('opens a new connection each time', async () => {
    const before = connections;
    await ask(question('/200'));
    await ask(question('/200'));
    assert.equal(connections - before, 2);
  });

  test('can send a Host of its own', async () => {
    await assert.rejects(ask(question('/host')), /answered 404/);
    await ask(question('/host', { host: 'app.example.org' }));
  });

  test('is refused where nobody listens', async () => {
    const closed = net.createServer();
    await listen(closed);
    const url = new URL(`http://127.0.0.1:${portOf(closed)}/`);
    await new Promise((resolve) => closed.close(resolve));
    await assert.rejects(ask(question('/', { url })), { code: 'ECONNREFUSED' });
  });

  test('ends when its signal says so', async () => {
    const controller = new AbortController();
    const asked = ask(question('/hang'), controller.signal);
    controller.abort(new Error('enough'));
    await assert.rejects(asked);
  });
});

describe('an https probe', () => {
  test('verifies the certificate unless it is told not to', async () => {
    await assert.rejects(ask(overTls()), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    await ask(overTls({ verifyTls: false }));
  });

  test('trusts a CA of its own', async () => {
    await ask(overTls({ ca: certificate.cert }));
  });
});

describe('a tcp probe', () => {
  test('is good when the connection can be opened, and bad when it is refused', async () => {
    const listening = net.createServer();
    await listen(listening);
    const port = portOf(listening);
    await tcpAsk({ kind: 'tcp', host: '127.0.0.1', port }, OUTBOUND)(never);
    await new Promise((resolve) => listening.close(resolve));
    await assert.rejects(tcpAsk({ kind: 'tcp', host: '127.0.0.1', port }, OUTBOUND)(never), { code: 'ECONNREFUSED' });
  });
});
