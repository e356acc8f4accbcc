/**
 * Three real agents on three nodes, each in a network namespace of its own, against stand-ins: the ground for tests of what
 * agents do together.
 *
 * Needs to run inside namespaces of its own, which it uses as the place of the APIs.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AgentProcess, entryPoint } from './agent-process.ts';
import { HcloudStandIn } from './hcloud-api.ts';
import { HttpStandIn } from './http-stand-in.ts';
import { KubeApi } from './kube-api.ts';
import { ip, spawnIn } from './namespaces.ts';

export const IP = '203.0.113.10';
const LISTEN_PORT = 9_808;

/** One node, its agent, and the service that is probed there. */
export interface ClusterNode {
  readonly name: string;
  readonly ip: string;
  readonly server: number;
  readonly namespace: string;
  readonly service: HttpStandIn;
  agent: AgentProcess | null;
}

export class AgentCluster {
  readonly kube: KubeApi;
  readonly hcloud: HcloudStandIn;
  readonly nodes: readonly ClusterNode[];
  readonly #bundle: string;
  readonly #bridge: string;
  readonly #folder = mkdtempSync(join(tmpdir(), 'leasehold-'));

  private constructor(kube: KubeApi, hcloud: HcloudStandIn, nodes: readonly ClusterNode[], bridge: string, bundle: string) {
    this.kube = kube;
    this.hcloud = hcloud;
    this.nodes = nodes;
    this.#bridge = bridge;
    this.#bundle = bundle;
    writeFileSync(join(this.#folder, 'kubeconfig'), kube.kubeconfig());
  }

  /** Builds the network and the APIs, with a Lease that was never held and the address at no server. */
  static async open(bundle: string): Promise<AgentCluster> {
    const number = process.pid % 250;
    const bridge = `bridge-${number}`;
    const host = `10.79.${number}.1`;
    ip(`link add ${bridge} type bridge`);
    ip(`addr add ${host}/24 dev ${bridge}`);
    ip(`link set ${bridge} up`);
    const nodes = await Promise.all(
      ['a', 'b', 'c'].map(async (letter, index): Promise<ClusterNode> => {
        const [namespace, port, address] = [`cluster-${number}-${letter}`, `port-${number}-${letter}`, `10.79.${number}.${11 + index}`];
        ip(`netns add ${namespace}`);
        ip(`link add ${port} type veth peer name eth0 netns ${namespace}`);
        ip(`link set ${port} master ${bridge}`);
        ip(`link set ${port} up`);
        ip(`-n ${namespace} link set lo up`);
        ip(`-n ${namespace} addr add ${address}/24 dev eth0`);
        ip(`-n ${namespace} link set eth0 up`);
        const service = await new HttpStandIn(() => ({ status: 200, body: 'well' }), null).listen(host);
        return { name: `node-${letter}`, ip: address, server: 9_100_201 + index, namespace, service, agent: null };
      }),
    );
    const kube = await KubeApi.start({ host });
    kube.create();
    const servers = nodes.map(({ server }) => server);
    const hcloud = await HcloudStandIn.start({ floatingIps: [{ id: 1, ip: IP }], servers, actionMs: 50 }, host);
    for (const { ip: address, server } of nodes) hcloud.serverBySource.set(address, server);
    return new AgentCluster(kube, hcloud, nodes, bridge, bundle);
  }

  /** Where the agents show their metrics. */
  get targets(): string[] {
    return this.nodes.map(({ ip: address }) => `${address}:${LISTEN_PORT}`);
  }

  start(node: ClusterNode): void {
    const env = {
      NODE_NAME: node.name,
      KUBECONFIG: join(this.#folder, 'kubeconfig'),
      ADDRESSES: IP,
      INTERFACE: 'eth0',
      PROVIDER: 'hcloud-floating-ip',
      HCLOUD_TOKEN: 'hcloud-token',
      HCLOUD_ENDPOINT: this.hcloud.endpoint,
      HCLOUD_METADATA_ENDPOINT: this.hcloud.metadataEndpoint,
      PROBES: `${node.service.url}/healthz#interval=200ms`,
      LISTEN: `${node.ip}:${LISTEN_PORT}`,
    };
    node.agent = new AgentProcess(
      node.name,
      spawnIn(node.namespace, entryPoint(this.#bundle), { env, stdio: ['ignore', 'pipe', 'inherit'] }),
    );
  }

  /** What an agent shows at a path, or null when it does not answer. */
  async ask({ ip: address }: ClusterNode, path: string): Promise<string | null> {
    return await fetch(`http://${address}:${LISTEN_PORT}${path}`).then(
      (response) => response.text(),
      () => null,
    );
  }

  /** The node whose agent says that it serves, or null. */
  async serving(): Promise<ClusterNode | null> {
    for (const node of this.nodes) {
      const status = await this.ask(node, '/status');
      if (status !== null && (JSON.parse(status) as { role: string }).role === 'serving') return node;
    }
    return null;
  }

  async close(): Promise<void> {
    for (const { agent } of this.nodes) {
      if (agent?.isRunning !== true) continue;
      agent.signal('SIGKILL');
      await agent.ended;
    }
    await Promise.all([this.kube.close(), this.hcloud.close(), ...this.nodes.map(({ service }) => service.close())]);
    for (const { namespace } of this.nodes) ip(`netns del ${namespace}`);
    ip(`link del ${this.#bridge}`);
    rmSync(this.#folder, { recursive: true });
  }
}
