import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { LinkUnusable } from '../../agent/link/kernel-link.ts';
import { OUR_PROTOCOL } from '../../agent/link/kernel-link.ts';
import { NLM_F_CREATE } from '../../agent/link/netlink.ts';
import { encodeAddress, RTM_NEWADDR } from '../../agent/link/rtnetlink.ts';
import { openDatagrams, NetlinkSocket } from '../../agent/link/netlink-socket.ts';
import { inNamespace } from '../support/inside-namespace.ts';
import { NamespaceNode } from '../support/namespace-lab.ts';
import { needsNamespaces } from '../support/namespace-test.ts';

const IP = '203.0.113.10';
const SIX = '2001:db8::10';

let node: NamespaceNode;

describe('an address in the kernel', needsNamespaces(), () => {
  beforeEach(() => {
    node = new NamespaceNode();
  });
  afterEach(() => node.close());

  test('bears our mark, a label, a lifetime and no prefix route', () => {
    node.link([IP]).bind(IP, 38_000);
    const [row] = node.rows(IP);
    assert.deepEqual([row?.prefixLength, row?.protocol, row?.label], [32, OUR_PROTOCOL, 'eth0:lh']);
    assert.ok(row && row.validS <= 38);
    assert.equal(node.ip('route show').trim(), '');
  });

  test('IPv6 is there at once, without duplicate address detection, and deprecated', () => {
    node.link([SIX]).bind(SIX, 38_000);
    const shown = node.ip(`-6 addr show dev eth0 to ${SIX}`);
    assert.match(shown, /scope global nodad deprecated dynamic noprefixroute/);
    assert.doesNotMatch(shown, /tentative/);
  });

  for (const [as, own, gateway] of [
    ['in a subnet', '10.0.0.5/24', '10.0.0.1'],
    ['as a /32, as at Hetzner Cloud', '10.0.0.5/32', '172.31.1.1'],
  ] as const) {
    test(`is never the source of the node’s own connections, also after the node’s own address ${as} went and came back`, () => {
      const route = `default via ${gateway} dev eth0 onlink`;
      node.ip(`addr add ${own} dev eth0`);
      node.ip(`route add ${route}`);
      node.link([IP]).bind(IP, 38_000);
      assert.match(node.ip('route get 192.0.2.1'), /src 10\.0\.0\.5/);
      node.ip(`addr del ${own} dev eth0`);
      node.ip(`addr add ${own} dev eth0`);
      node.ip(`route replace ${route}`);
      assert.match(node.ip('route get 192.0.2.1'), /src 10\.0\.0\.5/);
      assert.match(node.ip('route get 10.0.0.9'), /src 10\.0\.0\.5/);
    });
  }

  test('is never the source of IPv6 connections either', () => {
    node.ip('addr add 2001:db8:1::5/64 dev eth0 nodad');
    node.ip('route add default via fe80::1 dev eth0');
    node.link([SIX]).bind(SIX, 38_000);
    assert.match(node.ip('route get 2001:db8:2::1'), /src 2001:db8:1::5/);
  });

  test('keeps the prefix length it was given', () => {
    node.link(['10.9.0.50/24', '2001:db8::10/64']).bind('10.9.0.50', 38_000);
    assert.equal(node.rows('10.9.0.50')[0]?.prefixLength, 24);
    assert.deepEqual(node.notices, []);
    assert.equal(node.ip('route show').trim(), '', 'and makes no route of it');
  });

  test('is bound as a /32 where the node has an address of its own in the same prefix, whose fate it would share', () => {
    node.ip('addr add 10.9.0.5/24 dev eth0');
    const link = node.link(['10.9.0.50/24']);
    assert.deepEqual(link.bind('10.9.0.50', 38_000), { is: 'bound' });
    assert.equal(node.rows('10.9.0.50')[0]?.prefixLength, 32);
    assert.match(node.notices[0] ?? '', /bound as a \/32: eth0 has 10\.9\.0\.5\/24/);
    node.ip('addr del 10.9.0.5/24 dev eth0');
    assert.equal(node.rows('10.9.0.50').length, 1);
  });

  test('that an administrator configured stays as it is, whatever its prefix length and interface', () => {
    node.ip(`addr add ${IP}/24 dev eth0`);
    const link = node.link([IP]);
    assert.deepEqual(link.bind(IP, 38_000), { is: 'foreign', interfaceName: 'eth0' });
    link.unbind(IP);
    const [row, ...others] = node.rows(IP);
    assert.deepEqual([row?.prefixLength, row?.validS, others.length], [24, Infinity, 0]);
  });

  test('that somebody else configured between the look and the bind is theirs', () => {
    const link = node.link([IP], {
      through: (datagrams) => ({
        ...datagrams,
        send: (datagram) => {
          if (datagram.readUInt16LE(4) === RTM_NEWADDR) node.ip(`addr add ${IP}/32 dev eth0`);
          datagrams.send(datagram);
        },
      }),
    });
    assert.deepEqual(link.bind(IP, 60_000), { is: 'foreign', interfaceName: 'eth0' });
    assert.equal(node.rows(IP)[0]?.validS, Infinity);
  });

  test('of an earlier agent is recognised by its mark and taken over', () => {
    node.link([IP]).bind(IP, 60_000);
    const next = node.link([IP]);
    assert.equal(next.look().addresses[IP]?.is, 'ours');
    assert.deepEqual(next.bind(IP, 10_000), { is: 'bound' });
    assert.ok((node.rows(IP)[0]?.validS ?? 99) <= 10);
  });

  describe('whose interface the provider tells', () => {
    const macOf = (name: string): string => /link\/ether (\S+)/.exec(node.ip(`link show dev ${name}`))?.[1] ?? assert.fail();

    test('is bound nowhere until it has been told, and then there, whatever the routes say', () => {
      node.addInterface('eth1');
      node.ip('addr add 10.0.0.5/24 dev eth0');
      node.ip('route add default via 10.0.0.1 dev eth0');
      const link = node.link([IP], { choice: { is: 'told', mac: null } });
      const before = link.look();
      assert.equal(before.isPresent, false);
      assert.match(before.problem ?? '', /the provider has not told yet/);
      assert.equal(link.bind(IP, 38_000).is, 'failed');
      assert.deepEqual(node.rows(IP), []);
      link.tellInterface(macOf('eth1'));
      assert.deepEqual([link.look().problem, link.look().interfaces[IP]], [null, 'eth1']);
      assert.match(link.look().reasons[IP] ?? '', /the provider names its hardware address/);
      assert.deepEqual(link.bind(IP, 38_000), { is: 'bound' });
      assert.match(node.ip('addr show dev eth1'), /203\.0\.113\.10/);
    });

    test('moves to another one when the provider tells another, and leaves none behind', () => {
      node.addInterface('eth1');
      const link = node.link([IP], { choice: { is: 'told', mac: null } });
      for (const name of ['eth0', 'eth1']) {
        link.tellInterface(macOf(name));
        assert.deepEqual(link.bind(IP, 38_000), { is: 'bound' });
        assert.deepEqual([node.rows(IP).length, node.rows(IP)[0]?.label], [1, `${name}:lh`]);
      }
    });

    test('stays where INTERFACE says if it names one', () => {
      node.addInterface('eth1');
      const link = node.link([IP]);
      link.tellInterface(macOf('eth1'));
      assert.equal(link.look().interfaces[IP], 'eth0');
    });
  });

  test('follows INTERFACE to another interface when a new agent is told so, and leaves none behind', () => {
    node.addInterface('eth1');
    node.link([IP]).bind(IP, 60_000);
    node.link([IP], { choice: { is: 'name', name: 'eth1' } }).bind(IP, 60_000);
    assert.equal(node.rows(IP).length, 1);
    assert.match(node.ip(`addr show to ${IP}`), /eth1:lh/);
  });

  test('that an earlier agent left on several interfaces stays on the one where it belongs', () => {
    node.addInterface('eth1');
    node.link([IP], { choice: { is: 'name', name: 'eth1' } }).bind(IP, 60_000);
    const [there] = node.rows(IP);
    node.link([IP]).bind(IP, 60_000);
    inNamespace(node.name, () => new NetlinkSocket(openDatagrams())).change(
      RTM_NEWADDR,
      NLM_F_CREATE,
      encodeAddress(there ?? assert.fail()),
    );
    assert.equal(node.rows(IP).length, 2);
    const next = node.link([IP]);
    next.look();
    assert.deepEqual(next.bind(IP, 60_000), { is: 'bound' });
    assert.deepEqual(
      node.rows(IP).map(({ label }) => label),
      ['eth0:lh'],
    );
  });

  test('survives its interface going down and is back after a look and a bind for IPv6, which the kernel drops then', () => {
    const link = node.link([IP, SIX]);
    link.bind(IP, 60_000);
    link.bind(SIX, 60_000);
    node.ip('link set eth0 down');
    node.ip('link set eth0 up');
    assert.equal(link.look().addresses[SIX]?.is, 'absent');
    assert.deepEqual(link.bind(SIX, 60_000), { is: 'bound' });
    assert.equal(link.look().addresses[IP]?.is, 'ours');
  });

  test('on a kernel without protocol numbers is known by its label', () => {
    const old = node.link([IP], { kernelRelease: '5.15.0-91-generic' });
    old.bind(IP, 60_000);
    const [row] = node.rows(IP);
    assert.deepEqual([row?.protocol ?? 0, row?.label], [0, 'eth0:lh']);
    assert.equal(old.look().addresses[IP]?.is, 'ours');
    old.unbind(IP);
    assert.equal(node.rows(IP).length, 0);
  });
});

describe('the interface', needsNamespaces(), () => {
  beforeEach(() => {
    node = new NamespaceNode();
  });
  afterEach(() => node.close());

  test('without a carrier or switched off is a problem, and none when it is back', () => {
    const link = node.link([IP]);
    assert.equal(link.look().problem, null);
    node.unplug();
    assert.deepEqual([link.look().problem, link.look().isPresent], ['the interface eth0 has no carrier', true]);
    node.plug();
    node.ip('link set eth0 down');
    assert.equal(link.look().problem, 'the interface eth0 is down');
    node.ip('link set eth0 up');
    assert.equal(link.look().problem, null);
  });

  test('that is not there yet is waited for', () => {
    const link = node.link([IP], { choice: { is: 'name', name: 'enp7s0' } });
    const { problem, isPresent } = link.look();
    assert.deepEqual([problem, isPresent], ['there is no interface enp7s0; there are p-eth0, eth0', false]);
    assert.equal(link.bind(IP, 5_000).is, 'failed');
    node.addInterface('enp7s0');
    assert.equal(link.look().isPresent, true);
    assert.deepEqual(link.bind(IP, 5_000), { is: 'bound' });
  });

  test('that goes away and comes back is found again', () => {
    const link = node.link([IP]);
    link.bind(IP, 60_000);
    node.ip('link del eth0');
    assert.equal(link.look().isPresent, false);
    node.addInterface('eth0');
    assert.deepEqual(link.bind(IP, 60_000), { is: 'bound' });
  });

  test('is, by itself, the one whose subnet contains the address, and else that of the default route', () => {
    node.addInterface('eth1');
    node.ip('addr add 203.0.113.1/24 dev eth1');
    node.ip('addr add 10.0.0.5/24 dev eth0');
    node.ip('route add default via 10.0.0.1');
    node.link([IP], { choice: { is: 'auto' } }).bind(IP, 60_000);
    node.link(['198.51.100.7'], { choice: { is: 'auto' } }).bind('198.51.100.7', 60_000);
    assert.equal(node.rows(IP)[0]?.label, 'eth1:lh');
    assert.equal(node.rows('198.51.100.7')[0]?.label, 'eth0:lh');
  });

  test('is not the one where an earlier agent bound the address, by itself', () => {
    node.addInterface('eth1');
    node.ip('addr add 10.0.0.5/24 dev eth0');
    node.ip('route add default via 10.0.0.1');
    node.link([`${IP}/24`], { choice: { is: 'name', name: 'eth1' } }).bind(IP, 60_000);
    node.link([`${IP}/24`], { choice: { is: 'auto' } }).bind(IP, 60_000);
    assert.deepEqual(
      node.rows(IP).map(({ label }) => label),
      ['eth0:lh'],
    );
  });

  test('of a default route with several next hops is the one they share, and not guessed where they differ', () => {
    node.addInterface('eth1');
    node.ip('addr add 10.0.0.5/24 dev eth0');
    node.ip('addr add 10.0.1.5/24 dev eth1');
    node.ip('route add default nexthop via 10.0.0.1 nexthop via 10.0.0.2');
    assert.equal(node.link([IP], { choice: { is: 'auto' } }).look().interfaces[IP], 'eth0');
    node.ip('route replace default nexthop via 10.0.0.1 nexthop via 10.0.1.1');
    assert.match(
      node.link([IP], { choice: { is: 'auto' } }).look().problem ?? '',
      /several interfaces with a default route: set INTERFACE to one of eth0, eth1/,
    );
  });

  test('stays the same while the address is bound, though the node’s own address comes and goes', () => {
    node.addInterface('eth1');
    node.ip('addr add 203.0.113.1/24 dev eth1');
    const link = node.link([IP], { choice: { is: 'auto' } });
    link.bind(IP, 60_000);
    node.ip('addr del 203.0.113.1/24 dev eth1');
    assert.equal(link.look().problem, null);
    assert.deepEqual(link.bind(IP, 60_000), { is: 'bound' });
  });

  test('IPv6 that is switched off is said to be', () => {
    const link = node.link([SIX]);
    spawnSync('nsenter', [`--net=/run/netns/${node.name}`, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6']);
    const outcome = link.bind(SIX, 5_000);
    assert.ok(outcome.is === 'failed');
    assert.match(outcome.message, /IPv6 is switched off there \(net\.ipv6\.conf\.eth0\.disable_ipv6\)/);
    assert.match(
      link.look().problem ?? '',
      /^IPv6 is switched off on eth0 \(net\.ipv6\.conf\.eth0\.disable_ipv6\)/,
      'before anything is bound',
    );
    assert.equal(node.link([IP]).look().problem, null, 'and IPv4 is none the worse for it');
  });
});

describe('at start', needsNamespaces(), () => {
  test('a kernel that is too old is refused, and one that cannot mark IPv6 addresses only for those', () => {
    const at = new NamespaceNode();
    assert.throws(
      () => at.link([IP], { kernelRelease: '4.15.0-1' }),
      (error) => error instanceof LinkUnusable && error.message.includes('4.18 or later'),
    );
    assert.throws(
      () => at.link([IP, SIX], { kernelRelease: '5.17.9' }),
      (error) => error instanceof LinkUnusable && error.message.includes('5.18 or later is needed for 2001:db8::10'),
    );
    assert.doesNotThrow(() => at.link([IP], { kernelRelease: '5.17.9' }));
    at.close();
  });

  test('a process that may not change addresses is told which capability it lacks', () => {
    const script = `
      const { KernelLink } = await import(${JSON.stringify(new URL('../../agent/link/kernel-link.ts', import.meta.url).href)});
      const { NetlinkSocket, openDatagrams } = await import(${JSON.stringify(new URL('../../agent/link/netlink-socket.ts', import.meta.url).href)});
      try {
        new KernelLink(new NetlinkSocket(openDatagrams()), { addresses: [], choice: { is: 'auto' }, kernelRelease: '6.1.0', onNotice: () => {} });
        console.log('no objection');
      } catch (error) {
        console.log(error.name + ': ' + error.message);
      }`;
    const { stdout } = spawnSync('unshare', ['--user', process.execPath, '--input-type=module', '-e', script], { encoding: 'utf8' });
    assert.match(stdout, /^LinkUnusable: .*NET_ADMIN/);
  });
});
