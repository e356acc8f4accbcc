/**
 * Machines on one Ethernet segment, each in a network namespace of its own, with a program on it that does what it is asked.
 */
import { spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseAddress } from '../../agent/address.ts';
import type { Address } from '../../agent/address.ts';
import { decodeLink, linkRequestBody, RTM_GETLINK } from '../../agent/link/rtnetlink.ts';
import type { LinkRow } from '../../agent/link/rtnetlink.ts';
import { NetlinkSocket, openDatagrams } from '../../agent/link/netlink-socket.ts';
import { openFrames, Segment } from '../../agent/link/segment.ts';
import { eventually } from './eventually.ts';
import { inNamespace } from './inside-namespace.ts';
import { ip, spawnIn } from './namespaces.ts';
import type { Outcome, PeerRequest } from './segment-peer.ts';

let count = 0;

export class SharedSegment {
  readonly #name: string;
  readonly #machines: Machine[] = [];

  constructor() {
    count += 1;
    this.#name = `s${process.pid}-${count}`;
    ip(`netns add ${this.#name}`);
    ip(`-n ${this.#name} link add bridge type bridge`);
    ip(`-n ${this.#name} link set bridge up`);
  }

  /** Plugs in a machine with these addresses on `eth0`. */
  machine(...addresses: string[]): Machine {
    const machine = new Machine(`${this.#name}-${this.#machines.length}`, this.#name, `port${this.#machines.length}`, addresses);
    this.#machines.push(machine);
    return machine;
  }

  /** Starts a machine behind another one, on an interface `pod0` of that one, which forwards what comes from it. */
  pod(node: Machine, address: string, gateway: string): Machine {
    const name = `${this.#name}-${this.#machines.length}`;
    const pod = new Machine(name, node.name, 'pod0', [address]);
    node.ip(`addr add ${gateway}/24 dev pod0`);
    pod.ip(`route add default via ${gateway}`);
    node.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
    this.#machines.push(pod);
    return pod;
  }

  close(): void {
    for (const machine of this.#machines) machine.close();
    ip(`netns del ${this.#name}`);
  }
}

export class Machine {
  readonly name: string;
  readonly #bridge: string;
  readonly #port: string;
  #peer: ChildProcess | null = null;
  #requests = 0;
  readonly #waiting = new Map<number, (result: unknown) => void>();

  constructor(name: string, bridge: string, port: string, addresses: readonly string[]) {
    this.name = name;
    this.#bridge = bridge;
    this.#port = port;
    ip(`netns add ${name}`);
    ip(`link add ${port} netns ${bridge} type veth peer name eth0 netns ${name}`);
    ip(`-n ${bridge} link set ${port}${port === 'pod0' ? '' : ' master bridge'} up`);
    ip(`-n ${name} link set lo up`);
    // No pause for duplicate address detection before the first packet.
    this.inside(() => spawnSync('sysctl', ['-qw', 'net.ipv6.conf.eth0.accept_dad=0', 'net.ipv6.conf.default.accept_dad=0']));
    ip(`-n ${name} link set eth0 up`);
    for (const address of addresses) ip(`-n ${name} addr add ${address} dev eth0${address.includes(':') ? ' nodad' : ''}`);
  }

  ip(line: string): string {
    return ip(`-n ${this.name} ${line}`);
  }

  /** Runs a program here, and returns what it wrote. Throws with what it said if it fails. */
  run(program: string, ...args: string[]): string {
    const { status, stdout, stderr, error } = spawnSync('nsenter', [`--net=/run/netns/${this.name}`, '--', program, ...args], {
      encoding: 'utf8',
    });
    if (error !== undefined) throw error;
    if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr.trim()}`);
    return stdout;
  }

  inside<Result>(work: () => Result): Result {
    return inNamespace(this.name, work);
  }

  unplug(): void {
    ip(`-n ${this.#bridge} link set ${this.#port} down`);
  }

  plug(): void {
    ip(`-n ${this.#bridge} link set ${this.#port} up`);
  }

  link(name = 'eth0'): LinkRow {
    const socket = this.inside(() => new NetlinkSocket(openDatagrams()));
    const rows = socket.dump(RTM_GETLINK, linkRequestBody(0)).map(decodeLink);
    socket.close();
    const row = rows.find((each) => each?.name === name);
    if (row === null || row === undefined) throw new Error(`there is no ${name}`);
    return row;
  }

  /** An ear for what is said about addresses on the segment. */
  ear(...addresses: string[]): Ear {
    return this.earOn('eth0', ...addresses);
  }

  earOn(interfaceName: string, ...addresses: string[]): Ear {
    const parsed = addresses.map(addressOf);
    return new Ear(
      this.inside(() => new Segment(openFrames(parsed))),
      parsed,
      this.link(interfaceName),
    );
  }

  /** Has the program on this machine do something. */
  async ask(request: PeerRequest): Promise<unknown> {
    const peer = (this.#peer ??= this.#startPeer());
    this.#requests += 1;
    const id = this.#requests;
    peer.send({ id, request });
    return await new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  /** How opening a connection ends. */
  async connect(host: string, { timeoutMs = 300, from }: { timeoutMs?: number; from?: string } = {}): Promise<Outcome> {
    return String(await this.ask({ do: 'connect', host, port: 80, timeoutMs, ...(from === undefined ? {} : { from }) }));
  }

  close(): void {
    this.#peer?.kill('SIGKILL');
    ip(`netns del ${this.name}`);
  }

  #startPeer(): ChildProcess {
    const script = fileURLToPath(new URL('./segment-peer.ts', import.meta.url));
    const peer = spawnIn(this.name, [process.execPath, script], { env: {}, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    peer.on('message', ({ id, result }: { id: number; result: unknown }) => {
      this.#waiting.get(id)?.(result);
      this.#waiting.delete(id);
    });
    return peer;
  }
}

/** Listens for who says that an address is theirs. */
export class Ear {
  readonly #segment: Segment;
  readonly #addresses: readonly Address[];
  readonly #link: LinkRow;
  #heard: { text: string; mac: string }[] = [];

  constructor(segment: Segment, addresses: readonly Address[], link: LinkRow) {
    this.#segment = segment;
    this.#addresses = addresses;
    this.#link = link;
  }

  /** Asks who has an address, and returns whose hardware address comes back within a while; null for silence. */
  async whoHas(text: string, patienceMs = 100): Promise<string | null> {
    this.forget();
    const address = this.#addresses.find((each) => each.text === text);
    if (address === undefined) throw new Error(`no ear for ${text}`);
    this.#segment.ask(address, this.#link);
    return await this.claimed(text, patienceMs);
  }

  /** Whose hardware address is said to have an address within a while; null for silence. */
  async claimed(text: string, patienceMs = 100): Promise<string | null> {
    const untilMs = performance.now() + patienceMs;
    for (;;) {
      this.#listen();
      const found = this.#heard.find((each) => each.text === text);
      if (found !== undefined) return found.mac;
      if (performance.now() > untilMs) return null;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async eventuallyClaimed(text: string): Promise<void> {
    await eventually(`somebody claims ${text}`, () => {
      this.#listen();
      return this.#heard.some((each) => each.text === text);
    });
  }

  /** Says that an address is here, as the product does. */
  announce(text: string): void {
    this.#segment.announce(addressOf(text), this.#link, () => true);
  }

  forget(): void {
    this.#listen();
    this.#heard = [];
  }

  close(): void {
    this.#segment.close();
  }

  #listen(): void {
    for (const { bytes, mac } of this.#segment.heard()) {
      const address = this.#addresses.find((each) => Buffer.from(each.bytes).equals(bytes));
      if (address !== undefined) this.#heard.push({ text: address.text, mac });
    }
  }
}

export function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (address === null) throw new Error(`${text} is no address`);
  return address;
}
