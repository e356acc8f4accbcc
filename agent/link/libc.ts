/**
 * The few calls into the C library that Node has no words for: netlink and packet sockets, who is at the other end of a Unix
 * socket, CLOCK_BOOTTIME, the end of orphans, and an end that waits for nothing.
 *
 * Guarantees: each function is one or two system calls and returns at once; `receive` and `canWrite` wait for at most a tenth
 * of a second.
 * Needs glibc.
 */
import koffi from 'koffi';
import { getSystemErrorName } from 'node:util';

// Values from <linux/socket.h>, <linux/netlink.h> and <linux/time.h>; the same on every architecture that Node runs on.
const AF_UNIX = 1;
const AF_NETLINK = 16;
const AF_PACKET = 17;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_PROTOCOLS = { route: 0, 'socket-diag': 4, netfilter: 12 } as const;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_RCVTIMEO = 20;
const SO_ATTACH_FILTER = 26;
const SOL_NETLINK = 270;
const NETLINK_GET_STRICT_CHK = 12;
const SOCKADDR_LL_LENGTH = 20;
/** Only overheard: its receiver is somebody else. */
const PACKET_OTHERHOST = 3;
const CLOCK_BOOTTIME = 7;
const RECEIVE_TIMEOUT_US = 100_000;
const POLLOUT = 4;
const WRITE_PATIENCE_MS = 100;
const WNOHANG = 1;
/** So many frames to others are passed over in one go. */
const OVERHEARD_MAX = 1_000;

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int, int, int)') as (domain: number, type: number, protocol: number) => number;
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
const setFilter = libc.func('setsockopt', 'int', [
  'int',
  'int',
  'int',
  koffi.pointer(koffi.struct('sock_fprog', { length: 'uint16', instructions: 'void *' })),
  'uint32_t',
]) as (fd: number, level: number, name: number, value: { length: number; instructions: Buffer }, length: number) => number;
const bind = libc.func('int bind(int, const void *, uint32_t)') as (fd: number, address: Buffer, length: number) => number;
const sendto = libc.func('long sendto(int, const void *, size_t, int, const void *, uint32_t)') as (
  fd: number,
  data: Buffer,
  length: number,
  flags: number,
  address: Buffer,
  addressLength: number,
) => number;
const recvfrom = libc.func('long recvfrom(int, void *, size_t, int, void *, void *)') as (
  fd: number,
  data: Buffer,
  length: number,
  flags: number,
  address: Buffer,
  addressLength: Buffer,
) => number;
const connect = libc.func('int connect(int, const void *, uint32_t)') as (fd: number, address: Buffer, length: number) => number;
const send = libc.func('long send(int, const void *, size_t, int)') as (fd: number, data: Buffer, length: number, flags: number) => number;
const recv = libc.func('long recv(int, void *, size_t, int)') as (fd: number, data: Buffer, length: number, flags: number) => number;
const close = libc.func('int close(int)') as (fd: number) => number;
const poll = libc.func('int poll(void *, unsigned long, int)') as (fds: Buffer, count: number, timeoutMs: number) => number;
const waitpid = libc.func('int waitpid(int, void *, int)') as (pid: number, status: null, options: number) => number;
const alarm = libc.func('unsigned int alarm(unsigned int)') as (seconds: number) => number;
const exit = libc.func('void _exit(int)') as (code: number) => void;
const clockGettime = libc.func('int clock_gettime(int, void *)') as (clock: number, time: Buffer) => number;

/** What a system call failed with, by its name in <errno.h>. */
export class SystemError extends Error {
  override readonly name = 'SystemError';
  readonly code: string;

  constructor(call: string, errno: number) {
    const code = getSystemErrorName(-errno);
    super(`${call}: ${code}`);
    this.code = code;
  }
}

/** The parts of the kernel that are spoken to over netlink: addresses and links, sockets of others, the packet filter. */
export type NetlinkProtocol = keyof typeof NETLINK_PROTOCOLS;

/** Opens a netlink socket in the network namespace of the calling thread. Throws SystemError. */
export function openNetlinkSocket(protocol: NetlinkProtocol): number {
  const fd = checked('socket', socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_PROTOCOLS[protocol]));
  const timeout = Buffer.alloc(16);
  timeout.writeBigInt64LE(BigInt(RECEIVE_TIMEOUT_US), 8);
  checked('setsockopt', setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout, timeout.length));
  // Lets a dump be narrowed to one interface. Kernels before 4.20 do not know it and list everything, which only costs time.
  const one = Buffer.alloc(4);
  one.writeInt32LE(1, 0);
  setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, one, one.length);
  return fd;
}

/** Sends one datagram. Throws SystemError. */
export function sendTo(fd: number, data: Buffer): void {
  checked('send', send(fd, data, data.length, 0));
}

/** Receives one datagram into `into` and returns its length. Throws SystemError, EAGAIN when nothing came in time. */
export function receive(fd: number, into: Buffer): number {
  return checked('recv', recv(fd, into, into.length, 0));
}

/** What the kernel says of a frame beside its contents (struct sockaddr_ll, packet(7)). */
export interface FrameAddress {
  readonly interfaceIndex: number;
  /** Of the payload, such as 0x0806 for ARP. */
  readonly protocol: number;
  /** Of whoever sent it, or is to get it. */
  readonly mac: Buffer;
}

/** One instruction of a socket filter (struct sock_filter, <linux/filter.h>). */
export type FilterInstruction = readonly [code: number, jumpIfTrue: number, jumpIfFalse: number, operand: number];

/**
 * Opens a socket for the payloads of frames of one protocol on every interface that pass a filter. Throws SystemError, EPERM
 * without the capability NET_RAW.
 */
export function openPacketSocket(protocol: number, filter: readonly FilterInstruction[]): number {
  // Without a protocol nothing arrives until the filter is there.
  const fd = checked('socket', socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const instructions = Buffer.alloc(filter.length * 8);
  filter.forEach(([code, jumpIfTrue, jumpIfFalse, operand], index) => {
    instructions.writeUInt16LE(code, index * 8);
    instructions.writeUInt8(jumpIfTrue, index * 8 + 2);
    instructions.writeUInt8(jumpIfFalse, index * 8 + 3);
    instructions.writeUInt32LE(operand, index * 8 + 4);
  });
  try {
    checked('setsockopt', setFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, { length: filter.length, instructions }, 16));
    const address = frameAddress({ interfaceIndex: 0, protocol, mac: Buffer.alloc(0) });
    checked('bind', bind(fd, address, address.length));
    return fd;
  } catch (error) {
    closeSocket(fd);
    throw error;
  }
}

/** Sends the payload of one frame. Throws SystemError, ENETDOWN where the interface is down. */
export function sendFrame(fd: number, to: FrameAddress, payload: Buffer): void {
  const address = frameAddress(to);
  checked('sendto', sendto(fd, payload, payload.length, 0, address, address.length));
}

/** The next frame to this machine or to everybody, or null when there is none. Its payload goes into `into`. Throws SystemError. */
export function receiveFrame(fd: number, into: Buffer): { readonly length: number; readonly from: FrameAddress } | null {
  const address = Buffer.alloc(SOCKADDR_LL_LENGTH);
  const addressLength = Buffer.alloc(4);
  for (let overheard = 0; overheard < OVERHEARD_MAX; overheard += 1) {
    addressLength.writeUInt32LE(address.length);
    const length = recvfrom(fd, into, into.length, 0, address, addressLength);
    if (length < 0) {
      const error = new SystemError('recvfrom', koffi.errno());
      if (error.code === 'EAGAIN') return null;
      throw error;
    }
    if (address.readUInt8(10) === PACKET_OTHERHOST) continue;
    const mac = Buffer.from(address.subarray(12, 12 + Math.min(8, address.readUInt8(11))));
    return { length, from: { interfaceIndex: address.readInt32LE(4), protocol: address.readUInt16BE(2), mac } };
  }
  return null;
}

function frameAddress({ interfaceIndex, protocol, mac }: FrameAddress): Buffer {
  const address = Buffer.alloc(SOCKADDR_LL_LENGTH);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(protocol, 2);
  address.writeInt32LE(interfaceIndex, 4);
  address.writeUInt8(mac.length, 11);
  mac.copy(address, 12);
  return address;
}

export function closeSocket(fd: number): void {
  checked('close', close(fd));
}

/** The process at the other end of a Unix socket, as it was when it began to listen; nulls where it does not answer. */
export interface UnixPeer {
  readonly pid: number | null;
  readonly uid: number | null;
}

/**
 * Who listens at a Unix socket (SO_PEERCRED, unix(7)); null when nobody does. An abstract name begins with a zero byte. Nothing
 * is sent. Throws SystemError.
 */
export function peerOfUnixSocket(path: string): UnixPeer | null {
  const fd = checked('socket', socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  try {
    const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), Buffer.from(path)]);
    if (connect(fd, address, address.length) < 0) {
      const error = new SystemError('connect', koffi.errno());
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') return null;
      // Somebody listens and accepts nothing.
      if (error.code === 'EAGAIN') return { pid: null, uid: null };
      throw error;
    }
    const credentials = Buffer.alloc(12);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(credentials.length, 0);
    checked('getsockopt', getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length));
    return { pid: credentials.readInt32LE(0), uid: credentials.readUInt32LE(4) };
  } finally {
    closeSocket(fd);
  }
}

const time = Buffer.alloc(16);

/** Milliseconds of CLOCK_BOOTTIME (clock_gettime(2)): since boot, suspended time included, never set back. */
export function boottimeMs(): number {
  checked('clock_gettime', clockGettime(CLOCK_BOOTTIME, time));
  return Number(time.readBigInt64LE(0)) * 1_000 + Number(time.readBigInt64LE(8)) / 1e6;
}

/** Whether something can be written to a file descriptor without waiting longer than a moment for its reader (poll(2)). */
export function canWrite(fd: number): boolean {
  const entry = Buffer.alloc(8);
  entry.writeInt32LE(fd, 0);
  entry.writeInt16LE(POLLOUT, 4);
  return poll(entry, 1, WRITE_PATIENCE_MS) === 1 && entry.readInt16LE(6) === POLLOUT;
}

/**
 * Takes note of every process in a group that was adopted by this one and has ended (waitpid(2)), as a first process has to: Node does
 * so for its own children alone. A child of Node's must not be among them any more.
 */
export function reapGroup(group: number): void {
  while (waitpid(-group, null, WNOHANG) > 0);
}

/** From now on the kernel ends this process by SIGALRM after so many seconds, whatever it is waiting for (alarm(2)). */
export function endWithin(seconds: number): void {
  alarm(seconds);
}

/**
 * Ends this process at once (_exit(2)). `process.exit` would first wait for what is under way beside the loop, such as the
 * look-up of a name at a server that is gone or a write that nobody reads.
 */
export function exitNow(code: number): never {
  exit(code);
  throw new Error('_exit returned');
}

function checked(call: string, result: number): number {
  if (result < 0) throw new SystemError(call, koffi.errno());
  return result;
}
