import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Fence } from '../../agent/link/fence.ts';
import { boottimeMs } from '../../agent/link/libc.ts';
import { NetlinkSocket, openDatagrams } from '../../agent/link/netlink-socket.ts';
import { eventually } from '../support/eventually.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { addressOf, SharedSegment } from '../support/shared-segment.ts';
import type { Machine } from '../support/shared-segment.ts';

const IP = '192.0.2.100';
const ETH0 = { name: 'eth0', mac: '', isBridge: false };
const POD = '10.244.0.2';

/** What a node proxy of Kubernetes has for a Service with the address as an external one, in its mode `nftables`. */
const KUBE_PROXY_NFTABLES = `
table ip kube-proxy {
  chain services { ip daddr ${IP} tcp dport 80 dnat to ${POD}:80; }
  chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
  chain nat-output { type nat hook output priority -100; policy accept; jump services; }
  chain nat-postrouting { type nat hook postrouting priority srcnat; policy accept; ip daddr ${POD} masquerade; }
}`;

/** The same in its mode \`iptables\`, as commands. */
const KUBE_PROXY_IPTABLES = [
  '-N KUBE-SERVICES',
  `-A KUBE-SERVICES -d ${IP}/32 -p tcp --dport 80 -j DNAT --to-destination ${POD}:80`,
  '-A PREROUTING -j KUBE-SERVICES',
  '-A OUTPUT -j KUBE-SERVICES',
  `-A POSTROUTING -d ${POD}/32 -j MASQUERADE`,
];

/** Chains as a network plugin and a host firewall have them: early, accepting, dropping what they do not know. */
const OTHERS = `
table ip cali-raw {
  chain prerouting { type filter hook prerouting priority raw; policy accept; ct state established accept; }
}
table inet firewalld {
  chain filter_INPUT {
    type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    iifname "lo" accept
    tcp dport 80 accept
    icmp type echo-request accept
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    reject
  }
}`;

function needs(...programs: string[]): { readonly skip: string | false } {
  const missing = programs.filter((program) => spawnSync(program, ['--version']).error !== undefined);
  const { skip } = needsNamespaces();
  return { skip: skip !== false ? skip : missing.length > 0 ? `there is no program ${missing.join(', ')}` : false };
}

let segment: SharedSegment;
let node: Machine;
let client: Machine;
let pod: Machine;
let fence: Fence;

function fenceOn(machine: Machine): Fence {
  const options = { table: 'leasehold/default/test', addresses: [addressOf(IP)], clock: { nowMs: boottimeMs }, onNotice: () => undefined };
  return machine.inside(() => new Fence(new NetlinkSocket(openDatagrams('netfilter'), 'netfilter'), options));
}

function load(machine: Machine, rules: string): void {
  const { status, stderr } = spawnSync('nsenter', [`--net=/run/netns/${machine.name}`, '--', 'nft', '-f', '-'], {
    input: rules,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
}

const withKubeProxy = {
  nftables: (machine: Machine): void => load(machine, KUBE_PROXY_NFTABLES),
  iptables: (machine: Machine): void => {
    for (const line of KUBE_PROXY_IPTABLES) machine.run('iptables', '-t', 'nat', ...line.split(' '));
  },
};

function open(): void {
  assert.ok(fence.open(IP, boottimeMs() + 600_000));
}

describe('the fence beside the rules of others', needs('nft', 'iptables'), () => {
  beforeEach(() => {
    segment = new SharedSegment();
    node = segment.machine('192.0.2.1/24');
    client = segment.machine('192.0.2.50/24');
    pod = segment.pod(node, `${POD}/24`, '10.244.0.1');
    fence = fenceOn(node);
  });
  afterEach(() => {
    fence.release();
    segment.close();
  });

  for (const mode of ['nftables', 'iptables'] as const) {
    describe(`of kube-proxy in its mode ${mode}`, () => {
      beforeEach(async () => {
        withKubeProxy[mode](node);
        await pod.ask({ do: 'listen', port: 80 });
        fence.stand({ [IP]: ETH0 });
        node.ip(`addr add ${IP}/32 dev eth0`);
      });

      test('stops what would be sent on to a pod, until it is open, and established connections once it is closed', async () => {
        client.ip(`neigh replace ${IP} lladdr ${node.link().mac} dev eth0 nud permanent`);
        assert.equal(await client.connect(IP), 'silence');
        open();
        await client.ask({ do: 'hold', host: IP, port: 80 });
        fence.close(IP);
        await pod.ask({ do: 'say', text: ' more' });
        await new Promise((resolve) => setTimeout(resolve, 300));
        assert.equal(await client.ask({ do: 'heard' }), 'hello');
        open();
        await eventually('it is said again', async () => (await client.ask({ do: 'heard' })) === 'hello more');
      });

      test('stops what the node itself and its pods would be sent on', async () => {
        assert.equal(await node.connect(IP), 'silence');
        assert.equal(await node.connect(IP, { from: '192.0.2.1' }), 'silence');
        assert.equal(await pod.connect(IP), 'silence');
        open();
        assert.equal(await node.connect(IP, { timeoutMs: 2_000 }), 'hello');
      });

      test('stops what a client with an old cache sends to a node that has not even bound it', async () => {
        node.ip(`addr del ${IP}/32 dev eth0`);
        client.ip(`neigh replace ${IP} lladdr ${node.link().mac} dev eth0 nud permanent`);
        assert.equal(await client.connect(IP), 'silence');
      });
    });
  }

  test('lets nothing out that bears the address, on whatever interface', async () => {
    await pod.ask({ do: 'listen', port: 80 });
    fence.stand({ [IP]: ETH0 });
    node.ip(`addr add ${IP}/32 dev eth0`);
    const segments = (): string | undefined =>
      /^Tcp: (?:\S+ ){9}(\d+)/m.exec(pod.run('cat', '/proc/net/snmp').replace(/^Tcp: R.*$/m, ''))?.[1];
    const before = segments() ?? assert.fail();
    assert.equal(await node.connect(POD, { from: IP }), 'silence');
    assert.equal(segments(), before);
    open();
    assert.equal(await node.connect(POD, { from: IP, timeoutMs: 2_000 }), 'hello');
  });

  test('lets pods of a node without the address reach it where it is', async () => {
    fence.stand({ [IP]: ETH0 });
    client.ip(`addr add ${IP}/32 dev eth0`);
    client.ip('route add 10.244.0.0/24 via 192.0.2.1');
    await client.ask({ do: 'listen', port: 80 });
    assert.equal(await pod.connect(IP, { timeoutMs: 2_000 }), 'hello');
  });

  test('lets what only passes through a bridge of the node pass, though the address is still bound there', async () => {
    // A virtual machine on the node's bridge: the kernel shows its frames to the packet filter, too.
    node.ip('link add br0 type bridge');
    node.ip('addr flush dev eth0');
    node.ip('link set eth0 master br0');
    node.ip('link set br0 up');
    node.ip('addr flush dev pod0');
    node.ip('link set pod0 master br0');
    node.ip('addr add 192.0.2.1/24 dev br0');
    node.run('sysctl', '-qw', 'net.bridge.bridge-nf-call-iptables=1');
    pod.ip('addr add 192.0.2.70/24 dev eth0');
    fence.stand({ [IP]: { name: 'br0', mac: node.link('br0').mac, isBridge: true } });
    node.ip(`addr add ${IP}/32 dev br0`);
    client.ip(`addr add ${IP}/32 dev eth0`);
    await client.ask({ do: 'listen', port: 80 });
    assert.equal(await pod.connect(IP, { timeoutMs: 2_000 }), 'hello');
    // What is meant for this machine is dropped all the same.
    await node.ask({ do: 'listen', port: 80 });
    pod.ip(`neigh replace ${IP} lladdr ${node.link('br0').mac} dev eth0 nud permanent`);
    assert.equal(await pod.connect(IP), 'silence');
  });

  test('touches nothing of theirs, and works whether they came before or after', async () => {
    const listed = (): string => node.run('nft', 'list', 'ruleset').replaceAll(/packets \d+ bytes \d+/g, 'counted');
    load(node, OTHERS);
    withKubeProxy.iptables(node);
    const before = listed();
    fence.stand({ [IP]: ETH0 });
    node.ip(`addr add ${IP}/32 dev eth0`);
    await node.ask({ do: 'listen', port: 80 });
    open();
    fence.close(IP);
    assert.equal(await client.connect(IP), 'silence');
    fence.remove();
    assert.equal(listed(), before);
    fence.stand({ [IP]: ETH0 });
    node.run('nft', 'delete', 'table', 'inet', 'firewalld');
    load(node, OTHERS.slice(OTHERS.indexOf('table inet')));
    assert.equal(await client.connect(IP), 'silence');
  });

  test('is put back after somebody has flushed all rules', async () => {
    fence.stand({ [IP]: ETH0 });
    node.ip(`addr add ${IP}/32 dev eth0`);
    await node.ask({ do: 'listen', port: 80 });
    node.run('nft', 'flush', 'ruleset');
    assert.equal(await client.connect(IP, { timeoutMs: 2_000 }), 'hello');
    fence.stand({ [IP]: ETH0 });
    assert.equal(await client.connect(IP), 'silence');
    node.run('nft', 'flush', 'table', 'inet', 'leasehold/default/test');
    fence.stand({ [IP]: ETH0 });
    assert.equal(await client.connect(IP), 'silence');
  });
});
