import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { release } from 'node:os';
import { parseAddress } from '../../agent/address.ts';
import { Fence } from '../../agent/link/fence.ts';
import { SystemError } from '../../agent/link/libc.ts';
import {
  encodeAttribute,
  encodeMessage,
  decodeMessages,
  errorOf,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REQUEST,
} from '../../agent/link/netlink.ts';
import { NetlinkSocket, openDatagrams } from '../../agent/link/netlink-socket.ts';
import type { Datagrams, Request } from '../../agent/link/netlink-socket.ts';
import {
  BATCH,
  deleteElement,
  deleteTable,
  fieldNotIn,
  GET_GENERATION,
  generationOf,
  getTable,
  listRules,
  newChain,
  newDropRule,
  newElement,
  newSet,
  newTable,
} from '../../agent/link/nftables.ts';
import type { TableFamily } from '../../agent/link/nftables.ts';
import { inNamespace } from '../support/inside-namespace.ts';
import { NamespaceNode } from '../support/namespace-lab.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { Machine } from '../simulation/machine.ts';
import { Random } from '../simulation/random.ts';
import { VirtualTime } from '../simulation/virtual-time.ts';

/** A packet filter, real or modelled, and a way to let time pass. */
interface Ground {
  readonly datagrams: Datagrams;
  readonly nowMs: () => number;
  readonly pass: (ms: number) => Promise<void>;
  readonly close: () => void;
}

const IP = '203.0.113.10';
const SIX = '2001:db8::10';
const KEY = Buffer.from([203, 0, 113, 10]);
const OTHER_KEY = Buffer.from([203, 0, 113, 11]);
const ON = { name: 'eth0', mac: '02:00:00:00:00:07', kind: null };
const TABLE = 'leasehold/default/contract';
const SET = 'open4';
const NFT_MSG_GETSETELEM = 0xa0d;
const NFT_MSG_DELRULE = 0xa08;
/** Since 6.12 an element that is there takes over the end of one that is added again. */
const TAKES_OVER = isAtLeast(6, 12);

function inTheKernel(): Ground {
  const node = new NamespaceNode();
  const datagrams = inNamespace(node.name, () => openDatagrams('netfilter'));
  return {
    datagrams,
    nowMs: () => Number(process.hrtime.bigint() / 1_000n) / 1_000,
    pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    close: () => {
      datagrams.close();
      node.close();
    },
  };
}

function inTheModel(): Ground {
  const time = new VirtualTime();
  const { filter } = new Machine(time, new Random('contract'), 'node-0', 0);
  filter.takesOverTimeouts = TAKES_OVER;
  return {
    datagrams: filter.socket({}, () => false),
    nowMs: () => time.nowMs,
    pass: (ms) => time.run(time.nowMs + ms, () => false),
    close: () => undefined,
  };
}

/** Sends messages as they are and lists what is answered to each but the last, which is asked for so that there is an end. */
class Raw {
  readonly #datagrams: Datagrams;
  #sequence = 1_000_000;

  constructor(datagrams: Datagrams) {
    this.#datagrams = datagrams;
  }

  /** The error numbers of a transaction's answers, by the position of the message; 0 is an acknowledgement. */
  transact(changes: readonly Request[], { isEnded = true } = {}): string[] {
    const answers = this.#exchange([BATCH.begin, ...changes, ...(isEnded ? [BATCH.end] : [])]);
    return answers.map(({ position, errno }) => `${position - 1}: ${errno}`);
  }

  generation(): number {
    return generationOf(this.#ask(GET_GENERATION.type, GET_GENERATION.body, 0)[0] ?? assert.fail('no answer')) ?? -1;
  }

  /** How many rules, by table. */
  rules(family: TableFamily): number {
    const { type, body } = listRules(family, TABLE);
    return this.#ask(type, body, NLM_F_DUMP).filter((message) => errorOf(message) === null).length;
  }

  /** The first rule of a table, as its chain and number. */
  firstRule(family: TableFamily): Buffer {
    const { type, body } = listRules(family, TABLE);
    const [first] = this.#ask(type, body, NLM_F_DUMP);
    assert.ok(first);
    return first.body;
  }

  /** The error of a question, or 0. */
  table(family: TableFamily): number {
    const { type, body } = getTable(family, TABLE);
    return this.#ask(type, body, NLM_F_ACK).flatMap((message) => errorOf(message) ?? [])[0] ?? -1;
  }

  /** The elements of a set, in hexadecimal digits. */
  elements(family: TableFamily, set = SET): string[] | number {
    const body = deleteElement(family, TABLE, set, KEY).body;
    const names = body.subarray(
      0,
      body.length - encodeAttribute(3, encodeAttribute(1, encodeAttribute(1, encodeAttribute(1, KEY)))).length,
    );
    const answers = this.#ask(NFT_MSG_GETSETELEM, names, NLM_F_DUMP);
    const failed = answers.map(errorOf).find((errno) => errno !== null && errno !== 0);
    if (failed !== undefined && failed !== null) return failed;
    return answers.flatMap((answer) => [KEY, OTHER_KEY].filter((key) => answer.body.includes(key)).map((key) => key.toString('hex')));
  }

  #ask(type: number, body: Buffer, flags: number): ReturnType<typeof decodeMessages> {
    this.#sequence += 1;
    const sequence = this.#sequence;
    this.#datagrams.send(encodeMessage(type, NLM_F_REQUEST | flags, sequence, body));
    const found: ReturnType<typeof decodeMessages> = [];
    for (;;) {
      for (const message of decodeMessages(Buffer.from(this.#datagrams.receive()))) {
        if (message.sequence !== sequence) continue;
        found.push(message);
        const isEnd = flags === 0 || errorOf(message) !== null;
        if (isEnd) return found;
      }
    }
  }

  #exchange(requests: readonly Request[]): { position: number; errno: number }[] {
    const first = this.#sequence + 1;
    const marker = first + requests.length;
    this.#sequence = marker;
    this.#datagrams.send(
      Buffer.concat(requests.map(({ type, flags, body }, index) => encodeMessage(type, NLM_F_REQUEST | flags, first + index, body))),
    );
    this.#datagrams.send(encodeMessage(GET_GENERATION.type, NLM_F_REQUEST, marker, GET_GENERATION.body));
    const answers: { position: number; errno: number }[] = [];
    for (;;) {
      for (const message of decodeMessages(Buffer.from(this.#datagrams.receive()))) {
        if (message.sequence === marker) return answers;
        answers.push({ position: message.sequence - first, errno: errorOf(message) ?? -1 });
      }
    }
  }
}

function isAtLeast(major: number, minor: number): boolean {
  const [ownMajor = 0, ownMinor = 0] = release().split('.').map(Number);
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}

const acked = (request: Request): Request => ({ ...request, flags: request.flags | NLM_F_ACK });
const exclusive = (request: Request): Request => ({ ...request, flags: request.flags | NLM_F_EXCL });
const element = (timeoutMs: number, key = KEY): Request => newElement('inet', TABLE, SET, key, timeoutMs);
const noElement = (key = KEY): Request => deleteElement('inet', TABLE, SET, key);
const BUILT = [newTable('inet', TABLE), newSet('inet', TABLE, SET, 4, 1), newChain('inet', TABLE, 'output', -450)];
const RULE = newDropRule('inet', TABLE, 'output', [fieldNotIn({ base: 'network', offset: 16, length: 4 }, SET)]);

const ENOENT = 2;
const EEXIST = 17;

for (const [where, open, options] of [
  ['in the model', inTheModel, {}],
  ['in the kernel', inTheKernel, needsNamespaces()],
] as const) {
  describe(`a packet filter ${where}`, options, () => {
    const on = (work: (raw: Raw, ground: Ground) => void | Promise<void>) => async (): Promise<void> => {
      const ground = open();
      try {
        await work(new Raw(ground.datagrams), ground);
      } finally {
        ground.close();
      }
    };

    test(
      'acknowledges what asks for it, and counts each transaction that changes something',
      on((raw) => {
        const before = raw.generation();
        assert.deepEqual(raw.transact(BUILT), []);
        assert.equal(raw.generation(), before + 1);
        assert.deepEqual(raw.transact([element(60_000), acked(element(60_000, OTHER_KEY))]), ['1: 0']);
        assert.equal(raw.generation(), before + 2);
        assert.deepEqual(raw.transact([]), []);
        assert.equal(raw.generation(), before + 2, 'nothing was changed');
        assert.deepEqual(raw.transact([acked(newTable('inet', TABLE))]), ['0: 0']);
        assert.equal(raw.generation(), before + 2, 'what is there already is no change');
        assert.deepEqual(raw.transact([noElement(), noElement(OTHER_KEY)].map(acked)), ['0: 0', '1: 0']);
        assert.equal(raw.generation(), before + 3);
      }),
    );

    test(
      'makes all of a transaction or nothing, and says what failed and what would not have',
      on((raw) => {
        raw.transact(BUILT);
        const before = raw.generation();
        assert.deepEqual(raw.transact([element(60_000), noElement(OTHER_KEY), acked(newTable('arp', TABLE))]), [`1: ${ENOENT}`, '2: 0']);
        assert.deepEqual(raw.elements('inet'), []);
        assert.equal(raw.table('arp'), ENOENT);
        assert.equal(raw.generation(), before);
        assert.deepEqual(raw.transact([noElement(), noElement(OTHER_KEY)]), [`0: ${ENOENT}`, `1: ${ENOENT}`]);
      }),
    );

    test(
      'makes nothing of a transaction that has no end',
      on((raw) => {
        raw.transact(BUILT);
        raw.transact([element(60_000)], { isEnded: false });
        assert.deepEqual(raw.elements('inet'), []);
      }),
    );

    test(
      'what is missing is ENOENT',
      on((raw) => {
        const sent = [deleteTable('inet', TABLE), ...BUILT.slice(1), RULE, element(1_000), noElement()];
        for (const change of sent) assert.deepEqual(raw.transact([change]), [`0: ${ENOENT}`]);
        assert.equal(raw.elements('inet'), ENOENT);
        assert.equal(raw.rules('inet'), 0);
        raw.transact([newTable('inet', TABLE)]);
        for (const change of [RULE, element(1_000), noElement()]) assert.deepEqual(raw.transact([change]), [`0: ${ENOENT}`]);
        raw.transact([newChain('inet', TABLE, 'output', -450)]);
        assert.deepEqual(raw.transact([RULE]), [`0: ${ENOENT}`], 'the set that the rule looks into');
        assert.equal(raw.elements('inet'), ENOENT);
      }),
    );

    test(
      'what is there already is EEXIST only where it has to be new',
      on((raw) => {
        raw.transact([...BUILT, element(60_000)]);
        for (const change of [...BUILT, element(60_000)]) {
          assert.deepEqual(raw.transact([acked(change)]), ['0: 0']);
          assert.deepEqual(raw.transact([acked(exclusive(change))]), [`0: ${EEXIST}`]);
        }
      }),
    );

    test(
      'an element goes to the tick and never late, and its deletion then is ENOENT',
      on(async (raw, { nowMs, pass }) => {
        raw.transact(BUILT);
        for (let time = 0; time < 5; time += 1) {
          const addedAtMs = nowMs();
          assert.deepEqual(raw.transact([acked(exclusive(element(100)))]), ['0: 0']);
          let lastSeenMs = addedAtMs;
          for (;;) {
            const askedAtMs = nowMs();
            const elements = raw.elements('inet');
            if (typeof elements === 'number' || elements.length === 0) break;
            lastSeenMs = askedAtMs;
            await pass(1);
          }
          // Between the last look that showed it and the first that did not; on a busy machine both may come late.
          assert.ok(lastSeenMs - addedAtMs <= 101, `seen ${lastSeenMs - addedAtMs}ms after it was added`);
          assert.ok(nowMs() - addedAtMs >= 95, `gone ${nowMs() - addedAtMs}ms after it was added`);
          assert.deepEqual(raw.transact([noElement()]), [`0: ${ENOENT}`]);
        }
      }),
    );

    test(
      'an element is renewed by deleting and adding it in one transaction',
      on(async (raw, { pass }) => {
        raw.transact([...BUILT, element(200)]);
        await pass(120);
        assert.deepEqual(raw.transact([noElement(), acked(element(2_000))]), ['1: 0']);
        await pass(120);
        assert.deepEqual(raw.elements('inet'), [KEY.toString('hex')]);
      }),
    );

    test(
      'an element that is added again goes at its first end before Linux 6.12, and at the new one since',
      on(async (raw, { pass }) => {
        raw.transact([...BUILT, element(200)]);
        assert.deepEqual(raw.transact([acked(element(10_000))]), ['0: 0']);
        await pass(250);
        assert.deepEqual(raw.elements('inet'), TAKES_OVER ? [KEY.toString('hex')] : []);
      }),
    );

    test(
      'rules are listed, and one that somebody deletes is missing',
      on((raw) => {
        raw.transact([...BUILT, RULE, RULE]);
        assert.equal(raw.rules('inet'), 2);
        assert.equal(raw.rules('arp'), 0);
        // Names and number come first, what the rule does behind them.
        const about = raw.firstRule('inet');
        const number = encodeAttribute(1, Buffer.from(`${TABLE}\0`)).length + encodeAttribute(2, Buffer.from('input\0')).length + 12;
        const deletion = { type: NFT_MSG_DELRULE, flags: NLM_F_ACK, body: Buffer.from(about.subarray(0, 4 + number)) };
        assert.deepEqual(raw.transact([deletion]), ['0: 0']);
        assert.equal(raw.rules('inet'), 1);
        assert.deepEqual(raw.transact([deletion]), [`0: ${ENOENT}`]);
      }),
    );

    test(
      'a table can be deleted and made anew in one transaction, and takes what is in it along',
      on((raw) => {
        raw.transact([...BUILT, RULE, element(60_000)]);
        assert.deepEqual(raw.transact([deleteTable('inet', TABLE), ...BUILT, acked(RULE)]), ['4: 0']);
        assert.deepEqual(raw.elements('inet'), []);
        assert.equal(raw.rules('inet'), 1);
        assert.equal(raw.table('inet'), 0);
      }),
    );

    // The product's own fence, over the same socket.

    const fenceOn = ({ datagrams, nowMs }: Ground, notices: string[] = []): Fence => {
      const addresses = [IP, SIX].map((text) => parseAddress(text) ?? assert.fail());
      const onNotice = (_: string, message: string): void => void notices.push(message);
      return new Fence(new NetlinkSocket(datagrams, 'netfilter'), { table: TABLE, addresses, clock: { nowMs }, onNotice });
    };
    const interfaces = { [IP]: ON, [SIX]: ON };

    test(
      'a fence is tried without a trace, built, opened, closed and removed',
      on((raw, ground) => {
        const fence = fenceOn(ground);
        fence.try();
        assert.deepEqual([raw.table('inet'), raw.table('arp')], [ENOENT, ENOENT]);
        fence.stand(interfaces);
        assert.deepEqual([raw.rules('inet'), raw.rules('arp')], [10, 2]);
        assert.deepEqual([raw.elements('inet'), raw.elements('arp')], [[], []]);
        fence.open(IP, ground.nowMs() + 5_000);
        assert.deepEqual([raw.elements('inet'), raw.elements('arp')], [[KEY.toString('hex')], [KEY.toString('hex')]]);
        fence.open(IP, ground.nowMs() + 6_000);
        fence.close(IP);
        assert.deepEqual([raw.elements('inet'), raw.elements('arp')], [[], []]);
        fence.close(IP);
        fence.remove();
        assert.deepEqual([raw.table('inet'), raw.table('arp')], [ENOENT, ENOENT]);
        fence.remove();
      }),
    );

    for (const what of ['both tables', 'one table', 'a rule'] as const) {
      test(
        `a fence of which somebody removes ${what} is seen to be broken, and put back with what was open`,
        on((raw, ground) => {
          const notices: string[] = [];
          const fence = fenceOn(ground, notices);
          fence.stand(interfaces);
          fence.open(IP, ground.nowMs() + 5_000);
          const about = raw.firstRule('arp');
          const chain = encodeAttribute(2, Buffer.from('output\0')).length;
          const number = encodeAttribute(1, Buffer.from(`${TABLE}\0`)).length + chain + 12;
          if (what === 'a rule') raw.transact([{ type: NFT_MSG_DELRULE, flags: 0, body: Buffer.from(about.subarray(0, 4 + number)) }]);
          else raw.transact([deleteTable('inet', TABLE), ...(what === 'both tables' ? [deleteTable('arp', TABLE)] : [])]);
          if (what === 'both tables')
            assert.throws(
              () => fence.open(IP, ground.nowMs() + 5_000),
              (error) => error instanceof SystemError && error.code === 'ENOENT',
            );
          fence.stand(interfaces);
          assert.equal(notices.length, 1);
          assert.deepEqual([raw.rules('inet'), raw.rules('arp')], [10, 2]);
          assert.deepEqual([raw.elements('inet'), raw.elements('arp')], [[KEY.toString('hex')], [KEY.toString('hex')]]);
        }),
      );
    }

    test(
      'what a fence has left open is closed by the sweep of the next, and removed with it',
      on((raw, ground) => {
        const first = fenceOn(ground);
        first.stand(interfaces);
        first.open(IP, ground.nowMs() + 60_000);
        const second = fenceOn(ground);
        second.sweep();
        assert.deepEqual([raw.elements('inet'), raw.elements('arp')], [[], []]);
        assert.equal(raw.table('arp'), 0);
        second.remove();
        assert.equal(raw.table('arp'), ENOENT);
      }),
    );

    test(
      'a change by others is noticed and is no damage',
      on((raw, ground) => {
        const notices: string[] = [];
        const fence = fenceOn(ground, notices);
        fence.stand(interfaces);
        raw.transact([newTable('inet', 'somebody else')]);
        fence.stand(interfaces);
        assert.deepEqual(notices, []);
        assert.equal(raw.rules('inet'), 10);
      }),
    );
  });
}
