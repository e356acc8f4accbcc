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
import { spawnIn } from '../../test/support/namespaces.ts';
import { STAND_INS } from '../../test/support/stand-ins/all.ts';
import type { RoutedProviderName } from '../../test/support/stand-ins/all.ts';
import type { ProviderStandIn } from '../../test/support/stand-ins/stand-in.ts';
import type { Assets } from '../control-plane/assets.ts';
import { ControlPlane, kubeconfigFor } from '../control-plane/control-plane.ts';
import type { Attempt } from '../lab/client.ts';
import { API_IPS, buildNetwork, PLACES, removeNetwork, routeAddress } from '../lab/network.ts';
import { LocalServices, startClient } from '../lab/players.ts';
import { Controllers } from './controllers.ts';
import { KUBELET_PORT } from './kubelet.ts';
import type { KubeletOptions } from './kubelet.ts';

export interface ClusterOptions {
  readonly bundle: string;
  readonly assets: Assets & { is: 'available' };
  readonly folder: string;
  /** Who routes the address; null where the nodes share a segment and nobody does. */
  readonly provider: RoutedProviderName | null;
  /** The address that clients try. */
  readonly address: string;
}

/** How long one change takes at a provider. */
const MOVE_MS = 500;
const RECONCILE_MS = 200;

export class Cluster {
  readonly nodes = PLACES.map(({ name }) => name);
  readonly attempts: Attempt[] = [];
  readonly plane: ControlPlane;
  /** Null where the nodes share a segment. */
  readonly provider: ProviderStandIn | null;
  /** The nodes that the provider has routed the address to, one after the other. */
  readonly owners: readonly string[];
  /** A kubeconfig of an administrator. */
  readonly kubeconfig: string;
  readonly #services = new LocalServices();
  readonly #kubelets: ChildProcess[] = [];
  readonly #client: ChildProcess;
  readonly #reconciled: Promise<void>;
  #isClosed = false;

  private constructor(how: Pick<Cluster, 'plane' | 'provider' | 'owners' | 'kubeconfig'> & { readonly address: string }) {
    this.plane = how.plane;
    this.provider = how.provider;
    this.owners = how.owners;
    this.kubeconfig = how.kubeconfig;
    this.#client = startClient(this.attempts, undefined, how.address);
    this.#reconciled = this.#control(new Controllers(how.plane.admin));
  }

  static async open({ bundle, assets, folder, provider: name, address }: ClusterOptions): Promise<Cluster> {
    buildNetwork(name === null ? 'l2' : 'routed');
    const plane = await ControlPlane.start({ assets, folder: join(folder, 'control-plane'), host: API_IPS.kubernetes, isEmpty: true });
    const owners: string[] = [];
    const provider = name === null ? null : await openProvider(name, address, owners);
    const kubeconfig = join(folder, 'kubeconfig');
    mkdirSync(folder, { recursive: true });
    writeFileSync(kubeconfig, kubeconfigFor(plane, plane.adminToken), { mode: 0o600 });
    const cluster = new Cluster({ plane, provider, owners, kubeconfig, address });
    for (const { name, ip } of PLACES) await cluster.#join(name, ip, bundle, folder);
    return cluster;
  }

  /** The node that answered a client last; null where none did. */
  servedBy(): string | null {
    return this.attempts.slice(-50).reduce<Attempt>((latest, each) => (each.atMs >= latest.atMs ? each : latest), { atMs: 0, by: null }).by;
  }

  /** Where the provider's APIs are, as an agent or a command on a node is told. Nothing of it is a credential. */
  endpoints(node: string): Readonly<Record<string, string>> {
    return Object.fromEntries(Object.entries(this.provider?.env(node) ?? {}).filter(([name]) => name.endsWith('_ENDPOINT')));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#reconciled;
    for (const child of [...this.#kubelets, this.#client]) child.kill('SIGKILL');
    this.#services.close();
    await Promise.all([this.plane.close(), this.provider?.close()]);
    removeNetwork();
  }

  /** Makes a Node of a namespace, with its kubelet and the service that the address is for. */
  async #join(node: string, ip: string, bundle: string, folder: string): Promise<void> {
    const { admin, adminToken: token, ca, url } = this.plane;
    await admin.create('/api/v1/nodes', {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: node, labels: { 'kubernetes.io/hostname': node, 'kubernetes.io/os': 'linux' } },
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
      env: this.endpoints(node),
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

/** The account that a reader has at a provider: the nodes, and the address, routed nowhere yet. */
async function openProvider(name: RoutedProviderName, address: string, owners: string[]): Promise<ProviderStandIn> {
  return await STAND_INS[name]({
    addresses: [address],
    nodes: PLACES,
    moveMs: MOVE_MS,
    host: API_IPS.provider,
    onOwner: (_, node) => {
      if (node !== null) owners.push(node);
      routeAddress(address, node);
    },
  });
}
