/**
 * What IPv6 failover networks of netcup need on the server besides their own address.
 *
 * Guarantees: reads only. netcup's routers send packets for a failover network to the address that the server's hardware address
 * gives in its own /64 (EUI-64, RFC 4291, appendix A), so a server that has only other addresses there gets none of them.
 */
import { addressText, covers, parseAddress } from '../address.ts';
import { ok, warn } from '../finding.ts';
import type { Finding } from '../finding.ts';
import type { HostInterface } from '../host.ts';
import type { NetcupServer } from './netcup-server.ts';

/** Whether the routers find this server. Nothing where it cannot be told on which interface. */
export function nextHopFinding({ networks }: NetcupServer, interfaces: readonly HostInterface[]): Finding[] {
  const name = 'IPv6 next hop';
  const network = networks.find((each) => parseAddress(each)?.family === 6 && each.endsWith('/64'));
  // The one with an address of the server's own is the public one.
  const publicOne = interfaces.find(({ addresses }) => addresses.some((address) => networks.some((each) => covers(each, address))));
  if (network === undefined || publicOne === undefined) return [];
  const wanted = eui64(network, publicOne.mac);
  if (wanted === null) return [];
  if (publicOne.addresses.some((address) => parseAddress(address)?.text === wanted))
    return [ok(name, `${wanted} is on ${publicOne.name}, where netcup's routers look for this server`)];
  return [
    warn(
      name,
      `${wanted} is missing on ${publicOne.name}: netcup's routers send what is for an IPv6 failover network there`,
      `configure it for good, beside the addresses that are there: ip address add ${wanted}/64 dev ${publicOne.name}`,
    ),
  ];
}

/** The address that a hardware address gives in a network; null where one of them makes no sense. */
function eui64(network: string, mac: string): string | null {
  const prefix = parseAddress(network)?.bytes.slice(0, 8);
  const [first, second, third, ...rest] = mac.split(':').map((byte) => Number.parseInt(byte, 16));
  if (prefix === undefined || first === undefined || second === undefined || third === undefined || rest.length !== 3) return null;
  const bytes = [...prefix, first ^ 2, second, third, 0xff, 0xfe, ...rest];
  return bytes.every((byte) => byte >= 0 && byte < 256) ? addressText(bytes) : null;
}
