/**
 * What a frame says about who has an address: read without any I/O, so that it can be tested with made-up frames.
 *
 * Guarantees: whatever is sent in the name of the address is found, be it ARP, neighbour discovery, an accepted connection
 * or any other packet from it. A frame about the address that does not speak in its name, such as a question for it, is
 * nobody's answer.
 */
import type { Address } from '../../agent/address.ts';

/** In what way somebody speaks for an address. */
export type Speech = 'ARP answer' | 'ARP announcement' | 'ARP question' | 'neighbour advertisement' | 'accepted connection' | 'packet';

const ETHERNET_LENGTH = 14;
const ETH_P_IP = 0x0800;
const ETH_P_ARP = 0x0806;
const ETH_P_IPV6 = 0x86dd;
const ARP_LENGTH = 28;
const ARP_REPLY = 2;
const IPV6_HEADER_LENGTH = 40;
const TCP = 6;
const ICMPV6 = 58;
const NEIGHBOUR_ADVERTISEMENT = 136;
const TCP_FLAGS_OFFSET = 13;
const SYN_ACK = 0x12;

/** How much of a frame has to be read. */
export const FRAME_HEAD_LENGTH = 128;

/** In what way an Ethernet frame speaks for an address, or null. Only its first bytes are needed. */
export function speechIn(frame: Buffer, { family, bytes }: Pick<Address, 'family' | 'bytes'>): Speech | null {
  if (frame.length < ETHERNET_LENGTH) return null;
  const protocol = frame.readUInt16BE(12);
  const payload = frame.subarray(ETHERNET_LENGTH);
  const address = Buffer.from(bytes);
  if (family === 4 && protocol === ETH_P_ARP) return speechInArp(payload, address);
  if (family === 4 && protocol === ETH_P_IP) return speechInIpv4(payload, address);
  return family === 6 && protocol === ETH_P_IPV6 ? speechInIpv6(payload, address) : null;
}

function speechInArp(payload: Buffer, address: Buffer): Speech | null {
  if (payload.length < ARP_LENGTH || !payload.subarray(14, 18).equals(address)) return null;
  if (payload.subarray(24, 28).equals(address)) return 'ARP announcement';
  return payload.readUInt16BE(6) === ARP_REPLY ? 'ARP answer' : 'ARP question';
}

function speechInIpv4(payload: Buffer, address: Buffer): Speech | null {
  if (payload.length < 20 || !payload.subarray(12, 16).equals(address)) return null;
  const headerLength = (payload.readUInt8(0) & 0x0f) * 4;
  return payload.readUInt8(9) === TCP ? speechInTcp(payload.subarray(headerLength)) : 'packet';
}

function speechInIpv6(payload: Buffer, address: Buffer): Speech | null {
  if (payload.length < IPV6_HEADER_LENGTH) return null;
  const next = payload.readUInt8(6);
  const body = payload.subarray(IPV6_HEADER_LENGTH);
  const isAdvertisement = next === ICMPV6 && body.length >= 24 && body.readUInt8(0) === NEIGHBOUR_ADVERTISEMENT;
  if (isAdvertisement && body.subarray(8, 24).equals(address)) return 'neighbour advertisement';
  if (!payload.subarray(8, 24).equals(address)) return null;
  return next === TCP ? speechInTcp(body) : 'packet';
}

function speechInTcp(segment: Buffer): Speech {
  const isAccepted = segment.length > TCP_FLAGS_OFFSET && (segment.readUInt8(TCP_FLAGS_OFFSET) & SYN_ACK) === SYN_ACK;
  return isAccepted ? 'accepted connection' : 'packet';
}
