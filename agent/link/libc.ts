/**
 * The few calls into the C library that Node has no words for: netlink sockets and CLOCK_BOOTTIME.
 *
 * Guarantees: each function is one system call that returns at once or, for `receive`, within a tenth of a second.
 * Needs glibc.
 */
import koffi from 'koffi';
import { getSystemErrorName } from 'node:util';

// Values from <linux/socket.h>, <linux/netlink.h> and <linux/time.h>; the same on every architecture that Node runs on.
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const NETLINK_ROUTE = 0;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SOL_NETLINK = 270;
const NETLINK_GET_STRICT_CHK = 12;
const CLOCK_BOOTTIME = 7;
const RECEIVE_TIMEOUT_US = 100_000;

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int, int, int)') as (domain: number, type: number, protocol: number) => number;
const setsockopt = libc.func('int setsockopt(int, int, int, const void *, uint32_t)') as (
  fd: number,
  level: number,
  name: number,
  value: Buffer,
  length: number,
) => number;
const send = libc.func('long send(int, const void *, size_t, int)') as (fd: number, data: Buffer, length: number, flags: number) => number;
const recv = libc.func('long recv(int, void *, size_t, int)') as (fd: number, data: Buffer, length: number, flags: number) => number;
const close = libc.func('int close(int)') as (fd: number) => number;
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

/** Opens a socket for rtnetlink in the network namespace of the calling thread. Throws SystemError. */
export function openRouteSocket(): number {
  const fd = checked('socket', socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
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

export function closeSocket(fd: number): void {
  checked('close', close(fd));
}

const time = Buffer.alloc(16);

/** Milliseconds of CLOCK_BOOTTIME (clock_gettime(2)): since boot, suspended time included, never set back. */
export function boottimeMs(): number {
  checked('clock_gettime', clockGettime(CLOCK_BOOTTIME, time));
  return Number(time.readBigInt64LE(0)) * 1_000 + Number(time.readBigInt64LE(8)) / 1e6;
}

function checked(call: string, result: number): number {
  if (result < 0) throw new SystemError(call, koffi.errno());
  return result;
}
