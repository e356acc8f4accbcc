import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Fence } from '../../agent/link/fence.ts';
import { boottimeMs } from '../../agent/link/libc.ts';
import { NetlinkSocket, openDatagrams } from '../../agent/link/netlink-socket.ts';
import { eventually } from '../support/eventually.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { addressOf, SharedSegment } from '../support/shared-segment.ts';
import type { Ear, Machine } from '../support/shared-segment.ts';

const IP = '192.0.2.100';
const SIX = '2001:db8::100';
const BOTH = [IP, SIX] as const;
const ETH0 = { name: 'eth0', mac: '', kind: null };
const ON_ETH0 = { [IP]: ETH0, [SIX]: ETH0 };
const LONG_MS = 600_000;
const TABLE = 'leasehold/default/test';

let segment: SharedSegment;
let node: Machine;
let client: Machine;
let ear: Ear;
let fence: Fence;
let notices: string[];

function fenceOn(machine: Machine, table = TABLE, nowMs = boottimeMs): Fence {
  return machine.inside(
    () =>
      new Fence(new NetlinkSocket(openDatagrams('netfilter'), 'netfilter'), {
        table,
        addresses: BOTH.map(addressOf),
        clock: { nowMs },
        onNotice: (_, message) => notices.push(message),
      }),
  );
}

/** Opens an address for longer than any test takes. */
function open(address: string): void {
  assert.ok(fence.open(address, boottimeMs() + LONG_MS));
}

function bind(machine: Machine): void {
  machine.ip(`addr add ${IP}/32 dev eth0`);
  machine.ip(`addr add ${SIX}/128 dev eth0 nodad`);
}

describe('the fence', needsNamespaces(), () => {
  beforeEach(() => {
    notices = [];
    segment = new SharedSegment();
    node = segment.machine('192.0.2.1/24', '2001:db8::1/64');
    client = segment.machine('192.0.2.50/24', '2001:db8::50/64');
    ear = client.ear(...BOTH);
    fence = fenceOn(node);
  });
  afterEach(() => {
    ear.close();
    fence.release();
    segment.close();
  });

  for (const address of BOTH) {
    describe(`before ${address}`, () => {
      test('lets nobody learn who has it, nor reach it, until it is opened, and no longer once it is closed', async () => {
        await node.ask({ do: 'listen', port: 80 });
        fence.stand(ON_ETH0);
        bind(node);
        assert.equal(await ear.whoHas(address), null);
        assert.notEqual(await client.connect(address), 'hello');
        open(address);
        assert.equal(await ear.whoHas(address, 2_000), node.link().mac);
        assert.equal(await client.connect(address, { timeoutMs: 2_000 }), 'hello');
        fence.close(address);
        assert.equal(await ear.whoHas(address), null);
        // The client still believes its cache and asks nobody: its packets themselves must go nowhere.
        assert.equal(await client.connect(address), 'silence');
      });

      test('stops the node’s own traffic to it, too', async () => {
        await node.ask({ do: 'listen', port: 80 });
        fence.stand(ON_ETH0);
        bind(node);
        assert.equal(await node.connect(address), 'silence');
        open(address);
        assert.equal(await node.connect(address, { timeoutMs: 2_000 }), 'hello');
      });

      test('silences connections that are established, both ways', async () => {
        await node.ask({ do: 'listen', port: 80 });
        fence.stand(ON_ETH0);
        bind(node);
        open(address);
        await client.ask({ do: 'hold', host: address, port: 80 });
        await node.ask({ do: 'say', text: ' one' });
        await eventually('the client hears', async () => (await client.ask({ do: 'heard' })) === 'hello one');
        fence.close(address);
        await node.ask({ do: 'say', text: ' two' });
        await new Promise((resolve) => setTimeout(resolve, 300));
        assert.equal(await client.ask({ do: 'heard' }), 'hello one');
        open(address);
        await eventually('what was said is repeated', async () => (await client.ask({ do: 'heard' })) === 'hello one two');
      });

      test('lets nothing out that bears it as its source', async () => {
        await client.ask({ do: 'listen', port: 80 });
        fence.stand(ON_ETH0);
        bind(node);
        const other = address === IP ? '192.0.2.50' : '2001:db8::50';
        assert.notEqual(await node.connect(other, { from: address }), 'hello');
        assert.equal(await ear.claimed(address), null);
        open(address);
        assert.equal(await node.connect(other, { from: address, timeoutMs: 2_000 }), 'hello');
      });

      test('keeps the kernel’s own announcements back', async () => {
        const conf = address === IP ? 'net.ipv4.conf.eth0.arp_notify=1' : 'net.ipv6.conf.eth0.ndisc_notify=1';
        node.run('sysctl', '-qw', conf);
        fence.stand(ON_ETH0);
        bind(node);
        ear.forget();
        // The kernel tells everybody of a new hardware address.
        node.ip('link set eth0 address 02:00:00:00:00:01');
        assert.equal(await ear.claimed(address, 300), null);
        open(address);
        node.ip('link set eth0 address 02:00:00:00:00:02');
        await ear.eventuallyClaimed(address);
      });

      test('does not keep a node that has not got it from reaching it elsewhere, nor from hearing where', async () => {
        const standby = segment.machine('192.0.2.2/24', '2001:db8::2/64');
        const its = fenceOn(standby);
        its.stand(ON_ETH0);
        await node.ask({ do: 'listen', port: 80 });
        bind(node);
        assert.equal(await standby.connect(address, { timeoutMs: 2_000 }), 'hello');
        // The address moves to the client, which says so.
        node.ip(address === IP ? `addr del ${IP}/32 dev eth0` : `addr del ${SIX}/128 dev eth0`);
        bind(client);
        await client.ask({ do: 'listen', port: 80 });
        ear.announce(address);
        await eventually('the cache is corrected', () => standby.ip(`neigh show ${address} dev eth0`).includes(client.link().mac));
        assert.equal(await standby.connect(address, { timeoutMs: 2_000 }), 'hello');
        its.release();
      });
    });
  }

  test('closes by itself, never late, at timeouts of 300, 500 and 1200 ms', async () => {
    fence.stand(ON_ETH0);
    bind(node);
    for (const timeoutMs of [300, 500, 1_200]) {
      fence.open(IP, boottimeMs() + timeoutMs);
      const untilMs = boottimeMs() + timeoutMs;
      let lastAnswerMs = 0;
      while (boottimeMs() < untilMs + 60) {
        const askedAtMs = boottimeMs();
        if ((await ear.whoHas(IP, 3)) !== null) lastAnswerMs = askedAtMs;
      }
      assert.ok(lastAnswerMs > 0, 'it was open');
      assert.ok(lastAnswerMs < untilMs, `a request of ${(lastAnswerMs - untilMs).toFixed(1)}ms after the end was answered`);
    }
  });

  test('is renewed without a packet to which it is closed, beside a flood of connections', async () => {
    await node.ask({ do: 'listen', port: 80 });
    fence.stand(ON_ETH0);
    bind(node);
    open(IP);
    await client.ask({ do: 'flood', host: IP, port: 80, atOnce: 8 });
    const untilMs = boottimeMs() + 2_000;
    let renewals = 0;
    while (boottimeMs() < untilMs) {
      for (let each = 0; each < 500; each += 1) fence.open(IP, boottimeMs() + 1_000);
      renewals += 500;
      await new Promise((resolve) => setImmediate(resolve));
    }
    const toll = (await client.ask({ do: 'toll' })) as Record<string, number>;
    assert.deepEqual(Object.keys(toll), ['hello'], JSON.stringify(toll));
    assert.ok(renewals > 1_000 && (toll['hello'] ?? 0) > 50, `${renewals} renewals beside ${toll['hello']} connections`);
  });

  test('survives the process that built it', async () => {
    fence.stand(ON_ETH0);
    bind(node);
    fence.release();
    fence = fenceOn(node);
    assert.equal(await ear.whoHas(IP), null);
  });

  test('is put back, with what is open, when somebody has removed it or a part of it', async () => {
    fence.stand(ON_ETH0);
    bind(node);
    open(IP);
    const other = fenceOn(node);
    other.stand(ON_ETH0);
    other.remove();
    other.release();
    assert.notEqual(await ear.whoHas(SIX, 2_000), null);
    fence.stand(ON_ETH0);
    assert.deepEqual([await ear.whoHas(SIX), await ear.whoHas(IP, 2_000)], [null, node.link().mac]);
    assert.match(notices.join(), /somebody has removed the packet filter leasehold\/default\/test or a part of it: it is put back/);
  });

  test('leaves nothing behind when it is removed, nor when it was only tried', () => {
    fence.try();
    fence.stand(ON_ETH0);
    open(IP);
    fence.remove();
    const another = fenceOn(node);
    another.sweep();
    another.release();
    assert.deepEqual(notices, []);
  });

  test('closes what an earlier process left open, and says so', async () => {
    fence.stand(ON_ETH0);
    bind(node);
    open(IP);
    fence.release();
    fence = fenceOn(node);
    assert.notEqual(await ear.whoHas(IP, 2_000), null);
    fence.sweep();
    assert.equal(await ear.whoHas(IP), null);
    assert.match(notices.join(), /closed the packet filter leasehold\/default\/test that an earlier agent has left behind/);
  });

  test('is nobody else’s: that of another Lease stays as it is', async () => {
    const other = fenceOn(node, 'leasehold/default/other');
    other.stand(ON_ETH0);
    fence.stand(ON_ETH0);
    bind(node);
    open(IP);
    // Both guard the address here, and both must be open.
    assert.equal(await ear.whoHas(IP), null);
    other.remove();
    other.release();
    assert.notEqual(await ear.whoHas(IP, 2_000), null);
  });

  test('opened for less than a tick is closed', async () => {
    fence.stand(ON_ETH0);
    bind(node);
    open(IP);
    assert.equal(fence.open(IP, boottimeMs() + 5), false);
    assert.equal(await ear.whoHas(IP), null);
  });

  describe('of a process that is held up between its clock and the kernel’s', () => {
    /** How much later each look at the clock is than the one before it, beyond the time that passes. */
    let heldUpMs: number[];

    beforeEach(() => {
      fence.release();
      heldUpMs = [];
      let laterMs = 0;
      fence = fenceOn(node, TABLE, () => boottimeMs() + (laterMs += heldUpMs.shift() ?? 0));
      fence.stand(ON_ETH0);
      bind(node);
    });

    test('is opened all the same, by what the clock says afterwards', async () => {
      const untilMs = boottimeMs() + 1_000;
      // The first try looks before and after it, and then the second try looks again.
      heldUpMs = [0, 700];
      assert.ok(fence.open(IP, untilMs));
      assert.notEqual(await ear.whoHas(IP, 100), null);
      await eventually('it closes', async () => (await ear.whoHas(IP, 20)) === null);
      assert.ok(boottimeMs() < untilMs, 'it closed by the later clock');
    });

    test('is closed when that happens again and again', async () => {
      heldUpMs = [0, 15, 0, 15, 0, 15];
      assert.equal(fence.open(IP, boottimeMs() + LONG_MS), false);
      assert.equal(await ear.whoHas(IP), null);
    });

    test('is closed again when it is put back and that happens again and again', async () => {
      open(IP);
      fence.stand({ ...ON_ETH0, [SIX]: { ...ETH0, name: 'eth1' } });
      assert.notEqual(await ear.whoHas(IP, 2_000), null);
      heldUpMs = [0, 15, 0, 15, 0, 15];
      fence.stand(ON_ETH0);
      assert.equal(await ear.whoHas(IP), null);
    });
  });

  test('never opens for ever, however little time is left', async () => {
    fence.stand(ON_ETH0);
    bind(node);
    for (let leftMs = 0; leftMs < 45; leftMs += 1) fence.open(IP, boottimeMs() + leftMs);
    await eventually('it is closed', async () => (await ear.whoHas(IP, 20)) === null, 2_000);
  });

  test('is put back although a change of its own came after the one of somebody else', async () => {
    fence.stand(ON_ETH0);
    bind(node);
    open(IP);
    const other = fenceOn(node);
    other.stand(ON_ETH0);
    other.remove();
    other.release();
    fence.close(IP);
    fence.stand(ON_ETH0);
    assert.equal(notices.filter((notice) => notice.includes('it is put back')).length, 1);
    assert.equal(await ear.whoHas(IP), null);
  });

  test('opened again after it has closed by itself is open', async () => {
    fence.stand(ON_ETH0);
    bind(node);
    fence.open(IP, boottimeMs() + 40);
    await eventually('it has closed', async () => (await ear.whoHas(IP, 20)) === null);
    open(IP);
    assert.notEqual(await ear.whoHas(IP, 2_000), null);
  });
});
