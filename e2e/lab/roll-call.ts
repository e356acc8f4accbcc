/**
 * Asks the nodes' segment by ARP, again and again, who has the address, and counts every node that answers.
 *
 * Guarantees: one request reaches all nodes in the same instant, and an answer names the request that it belongs to: nodes that
 * answer the same one had the address at once, as a client sees it, whatever their interfaces say. It asks from an address
 * and a hardware address that nobody has, so that no client learns from the answers.
 * It sees nothing between two requests, and nothing of a node that is cut off.
 */
import { closeSocket, receive, sendTo, SystemError } from '../../agent/link/libc.ts';
import { inNamespace } from '../../test/support/inside-namespace.ts';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { ip } from '../../test/support/namespaces.ts';
import { PLACES } from './network.ts';
import { openRawSocket } from './raw-socket.ts';
import { FLOATING_IP } from './stage.ts';

// Values from <linux/if_ether.h> and <linux/if_arp.h>.
const ETH_P_ARP = 0x0806;
const ETH_P_IP = 0x0800;
const ETHERNET = 1;
const REQUEST = 1;
const REPLY = 2;
const FRAME_BYTES = 42;

const CALL_MS = 25;
/** How often the answers are fetched: they name their request, so nothing depends on it. */
const FETCH_MS = 25;
const CALLER_MAC = '020000007799';
/** The last bytes of the addresses that ask: each request comes from the next one, by which its answers are known. */
const FIRST_CALLER = 101;
const CALLERS = 150;

/** One request. */
export interface Roll {
  readonly atMs: number;
  /** The nodes that have answered it so far. */
  readonly nodes: ReadonlySet<string>;
}

export class RollCall {
  readonly rolls: Roll[] = [];
  readonly #fd: number;
  readonly #nodes: ReadonlyMap<string, string>;
  readonly #answers = new Map<number, Set<string>>();
  readonly #timers: readonly NodeJS.Timeout[];
  #next = 0;

  /** Begins to ask from the client's place on the segment. The network must stand. */
  constructor() {
    this.#nodes = new Map(PLACES.map(({ name }) => [interfaceOf(name).address.replaceAll(':', ''), name]));
    this.#fd = inNamespace('client', () => openRawSocket(ETH_P_ARP, interfaceOf('client').ifindex));
    this.#timers = [setInterval(() => this.#ask(), CALL_MS), setInterval(() => this.#fetch(), FETCH_MS)];
  }

  /** The most nodes that answered one request within a span of time. */
  most(fromMs: number, toMs: number): number {
    return Math.max(0, ...this.rolls.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs).map(({ nodes }) => nodes.size));
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
    closeSocket(this.#fd);
  }

  #ask(): void {
    const caller = FIRST_CALLER + this.#next;
    this.#next = (this.#next + 1) % CALLERS;
    const nodes = new Set<string>();
    this.#answers.set(caller, nodes);
    this.rolls.push({ atMs: monotonicMs(), nodes });
    sendTo(this.#fd, request(caller));
  }

  #fetch(): void {
    const frame = Buffer.alloc(128);
    for (;;) {
      try {
        this.#take(frame.subarray(0, receive(this.#fd, frame)));
      } catch (error) {
        if (error instanceof SystemError && error.code === 'EAGAIN') return;
        throw error;
      }
    }
  }

  #take(frame: Buffer): void {
    if (frame.length < FRAME_BYTES || frame.readUInt16BE(20) !== REPLY || !frame.subarray(28, 32).equals(bytesOf(FLOATING_IP))) return;
    const mac = frame.toString('hex', 22, 28);
    this.#answers.get(frame.readUInt8(41))?.add(this.#nodes.get(mac) ?? mac);
  }
}

/** An ARP request to everybody (RFC 826). */
function request(caller: number): Buffer {
  const frame = Buffer.alloc(FRAME_BYTES);
  frame.write('ffffffffffff', 0, 'hex');
  frame.write(CALLER_MAC, 6, 'hex');
  frame.writeUInt16BE(ETH_P_ARP, 12);
  frame.writeUInt16BE(ETHERNET, 14);
  frame.writeUInt16BE(ETH_P_IP, 16);
  frame.writeUInt8(6, 18);
  frame.writeUInt8(4, 19);
  frame.writeUInt16BE(REQUEST, 20);
  frame.write(CALLER_MAC, 22, 'hex');
  bytesOf(`10.77.0.${caller}`).copy(frame, 28);
  bytesOf(FLOATING_IP).copy(frame, 38);
  return frame;
}

function interfaceOf(namespace: string): { readonly ifindex: number; readonly address: string } {
  const [link] = JSON.parse(ip(`-n ${namespace} -j link show eth0`)) as { ifindex: number; address: string }[];
  if (link === undefined) throw new Error(`${namespace} has no eth0`);
  return link;
}

function bytesOf(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}
