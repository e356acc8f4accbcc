/**
 * Established TCP connections to an address, ended where this node stops having it (sock_diag(7), SOCK_DESTROY).
 *
 * Guarantees: only connections whose own end is the address are touched; who listens goes on listening. Their clients get a
 * reset for as long as the address may still answer. Bounded: a node with more connections than that leaves the rest to be
 * reset by whoever has the address next.
 * Connections that end in a container behind a translated destination are not this namespace's and are not found.
 */
import type { Address } from '../address.ts';
import { SystemError } from './libc.ts';
import { encodeAttribute } from './netlink.ts';
import type { NetlinkSocket } from './netlink-socket.ts';
import { AF_INET, AF_INET6 } from './rtnetlink.ts';

// From <linux/sock_diag.h>, <linux/inet_diag.h> and <netinet/tcp.h>.
const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const INET_DIAG_REQ_BYTECODE = 1;
const INET_DIAG_BC_S_COND = 7;
const IPPROTO_TCP = 6;
const TCP_TIME_WAIT = 6;
const TCP_CLOSE = 7;
const TCP_LISTEN = 10;
const ALL_STATES = 0x1fff;
/** Neither those that listen nor those that are over. */
const STATES = ALL_STATES & ~((1 << TCP_TIME_WAIT) | (1 << TCP_CLOSE) | (1 << TCP_LISTEN));
const SOCKET_ID_LENGTH = 48;
const CONDITION_HEADER_LENGTH = 8;
/** What can be ended in a fraction of the time there is to unbind, at some 10 µs each. */
const RESETS_MAX = 5_000;

export class Connections {
  readonly #socket: NetlinkSocket;

  constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /** Ends them. Throws SystemError, EOPNOTSUPP where this kernel cannot end any. */
  reset({ family, bytes }: Address): void {
    const address = Buffer.from(bytes);
    // A server that listens to both families has its IPv4 connections as IPv6 ones with a mapped address.
    const families = family === 4 ? [AF_INET, AF_INET6] : [AF_INET6];
    const condition = encodeAttribute(INET_DIAG_REQ_BYTECODE, sourceIs(family === 4 ? AF_INET : AF_INET6, address));
    let count = 0;
    let refusal: SystemError | null = null;
    for (const socketFamily of families) {
      const found = this.#socket.dump(
        SOCK_DIAG_BY_FAMILY,
        Buffer.concat([request(socketFamily, Buffer.alloc(SOCKET_ID_LENGTH)), condition]),
      );
      for (const { type, body } of found) {
        if (type !== SOCK_DIAG_BY_FAMILY || body.length < 4 + SOCKET_ID_LENGTH || count >= RESETS_MAX) continue;
        try {
          this.#socket.change(SOCK_DESTROY, 0, request(socketFamily, body.subarray(4, 4 + SOCKET_ID_LENGTH)));
          count += 1;
        } catch (error) {
          // It has ended in the meantime, or is of a kind that this kernel does not destroy, such as what is left of a closed one.
          if (!(error instanceof SystemError) || !['ENOENT', 'EOPNOTSUPP'].includes(error.code)) throw error;
          if (error.code === 'EOPNOTSUPP') refusal = error;
        }
      }
    }
    if (count === 0 && refusal !== null) throw refusal;
  }

  close(): void {
    this.#socket.close();
  }
}

/** A request about TCP sockets (struct inet_diag_req_v2). */
function request(family: number, id: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(family, 0);
  header.writeUInt8(IPPROTO_TCP, 1);
  header.writeUInt32LE(STATES, 4);
  return Buffer.concat([header, id]);
}

/** A condition that the kernel checks for each socket: its own address is this one, at whatever port. */
function sourceIs(family: number, address: Buffer): Buffer {
  const condition = Buffer.alloc(4 + CONDITION_HEADER_LENGTH);
  const length = condition.length + address.length;
  condition.writeUInt8(INET_DIAG_BC_S_COND, 0);
  condition.writeUInt8(length, 1);
  // Behind the end, where it does not hold.
  condition.writeUInt16LE(length + 4, 2);
  condition.writeUInt8(family, 4);
  condition.writeUInt8(address.length * 8, 5);
  condition.writeInt32LE(-1, 8);
  return Buffer.concat([condition, address]);
}
