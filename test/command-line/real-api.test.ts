/**
 * Port-forward and rights against a real kube-apiserver, which dials a stand-in of a kubelet.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { clusterStatus } from '../../agent/command-line/cluster-status.ts';
import type { ClusterStatus } from '../../agent/command-line/cluster-status.ts';
import { isAnotherPrograms, nodeOfIdentity } from '../../agent/contender/lease.ts';
import { runChecks } from '../../agent/finding.ts';
import { kubeChecks } from '../../agent/kube/checks.ts';
import type { FollowedApplication } from '../../agent/kube/checks.ts';
import type { ApiAccess } from '../../agent/kube/credentials.ts';
import { getFromPod } from '../../agent/kube/port-forward.ts';
import { KubeTransport } from '../../agent/kube/transport.ts';
import { findAssets } from '../../e2e/control-plane/assets.ts';
import { ControlPlane } from '../../e2e/control-plane/control-plane.ts';
import { NAMESPACE } from '../../e2e/control-plane/our-manifests.ts';
import { selfSigned } from '../support/certificate.ts';
import { OUTBOUND } from '../support/outbound.ts';
import { forwardPort } from '../support/port-forward.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';

const assets = findAssets(process.env);
const never = new AbortController().signal;

describe('through a real API server', { skip: assets.is === 'unavailable' ? assets.why : false }, () => {
  let folder: string;
  let plane: ControlPlane;
  let kubelet: https.Server;
  let agent: http.Server;
  const asked: string[] = [];
  const upgraded = new Set<Duplex>();

  before(async () => {
    if (assets.is === 'unavailable') return;
    folder = mkdtempSync(join(tmpdir(), 'leasehold-real-api-'));
    plane = await ControlPlane.start({ assets, folder });
    kubelet = https.createServer(await selfSigned('127.0.0.1'));
    kubelet.on('upgrade', (request, socket, head) => {
      asked.push(request.url ?? '');
      upgraded.add(socket);
      forwardPort(request, socket, head);
    });
    await new Promise<void>((resolve) => kubelet.listen(0, '127.0.0.1', resolve));
    const lease = { namespace: NAMESPACE, name: 'leasehold' };
    agent = http.createServer((_, response) =>
      response.end(JSON.stringify({ identity: 'node-a_1_2', node: 'node-a', role: 'standby', lease, padding: 'x'.repeat(100_000) })),
    );
    await new Promise<void>((resolve) => agent.listen(0, '127.0.0.1', resolve));
    await runPodOn('node-a');
  });

  after(async () => {
    for (const socket of upgraded) socket.destroy();
    kubelet.closeAllConnections();
    kubelet.close();
    agent.closeAllConnections();
    agent.close();
    await plane.close();
    rmSync(folder, { recursive: true });
  });

  const portOf = (server: http.Server | https.Server): number => (server.address() as AddressInfo).port;

  /** A Node whose kubelet is the stand-in, and on it an agent's pod that runs. */
  async function runPodOn(name: string): Promise<void> {
    const { admin } = plane;
    await admin.create('/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name } });
    const status = {
      addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port: portOf(kubelet) } },
    };
    await admin.request('PATCH', `/api/v1/nodes/${name}/status`, { status }, 'application/merge-patch+json');
    const probe = { httpGet: { host: '127.0.0.1', port: portOf(agent), path: '/healthz' } };
    const pods = `/api/v1/namespaces/${NAMESPACE}/pods`;
    await admin.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `leasehold-${name}`, labels: { 'app.kubernetes.io/name': 'leasehold' } },
      spec: {
        nodeName: name,
        serviceAccountName: 'leasehold',
        // Nobody here hands tokens out.
        automountServiceAccountToken: false,
        containers: [{ name: 'leasehold', image: 'leasehold', livenessProbe: probe }],
        tolerations: [{ operator: 'Exists' }],
      },
    });
    await admin.request('PATCH', `${pods}/leasehold-${name}/status`, { status: { phase: 'Running' } }, 'application/merge-patch+json');
  }

  function access(token: string): ApiAccess {
    return { server: new URL(plane.url), headers: { authorization: `Bearer ${token}` }, basicAuth: undefined, tls: { ca: plane.ca } };
  }

  function transport(token: string): KubeTransport {
    const credentials = { access: () => Promise.resolve(access(token)), reload: () => undefined };
    return new KubeTransport(credentials as never, REAL_CLOCK, OUTBOUND);
  }

  async function statusWith(token: string): Promise<ClusterStatus> {
    const http = transport(token);
    try {
      return await clusterStatus({
        http,
        lease: { namespace: NAMESPACE, name: 'leasehold' },
        signal: never,
        readLocal: () => Promise.reject(new Error('nobody')),
        readPod: (pod, port) =>
          getFromPod({ namespace: NAMESPACE, pod, port }, '/status', {
            ...OUTBOUND,
            access: access(token),
            clock: REAL_CLOCK,
            timeoutMs: 5_000,
            signal: never,
          }),
      });
    } finally {
      http.close();
    }
  }

  test('an operator sees what the agent of each pod says', async () => {
    const status = await statusWith(plane.adminToken);
    assert.ok(status.is === 'known');
    assert.deepEqual(
      status.nodes.map(({ node, source, problem, role }) => [node, source, problem, role]),
      [['node-a', 'port-forward', null, 'standby']],
    );
    assert.deepEqual(status.missing, []);
    assert.match(asked[0] ?? '', new RegExp(`^/portForward/${NAMESPACE}/leasehold-node-a`));
  });

  test('an agent’s own rights show the Lease, and what is missing is named', async () => {
    const status = await statusWith(plane.token);
    assert.ok(status.is === 'known');
    assert.deepEqual([status.nodes, status.missing.length], [[], 1]);
    assert.match(status.missing[0] ?? '', /the right to list pods in leasehold/);
  });

  test('a stranger is told that the credentials are not accepted', async () => {
    const status = await statusWith('made-up');
    assert.ok(status.is === 'unreadable');
    assert.match(status.message, /401 .*the credentials are not accepted/);
  });

  test('a pod that does not answer is found out in time', async () => {
    const options = { ...OUTBOUND, access: access(plane.adminToken), clock: REAL_CLOCK, timeoutMs: 5_000, signal: never };
    await assert.rejects(getFromPod({ namespace: NAMESPACE, pod: 'leasehold-node-a', port: 1 }, '/status', options), /ECONNREFUSED/);
    await assert.rejects(getFromPod({ namespace: NAMESPACE, pod: 'nowhere', port: 1 }, '/status', options), /not found/);
    const silent = http.createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const target = { namespace: NAMESPACE, pod: 'leasehold-node-a', port: portOf(silent) };
    await assert.rejects(getFromPod(target, '/status', { ...options, timeoutMs: 300 }), /no answer within 300ms/);
    silent.closeAllConnections();
    silent.close();
  });

  test('the rights that our Role gives are found to be there, and no others', async () => {
    const levels = async (name: string, token = plane.token, application: FollowedApplication | null = null): Promise<string[]> => {
      const http = transport(token);
      const checks = kubeChecks({
        http,
        lease: { namespace: NAMESPACE, name },
        application,
        addresses: ['203.0.113.10'],
        apiServer: () => Promise.resolve(new URL(plane.url)),
        resolve: () => Promise.resolve([]),
        isAnotherPrograms,
        nodeOf: nodeOfIdentity,
        requestTimeoutMs: 600,
        clock: REAL_CLOCK,
      });
      const findings = await runChecks(checks, REAL_CLOCK, never);
      http.close();
      return findings.filter(({ name: each }) => each !== 'rights: events').map(({ name: each, level }) => `${each}: ${level}`);
    };
    assert.deepEqual(await levels('leasehold'), ['kubernetes: ok', 'way to the API: ok', 'rights: ok', 'lease: ok']);
    const following = { namespace: 'default', byService: true, evictsIn: NAMESPACE };
    const rights = 'rights: application';
    const ordinary = ['kubernetes: ok', 'way to the API: ok', 'rights: ok'];
    assert.deepEqual(await levels('leasehold', plane.token, following), [...ordinary, `${rights}: fail`, `${rights}: fail`, 'lease: ok']);
    assert.deepEqual(await levels('leasehold', plane.adminToken, following), [...ordinary, `${rights}: ok`, `${rights}: ok`, 'lease: ok']);
    assert.deepEqual(await levels('another'), ['kubernetes: ok', 'way to the API: ok', 'rights: fail', 'lease: fail']);
    assert.deepEqual(await levels('leasehold', 'made-up'), ['kubernetes: fail', 'way to the API: ok', 'rights: warn', 'lease: fail']);
  });
});
