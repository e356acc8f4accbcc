/**
 * A cluster of whole agents in one process, with as much of a Deployment's controller, the scheduler and the kubelet as agents
 * beside an application meet: required affinity to the application's pods, required anti-affinity among agents, eviction.
 *
 * Real here: the agents and their requests to the stand-ins, on real sockets by the real clock. Imitated: interfaces, pods.
 * As in Kubernetes, affinity counts only when a pod is placed, and a pod that has been asked to end takes up its place and
 * counts for affinity until it is gone.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { startAgent } from '../../agent/assemble.ts';
import type { Agent } from '../../agent/assemble.ts';
import { loadSettings } from '../../agent/config/settings.ts';
import { nodeOfIdentity } from '../../agent/contender/lease.ts';
import { Credentials } from '../../agent/kube/credentials.ts';
import { AGENT_LABELS } from '../../agent/kube/pod.ts';
import { KubeTransport } from '../../agent/kube/transport.ts';
import { askFor } from '../../agent/probe/prober.ts';
import { createProviderHttp } from '../../agent/provider/http.ts';
import { eventually } from './eventually.ts';
import { HcloudStandIn } from './hcloud-api.ts';
import { NO_HOST } from './host.ts';
import { KubeApi } from './kube-api.ts';
import type { StoredObject } from './kube-objects.ts';
import { MemoryLink, MemoryNode } from './memory-link.ts';
import { OUTBOUND } from './outbound.ts';
import { REAL_CLOCK } from './real-clock.ts';

export interface ClusterOptions {
  readonly nodes: readonly string[];
  /** How many agents the Deployment wants. */
  readonly replicas: number;
  /** Settings of every agent, besides those that it takes to run here. */
  readonly env?: Readonly<Record<string, string>>;
  /** How long an assignment takes at the provider. */
  readonly actionMs?: number;
}

/** A line of some agent's log. */
export interface Line {
  readonly node: string;
  readonly level: string;
  readonly event: string;
  readonly msg: string;
}

const IP = '203.0.113.10';
/** Where the address goes at the end, so that nobody lingers. */
const ELSEWHERE = 99;
const NAMESPACE = 'leasehold';
const LABELS = { app: 'web' };
const AFFINITY = {
  podAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: [
      { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: LABELS }, namespaces: ['default'] },
    ],
  },
};

export class SmallCluster {
  readonly kube: KubeApi;
  readonly hcloud: HcloudStandIn;
  readonly log: Line[] = [];
  /** The names of the pods whose eviction was granted. */
  readonly evicted: string[] = [];
  /** Agents that have thrown what they never should. */
  readonly defects: Error[] = [];
  readonly #options: ClusterOptions;
  readonly #folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
  readonly #links: ReadonlyMap<string, MemoryNode>;
  readonly #agents = new Map<string, Agent>();
  #count = 0;
  #isClosed = false;

  private constructor(options: ClusterOptions, kube: KubeApi, hcloud: HcloudStandIn) {
    this.#options = options;
    this.kube = kube;
    this.hcloud = hcloud;
    this.#links = new Map(options.nodes.map((node) => [node, new MemoryNode(REAL_CLOCK)]));
    writeFileSync(join(this.#folder, 'kubeconfig'), kube.kubeconfig());
    kube.objects.onEvicted = (pod) => {
      this.evicted.push(pod.metadata.name);
      this.#agents.get(pod.metadata.name)?.shutdown('asked to end by SIGTERM');
      this.#settle();
    };
  }

  /** Starts one whose Deployment wants its agents, with no application anywhere yet. */
  static async start(options: ClusterOptions): Promise<SmallCluster> {
    const kube = await KubeApi.start();
    kube.create({}, { namespace: NAMESPACE, labels: AGENT_LABELS });
    const servers = [...options.nodes.map((_, index) => index + 1), ELSEWHERE];
    const hcloud = await HcloudStandIn.start({ floatingIps: [{ id: 1, ip: IP }], servers, actionMs: options.actionMs ?? 20 });
    return new SmallCluster(options, kube, hcloud);
  }

  /** Puts a pod of the application on a node, or changes it. */
  place(name: string, node: string, isReady = true): void {
    this.kube.objects.putPod({ name, labels: LABELS, node, isReady });
    this.#settle();
  }

  /** Removes a pod of the application at once. */
  remove(name: string): void {
    this.kube.objects.remove('pods', name);
    this.#settle();
  }

  /** The node that the provider routes the address to, if its agent has it bound. */
  get servedBy(): string | null {
    const node = this.#options.nodes[(this.hcloud.ownerOf(IP) ?? 0) - 1];
    return node !== undefined && this.#links.get(node)?.has(IP) === true ? node : null;
  }

  /** The node of the agent that the Lease names. */
  get holder(): string | null {
    const holder = this.kube.lease('leasehold', NAMESPACE)?.spec.holderIdentity ?? '';
    return holder === '' ? null : nodeOfIdentity(holder);
  }

  /** How often the Lease has changed hands. */
  get transitions(): number {
    return this.kube.lease('leasehold', NAMESPACE)?.spec.leaseTransitions ?? 0;
  }

  /** The nodes on which agents run, and `-` for each that waits for a place. */
  get agents(): string[] {
    return this.#pods()
      .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
      .map((pod) => nodeOf(pod) ?? '-')
      .sort();
  }

  /** Whether some agent has said so. */
  hasSaid(pattern: RegExp): boolean {
    return this.log.some(({ msg }) => pattern.test(msg));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const agents = [...this.#agents.values()];
    for (const agent of agents) agent.shutdown('the test ends');
    await eventually('nobody holds the Lease', () => this.holder === null);
    this.hcloud.move(IP, ELSEWHERE);
    await Promise.all(agents.map(({ stopped }) => stopped));
    await Promise.all([this.kube.close(), this.hcloud.close()]);
    rmSync(this.#folder, { recursive: true });
  }

  #pods(): StoredObject[] {
    return this.kube.objects.all('pods').filter(({ metadata }) => metadata.namespace === NAMESPACE);
  }

  /** What the controller, the scheduler and the kubelets do about the present state. */
  #settle(): void {
    if (this.#isClosed) return;
    while (this.#pods().filter(({ metadata }) => metadata.deletionTimestamp === undefined).length < this.#options.replicas) {
      this.#count += 1;
      this.kube.objects.putPod({ name: `leasehold-${this.#count}`, namespace: NAMESPACE, labels: AGENT_LABELS, affinity: AFFINITY });
    }
    const applicationNodes = this.kube.objects
      .all('pods')
      .flatMap((pod) => (pod.metadata.labels?.['app'] === 'web' ? (nodeOf(pod) ?? []) : []));
    for (const pod of this.#pods().filter((each) => nodeOf(each) === null)) {
      const taken = this.#pods().map(nodeOf);
      const node = this.#options.nodes.find((each) => applicationNodes.includes(each) && !taken.includes(each));
      if (node !== undefined) this.#run(pod, node);
    }
  }

  #run({ metadata: { name, uid } }: StoredObject, node: string): void {
    this.kube.objects.putPod({ name, uid, namespace: NAMESPACE, labels: AGENT_LABELS, affinity: AFFINITY, node, isReady: true });
    const settings = loadSettings({
      env: {
        NODE_NAME: node,
        POD_NAME: name,
        POD_NAMESPACE: NAMESPACE,
        POD_UID: uid,
        KUBECONFIG: join(this.#folder, 'kubeconfig'),
        ADDRESSES: IP,
        PROVIDER: 'hcloud-floating-ip',
        HCLOUD_TOKEN: 'hcloud-token',
        HCLOUD_ENDPOINT: this.hcloud.endpoint,
        HCLOUD_SERVER_ID: String(this.#options.nodes.indexOf(node) + 1),
        APPLICATION_NAMESPACE: 'default',
        APPLICATION_SELECTOR: 'app=web',
        APPLICATION_EVICTION: 'true',
        ...this.#options.env,
      },
      hostname: node,
      readFile: () => '',
      serviceAccountFolder: '/none',
    });
    const clock = REAL_CLOCK;
    const kube = new KubeTransport(new Credentials(settings.kubernetes, clock), clock, OUTBOUND);
    const link = this.#links.get(node);
    if (link === undefined) throw new Error(`there is no ${node}`);
    const write = (text: string): void => {
      const { level, event = '', msg } = JSON.parse(text) as { level: string; event?: string; msg: string };
      this.log.push({ node, level, event, msg });
    };
    const agent = startAgent(settings, {
      clock,
      random: Math.random,
      identity: `${node}_0000_${this.#count}${Math.random().toString(16).slice(2, 8)}`,
      version: 'test',
      network: {
        kube,
        kubeAside: kube,
        provider: createProviderHttp(clock, OUTBOUND),
        ask: (question) => askFor(question, OUTBOUND),
        serve: () => ({ changed: () => undefined, close: () => undefined }),
        close: () => kube.close(),
      },
      host: NO_HOST,
      link: new MemoryLink(link, [IP]),
      establishResidence: (_signal, onReport) => {
        onReport({ residence: 'alone', reason: 'no other agent runs on this node' });
        return Promise.resolve();
      },
      log: {
        logger: pino({ level: 'debug', formatters: { level: (label) => ({ level: label }) } }, { write }),
        dropped: () => 0,
        lastWords: (say) => say(),
      },
      usage: () => ({ cpuSeconds: 0, residentBytes: 0, heapUsedBytes: 0, openFileDescriptors: 0, startedAtSeconds: 0 }),
      conceal: (text) => text,
      onDefect: (error) => this.defects.push(error),
    });
    this.#agents.set(name, agent);
    void agent.stopped.then(() => {
      this.#agents.delete(name);
      this.kube.objects.remove('pods', name, NAMESPACE);
      this.#settle();
    });
  }
}

function nodeOf({ spec }: StoredObject): string | null {
  return typeof spec['nodeName'] === 'string' ? spec['nodeName'] : null;
}
