/**
 * Netlink messages and their attributes: building requests and reading answers (netlink(7)).
 *
 * Guarantees: reading stops at the first length that makes no sense and never runs past the end of a message. Nothing is
 * decided here. Numbers are little-endian, as on every machine that Leasehold runs on, unless their reader says otherwise.
 */

// Flags and types from <linux/netlink.h>.
export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;

const HEADER_LENGTH = 16;
const ATTRIBUTE_HEADER_LENGTH = 4;
/** The two highest bits of an attribute's type say how its value is laid out and are no part of the type. */
const ATTRIBUTE_TYPE_MASK = 0x3fff;

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Buffer;
}

/** Builds one message. The kernel answers it under the same sequence number. */
export function encodeMessage(type: number, flags: number, sequence: number, body: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_LENGTH);
  header.writeUInt32LE(HEADER_LENGTH + body.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(sequence, 8);
  return Buffer.concat([header, body]);
}

export function encodeAttribute(type: number, data: Buffer): Buffer {
  const length = ATTRIBUTE_HEADER_LENGTH + data.length;
  const attribute = Buffer.alloc(align(length));
  attribute.writeUInt16LE(length, 0);
  attribute.writeUInt16LE(type, 2);
  data.copy(attribute, ATTRIBUTE_HEADER_LENGTH);
  return attribute;
}

/** Reads the messages of one datagram. */
export function decodeMessages(datagram: Buffer): Message[] {
  const messages: Message[] = [];
  for (let offset = 0; offset + HEADER_LENGTH <= datagram.length;) {
    const length = datagram.readUInt32LE(offset);
    if (length < HEADER_LENGTH || offset + length > datagram.length) break;
    messages.push({
      type: datagram.readUInt16LE(offset + 4),
      flags: datagram.readUInt16LE(offset + 6),
      sequence: datagram.readUInt32LE(offset + 8),
      body: datagram.subarray(offset + HEADER_LENGTH, offset + length),
    });
    offset += align(length);
  }
  return messages;
}

/** The error number that an answer ends with (0 for success), or null for a message that ends none. */
export function errorOf({ type, body }: Message): number | null {
  if (type !== NLMSG_ERROR && type !== NLMSG_DONE) return null;
  // A dump that fails after it has begun says so in its last message.
  return body.length < 4 ? 0 : Math.max(0, -body.readInt32LE(0));
}

/** Reads attributes by their types; of several of one type the last. */
export function decodeAttributes(data: Buffer): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  for (let offset = 0; offset + ATTRIBUTE_HEADER_LENGTH <= data.length;) {
    const length = data.readUInt16LE(offset);
    if (length < ATTRIBUTE_HEADER_LENGTH || offset + length > data.length) break;
    attributes.set(data.readUInt16LE(offset + 2) & ATTRIBUTE_TYPE_MASK, data.subarray(offset + ATTRIBUTE_HEADER_LENGTH, offset + length));
    offset += align(length);
  }
  return attributes;
}

export function uint32(value: number): Buffer {
  const data = Buffer.alloc(4);
  data.writeUInt32LE(value, 0);
  return data;
}

export function align(length: number): number {
  return (length + 3) & ~3;
}
