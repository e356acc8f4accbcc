/**
 * The cables of the lab: three nodes on one bridge, a client, and the paths from each node to the two APIs.
 *
 * Guarantees: this process's own network namespace is the router, where the APIs are served, each at an address of its own,
 * so that a node can be cut off one and not the other. `routed`: the client sits behind the router, and who gets the traffic
 * for the floating IP is the router's choice. `l2`: the client sits on the nodes' bridge, asks by ARP and neighbour
 * discovery, and believes what it has learned for as long as its kernel does.
 */
import { writeFileSync } from 'node:fs';
import { SystemError } from '../../agent/link/libc.ts';
import { NetlinkSocket, openDatagrams } from '../../agent/link/netlink-socket.ts';
import { BATCH, deleteTable, getTable } from '../../agent/link/nftables.ts';
import { inNamespace } from '../../test/support/inside-namespace.ts';
import { ip } from '../../test/support/namespaces.ts';
import { FLOATING_IP } from './stage.ts';

export type Topology = 'routed' | 'l2';

export interface NodePlace {
  readonly name: string;
  readonly ip: string;
  /** The hardware address of its interface. */
  readonly mac: string;
  /** Its number at Hetzner Cloud, where a cluster names it in a providerID. */
  readonly server: number;
  /** Its end of the cable at the bridge. */
  readonly port: string;
}

export const PLACES: readonly NodePlace[] = ['a', 'b', 'c'].map((letter, index) => ({
  name: `node-${letter}`,
  ip: `10.77.0.${11 + index}`,
  mac: `02:00:00:00:77:${11 + index}`,
  server: 9_100_201 + index,
  port: `port-${letter}`,
}));

const ROUTER_IP = '10.77.0.1';
export const STRANGER_MAC = '02:00:00:00:77:66';
const IPV6_PREFIX = '2001:db8:77::';
/** Where the APIs are served, by what each is of. */
export const API_IPS = { kubernetes: '10.78.0.1', provider: '10.78.0.2' } as const;
export type Api = keyof typeof API_IPS;

/** The kernel's own rule for local addresses moves behind ours, which so come before it. */
const LOCAL_PREFERENCE = 100;
const CUT_PREFERENCE = 50;

export function placeOf(node: string): NodePlace {
  const place = PLACES.find(({ name }) => name === node);
  if (place === undefined) throw new Error(`there is no ${node}`);
  return place;
}

/** Makes every namespace and cable. */
export function buildNetwork(topology: Topology): void {
  ip(`rule add pref ${LOCAL_PREFERENCE} lookup local`);
  ip('rule del pref 0');
  for (const address of Object.values(API_IPS)) ip(`addr add ${address}/32 dev lo`);
  // An address of its own: a bridge takes that of a port otherwise, and a frame from that port, cut off, would still be ours.
  ip('link add br0 address 02:00:00:00:77:01 type bridge');
  ip(`addr add ${ROUTER_IP}/24 dev br0`);
  ip('link set br0 up');
  for (const place of PLACES) {
    connect(place.name, place.port, `${place.ip}/24`, place.mac);
    ip(`link set ${place.port} master br0`);
    ip(`-n ${place.name} route add default via ${ROUTER_IP}`);
  }
  if (topology === 'routed') connectClientBehindRouter();
  else connectClientToBridge();
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
}

/** Takes away what was built, so that another network can be built. */
export function removeNetwork(): void {
  // A namespace lives as long as a process in it, so the cables are taken away by themselves.
  for (const port of [...PLACES.map(({ port }) => port), 'to-client']) ip(`link del ${port}`);
  for (const name of [...PLACES.map(({ name }) => name), 'client']) ip(`netns del ${name}`);
  ip('link del br0');
  for (const address of Object.values(API_IPS)) ip(`addr del ${address}/32 dev lo`);
  while (ip(`rule show pref ${CUT_PREFERENCE}`) !== '') ip(`rule del pref ${CUT_PREFERENCE}`);
  ip('rule add pref 0 lookup local');
  ip(`rule del pref ${LOCAL_PREFERENCE}`);
}

function connect(namespace: string, port: string, address: string, mac?: string): void {
  ip(`netns add ${namespace}`);
  ip(`link add ${port} type veth peer name eth0 ${mac === undefined ? '' : `address ${mac} `}netns ${namespace}`);
  ip(`link set ${port} up`);
  ip(`-n ${namespace} link set lo up`);
  ip(`-n ${namespace} addr add ${address} dev eth0`);
  ip(`-n ${namespace} link set eth0 up`);
}

function connectClientBehindRouter(): void {
  connect('client', 'to-client', '192.0.2.2/24');
  ip('addr add 192.0.2.1/24 dev to-client');
  ip('-n client route add default via 192.0.2.1');
}

function connectClientToBridge(): void {
  connect('client', 'to-client', '10.77.0.100/24');
  ip('link set to-client master br0');
  ip(`-n client route add ${FLOATING_IP}/32 dev eth0`);
}

/** Gives the nodes and a client on their segment an IPv6 address each, beside the other one. */
export function addIpv6(): void {
  for (const [namespace, host] of [...PLACES.map(({ name }, index) => [name, 11 + index] as const), ['client', 100] as const])
    ip(`-n ${namespace} addr add ${IPV6_PREFIX}${host}/64 dev eth0 nodad`);
}

/** A machine of somebody else's on the nodes' segment, which has the floating IP and tells everybody so once. */
export function addStranger(): void {
  connect('stranger', 'to-stranger', '10.77.0.200/24');
  ip('link set to-stranger master br0');
  ip(`-n stranger addr add ${FLOATING_IP}/32 dev eth0`);
  inNamespace('stranger', () => writeFileSync('/proc/sys/net/ipv4/conf/eth0/arp_notify', '1'));
  // With that the kernel announces its addresses whenever the hardware address changes.
  ip(`-n stranger link set eth0 address ${STRANGER_MAC}`);
}

export function removeStranger(): void {
  ip('link del to-stranger');
  ip('netns del stranger');
}

/** Removes every table of our packet filter on a node, as `nft flush ruleset` does. */
export function flushPacketFilter(node: string, table: string): void {
  const socket = inNamespace(node, () => new NetlinkSocket(openDatagrams('netfilter'), 'netfilter'));
  try {
    const deletions = (['arp', 'inet'] as const).map((family) => deleteTable(family, table));
    socket.transact(BATCH.begin, deletions, BATCH.end);
  } finally {
    socket.close();
  }
}

/** Whether all tables of our packet filter stand on a node. */
export function hasPacketFilter(node: string, table: string): boolean {
  const socket = inNamespace(node, () => new NetlinkSocket(openDatagrams('netfilter'), 'netfilter'));
  try {
    return (['arp', 'inet'] as const).every((family) => {
      const { type, body } = getTable(family, table);
      return socket.get(type, body).length > 0;
    });
  } catch (error) {
    if (error instanceof SystemError && error.code === 'ENOENT') return false;
    throw error;
  } finally {
    socket.close();
  }
}

/** What the provider's routers do: traffic for the floating IP goes to one server. */
export function routeTo(server: number | null): void {
  routeAddress(FLOATING_IP, PLACES.find((each) => each.server === server)?.name ?? null);
}

/** Traffic for an address goes to one node, or nowhere. */
export function routeAddress(address: string, node: string | null): void {
  if (node === null) ip(`route del ${address}/32`);
  else ip(`route replace ${address}/32 via ${placeOf(node).ip} dev br0`);
}

/** Takes a node off the network, without its noticing by its carrier. */
export function cutOff(node: string): void {
  ip(`link set ${placeOf(node).port} nomaster`);
}

export function reconnect(node: string): void {
  ip(`link set ${placeOf(node).port} master br0`);
}

/** Loses every packet between a node and one API, both ways, and tells nobody. */
export function cutPath(node: string, api: Api): void {
  for (const path of pathsBetween(node, api)) ip(`rule add pref ${CUT_PREFERENCE} ${path} blackhole`);
}

export function mendPath(node: string, api: Api): void {
  for (const path of pathsBetween(node, api)) ip(`rule del pref ${CUT_PREFERENCE} ${path}`);
}

function pathsBetween(node: string, api: Api): string[] {
  const [near, far] = [placeOf(node).ip, API_IPS[api]];
  return [`from ${near} to ${far}`, `from ${far} to ${near}`];
}

/** Pulls a node's cable, which its interface notices. */
export function unplug(node: string): void {
  ip(`link set ${placeOf(node).port} down`);
}

export function plugIn(node: string): void {
  ip(`link set ${placeOf(node).port} up`);
}

/**
 * Takes a node's interface down and up again. What the kernel forgets, a route and the node's own IPv6 address, is set
 * again, as at boot.
 */
export function restartInterface(node: string): void {
  const ipv6 = /inet6 (2001:\S+\/64)/.exec(ip(`-n ${node} addr show dev eth0`))?.[1];
  ip(`-n ${node} link set eth0 down`);
  ip(`-n ${node} link set eth0 up`);
  ip(`-n ${node} route replace default via ${ROUTER_IP}`);
  if (ipv6 !== undefined) ip(`-n ${node} addr add ${ipv6} dev eth0 nodad`);
}
