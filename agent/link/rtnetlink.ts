/**
 * rtnetlink messages about addresses, links and routes (rtnetlink(7), <linux/if_addr.h>).
 *
 * Guarantees: what makes no sense is read as null. Nothing is decided here.
 */
import { align, decodeAttributes, encodeAttribute, uint32 } from './netlink.ts';
import type { Message } from './netlink.ts';

// Message types from <linux/rtnetlink.h>.
export const RTM_NEWLINK = 16;
export const RTM_GETLINK = 18;
export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;
export const RTM_NEWROUTE = 24;
export const RTM_GETROUTE = 26;

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_INET6 = 10;
const ADDRESS_LENGTHS: Readonly<Record<number, number>> = { [AF_INET]: 4, [AF_INET6]: 16 };

// Attributes of addresses.
const IFA_ADDRESS = 1;
export const IFA_LOCAL = 2;
const IFA_LABEL = 3;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;
const IFA_PROTO = 11;
export const IFA_F_NODAD = 0x02;
export const IFA_F_NOPREFIXROUTE = 0x200;
export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_HOST = 254;

// Attributes and flags of links.
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_LINKINFO = 18;
const IFLA_AF_SPEC = 26;
const IFLA_CARRIER_CHANGES = 35;
const IFLA_EXT_MASK = 29;
const RTEXT_FILTER_SKIP_STATS = 8;
// Inside IFLA_AF_SPEC, under AF_INET6: the interface's IPv6 settings, one number each (<linux/ipv6.h>).
const IFLA_INET6_CONF = 2;
const DEVCONF_FORWARDING = 0;
const DEVCONF_DISABLE_IPV6 = 26;
const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
const IFF_NOARP = 0x80;
const IFF_LOWER_UP = 0x10000;
const ARPHRD_ETHER = 1;
// Inside IFLA_LINKINFO.
const IFLA_INFO_KIND = 1;

// Attributes of routes.
const RTA_OIF = 4;
const RTA_PRIORITY = 6;
const RTA_MULTIPATH = 9;
const NEXT_HOP_LENGTH = 8;
const RTA_TABLE = 15;
const RT_TABLE_MAIN = 254;
const RTN_UNICAST = 1;

const INFINITE_LIFETIME = 0xffffffff;

/** One address as the kernel lists it. */
export interface AddressRow {
  readonly family: number;
  readonly prefixLength: number;
  readonly interfaceIndex: number;
  readonly scope: number;
  readonly flags: number;
  /** The address itself: 4 or 16 bytes. */
  readonly bytes: Buffer;
  readonly label: string | null;
  readonly protocol: number | null;
  /** Whole seconds that the kernel still gives it; Infinity when it stays. */
  readonly validS: number;
}

export interface LinkRow {
  readonly index: number;
  readonly name: string;
  /** The hardware address, or '' where the link has none. */
  readonly mac: string;
  readonly isUp: boolean;
  readonly hasCarrier: boolean;
  readonly isLoopback: boolean;
  /** Whether IPv6 is there and switched on. */
  readonly hasIpv6: boolean;
  /** Whether this machine forwards IPv6 that arrives there, as a router does. */
  readonly forwardsIpv6: boolean;
  /** Whether who has an address is asked there by ARP, over Ethernet. */
  readonly hasArp: boolean;
  /** Whether other ports are behind it, whose frames may only pass through. */
  readonly isBridge: boolean;
  /** How often its carrier has come or gone. */
  readonly carrierChanges: number;
}

/** A default route of the main table. */
export interface DefaultRoute {
  readonly family: number;
  readonly interfaceIndex: number;
  readonly metric: number;
}

/** The fixed part of a message about an address (struct ifaddrmsg). */
export function addressHeader(family: number, prefixLength: number, scope: number, interfaceIndex: number): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(family, 0);
  header.writeUInt8(prefixLength, 1);
  header.writeUInt8(scope, 3);
  header.writeUInt32LE(interfaceIndex, 4);
  return header;
}

/** The body of a message that adds or refreshes an address, deprecated from the start. */
export function encodeAddress(row: AddressRow): Buffer {
  const lifetime = Buffer.alloc(16);
  lifetime.writeUInt32LE(0, 0);
  lifetime.writeUInt32LE(row.validS, 4);
  return Buffer.concat([
    addressHeader(row.family, row.prefixLength, row.scope, row.interfaceIndex),
    encodeAttribute(IFA_LOCAL, row.bytes),
    encodeAttribute(IFA_ADDRESS, row.bytes),
    encodeAttribute(IFA_CACHEINFO, lifetime),
    encodeAttribute(IFA_FLAGS, uint32(row.flags)),
    ...(row.label === null ? [] : [encodeAttribute(IFA_LABEL, Buffer.from(`${row.label}\0`))]),
    ...(row.protocol === null ? [] : [encodeAttribute(IFA_PROTO, Buffer.from([row.protocol]))]),
  ]);
}

/** The body of a request for one link, or for all with index 0, without counters, which are most of what would be listed. */
export function linkRequestBody(index: number): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  return Buffer.concat([header, encodeAttribute(IFLA_EXT_MASK, uint32(RTEXT_FILTER_SKIP_STATS))]);
}

/** Reads an IPv4 or IPv6 address from a message, or gives null for any other one: the kernel also lists other families. */
export function decodeAddress({ type, body }: Message): AddressRow | null {
  if (type !== RTM_NEWADDR || body.length < 8) return null;
  const attributes = decodeAttributes(body.subarray(8));
  // On a point-to-point link IFA_ADDRESS is the peer; IPv6 has no IFA_LOCAL otherwise.
  const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS);
  const family = body.readUInt8(0);
  const prefixLength = body.readUInt8(1);
  const length = ADDRESS_LENGTHS[family];
  const interfaceIndex = body.readInt32LE(4);
  if (bytes === undefined || bytes.length !== length || prefixLength > length * 8 || interfaceIndex < 1) return null;
  const cacheInfo = attributes.get(IFA_CACHEINFO);
  const validS = cacheInfo !== undefined && cacheInfo.length >= 8 ? cacheInfo.readUInt32LE(4) : INFINITE_LIFETIME;
  const label = attributes.get(IFA_LABEL);
  const flags = attributes.get(IFA_FLAGS);
  return {
    family,
    prefixLength,
    flags: flags !== undefined && flags.length >= 4 ? flags.readUInt32LE(0) : body.readUInt8(2),
    scope: body.readUInt8(3),
    interfaceIndex,
    bytes,
    label: label === undefined ? null : text(label),
    protocol: attributes.get(IFA_PROTO)?.at(0) ?? null,
    validS: validS === INFINITE_LIFETIME ? Number.POSITIVE_INFINITY : validS,
  };
}

/** Reads a link from a message, or gives null for any other one. */
export function decodeLink({ type, body }: Message): LinkRow | null {
  if (type !== RTM_NEWLINK || body.length < 16) return null;
  const attributes = decodeAttributes(body.subarray(16));
  const name = attributes.get(IFLA_IFNAME);
  const index = body.readInt32LE(4);
  if (name === undefined || text(name) === '' || index < 1) return null;
  const flags = body.readUInt32LE(8);
  const mac = attributes.get(IFLA_ADDRESS) ?? Buffer.alloc(0);
  return {
    index,
    name: text(name),
    mac: [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
    isUp: (flags & IFF_UP) !== 0,
    hasCarrier: (flags & IFF_LOWER_UP) !== 0,
    isLoopback: (flags & IFF_LOOPBACK) !== 0,
    hasIpv6: ipv6Setting(attributes.get(IFLA_AF_SPEC), DEVCONF_DISABLE_IPV6) === 0,
    forwardsIpv6: ipv6Setting(attributes.get(IFLA_AF_SPEC), DEVCONF_FORWARDING) === 1,
    hasArp: body.readUInt16LE(2) === ARPHRD_ETHER && (flags & (IFF_NOARP | IFF_LOOPBACK)) === 0,
    isBridge: kindOf(attributes.get(IFLA_LINKINFO)) === 'bridge',
    carrierChanges: numberOf(attributes.get(IFLA_CARRIER_CHANGES)) ?? 0,
  };
}

/** What kind of virtual interface it is; null for a real one. */
function kindOf(info: Buffer | undefined): string | null {
  const kind = info === undefined ? undefined : decodeAttributes(info).get(IFLA_INFO_KIND);
  return kind === undefined ? null : text(kind);
}

/** One of an interface's IPv6 settings, or null where it has none. */
function ipv6Setting(perFamily: Buffer | undefined, which: number): number | null {
  const settings = perFamily === undefined ? undefined : decodeAttributes(perFamily).get(AF_INET6);
  const values = settings === undefined ? undefined : decodeAttributes(settings).get(IFLA_INET6_CONF);
  const offset = which * 4;
  return values !== undefined && values.length >= offset + 4 ? values.readInt32LE(offset) : null;
}

/** Reads a default route of the main table from a message, once for each of its next hops; none from any other one. */
export function decodeDefaultRoutes({ type, body }: Message): DefaultRoute[] {
  if (type !== RTM_NEWROUTE || body.length < 12) return [];
  if (body.readUInt8(1) !== 0 || body.readUInt8(7) !== RTN_UNICAST) return [];
  const attributes = decodeAttributes(body.subarray(12));
  const table = numberOf(attributes.get(RTA_TABLE)) ?? body.readUInt8(4);
  if (table !== RT_TABLE_MAIN) return [];
  const only = numberOf(attributes.get(RTA_OIF));
  const indexes = only === null ? decodeNextHops(attributes.get(RTA_MULTIPATH) ?? Buffer.alloc(0)) : [only];
  const metric = numberOf(attributes.get(RTA_PRIORITY)) ?? 0;
  return indexes.map((interfaceIndex) => ({ family: body.readUInt8(0), interfaceIndex, metric }));
}

/** The interfaces of a route with several next hops (struct rtnexthop). */
function decodeNextHops(data: Buffer): number[] {
  const indexes: number[] = [];
  for (let offset = 0; offset + NEXT_HOP_LENGTH <= data.length;) {
    const length = data.readUInt16LE(offset);
    if (length < NEXT_HOP_LENGTH || offset + length > data.length) break;
    indexes.push(data.readInt32LE(offset + 4));
    offset += align(length);
  }
  return indexes;
}

function numberOf(data: Buffer | undefined): number | null {
  return data !== undefined && data.length >= 4 ? data.readUInt32LE(0) : null;
}

function text(data: Buffer): string {
  const end = data.indexOf(0);
  return data.subarray(0, end === -1 ? data.length : end).toString('utf8');
}
