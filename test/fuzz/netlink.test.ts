import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { addressText, parseAddress } from '../../agent/address.ts';
import { KernelLink, LinkUnusable, OUR_PROTOCOL } from '../../agent/link/kernel-link.ts';
import { SystemError } from '../../agent/link/libc.ts';
import { decodeMessages, encodeAttribute, encodeMessage } from '../../agent/link/netlink.ts';
import {
  addressHeader,
  AF_INET,
  AF_INET6,
  decodeAddress,
  decodeDefaultRoutes,
  decodeLink,
  encodeAddress,
  linkRequestBody,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_GETROUTE,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWROUTE,
} from '../../agent/link/rtnetlink.ts';
import { openDatagrams, NetlinkSocket } from '../../agent/link/netlink-socket.ts';
import type { Datagrams } from '../../agent/link/netlink-socket.ts';
import { fuzz } from './cases.ts';

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const EAGAIN = 11;
const IP = '203.0.113.10';
const SIX = '2001:db8::10';
const ADDRESSES = [IP, SIX].map((text) => parseAddress(text) ?? assert.fail(text));
const OPTIONS = { addresses: ADDRESSES, kernelRelease: '6.1.0', onNotice: (): void => undefined };
/** More than the few exchanges of one call may take together, each of which has a bound of its own. */
const RECEIVES_MAX = 200_000;

/** What this machine's own kernel answers to each request, as it answers it. */
const REAL = new Map([
  [RTM_GETADDR, capture(RTM_GETADDR, addressHeader(0, 0, 0, 0))],
  [RTM_GETLINK, capture(RTM_GETLINK, linkRequestBody(0))],
  [RTM_GETROUTE, capture(RTM_GETROUTE, Buffer.alloc(12))],
]);

function capture(type: number, body: Buffer): Buffer[] {
  const datagrams = openDatagrams();
  const captured: Buffer[] = [];
  const receive = (): Buffer => {
    const datagram = Buffer.from(datagrams.receive());
    captured.push(datagram);
    return datagram;
  };
  new NetlinkSocket({ ...datagrams, receive }).dump(type, body);
  datagrams.close();
  return captured;
}

function uint32(value: number): Buffer {
  const data = Buffer.alloc(4);
  data.writeUInt32LE(value >>> 0, 0);
  return data;
}

const numbers = fc.oneof(fc.nat(8), fc.constantFrom(0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff));
const bytesOf = (min: number, max: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: min, maxLength: max }).map((data) => Buffer.from(data));
/** An address of a length that may not go with its family. */
const addressBytes = fc.oneof(
  fc.constantFrom(...ADDRESSES.map(({ bytes }) => Buffer.from(bytes))),
  fc.constantFrom(1, 2, 3, 4, 8, 15, 16, 20).chain((length) => bytesOf(length, length)),
);

const addresses = fc
  .record({
    family: fc.constantFrom(AF_INET, AF_INET6, 0, 45),
    prefixLength: fc.constantFrom(0, 24, 32, 33, 64, 128, 129, 255),
    interfaceIndex: fc.oneof({ weight: 8, arbitrary: fc.constantFrom(1, 2, 3) }, fc.constantFrom(0, 0x80000000, 0xffffffff)),
    scope: fc.nat(255),
    flags: numbers,
    bytes: addressBytes,
    label: fc.option(fc.string({ maxLength: 20 })),
    protocol: fc.option(fc.constantFrom(OUR_PROTOCOL, 0, 3)),
    validS: numbers,
  })
  .map((row) => ({ type: RTM_NEWADDR, body: encodeAddress(row) }));

const links = fc
  .record({
    index: numbers,
    flags: numbers,
    name: fc.oneof(fc.constantFrom('eth0\0', 'lo\0', '', '\0'), fc.string({ unit: 'binary', maxLength: 300 })),
    mac: bytesOf(0, 40),
    ipv6: bytesOf(0, 140),
  })
  .map(({ index, flags, name, mac, ipv6 }) => {
    const header = Buffer.concat([Buffer.alloc(4), uint32(index), uint32(flags), Buffer.alloc(4)]);
    const perFamily = encodeAttribute(26, encodeAttribute(AF_INET6, encodeAttribute(2, ipv6)));
    return {
      type: RTM_NEWLINK,
      body: Buffer.concat([header, encodeAttribute(3, Buffer.from(name)), encodeAttribute(1, mac), perFamily]),
    };
  });

const routes = fc
  .record({ family: fc.constantFrom(AF_INET, AF_INET6), hops: bytesOf(0, 40), metric: numbers, oif: fc.option(numbers) })
  .map(({ family, hops, metric, oif }) => ({
    type: RTM_NEWROUTE,
    body: Buffer.concat([
      Buffer.from([family, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0]),
      encodeAttribute(6, uint32(metric)),
      ...(oif === null ? [encodeAttribute(9, hops)] : [encodeAttribute(4, uint32(oif))]),
    ]),
  }));

const anything = fc.record({ type: fc.oneof(fc.nat(30), fc.nat(0xffff)), body: bytesOf(0, 60) });
const endings = fc
  .record({ type: fc.constantFrom(NLMSG_ERROR, NLMSG_DONE), errno: fc.oneof(fc.constantFrom(0, 0, 0, 1, 13, 17, 19, 99), numbers) })
  .map(({ type, errno }) => ({ type, body: Buffer.concat([uint32(-errno), Buffer.alloc(16)]) }));

const messages = fc.oneof(addresses, links, routes, anything, endings);

/** Whose answer a datagram pretends to be. */
const sequences = fc.oneof({ weight: 6, arbitrary: fc.constant('this' as const) }, fc.constantFrom('earlier' as const, 'nobody' as const));

/** A datagram: of messages that are well formed, of the kernel's own, or of nothing at all; then damaged. */
const datagrams = fc.record({
  from: fc.oneof(
    fc.array(messages, { maxLength: 6 }).map((made) => ({ is: 'made' as const, made })),
    fc.constant({ is: 'real' as const }),
    bytesOf(0, 200).map((raw) => ({ is: 'raw' as const, raw })),
  ),
  sequence: sequences,
  flags: fc.constantFrom(2, 2, 2, 0x12),
  damage: fc.array(
    fc.oneof(
      fc.record({ is: fc.constant('cut' as const), at: fc.nat(4_000) }),
      fc.record({ is: fc.constant('set' as const), at: fc.nat(4_000), byte: fc.nat(255) }),
      fc.record({ is: fc.constant('length' as const), at: fc.nat(60), length: fc.oneof(fc.nat(40), fc.nat(0xffff)) }),
    ),
    { maxLength: 4 },
  ),
});

/** How the kernel answers one request, and what it does when that is over. */
const answers = fc.record({
  datagrams: fc.array(datagrams, { maxLength: 4 }),
  // A kernel without end costs time to listen to, so it is met seldom.
  ending: fc.oneof(
    { weight: 30, arbitrary: fc.constant('acknowledged' as const) },
    { weight: 8, arbitrary: fc.constant('silent' as const) },
    { weight: 1, arbitrary: fc.constant('endless' as const) },
  ),
});

type Datagram = typeof datagrams extends fc.Arbitrary<infer Each> ? Each : never;
type Answer = typeof answers extends fc.Arbitrary<infer Each> ? Each : never;

function build(datagram: Datagram, type: number, sequence: number): Buffer {
  const data = raw(datagram, type, sequence);
  let damaged = Buffer.from(data);
  for (const damage of datagram.damage) {
    if (damage.is === 'cut') damaged = damaged.subarray(0, damage.at % (damaged.length + 1));
    else if (damage.is === 'set' && damaged.length > 0) damaged[damage.at % damaged.length] = damage.byte;
    else if (damage.is === 'length' && damaged.length >= 2) damaged.writeUInt16LE(damage.length, (damage.at * 4) % (damaged.length - 1));
  }
  return damaged;
}

function raw({ from, sequence, flags }: Datagram, type: number, own: number): Buffer {
  const number = sequence === 'this' ? own : sequence === 'earlier' ? (own - 1) >>> 0 : 0;
  if (from.is === 'raw') return from.raw;
  if (from.is === 'made') return Buffer.concat(from.made.map((each) => encodeMessage(each.type, flags, number, each.body)));
  const [first = Buffer.alloc(0)] = REAL.get(type) ?? [];
  return underSequence(first, number);
}

/** A copy of a captured datagram as the answer to another request. */
function underSequence(datagram: Buffer, sequence: number): Buffer {
  const copy = Buffer.from(datagram);
  for (let offset = 0; offset + 16 <= copy.length; offset += (copy.readUInt32LE(offset) + 3) & ~3) copy.writeUInt32LE(sequence, offset + 8);
  return copy;
}

function raise(): never {
  throw new SystemError('recv', EAGAIN);
}

/** A kernel that answers as it was told to, over and over, and counts what is asked of it. */
class FuzzedKernel implements Datagrams {
  readonly #answers: readonly Answer[];
  #requests = 0;
  #waiting: Buffer[] = [];
  #isEndless = false;
  receives = 0;

  constructor(told: readonly Answer[]) {
    this.#answers = told;
  }

  send(request: Buffer): void {
    const type = request.readUInt16LE(4);
    const sequence = request.readUInt32LE(8);
    const answer = this.#answers[this.#requests % this.#answers.length];
    this.#requests += 1;
    if (answer === undefined) return;
    this.#waiting.push(...answer.datagrams.map((each) => build(each, type, sequence)));
    if (answer.ending === 'acknowledged') this.#waiting.push(encodeMessage(NLMSG_ERROR, 0, sequence, Buffer.alloc(20)));
    this.#isEndless = answer.ending === 'endless';
  }

  receive(): Buffer {
    this.receives += 1;
    assert.ok(this.receives < RECEIVES_MAX, 'the agent goes on receiving for ever');
    const next = this.#waiting.shift();
    if (next === undefined) return raise();
    if (this.#isEndless) this.#waiting.push(next);
    return next;
  }

  close(): void {
    // Nothing is open.
  }
}

/** Shows what this machine's kernel shows, and refuses every change for one reason. */
class RefusingKernel implements Datagrams {
  readonly #errno: number;
  #waiting: Buffer[] = [];

  constructor(errno: number) {
    this.#errno = errno;
  }

  send(request: Buffer): void {
    const [type, sequence] = [request.readUInt16LE(4), request.readUInt32LE(8)];
    const shown = REAL.get(type);
    this.#waiting =
      shown === undefined
        ? [encodeMessage(NLMSG_ERROR, 0, sequence, uint32(-this.#errno))]
        : shown.map((datagram) => underSequence(datagram, sequence));
  }

  receive(): Buffer {
    return this.#waiting.shift() ?? raise();
  }

  close(): void {
    // Nothing is open.
  }
}

describe('whatever the kernel answers', () => {
  test('no message is read beyond its end, and no address, interface or route is made of what makes none', async (context) => {
    const property = fc.property(datagrams, fc.constantFrom(RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE), (datagram, type) => {
      for (const message of decodeMessages(build(datagram, type, 1))) {
        const row = decodeAddress(message);
        if (row !== null) {
          assert.equal(row.bytes.length, row.family === AF_INET ? 4 : 16);
          assert.ok(row.prefixLength <= row.bytes.length * 8);
          addressText(row.bytes);
        }
        const found = decodeLink(message);
        if (found !== null) assert.ok(found.name !== '' && found.index > 0);
        decodeDefaultRoutes(message);
      }
    });
    await fuzz(context, property, 3_000);
  });

  test('the agent neither breaks nor waits for ever, and says what it found in the words it has for it', async (context) => {
    const property = fc.property(fc.array(answers, { minLength: 1, maxLength: 12 }), (told) => {
      const kernel = new FuzzedKernel(told);
      const link = openLink(kernel);
      if (link === null) return;
      for (const address of [IP, SIX]) {
        kernel.receives = 0;
        link.look();
        kernel.receives = 0;
        assert.ok(['bound', 'foreign', 'too-late', 'failed'].includes(link.bind(address, 10_000).is));
        kernel.receives = 0;
        assert.ok(['unbound', 'failed'].includes(link.unbind(address).is));
      }
    });
    await fuzz(context, property, 400);
  });

  test('an address that the kernel refuses, for whatever reason, does not count as bound', async (context) => {
    const property = fc.property(fc.oneof(fc.integer({ min: 2, max: 133 }), fc.integer({ min: 134, max: 0x7fffffff })), (errno) => {
      const link = new KernelLink(new NetlinkSocket(new RefusingKernel(errno)), { ...OPTIONS, choice: { is: 'name', name: 'lo' } });
      const EEXIST = 17;
      assert.equal(link.bind(IP, 10_000).is, errno === EEXIST ? 'foreign' : 'failed');
    });
    await fuzz(context, property, 300);
  });
});

/** A link on such a kernel, or null where it says that it cannot be used. */
function openLink(kernel: FuzzedKernel): KernelLink | null {
  try {
    return new KernelLink(new NetlinkSocket(kernel), { ...OPTIONS, choice: { is: 'auto' } });
  } catch (error) {
    assert.ok(error instanceof LinkUnusable, String(error));
    return null;
  }
}
