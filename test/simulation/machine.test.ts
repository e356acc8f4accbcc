import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseAddress } from '../../agent/address.ts';
import { KernelLink } from '../../agent/link/kernel-link.ts';
import { NetlinkSocket } from '../../agent/link/netlink-socket.ts';
import { Machine } from './machine.ts';
import { Random } from './random.ts';
import { VirtualTime } from './virtual-time.ts';

const IP = '203.0.113.10';

/** The product's own link on a modelled kernel. */
function linkOf({ kernel }: Machine): KernelLink {
  const addresses = [parseAddress(IP) ?? assert.fail()];
  const socket = new NetlinkSocket(kernel.socket({}, () => false));
  return new KernelLink(socket, { addresses, choice: { is: 'auto' }, kernelRelease: '6.1.0', onNotice: () => undefined });
}

function machines(count: number): { time: VirtualTime; all: Machine[] } {
  const time = new VirtualTime();
  const random = new Random('machines');
  return { time, all: Array.from({ length: count }, (_, index) => new Machine(time, random, `node-${index}`, index)) };
}

describe('a machine', () => {
  test('clocks differ in rate by less than the 2 % that the rules allow, and by nearly as much', () => {
    const rates = machines(200).all.map(({ rate }) => rate);
    const spread = Math.max(...rates) / Math.min(...rates) - 1;
    assert.ok(spread < 0.02 && spread > 0.0195, `${spread}`);
  });

  test('CLOCK_BOOTTIME counts suspended time and timers do not', async () => {
    const { time, all } = machines(1);
    const [machine] = all;
    assert.ok(machine);
    const bootBeforeMs = machine.bootMs();
    let firedAtMs = -1;
    machine.timer(1_000, () => (firedAtMs = time.nowMs));
    time.at(500, () => machine.suspend());
    time.at(10_500, () => machine.resume());
    await time.run(20_000, () => false);
    assert.ok(Math.abs(firedAtMs - (10_500 + 1_000 / machine.rate - 500)) < 0.001, `${firedAtMs}`);
    assert.ok(Math.abs(machine.bootMs() - bootBeforeMs - 20_000 * machine.rate) < 0.001);
  });

  test('an address goes by itself after its lifetime and up to 1.6 s late, by the time that the machine was awake', async () => {
    const late: number[] = [];
    for (let tries = 0; tries < 100; tries += 1) {
      const time = new VirtualTime();
      const machine = new Machine(time, new Random(`lifetime ${tries}`), 'node-0', 0);
      const { kernel } = machine;
      assert.deepEqual(linkOf(machine).bind(IP, 3_999), { is: 'bound' });
      let goneAtMs = 0;
      await time.run(10_000, () => {
        if (goneAtMs === 0 && !kernel.bound.some(({ text }) => text === IP)) goneAtMs = machine.monotonicMs();
        return goneAtMs > 0;
      });
      late.push(time.nowMs * machine.rate - 3_000);
    }
    assert.ok(Math.min(...late) >= 0 && Math.max(...late) <= 1_600, `${Math.min(...late)} to ${Math.max(...late)}`);
    assert.ok(Math.max(...late) > 1_400);
  });

  test('what an administrator configured is never taken for ours', () => {
    const [machine] = machines(1).all;
    assert.ok(machine);
    machine.kernel.addByHand(IP, 32);
    const link = linkOf(machine);
    assert.deepEqual(link.look().addresses[IP], { is: 'foreign', interfaceName: 'eth0' });
    assert.deepEqual(link.bind(IP, 5_000), { is: 'foreign', interfaceName: 'eth0' });
  });

  test('an interface without a carrier, down or gone is seen as that', () => {
    const [machine] = machines(1).all;
    assert.ok(machine);
    const { kernel } = machine;
    const link = linkOf(machine);
    const problem = (): string | null => link.look().problem;
    assert.equal(problem(), null);
    kernel.setUplink({ hasCarrier: false });
    assert.equal(problem(), 'the interface eth0 has no carrier');
    kernel.setUplink({ isUp: false });
    assert.equal(problem(), 'the interface eth0 is down');
    kernel.unplug();
    assert.match(problem() ?? '', /no default route/);
    kernel.plugIn();
    assert.equal(problem(), null);
  });

  test('a name is had by one process at a time until that is gone', async () => {
    const [machine] = machines(1).all;
    assert.ok(machine);
    const [one, other] = [{}, {}];
    assert.equal(await machine.namesFor(one).take('name'), true);
    assert.equal(await machine.namesFor(other).take('name'), false);
    machine.forgetNamesOf(one);
    assert.equal(await machine.namesFor(other).take('name'), true);
  });
});
