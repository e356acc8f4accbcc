/**
 * A failover of Hetzner Robot: one address, or a subnet that moves as a whole.
 *
 * Guarantees: what cannot be read is no failover; one that is routed nowhere is told from one whose target cannot be read.
 */
import { contains, parseAddress } from '../address.ts';
import type { Address } from '../address.ts';
import { at, integerAt, stringAt } from '../json.ts';

export interface Failover {
  /** Its net address as Robot writes it, which is also its name in requests. */
  readonly ip: string;
  readonly family: 4 | 6;
  readonly prefixLength: number;
  /** The server that it belongs to, which need not be where it is routed. */
  readonly ownerNumber: number | null;
  /** The main address, or for IPv6 the main net, of the server that it is routed to; null where to none. */
  readonly activeServerIp: string | null;
}

/** Reads what stands in `{"failover": {…}}`; null for anything else. */
export function parseFailover(json: unknown): Failover | null {
  const ip = stringAt(json, 'failover', 'ip') ?? '';
  const net = ip.includes('/') ? null : parseAddress(ip);
  const prefixLength = prefixLengthOf(stringAt(json, 'failover', 'netmask') ?? '', net);
  const active = at(json, 'failover', 'active_server_ip');
  if (net === null || prefixLength === null || (typeof active !== 'string' && active !== null)) return null;
  const ownerNumber = integerAt(json, 'failover', 'server_number') ?? null;
  return { ip, family: net.family, prefixLength, ownerNumber, activeServerIp: active };
}

/** How many bits a netmask such as 255.255.255.248 or `ffff:ffff:ffff:ffff::` has set, all at its beginning. */
function prefixLengthOf(netmask: string, net: Address | null): number | null {
  const mask = parseAddress(netmask);
  if (mask === null || mask.family !== net?.family) return null;
  const [, ones = '', rest = ''] = /^(1*)(.*)$/.exec(mask.bytes.map((byte) => byte.toString(2).padStart(8, '0')).join('')) ?? [];
  return ones === '' || rest.includes('1') ? null : ones.length;
}

/** Whether a failover moves an address. */
export function covers({ ip, prefixLength }: Failover, address: string): boolean {
  const [net, wanted] = [parseAddress(ip), parseAddress(address)];
  return net !== null && wanted !== null && contains(net.bytes, prefixLength, wanted.bytes);
}

/** Whether two texts are the same address. */
export function isSameAddress(one: string | null, other: string | null): boolean {
  const [a, b] = [textOf(one), textOf(other)];
  return a !== null && a === b;
}

function textOf(address: string | null): string | null {
  return address === null ? null : (parseAddress(address)?.text ?? null);
}

/** A failover as people write it: an address, or a net with its length. */
export function failoverText({ ip, family, prefixLength }: Failover): string {
  return prefixLength === (family === 4 ? 32 : 128) ? ip : `${ip}/${prefixLength}`;
}
