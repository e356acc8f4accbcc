import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Credentials } from '../../agent/kube/credentials.ts';
import { readProviderId } from '../../agent/kube/node.ts';
import { KubeTransport } from '../../agent/kube/transport.ts';
import { KubeApi } from '../support/kube-api.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { OUTBOUND } from '../support/outbound.ts';

const never = new AbortController().signal;

const PROXIED = {
  clusters: [{ name: 'here', cluster: { server: 'https://127.0.0.1:6443', 'proxy-url': 'http://127.0.0.1:3128' } }],
  users: [{ name: 'here', user: {} }],
  contexts: [{ name: 'here', context: { cluster: 'here', user: 'here' } }],
};

let api: KubeApi;
let folder: string;

beforeEach(async () => {
  api = await KubeApi.start();
  api.nodes.set('node-a', 'hcloud://9100201');
  folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
  writeFileSync(join(folder, 'ca.crt'), api.ca);
  writeFileSync(join(folder, 'token'), 'agent-token\n');
});
afterEach(async () => {
  rmSync(folder, { recursive: true });
  await api.close();
});

function inCluster(): Credentials {
  const { hostname, port } = new URL(api.http.url);
  return new Credentials({ kind: 'service-account', host: hostname, port, folder }, REAL_CLOCK);
}

describe('a service account', () => {
  test('is let in with its token, though that ends with a line break', async () => {
    const transport = new KubeTransport(inCluster(), REAL_CLOCK, OUTBOUND);
    assert.deepEqual(await readProviderId(transport, 'node-a', never), { is: 'known', value: 'hcloud://9100201' });
    transport.close();
  });

  test('whose token was rotated is let in with the new one at the first refusal', async () => {
    const transport = new KubeTransport(inCluster(), REAL_CLOCK, OUTBOUND);
    await readProviderId(transport, 'node-a', never);
    api.tokens.set('rotated', { may: () => true });
    api.tokens.delete('agent-token');
    writeFileSync(join(folder, 'token'), 'rotated');
    assert.equal((await readProviderId(transport, 'node-a', never)).is, 'known');
    assert.equal(api.http.exchanges.filter(({ status }) => status === 401).length, 1);
    transport.close();
  });

  test('whose token is not accepted is asked once more and no oftener', async () => {
    api.tokens.clear();
    const transport = new KubeTransport(inCluster(), REAL_CLOCK, OUTBOUND);
    assert.equal((await readProviderId(transport, 'node-a', never)).is, 'unknown');
    assert.equal(api.http.exchanges.length, 2);
    transport.close();
  });

  test('that may not read Nodes gets an explanation and no error', async () => {
    api.tokens.set('agent-token', { may: (_, resource) => resource === 'leases' });
    const transport = new KubeTransport(inCluster(), REAL_CLOCK, OUTBOUND);
    const outcome = await readProviderId(transport, 'node-a', never);
    assert.ok(outcome.is === 'unknown' && outcome.reason.startsWith('the Node node-a cannot be read: 403'));
    transport.close();
  });
});

describe('credentials that cannot be read', () => {
  test('are an error that names the place, and none that holds a credential', async () => {
    rmSync(join(folder, 'token'));
    await assert.rejects(inCluster().access(), (error: Error) => error.message.includes(folder) && !error.message.includes('agent-token'));
    const path = join(folder, 'kubeconfig');
    writeFileSync(path, 'not: a kubeconfig');
    await assert.rejects(new Credentials({ kind: 'kubeconfig', path }, REAL_CLOCK).access(), new RegExp(path));
  });

  test('are an error that quotes nothing of a kubeconfig that is no YAML', async () => {
    const path = join(folder, 'kubeconfig');
    writeFileSync(path, 'users:\n- name: a\n  user:\n    token: very-secret-token\n   broken: [');
    await assert.rejects(
      new Credentials({ kind: 'kubeconfig', path }, REAL_CLOCK).access(),
      ({ message }: Error) => /it is not YAML: .* in line \d/.test(message) && !message.includes('very-secret'),
    );
  });

  test('are an error where they demand a proxy, which nobody would use', async () => {
    const path = join(folder, 'kubeconfig');
    writeFileSync(path, JSON.stringify({ ...PROXIED, 'current-context': 'here' }));
    await assert.rejects(
      new Credentials({ kind: 'kubeconfig', path }, REAL_CLOCK).access(),
      /names a proxy-url, and the agent connects directly only/,
    );
  });

  test('are read again once they are there', async () => {
    rmSync(join(folder, 'token'));
    const credentials = inCluster();
    await assert.rejects(credentials.access());
    writeFileSync(join(folder, 'token'), 'agent-token');
    assert.equal((await credentials.access()).headers['Authorization'], 'Bearer agent-token');
  });
});

test('what was read is used again for a few seconds, so that each request does not read files', async () => {
  const clock = new ManualClock();
  const path = join(folder, 'kubeconfig');
  writeFileSync(path, api.kubeconfig());
  const credentials = new Credentials({ kind: 'kubeconfig', path }, clock);
  const first = await credentials.access();
  assert.equal(await credentials.access(), first);
  await clock.advance(10_000);
  assert.notEqual(await credentials.access(), first);
});
