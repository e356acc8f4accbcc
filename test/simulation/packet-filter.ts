/**
 * The packet filter of one machine as nf_tables shows it over netlink: tables, chains, rules, and sets whose elements have an
 * end; and what it lets through.
 *
 * Guarantees: a transaction is made as a whole or not at all, and is answered as Linux answers it: errors for what fails,
 * an acknowledgement for what asks for one. The number of the last one is counted on by each that changes something. An element
 * is gone up to 4 ms before its time is over and never later, by a clock that stands still while the machine is suspended. Rules
 * are not taken for what they are meant to be: packets are sent through them. What it answers and lets through is compared with
 * the real kernel in packet-filter-contract.test.ts.
 * Not modelled: what the agents do not send, such as changes of rules, maps, other verdicts than to drop, and translation.
 */
import { addressText } from '../../agent/address.ts';
import type { Address } from '../../agent/address.ts';
import {
  decodeAttributes,
  decodeMessages,
  encodeAttribute,
  encodeMessage,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
} from '../../agent/link/netlink.ts';
import type { Message } from '../../agent/link/netlink.ts';
import type { Datagrams } from '../../agent/link/netlink-socket.ts';
import { acknowledge, ERRNO, list, raise } from './netlink-answers.ts';
import type { Defer } from './netlink-answers.ts';
import { attributesOf, isDropped, readExpressions, setsIn } from './packet-rules.ts';
import type { Expression, Hooked, Packet } from './packet-rules.ts';
import type { Random } from './random.ts';

const SUBSYSTEM = 10;
const BATCH_BEGIN = 0x10;
const BATCH_END = 0x11;
const NEWTABLE = type(0);
const GETTABLE = type(1);
const DELTABLE = type(2);
const NEWCHAIN = type(3);
const NEWRULE = type(6);
const GETRULE = type(7);
const DELRULE = type(8);
const NEWSET = type(9);
const NEWSETELEM = type(12);
const GETSETELEM = type(13);
const DELSETELEM = type(14);
const NEWGEN = type(15);
const GETGEN = type(16);

const SET_HAS_TIMEOUTS = 0x10;
const FAMILY_LENGTH = 4;
const FAMILIES = { inet: 1, arp: 3 } as const;
const EARLY_MAX_MS = 4;

/** What a kernel may be built without, or an administrator forbid. */
export type Lack = 'netfilter sockets' | 'nf_tables' | 'the family arp' | 'the expression fib';

/** What it needs of the machine that it is on. */
export interface FilterHost {
  readonly nowMs: number;
  /** How often it has been suspended. */
  readonly suspensions: number;
  monotonicMs(): number;
}

/** An element of a set. */
export interface Element {
  readonly key: Buffer;
  readonly timeoutMs: number;
  readonly expiresAtMonotonicMs: number;
  /** Who put it there. */
  readonly setBy: object;
  /** Whether it was put there by a process that had been frozen since its last look at the clock. */
  readonly isOfFrozen: boolean;
  /** How often the machine had been suspended before. */
  readonly setAtSuspensions: number;
}

interface FilterSet {
  readonly keyLength: number;
  readonly hasTimeouts: boolean;
  readonly elements: Map<string, Element>;
}

interface Rule {
  readonly handle: bigint;
  readonly chain: string;
  readonly expressions: Buffer;
  readonly steps: readonly Expression[];
}

interface Table {
  readonly family: number;
  readonly name: string;
  readonly chains: Map<string, { readonly hook: number }>;
  readonly sets: Map<string, FilterSet>;
  rules: Rule[];
}

type Tables = Map<string, Table>;

/** What a transaction has done. */
export interface FilterChange {
  readonly opened: readonly Element[];
}

/** Where the packets of one address pass. */
export interface Passage {
  /** Whether they pass. */
  readonly is: 'closed' | 'open' | 'unguarded';
  /** The elements by which they do, where no element would mean closed. */
  readonly through: readonly Element[];
}

export class PacketFilter {
  readonly #host: FilterHost;
  readonly #random: Random;
  #tables: Tables = new Map();
  #generation = 1;
  #nextHandle = 1n;
  /** What packets of an address do with which elements there; emptied when a table changes. */
  readonly #passages = new Map<string, boolean>();
  lack: Lack | null = null;
  /** Since Linux 6.12 an element that is there takes over the end of one that is added again. */
  takesOverTimeouts = true;
  /** The error number that transactions fail with for now, for whoever had a socket before. */
  failure: { readonly errno: number; readonly sinceMs: number } | null = null;
  /** When a transaction last failed by that, in true time. */
  lastFailureMs = Number.NEGATIVE_INFINITY;
  /** Tables of which somebody has removed something, and that nobody has built anew since. */
  readonly #tamperedWith = new Set<string>();
  /** Told of what a process did. */
  onChange: (by: object, change: FilterChange) => void = () => undefined;

  constructor(host: FilterHost, random: Random) {
    this.#host = host;
    this.#random = random;
  }

  get isTamperedWith(): boolean {
    return this.#tamperedWith.size > 0;
  }

  /** The names of the tables that are there. */
  get tables(): string[] {
    return [...this.#tables.values()].map(({ name }) => name);
  }

  /** A socket of one process. Throws SystemError. */
  socket(by: object, defer: Defer): Datagrams {
    if (this.lack === 'netfilter sockets') raise('socket', ERRNO.EPROTONOSUPPORT);
    const answers: Buffer[] = [];
    const openedAtMs = this.#host.nowMs;
    return {
      send: (datagram) => {
        const messages = decodeMessages(Buffer.from(datagram));
        const isBatch = messages[0]?.type === BATCH_BEGIN;
        if (isBatch) answers.push(...this.#answerBatch(messages, by, defer, openedAtMs));
        else for (const message of messages) answers.push(...this.#answer(message));
      },
      receive: () => answers.shift() ?? raise('recv', ERRNO.EAGAIN),
      close: () => undefined,
    };
  }

  /** Everything is gone that does not survive a reboot. */
  reboot(): void {
    this.#tables = new Map();
    this.#generation = 1;
    this.#tamperedWith.clear();
    this.#passages.clear();
  }

  /** Removes tables, as `nft flush ruleset` or `nft delete table` would. */
  removeTablesByHand(family: keyof typeof FAMILIES | null): void {
    const kept = [...this.#tables].filter(([, table]) => family !== null && table.family !== FAMILIES[family]);
    if (kept.length === this.#tables.size) return;
    const places = new Set(kept.map(([place]) => place));
    for (const place of this.#tables.keys()) if (!places.has(place)) this.#tamperedWith.add(place);
    this.#changeByHand(new Map(kept));
  }

  /** Removes one rule, the one at this part of all of them. */
  removeRuleByHand(at: number): void {
    const tables = copyOf(this.#tables);
    const all = [...tables.values()].flatMap((table) => table.rules.map((rule) => ({ table, rule })));
    const chosen = all[Math.floor(at * all.length)];
    if (chosen === undefined) return;
    chosen.table.rules = chosen.table.rules.filter((rule) => rule !== chosen.rule);
    this.#changeByHand(tables);
    this.#tamperedWith.add(placeOf(chosen.table.family, chosen.table.name));
  }

  /** Somebody else changes something of their own. */
  changeByOthers(): void {
    this.#generation += 1;
  }

  /**
   * What becomes of the packets of an address, on one of the ways that `packets` are about: they pass by themselves, because of
   * elements, or not.
   */
  passage(name: string, packets: readonly Packet[], key: Buffer): Passage {
    if (this.#tables.size === 0) return { is: 'unguarded', through: [] };
    const live = this.#liveElements(key);
    if (!this.#pass(name, packets, live)) return { is: 'closed', through: [] };
    if (live.length === 0 || this.#pass(name, packets, [])) return { is: 'unguarded', through: [] };
    return { is: 'open', through: live.map(({ element }) => element) };
  }

  /** Whether an address is an element of any set. */
  hasOpen({ bytes }: Pick<Address, 'bytes'>): boolean {
    return this.#liveElements(Buffer.from(bytes)).length > 0;
  }

  #pass(name: string, packets: readonly Packet[], live: readonly LiveElement[]): boolean {
    const memory = `${name} ${live.map(({ place }) => place).join(' ')}`;
    const known = this.#passages.get(memory);
    if (known !== undefined) return known;
    const open = new Set(live.map(({ place, element }) => `${place} ${element.key.toString('hex')}`));
    const hooked = [...this.#tables.values()].flatMap((table) => hookedRules(table));
    const passes = packets.every((packet) => !isDropped(packet, hooked, (set, value) => open.has(`${set} ${value.toString('hex')}`)));
    this.#passages.set(memory, passes);
    return passes;
  }

  /** The elements with a key, by the family and set that each is in. */
  #liveElements(key: Buffer): LiveElement[] {
    const hex = key.toString('hex');
    const found: LiveElement[] = [];
    for (const [place, { sets }] of this.#tables) {
      for (const [set, { elements }] of sets) {
        const element = elements.get(hex);
        if (element !== undefined && this.#isLive(element)) found.push({ place: `${place}/${set}`, element });
      }
    }
    return found;
  }

  #isLive({ expiresAtMonotonicMs }: Element): boolean {
    return this.#host.monotonicMs() < expiresAtMonotonicMs;
  }

  #changeByHand(tables: Tables): void {
    this.#tables = tables;
    this.#generation += 1;
    this.#passages.clear();
  }

  // What asks and changes nothing.

  #answer(message: Message): Buffer[] {
    const { type: kind, flags, sequence, body } = message;
    const isDump = (flags & NLM_F_DUMP) === NLM_F_DUMP;
    const acknowledged = (answer: Buffer): Buffer[] => ((flags & NLM_F_ACK) === 0 ? [answer] : [answer, acknowledge(message, 0)]);
    if (this.lack === 'nf_tables') return [acknowledge(message, ERRNO.EINVAL)];
    const family = body.readUInt8(0);
    const attributes = decodeAttributes(body.subarray(FAMILY_LENGTH));
    switch (kind) {
      case GETGEN:
        return acknowledged(encodeMessage(NEWGEN, 0, sequence, Buffer.concat([header(0), be32(1, this.#generation)])));
      case GETTABLE: {
        const table = this.#tables.get(placeOf(family, textOf(attributes.get(1))));
        if (table === undefined) return [acknowledge(message, ERRNO.ENOENT)];
        return acknowledged(encodeMessage(NEWTABLE, 0, sequence, Buffer.concat([header(family), name(1, table.name)])));
      }
      case GETRULE: {
        if (!isDump) return [acknowledge(message, ERRNO.EINVAL)];
        const wanted = textOf(attributes.get(1));
        const tables = [...this.#tables.values()].filter((each) => each.family === family && (wanted === '' || each.name === wanted));
        return list(
          sequence,
          NEWRULE,
          tables.flatMap((table) => table.rules.map((rule) => encodeRule(table, rule))),
        );
      }
      case GETSETELEM: {
        const found = this.#tables.get(placeOf(family, textOf(attributes.get(1))))?.sets.get(textOf(attributes.get(2)));
        if (found === undefined) return [acknowledge(message, ERRNO.ENOENT)];
        const live = [...found.elements.values()].filter((each) => this.#isLive(each));
        const elements = encodeAttribute(3, Buffer.concat(live.map(encodeElement)));
        const about = [header(family), name(1, textOf(attributes.get(1))), name(2, textOf(attributes.get(2)))];
        return list(sequence, NEWSETELEM, live.length === 0 ? [] : [Buffer.concat([...about, elements])]);
      }
      default:
        return [acknowledge(message, ERRNO.EINVAL)];
    }
  }

  // What changes something.

  #answerBatch(messages: readonly Message[], by: object, defer: Defer, openedAtMs: number): Buffer[] {
    const [begin, ...rest] = messages;
    if (begin === undefined) return [];
    if (this.lack === 'nf_tables') return [acknowledge(begin, ERRNO.EOPNOTSUPP)];
    if (this.failure !== null && openedAtMs < this.failure.sinceMs) {
      this.lastFailureMs = this.#host.nowMs;
      return [acknowledge(begin, this.failure.errno)];
    }
    const end = rest.findIndex(({ type: kind }) => kind === BATCH_END);
    const changes = end === -1 ? rest : rest.slice(0, end);
    let isOfFrozen = false;
    const isDeferred = defer(
      () => void this.#transact(changes, end !== -1, by, isOfFrozen),
      () => (isOfFrozen = true),
    );
    const errors = isDeferred ? changes.map(() => 0) : this.#transact(changes, end !== -1, by, false);
    return changes.flatMap((change, index) => {
      const errno = errors[index] ?? 0;
      return errno !== 0 || (change.flags & NLM_F_ACK) !== 0 ? [acknowledge(change, errno)] : [];
    });
  }

  /** Makes all changes or none, and returns the error number of each. */
  #transact(changes: readonly Message[], isWhole: boolean, by: object, isOfFrozen: boolean): number[] {
    const tables = copyOf(this.#tables);
    const opened: Element[] = [];
    let isBuilt = false;
    let isAnything = false;
    const errors = changes.map((change) => {
      const { errno, ...done } = this.#change(tables, change, { by, isOfFrozen });
      if (done.opened !== undefined) opened.push(...done.opened);
      isBuilt ||= done.isBuilt === true;
      isAnything ||= done.isAnything === true;
      return errno;
    });
    if (!isWhole || errors.some((errno) => errno !== 0)) return errors;
    this.#tables = tables;
    if (isAnything) this.#generation += 1;
    if (isBuilt) {
      this.#passages.clear();
      const built = changes.filter(({ type: kind }) => kind === NEWTABLE).map(placeIn);
      for (const place of built) this.#tamperedWith.delete(place);
    }
    // What the same transaction has taken away again has never been open.
    this.onChange(by, { opened: opened.filter((element) => isIn(tables, element)) });
    return errors;
  }

  #change(tables: Tables, { type: kind, flags, body }: Message, mark: Pick<Element, 'isOfFrozen'> & { by: object }): Change {
    const family = body.readUInt8(0);
    const attributes = decodeAttributes(body.subarray(FAMILY_LENGTH));
    const tableName = textOf(attributes.get(1));
    const place = placeOf(family, tableName);
    const table = tables.get(place);
    if (kind === NEWTABLE) return this.#newTable(tables, family, tableName, flags);
    if (kind === DELTABLE && family === 0 && tableName === '') {
      tables.clear();
      return { errno: 0, isBuilt: true, isAnything: true };
    }
    if (table === undefined) return { errno: ENOENT };
    const [second, third] = [textOf(attributes.get(2)), attributes.get(3)];
    switch (kind) {
      case DELTABLE:
        tables.delete(place);
        return { errno: 0, isBuilt: true, isAnything: true };
      case NEWCHAIN: {
        const chainName = textOf(attributes.get(3));
        const hook = decodeAttributes(attributes.get(4) ?? Buffer.alloc(0)).get(1);
        if (table.chains.has(chainName)) return { errno: (flags & NLM_F_EXCL) !== 0 ? ERRNO.EEXIST : 0, isAnything: true };
        table.chains.set(chainName, { hook: hook?.readUInt32BE(0) ?? -1 });
        return { errno: 0, isBuilt: true, isAnything: true };
      }
      case NEWSET:
        return newSet(table, attributes, flags);
      case NEWRULE:
        return this.#newRule(table, second, attributes.get(4));
      case DELRULE: {
        if (!table.chains.has(second)) return { errno: ENOENT };
        const handle = third?.readBigUInt64BE(0);
        const kept = table.rules.filter((rule) => rule.chain !== second || (handle !== undefined && rule.handle !== handle));
        if (handle !== undefined && kept.length === table.rules.length) return { errno: ENOENT };
        table.rules = kept;
        return { errno: 0, isBuilt: true, isAnything: true };
      }
      case NEWSETELEM:
      case DELSETELEM: {
        const set = table.sets.get(second);
        if (set === undefined) return { errno: ENOENT };
        if (third === undefined) return { errno: ERRNO.EINVAL };
        const changes = attributesOf(third).map(({ value }) =>
          kind === NEWSETELEM ? this.#addElement(set, value, flags, mark) : this.#deleteElement(set, value),
        );
        const failed = changes.find(({ errno }) => errno !== 0);
        if (failed !== undefined) return failed;
        return {
          errno: 0,
          isAnything: changes.some(({ isAnything }) => isAnything),
          opened: changes.flatMap(({ opened }) => opened ?? []),
        };
      }
      default:
        return { errno: ERRNO.EINVAL };
    }
  }

  #newTable(tables: Tables, family: number, tableName: string, flags: number): Change {
    if (this.lack === 'the family arp' && family === FAMILIES.arp) return { errno: ERRNO.EOPNOTSUPP };
    const place = placeOf(family, tableName);
    if (tables.has(place)) return { errno: (flags & NLM_F_EXCL) !== 0 ? ERRNO.EEXIST : 0 };
    tables.set(place, { family, name: tableName, chains: new Map(), sets: new Map(), rules: [] });
    return { errno: 0, isBuilt: true, isAnything: true };
  }

  #newRule(table: Table, chain: string, expressions: Buffer | undefined): Change {
    if (!table.chains.has(chain)) return { errno: ENOENT };
    const steps = readExpressions(expressions ?? Buffer.alloc(0));
    if (this.lack === 'the expression fib' && steps.some(({ kind }) => kind === 'fib')) return { errno: ENOENT };
    if (setsIn(steps).some((set) => !table.sets.has(set))) return { errno: ENOENT };
    table.rules.push({ handle: this.#nextHandle, chain, expressions: Buffer.from(expressions ?? Buffer.alloc(0)), steps });
    this.#nextHandle += 1n;
    return { errno: 0, isBuilt: true, isAnything: true };
  }

  #addElement(set: FilterSet, data: Buffer, flags: number, { by, isOfFrozen }: { by: object; isOfFrozen: boolean }): Change {
    const { key, timeoutMs } = readElement(data);
    if (key.length !== set.keyLength || (timeoutMs !== null && !set.hasTimeouts)) return { errno: ERRNO.EINVAL };
    const hex = key.toString('hex');
    const existing = set.elements.get(hex);
    const isThere = existing !== undefined && this.#isLive(existing);
    if (isThere && (flags & NLM_F_EXCL) !== 0) return { errno: ERRNO.EEXIST };
    if (isThere && (!this.takesOverTimeouts || timeoutMs === null || existing.timeoutMs === timeoutMs)) return { errno: 0 };
    const lastsMs = timeoutMs ?? Number.POSITIVE_INFINITY;
    const expiresAtMonotonicMs = this.#host.monotonicMs() + lastsMs - this.#random.between(0, EARLY_MAX_MS);
    const element = { key, timeoutMs: lastsMs, expiresAtMonotonicMs, setBy: by, isOfFrozen, setAtSuspensions: this.#host.suspensions };
    set.elements.set(hex, element);
    return { errno: 0, isAnything: true, opened: [element] };
  }

  #deleteElement(set: FilterSet, data: Buffer): Change {
    const { key } = readElement(data);
    const hex = key.toString('hex');
    const existing = set.elements.get(hex);
    if (existing === undefined || !this.#isLive(existing)) return { errno: ENOENT };
    set.elements.delete(hex);
    return { errno: 0, isAnything: true };
  }
}

const { ENOENT } = ERRNO;

function isIn(tables: Tables, element: Element): boolean {
  const sets = [...tables.values()].flatMap(({ sets }) => [...sets.values()]);
  return sets.some(({ elements }) => elements.get(element.key.toString('hex')) === element);
}

/** What one message has done, or why not. `isBuilt`: to more than the elements of a set. */
interface Change {
  readonly errno: number;
  readonly isBuilt?: boolean;
  readonly isAnything?: boolean | undefined;
  readonly opened?: readonly Element[];
}

interface LiveElement {
  readonly place: string;
  readonly element: Element;
}

function newSet(table: Table, attributes: ReadonlyMap<number, Buffer>, flags: number): Change {
  const [setName, setFlags, keyLength, id] = [textOf(attributes.get(2)), attributes.get(3), attributes.get(5), attributes.get(10)];
  if (setName === '' || keyLength === undefined || id === undefined) return { errno: ERRNO.EINVAL };
  if (table.sets.has(setName)) return { errno: (flags & NLM_F_EXCL) !== 0 ? ERRNO.EEXIST : 0 };
  if ((flags & NLM_F_CREATE) === 0) return { errno: ENOENT };
  const hasTimeouts = ((setFlags?.readUInt32BE(0) ?? 0) & SET_HAS_TIMEOUTS) !== 0;
  table.sets.set(setName, { keyLength: keyLength.readUInt32BE(0), hasTimeouts, elements: new Map() });
  return { errno: 0, isBuilt: true, isAnything: true };
}

/** The rules of a table where packets meet them. Sets are named with their table. */
function hookedRules({ family, name: tableName, chains, rules }: Table): Hooked[] {
  return rules.map(({ chain, steps }) => ({
    family,
    hook: chains.get(chain)?.hook ?? -1,
    steps,
    placeOfSet: (set) => `${placeOf(family, tableName)}/${set}`,
  }));
}

function copyOf(tables: Tables): Tables {
  return new Map(
    [...tables].map(([place, { family, name: tableName, chains, sets, rules }]) => [
      place,
      {
        family,
        name: tableName,
        chains: new Map(chains),
        sets: new Map([...sets].map(([set, { elements, ...rest }]) => [set, { ...rest, elements: new Map(elements) }])),
        rules: [...rules],
      },
    ]),
  );
}

function readElement(data: Buffer): { key: Buffer; timeoutMs: number | null } {
  const attributes = decodeAttributes(data);
  const key = decodeAttributes(attributes.get(1) ?? Buffer.alloc(0)).get(1) ?? Buffer.alloc(0);
  const timeout = attributes.get(4);
  return { key: Buffer.from(key), timeoutMs: timeout === undefined ? null : Number(timeout.readBigUInt64BE(0)) };
}

function encodeElement({ key, timeoutMs }: Element): Buffer {
  const timeout = Buffer.alloc(8);
  timeout.writeBigUInt64BE(BigInt(timeoutMs));
  return encodeAttribute(1, Buffer.concat([encodeAttribute(1, encodeAttribute(1, key)), encodeAttribute(4, timeout)]));
}

function encodeRule({ family, name: tableName }: Table, { handle, chain, expressions }: Rule): Buffer {
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(handle);
  return Buffer.concat([header(family), name(1, tableName), name(2, chain), encodeAttribute(3, number), encodeAttribute(4, expressions)]);
}

/** The text of an element's key, for people. */
export function keyText({ key }: Element): string {
  return addressText(key);
}

function type(message: number): number {
  return (SUBSYSTEM << 8) | message;
}

function header(family: number): Buffer {
  return Buffer.from([family, 0, 0, 0]);
}

function name(kind: number, text: string): Buffer {
  return encodeAttribute(kind, Buffer.from(`${text}\0`));
}

function be32(kind: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return encodeAttribute(kind, bytes);
}

function textOf(data: Buffer | undefined): string {
  const end = data?.indexOf(0) ?? -1;
  return data?.subarray(0, end === -1 ? data.length : end).toString('utf8') ?? '';
}

/** The table that a message is about. */
function placeIn({ body }: Message): string {
  return placeOf(body.readUInt8(0), textOf(decodeAttributes(body.subarray(FAMILY_LENGTH)).get(1)));
}

function placeOf(family: number, tableName: string): string {
  return `${family} ${tableName}`;
}
