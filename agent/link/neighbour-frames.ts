/**
 * The frames by which a segment learns who has an address: ARP (RFC 826, RFC 5227) and IPv6 neighbour discovery (RFC 4861).
 *
 * Guarantees: built and read here without any I/O; what makes no sense is read as null.
 */
import type { Address } from '../address.ts';
import type { FilterInstruction } from './libc.ts';

export const ETH_P_ARP = 0x0806;
export const ETH_P_IPV6 = 0x86dd;

/** One frame less its Ethernet header. */
export interface Frame {
  readonly protocol: number;
  readonly to: Buffer;
  readonly payload: Buffer;
}

/** Who says that an address is theirs. */
export interface Claimed {
  readonly bytes: Buffer;
  readonly mac: string;
}

const REQUEST = 1;
const REPLY = 2;
const ARP_LENGTH = 28;
const EVERYBODY = Buffer.alloc(6, 0xff);
const NOBODY = Buffer.alloc(6);

const IPV6_HEADER_LENGTH = 40;
const ICMPV6 = 58;
const NEIGHBOUR_SOLICITATION = 135;
const NEIGHBOUR_ADVERTISEMENT = 136;
const TARGET_LINK_LAYER_ADDRESS = 2;
const FROM_ROUTER = 0x80;
const OVERRIDE = 0x20;
const ALL_NODES = Buffer.from('ff020000000000000000000000000001', 'hex');
const SOLICITED_NODE_PREFIX = Buffer.from('ff0200000000000000000001ff', 'hex');
const UNSPECIFIED = Buffer.alloc(16);

/**
 * What tells everybody that an address is at a hardware address: for IPv4 a request and a reply, because some hosts heed only
 * the one and some only the other (RFC 5944, section 4.6); for IPv6 an unsolicited advertisement that overrides (RFC 4861,
 * section 7.2.6).
 */
export function announcements({ family, bytes }: Address, mac: Buffer, isRouter: boolean): Frame[] {
  const address = Buffer.from(bytes);
  if (family === 4) {
    return [
      arp(REQUEST, { senderMac: mac, sender: address, targetMac: NOBODY, target: address }),
      arp(REPLY, { senderMac: mac, sender: address, targetMac: EVERYBODY, target: address }),
    ];
  }
  const body = Buffer.concat([
    Buffer.from([NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, OVERRIDE | (isRouter ? FROM_ROUTER : 0), 0, 0, 0]),
    address,
    Buffer.from([TARGET_LINK_LAYER_ADDRESS, 1]),
    mac,
  ]);
  return [icmpv6(address, ALL_NODES, body)];
}

/** What asks everybody who has an address, on behalf of nobody (RFC 5227, section 2.1.1; RFC 4862, section 5.4.2). */
export function probeFor({ family, bytes }: Address, mac: Buffer): Frame {
  const address = Buffer.from(bytes);
  if (family === 4) return arp(REQUEST, { senderMac: mac, sender: Buffer.alloc(4), targetMac: NOBODY, target: address });
  const to = Buffer.concat([SOLICITED_NODE_PREFIX, address.subarray(13)]);
  return icmpv6(UNSPECIFIED, to, Buffer.concat([Buffer.from([NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]), address]));
}

/** Reads who says in a frame that an address is theirs, or null from any other one. */
export function readClaimed(protocol: number, payload: Buffer, fromMac: Buffer): Claimed | null {
  if (protocol === ETH_P_ARP) {
    if (payload.length < ARP_LENGTH || payload.readUInt8(4) !== 6 || payload.readUInt8(5) !== 4) return null;
    return { bytes: payload.subarray(14, 18), mac: macText(payload.subarray(8, 14)) };
  }
  const isAdvertisement =
    protocol === ETH_P_IPV6 &&
    payload.length >= IPV6_HEADER_LENGTH + 24 &&
    payload.readUInt8(6) === ICMPV6 &&
    payload.readUInt8(IPV6_HEADER_LENGTH) === NEIGHBOUR_ADVERTISEMENT;
  return isAdvertisement ? { bytes: payload.subarray(IPV6_HEADER_LENGTH + 8, IPV6_HEADER_LENGTH + 24), mac: macText(fromMac) } : null;
}

// Instructions of a socket filter (<linux/bpf_common.h>).
const LOAD_WORD = 0x20;
const LOAD_BYTE = 0x30;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
const WHOLE = 0xffff;

/** A filter that lets through only frames in which somebody says that one of these addresses is theirs. */
export function claimFilter(protocol: number, addresses: readonly Address[]): FilterInstruction[] {
  const isArp = protocol === ETH_P_ARP;
  const wanted = addresses.filter(({ family }) => (family === 4) === isArp);
  const offset = isArp ? 14 : IPV6_HEADER_LENGTH + 8;
  const filter: FilterInstruction[] = isArp
    ? []
    : [
        [LOAD_BYTE, 0, 0, 6],
        [JUMP_IF_EQUAL, 1, 0, ICMPV6],
        [RETURN, 0, 0, 0],
        [LOAD_BYTE, 0, 0, IPV6_HEADER_LENGTH],
        [JUMP_IF_EQUAL, 1, 0, NEIGHBOUR_ADVERTISEMENT],
        [RETURN, 0, 0, 0],
      ];
  for (const { bytes } of wanted) {
    const address = Buffer.from(bytes);
    const words = address.length / 4;
    for (let word = 0; word < words; word += 1) {
      // Where a word differs, behind this address's last instruction.
      const behind = (words - 1 - word) * 2 + 1;
      filter.push([LOAD_WORD, 0, 0, offset + word * 4], [JUMP_IF_EQUAL, 0, behind, address.readUInt32BE(word * 4)]);
    }
    filter.push([RETURN, 0, 0, WHOLE]);
  }
  return [...filter, [RETURN, 0, 0, 0]];
}

/** Reads `86:00:00:aa:bb:02`. */
export function macBytes(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

function macText(mac: Buffer): string {
  return [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

interface ArpFields {
  readonly senderMac: Buffer;
  readonly sender: Buffer;
  readonly targetMac: Buffer;
  readonly target: Buffer;
}

function arp(operation: number, { senderMac, sender, targetMac, target }: ArpFields): Frame {
  // Ethernet (1), IPv4 (0x0800), and the lengths of their addresses.
  const header = Buffer.from([0, 1, 8, 0, 6, 4, 0, operation]);
  return { protocol: ETH_P_ARP, to: EVERYBODY, payload: Buffer.concat([header, senderMac, sender, targetMac, target]) };
}

function icmpv6(from: Buffer, to: Buffer, body: Buffer): Frame {
  const header = Buffer.alloc(8);
  header.writeUInt8(6 << 4, 0);
  header.writeUInt16BE(body.length, 4);
  header.writeUInt8(ICMPV6, 6);
  header.writeUInt8(255, 7);
  const summed = Buffer.from(body);
  // The pseudo-header of RFC 8200, section 8.1.
  summed.writeUInt16BE(checksum(Buffer.concat([from, to, Buffer.from([0, 0, 0, body.length, 0, 0, 0, ICMPV6]), body])), 2);
  const multicast = Buffer.concat([Buffer.from([0x33, 0x33]), to.subarray(12)]);
  return { protocol: ETH_P_IPV6, to: multicast, payload: Buffer.concat([header, from, to, summed]) };
}

/** The Internet checksum (RFC 1071) of an even number of bytes. */
function checksum(data: Buffer): number {
  let sum = 0;
  for (let offset = 0; offset + 1 < data.length; offset += 2) sum += data.readUInt16BE(offset);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
