/**
 * Messages to the kernel's packet filter: tables, chains, rules and sets of nf_tables (<linux/netfilter/nf_tables.h>,
 * <linux/netfilter/nfnetlink.h>), with just the expressions that the fence is made of.
 *
 * Guarantees: nothing is decided here. Numbers in attributes are big-endian, as nf_tables wants them.
 */
import { decodeAttributes, encodeAttribute, NLM_F_APPEND, NLM_F_CREATE } from './netlink.ts';
import type { Message } from './netlink.ts';
import type { Request } from './netlink-socket.ts';

const NFNL_SUBSYS_NFTABLES = 10;
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
const NFT_MSG_NEWTABLE = 0;
const NFT_MSG_GETTABLE = 1;
const NFT_MSG_DELTABLE = 2;
const NFT_MSG_NEWCHAIN = 3;
const NFT_MSG_NEWRULE = 6;
const NFT_MSG_GETRULE = 7;
const NFT_MSG_NEWSET = 9;
const NFT_MSG_NEWSETELEM = 12;
const NFT_MSG_DELSETELEM = 14;
const NFT_MSG_GETGEN = 16;

/** The families of tables, by their numbers in <linux/netfilter.h>. */
const FAMILIES = { any: 0, inet: 1, arp: 3 } as const;
export type TableFamily = Exclude<keyof typeof FAMILIES, 'any'>;

/** Hooks of the two families, by their numbers. */
const HOOKS = { inet: { prerouting: 0, output: 3, postrouting: 4 }, arp: { input: 0, output: 1 } } as const;
export type Hook = 'prerouting' | 'input' | 'output' | 'postrouting';

const NESTED = 0x8000;
const NFT_SET_TIMEOUT = 0x10;
/** What `nft list` shows the elements of a set as. */
const KEY_TYPES: Readonly<Record<number, number>> = { 4: 7, 16: 8 };
const REGISTER = 1;
const VERDICT_REGISTER = 0;
const NF_DROP = 0;

/** Keys of the expression `meta`. */
const META_KEYS = { iifname: 6, oifname: 7, nfproto: 15 } as const;
const PAYLOAD_BASES = { link: 0, network: 1 } as const;
const NFT_FIB_RESULT_ADDRTYPE = 3;
const NFTA_FIB_F_DADDR = 2;
const NFT_LOOKUP_F_INV = 1;
const RTN_LOCAL = 2;

/** One step of a rule, as encoded expressions; a rule ends where a step does not hold. */
export type Step = readonly Buffer[];

/** The message that begins a transaction, and the one that ends it. */
export const BATCH: { readonly begin: Request; readonly end: Request } = {
  begin: { type: NFNL_MSG_BATCH_BEGIN, flags: 0, body: header(FAMILIES.any, NFNL_SUBSYS_NFTABLES) },
  end: { type: NFNL_MSG_BATCH_END, flags: 0, body: header(FAMILIES.any, NFNL_SUBSYS_NFTABLES) },
};

export function newTable(family: TableFamily, table: string): Request {
  return request(NFT_MSG_NEWTABLE, NLM_F_CREATE, family, [name(1, table)]);
}

/** Deletes a table with all that is in it. */
export function deleteTable(family: TableFamily, table: string): Request {
  return request(NFT_MSG_DELTABLE, 0, family, [name(1, table)]);
}

/** A chain that the kernel sends packets through; what no rule drops goes on. */
export function newChain(family: TableFamily, table: string, hook: Hook, priority: number): Request {
  const hooks: Partial<Record<Hook, number>> = HOOKS[family];
  const number = hooks[hook];
  if (number === undefined) throw new Error(`the family ${family} has no hook ${hook}`);
  return request(NFT_MSG_NEWCHAIN, NLM_F_CREATE, family, [
    name(1, table),
    name(3, hook),
    nested(4, [be32(1, number), be32(2, priority)]),
    name(7, 'filter'),
  ]);
}

/** A set of addresses of so many bytes, whose elements may have an end. `id` tells it from others of the same transaction. */
export function newSet(family: TableFamily, table: string, set: string, keyLength: number, id: number): Request {
  return request(NFT_MSG_NEWSET, NLM_F_CREATE, family, [
    name(1, table),
    name(2, set),
    be32(3, NFT_SET_TIMEOUT),
    be32(4, KEY_TYPES[keyLength] ?? 0),
    be32(5, keyLength),
    be32(10, id),
  ]);
}

/** Adds an element that the kernel removes after `timeoutMs`. */
export function newElement(family: TableFamily, table: string, set: string, key: Buffer, timeoutMs: number): Request {
  const timeout = Buffer.alloc(8);
  timeout.writeBigUInt64BE(BigInt(timeoutMs));
  const element = nested(1, [data(1, key), encodeAttribute(4, timeout)]);
  return request(NFT_MSG_NEWSETELEM, NLM_F_CREATE, family, [name(1, table), name(2, set), nested(3, [element])]);
}

export function deleteElement(family: TableFamily, table: string, set: string, key: Buffer): Request {
  return request(NFT_MSG_DELSETELEM, 0, family, [name(1, table), name(2, set), nested(3, [nested(1, [data(1, key)])])]);
}

/** A rule that drops what all its steps hold for. */
export function newDropRule(family: TableFamily, table: string, chain: Hook, steps: readonly Step[]): Request {
  const drop = expression('immediate', [be32(1, VERDICT_REGISTER), nested(2, [nested(2, [be32(1, NF_DROP)])])]);
  return request(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family, [
    name(1, table),
    name(2, chain),
    nested(4, [...steps.flat(), drop]),
  ]);
}

/** Bytes of a packet, by their place in a header. */
export interface Field {
  readonly base: keyof typeof PAYLOAD_BASES;
  readonly offset: number;
  readonly length: number;
}

/** Holds where a field is, or is not, a value. */
export function fieldIs(field: Field, value: Buffer, isNot = false): Step {
  return [loadField(field), compare(value, isNot)];
}

/** Holds where a field is no element of a set. */
export function fieldNotIn(field: Field, set: string): Step {
  return [loadField(field), expression('lookup', [name(1, set), be32(2, REGISTER), be32(5, NFT_LOOKUP_F_INV)])];
}

/** Holds where something about the packet is a value. */
export function metaIs(key: keyof typeof META_KEYS, value: Buffer): Step {
  return [expression('meta', [be32(1, REGISTER), be32(2, META_KEYS[key])]), compare(value, false)];
}

/** Holds where the packet goes to an address of this machine. */
export function isForThisMachine(): Step {
  const local = Buffer.alloc(4);
  local.writeUInt32LE(RTN_LOCAL);
  const load = expression('fib', [be32(1, REGISTER), be32(2, NFT_FIB_RESULT_ADDRTYPE), be32(3, NFTA_FIB_F_DADDR)]);
  return [load, compare(local, false)];
}

/** Asks for the number of the last transaction of anybody in this namespace. */
export const GET_GENERATION: Request = { type: typeOf(NFT_MSG_GETGEN), flags: 0, body: header(FAMILIES.any, 0) };

/** Reads the answer to that, or null. */
export function generationOf({ body }: Message): number | null {
  const id = decodeAttributes(body.subarray(4)).get(1);
  return id !== undefined && id.length >= 4 ? id.readUInt32BE(0) : null;
}

/** Asks for a table. */
export function getTable(family: TableFamily, table: string): Request {
  return request(NFT_MSG_GETTABLE, 0, family, [name(1, table)]);
}

/** Whether a table, as an answer shows it, has been put to sleep (NFT_TABLE_F_DORMANT). */
export function isDormant({ body }: Message): boolean {
  const flags = decodeAttributes(body.subarray(4)).get(2);
  return flags !== undefined && flags.length >= 4 && (flags.readUInt32BE(0) & 1) === 1;
}

/** Asks for all rules of a table. */
export function listRules(family: TableFamily, table: string): Request {
  return request(NFT_MSG_GETRULE, 0, family, [name(1, table)]);
}

/** Whether a message is a rule of a table. */
export function isRuleOf({ type, body }: Message, table: string): boolean {
  return type === typeOf(NFT_MSG_NEWRULE) && decodeAttributes(body.subarray(4)).get(1)?.toString('utf8') === `${table}\0`;
}

function loadField({ base, offset, length }: Field): Buffer {
  return expression('payload', [be32(1, REGISTER), be32(2, PAYLOAD_BASES[base]), be32(3, offset), be32(4, length)]);
}

function compare(value: Buffer, isNot: boolean): Buffer {
  return expression('cmp', [be32(1, REGISTER), be32(2, isNot ? 1 : 0), data(3, value)]);
}

function expression(kind: string, attributes: readonly Buffer[]): Buffer {
  return nested(1, [name(1, kind), nested(2, attributes)]);
}

function request(message: number, flags: number, family: TableFamily, attributes: readonly Buffer[]): Request {
  return { type: typeOf(message), flags, body: Buffer.concat([header(FAMILIES[family], 0), ...attributes]) };
}

function typeOf(message: number): number {
  return (NFNL_SUBSYS_NFTABLES << 8) | message;
}

/** The fixed part of each message (struct nfgenmsg). */
function header(family: number, resource: number): Buffer {
  const fixed = Buffer.alloc(4);
  fixed.writeUInt8(family, 0);
  fixed.writeUInt16BE(resource, 2);
  return fixed;
}

function nested(type: number, attributes: readonly Buffer[]): Buffer {
  return encodeAttribute(type | NESTED, Buffer.concat(attributes));
}

function data(type: number, value: Buffer): Buffer {
  return nested(type, [encodeAttribute(1, value)]);
}

function name(type: number, text: string): Buffer {
  return encodeAttribute(type, Buffer.from(`${text}\0`));
}

function be32(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value | 0);
  return encodeAttribute(type, bytes);
}
