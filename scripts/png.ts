/**
 * Makes a picture of a page small: at most 256 colours, as a PNG with a palette, deflated as far as that goes.
 *
 * Reads what a browser writes: 8 bits a channel, not interlaced, with or without transparency, which is dropped. Colours that are
 * almost the same become one; a page has few, and the rest are the edges of letters.
 */
import { crc32, deflateSync, inflateSync } from 'node:zlib';

const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
const COLOURS_MAX = 256;
/** Red, green and blue. */
const CHANNELS = 3;

interface Picture {
  readonly width: number;
  readonly height: number;
  /** One number for each pixel: 0xRRGGBB. */
  readonly pixels: Uint32Array;
}

export function shrunk(png: Buffer): Buffer {
  const picture = decode(png);
  const palette = paletteOf(picture.pixels);
  const nearest = new Map<number, number>();
  const rows = Buffer.alloc((picture.width + 1) * picture.height);
  for (const [at, colour] of picture.pixels.entries()) {
    let index = nearest.get(colour);
    if (index === undefined) nearest.set(colour, (index = nearestOf(palette, colour)));
    // Each row begins with the filter that it went through: none.
    rows[Math.floor(at / picture.width) * (picture.width + 1) + 1 + (at % picture.width)] = index;
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(picture.width, 0);
  header.writeUInt32BE(picture.height, 4);
  header.set([8, 3], 8);
  const colours = Buffer.from(palette.flatMap((colour) => [colour >> 16, (colour >> 8) & 255, colour & 255]));
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('PLTE', colours),
    chunk('IDAT', deflateSync(rows, { level: 9, memLevel: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** The most frequent colours that differ from each other by more than a step, which grows until they are few enough. */
function paletteOf(pixels: Uint32Array): number[] {
  const counts = new Map<number, number>();
  for (const colour of pixels) counts.set(colour, (counts.get(colour) ?? 0) + 1);
  const byFrequency = [...counts].sort(([, a], [, b]) => b - a).map(([colour]) => colour);
  for (let step = 0; ; step += 2) {
    const palette: number[] = [];
    for (const colour of byFrequency) {
      if (palette.every((chosen) => distance(chosen, colour) > step)) palette.push(colour);
      if (palette.length > COLOURS_MAX) break;
    }
    if (palette.length <= COLOURS_MAX) return palette;
  }
}

function nearestOf(palette: readonly number[], colour: number): number {
  let best = 0;
  for (const [index, chosen] of palette.entries()) if (distance(chosen, colour) < distance(palette[best] ?? 0, colour)) best = index;
  return best;
}

/** By the channel that differs most. */
function distance(a: number, b: number): number {
  return Math.max(...[16, 8, 0].map((shift) => Math.abs(((a >> shift) & 255) - ((b >> shift) & 255))));
}

function decode(png: Buffer): Picture {
  const parts: Buffer[] = [];
  let header = Buffer.alloc(0);
  for (let at = SIGNATURE.length; at < png.length;) {
    const length = png.readUInt32BE(at);
    const body = png.subarray(at + 8, at + 8 + length);
    const type = png.toString('latin1', at + 4, at + 8);
    if (type === 'IHDR') header = Buffer.from(body);
    if (type === 'IDAT') parts.push(body);
    at += length + 12;
  }
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const [depth, kind, , , interlaced] = header.subarray(8);
  const step = kind === 6 ? CHANNELS + 1 : CHANNELS;
  if (depth !== 8 || (kind !== 2 && kind !== 6) || interlaced !== 0) throw new Error(`no PNG as a browser writes it: ${depth}, ${kind}`);
  const bytes = unfiltered(inflateSync(Buffer.concat(parts)), width * step, height, step);
  const pixels = new Uint32Array(width * height).map((_, index) => bytes.readUIntBE(index * step, CHANNELS));
  return { width, height, pixels };
}

/** Undoes the filter of each row, as the PNG specification describes them. */
function unfiltered(rows: Buffer, rowLength: number, height: number, step: number): Buffer {
  const bytes = Buffer.alloc(rowLength * height);
  for (let y = 0; y < height; y += 1) {
    const filter = rows[y * (rowLength + 1)] ?? 0;
    for (let x = 0; x < rowLength; x += 1) {
      const at = y * rowLength + x;
      const left = x < step ? 0 : (bytes[at - step] ?? 0);
      const up = y === 0 ? 0 : (bytes[at - rowLength] ?? 0);
      const corner = x < step || y === 0 ? 0 : (bytes[at - rowLength - step] ?? 0);
      const predicted = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter] ?? 0;
      bytes[at] = (rows[y * (rowLength + 1) + 1 + x] ?? 0) + predicted;
    }
  }
  return bytes;
}

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [byLeft, byUp, byCorner] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  if (byLeft <= byUp && byLeft <= byCorner) return left;
  return byUp <= byCorner ? up : corner;
}

function chunk(type: string, body: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), body]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(body.length);
  sum.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, sum]);
}
