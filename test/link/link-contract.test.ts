import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseAddress } from '../../agent/address.ts';
import type { AddressView } from '../../agent/contender/input.ts';
import { KernelLink } from '../../agent/link/kernel-link.ts';
import { NetlinkSocket } from '../../agent/link/netlink-socket.ts';
import type { Link } from '../../agent/ports.ts';
import { eventually } from '../support/eventually.ts';
import { MemoryLink, MemoryNode } from '../support/memory-link.ts';
import { NamespaceNode } from '../support/namespace-lab.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { Machine } from '../simulation/machine.ts';
import { Random } from '../simulation/random.ts';
import { VirtualTime } from '../simulation/virtual-time.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';

/** What the tests do behind a link's back, as a person or the world would. */
interface Ground {
  readonly link: Link;
  addForeign(address: string): void;
  remove(address: string): void;
  /** Waits until a condition holds. */
  eventually(what: string, condition: () => boolean): Promise<void>;
  close(): void;
}

const IP = '203.0.113.10';
const SIX = '2001:db8::10';

function inMemory(): Ground {
  const node = new MemoryNode(REAL_CLOCK);
  return {
    link: new MemoryLink(node, [IP, SIX]),
    addForeign: (address) => node.addForeign(address),
    remove: (address) => node.remove(address),
    eventually,
    close: () => undefined,
  };
}

function inTheKernel(): Ground {
  const node = new NamespaceNode();
  const link = node.link([IP, SIX]);
  const length = (address: string): number => (address.includes(':') ? 128 : 32);
  return {
    link,
    addForeign: (address) => void node.ip(`addr add ${address}/${length(address)} dev lo`),
    remove: (address) => void node.ip(`addr del ${address}/${length(address)} dev eth0`),
    eventually,
    close: () => {
      link.close();
      node.close();
    },
  };
}

/** The kernel of the simulation, whose time passes when it is told to. */
function inAModelledKernel(): Ground {
  const time = new VirtualTime();
  const { kernel } = new Machine(time, new Random('contract'), 'node-0', 0);
  const addresses = [IP, SIX].map((text) => parseAddress(text) ?? assert.fail());
  const socket = new NetlinkSocket(kernel.socket({}, () => false));
  return {
    link: new KernelLink(socket, { addresses, choice: { is: 'name', name: 'eth0' }, kernelRelease: '6.1.0', onNotice: () => undefined }),
    addForeign: (address) => kernel.addByHand(address, address.includes(':') ? 128 : 32),
    remove: (address) => kernel.removeByHand(address, 'ours'),
    eventually: async (what, condition) => {
      await time.run(time.nowMs + 10_000, condition);
      assert.ok(condition(), what);
    },
    close: () => undefined,
  };
}

for (const [where, open, options] of [
  ['in memory', inMemory, {}],
  ['in a modelled kernel', inAModelledKernel, {}],
  ['in the kernel', inTheKernel, needsNamespaces()],
] as const) {
  describe(`a link ${where}`, options, () => {
    const on = (work: (ground: Ground) => void | Promise<void>) => async (): Promise<void> => {
      const ground = open();
      try {
        await work(ground);
      } finally {
        ground.close();
      }
    };
    const view = ({ link }: Ground, address: string): AddressView => link.look().addresses[address] ?? assert.fail('not looked at');

    for (const address of [IP, SIX]) {
      test(
        `binds ${address}, shows it as ours with its lifetime, and takes it off`,
        on((ground) => {
          assert.deepEqual(view(ground, address), { is: 'absent' });
          assert.deepEqual(ground.link.bind(address, 38_400, null), { is: 'bound' });
          const bound = view(ground, address);
          assert.ok(bound.is === 'ours' && bound.remainingMs <= 38_000 && bound.remainingMs > 36_000, JSON.stringify(bound));
          assert.deepEqual(ground.link.unbind(address, false), { is: 'unbound' });
          assert.deepEqual(view(ground, address), { is: 'absent' });
        }),
      );
    }

    test(
      'a bound address is refreshed by binding it again',
      on((ground) => {
        ground.link.bind(IP, 5_000, null);
        ground.link.bind(IP, 60_000, null);
        const bound = view(ground, IP);
        assert.ok(bound.is === 'ours' && bound.remainingMs > 50_000);
      }),
    );

    test(
      'an address that nobody refreshes goes by itself',
      on(async (ground) => {
        ground.link.bind(IP, 1_000, null);
        await ground.eventually('it is gone', () => view(ground, IP).is === 'absent');
      }),
    );

    test(
      'less than a second is too little to bind, and takes off what is bound',
      on((ground) => {
        ground.link.bind(IP, 5_000, null);
        assert.deepEqual(ground.link.bind(IP, 999, null), { is: 'too-late' });
        assert.deepEqual(view(ground, IP), { is: 'absent' });
      }),
    );

    test(
      'what somebody else configured is shown as foreign, neither bound nor taken off',
      on((ground) => {
        ground.addForeign(IP);
        assert.equal(view(ground, IP).is, 'foreign');
        assert.equal(ground.link.bind(IP, 5_000, null).is, 'foreign');
        assert.deepEqual(ground.link.unbind(IP, false), { is: 'unbound' });
        assert.equal(view(ground, IP).is, 'foreign');
      }),
    );

    test(
      'an address that somebody removed is seen to be absent and can be bound again',
      on((ground) => {
        ground.link.bind(IP, 5_000, null);
        ground.remove(IP);
        assert.deepEqual(view(ground, IP), { is: 'absent' });
        assert.deepEqual(ground.link.bind(IP, 5_000, null), { is: 'bound' });
      }),
    );

    test(
      'taking off what is not bound is no error',
      on((ground) => {
        assert.deepEqual(ground.link.unbind(IP, false), { is: 'unbound' });
      }),
    );
  });
}
