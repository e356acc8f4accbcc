import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encodeAttribute, encodeMessage, NLM_F_DUMP_INTR } from '../../agent/link/netlink.ts';
import { addressHeader, AF_INET, AF_INET6, decodeAddress, IFA_LOCAL, RTM_GETADDR, RTM_NEWADDR } from '../../agent/link/rtnetlink.ts';
import type { Message } from '../../agent/link/netlink.ts';
import { NetlinkSocket } from '../../agent/link/netlink-socket.ts';
import type { Datagrams } from '../../agent/link/netlink-socket.ts';
import { SystemError } from '../../agent/link/libc.ts';

describe('an address that the kernel lists', () => {
  const message = (family: number, prefixLength: number, length: number): Message => ({
    type: RTM_NEWADDR,
    flags: 0,
    sequence: 1,
    body: Buffer.concat([addressHeader(family, prefixLength, 0, 1), encodeAttribute(IFA_LOCAL, Buffer.alloc(length))]),
  });

  test('is one of IPv4 or IPv6: what other families have, such as MCTP with its one byte, is passed over', () => {
    const MCTP = 45;
    assert.equal(decodeAddress(message(AF_INET, 32, 4))?.bytes.length, 4);
    assert.equal(decodeAddress(message(AF_INET6, 128, 16))?.bytes.length, 16);
    assert.equal(decodeAddress(message(MCTP, 0, 1)), null);
  });

  test('on an interface that cannot exist is passed over', () => {
    const { body, ...rest } = message(AF_INET, 32, 4);
    body.writeUInt32LE(0x80000000, 4);
    assert.equal(decodeAddress({ ...rest, body }), null);
  });

  test('that is longer than its family allows, or its prefix longer than it is, makes no sense', () => {
    assert.equal(decodeAddress(message(AF_INET, 32, 16)), null);
    assert.equal(decodeAddress(message(AF_INET, 33, 4)), null);
  });
});

describe('a request to the kernel', () => {
  const DONE = 3;
  const ERROR = 2;

  /** Answers each request with the datagrams of a script. */
  function scripted(script: (sequence: number, round: number) => Buffer[]): { socket: NetlinkSocket; rounds: () => number } {
    let waiting: Buffer[] = [];
    let rounds = 0;
    const datagrams: Datagrams = {
      send: (request) => {
        rounds += 1;
        waiting = script(request.readUInt32LE(8), rounds);
      },
      receive: () => waiting.shift() ?? raise(),
      close: () => undefined,
    };
    return { socket: new NetlinkSocket(datagrams), rounds: () => rounds };
  }

  function raise(): never {
    throw new SystemError('recv', 11);
  }

  test('gathers all parts of an answer and passes over what belongs to an earlier one', () => {
    const { socket } = scripted((sequence) => [
      encodeMessage(20, 0, sequence - 1, Buffer.alloc(8)),
      encodeMessage(20, 0, sequence, Buffer.alloc(8)),
      Buffer.concat([encodeMessage(20, 0, sequence, Buffer.alloc(8)), encodeMessage(DONE, 0, sequence, Buffer.alloc(4))]),
    ]);
    assert.deepEqual(
      socket.dump(RTM_GETADDR, Buffer.alloc(8)).map(({ type }) => type),
      [20, 20, DONE],
    );
  });

  for (const part of ['one of its parts', 'its end'] as const) {
    test(`is made again when the kernel says in ${part} that its answer was interrupted`, () => {
      const { socket, rounds } = scripted((sequence, round) => {
        const flags = round === 1 ? NLM_F_DUMP_INTR : 0;
        return [
          encodeMessage(20, part === 'its end' ? 0 : flags, sequence, Buffer.alloc(8)),
          encodeMessage(DONE, part === 'its end' ? flags : 0, sequence, Buffer.alloc(4)),
        ];
      });
      socket.dump(RTM_GETADDR, Buffer.alloc(8));
      assert.equal(rounds(), 2);
    });
  }

  test('for a list that the kernel breaks off throws, though a part of it has come', () => {
    const failure = Buffer.alloc(4);
    failure.writeInt32LE(-19);
    const { socket } = scripted((sequence) => [encodeMessage(20, 0, sequence, Buffer.alloc(8)), encodeMessage(DONE, 0, sequence, failure)]);
    assert.throws(
      () => socket.dump(RTM_GETADDR, Buffer.alloc(8)),
      (error) => error instanceof SystemError && error.code === 'ENODEV',
    );
  });

  test('that the kernel refuses throws the name of the error', () => {
    const refusal = Buffer.alloc(4);
    refusal.writeInt32LE(-17);
    const { socket } = scripted((sequence) => [encodeMessage(ERROR, 0, sequence, refusal)]);
    assert.throws(
      () => socket.change(20, 0, Buffer.alloc(8)),
      (error) => error instanceof SystemError && error.code === 'EEXIST',
    );
  });

  test('that gets no answer ends with an error and does not wait for ever', () => {
    const { socket } = scripted(() => []);
    assert.throws(
      () => socket.dump(RTM_GETADDR, Buffer.alloc(8)),
      (error) => error instanceof SystemError && error.code === 'EAGAIN',
    );
  });

  for (const [what, sequenceOf] of [
    ['messages about other things', (): number => 0],
    ['parts of its answer', (own: number): number => own],
  ] as const) {
    test(`whose answer is ${what} without end gives up`, () => {
      const receive = (): Buffer => encodeMessage(20, 0, sequenceOf(1), Buffer.alloc(1_000));
      const socket = new NetlinkSocket({ send: () => undefined, receive, close: () => undefined });
      assert.throws(
        () => socket.dump(RTM_GETADDR, Buffer.alloc(8)),
        (error) => error instanceof SystemError && error.code === 'EOVERFLOW',
      );
    });
  }
});
