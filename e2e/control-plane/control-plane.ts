/**
 * A real Kubernetes control plane for one test or lab: etcd and kube-apiserver, with TLS, RBAC and ServiceAccount tokens.
 *
 * Guarantees: it listens on one address of this network namespace and on loopback, stores everything in one folder, and
 * holds what our manifests describe: agents are let in by the ServiceAccount's token, and their rights are those of the
 * Role. There is no controller and no kubelet, so nothing but the API answers. Works with kube-apiserver from 1.20 on.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { stringAt } from '../../agent/json.ts';
import { selfSigned } from '../../test/support/certificate.ts';
import { monotonicMs } from '../../test/support/monotonic.ts';
import type { Assets } from './assets.ts';
import { KubeAdmin } from './kube-admin.ts';
import { applyManifests, NAMESPACE, SERVICE_ACCOUNT } from './our-manifests.ts';

export interface ControlPlaneOptions {
  readonly assets: Assets & { is: 'available' };
  /** For its data, keys and logs. Made if it is not there. */
  readonly folder: string;
  /** The address of this network namespace where the API is served. */
  readonly host?: string;
}

const READY_MS = 60_000;
const LOOK_MS = 50;
const AUDIENCE = 'https://kubernetes.default.svc';
const TOKEN_LIFE_S = 6 * 3_600;
const LOG_LINES = 5;

export class ControlPlane {
  readonly url: string;
  /** What the API server is known by, in PEM. */
  readonly ca: string;
  /** May do everything. */
  readonly admin: KubeAdmin;
  /** The administrator's token. */
  readonly adminToken: string;
  readonly #options: ControlPlaneOptions;
  readonly #flags: readonly string[];
  readonly #etcd: ChildProcess;
  #apiserver: ChildProcess | null = null;
  #token = '';

  private constructor(
    options: ControlPlaneOptions,
    start: { ca: string; url: string; adminToken: string; flags: string[]; etcd: ChildProcess },
  ) {
    this.#options = options;
    this.ca = start.ca;
    this.url = start.url;
    this.adminToken = start.adminToken;
    this.admin = new KubeAdmin({ url: start.url, ca: start.ca, token: start.adminToken });
    this.#flags = start.flags;
    this.#etcd = start.etcd;
  }

  /** Starts both programs and resolves when the API is ready and holds what our manifests describe. */
  static async start(options: ControlPlaneOptions): Promise<ControlPlane> {
    const { folder, assets, host = '127.0.0.1' } = options;
    mkdirSync(folder, { recursive: true });
    const [apiPort = 0, etcdPort = 0, peerPort = 0] = await freePorts(host, 3);
    const etcdUrl = `http://127.0.0.1:${etcdPort}`;
    const peerUrl = `http://127.0.0.1:${peerPort}`;
    const etcd = run(assets.etcd, join(folder, 'etcd.log'), [
      `--data-dir=${join(folder, 'etcd')}`,
      `--listen-client-urls=${etcdUrl}`,
      `--advertise-client-urls=${etcdUrl}`,
      `--listen-peer-urls=${peerUrl}`,
      `--initial-advertise-peer-urls=${peerUrl}`,
      `--initial-cluster=default=${peerUrl}`,
      // What it stores is gone with the test anyway.
      '--unsafe-no-fsync',
    ]);
    const { key, cert } = await selfSigned(host);
    const adminToken = randomBytes(16).toString('hex');
    const file = (name: string, text: string): string => {
      writeFileSync(join(folder, name), text, { mode: 0o600 });
      return join(folder, name);
    };
    const keys = generateKeyPairSync('rsa', {
      modulusLength: 2_048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    const flags = [
      `--etcd-servers=${etcdUrl}`,
      `--bind-address=${host}`,
      `--advertise-address=${host}`,
      `--secure-port=${apiPort}`,
      `--tls-cert-file=${file('api.crt', cert)}`,
      `--tls-private-key-file=${file('api.key', key)}`,
      // It would publish its own address, for which there is neither use nor, on loopback, leave.
      '--endpoint-reconciler-type=none',
      '--authorization-mode=RBAC',
      // A Pod may be made: no controller gives its ServiceAccount what this would ask for.
      '--disable-admission-plugins=ServiceAccount',
      `--token-auth-file=${file('tokens.csv', `${adminToken},admin,1,system:masters\n`)}`,
      `--service-account-issuer=${AUDIENCE}`,
      `--api-audiences=${AUDIENCE}`,
      `--service-account-key-file=${file('service-account.pub', keys.publicKey)}`,
      `--service-account-signing-key-file=${file('service-account.key', keys.privateKey)}`,
      '--service-cluster-ip-range=10.96.0.0/24',
    ];
    const plane = new ControlPlane(options, { ca: cert, url: `https://${host}:${apiPort}`, adminToken, flags, etcd });
    try {
      await plane.startApiserver();
      await applyManifests(plane.admin);
      plane.#token = await plane.#requestToken();
    } catch (error) {
      await plane.close();
      throw error;
    }
    return plane;
  }

  /** Starts the API server again, on the same port with the same data, and resolves when it is ready. */
  async startApiserver(): Promise<void> {
    const log = join(this.#options.folder, 'kube-apiserver.log');
    const apiserver = run(this.#options.assets.kubeApiserver, log, this.#flags);
    this.#apiserver = apiserver;
    const giveUpAtMs = monotonicMs() + READY_MS;
    while (!(await this.#isReady())) {
      if (apiserver.exitCode === null && monotonicMs() < giveUpAtMs) await pause(LOOK_MS);
      else throw new Error(`kube-apiserver did not become ready; the end of its log:\n${endOf(log)}`);
    }
  }

  /** Kills the API server: every connection to it ends at once. */
  async killApiserver(): Promise<void> {
    if (this.#apiserver !== null) await end(this.#apiserver);
    this.#apiserver = null;
  }

  /** Freezes the API server: connections stand and are accepted, and nothing is answered. */
  freezeApiserver(): void {
    this.#apiserver?.kill('SIGSTOP');
  }

  thawApiserver(): void {
    this.#apiserver?.kill('SIGCONT');
  }

  /** The token of our ServiceAccount, which may do what our Role allows. */
  get token(): string {
    return this.#token;
  }

  async close(): Promise<void> {
    this.admin.close();
    await this.killApiserver();
    await end(this.#etcd);
  }

  async #isReady(): Promise<boolean> {
    try {
      return (await this.admin.request('GET', '/readyz')).status === 200;
    } catch {
      return false;
    }
  }

  async #requestToken(): Promise<string> {
    const request = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { audiences: [AUDIENCE], expirationSeconds: TOKEN_LIFE_S },
    };
    const answer = await this.admin.create(`/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${SERVICE_ACCOUNT}/token`, request);
    const token = stringAt(answer, 'status', 'token');
    if (token === undefined) throw new Error('the API server has made no token');
    return token;
  }
}

/** A kubeconfig with one cluster and one token. */
export function kubeconfigFor(cluster: { readonly url: string; readonly ca: string }, token: string): string {
  const name = 'lab';
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server: cluster.url, 'certificate-authority-data': Buffer.from(cluster.ca).toString('base64') } }],
    users: [{ name, user: { token } }],
    contexts: [{ name, context: { cluster: name, user: name, namespace: NAMESPACE } }],
    'current-context': name,
  });
}

function run(program: string, log: string, flags: readonly string[]): ChildProcess {
  const file = openSync(log, 'a');
  const child = spawn(program, flags, { stdio: ['ignore', file, file] });
  closeSync(file);
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

function endOf(log: string): string {
  return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-LOG_LINES).join('\n');
}

/** Ports that nobody listens on now. All are held while they are looked for, so that they differ. */
async function freePorts(host: string, count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => net.createServer());
  for (const server of servers) await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  return ports;
}
