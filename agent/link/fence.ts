/**
 * The fence: a packet filter of our own that lets an address answer only while it is open (rule 7).
 *
 * Guarantees: while its tables stand, nothing of this node answers for an address that is not open, on whatever path: ARP
 * requests for it and answers with it, neighbour advertisements, packets to it from outside and from
 * this node itself, before anybody translates their address, and packets from it, after. An address that was opened closes by
 * itself, in the kernel, some milliseconds early and never late, whatever has become of this process; opening it again leaves no gap.
 * A node that does not have the address reaches it like any other one. Rules and tables of others are not touched.
 *
 * It does not guarantee: anything after somebody else has removed the tables, until the next opening finds that and puts
 * them back; anything for packets that never come to nf_tables, such as those that eBPF programs redirect; that
 * time goes on while a machine is suspended.
 */
import type { Clock } from '../clock.ts';
import type { Address } from '../address.ts';
import { SystemError } from './libc.ts';
import type { Message } from './netlink.ts';
import type { NetlinkSocket, Request } from './netlink-socket.ts';
import {
  BATCH,
  deleteElement,
  deleteTable,
  fieldIs,
  fieldNotIn,
  generationOf,
  GET_GENERATION,
  getTable,
  isDormant,
  isForThisMachine,
  isRuleOf,
  listRules,
  metaIs,
  newChain,
  newDropRule,
  newElement,
  newSet,
  newTable,
} from './nftables.ts';
import { macBytes } from './neighbour-frames.ts';
import type { Field, Hook, Step, TableFamily } from './nftables.ts';
import type { LinkRow } from './rtnetlink.ts';

/** Before everybody else: defragmentation is at -400, connection tracking at -200, translation of destinations at -100. */
const FIRST = -450;
/** After everybody else: translation of sources is at 100. */
const LAST = 450;
/** A multiple of the kernel's tick at each of its rates (100, 250, 300 and 1000 Hz), so that no timeout is rounded up. */
const TICKS_MS = 20;

/** A process that may have had to wait for longer than this between its clock and the kernel's does what it did again. */
const HELD_UP_MS = 10;
const OPEN_TRIES = 3;

/** An interface that every machine has. */
const TRIAL_INTERFACE: FencedInterface = { name: 'lo', mac: '00:00:00:00:00:00', kind: 'dummy' };

const FAMILY_NUMBERS = { 4: Buffer.from([2]), 6: Buffer.from([10]) } as const;

const ETHERNET_DESTINATION: Field = { base: 'link', offset: 0, length: 6 };
const ARP_SENDER: Field = { base: 'network', offset: 14, length: 4 };
const ARP_TARGET: Field = { base: 'network', offset: 24, length: 4 };
const SOURCE = { 4: { base: 'network', offset: 12, length: 4 }, 6: { base: 'network', offset: 8, length: 16 } } as const;
const DESTINATION = { 4: { base: 'network', offset: 16, length: 4 }, 6: { base: 'network', offset: 24, length: 16 } } as const;

/** What the fence has to know of the interface that an address is on. */
export type FencedInterface = Pick<LinkRow, 'name' | 'mac' | 'kind'>;
type Interfaces = Readonly<Record<string, FencedInterface>>;

interface Rule {
  readonly family: TableFamily;
  readonly chain: Hook;
  readonly steps: readonly Step[];
}

/** One address in one of the sets that say what is open. */
interface Element {
  readonly family: TableFamily;
  readonly set: string;
  readonly key: Buffer;
}

/** Every chain, with its priority. */
const CHAINS: readonly (readonly [TableFamily, Hook, number])[] = [
  ['arp', 'input', FIRST],
  ['arp', 'output', FIRST],
  ['inet', 'prerouting', FIRST],
  ['inet', 'output', FIRST],
  ['inet', 'postrouting', LAST],
];

const SETS: readonly (readonly [TableFamily, 4 | 6])[] = [
  ['arp', 4],
  ['inet', 4],
  ['inet', 6],
];
const TABLE_FAMILIES: readonly TableFamily[] = ['arp', 'inet'];

export interface FenceOptions {
  /** What its tables are called, one of each family. */
  readonly table: string;
  readonly addresses: readonly Address[];
  readonly clock: Pick<Clock, 'nowMs'>;
  /** Told of each thing that somebody else did to it. */
  readonly onNotice: (level: 'info' | 'warn', message: string) => void;
}

/** The tables of one set of addresses. What the kernel refuses is thrown as SystemError. */
export class Fence {
  readonly #socket: NetlinkSocket;
  readonly #options: FenceOptions;
  readonly #addresses: ReadonlyMap<string, Address>;
  /** The interface of each address, as the tables name it; null while this process has built none. */
  #built: Interfaces | null = null;
  /** The number of the last transaction after which the tables were known to stand. */
  #generation: number | null = null;
  /** The number that this process's own last transaction should have. */
  #lastTransaction: number | null = null;
  /** Until when each address is open. */
  readonly #openUntilMs = new Map<string, number>();

  constructor(socket: NetlinkSocket, options: FenceOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#addresses = new Map(options.addresses.map((address) => [address.text, address]));
  }

  /** Finds out whether this kernel can do all of it, without leaving anything behind. Throws SystemError where it cannot. */
  try(): void {
    const table = `${this.#options.table}/trial`;
    const interfaces = Object.fromEntries([...this.#addresses.keys()].map((address) => [address, TRIAL_INTERFACE]));
    this.#transact([...this.#construction(table, interfaces), ...TABLE_FAMILIES.map((family) => deleteTable(family, table))]);
  }

  /** Sees to it that the tables stand, for addresses on these interfaces. What was open and still may be stays so. */
  stand(interfaces: Interfaces): void {
    const { table, onNotice } = this.#options;
    const isNew = this.#built === null || !isSame(this.#built, interfaces);
    if (!isNew && this.#generation === this.#currentGeneration()) return;
    if (!isNew && this.#isWhole()) return;
    if (!isNew) onNotice('warn', `somebody has removed the packet filter ${table} or a part of it: it is put back`);
    this.#rebuild(interfaces);
  }

  /**
   * Opens an address until an instant, or closes it when that has come. False when this process was held up so often that the
   * kernel would close it too late: it is closed then. The tables have to stand.
   */
  open(text: string, untilMs: number): boolean {
    const isOpen = this.#unlessHeldUp((nowMs) => {
      const timeoutMs = timeoutUntil(untilMs, nowMs);
      if (timeoutMs === null) return false;
      this.#openUntilMs.set(text, untilMs);
      this.#transact(this.#elementsOf(text).flatMap((element) => this.#replacement(element, timeoutMs)));
      return true;
    });
    if (!isOpen) this.close(text);
    return isOpen;
  }

  /** Closes an address. */
  close(text: string): void {
    this.#openUntilMs.delete(text);
    const failures: SystemError[] = [];
    for (const { family, set, key } of this.#elementsOf(text)) {
      const { table } = this.#options;
      // Added first, so that there is something to delete: a deletion that finds nothing costs a transaction that is taken back.
      const changes = [newElement(family, table, set, key, TICKS_MS), deleteElement(family, table, set, key)];
      this.#changeIfThere(changes, failures);
    }
    if (failures[0] !== undefined) throw failures[0];
  }

  /** Closes what an earlier process has left open. No other process may use these tables any more. */
  sweep(): void {
    if (this.#built !== null || TABLE_FAMILIES.every((family) => this.#table(family) === null)) return;
    this.#rebuild({});
    const { table, onNotice } = this.#options;
    onNotice('info', `closed the packet filter ${table} that an earlier agent has left behind`);
  }

  /** Removes what this process has built. No address may be bound any more. */
  remove(): void {
    if (this.#built === null) return;
    this.#built = null;
    const failures: SystemError[] = [];
    for (const family of TABLE_FAMILIES) this.#changeIfThere([deleteTable(family, this.#options.table)], failures);
    if (failures[0] !== undefined) throw failures[0];
  }

  /** Closes the socket, and leaves what stands to the kernel. */
  release(): void {
    this.#socket.close();
  }

  #rebuild(interfaces: Interfaces): void {
    const { table } = this.#options;
    // Deleting needs something to be there, and adding a table that is there changes nothing.
    const anew = TABLE_FAMILIES.flatMap((family) => [newTable(family, table), deleteTable(family, table)]);
    const closed = [...anew, ...this.#construction(table, interfaces)];
    const isInTime = this.#unlessHeldUp((nowMs) => {
      this.#transact([...closed, ...this.#stillOpen(nowMs)]);
      return true;
    });
    if (!isInTime) {
      this.#openUntilMs.clear();
      this.#transact(closed);
    }
    this.#built = interfaces;
    this.#generation = this.#lastTransaction;
  }

  /** What is open and may be for a while yet, as elements of tables that are made anew. */
  #stillOpen(nowMs: number): Request[] {
    return [...this.#openUntilMs].flatMap(([text, untilMs]) => {
      const timeoutMs = timeoutUntil(untilMs, nowMs);
      if (timeoutMs === null) return [];
      return this.#elementsOf(text).map(({ family, set, key }) => newElement(family, this.#options.table, set, key, timeoutMs));
    });
  }

  /**
   * Does what depends on the clock, and does it again if this process had to wait between its own look at the clock and the
   * kernel's. False when the work itself says so, or when it was held up too often.
   */
  #unlessHeldUp(work: (nowMs: number) => boolean): boolean {
    const { clock } = this.#options;
    for (let tries = 0; tries < OPEN_TRIES; tries += 1) {
      const nowMs = clock.nowMs();
      if (!work(nowMs)) return false;
      if (clock.nowMs() - nowMs < HELD_UP_MS) return true;
    }
    return false;
  }

  /** Tables, sets, chains and rules, all closed. */
  #construction(table: string, interfaces: Interfaces): Request[] {
    return [
      ...TABLE_FAMILIES.map((family) => newTable(family, table)),
      ...SETS.map(([family, version], index) => newSet(family, table, setOf(version), version === 4 ? 4 : 16, index + 1)),
      ...CHAINS.map(([family, hook, priority]) => newChain(family, table, hook, priority)),
      ...this.#rules(interfaces).map(({ family, chain, steps }) => newDropRule(family, table, chain, steps)),
    ];
  }

  #rules(interfaces: Interfaces): Rule[] {
    return [...this.#addresses.values()].flatMap((address) => rulesFor(address, interfaces[address.text] ?? null));
  }

  /** Whether the tables are there, awake, with as many rules as they were given. */
  #isWhole(): boolean {
    const generation = this.#currentGeneration();
    const expected = this.#rules(this.#built ?? {});
    for (const family of TABLE_FAMILIES) {
      const { table } = this.#options;
      const found = this.#table(family);
      if (found === null || isDormant(found)) return false;
      const { type, body } = listRules(family, table);
      const rules = this.#socket.dump(type, body).filter((message) => isRuleOf(message, table));
      if (rules.length !== expected.filter((rule) => rule.family === family).length) return false;
    }
    this.#generation = generation;
    return true;
  }

  /** A table as the kernel shows it, or null. */
  #table(family: TableFamily): Message | null {
    const { type, body } = getTable(family, this.#options.table);
    try {
      return this.#socket.get(type, body)[0] ?? null;
    } catch (error) {
      if (error instanceof SystemError && error.code === 'ENOENT') return null;
      throw error;
    }
  }

  #currentGeneration(): number | null {
    const [answer] = this.#socket.get(GET_GENERATION.type, GET_GENERATION.body);
    return answer === undefined ? null : generationOf(answer);
  }

  #elementsOf(text: string): Element[] {
    const address = this.#addresses.get(text);
    if (address === undefined) return [];
    const key = Buffer.from(address.bytes);
    return SETS.filter(([, version]) => version === address.family).map(([family, version]) => ({ family, set: setOf(version), key }));
  }

  /** An element with a new time to live, whether or not it is there, and without a packet for which it is not. */
  #replacement({ family, set, key }: Element, timeoutMs: number): Request[] {
    const { table } = this.#options;
    const element = newElement(family, table, set, key, timeoutMs);
    return [element, deleteElement(family, table, set, key), element];
  }

  /** Makes a change unless what it needs is not there, and notes why else it could not be made. */
  #changeIfThere(changes: readonly Request[], failures: SystemError[]): void {
    try {
      this.#transact(changes);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (error.code !== 'ENOENT') failures.push(error);
    }
  }

  #transact(changes: readonly Request[]): void {
    const before = this.#currentGeneration();
    this.#socket.transact(BATCH.begin, changes, BATCH.end);
    this.#lastTransaction = before === null ? null : (before + 1) >>> 0;
    // Only from where the tables were known to stand: what somebody else has done before must be looked at. Whoever has changed
    // something meanwhile has counted on as well, which shows in the next comparison.
    this.#generation = before === this.#generation ? this.#lastTransaction : null;
  }
}

/** What of an address is let through nowhere while it is closed. */
function rulesFor(address: Address, on: FencedInterface | null): Rule[] {
  const { family: version } = address;
  const bytes = Buffer.from(address.bytes);
  const [source, destination] = [SOURCE[version], DESTINATION[version]];
  const set = setOf(version);
  const closed = (field: Field): Step[] => [fieldIs(field, bytes), fieldNotIn(field, set)];
  const ofVersion = metaIs('nfproto', FAMILY_NUMBERS[version]);
  const rules: Rule[] = [
    // To an address of this machine, from wherever, before its destination is translated.
    { family: 'inet', chain: 'prerouting', steps: [ofVersion, ...closed(destination), isForThisMachine()] },
    // From a process of this node.
    { family: 'inet', chain: 'output', steps: [ofVersion, ...closed(destination), isForThisMachine()] },
    { family: 'inet', chain: 'output', steps: [ofVersion, ...closed(source)] },
  ];
  if (on !== null) {
    // From the segment to this machine, even where the address is not bound: a Service may be served under it all the same.
    // What only passes through a bridge may be shown to us, too (br_netfilter), and is meant for another machine.
    const toThisMachine = on.kind === 'bridge' ? [fieldIs(ETHERNET_DESTINATION, macBytes(on.mac))] : [];
    rules.push({
      family: 'inet',
      chain: 'prerouting',
      steps: [ofVersion, ...closed(destination), metaIs('iifname', nameBytes(on)), ...toThisMachine],
    });
    // Answers of a container behind a translated destination bear the address only at the very end. On a bridge they cannot be
    // told from those of another machine, and end by themselves because nothing reaches the container any more.
    if (on.kind !== 'bridge')
      rules.push({ family: 'inet', chain: 'postrouting', steps: [ofVersion, ...closed(source), metaIs('oifname', nameBytes(on))] });
  }
  if (version === 6) return rules;
  return [
    ...rules,
    // An announcement names the address as sender and as target: another node's must be heard.
    { family: 'arp', chain: 'input', steps: [...closed(ARP_TARGET), fieldIs(ARP_SENDER, bytes, true)] },
    { family: 'arp', chain: 'output', steps: closed(ARP_SENDER) },
  ];
}

/** An interface's name as the kernel compares it (IFNAMSIZ). */
function nameBytes({ name }: FencedInterface): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.write(name);
  return bytes;
}

/** For how long the kernel may let an address answer, so that it has closed it by an instant; null when that is too soon. */
function timeoutUntil(untilMs: number, nowMs: number): number | null {
  const timeoutMs = Math.floor((untilMs - nowMs - HELD_UP_MS) / TICKS_MS) * TICKS_MS;
  // Zero would mean that it never ends.
  return timeoutMs < TICKS_MS ? null : timeoutMs;
}

function setOf(version: 4 | 6): string {
  return `open${version}`;
}

function isSame(one: Interfaces, other: Interfaces): boolean {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => isSameInterface(one[name], other[name]));
}

function isSameInterface(one: FencedInterface | undefined, other: FencedInterface | undefined): boolean {
  return one?.name === other?.name && one?.mac === other?.mac && one?.kind === other?.kind;
}
