import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  decodeAddress,
  decodeDefaultRoutes,
  decodeLink,
  decodeMessages,
  encodeMessage,
  NLM_F_DUMP_INTR,
  RTM_GETADDR,
} from '../../agent/link/netlink.ts';
import { RouteSocket } from '../../agent/link/route-socket.ts';
import type { Datagrams } from '../../agent/link/route-socket.ts';
import { SystemError } from '../../agent/link/libc.ts';

describe('messages from the kernel', () => {
  test('whatever bytes arrive, reading them ends and never runs past them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        for (const message of decodeMessages(Buffer.from(bytes))) {
          decodeAddress(message);
          decodeLink(message);
          decodeDefaultRoutes(message);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  test('a message whose attributes are nonsense is read as far as it makes sense', () => {
    fc.assert(
      fc.property(fc.constantFrom(16, 20, 24), fc.uint8Array({ maxLength: 200 }), (type, body) => {
        const messages = decodeMessages(encodeMessage(type, 0, 1, Buffer.from(body)));
        assert.equal(messages.length, 1);
        for (const message of messages) [decodeAddress, decodeLink, decodeDefaultRoutes].forEach((decode) => decode(message));
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('a request to the kernel', () => {
  const DONE = 3;
  const ERROR = 2;

  /** Answers each request with the datagrams of a script. */
  function scripted(script: (sequence: number, round: number) => Buffer[]): { socket: RouteSocket; rounds: () => number } {
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
    return { socket: new RouteSocket(datagrams), rounds: () => rounds };
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
    assert.equal(socket.dump(RTM_GETADDR, Buffer.alloc(8)).length, 2);
  });

  test('is made again when the kernel says that its answer was interrupted', () => {
    const { socket, rounds } = scripted((sequence, round) => [
      encodeMessage(20, round === 1 ? NLM_F_DUMP_INTR : 0, sequence, Buffer.alloc(8)),
      encodeMessage(DONE, 0, sequence, Buffer.alloc(4)),
    ]);
    socket.dump(RTM_GETADDR, Buffer.alloc(8));
    assert.equal(rounds(), 2);
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
});
