/**
 * Three nodes, a router and a client in network namespaces of their own.
 *
 * Guarantees: this process's own namespace is the router, where the stand-ins listen and the floating IP's route follows
 * the provider's state. The nodes hang on one bridge; the client sits behind the router. Agents, services and the client
 * are real processes. Run it inside namespaces of its own (see namespaces.ts): it leaves the tidying to them.
 */
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { addressText } from '../../agent/address.ts';
import { nodeOfIdentity } from '../../agent/contender/lease.ts';
import { decodeAddress, RTM_GETADDR } from '../../agent/link/netlink.ts';
import { openDatagrams, RouteSocket } from '../../agent/link/route-socket.ts';
import { HcloudStandIn } from '../../test/support/hcloud-api.ts';
import { KubeApi } from '../../test/support/kube-api.ts';
import { inNamespace } from '../../test/support/inside-namespace.ts';
import { AgentProcess, entryPoint } from '../../test/support/agent-process.ts';
import type { Attempt } from './client.ts';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { ip, spawnIn } from '../../test/support/namespaces.ts';
import { FLOATING_IP } from './stage.ts';
import type { Stage } from './stage.ts';
import { Watcher } from './watcher.ts';
import type { Bound } from './watcher.ts';

const FLOATING_IP_ID = 310_077;
const ROUTER_IP = '10.77.0.1';
const CLIENT_INTERVAL_MS = 20;
const SAMPLE_MS = 50;
const FILES = '/run/leasehold-lab';

interface NodePlace {
  readonly name: string;
  readonly ip: string;
  readonly server: number;
  /** Its end of the cable at the bridge. */
  readonly port: string;
}

const PLACES: readonly NodePlace[] = ['a', 'b', 'c'].map((letter, index) => ({
  name: `node-${letter}`,
  ip: `10.77.0.${11 + index}`,
  server: 9_100_201 + index,
  port: `port-${letter}`,
}));

export interface LabOptions {
  readonly bundle: string;
  /** How long the provider takes for an assignment. */
  readonly actionMs: number;
  /** Settings for every agent, beyond what the lab needs. */
  readonly env?: Readonly<Record<string, string>>;
  readonly providerTimeoutMs?: number;
}

export class NamespaceStage implements Stage {
  readonly nodes = PLACES.map(({ name }) => name);
  readonly attempts: Attempt[] = [];
  readonly kube: KubeApi;
  readonly hcloud: HcloudStandIn;
  readonly #options: LabOptions;
  readonly #watcher: Watcher;
  readonly #agents = new Map<string, AgentProcess>();
  readonly #services = new Map<string, ChildProcess>();
  readonly #sockets = new Map<string, RouteSocket>();
  readonly #sampler: NodeJS.Timeout;
  #client: ChildProcess | null = null;
  #isClosed = false;

  private constructor(options: LabOptions, kube: KubeApi, hcloud: HcloudStandIn, watcher: Watcher) {
    this.#options = options;
    this.kube = kube;
    this.hcloud = hcloud;
    this.#watcher = watcher;
    for (const { name } of PLACES)
      this.#sockets.set(
        name,
        inNamespace(name, () => new RouteSocket(openDatagrams())),
      );
    this.#sampler = setInterval(() => this.#watcher.onSample(this.#bound()), SAMPLE_MS);
  }

  /** Builds the network and starts the stand-ins, the local services and the client. No agent runs yet. */
  static async open(options: LabOptions): Promise<NamespaceStage> {
    buildNetwork();
    const watcher = new Watcher(
      { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, providerTimeoutMs: options.providerTimeoutMs ?? 30_000 },
      monotonicMs,
    );
    const kube = await KubeApi.start({ host: ROUTER_IP });
    kube.onStored = (lease) => watcher.onLease(lease);
    const hcloud = await HcloudStandIn.start(
      {
        floatingIps: [{ id: FLOATING_IP_ID, ip: FLOATING_IP }],
        servers: PLACES.map(({ server }) => server),
        actionMs: options.actionMs,
        onOwner: (_, server) => routeTo(server),
        onAccepted: ({ from }) => watcher.onProviderWrite(PLACES.find((place) => place.ip === from)?.name ?? from),
      },
      ROUTER_IP,
    );
    for (const { ip: address, server } of PLACES) hcloud.serverBySource.set(address, server);
    kube.create();
    mkdirSync(FILES, { recursive: true });
    writeFileSync(`${FILES}/kubeconfig`, kube.kubeconfig());
    const stage = new NamespaceStage(options, kube, hcloud, watcher);
    await Promise.all(stage.nodes.map((node) => stage.startService(node)));
    stage.#startClient();
    return stage;
  }

  get violations(): readonly string[] {
    return this.#watcher.violations;
  }

  get samples(): number {
    return this.#watcher.samples;
  }

  agent(node: string): AgentProcess | undefined {
    return this.#agents.get(node);
  }

  startAgent(node: string): void {
    const child = spawnIn(node, entryPoint(this.#options.bundle), { env: this.#environmentOf(node), stdio: ['ignore', 'pipe', 'inherit'] });
    this.#agents.set(node, new AgentProcess(node, child));
  }

  async stopAgent(node: string): Promise<number | string> {
    const agent = this.#runningAgent(node);
    agent.signal('SIGTERM');
    return await agent.ended;
  }

  async killAgent(node: string): Promise<void> {
    const agent = this.#runningAgent(node);
    agent.signal('SIGKILL');
    await agent.ended;
  }

  freezeAgent(node: string): void {
    this.#runningAgent(node).signal('SIGSTOP');
  }

  thawAgent(node: string): void {
    this.#runningAgent(node).signal('SIGCONT');
  }

  async startService(node: string): Promise<void> {
    const running = this.#services.get(node);
    if (running !== undefined) {
      running.kill('SIGCONT');
      return;
    }
    const script = fileURLToPath(new URL('./service.ts', import.meta.url));
    const child = spawnIn(node, [process.execPath, script, node], { env: {}, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#services.set(node, child);
    await new Promise((resolve) => child.once('message', resolve));
  }

  async stopService(node: string, how: 'refuse' | 'hang'): Promise<void> {
    const child = this.#services.get(node);
    if (child === undefined) return;
    if (how === 'hang') {
      child.kill('SIGSTOP');
      return;
    }
    this.#services.delete(node);
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  cutOff(node: string): void {
    ip(`link set ${placeOf(node).port} nomaster`);
  }

  reconnect(node: string): void {
    ip(`link set ${placeOf(node).port} master br0`);
  }

  holder(): string | null {
    const identity = this.kube.lease()?.spec.holderIdentity ?? '';
    return identity === '' ? null : nodeOfIdentity(identity);
  }

  owner(): string | null {
    const server = this.hcloud.ownerOf(FLOATING_IP);
    return PLACES.find((place) => place.server === server)?.name ?? null;
  }

  boundOn(): string[] {
    return this.#bound().map(({ node }) => node);
  }

  async role(node: string): Promise<string | null> {
    try {
      const response = await fetch(`http://${placeOf(node).ip}:9808/status`, { signal: AbortSignal.timeout(1_000) });
      return ((await response.json()) as { role: string }).role;
    } catch {
      return null;
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#sampler);
    this.#client?.kill('SIGKILL');
    for (const agent of this.#agents.values()) if (agent.isRunning) agent.signal('SIGKILL');
    for (const child of this.#services.values()) child.kill('SIGKILL');
    for (const socket of this.#sockets.values()) socket.close();
    await Promise.all([this.kube.close(), this.hcloud.close()]);
  }

  #bound(): Bound[] {
    if (this.#isClosed) return [];
    return this.nodes.flatMap((node) => {
      const rows = this.#sockets.get(node)?.dump(RTM_GETADDR, Buffer.alloc(8)).map(decodeAddress) ?? [];
      const row = rows.find((each) => each !== null && addressText(each.bytes) === FLOATING_IP) ?? null;
      return row === null ? [] : [{ node, remainingMs: row.validS * 1_000 }];
    });
  }

  #environmentOf(node: string): Record<string, string> {
    return {
      NODE_NAME: node,
      KUBECONFIG: `${FILES}/kubeconfig`,
      ADDRESSES: FLOATING_IP,
      PROVIDER: 'hcloud-floating-ip',
      HCLOUD_TOKEN: 'hcloud-token',
      HCLOUD_ENDPOINT: this.hcloud.endpoint,
      HCLOUD_METADATA_ENDPOINT: this.hcloud.metadataEndpoint,
      PROBES: 'http://127.0.0.1/',
      LISTEN: `${placeOf(node).ip}:9808`,
      ...(this.#options.providerTimeoutMs === undefined ? {} : { PROVIDER_TIMEOUT: `${this.#options.providerTimeoutMs}ms` }),
      ...this.#options.env,
    };
  }

  #startClient(): void {
    const script = fileURLToPath(new URL('./client.ts', import.meta.url));
    const command = [process.execPath, script, FLOATING_IP, String(CLIENT_INTERVAL_MS)];
    this.#client = spawnIn('client', command, { env: {}, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#client.on('message', (attempt: Attempt) => this.attempts.push(attempt));
  }

  #runningAgent(node: string): AgentProcess {
    const agent = this.#agents.get(node);
    if (agent?.isRunning !== true) throw new Error(`no agent runs on ${node}`);
    return agent;
  }
}

function buildNetwork(): void {
  // An address of its own: a bridge takes that of a port otherwise, and a frame from that port, cut off, would still be ours.
  ip('link add br0 address 02:00:00:00:77:01 type bridge');
  ip(`addr add ${ROUTER_IP}/24 dev br0`);
  ip('link set br0 up');
  for (const { name, ip: address, port } of PLACES) {
    ip(`netns add ${name}`);
    ip(`link add ${port} type veth peer name eth0 netns ${name}`);
    ip(`link set ${port} master br0`);
    ip(`link set ${port} up`);
    ip(`-n ${name} link set lo up`);
    ip(`-n ${name} addr add ${address}/24 dev eth0`);
    ip(`-n ${name} link set eth0 up`);
    ip(`-n ${name} route add default via ${ROUTER_IP}`);
  }
  ip('netns add client');
  ip('link add to-client type veth peer name eth0 netns client');
  ip('addr add 192.0.2.1/24 dev to-client');
  ip('link set to-client up');
  ip('-n client link set lo up');
  ip('-n client addr add 192.0.2.2/24 dev eth0');
  ip('-n client link set eth0 up');
  ip('-n client route add default via 192.0.2.1');
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
}

/** What the provider's routers do: traffic for the floating IP goes to one server. */
function routeTo(server: number | null): void {
  const place = PLACES.find((each) => each.server === server);
  if (place === undefined) ip(`route del ${FLOATING_IP}/32`);
  else ip(`route replace ${FLOATING_IP}/32 via ${place.ip} dev br0`);
}

function placeOf(node: string): NodePlace {
  const place = PLACES.find(({ name }) => name === node);
  if (place === undefined) throw new Error(`there is no ${node}`);
  return place;
}
