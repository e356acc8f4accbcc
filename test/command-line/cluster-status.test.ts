import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusterStatus } from '../../agent/command-line/cluster-status.ts';
import { statusText } from '../../agent/command-line/status-text.ts';
import type { KubeHttp } from '../../agent/kube/transport.ts';

const LEASE = { namespace: 'leasehold', name: 'leasehold' };

/** A pod whose probe names its port, as the manifests write it. */
const POD = {
  metadata: { name: 'leasehold-x' },
  spec: {
    nodeName: 'node-a',
    containers: [{ ports: [{ name: 'http', containerPort: 9_809 }], livenessProbe: { httpGet: { port: 'http' } } }],
  },
  status: { phase: 'Running' },
};

const http: KubeHttp = {
  request: ({ path }) =>
    Promise.resolve(
      path.includes('/pods')
        ? { status: 200, retryAfterMs: null, body: JSON.stringify({ items: [POD] }) }
        : {
            status: 200,
            retryAfterMs: null,
            body: JSON.stringify({ metadata: { ...LEASE, uid: 'u', resourceVersion: '1' }, spec: {} }),
          },
    ),
  stream: () => assert.fail(),
};

async function nodesWhere(lease: { readonly namespace: string; readonly name: string }, asked: number[] = []): Promise<string> {
  const status = await clusterStatus({
    http,
    lease: LEASE,
    signal: new AbortController().signal,
    readLocal: () => Promise.reject(new Error('nobody is there')),
    readPod: (_pod, port) => {
      asked.push(port);
      return Promise.resolve(JSON.stringify({ identity: 'node-a_1_2', node: 'node-a', role: 'serving', lease }));
    },
  });
  assert.equal(status.is, 'known');
  return JSON.stringify(status.is === 'known' ? status.nodes : []);
}

test('an agent is asked at the port that its probe names', async () => {
  const asked: number[] = [];
  assert.match(await nodesWhere(LEASE, asked), /serving/);
  assert.deepEqual(asked, [9_809]);
});

test('what an agent says of a budget that is nearly used up and of a contested address stands below the table', async () => {
  const said = {
    identity: 'node-a_1_2',
    node: 'node-a',
    role: 'serving',
    lease: LEASE,
    addresses: [{ address: '203.0.113.10', state: 'bound', contest: { losses: 3 } }],
    problems: [
      { name: 'budget', message: 'routing requests: 15 of 20 within 60 min are used' },
      { name: '203.0.113.10', message: '203.0.113.10: somebody else claims it, too' },
      { name: 'log', message: 'lines were dropped' },
    ],
  };
  const status = await clusterStatus({
    http,
    lease: LEASE,
    signal: new AbortController().signal,
    readLocal: () => Promise.resolve(JSON.stringify(said)),
    readPod: () => Promise.resolve(JSON.stringify(said)),
  });
  assert.ok(status.is === 'known');
  const text = statusText(status, { width: 120, paint: (_, plain) => plain, wallMs: 0 });
  assert.match(
    text,
    /\nnode-a: routing requests: 15 of 20 within 60 min are used\nnode-a: 203\.0\.113\.10: somebody else claims it, too\n/,
  );
  assert.doesNotMatch(text, /dropped/);
});

test('what an agent of another installation says is not taken for the pod’s own word', async () => {
  const nodes = await nodesWhere({ namespace: 'leasehold', name: 'second' });
  assert.match(nodes, /an agent for another Lease answers there/);
  assert.doesNotMatch(nodes, /serving/);
});
