/**
 * A small cluster for the walk: three nodes in network namespaces, a real kube-apiserver without any of our objects, and as
 * much of controllers, scheduler and kubelet as it takes to run what is applied.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { entryPoint } from '../../test/support/agent-process.ts';
import { HcloudStandIn } from '../../test/support/hcloud-api.ts';
import { spawnIn } from '../../test/support/namespaces.ts';
import type { Assets } from '../control-plane/assets.ts';
import { ControlPlane, kubeconfigFor } from '../control-plane/control-plane.ts';
import type { Attempt } from '../lab/client.ts';
import { API_IPS, buildNetwork, PLACES, removeNetwork, routeTo } from '../lab/network.ts';
import type { Topology } from '../lab/network.ts';
import { LocalServices, startClient } from '../lab/players.ts';
import { FLOATING_IP } from '../lab/stage.ts';
import { Controllers } from './controllers.ts';
import { KUBELET_PORT } from './kubelet.ts';
import type { KubeletOptions } from './kubelet.ts';

export interface ClusterOptions {
  readonly bundle: string;
  readonly assets: Assets & { is: 'available' };
  readonly folder: string;
  readonly topology: Topology;
}

const FLOATING_IP_ID = 4711;
const ACTION_MS = 500;
const RECONCILE_MS = 200;

export class Cluster {
  readonly nodes = PLACES.map(({ name }) => name);
  readonly attempts: Attempt[] = [];
  readonly plane: ControlPlane;
  readonly hcloud: HcloudStandIn;
  /** A kubeconfig of an administrator. */
  readonly kubeconfig: string;
  readonly #services = new LocalServices();
  readonly #kubelets: ChildProcess[] = [];
  readonly #client: ChildProcess;
  readonly #reconciled: Promise<void>;
  #isClosed = false;

  private constructor(plane: ControlPlane, hcloud: HcloudStandIn, kubeconfig: string) {
    this.plane = plane;
    this.hcloud = hcloud;
    this.kubeconfig = kubeconfig;
    this.#client = startClient(this.attempts);
    this.#reconciled = this.#control(new Controllers(plane.admin));
  }

  static async open({ bundle, assets, folder, topology }: ClusterOptions): Promise<Cluster> {
    buildNetwork(topology);
    const plane = await ControlPlane.start({ assets, folder: join(folder, 'control-plane'), host: API_IPS.kubernetes, isEmpty: true });
    const hcloud = await HcloudStandIn.start(
      {
        floatingIps: [{ id: FLOATING_IP_ID, ip: FLOATING_IP }],
        servers: PLACES.map(({ server }) => server),
        actionMs: ACTION_MS,
        onOwner: (_, server) => routeTo(server),
      },
      API_IPS.provider,
    );
    for (const { ip, server } of PLACES) hcloud.serverBySource.set(ip, server);
    const kubeconfig = join(folder, 'kubeconfig');
    mkdirSync(folder, { recursive: true });
    writeFileSync(kubeconfig, kubeconfigFor(plane, plane.adminToken), { mode: 0o600 });
    const cluster = new Cluster(plane, hcloud, kubeconfig);
    for (const { name, ip } of PLACES) await cluster.#join(name, ip, bundle, folder);
    return cluster;
  }

  /** The node that answered a client last; null where none did. */
  servedBy(): string | null {
    return this.attempts.slice(-50).reduce<Attempt>((latest, each) => (each.atMs >= latest.atMs ? each : latest), { atMs: 0, by: null }).by;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#reconciled;
    for (const child of [...this.#kubelets, this.#client]) child.kill('SIGKILL');
    this.#services.close();
    await Promise.all([this.plane.close(), this.hcloud.close()]);
    removeNetwork();
  }

  /** Makes a Node of a namespace, with its kubelet and the service that the address is for. */
  async #join(node: string, ip: string, bundle: string, folder: string): Promise<void> {
    const { admin, adminToken: token, ca, url } = this.plane;
    await admin.create('/api/v1/nodes', {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: node, labels: { 'kubernetes.io/hostname': node, 'kubernetes.io/os': 'linux' } },
      spec: { providerID: `hcloud://${PLACES.find(({ name }) => name === node)?.server ?? 0}` },
    });
    const status = {
      addresses: [{ type: 'InternalIP', address: ip }],
      daemonEndpoints: { kubeletEndpoint: { Port: KUBELET_PORT } },
      conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady' }],
    };
    await admin.request('PATCH', `/api/v1/nodes/${node}/status`, { status }, 'application/merge-patch+json');
    await this.#services.start(node);
    const options: KubeletOptions = {
      node,
      ip,
      api: { url, ca, token },
      entryPoint: entryPoint(bundle),
      folder: join(folder, node),
      env: { HCLOUD_ENDPOINT: this.hcloud.endpoint, HCLOUD_METADATA_ENDPOINT: this.hcloud.metadataEndpoint },
    };
    const script = fileURLToPath(new URL('./kubelet.ts', import.meta.url));
    const env = { PATH: process.env['PATH'] ?? '' };
    const stdio = ['ignore', 'inherit', 'inherit', 'ipc'] as ('ignore' | 'inherit' | 'ipc')[];
    const child = spawnIn(node, [process.execPath, script, JSON.stringify(options)], { env, stdio });
    this.#kubelets.push(child);
    await new Promise((resolve) => child.once('message', resolve));
  }

  async #control(controllers: Controllers): Promise<void> {
    while (!this.#isClosed) {
      await controllers.reconcile();
      await pause(RECONCILE_MS);
    }
  }
}
