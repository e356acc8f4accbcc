import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { LinkView } from '../../agent/contender/input.ts';
import { boottimeMs } from '../../agent/link/libc.ts';
import { fenceTable, openLink } from '../../agent/link/open-link.ts';
import type { Link } from '../../agent/ports.ts';
import { eventually } from '../support/eventually.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { addressOf, SharedSegment } from '../support/shared-segment.ts';
import type { Ear, Machine } from '../support/shared-segment.ts';

const IP = '192.0.2.100';
const SIX = '2001:db8::100';
const LIFETIME_MS = 20_000;
const LONG_MS = 15_000;
const LEASE = { namespace: 'default', name: 'test' };

let segment: SharedSegment;
let node: Machine;
let client: Machine;
let ear: Ear;
let link: Link;
let notices: string[];

function linkOn(machine: Machine, options: { readonly interfaceName?: string; readonly addresses?: readonly string[] } = {}): Link {
  const opened = machine.inside(() =>
    openLink({
      kind: 'l2',
      addresses: (options.addresses ?? [IP, SIX]).map(addressOf),
      choice: { is: 'name', name: options.interfaceName ?? 'eth0' },
      lease: LEASE,
      kernelRelease: '6.1.0',
      clock: { nowMs: boottimeMs },
      onNotice: (level, message) => (level === 'warn' ? notices.push(message) : 0),
    }),
  );
  opened.look();
  return opened;
}

function announce(address: string, mayStill: () => boolean = () => true): string {
  return link.segment?.announce(address, mayStill).is ?? 'no segment';
}

async function eventuallySeen(what: string, condition: (view: LinkView) => boolean): Promise<void> {
  await eventually(what, () => condition(link.look()));
}

describe('an address on a shared segment', needsNamespaces(), () => {
  beforeEach(() => {
    notices = [];
    segment = new SharedSegment();
    node = segment.machine('192.0.2.1/24', '2001:db8::1/64');
    client = segment.machine('192.0.2.50/24', '2001:db8::50/64');
    ear = client.ear(IP, SIX);
    link = linkOn(node);
  });
  afterEach(() => {
    ear.close();
    link.close();
    segment.close();
  });

  for (const address of [IP, SIX]) {
    test(`${address} answers once it is bound, and no longer when its time is over, though it is still there`, async () => {
      assert.deepEqual(link.bind(address, LIFETIME_MS, 600), { is: 'bound' });
      assert.equal(await ear.whoHas(address, 500), node.link().mac);
      await eventually('it answers no longer', async () => (await ear.whoHas(address, 20)) === null);
      assert.match(node.ip('addr show dev eth0'), new RegExp(`${address}/`));
      assert.deepEqual(link.bind(address, LIFETIME_MS, LONG_MS), { is: 'bound' });
      assert.equal(await ear.whoHas(address, 2_000), node.link().mac);
    });

    test(`${address} is announced: who remembers another place is corrected`, async () => {
      client.ip(`neigh replace ${address} lladdr 02:00:00:00:00:77 dev eth0 nud reachable`);
      link.bind(address, LIFETIME_MS, LONG_MS);
      assert.equal(announce(address), 'announced');
      await eventually('it is corrected', () => client.ip(`neigh show ${address} dev eth0`).includes(node.link().mac));
    });

    test(`nobody hears an announcement of ${address} that may not be made any more`, async () => {
      ear.forget();
      announce(address, () => false);
      assert.equal(await ear.claimed(address), null);
    });

    test(`another machine that has ${address} is seen when it is asked for, by its hardware address`, async () => {
      client.ip(`addr add ${address}/${address === IP ? 32 : 128} dev eth0${address === IP ? '' : ' nodad'}`);
      link.segment?.probe(address);
      await eventuallySeen('the rival is seen', ({ rivals }) => rivals[address] === client.link().mac);
      assert.deepEqual(link.look().rivals, {});
    });

    test(`another machine that announces ${address} is seen, and what this node says itself is not`, async () => {
      link.bind(address, LIFETIME_MS, LONG_MS);
      announce(address);
      assert.deepEqual(link.look().rivals, {});
      ear.announce(address);
      await eventuallySeen('the rival is seen', ({ rivals }) => rivals[address] === client.link().mac);
    });
  }

  test('what was said before it is asked for is not held against anybody', async () => {
    ear.announce(IP);
    await new Promise((resolve) => setTimeout(resolve, 50));
    link.segment?.probe(IP);
    assert.deepEqual(link.look().rivals, {});
  });

  test('is off at once when its time to be open is over before it could be bound', () => {
    assert.deepEqual(link.bind(IP, LIFETIME_MS, 5), { is: 'too-late' });
    assert.doesNotMatch(node.ip('addr show dev eth0'), /192\.0\.2\.100/);
  });

  test('a lifetime that only tidies up is refreshed when a second of it is gone, and not before', async () => {
    link.bind(IP, 10_900, LONG_MS);
    link.bind(IP, 10_900, LONG_MS);
    const remaining = (): number => {
      const seen = link.look().addresses[IP];
      return seen?.is === 'ours' ? seen.remainingMs : assert.fail();
    };
    await eventually('a second is gone', () => remaining() < 9_500);
    link.bind(IP, 10_900, LONG_MS);
    assert.ok(remaining() >= 9_500);
  });

  test('a cable that was out for a moment shows in the next look', async () => {
    const before = link.look().carrierChanges[IP] ?? assert.fail();
    client.unplug();
    assert.equal(link.look().carrierChanges[IP], before);
    node.unplug();
    node.plug();
    await eventuallySeen('the change is counted', ({ carrierChanges }) => (carrierChanges[IP] ?? 0) > before);
  });

  test('nothing of ours is left once it is closed, and nothing was let through before', async () => {
    link.bind(IP, LIFETIME_MS, LONG_MS);
    link.unbind(IP, false);
    link.close();
    link = linkOn(node);
    // A table that had stayed would be swept, and said to be.
    link.segment?.sweep();
    assert.deepEqual(notices, []);
    assert.doesNotMatch(node.ip('addr show dev eth0'), /192\.0\.2\.100/);
    assert.equal(await ear.whoHas(IP), null);
  });

  test('what could not be taken off stays behind a closed fence', async () => {
    link.bind(IP, LIFETIME_MS, 400);
    link.close();
    await eventually('it is closed', async () => (await ear.whoHas(IP, 20)) === null);
    assert.match(node.ip('addr show dev eth0'), /192\.0\.2\.100/);
    link = linkOn(node);
  });

  describe('when it is let go of', () => {
    beforeEach(async () => {
      await node.ask({ do: 'listen', port: 80 });
      link.bind(IP, LIFETIME_MS, LONG_MS);
      await client.ask({ do: 'hold', host: IP, port: 80 });
    });

    test('tells its clients, who may only be listening, that it is over', async () => {
      link.unbind(IP, true);
      await eventually('the client is told', async () => String(await client.ask({ do: 'heard' })).includes('ECONNRESET'));
    });

    test('tells nobody when it may not answer any more', async () => {
      link.unbind(IP, false);
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.equal(await client.ask({ do: 'heard' }), 'hello');
      // The connection is gone on this side all the same: bound again, the address knows nothing of it.
      assert.doesNotMatch(node.run('cat', '/proc/net/tcp6'), / 01 /);
    });

    test('leaves connections to the node’s own addresses alone, and who listens goes on listening', async () => {
      const other = segment.machine('192.0.2.60/24');
      await other.ask({ do: 'hold', host: '192.0.2.1', port: 80 });
      link.unbind(IP, true);
      await node.ask({ do: 'say', text: ' on' });
      await eventually('the other one hears', async () => (await other.ask({ do: 'heard' })) === 'hello on');
      link.bind(IP, LIFETIME_MS, LONG_MS);
      assert.equal(await client.connect(IP, { timeoutMs: 2_000 }), 'hello');
    });
  });

  describe('is refused, with the reason,', () => {
    test('where there is no ARP', () => {
      node.ip('link set eth0 arp off');
      assert.match(link.look().problem ?? '', /on eth0 nobody is asked by ARP .* could be told who has 192\.0\.2\.100/);
    });

    test('in a private network of Hetzner Cloud, which is routed', () => {
      node.ip('link set eth0 address 86:00:00:aa:bb:02');
      assert.match(link.look().problem ?? '', /eth0 belongs to a private network of Hetzner Cloud, which is routed/);
    });

    test('where kube-proxy in IPVS mode has it on every node', () => {
      node.ip('link add kube-ipvs0 type veth peer name behind');
      node.ip(`addr add ${IP}/32 dev kube-ipvs0`);
      assert.match(link.look().problem ?? '', /kube-proxy in IPVS mode has 192\.0\.2\.100 on kube-ipvs0, on every node at once/);
    });
  });

  for (const [kind, make] of [
    ['VLAN', 'link add link eth0 name seg0 type vlan id 4000'],
    ['macvlan', 'link add link eth0 name seg0 type macvlan mode bridge'],
    ['bridge', 'link add seg0 type bridge'],
    ['bond', 'link add seg0 type bond mode active-backup miimon 100'],
  ] as const) {
    test(`works on a ${kind}`, async (context) => {
      const both = kind === 'VLAN' ? [node, client] : [node];
      try {
        for (const machine of both) machine.ip(make);
      } catch (error) {
        context.skip(`this kernel has no ${kind}: ${String(error)}`);
        return;
      }
      if (kind === 'bridge' || kind === 'bond') {
        node.ip('link set eth0 down');
        node.ip('link set eth0 master seg0');
        node.ip('link set eth0 up');
      }
      // The interface underneath would answer as well, with a hardware address of its own.
      if (kind === 'macvlan') node.run('sysctl', '-qw', 'net.ipv4.conf.eth0.arp_ignore=1');
      for (const machine of both) machine.ip('link set seg0 up');
      link.close();
      link = linkOn(node, { interfaceName: 'seg0', addresses: [IP] });
      await eventuallySeen('there is a carrier', ({ problem }) => problem === null);
      const there = client.earOn(kind === 'VLAN' ? 'seg0' : 'eth0', IP);
      const { mac } = node.link('seg0');
      link.bind(IP, LIFETIME_MS, LONG_MS);
      await eventually('it answers', async () => (await there.whoHas(IP)) === mac);
      there.forget();
      announce(IP);
      assert.equal(await there.claimed(IP, 2_000), mac);
      assert.deepEqual(link.look().rivals, {});
      link.unbind(IP, false);
      assert.equal(await there.whoHas(IP), null);
      there.close();
    });
  }
});

test('tables are named after the Lease, so that `nft` takes it and no two Leases share one', () => {
  assert.equal(fenceTable({ namespace: 'kube-system', name: 'web.example' }), 'leasehold/kube_system/web.example');
  assert.match(fenceTable({ namespace: 'a', name: 'b'.repeat(253) }), /^leasehold\/[0-9a-f]{64}$/);
});
