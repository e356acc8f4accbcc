import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { HostInterface } from '../../agent/host.ts';
import type { Provider, ProviderReadiness } from '../../agent/ports.ts';
import type { ProviderCall } from '../../agent/provider/http.ts';
import { NetcupModel } from '../support/netcup-model.ts';
import type { NetcupOptions } from '../support/netcup-model.ts';
import { httpTo, kubeWith, netcupProvider } from '../support/netcup-provider.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';

const IP = '203.0.113.10';
const never = new AbortController().signal;
const SERVERS = [
  { id: 111_003, name: 'v2202601000000000010', ip: '198.51.100.11', mac: '02:00:00:00:00:0a', network: '2001:db8:5::' },
  { id: 111_004, name: 'v2202601000000000011', ip: '198.51.100.12', mac: '02:00:00:00:00:0b' },
  // Its name, and its address, begin like those of the one before.
  { id: 111_005, name: 'v22026010000000000110', ip: '198.51.100.122', mac: '02:00:00:00:00:0c' },
];
const ME = SERVERS[1] ?? assert.fail();

let model: NetcupModel;
let calls: ProviderCall[];

function start(options: Partial<NetcupOptions> = {}): void {
  calls = [];
  model = new NetcupModel({ failoverIps: [{ id: 7_781, ip: IP }], servers: SERVERS, ...options }, REAL_CLOCK);
}

beforeEach(() => start());

interface Node {
  readonly env?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>> | null;
  readonly interfaces?: readonly Partial<HostInterface>[];
  /** The server whose interfaces cannot be asked for, because it is in maintenance. */
  readonly inMaintenance?: number;
}

function open({ env = {}, annotations = null, interfaces = [], inMaintenance }: Node): Provider {
  const http = httpTo(model, calls);
  const all = interfaces.map((each) => ({ name: 'eth0', mac: '', addresses: [], ...each }));
  return netcupProvider({
    http: async (call) =>
      call.url.includes(`/servers/${inMaintenance ?? 'none'}/interfaces`) ? { status: 503, headers: {}, body: '{}' } : await http(call),
    env: { ADDRESSES: IP, ...env },
    kube: kubeWith(annotations),
    host: { interfaces: () => all },
  });
}

async function readiness(node: Node): Promise<ProviderReadiness> {
  return await open(node).prepare(never);
}

async function assertFound(node: Node, source: RegExp, server = ME): Promise<void> {
  const provider = open(node);
  const found = await provider.prepare(never);
  assert.equal(found.is, 'ready', found.reason);
  assert.ok(found.reason.includes(`${server.name} (${server.id})`), found.reason);
  const said = (await provider.check(never)).find(({ name }) => name === 'server')?.message ?? '';
  assert.match(said, source);
}

async function assertNotFound(node: Node, reason: RegExp, isPassing = false): Promise<void> {
  const found = await readiness(node);
  assert.ok(found.is === 'not-ready', found.reason);
  assert.match(found.reason, reason);
  assert.equal(found.isPassing, isPassing);
}

const byMac = [{ mac: ME.mac }];
const name = (of = ME): Record<string, string> => ({ 'netcup.noshoes.xyz/server-name': of.name });

describe('this server is found', () => {
  test('by its number, whatever else there is', async () => {
    const other = SERVERS[0] ?? assert.fail();
    const env = { NETCUP_SERVER_ID: String(ME.id), NETCUP_SERVER_NAME: other.name };
    await assertFound({ env, annotations: name(other), interfaces: [{ mac: other.mac }] }, /from NETCUP_SERVER_ID/);
  });

  test('by its name, which is no part of another one', async () => {
    const other = SERVERS[0] ?? assert.fail();
    await assertFound({ env: { NETCUP_SERVER_NAME: ME.name }, annotations: name(other) }, /from NETCUP_SERVER_NAME/);
  });

  for (const annotation of ['netcup.noshoes.xyz/server-name', 'netcup.digilol.net/server-name']) {
    test(`by the annotation ${annotation}`, async () => {
      const other = SERVERS[0] ?? assert.fail();
      await assertFound({ annotations: { [annotation]: ME.name }, interfaces: [{ mac: other.mac }] }, /from the Node's annotations/);
    });
  }

  test('by the annotation netcup.noshoes.xyz/primary-mac, alone or beside the name', async () => {
    const mac = { 'netcup.noshoes.xyz/primary-mac': ME.mac.toUpperCase() };
    await assertFound({ annotations: mac }, /from the Node's annotations/);
    await assertFound({ annotations: { ...mac, ...name() } }, /from the Node's annotations/);
  });

  test('by a hardware address of this node, though another server is in maintenance', async () => {
    await assertFound({ interfaces: byMac, inMaintenance: SERVERS[0]?.id ?? 0 }, /by its hardware address/);
  });

  test('by a hardware address of this node, over all pages of servers', async () => {
    start({ pageMax: 1 });
    await assertFound(
      { interfaces: [{ mac: '00:00:00:00:00:00' }, { mac: '0a:58:0a:00:00:01' }, { mac: ME.mac }] },
      /by its hardware address/,
    );
  });

  test('by its main address, which is no part of another one, and no failover IP', async () => {
    model.move(IP, 111_003);
    await assertFound({ interfaces: [{ mac: '0a:58:0a:00:00:01', addresses: ['10.42.0.1', IP, ME.ip] }] }, /by its main address/);
  });

  test('by an address of its own IPv6 network', async () => {
    await assertFound({ interfaces: [{ addresses: ['fe80::1', '2001:db8:5::77'] }] }, /by its main address/, SERVERS[0]);
  });

  test('once, and not again for each claim', async () => {
    const provider = open({ interfaces: byMac });
    await provider.prepare(never);
    const before = calls.length;
    await provider.prepare(never);
    assert.deepEqual(
      calls.slice(before).map(({ operation }) => operation),
      ['GET /api/v1/users/{userId}/failoverips/v4'],
    );
  });
});

describe('this server is not found', () => {
  test('where nobody knows, and what each was asked is said', async () => {
    const interfaces = [{ mac: '0a:58:0a:00:00:01', addresses: ['192.0.2.99', '10.42.0.1'] }];
    await assertNotFound(
      { interfaces },
      /set NETCUP_SERVER_NAME \(the Node node-a cannot be read: 403 nodes is forbidden; no server of the account has one of the hardware addresses 0a:58:0a:00:00:01; .* addresses 192\.0\.2\.99\)/,
      true,
    );
    await assertNotFound(
      { annotations: {} },
      /the Node has none of the annotations netcup\.noshoes\.xyz\/server-name.*no interface with a hardware/,
      true,
    );
  });

  test('where a number or a name is set that the account does not have: then nobody else is asked', async () => {
    await assertNotFound({ env: { NETCUP_SERVER_ID: '5' }, interfaces: byMac }, /server 5 \(NETCUP_SERVER_ID\) is none of the account/);
    await assertNotFound({ env: { NETCUP_SERVER_NAME: 'v22' }, interfaces: byMac }, /NETCUP_SERVER_NAME names v22, and no server/);
    await assertNotFound(
      { annotations: { 'netcup.digilol.net/server-name': 'v22' }, interfaces: byMac },
      /annotation names v22, and no server/,
    );
    await assertNotFound(
      { annotations: { 'netcup.noshoes.xyz/primary-mac': 'aa:bb:cc:00:00:00' } },
      /aa:bb:cc:00:00:00, which is on no server/,
    );
  });

  test('where two could be meant', async () => {
    const both = SERVERS.slice(0, 2);
    await assertNotFound({ interfaces: both.map(({ mac }) => ({ mac })) }, /those of the servers 111003 and 111004/);
    await assertNotFound({ interfaces: [{ addresses: both.map(({ ip }) => ip) }] }, /those of the servers 111003 and 111004/);
    const [one, other] = SERVERS;
    const annotations = { 'netcup.noshoes.xyz/server-name': one?.name ?? '', 'netcup.digilol.net/server-name': other?.name ?? '' };
    await assertNotFound({ annotations }, /annotations name v2202601000000000010 and v2202601000000000011/);
    await assertNotFound(
      { annotations: { ...name(), 'netcup.noshoes.xyz/primary-mac': one?.mac ?? '' } },
      /which is none of its interfaces/,
    );
    start({ servers: [...SERVERS, { ...ME, id: 7, mac: '02:00:00:00:00:0d' }] });
    await assertNotFound({ env: { NETCUP_SERVER_NAME: ME.name } }, /2 servers are called so/);
  });

  test('while it may be the one in maintenance', async () => {
    await assertNotFound({ interfaces: byMac, inMaintenance: ME.id }, /503/, true);
  });

  test('where the API cannot be asked, and then no weaker source is believed', async () => {
    const http = httpTo(model, calls);
    const provider = netcupProvider({
      http: (call) => (call.url.includes('interfaces') ? Promise.resolve({ status: 502, headers: {}, body: '' }) : http(call)),
      env: { ADDRESSES: IP },
      host: { interfaces: () => [{ name: 'eth0', mac: ME.mac, addresses: ['198.51.100.11'] }] },
    });
    const found = await provider.prepare(never);
    assert.ok(found.is === 'not-ready' && found.isPassing);
    assert.match(found.reason, /502/);
  });

  test('then it claims nothing', async () => {
    const outcome = await open({ env: { NETCUP_SERVER_ID: '5' } }).claim(IP, { signal: never, isFirst: true, mayWrite: () => true });
    assert.ok(outcome.is === 'failed' && outcome.definitive);
    assert.equal(model.accepted.length, 0);
  });
});
