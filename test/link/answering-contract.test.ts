/**
 * Whether the simulation's idea of an address that answers is the kernel's: the same fence, whole and damaged, before the same
 * address, asked who has it and sent a packet.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { parseAddress } from '../../agent/address.ts';
import { Fence } from '../../agent/link/fence.ts';
import { KernelLink } from '../../agent/link/kernel-link.ts';
import { macBytes, probeFor } from '../../agent/link/neighbour-frames.ts';
import { encodeAttribute, encodeMessage, decodeMessages, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST } from '../../agent/link/netlink.ts';
import { NetlinkSocket, openDatagrams } from '../../agent/link/netlink-socket.ts';
import type { Datagrams, Request } from '../../agent/link/netlink-socket.ts';
import { BATCH, deleteTable, listRules } from '../../agent/link/nftables.ts';
import type { TableFamily } from '../../agent/link/nftables.ts';
import { openFrames } from '../../agent/link/segment.ts';
import { inNamespace } from '../support/inside-namespace.ts';
import { NamespaceNode } from '../support/namespace-lab.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { answersTraffic, tellsNeighbours } from '../simulation/answering.ts';
import { Machine } from '../simulation/machine.ts';
import { Random } from '../simulation/random.ts';
import { VirtualTime } from '../simulation/virtual-time.ts';

const ON = { name: 'eth0', mac: '02:00:00:00:00:07', kind: null };
const TABLE = 'leasehold/default/contract';
const NFT_MSG_DELRULE = 0xa08;
const PATIENCE_S = '0.15';
const ANSWER_MS = 20;

/** What a client gets. */
interface Answer {
  readonly neighbour: boolean;
  readonly traffic: boolean;
}

/** A node with an address on it, and somebody beside it who asks. */
interface Ground {
  readonly link: Pick<KernelLink, 'bind' | 'unbind' | 'look'>;
  readonly filter: Datagrams;
  readonly clock: { nowMs: () => number };
  ask(): Answer;
  close(): void;
}

function inTheModel(text: string): Ground {
  const time = new VirtualTime();
  const machine = new Machine(time, new Random('contract'), 'node-0', 0);
  const address = parseAddress(text) ?? assert.fail();
  const socket = new NetlinkSocket(machine.kernel.socket({}, () => false));
  const options = {
    addresses: [address],
    choice: { is: 'name', name: 'eth0' },
    kernelRelease: '6.1.0',
    onNotice: () => undefined,
  } as const;
  return {
    link: new KernelLink(socket, options),
    filter: machine.filter.socket({}, () => false),
    clock: { nowMs: () => time.nowMs },
    ask: () => ({ neighbour: tellsNeighbours(machine, address), traffic: answersTraffic(machine, address) }),
    close: () => undefined,
  };
}

function inTheKernel(text: string): Ground {
  const node = new NamespaceNode();
  const address = parseAddress(text) ?? assert.fail();
  const isIpv4 = address.family === 4;
  const own = isIpv4 ? '203.0.113.200' : '2001:db8::c00';
  // The asker has a namespace of its own, because that of the test is shared.
  const asker = new NamespaceNode();
  node.ip(`link set p-eth0 netns ${asker.name} name to-node`);
  asker.ip(`addr add ${own}/${isIpv4 ? 24 : 64} dev to-node${isIpv4 ? '' : ' nodad'}`);
  asker.ip('link set to-node up');
  const mac = macOf(node.ip('-o link show eth0'));
  const askerMac = macOf(asker.ip('-o link show to-node'));
  const index = Number.parseInt(asker.ip('-o link show to-node'), 10);
  // Neither asks the other who it is, so that packets are judged by themselves.
  asker.ip(`neigh replace ${text} lladdr ${mac} dev to-node nud permanent`);
  // With the last address of an interface go its routes.
  if (isIpv4) node.ip('addr add 198.51.100.7/32 dev eth0');
  node.ip(`route add ${own}/${isIpv4 ? 32 : 128} dev eth0`);
  node.ip(`neigh replace ${own} lladdr ${askerMac} dev eth0 nud permanent`);
  const frames = inNamespace(asker.name, () => openFrames([address]));
  const filter = inNamespace(node.name, () => openDatagrams('netfilter'));
  return {
    link: node.link([text]),
    filter,
    clock: REAL_CLOCK,
    ask: () => {
      for (let frame = frames.receive(); frame !== null; frame = frames.receive());
      let neighbour = false;
      // One of them may come before the interfaces have found each other.
      for (let tries = 0; tries < 3 && !neighbour; tries += 1) {
        frames.send(index, probeFor(address, macBytes(askerMac)));
        pause(ANSWER_MS);
        for (let frame = frames.receive(); frame !== null; frame = frames.receive()) neighbour = true;
      }
      return { neighbour, traffic: isRefused(asker.name, text) };
    },
    close: () => {
      frames.close();
      filter.close();
      node.close();
      asker.close();
    },
  };
}

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function macOf(shown: string): string {
  return /link\/ether ([0-9a-f:]+)/.exec(shown)?.[1] ?? assert.fail(shown);
}

/** Whether a connection to a port that nobody listens to is refused, and not left without an answer. */
function isRefused(namespace: string, to: string): boolean {
  const connect = ['nsenter', `--net=/run/netns/${namespace}`, '--', 'bash', '-c', `exec 3<>/dev/tcp/${to}/9`];
  return spawnSync('timeout', [PATIENCE_S, ...connect], { stdio: 'ignore' }).status === 1;
}

function change(filter: Datagrams, request: Request): void {
  const all = [BATCH.begin, { ...request, flags: NLM_F_ACK }, BATCH.end];
  filter.send(Buffer.concat(all.map(({ type, flags, body }, index) => encodeMessage(type, NLM_F_REQUEST | flags, 900_001 + index, body))));
  const [answer] = decodeMessages(filter.receive());
  assert.equal(answer?.body.readInt32LE(0), 0);
}

/** Deletions of each rule of a family's table. */
function ruleDeletions(filter: Datagrams, family: TableFamily): Request[] {
  const { type, body } = listRules(family, TABLE);
  filter.send(encodeMessage(type, NLM_F_REQUEST | NLM_F_DUMP, 800_000, body));
  const deletions: Request[] = [];
  for (;;) {
    for (const message of decodeMessages(Buffer.from(filter.receive()))) {
      if (message.type === 3) return deletions;
      const chainAt = 4 + encodeAttribute(1, Buffer.from(`${TABLE}\0`)).length;
      const chain = (message.body.readUInt16LE(chainAt) + 3) & ~3;
      deletions.push({ type: NFT_MSG_DELRULE, flags: 0, body: Buffer.from(message.body.subarray(0, chainAt + chain + 12)) });
    }
  }
}

/** What becomes of an address and its fence, step by step, and what a client gets after each. */
function story(ground: Ground, text: string): [string, Answer][] {
  const address = parseAddress(text) ?? assert.fail();
  const told: [string, Answer][] = [];
  const note = (what: string): void => void told.push([what, ground.ask()]);
  const { link, filter } = ground;
  const socket = new NetlinkSocket(filter, 'netfilter');
  const options = { table: TABLE, addresses: [address], clock: ground.clock, onNotice: () => undefined };
  const standing = (): Fence => {
    const fence = new Fence(socket, options);
    fence.stand({ [text]: ON });
    return fence;
  };
  link.look();
  note('not bound');
  link.bind(text, 600_000);
  note('bound without a fence');
  const fence = standing();
  note('closed');
  fence.open(text, ground.clock.nowMs() + 60_000);
  note('open');
  fence.close(text);
  note('closed again');
  for (const family of ['arp', 'inet'] as const) {
    standing();
    const count = ruleDeletions(filter, family).length;
    for (let index = 0; index < count; index += 1) {
      standing();
      const deletion = ruleDeletions(filter, family)[index] ?? assert.fail();
      change(filter, deletion);
      note(`without rule ${index} of ${family}`);
    }
    standing();
    change(filter, deleteTable(family, TABLE));
    note(`without the table ${family}`);
  }
  const last = standing();
  last.open(text, ground.clock.nowMs() + 60_000);
  link.unbind(text);
  note('open and not bound');
  link.bind(text, 600_000);
  last.remove();
  note('without tables');
  return told;
}

const YES = { neighbour: true, traffic: true };
const NO = { neighbour: false, traffic: false };

describe('what answers', () => {
  for (const text of ['203.0.113.10', '2001:db8::10']) {
    test(`${text} in the model: while there is no fence, or it is open`, () => {
      const told = new Map(story(inTheModel(text), text));
      for (const what of ['not bound', 'closed', 'closed again', 'open and not bound']) assert.deepEqual(told.get(what), NO, what);
      for (const what of ['bound without a fence', 'open', 'without tables']) assert.deepEqual(told.get(what), YES, what);
    });

    test(`${text} in the kernel: as in the model, whatever is missing of the fence`, needsNamespaces(), () => {
      const ground = inTheKernel(text);
      try {
        const inKernel = new Map(story(ground, text));
        const expected = story(inTheModel(text), text);
        assert.equal(inKernel.size, expected.length);
        for (const [what, answer] of expected) assert.deepEqual(inKernel.get(what), answer, what);
      } finally {
        ground.close();
      }
    });
  }
});
