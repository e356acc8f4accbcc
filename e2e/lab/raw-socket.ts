/**
 * A packet socket for whole frames of one interface, as the lab's ears need it (packet(7)).
 *
 * Guarantees: nothing arrives before it is bound to its interface; it never waits.
 */
import koffi from 'koffi';
import { closeSocket, SystemError } from '../../agent/link/libc.ts';

// Values from <linux/socket.h> and <linux/if_packet.h>.
const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOCKADDR_LL_LENGTH = 20;

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int, int, int)') as (domain: number, type: number, protocol: number) => number;
const bind = libc.func('int bind(int, const void *, uint32_t)') as (fd: number, address: Buffer, length: number) => number;

/** Opens one in the network namespace of the calling thread; `prepare` comes before anything arrives. Throws SystemError. */
export function openRawSocket(protocol: number, interfaceIndex: number, prepare: (fd: number) => void = () => undefined): number {
  const fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SystemError('socket', koffi.errno());
  prepare(fd);
  const address = Buffer.alloc(SOCKADDR_LL_LENGTH);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(protocol, 2);
  address.writeInt32LE(interfaceIndex, 4);
  if (bind(fd, address, address.length) < 0) {
    const error = new SystemError('bind', koffi.errno());
    closeSocket(fd);
    throw error;
  }
  return fd;
}
