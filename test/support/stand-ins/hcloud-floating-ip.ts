/**
 * Floating IPs of Hetzner Cloud, as a stand-in like those of all providers.
 */
import { HcloudStandIn } from '../hcloud-api.ts';
import { hcloudStandIn, Servers } from './hcloud.ts';
import type { ProviderStandIn, StandInOptions } from './stand-in.ts';

const FIRST_FLOATING_IP = 310_077;

/** Starts one. */
export async function openHcloudFloatingIps(options: StandInOptions): Promise<ProviderStandIn> {
  const servers = new Servers(options);
  const hcloud = await HcloudStandIn.start(
    {
      floatingIps: options.addresses.map((ip, index) => ({ id: FIRST_FLOATING_IP + index, ip })),
      servers: servers.ids,
      actionMs: options.moveMs,
      onOwner: (ip, server) => options.onOwner?.(ip, servers.nodeOf(server)),
      onAccepted: ({ from }) => options.onAccepted?.(from),
    },
    options.host,
  );
  return hcloudStandIn(options, {
    name: 'hcloud-floating-ip',
    model: hcloud,
    ports: hcloud.ports,
    servers,
    ownerOf: (address) => hcloud.ownerOf(address),
    move: (address, server) => hcloud.move(address, server),
  });
}
