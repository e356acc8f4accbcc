/**
 * One real agent process, on a real interface, against stand-ins: the ground for tests of whole agents.
 *
 * Needs to run inside namespaces of its own, whose network it uses.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addressText } from '../../agent/address.ts';
import { ANNOTATIONS } from '../../agent/kube/lease-codec.ts';
import { decodeAddress, RTM_GETADDR } from '../../agent/link/rtnetlink.ts';
import type { AddressRow } from '../../agent/link/rtnetlink.ts';
import { openDatagrams, NetlinkSocket } from '../../agent/link/netlink-socket.ts';
import { AgentProcess, entryPoint } from './agent-process.ts';
import { HcloudStandIn } from './hcloud-api.ts';
import { KubeApi } from './kube-api.ts';
import { ip } from './namespaces.ts';

export const IP = '203.0.113.10';
export const SERVER = 9_100_201;
export const OTHER_SERVER = 9_100_202;
export const TOKEN = 'hcloud-token';

const LEASE_UID = '5f0c0a4e-0000-4000-8000-000000000001';

type Env = Readonly<Record<string, string | undefined>>;

export interface Status {
  readonly role: string;
  readonly ready: boolean;
  readonly notReadyBecause: readonly string[];
  readonly hindrance: string | null;
  readonly addresses: readonly { readonly address: string; readonly state: string; readonly owner: { readonly is: string } | null }[];
  readonly transitions: readonly { readonly from: string; readonly to: string; readonly reason: string; readonly elapsedMs: number }[];
  readonly [field: string]: unknown;
}

let count = 0;

export class AgentWorld {
  readonly kube: KubeApi;
  readonly hcloud: HcloudStandIn;
  readonly folder: string;
  readonly #interface: string;
  readonly #port: number;
  readonly #socket = new NetlinkSocket(openDatagrams());
  readonly #agents: AgentProcess[] = [];
  /** Everything that any agent wrote to its standard error. */
  stderr = '';

  private constructor(kube: KubeApi, hcloud: HcloudStandIn) {
    count += 1;
    this.kube = kube;
    this.hcloud = hcloud;
    this.folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
    this.#interface = `fip${process.pid % 100_000}-${count}`;
    // Below the range that the kernel gives out by itself.
    this.#port = 20_000 + ((process.pid * 7 + count * 131) % 10_000);
    ip(`link add ${this.#interface} type veth peer name p${this.#interface}`);
    ip(`link set p${this.#interface} up`);
    ip(`link set ${this.#interface} up`);
  }

  /** Opens one with a Lease that its last holder has released, and the floating IP at another server. */
  static async open(): Promise<AgentWorld> {
    const kube = await KubeApi.start();
    // Free at once: one that was never held has to be waited for.
    const released = JSON.stringify({ uid: LEASE_UID, transitions: 0, holder: 'node-z_boot_0000' });
    kube.create(
      {},
      { uid: LEASE_UID, labels: { 'app.kubernetes.io/name': 'leasehold' }, annotations: { [ANNOTATIONS.released]: released } },
    );
    const hcloud = await HcloudStandIn.start({
      floatingIps: [{ id: 1, ip: IP, server: OTHER_SERVER }],
      servers: [SERVER, OTHER_SERVER],
      actionMs: 50,
    });
    hcloud.serverBySource.set('127.0.0.1', SERVER);
    return new AgentWorld(kube, hcloud);
  }

  /** Starts an agent from a bundle. `env` changes its settings; undefined unsets one. It logs to `stdout`, or into its log. `through` is a program that starts it. */
  start(bundle: string, env: Env = {}, stdout: 'pipe' | number = 'pipe', through: readonly string[] = []): AgentProcess {
    writeFileSync(join(this.folder, 'kubeconfig'), this.kube.kubeconfig());
    const settings: Env = {
      NODE_NAME: 'node-a',
      KUBECONFIG: join(this.folder, 'kubeconfig'),
      ADDRESSES: IP,
      INTERFACE: this.#interface,
      PROVIDER: 'hcloud-floating-ip',
      HCLOUD_TOKEN: TOKEN,
      HCLOUD_ENDPOINT: this.hcloud.endpoint,
      HCLOUD_METADATA_ENDPOINT: this.hcloud.metadataEndpoint,
      LISTEN: `127.0.0.1:${this.#port}`,
      CONTROL_SOCKET: join(this.folder, 'control.sock'),
      LOG_LEVEL: 'trace',
      ...env,
    };
    const [program = '', ...args] = [...through, ...entryPoint(bundle)];
    const set = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
    const child = spawn(program, args, { env: set, stdio: ['ignore', stdout, 'pipe'] });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    const agent = new AgentProcess(settings['NODE_NAME'] ?? '', child);
    this.#agents.push(agent);
    return agent;
  }

  /** What the agent says of itself, or null when it does not answer. */
  async status(): Promise<Status | null> {
    try {
      return (await (await fetch(`http://127.0.0.1:${this.#port}/status`)).json()) as Status;
    } catch {
      return null;
    }
  }

  /** The answer of `/readyz` or `/healthz`. */
  async probe(path: string): Promise<{ status: number; text: string } | null> {
    try {
      const response = await fetch(`http://127.0.0.1:${this.#port}${path}`);
      return { status: response.status, text: await response.text() };
    } catch {
      return null;
    }
  }

  /** Where the agent's page is. */
  get page(): string {
    return `http://127.0.0.1:${this.#port}/`;
  }

  rows(address = IP): AddressRow[] {
    const all = this.#socket.dump(RTM_GETADDR, Buffer.alloc(8)).map(decodeAddress);
    return all.filter((row): row is AddressRow => row !== null && addressText(row.bytes) === address);
  }

  /** Configures an address on the interface as an administrator would. */
  configure(address: string): void {
    ip(`addr add ${address}/32 dev ${this.#interface}`);
  }

  get interfaceName(): string {
    return this.#interface;
  }

  /** Everything that came out of every agent. */
  output(): string {
    return this.stderr + this.#agents.map(({ log }) => log.map((line) => JSON.stringify(line)).join('\n')).join('\n');
  }

  async close(): Promise<void> {
    for (const agent of this.#agents) {
      if (!agent.isRunning) continue;
      agent.signal('SIGKILL');
      await agent.ended;
    }
    this.#socket.close();
    ip(`link del ${this.#interface}`);
    rmSync(this.folder, { recursive: true });
    await Promise.all([this.kube.close(), this.hcloud.close()]);
  }
}
