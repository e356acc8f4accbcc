/**
 * Speaking and listening on the segment that an address is on, through packet sockets.
 *
 * Guarantees: nothing waits; what others say about our addresses is kept by the kernel, bounded, until it is asked for. What is
 * sent does not pass the packet filter, so the sender has to know that it may.
 */
import type { Address } from '../address.ts';
import { closeSocket, openPacketSocket, receiveFrame, sendFrame } from './libc.ts';
import type { FrameAddress } from './libc.ts';
import { announcements, claimFilter, ETH_P_ARP, ETH_P_IPV6, macBytes, probeFor, readClaimed } from './neighbour-frames.ts';
import type { Claimed, Frame } from './neighbour-frames.ts';
import type { LinkRow } from './rtnetlink.ts';

/** More than can be said about our addresses between two looks, unless somebody wants to keep us busy. */
const FRAMES_MAX = 1_000;
const FRAME_LENGTH_MAX = 2_048;

/** What somebody has said, and on which interface. */
export interface Heard extends Claimed {
  readonly interfaceIndex: number;
}

/** The lowest seam: payloads of frames to and from the segments of this machine. */
export interface Frames {
  /** Throws SystemError. */
  send(interfaceIndex: number, frame: Frame): void;
  /** The next frame that somebody else has sent about one of the addresses, or null. The payload is valid until the next call. */
  receive(): { readonly from: FrameAddress; readonly payload: Buffer } | null;
  close(): void;
}

/** Frames over real sockets, opened in the network namespace of the calling thread. Throws SystemError, EPERM without NET_RAW. */
export function openFrames(addresses: readonly Address[]): Frames {
  const protocols = [...new Set(addresses.map(({ family }) => (family === 4 ? ETH_P_ARP : ETH_P_IPV6)))];
  const sockets = protocols.map((protocol) => ({ protocol, fd: openPacketSocket(protocol, claimFilter(protocol, addresses)) }));
  const buffer = Buffer.alloc(FRAME_LENGTH_MAX);
  return {
    send: (interfaceIndex, { protocol, to, payload }) => {
      const socket = sockets.find((each) => each.protocol === protocol);
      if (socket !== undefined) sendFrame(socket.fd, { interfaceIndex, protocol, mac: to }, payload);
    },
    receive: () => {
      for (const { fd } of sockets) {
        const received = receiveFrame(fd, buffer);
        if (received !== null) return { from: received.from, payload: buffer.subarray(0, received.length) };
      }
      return null;
    },
    close: () => {
      for (const { fd } of sockets) closeSocket(fd);
    },
  };
}

export class Segment {
  readonly #frames: Frames;

  constructor(frames: Frames) {
    this.#frames = frames;
  }

  /** Tells everybody who has an address, for as long as that may be said. Throws SystemError. */
  announce(address: Address, { index, mac, forwardsIpv6 }: LinkRow, mayStill: () => boolean): void {
    for (const frame of announcements(address, macBytes(mac), forwardsIpv6)) if (mayStill()) this.#frames.send(index, frame);
  }

  /** Asks everybody who has an address. Throws SystemError. */
  ask(address: Address, { index, mac }: LinkRow): void {
    this.#frames.send(index, probeFor(address, macBytes(mac)));
  }

  /** What has been said about our addresses since this was asked last, with the interface it was said on. Throws SystemError. */
  heard(): Heard[] {
    const heard: Heard[] = [];
    for (let count = 0; count < FRAMES_MAX; count += 1) {
      const frame = this.#frames.receive();
      if (frame === null) break;
      const claimed = readClaimed(frame.from.protocol, frame.payload, frame.from.mac);
      if (claimed !== null) heard.push({ ...claimed, bytes: Buffer.from(claimed.bytes), interfaceIndex: frame.from.interfaceIndex });
    }
    return heard;
  }

  close(): void {
    this.#frames.close();
  }
}
