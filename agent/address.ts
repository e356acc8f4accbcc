/**
 * An IP address with a prefix length, as a person writes it and as machines need it.
 *
 * Guarantees: `text` is canonical (RFC 5952 for IPv6), so that the same address always reads the same.
 */
import ipaddr from 'ipaddr.js';

export interface Address {
  readonly text: string;
  readonly family: 4 | 6;
  /** 32 or 128 unless the person named another. */
  readonly prefixLength: number;
  /** In network byte order: 4 or 16 bytes. */
  readonly bytes: readonly number[];
}

/** Reads `203.0.113.10`, `203.0.113.10/24` or `2001:db8::1`; null for anything that is no such address. */
export function parseAddress(text: string): Address | null {
  const [, host = '', length] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text.trim()) ?? [];
  // Only the four-part form: the library would also take 10.1 or 0x7f000001.
  const isIpv4 = ipaddr.IPv4.isValidFourPartDecimal(host);
  if (!isIpv4 && !(host.includes(':') && ipaddr.IPv6.isValid(host))) return null;
  const parsed = ipaddr.parse(host);
  if (parsed instanceof ipaddr.IPv6 && (parsed.zoneId !== undefined || parsed.isIPv4MappedAddress())) return null;
  const bits = isIpv4 ? 32 : 128;
  const prefixLength = length === undefined ? bits : Number(length);
  if (prefixLength < 1 || prefixLength > bits) return null;
  return { text: canonical(parsed), family: isIpv4 ? 4 : 6, prefixLength, bytes: parsed.toByteArray() };
}

/** Whether a network, given by one of its addresses and a prefix length, contains an address. Both as bytes. */
export function contains(network: Iterable<number>, prefixLength: number, address: Iterable<number>): boolean {
  const [net, host] = [[...network], [...address]];
  if (net.length !== host.length) return false;
  return ipaddr.fromByteArray(host).match(ipaddr.fromByteArray(net), prefixLength);
}

/** Whether an address or a network as providers write it (`198.51.100.77`, `2001:db8:7:9::/64`) covers an address. */
export function covers(network: string, address: string): boolean {
  const [range, wanted] = [parseAddress(network), parseAddress(address)];
  return range !== null && wanted !== null && contains(range.bytes, range.prefixLength, wanted.bytes);
}

/** Writes bytes as canonical text. */
export function addressText(bytes: Iterable<number>): string {
  return canonical(ipaddr.fromByteArray([...bytes]));
}

function canonical(address: ipaddr.IPv4 | ipaddr.IPv6): string {
  return address instanceof ipaddr.IPv6 ? address.toRFC5952String() : address.toString();
}
