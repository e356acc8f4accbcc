/**
 * Three agents as real processes on loopback, with interfaces in memory: the same acts where no namespace can be had.
 *
 * Real here: the agents, their Kubernetes and provider requests, their probes. Imitated: interfaces, the route of the
 * floating IP, and the client, which is answered if the owner's node has the address bound, its service alive and its
 * cables whole.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeOfIdentity } from '../../agent/contender/lease.ts';
import { boottimeMs } from '../../agent/link/libc.ts';
import { AgentProcess, entryPoint } from '../../test/support/agent-process.ts';
import { HcloudStandIn } from '../../test/support/hcloud-api.ts';
import { KubeApi } from '../../test/support/kube-api.ts';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { Cable } from './cable.ts';
import type { Attempt } from './client.ts';
import type { BoundMessage } from './memory-agent.ts';
import { FLOATING_IP } from './stage.ts';
import type { Stage } from './stage.ts';
import { Watcher } from './watcher.ts';
import type { Bound } from './watcher.ts';

const CLIENT_INTERVAL_MS = 20;
const FLOATING_IP_ID = 310_077;

interface NodePlace {
  readonly name: string;
  readonly server: number;
  readonly kube: Cable;
  readonly hcloud: Cable;
  readonly servicePort: number;
  readonly statusPort: number;
  service: http.Server | null;
  isHanging: boolean;
  isCut: boolean;
  boundUntilMs: number;
  agent: AgentProcess | null;
}

export interface MemoryStageOptions {
  /** The bundle of memory-agent.ts. */
  readonly bundle: string;
  readonly moveMs: number;
}

export class MemoryStage implements Stage {
  readonly attempts: Attempt[] = [];
  readonly #options: MemoryStageOptions;
  readonly #kube: KubeApi;
  readonly #hcloud: HcloudStandIn;
  readonly #places: readonly NodePlace[];
  readonly #watcher: Watcher;
  readonly #folder = mkdtempSync(join(tmpdir(), 'leasehold-demo-'));
  readonly #client: NodeJS.Timeout;

  private constructor(options: MemoryStageOptions, kube: KubeApi, hcloud: HcloudStandIn, places: readonly NodePlace[], watcher: Watcher) {
    this.#options = options;
    this.#kube = kube;
    this.#hcloud = hcloud;
    this.#places = places;
    this.#watcher = watcher;
    this.#client = setInterval(() => this.#look(), CLIENT_INTERVAL_MS);
  }

  static async open(options: MemoryStageOptions): Promise<MemoryStage> {
    const watcher = new Watcher({
      timings: { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, providerTimeoutMs: 30_000 },
      kind: 'routed',
      nowMs: monotonicMs,
    });
    const names = ['node-a', 'node-b', 'node-c'];
    const kube = await KubeApi.start();
    kube.onStored = (lease) => watcher.onLease(lease);
    kube.create();
    const hcloud = await HcloudStandIn.start({
      floatingIps: [{ id: FLOATING_IP_ID, ip: FLOATING_IP }],
      servers: names.map((_, index) => index + 1),
      actionMs: options.moveMs,
      // Every request comes from loopback here, but a node only ever assigns to itself.
      onAccepted: ({ server }) => watcher.onProviderWrite(names[(server ?? 0) - 1] ?? 'an unknown node'),
    });
    const places = await Promise.all(
      names.map(async (name, index) => ({
        name,
        server: index + 1,
        kube: await Cable.to(kube.http.port),
        hcloud: await Cable.to(hcloud.http.port),
        servicePort: await freePort(),
        statusPort: await freePort(),
        service: null,
        isHanging: false,
        isCut: false,
        boundUntilMs: 0,
        agent: null,
      })),
    );
    const stage = new MemoryStage(options, kube, hcloud, places, watcher);
    for (const { name } of places) await stage.startService(name);
    return stage;
  }

  get nodes(): readonly string[] {
    return this.#places.map(({ name }) => name);
  }

  get violations(): readonly string[] {
    return this.#watcher.violations;
  }

  get samples(): number {
    return this.#watcher.samples;
  }

  startAgent(node: string): void {
    const place = this.#place(node);
    const kubeconfig = join(this.#folder, node);
    writeFileSync(kubeconfig, this.#kube.kubeconfig().replace(`:${this.#kube.http.port}`, `:${place.kube.port}`));
    const [program = '', ...args] = entryPoint(this.#options.bundle);
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      env: {
        NODE_NAME: node,
        KUBECONFIG: kubeconfig,
        ADDRESSES: FLOATING_IP,
        PROVIDER: 'hcloud-floating-ip',
        HCLOUD_TOKEN: 'hcloud-token',
        HCLOUD_ENDPOINT: this.#hcloud.endpoint.replace(`:${this.#hcloud.http.port}`, `:${place.hcloud.port}`),
        HCLOUD_SERVER_ID: String(place.server),
        PROBES: `http://127.0.0.1:${place.servicePort}/`,
        LISTEN: `127.0.0.1:${place.statusPort}`,
        CONTROL_SOCKET: `${kubeconfig}.sock`,
        LEFT_BOUND_UNTIL_MS: String(place.boundUntilMs),
      },
    });
    child.on('message', ({ untilMs }: BoundMessage) => (place.boundUntilMs = untilMs));
    place.agent = new AgentProcess(node, child);
  }

  async stopAgent(node: string): Promise<number | string> {
    return await this.#end(node, 'SIGTERM');
  }

  async killAgent(node: string): Promise<void> {
    await this.#end(node, 'SIGKILL');
  }

  async startService(node: string): Promise<void> {
    const place = this.#place(node);
    place.isHanging = false;
    if (place.service !== null) return;
    const service = http.createServer((_, response) => {
      if (!place.isHanging) response.end(node);
    });
    await new Promise<void>((resolve) => service.listen(place.servicePort, '127.0.0.1', resolve));
    place.service = service;
  }

  async stopService(node: string, how: 'refuse' | 'hang'): Promise<void> {
    const place = this.#place(node);
    if (how === 'hang') {
      place.isHanging = true;
      return;
    }
    const { service } = place;
    place.service = null;
    service?.closeAllConnections();
    await new Promise((resolve) => service?.close(resolve));
  }

  cutOff(node: string): void {
    const place = this.#place(node);
    place.isCut = true;
    place.kube.cut();
    place.hcloud.cut();
  }

  reconnect(node: string): void {
    const place = this.#place(node);
    place.isCut = false;
    place.kube.mend();
    place.hcloud.mend();
  }

  holder(): string | null {
    const identity = this.#kube.lease()?.spec.holderIdentity ?? '';
    return identity === '' ? null : nodeOfIdentity(identity);
  }

  owner(): string | null {
    const server = this.#hcloud.ownerOf(FLOATING_IP);
    return this.#places.find((place) => place.server === server)?.name ?? null;
  }

  boundOn(): readonly string[] {
    return this.#bound().map(({ node }) => node);
  }

  async role(node: string): Promise<string | null> {
    try {
      const response = await fetch(`http://127.0.0.1:${this.#place(node).statusPort}/status`);
      return ((await response.json()) as { role: string }).role;
    } catch {
      return null;
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#client);
    for (const { name, agent, service, kube, hcloud } of this.#places) {
      if (agent?.isRunning === true) await this.killAgent(name);
      service?.closeAllConnections();
      service?.close();
      kube.close();
      hcloud.close();
    }
    await Promise.all([this.#kube.close(), this.#hcloud.close()]);
    rmSync(this.#folder, { recursive: true });
  }

  /** What a client behind the router would find, and what must never be. */
  #look(): void {
    const bound = this.#bound();
    // Everything is in this process: it is all looked at in one instant.
    const cutOff = this.#places.filter(({ isCut }) => isCut).map(({ name }) => name);
    const alive = this.#places.filter(({ agent }) => agent?.isRunning === true).map(({ name }) => name);
    this.#watcher.onSample({ bound, owner: this.owner(), cutOff, deaf: cutOff, alive, isAtOnce: true });
    const owner = this.#places.find(({ name }) => name === this.owner());
    const isAnswered =
      owner !== undefined && !owner.isCut && !owner.isHanging && owner.service !== null && bound.some(({ node }) => node === owner.name);
    this.attempts.push({ atMs: monotonicMs(), by: isAnswered ? owner.name : null });
  }

  #bound(): Bound[] {
    const nowMs = boottimeMs();
    return this.#places
      .map(({ name, boundUntilMs }) => ({ node: name, remainingMs: boundUntilMs - nowMs }))
      .filter(({ remainingMs }) => remainingMs > 0);
  }

  async #end(node: string, signal: NodeJS.Signals): Promise<number | string> {
    const { agent } = this.#place(node);
    if (agent?.isRunning !== true) throw new Error(`no agent runs on ${node}`);
    agent.signal(signal);
    return await agent.ended;
  }

  #place(node: string): NodePlace {
    const place = this.#places.find(({ name }) => name === node);
    if (place === undefined) throw new Error(`there is no ${node}`);
    return place;
  }
}

async function freePort(): Promise<number> {
  const server = http.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
