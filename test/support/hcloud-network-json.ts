/**
 * Servers and networks of Hetzner Cloud as its API shows them, with everything that its documentation says is always there.
 */
import type { Attachment, NetworkSpec } from './hcloud-network-model.ts';

const CREATED = '2026-03-01T09:00:00Z';

const LOCATION = {
  id: 2,
  name: 'nbg1',
  description: 'Nuremberg DC Park 1',
  country: 'DE',
  city: 'Nuremberg',
  latitude: 49.45,
  longitude: 11.08,
  network_zone: 'eu-central',
};

const SERVER_TYPE = {
  id: 22,
  name: 'small',
  description: 'SMALL',
  architecture: 'x86',
  cores: 2,
  cpu_type: 'shared',
  deprecated: false,
  disk: 40,
  memory: 4,
  prices: [],
  storage_type: 'local',
  locations: [],
};

export function serverJson({ id, name }: { readonly id: number; readonly name: string }, attachments: readonly Attachment[]): object {
  return {
    id,
    name,
    status: 'running',
    locked: false,
    created: CREATED,
    backup_window: null,
    image: null,
    included_traffic: 0,
    ingoing_traffic: 0,
    outgoing_traffic: 0,
    iso: null,
    labels: {},
    location: LOCATION,
    primary_disk_size: 40,
    protection: { delete: false, rebuild: false },
    rescue_enabled: false,
    server_type: SERVER_TYPE,
    volumes: [],
    load_balancers: [],
    public_net: { ipv4: null, ipv6: null, floating_ips: [], firewalls: [] },
    private_net: attachments.map(({ network, ip, aliases, mac }) => ({ network, ip, alias_ips: aliases, mac_address: mac })),
  };
}

export function networkJson({ id, name, range, subnets }: NetworkSpec, servers: readonly number[]): object {
  return {
    id,
    name,
    ip_range: range,
    subnets: subnets.map((subnet) => ({ type: 'cloud', ip_range: subnet.range, network_zone: 'eu-central', gateway: subnet.gateway })),
    routes: [],
    servers,
    load_balancers: [],
    protection: { delete: false },
    labels: {},
    expose_routes_to_vswitch: false,
    created: CREATED,
  };
}
