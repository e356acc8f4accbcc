/**
 * Whether an address answers on a machine: what clients see of bound addresses and of what the packet filter lets through.
 *
 * Guarantees: an address answers if it is bound there and if either a question who has it and its answer, or a packet to it and
 * the one that comes back, pass every hook on their way.
 * Not modelled: containers and Services behind an address that is not bound.
 */
import type { Address } from '../../agent/address.ts';
import type { Bound, Excuse } from './kernel.ts';
import type { Machine } from './machine.ts';
import type { Element } from './packet-filter.ts';
import type { Packet } from './packet-rules.ts';

/** An address that answers, and because of whom. */
export interface Answering {
  readonly bound: Bound;
  /** Who bound it, or has opened it since; null for a person. */
  readonly by: object | null;
  readonly excuse: Excuse | null;
}

const FAMILIES = { inet: 1, arp: 3 } as const;
const INET_HOOKS = { prerouting: 0, input: 1, output: 3, postrouting: 4 } as const;
const ARP_HOOKS = { input: 0, output: 1 } as const;
const META = { iifname: 6, oifname: 7, nfproto: 15, l4proto: 16, pkttype: 19 } as const;
const TO_THIS_MACHINE = 0;
const TO_A_GROUP = 2;
const NFPROTO = { 4: 2, 6: 10 } as const;
const TCP = 6;
const ICMPV6 = 58;
const NEIGHBOUR_SOLICITATION = 135;
const NEIGHBOUR_ADVERTISEMENT = 136;

/** What a client asks from. */
const CLIENT = { 4: Buffer.from([203, 0, 113, 200]), 6: Buffer.from('20010db8000000000000000000000c00', 'hex') } as const;
const SOLICITED_NODES = Buffer.from('ff0200000000000000000001ff000000', 'hex');

/** No interface here is a bridge, on which alone it matters to whom a frame was sent. */
const NO_LINK = Buffer.alloc(0);

interface Ways {
  /** A question who has the address, and the answer. */
  readonly neighbour: readonly Packet[];
  /** A packet to the address, and the one that comes back. */
  readonly traffic: readonly Packet[];
}

const known = new Map<string, Ways>();

/** How an address answers on a machine; null where it does not. */
export function answering(machine: Machine, address: Address): Answering | null {
  if (machine.isSuspended) return null;
  const bound = machine.kernel.boundAs(address.text);
  if (bound === undefined) return null;
  const { neighbour, traffic } = waysOf(address);
  const key = Buffer.from(address.bytes);
  const passages = [
    machine.filter.passage(`${address.text} neighbour`, neighbour, key),
    machine.filter.passage(`${address.text} traffic`, traffic, key),
  ];
  const unguarded = passages.find(({ is }) => is === 'unguarded');
  if (unguarded !== undefined) {
    const excuse = machine.filter.isTamperedWith ? 'packet filter removed' : bound.excuse;
    return { bound, by: bound.setBy, excuse };
  }
  const open = passages.find(({ is }) => is === 'open');
  if (open === undefined) return null;
  const last = latestOf(open.through);
  return { bound, by: last?.setBy ?? bound.setBy, excuse: bound.excuse ?? excuseOf(machine, open.through) };
}

/** Whether a question who has an address is answered. */
export function tellsNeighbours(machine: Machine, address: Address): boolean {
  return passes(machine, address, 'neighbour');
}

/** Whether a packet to an address is answered by whoever knows where it is. */
export function answersTraffic(machine: Machine, address: Address): boolean {
  return passes(machine, address, 'traffic');
}

function passes(machine: Machine, address: Address, way: keyof Ways): boolean {
  if (machine.kernel.boundAs(address.text) === undefined) return false;
  return machine.filter.passage(`${address.text} ${way}`, waysOf(address)[way], Buffer.from(address.bytes)).is !== 'closed';
}

/** Whether an address would answer if it were bound and its fence had just closed. */
export function isGuarded(machine: Machine, address: Address): boolean {
  const { neighbour, traffic } = waysOf(address);
  // A key that is in no set.
  const nothing = Buffer.alloc(address.bytes.length);
  const closed = (name: string, packets: readonly Packet[]): boolean =>
    machine.filter.passage(`${address.text} ${name}`, packets, nothing).is === 'closed';
  return closed('neighbour', neighbour) && closed('traffic', traffic);
}

function latestOf(elements: readonly Element[]): Element | undefined {
  return elements.toSorted((a, b) => a.expiresAtMonotonicMs - b.expiresAtMonotonicMs).at(-1);
}

function excuseOf(machine: Machine, elements: readonly Element[]): Excuse | null {
  if (elements.some(({ isOfFrozen }) => isOfFrozen)) return 'freeze before a call';
  return elements.some(({ setAtSuspensions }) => setAtSuspensions < machine.suspensions) ? 'suspend' : null;
}

function waysOf(address: Address): Ways {
  const found = known.get(address.text);
  if (found !== undefined) return found;
  const ways = address.family === 4 ? waysOfIpv4(Buffer.from(address.bytes)) : waysOfIpv6(Buffer.from(address.bytes));
  known.set(address.text, ways);
  return ways;
}

function waysOfIpv4(address: Buffer): Ways {
  return {
    neighbour: [arp('input', CLIENT[4], address), arp('output', address, CLIENT[4])],
    traffic: traffic(4, address),
  };
}

function waysOfIpv6(address: Buffer): Ways {
  const group = Buffer.concat([SOLICITED_NODES.subarray(0, 13), address.subarray(13)]);
  const asks = { network: ipv6(CLIENT[6], group), transport: neighbourMessage(NEIGHBOUR_SOLICITATION, address), protocol: ICMPV6 };
  const tells = { network: ipv6(address, CLIENT[6]), transport: neighbourMessage(NEIGHBOUR_ADVERTISEMENT, address), protocol: ICMPV6 };
  return {
    neighbour: [
      inet(6, 'prerouting', { ...asks, packetType: TO_A_GROUP }),
      inet(6, 'input', { ...asks, packetType: TO_A_GROUP }),
      inet(6, 'output', tells),
      inet(6, 'postrouting', tells),
    ],
    traffic: traffic(6, address),
  };
}

function traffic(version: 4 | 6, address: Buffer): Packet[] {
  const header = version === 4 ? ipv4 : ipv6;
  const comes = { network: header(CLIENT[version], address), isForThisMachine: true };
  const goes = { network: header(address, CLIENT[version]) };
  return [
    inet(version, 'prerouting', comes),
    inet(version, 'input', comes),
    inet(version, 'output', goes),
    inet(version, 'postrouting', goes),
  ];
}

interface InetParts {
  readonly network: Buffer;
  readonly transport?: Buffer;
  readonly protocol?: number;
  readonly packetType?: number;
  readonly isForThisMachine?: boolean;
}

function inet(version: 4 | 6, hook: keyof typeof INET_HOOKS, parts: InetParts): Packet {
  const { network, transport = Buffer.alloc(20), protocol = TCP, packetType = TO_THIS_MACHINE, isForThisMachine = false } = parts;
  const isIncoming = hook === 'prerouting' || hook === 'input';
  const meta = new Map<number, Buffer>([
    [META.nfproto, Buffer.from([NFPROTO[version]])],
    [META.l4proto, Buffer.from([protocol])],
    [META.pkttype, Buffer.from([packetType])],
    [META.iifname, named(isIncoming ? 'eth0' : '')],
    [META.oifname, named(isIncoming ? '' : 'eth0')],
  ]);
  return { family: FAMILIES.inet, hook: INET_HOOKS[hook], meta, link: NO_LINK, network, transport, isForThisMachine };
}

function arp(hook: keyof typeof ARP_HOOKS, sender: Buffer, target: Buffer): Packet {
  const network = Buffer.concat([
    Buffer.from([0, 1, 8, 0, 6, 4, 0, hook === 'input' ? 1 : 2]),
    Buffer.alloc(6),
    sender,
    Buffer.alloc(6),
    target,
  ]);
  return {
    family: FAMILIES.arp,
    hook: ARP_HOOKS[hook],
    meta: new Map(),
    link: NO_LINK,
    network,
    transport: Buffer.alloc(0),
    isForThisMachine: false,
  };
}

function ipv4(from: Buffer, to: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x45]), Buffer.alloc(11), from, to]);
}

function ipv6(from: Buffer, to: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x60]), Buffer.alloc(7), from, to]);
}

function neighbourMessage(kind: number, target: Buffer): Buffer {
  return Buffer.concat([Buffer.from([kind]), Buffer.alloc(7), target]);
}

function named(name: string): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.write(name);
  return bytes;
}
