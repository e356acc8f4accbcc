/**
 * The kernel of one node as rtnetlink shows it: interfaces, a default route, and addresses with lifetimes.
 *
 * Guarantees: answers the messages that the product sends as Linux was measured to, among them the errors. A lifetime is
 * counted in whole seconds, and its end is noticed up to 1.6 s late, by chance. Each interface has a hardware address of its own,
 * and counts how often its carrier comes and goes. The packet filter is in packet-filter.ts, and what answers in answering.ts.
 * Not modelled: prefix routes and the tie between addresses of one prefix, duplicate address detection, traffic, connections,
 * of which there are none to be reset.
 */
import { addressText, parseAddress } from '../../agent/address.ts';
import { decodeMessages, encodeAttribute, encodeMessage, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, uint32 } from '../../agent/link/netlink.ts';
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  decodeAddress,
  encodeAddress,
  RT_SCOPE_UNIVERSE,
  RTM_DELADDR,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_GETROUTE,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWROUTE,
} from '../../agent/link/rtnetlink.ts';
import type { Message } from '../../agent/link/netlink.ts';
import type { AddressRow } from '../../agent/link/rtnetlink.ts';
import type { Datagrams } from '../../agent/link/netlink-socket.ts';
import type { Machine } from './machine.ts';
import { acknowledge, ERRNO, list, raise } from './netlink-answers.ts';
import type { Defer } from './netlink-answers.ts';
import type { Random } from './random.ts';
import type { CallOff } from './virtual-time.ts';
import { OUR_PROTOCOL } from '../../agent/link/kernel-link.ts';

/** The agent tries its permission on an interface that cannot exist. */
const NO_INTERFACE = 0x7fffffff;
const LATENESS_MAX_MS = 1_600;
const INFINITE_LIFETIME = 0xffffffff;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_AF_SPEC = 26;
const IFLA_CARRIER_CHANGES = 35;
const IFLA_INET6_CONF = 2;
const DEVCONF_COUNT = 27;
const ARPHRD_ETHER = 1;
const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
const IFF_LOWER_UP = 0x10000;
const RTA_OIF = 4;
const RT_TABLE_MAIN = 254;
const RTN_UNICAST = 1;

interface Interface {
  readonly index: number;
  readonly name: string;
  readonly mac: Buffer;
  isUp: boolean;
  hasCarrier: boolean;
  carrierChanges: number;
}

const LOOPBACK: Interface = { index: 1, name: 'lo', mac: Buffer.alloc(6), isUp: true, hasCarrier: true, carrierChanges: 0 };
const MAC_PREFIX = [2, 0, 0, 0] as const;

/** Why two nodes answering for an address at once is one of the exceptions that rule 7 names. */
export type Excuse = 'suspend' | 'freeze before a call' | 'packet filter removed';

/** An address on an interface. */
export interface Bound {
  readonly row: AddressRow;
  readonly text: string;
  readonly isOurs: boolean;
  /** Who bound it last; null for a person. */
  setBy: object | null;
  validS: number;
  setAtMonotonicMs: number;
  excuse: Excuse | null;
  callOffExpiry: CallOff;
}

/** What an agent did to an address. */
export interface KernelChange {
  readonly is: 'bound' | 'refreshed' | 'removed';
  readonly bound: Bound;
}

export class Kernel {
  readonly #machine: Machine;
  readonly #random: Random;
  readonly #interfaces: Interface[] = [{ ...LOOPBACK }];
  #nextIndex = 2;
  #bound: Bound[] = [];
  /** Told of what a process did. */
  onChange: (by: object, change: KernelChange) => void = () => undefined;
  /** The error number that changes fail with for now, or null. */
  failure: number | null = null;
  /** When a change last failed, in true time. */
  lastFailureMs = Number.NEGATIVE_INFINITY;
  /** When the uplink was last connected, in true time. */
  connectedAtMs = 0;
  /** Whether sockets may be listed and destroyed. */
  hasSocketDiag = true;

  constructor(machine: Machine, random: Random) {
    this.#machine = machine;
    this.#random = random;
    this.plugIn();
  }

  get bound(): readonly Bound[] {
    return this.#bound;
  }

  /** Ours before anybody else's, on whatever interface. */
  boundAs(address: string): Bound | undefined {
    const copies = this.#bound.filter(({ text }) => text === address);
    return copies.find(({ isOurs }) => isOurs) ?? copies[0];
  }

  /** Takes the uplink down and up again, or its carrier. */
  setUplink(state: { readonly isUp?: boolean; readonly hasCarrier?: boolean }): void {
    const { uplink } = this;
    if (uplink === undefined) return;
    const wasConnected = this.isConnected;
    Object.assign(uplink, state);
    if (this.isConnected === wasConnected) return;
    uplink.carrierChanges += 1;
    if (this.isConnected) this.connectedAtMs = this.#machine.nowMs;
  }

  /** Whether frames come and go by the uplink. */
  get isConnected(): boolean {
    return this.uplink?.isUp === true && this.uplink.hasCarrier;
  }

  get uplink(): Interface | undefined {
    return this.#interfaces.find(({ name }) => name === 'eth0');
  }

  /** The uplink comes (back), with an address of the node's own. */
  plugIn(): void {
    if (this.uplink !== undefined) return;
    const mac = Buffer.from([...MAC_PREFIX, this.#machine.server & 0xff, this.#nextIndex & 0xff]);
    this.#interfaces.push({ index: this.#nextIndex, name: 'eth0', mac, isUp: true, hasCarrier: true, carrierChanges: 1 });
    this.connectedAtMs = this.#machine.nowMs;
    this.#nextIndex += 1;
    this.addByHand('192.0.2.7', 24);
  }

  /** The uplink disappears, and what was on it. */
  unplug(): void {
    const { uplink } = this;
    if (uplink === undefined) return;
    this.#interfaces.splice(this.#interfaces.indexOf(uplink), 1);
    for (const each of this.#bound) if (each.row.interfaceIndex === uplink.index) this.#drop(each);
  }

  /** Everything that does not survive a reboot is gone. */
  reboot(): void {
    this.unplug();
    this.plugIn();
  }

  /** Configures an address as an administrator would. Does nothing where it is already. */
  addByHand(address: string, prefixLength: number): void {
    const { uplink } = this;
    const parsed = parseAddress(address);
    if (uplink === undefined || parsed === null) return;
    if (this.#bound.some(({ text }) => text === parsed.text)) return;
    this.#put(
      {
        family: parsed.family === 4 ? AF_INET : AF_INET6,
        prefixLength,
        interfaceIndex: uplink.index,
        scope: RT_SCOPE_UNIVERSE,
        flags: 0,
        bytes: Buffer.from(parsed.bytes),
        label: parsed.family === 4 ? uplink.name : null,
        protocol: null,
        validS: Number.POSITIVE_INFINITY,
      },
      null,
    );
  }

  /** Removes an address as a person would: ours, or the administrator's own copy. */
  removeByHand(address: string, whose: 'ours' | 'own'): void {
    for (const each of this.#bound) if (each.text === address && each.isOurs === (whose === 'ours')) this.#drop(each);
  }

  /** From now on what is bound here counts as one of the exceptions of rule 7, until it is bound anew. */
  excuse(excuse: Excuse): void {
    for (const each of this.#bound) each.excuse = excuse;
  }

  /** A socket of one process. `defer` may put a change off: the process freezes between its last look and the call. */
  socket(by: object, defer: Defer): Datagrams {
    const answers: Buffer[] = [];
    return {
      send: (datagram) => {
        for (const message of decodeMessages(datagram)) answers.push(...this.#answer(message, by, defer));
      },
      receive: () => answers.shift() ?? raise('recv', ERRNO.EAGAIN),
      close: () => undefined,
    };
  }

  /** A socket to list and destroy sockets with. */
  diagnosisSocket(): Datagrams {
    const answers: Buffer[] = [];
    return {
      send: (datagram) => {
        for (const message of decodeMessages(datagram)) {
          if (this.hasSocketDiag) answers.push(...list(message.sequence, message.type, []));
          else answers.push(acknowledge(message, ERRNO.ENOENT));
        }
      },
      receive: () => answers.shift() ?? raise('recv', ERRNO.EAGAIN),
      close: () => undefined,
    };
  }

  #answer(message: Message, by: object, defer: Defer): Buffer[] {
    const { type, flags, sequence, body } = message;
    const isDump = (flags & NLM_F_DUMP) === NLM_F_DUMP;
    switch (type) {
      case RTM_GETADDR:
        return list(sequence, RTM_NEWADDR, this.#listed(body));
      case RTM_GETROUTE:
        return list(sequence, RTM_NEWROUTE, this.#routes());
      case RTM_GETLINK: {
        if (isDump) return list(sequence, RTM_NEWLINK, this.#interfaces.map(encodeLink));
        const found = this.#interfaces.find(({ index }) => index === body.readInt32LE(4));
        if (found === undefined) return [acknowledge(message, ERRNO.ENODEV)];
        return [encodeMessage(RTM_NEWLINK, 0, sequence, encodeLink(found)), acknowledge(message, 0)];
      }
      case RTM_NEWADDR:
      case RTM_DELADDR: {
        if (this.failure !== null && body.readUInt32LE(4) !== NO_INTERFACE) {
          this.lastFailureMs = this.#machine.nowMs;
          return [acknowledge(message, this.failure)];
        }
        let excuse: Excuse | null = null;
        const change = (): number => (type === RTM_NEWADDR ? this.#add(message, by, excuse) : this.#remove(message, by));
        // What is put off is acknowledged beforehand: nobody is there to read what the kernel will say.
        const isDeferred = defer(change, () => (excuse = 'freeze before a call'));
        return [acknowledge(message, isDeferred ? 0 : change())];
      }
      default:
        return [acknowledge(message, ERRNO.EOPNOTSUPP)];
    }
  }

  #listed(body: Buffer): Buffer[] {
    const family = body.readUInt8(0);
    const index = body.readUInt32LE(4);
    return this.#bound
      .filter(({ row }) => (family === AF_UNSPEC || row.family === family) && (index === 0 || row.interfaceIndex === index))
      .map((each) => encodeAddress({ ...each.row, validS: this.#remainingS(each) }));
  }

  #remainingS({ validS, setAtMonotonicMs }: Bound): number {
    if (validS === INFINITE_LIFETIME || validS === Number.POSITIVE_INFINITY) return INFINITE_LIFETIME;
    return Math.max(0, validS - Math.floor((this.#machine.monotonicMs() - setAtMonotonicMs) / 1_000));
  }

  #routes(): Buffer[] {
    const { uplink } = this;
    if (!uplink?.isUp) return [];
    const header = Buffer.alloc(12);
    header.writeUInt8(AF_INET, 0);
    header.writeUInt8(RT_TABLE_MAIN, 4);
    header.writeUInt8(RTN_UNICAST, 7);
    const index = Buffer.alloc(4);
    index.writeUInt32LE(uplink.index);
    return [Buffer.concat([header, encodeAttribute(RTA_OIF, index)])];
  }

  #add(message: Message, by: object, excuse: Excuse | null): number {
    const row = decodeAddress(message);
    if (row === null || !this.#interfaces.some(({ index }) => index === row.interfaceIndex)) return ERRNO.ENODEV;
    const existing = this.#bound.find((each) => isSameAddress(each.row, row));
    if (existing === undefined) {
      this.onChange(by, { is: 'bound', bound: this.#put(row, by, excuse) });
      return 0;
    }
    if ((message.flags & NLM_F_EXCL) !== 0 || (message.flags & NLM_F_REPLACE) === 0) return ERRNO.EEXIST;
    existing.setBy = by;
    existing.excuse = excuse;
    this.#live(existing, row.validS);
    this.onChange(by, { is: 'refreshed', bound: existing });
    return 0;
  }

  #remove({ body }: Message, by: object): number {
    const row = decodeAddress({ type: RTM_NEWADDR, flags: 0, sequence: 0, body });
    if (!this.#interfaces.some(({ index }) => index === body.readUInt32LE(4))) return ERRNO.ENODEV;
    const existing = row === null ? undefined : this.#bound.find((each) => isSameAddress(each.row, row));
    if (existing === undefined) return ERRNO.EADDRNOTAVAIL;
    this.#drop(existing);
    this.onChange(by, { is: 'removed', bound: existing });
    return 0;
  }

  #put(row: AddressRow, by: object | null, excuse: Excuse | null = null): Bound {
    const bound: Bound = {
      row: { ...row, bytes: Buffer.from(row.bytes) },
      text: addressText(row.bytes),
      isOurs: row.protocol === OUR_PROTOCOL,
      setBy: by,
      validS: row.validS,
      setAtMonotonicMs: 0,
      excuse,
      callOffExpiry: () => undefined,
    };
    this.#bound = [...this.#bound, bound];
    this.#live(bound, row.validS);
    return bound;
  }

  #live(bound: Bound, validS: number): void {
    bound.callOffExpiry();
    bound.validS = validS;
    bound.setAtMonotonicMs = this.#machine.monotonicMs();
    if (validS === Number.POSITIVE_INFINITY) return;
    const delayMs = validS * 1_000 + this.#random.between(0, LATENESS_MAX_MS);
    bound.callOffExpiry = this.#machine.timer(delayMs, () => this.#drop(bound));
  }

  #drop(bound: Bound): void {
    bound.callOffExpiry();
    this.#bound = this.#bound.filter((each) => each !== bound);
  }
}

function isSameAddress(a: AddressRow, b: AddressRow): boolean {
  return a.interfaceIndex === b.interfaceIndex && a.prefixLength === b.prefixLength && a.bytes.equals(b.bytes);
}

function encodeLink({ index, name, mac, isUp, hasCarrier, carrierChanges }: Interface): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt16LE(ARPHRD_ETHER, 2);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE((isUp ? IFF_UP : 0) | (isUp && hasCarrier ? IFF_LOWER_UP : 0) | (name === 'lo' ? IFF_LOOPBACK : 0), 8);
  const ipv6 = encodeAttribute(IFLA_INET6_CONF, Buffer.alloc(DEVCONF_COUNT * 4));
  return Buffer.concat([
    header,
    encodeAttribute(IFLA_ADDRESS, mac),
    encodeAttribute(IFLA_IFNAME, Buffer.from(`${name}\0`)),
    encodeAttribute(IFLA_AF_SPEC, encodeAttribute(AF_INET6, ipv6)),
    encodeAttribute(IFLA_CARRIER_CHANGES, uint32(carrierChanges)),
  ]);
}
