/**
 * The same nodes, services and client as on our agents' shared segment, with a keepalived on each node instead of an agent.
 *
 * Set up as its documentation says for equal nodes: every one begins as BACKUP, with `nopreempt` and priorities of its own, and
 * tells the others by unicast. `chk` asks the local service each second, as our agents' probe does; two bad answers make a
 * FAULT. VRRP version 3, without which there is no advertisement interval below a second.
 * Killing takes parent and child together, as whoever kills the service as a whole does; the child would tidy up otherwise.
 */
import { spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { addressText } from '../../agent/address.ts';
import { NetlinkSocket, openDatagrams } from '../../agent/link/netlink-socket.ts';
import { decodeAddress, RTM_GETADDR } from '../../agent/link/rtnetlink.ts';
import { inNamespace } from '../../test/support/inside-namespace.ts';
import { ip, spawnIn } from '../../test/support/namespaces.ts';
import type { Attempt } from './client.ts';
import { buildNetwork, cutOff, placeOf, PLACES, reconnect, removeNetwork } from './network.ts';
import { LocalServices, startClient } from './players.ts';
import { FLOATING_IP } from './stage.ts';
import type { Stage } from './stage.ts';

const FILES = '/run/leasehold-keepalived';
const FIRST_PRIORITY = 100;
/** Only what bash does by itself, so that a check costs no second process. */
const CHECK = `#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/80 || exit 1
printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3
read -r -t 1 line <&3
[[ $line == *' 200 '* ]]
`;

export interface KeepalivedOptions {
  readonly program: string;
  readonly advertS: number;
  readonly clientIntervalMs: number;
}

/** Where keepalived is, and which; null where it is not installed. */
export function findKeepalived(): { readonly program: string; readonly version: string } | null {
  for (const program of ['/usr/sbin/keepalived', 'keepalived']) {
    const { error, stderr } = spawnSync(program, ['--version'], { encoding: 'utf8' });
    const version = /^Keepalived v(\S+)/.exec(stderr ?? '')?.[1];
    if (error === undefined && version !== undefined) return { program, version };
  }
  return null;
}

interface Running {
  readonly process: ChildProcess;
  readonly ended: Promise<number | string>;
  state: string | null;
  isRunning: boolean;
}

export class KeepalivedStage implements Stage {
  readonly nodes = PLACES.map(({ name }) => name);
  readonly attempts: Attempt[] = [];
  /** It is not ours to judge: what it does is counted instead. */
  readonly violations: readonly string[] = [];
  readonly samples = 0;
  readonly #options: KeepalivedOptions;
  readonly #services = new LocalServices();
  readonly #running = new Map<string, Running>();
  readonly #sockets: ReadonlyMap<string, NetlinkSocket>;
  readonly #client: ChildProcess;

  private constructor(options: KeepalivedOptions) {
    this.#options = options;
    this.#sockets = new Map(this.nodes.map((node) => [node, inNamespace(node, () => new NetlinkSocket(openDatagrams()))]));
    this.#client = startClient(this.attempts, options.clientIntervalMs);
  }

  /** Builds the network, and starts the local services and an ordinary client. No keepalived runs yet. */
  static async open(options: KeepalivedOptions): Promise<KeepalivedStage> {
    buildNetwork('l2');
    mkdirSync(FILES, { recursive: true });
    writeFileSync(`${FILES}/chk`, CHECK, { mode: 0o700 });
    const stage = new KeepalivedStage(options);
    await Promise.all(stage.nodes.map((node) => stage.startService(node)));
    return stage;
  }

  startAgent(node: string): void {
    const { program } = this.#options;
    writeFileSync(`${FILES}/${node}.conf`, this.#configurationOf(node));
    // A child that was killed stays a zombie here, where no init buries it, and would be taken for a keepalived that runs.
    for (const file of ['pid', 'vrrp.pid']) rmSync(`${FILES}/${node}.${file}`, { force: true });
    const files = ['-f', `${FILES}/${node}.conf`, '-p', `${FILES}/${node}.pid`, '-r', `${FILES}/${node}.vrrp.pid`];
    const child = spawnIn(node, [program, '--dont-fork', '--log-console', '--vrrp', ...files], {
      env: {},
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = new Promise<number | string>((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')));
    const running: Running = { process: child, ended, state: null, isRunning: true };
    void ended.then(() => (running.isRunning = false));
    for (const output of [child.stdout, child.stderr]) {
      if (output === null) continue;
      createInterface({ input: output }).on('line', (line) => {
        running.state = /Entering (\w+) STATE/.exec(line)?.[1] ?? running.state;
      });
    }
    this.#running.set(node, running);
  }

  /** Takes the address off a node by hand: started anew after a kill, keepalived leaves it there while it stands by. */
  removeLeftover(node: string): void {
    if (this.boundOn().includes(node)) ip(`-n ${node} addr del ${FLOATING_IP}/32 dev eth0`);
  }

  async stopAgent(node: string): Promise<number | string> {
    const running = this.#runningOn(node);
    running.process.kill('SIGTERM');
    return await running.ended;
  }

  async killAgent(node: string): Promise<void> {
    const running = this.#runningOn(node);
    this.#kill(node);
    await running.ended;
  }

  async startService(node: string): Promise<void> {
    await this.#services.start(node);
  }

  async stopService(node: string, how: 'refuse' | 'hang'): Promise<void> {
    await this.#services.stop(node, how);
  }

  cutOff(node: string): void {
    cutOff(node);
  }

  reconnect(node: string): void {
    reconnect(node);
  }

  /** The node that is MASTER, if there is exactly one. */
  holder(): string | null {
    const masters = this.nodes.filter((node) => this.#stateOf(node) === 'MASTER');
    return masters.length === 1 ? (masters[0] ?? null) : null;
  }

  owner(): string | null {
    return this.holder();
  }

  boundOn(): string[] {
    return this.nodes.filter((node) => {
      const rows = this.#sockets.get(node)?.dump(RTM_GETADDR, Buffer.alloc(8)).map(decodeAddress) ?? [];
      return rows.some((row) => row !== null && addressText(row.bytes) === FLOATING_IP);
    });
  }

  role(node: string): Promise<string | null> {
    const state = this.#stateOf(node);
    return Promise.resolve(state === 'MASTER' ? 'serving' : state === 'BACKUP' ? 'standby' : state);
  }

  /** The processes that keepalived consists of on one node. */
  processesOf(node: string): readonly number[] {
    return [this.#runningOn(node).process.pid ?? 0, this.#childOn(node)];
  }

  close(): Promise<void> {
    this.#client.kill('SIGKILL');
    for (const node of this.nodes) if (this.#running.get(node)?.isRunning === true) this.#kill(node);
    this.#services.close();
    for (const socket of this.#sockets.values()) socket.close();
    removeNetwork();
    return Promise.resolve();
  }

  #kill(node: string): void {
    process.kill(this.#childOn(node), 'SIGKILL');
    this.#runningOn(node).process.kill('SIGKILL');
  }

  #childOn(node: string): number {
    return Number(readFileSync(`${FILES}/${node}.vrrp.pid`, 'utf8'));
  }

  #stateOf(node: string): string | null {
    const running = this.#running.get(node);
    return running?.isRunning === true ? running.state : null;
  }

  #runningOn(node: string): Running {
    const running = this.#running.get(node);
    if (running?.isRunning !== true) throw new Error(`no keepalived runs on ${node}`);
    return running;
  }

  #configurationOf(node: string): string {
    const priority = FIRST_PRIORITY - this.nodes.indexOf(node);
    const peers = this.nodes.filter((each) => each !== node).map((each) => placeOf(each).ip);
    return `global_defs {
  enable_script_security
  script_user root
}
vrrp_script chk {
  script "${FILES}/chk"
  interval 1
  timeout 1
  fall 2
  rise 1
}
vrrp_instance leasehold {
  version 3
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority ${priority}
  advert_int ${this.#options.advertS}
  unicast_src_ip ${placeOf(node).ip}
  unicast_peer {
    ${peers.join('\n    ')}
  }
  virtual_ipaddress {
    ${FLOATING_IP}/32 dev eth0
  }
  track_script {
    chk
  }
}
`;
  }
}
