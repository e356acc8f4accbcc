/**
 * The segment that all machines share: frames about who has an address, what kernels answer to them, a client that remembers,
 * and a stranger who says that an address is theirs.
 *
 * Guarantees: a frame reaches every other station that is connected when it is sent and when it arrives, up to 2 ms later. A
 * kernel answers for what answers there, as Linux does: a probe on behalf of nobody, too. What is read here is read without
 * the product's own reader.
 * Not modelled: frames that are lost, switches that remember where a hardware address is, and routers.
 */
import { addressText } from '../../agent/address.ts';
import type { Address } from '../../agent/address.ts';
import type { Frame } from '../../agent/link/neighbour-frames.ts';
import type { Frames } from '../../agent/link/segment.ts';
import { tellsNeighbours } from './answering.ts';
import type { Machine } from './machine.ts';
import { ERRNO, raise } from './netlink-answers.ts';
import type { Random } from './random.ts';
import type { VirtualTime } from './virtual-time.ts';

const ETH_P_ARP = 0x0806;
const ETH_P_IPV6 = 0x86dd;
const DELAY_MAX_MS = 2;
/** What a socket keeps of frames that nobody takes. */
const QUEUE_MAX = 500;
const EVERYBODY = Buffer.alloc(6, 0xff);
const ALL_NODES = Buffer.from('ff020000000000000000000000000001', 'hex');
const STRANGER_MAC = Buffer.from([2, 0xff, 0, 0, 0, 1]);

/** A frame with the hardware address that it comes from. */
interface Sent extends Frame {
  readonly from: Buffer;
}

/** What a frame says or asks about who has an address. */
interface Said {
  readonly claims: string | null;
  readonly asksFor: string | null;
}

interface Station {
  mac(): Buffer | null;
  isConnected(): boolean;
  receive(frame: Sent, said: Said): void;
}

/** What is told of claims. */
export interface WireObserver {
  /** Somebody else's claim has arrived at a machine. */
  onClaimHeard(machine: Machine, address: string, isStrangers: boolean): void;
}

export class Wire {
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #stations: Station[] = [];
  readonly #listeners = new Map<Machine, Set<(frame: Sent, said: Said) => void>>();
  /** Where the client sends what is for an address, by hardware address. */
  readonly cache = new Map<string, string>();
  readonly #addresses: readonly Address[];
  readonly #strangers: { readonly addresses: readonly Address[]; readonly sinceMs: number }[] = [];

  constructor(
    time: VirtualTime,
    random: Random,
    addresses: readonly Address[],
    machines: readonly Machine[],
    observer: () => WireObserver,
  ) {
    this.#time = time;
    this.#random = random;
    this.#addresses = addresses;
    for (const machine of machines) {
      this.#listeners.set(machine, new Set());
      const station: Station = {
        mac: () => machine.kernel.uplink?.mac ?? null,
        isConnected: () => machine.kernel.isConnected && !machine.isSuspended,
        receive: (frame, said) => {
          if (said.claims !== null) observer().onClaimHeard(machine, said.claims, frame.from.equals(STRANGER_MAC));
          this.#answer(station, frame, said, (address) => tellsNeighbours(machine, address));
          for (const listener of this.#listeners.get(machine) ?? []) listener(frame, said);
        },
      };
      this.#stations.push(station);
    }
    this.#stations.push(this.#client());
  }

  /**
   * A packet socket of one process, for what is said about addresses. `onSend` may put off what is sent, and is told what it
   * claims.
   */
  socket(machine: Machine, onSend: (send: () => void, claims: string | null) => void, addresses: readonly Address[]): Frames {
    const wanted = new Set(addresses.map(({ text }) => text));
    const queue: ReturnType<Frames['receive']>[] = [];
    const listener = ({ protocol, from, payload }: Sent, { claims }: Said): void => {
      if (claims === null || !wanted.has(claims) || queue.length >= QUEUE_MAX) return;
      queue.push({ from: { interfaceIndex: machine.kernel.uplink?.index ?? 0, protocol, mac: from }, payload });
    };
    this.#listeners.get(machine)?.add(listener);
    return {
      send: (interfaceIndex, frame) => {
        const { uplink } = machine.kernel;
        if (uplink?.index !== interfaceIndex) return raise('sendto', ERRNO.ENXIO);
        if (!uplink.isUp) return raise('sendto', ERRNO.ENETDOWN);
        const station = this.#stations.find((each) => each.mac() === uplink.mac);
        onSend(() => (station === undefined ? undefined : this.#send(station, { ...frame, from: uplink.mac })), read(frame).claims);
      },
      receive: () => queue.shift() ?? null,
      close: () => this.#listeners.get(machine)?.delete(listener),
    };
  }

  /** A stranger has these addresses for a while; returns how to end it. */
  strangerHas(addresses: readonly Address[], how: { readonly answers: boolean; readonly announcesEveryMs: number | null }): () => void {
    let isOver = false;
    const station: Station = {
      mac: () => STRANGER_MAC,
      isConnected: () => !isOver,
      receive: (frame, said) => this.#answer(station, frame, said, (address) => how.answers && addresses.includes(address)),
    };
    this.#stations.push(station);
    const stranger = { addresses: how.answers ? addresses : [], sinceMs: this.#time.nowMs };
    this.#strangers.push(stranger);
    const announce = (): void => {
      if (isOver || how.announcesEveryMs === null) return;
      for (const address of addresses) this.#send(station, claimOf(address, STRANGER_MAC, STRANGER_MAC));
      this.#time.after(how.announcesEveryMs, announce);
    };
    announce();
    return () => {
      isOver = true;
      this.#stations.splice(this.#stations.indexOf(station), 1);
      this.#strangers.splice(this.#strangers.indexOf(stranger), 1);
    };
  }

  /** Since when a stranger has answered for an address, in true time; null where none does. */
  strangerAnswersSinceMs(address: string): number | null {
    const those = this.#strangers.filter(({ addresses }) => addresses.some(({ text }) => text === address));
    return those.length === 0 ? null : Math.min(...those.map(({ sinceMs }) => sinceMs));
  }

  /** Somebody who had these addresses long ago says so once more. */
  staleFrame(addresses: readonly Address[]): void {
    const nobody: Station = { mac: () => STRANGER_MAC, isConnected: () => true, receive: () => undefined };
    for (const address of addresses) this.#send(nobody, claimOf(address, STRANGER_MAC, STRANGER_MAC));
  }

  #client(): Station {
    return {
      mac: () => null,
      isConnected: () => true,
      receive: ({ from }, { claims }) => {
        if (claims !== null) this.cache.set(claims, from.toString('hex'));
      },
    };
  }

  #send(from: Station, frame: Sent): void {
    if (!from.isConnected()) return;
    const said = read(frame);
    for (const station of this.#stations) {
      if (station === from || !station.isConnected()) continue;
      const isForAll = ((frame.to[0] ?? 0) & 1) === 1;
      if (!isForAll && station.mac()?.equals(frame.to) !== true) continue;
      this.#time.after(this.#random.between(0, DELAY_MAX_MS), () => (station.isConnected() ? station.receive(frame, said) : undefined));
    }
  }

  #answer(station: Station, asked: Sent, { asksFor }: Said, has: (address: Address) => boolean): void {
    const mac = station.mac();
    const address = this.#addresses.find(({ text }) => text === asksFor);
    if (address === undefined || mac === null || !has(address)) return;
    this.#send(station, claimOf(address, mac, address.family === 4 ? asked.from : EVERYBODY));
  }
}

/** What says that an address is at a hardware address, to somebody or to all. */
function claimOf({ family, bytes }: Address, mac: Buffer, to: Buffer): Sent {
  const address = Buffer.from(bytes);
  if (family === 4) {
    const isAnnounced = to === mac;
    const payload = Buffer.concat([
      Buffer.from([0, 1, 8, 0, 6, 4, 0, 2]),
      mac,
      address,
      isAnnounced ? EVERYBODY : to,
      isAnnounced ? address : Buffer.alloc(4),
    ]);
    return { protocol: ETH_P_ARP, to: isAnnounced ? EVERYBODY : to, payload, from: mac };
  }
  const advertisement = Buffer.concat([Buffer.from([136, 0, 0, 0, 0x20, 0, 0, 0]), address, Buffer.from([2, 1]), mac]);
  const header = Buffer.concat([Buffer.from([0x60, 0, 0, 0, 0, advertisement.length, 58, 255]), address, ALL_NODES]);
  return { protocol: ETH_P_IPV6, to: Buffer.from([0x33, 0x33, 0, 0, 0, 1]), payload: Buffer.concat([header, advertisement]), from: mac };
}

function read({ protocol, payload }: Frame): Said {
  if (protocol === ETH_P_ARP) {
    const [sender, target] = [payload.subarray(14, 18), payload.subarray(24, 28)];
    const isProbe = sender.equals(Buffer.alloc(4));
    const isRequest = payload.readUInt16BE(6) === 1;
    const isAsking = isRequest && !sender.equals(target);
    return { claims: isProbe ? null : addressText(sender), asksFor: isAsking ? addressText(target) : null };
  }
  const kind = payload.readUInt8(40);
  const target = addressText(payload.subarray(48, 64));
  return { claims: kind === 136 ? target : null, asksFor: kind === 135 ? target : null };
}
