/**
 * What the rules of a packet filter do with a packet: the few expressions of nf_tables that the agents send, carried out on bytes.
 *
 * Guarantees: an expression that it does not know ends a run with an error, so that no rule is taken for weaker or stronger than
 * it is. Chains accept what no rule drops.
 */
import { decodeAttributes } from '../../agent/link/netlink.ts';

/** A packet as it comes by a hook. */
export interface Packet {
  /** The family of tables that sees it, by number: 1 inet, 3 arp. */
  readonly family: number;
  readonly hook: number;
  /** What the expression `meta` says of it, by its key's number. */
  readonly meta: ReadonlyMap<number, Buffer>;
  readonly link: Buffer;
  readonly network: Buffer;
  readonly transport: Buffer;
  /** Whether it goes to an address of this machine. */
  readonly isForThisMachine: boolean;
}

export interface Expression {
  readonly kind: string;
  readonly attributes: ReadonlyMap<number, Buffer>;
}

/** A rule at its hook. */
export interface Hooked {
  readonly family: number;
  readonly hook: number;
  readonly steps: readonly Expression[];
  /** What a set of its table is called among those of all tables. */
  readonly placeOfSet: (set: string) => string;
}

const RTN_UNICAST = 1;
const RTN_LOCAL = 2;
const LOOKUP_INVERTED = 1;
const CMP_EQUAL = 0;
const NF_DROP = 0;

/** The attributes of a list, in which several have one type. */
export function attributesOf(data: Buffer): { readonly value: Buffer }[] {
  const found: { value: Buffer }[] = [];
  for (let offset = 0; offset + 4 <= data.length;) {
    const length = data.readUInt16LE(offset);
    if (length < 4 || offset + length > data.length) break;
    found.push({ value: data.subarray(offset + 4, offset + length) });
    offset += (length + 3) & ~3;
  }
  return found;
}

export function readExpressions(data: Buffer): Expression[] {
  return attributesOf(data).map(({ value }) => {
    const parts = decodeAttributes(value);
    return { kind: textOf(parts.get(1)), attributes: decodeAttributes(parts.get(2) ?? Buffer.alloc(0)) };
  });
}

/** The sets that expressions look into. */
export function setsIn(steps: readonly Expression[]): string[] {
  return steps.filter(({ kind }) => kind === 'lookup').map(({ attributes }) => textOf(attributes.get(1)));
}

/** Whether any rule drops a packet. `isIn` tells whether a set has an element. */
export function isDropped(packet: Packet, rules: readonly Hooked[], isIn: (set: string, value: Buffer) => boolean): boolean {
  return rules.some((rule) => rule.family === packet.family && rule.hook === packet.hook && drops(packet, rule, isIn));
}

function drops(packet: Packet, { steps, placeOfSet }: Hooked, isIn: (set: string, value: Buffer) => boolean): boolean {
  let register = Buffer.alloc(0);
  for (const { kind, attributes } of steps) {
    switch (kind) {
      case 'payload': {
        const header = [packet.link, packet.network, packet.transport][number(attributes, 2)] ?? unknown('a header');
        const [offset, length] = [number(attributes, 3), number(attributes, 4)];
        // A field that lies outside ends the rule.
        if (header.length < offset + length) return false;
        register = Buffer.from(header.subarray(offset, offset + length));
        break;
      }
      case 'meta':
        register = Buffer.from(packet.meta.get(number(attributes, 2)) ?? unknown(`meta ${number(attributes, 2)}`));
        break;
      case 'fib':
        register = Buffer.from([packet.isForThisMachine ? RTN_LOCAL : RTN_UNICAST, 0, 0, 0]);
        break;
      case 'cmp': {
        const value = decodeAttributes(attributes.get(3) ?? Buffer.alloc(0)).get(1) ?? Buffer.alloc(0);
        const isEqual = register.subarray(0, value.length).equals(value);
        if (isEqual !== (number(attributes, 2) === CMP_EQUAL)) return false;
        break;
      }
      case 'lookup': {
        const isInverted = attributes.has(5) && (number(attributes, 5) & LOOKUP_INVERTED) !== 0;
        if (isIn(placeOfSet(textOf(attributes.get(1))), register) === isInverted) return false;
        break;
      }
      case 'immediate': {
        const verdict = decodeAttributes(decodeAttributes(attributes.get(2) ?? Buffer.alloc(0)).get(2) ?? Buffer.alloc(0)).get(1);
        return verdict?.readInt32BE(0) === NF_DROP;
      }
      default:
        unknown(kind);
    }
  }
  return false;
}

function number(attributes: ReadonlyMap<number, Buffer>, kind: number): number {
  return attributes.get(kind)?.readUInt32BE(0) ?? unknown(`a missing attribute ${kind}`);
}

function unknown(what: string): never {
  throw new Error(`the modelled packet filter does not know ${what}`);
}

function textOf(data: Buffer | undefined): string {
  const end = data?.indexOf(0) ?? -1;
  return data?.subarray(0, end === -1 ? data.length : end).toString('utf8') ?? '';
}
