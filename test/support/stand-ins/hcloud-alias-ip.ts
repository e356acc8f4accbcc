/**
 * Alias IPs in a private network of Hetzner Cloud, as a stand-in like those of all providers.
 *
 * Whatever the addresses are, the network has a subnet around each. A node whose own address lies in none of them, because its
 * requests come from elsewhere, has another one in the network. Each server also has an alias IP that is none of ours.
 */
import { contains, parseAddress } from '../../../agent/address.ts';
import { HcloudNetworkStandIn } from '../hcloud-api.ts';
import { hcloudStandIn, Servers } from './hcloud.ts';
import type { ProviderStandIn, StandInOptions } from './stand-in.ts';

const NETWORK = 47_001;
/** The last number of the first own address that is made up. */
const FIRST_OWN = 200;
/** The same of the first alias IP that is somebody else's. */
const FIRST_FOREIGN = 240;

/** The first three numbers of an address. */
const prefixOf = (address: string): string => address.split('.').slice(0, 3).join('.');

/** Starts one. */
export async function openHcloudAliasIps(options: StandInOptions): Promise<ProviderStandIn> {
  const { addresses, nodes } = options;
  const servers = new Servers(options);
  const subnets = [...new Set(addresses.map(prefixOf))].map((prefix) => ({ range: `${prefix}.0/24`, gateway: `${prefix}.1` }));
  const foreign = nodes.map(({ name }, index) => ({
    server: servers.idOf(name),
    ip: `${prefixOf(addresses[0] ?? '')}.${FIRST_FOREIGN + index}`,
  }));
  const isInside = (ip: string): boolean => subnets.some(({ range }) => isIn(range, ip));
  const hcloud = await HcloudNetworkStandIn.start(
    {
      networks: [{ id: NETWORK, name: 'prod', range: `${(addresses[0] ?? '').split('.')[0] ?? ''}.0.0.0/8`, subnets }],
      servers: nodes.map(({ name, ip, mac }, index) => ({
        id: servers.idOf(name),
        name,
        attachments: [
          {
            network: NETWORK,
            ip: isInside(ip) ? ip : `${prefixOf(addresses[0] ?? '')}.${FIRST_OWN + index}`,
            mac,
            aliases: foreign.filter((each) => each.server === servers.idOf(name)).map((each) => each.ip),
          },
        ],
      })),
      actionMs: options.moveMs,
      onOwner: (ip, server) => {
        if (addresses.includes(ip)) options.onOwner?.(ip, servers.nodeOf(server));
      },
      onAccepted: ({ from }) => options.onAccepted?.(from),
    },
    options.host,
  );
  return hcloudStandIn(options, {
    name: 'hcloud-alias-ip',
    model: hcloud,
    ports: hcloud.ports,
    servers,
    ownerOf: (address) => hcloud.ownerOf(address),
    move: (address, server) => hcloud.move(address, server),
    lost: () =>
      foreign
        .filter(({ ip, server }) => hcloud.ownerOf(ip) !== server)
        .map(({ ip, server }) => `the alias IP ${ip}, which is none of ours, is not on server ${server} any more`),
  });
}

function isIn(range: string, ip: string): boolean {
  const [subnet, host] = [parseAddress(range), parseAddress(ip)];
  return subnet !== null && host !== null && contains(subnet.bytes, subnet.prefixLength, host.bytes);
}
