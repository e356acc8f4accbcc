/**
 * Listens on the nodes' ends of the bridge: whatever a node sends enters there, also while its cable is cut behind it.
 *
 * Guarantees: each frame bears the time at which the kernel got it, however late it is read. What was lost because nobody read
 * is told. It does not see what a node sends to itself.
 */
import koffi from 'koffi';
import type { Address } from '../../agent/address.ts';
import { closeSocket, SystemError } from '../../agent/link/libc.ts';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { openRawSocket } from './raw-socket.ts';
import { FRAME_HEAD_LENGTH, speechIn } from './wire-frames.ts';
import type { Speech } from './wire-frames.ts';
import type { Spoken } from './wire-judge.ts';

// Values from <linux/socket.h>, <linux/if_packet.h>, <linux/if_ether.h>, <linux/sockios.h> and <linux/time.h>.
const ETH_P_ALL = 0x0003;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const PACKET_IGNORE_OUTGOING = 23;
const SIOCGSTAMPNS = 0x8907;
const CLOCK_REALTIME = 0;
/** Frames of many seconds in which nobody reads. */
const BUFFER_BYTES = 32 * 1_024 * 1_024;
/** More frames than come between two looks, so that one socket cannot keep the others waiting for ever. */
const FRAMES_MAX = 50_000;

const libc = koffi.load('libc.so.6');
const setsockopt = libc.func('int setsockopt(int, int, int, const void *, uint32_t)') as (
  fd: number,
  level: number,
  name: number,
  value: Buffer,
  length: number,
) => number;
const getsockopt = libc.func('int getsockopt(int, int, int, void *, void *)') as (
  fd: number,
  level: number,
  name: number,
  value: Buffer,
  length: Buffer,
) => number;
const recv = libc.func('long recv(int, void *, size_t, int)') as (fd: number, data: Buffer, length: number, flags: number) => number;
const ioctl = libc.func('int ioctl(int, unsigned long, void *)') as (fd: number, request: number, data: Buffer) => number;
const interfaceIndex = libc.func('unsigned int if_nametoindex(const char *)') as (name: string) => number;
const clockGettime = libc.func('int clock_gettime(int, void *)') as (clock: number, time: Buffer) => number;

/** What makes others believe that a node has the address. */
const ANSWERS: readonly Speech[] = ['ARP answer', 'ARP announcement', 'neighbour advertisement', 'accepted connection'];

/** Where a node's frames come in. */
export interface Port {
  readonly node: string;
  readonly interfaceName: string;
}

interface Ear extends Port {
  readonly fd: number;
}

export class Wire {
  /** How many frames in the name of one of the addresses were heard so far. */
  count = 0;
  /** How many frames of whatever kind were lost. */
  lost = 0;
  readonly #ears: readonly Ear[];
  readonly #addresses: readonly Address[];
  readonly #frame = Buffer.alloc(FRAME_HEAD_LENGTH);
  readonly #time = Buffer.alloc(16);
  #last: Spoken | null = null;
  #isClosed = false;

  /** Begins to listen in the network namespace of the calling thread. Throws SystemError. */
  constructor(ports: readonly Port[], addresses: readonly Address[]) {
    this.#addresses = addresses;
    this.#ears = ports.map((port) => ({ ...port, fd: openEar(port.interfaceName) }));
    // The kernel begins to stamp frames when it is asked for a stamp for the first time.
    for (const { fd } of this.#ears) ioctl(fd, SIOCGSTAMPNS, this.#time);
  }

  /** What has been said in the name of the addresses since this was asked last, in the order of time. */
  heard(): Spoken[] {
    if (this.#isClosed) return [];
    const offsetMs = monotonicMs() - this.#wallMs();
    const heard = this.#ears.flatMap((ear) => this.#drain(ear, offsetMs)).sort((a, b) => a.atMs - b.atMs);
    this.count += heard.length;
    this.#last = heard.findLast(({ speech }) => ANSWERS.includes(speech)) ?? this.#last;
    return heard;
  }

  /** The node that last answered somebody or announced itself. */
  get speaker(): string | null {
    return this.#last?.node ?? null;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const { fd } of this.#ears) closeSocket(fd);
  }

  #drain({ node, fd }: Ear, offsetMs: number): Spoken[] {
    const spoken: Spoken[] = [];
    for (let count = 0; count < FRAMES_MAX; count += 1) {
      const length = recv(fd, this.#frame, this.#frame.length, 0);
      if (length < 0) {
        const error = new SystemError('recv', koffi.errno());
        // ENETDOWN is said once when an interface goes down; it is heard again when it is up.
        if (error.code === 'EAGAIN') break;
        if (error.code === 'ENETDOWN') continue;
        throw error;
      }
      const head = this.#frame.subarray(0, length);
      for (const address of this.#addresses) {
        const speech = speechIn(head, address);
        if (speech !== null) spoken.push({ node, atMs: this.#stampMs(fd) + offsetMs, address: address.text, speech });
      }
    }
    this.lost += lostBy(fd);
    return spoken;
  }

  /** When the frame that was read last came, by the wall clock. */
  #stampMs(fd: number): number {
    if (ioctl(fd, SIOCGSTAMPNS, this.#time) < 0) throw new SystemError('ioctl', koffi.errno());
    return timespecMs(this.#time);
  }

  #wallMs(): number {
    clockGettime(CLOCK_REALTIME, this.#time);
    return timespecMs(this.#time);
  }
}

function openEar(interfaceName: string): number {
  return openRawSocket(ETH_P_ALL, interfaceIndex(interfaceName), (fd) => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(BUFFER_BYTES);
    // Not allowed everywhere; what is lost for want of room is told.
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes, bytes.length);
    bytes.writeInt32LE(1);
    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, bytes, bytes.length);
  });
}

/** How many frames a socket has lost since this was asked last. */
function lostBy(fd: number): number {
  const statistics = Buffer.alloc(8);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(statistics.length);
  return getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, statistics, length) < 0 ? 0 : statistics.readUInt32LE(4);
}

function timespecMs(time: Buffer): number {
  return Number(time.readBigInt64LE(0)) * 1_000 + Number(time.readBigInt64LE(8)) / 1e6;
}
