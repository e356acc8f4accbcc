/**
 * Requests to the kernel over one netlink socket.
 *
 * Guarantees: a request returns with the kernel's complete answer or throws, and throws as well when the answer has no end; a
 * dump that the kernel marks as interrupted is made again. Synchronous: the kernel has the answer ready when the request returns.
 */
import { constants } from 'node:os';
import { closeSocket, openNetlinkSocket, receive, sendTo, SystemError } from './libc.ts';
import type { NetlinkProtocol } from './libc.ts';
import { decodeMessages, encodeMessage, errorOf, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST } from './netlink.ts';
import type { Message } from './netlink.ts';

const BUFFER_LENGTH = 64 * 1024;
const DUMP_TRIES = 3;
/** Far more than the largest node has to list. The agent stands still while it receives, so this must end. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
/** What a datagram counts for at least, so that empty ones have an end, too. */
const DATAGRAM_BYTES_MIN = 4 * 1024;

/** Numbering begins anew before it runs out of 32 bits. */
const SEQUENCE_MAX = 0xffff_0000;

/** The lowest seam: datagrams to and from the kernel. */
export interface Datagrams {
  send(datagram: Buffer): void;
  /** One datagram; valid until the next call. */
  receive(): Buffer;
  close(): void;
}

/** Datagrams over a real socket, opened in the network namespace of the calling thread. */
export function openDatagrams(protocol: NetlinkProtocol = 'route'): Datagrams {
  const fd = openNetlinkSocket(protocol);
  const buffer = Buffer.alloc(BUFFER_LENGTH);
  return {
    send: (datagram) => sendTo(fd, datagram),
    receive: () => buffer.subarray(0, receive(fd, buffer)),
    close: () => closeSocket(fd),
  };
}

/** One message before it has a sequence number. */
export interface Request {
  readonly type: number;
  readonly flags: number;
  readonly body: Buffer;
}

export class NetlinkSocket {
  readonly #datagrams: Datagrams;
  readonly #protocol: NetlinkProtocol;
  #sequence = 0;

  constructor(datagrams: Datagrams, protocol: NetlinkProtocol = 'route') {
    this.#datagrams = datagrams;
    this.#protocol = protocol;
  }

  /** Lists everything of a kind. Throws SystemError. */
  dump(type: number, body: Buffer): Message[] {
    for (let tries = 1; ; tries += 1) {
      const messages = this.#exchange({ type, flags: NLM_F_DUMP, body });
      const isInterrupted = messages.some(({ flags }) => (flags & NLM_F_DUMP_INTR) !== 0);
      if (!isInterrupted || tries === DUMP_TRIES) return messages;
    }
  }

  /** Asks for one thing. Throws SystemError, ENODEV for an interface that does not exist. */
  get(type: number, body: Buffer): Message[] {
    return this.#exchange({ type, flags: NLM_F_ACK, body });
  }

  /** Changes one thing. Throws SystemError with the kernel's reason. */
  change(type: number, flags: number, body: Buffer): void {
    this.#exchange({ type, flags: NLM_F_ACK | flags, body });
  }

  /** Changes several things at once or none, between the messages that begin and end them. Throws SystemError with the first reason. */
  transact(begin: Request, changes: readonly Request[], end: Request): void {
    const last = changes.length - 1;
    const inner = changes.map((each, index) => (index === last ? { ...each, flags: each.flags | NLM_F_ACK } : each));
    this.#exchange(begin, ...inner, end);
  }

  close(): void {
    this.#datagrams.close();
  }

  /** Everything that the kernel answers to requests sent together, with the message that ends it. */
  #exchange(...requests: readonly Request[]): Message[] {
    const first = this.#sequence < SEQUENCE_MAX ? this.#sequence + 1 : 1;
    this.#sequence = first + requests.length - 1;
    const datagram = requests.map(({ type, flags, body }, index) => encodeMessage(type, NLM_F_REQUEST | flags, first + index, body));
    this.#datagrams.send(datagram.length === 1 ? (datagram[0] ?? Buffer.alloc(0)) : Buffer.concat(datagram));
    const answer: Message[] = [];
    for (let received = 0; received < ANSWER_BYTES_MAX;) {
      // The buffer is used again for the next datagram, so what is kept has to be copied.
      const arrived = Buffer.from(this.#datagrams.receive());
      received += Math.max(arrived.length, DATAGRAM_BYTES_MIN);
      for (const message of decodeMessages(arrived)) {
        // The rest of an exchange that was broken off earlier.
        if (message.sequence < first || message.sequence > this.#sequence) continue;
        answer.push(message);
        const error = errorOf(message);
        if (error === 0) return answer;
        if (error !== null) throw new SystemError(`netlink (${this.#protocol})`, error);
      }
    }
    throw new SystemError(`netlink (${this.#protocol})`, constants.errno.EOVERFLOW);
  }
}
