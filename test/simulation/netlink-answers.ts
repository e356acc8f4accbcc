/**
 * How a modelled kernel answers netlink messages: acknowledgements, errors and the end of a list (netlink(7)).
 */
import { SystemError } from '../../agent/link/libc.ts';
import { encodeMessage } from '../../agent/link/netlink.ts';
import type { Message } from '../../agent/link/netlink.ts';

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLMSG_HEADER_LENGTH = 16;

export const ERRNO = {
  ENOENT: 2,
  ENXIO: 6,
  EAGAIN: 11,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  EPROTONOSUPPORT: 93,
  EOPNOTSUPP: 95,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENOBUFS: 105,
} as const;

/**
 * Puts a change off, and returns true, where the process freezes between its last look and the call; `excused` is told that
 * this is so. Nobody is there then to read what the kernel will say.
 */
export type Defer = (change: () => void, excused: () => void) => boolean;

export function list(sequence: number, type: number, bodies: readonly Buffer[]): Buffer[] {
  return [...bodies.map((body) => encodeMessage(type, 0, sequence, body)), encodeMessage(NLMSG_DONE, 0, sequence, Buffer.alloc(4))];
}

/** An error, or success where it is 0. */
export function acknowledge({ type, flags, sequence, body }: Message, errno: number): Buffer {
  const error = Buffer.alloc(4);
  error.writeInt32LE(-errno);
  const request = encodeMessage(type, flags, sequence, body).subarray(0, NLMSG_HEADER_LENGTH);
  return encodeMessage(NLMSG_ERROR, 0, sequence, Buffer.concat([error, request]));
}

export function raise(call: string, errno: number): never {
  throw new SystemError(call, errno);
}
