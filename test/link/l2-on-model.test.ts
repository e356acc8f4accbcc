import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseAddress } from '../../agent/address.ts';
import { openLink } from '../../agent/link/open-link.ts';
import type { Link } from '../../agent/ports.ts';
import { answering } from '../simulation/answering.ts';
import { Machine } from '../simulation/machine.ts';
import { ERRNO } from '../simulation/netlink-answers.ts';
import { Random } from '../simulation/random.ts';
import { VirtualTime } from '../simulation/virtual-time.ts';
import { Wire } from '../simulation/wire.ts';

const IP = '203.0.113.10';
const OTHER = '203.0.113.11';
const addresses = [IP, OTHER].map((text) => parseAddress(text) ?? assert.fail());

/** One modelled machine, and links on it as one process after the other would open them. */
class Ground {
  readonly time = new VirtualTime();
  readonly #random = new Random('leaving');
  readonly machine = new Machine(this.time, this.#random, 'node-0', 0);
  readonly wire = new Wire(this.time, this.#random, addresses, [this.machine], () => ({ onClaimHeard: () => undefined }));

  open(): Link {
    const process = {};
    const { kernel, filter } = this.machine;
    return openLink(
      {
        kind: 'l2',
        addresses,
        choice: { is: 'name', name: 'eth0' },
        lease: { namespace: 'default', name: 'leasehold' },
        kernelRelease: '6.1.0',
        clock: { nowMs: () => this.machine.bootMs() },
        onNotice: () => undefined,
      },
      {
        datagrams: (protocol) => {
          if (protocol === 'socket-diag') return kernel.diagnosisSocket();
          return protocol === 'route' ? kernel.socket(process, () => false) : filter.socket(process, () => false);
        },
        readSysctl: () => null,
        frames: () => this.wire.socket(this.machine, (send) => send(), addresses),
      },
    );
  }

  get answers(): boolean {
    return addresses.some((address) => answering(this.machine, address) !== null);
  }
}

describe('a link to a segment that is closed', () => {
  test('leaves nothing behind', () => {
    const ground = new Ground();
    const link = ground.open();
    link.look();
    assert.deepEqual(link.bind(IP, 6_000, ground.machine.bootMs() + 2_800), { is: 'bound' });
    assert.equal(ground.answers, true);
    link.unbind(IP, false);
    link.close();
    assert.deepEqual(ground.machine.filter.tables, []);
    assert.equal(ground.answers, false);
  });

  test('leaves the fence before an address that could not be taken off', () => {
    const ground = new Ground();
    const link = ground.open();
    link.look();
    link.bind(IP, 6_000, ground.machine.bootMs() + 2_800);
    ground.machine.kernel.failure = ERRNO.ENOBUFS;
    assert.equal(link.unbind(IP, false).is, 'failed');
    link.close();
    assert.equal(ground.answers, false);
  });

  test('leaves the fence before an address that an earlier process has left, and that the next one has closed', () => {
    const ground = new Ground();
    const first = ground.open();
    first.look();
    first.bind(IP, 6_000, ground.machine.bootMs() + 2_800);
    const second = ground.open();
    second.look();
    second.segment?.sweep();
    assert.equal(ground.answers, false);
    second.close();
    assert.equal(ground.answers, false);
  });
});

describe('a link that asks who has an address', () => {
  test('forgets what it has heard of that one before, and nothing that it has heard of others', async () => {
    const ground = new Ground();
    const link = ground.open();
    link.look();
    ground.wire.staleFrame(addresses);
    await ground.time.run(10, () => false);
    link.segment?.probe(IP);
    assert.deepEqual(Object.keys(link.look().rivals), [OTHER]);
    assert.deepEqual(link.look().rivals, {});
  });
});
