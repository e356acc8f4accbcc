/**
 * Text for terminals: broken into lines, coloured where that is wanted, and spans of time as people say them.
 */

/** Breaks a text between words, so that no line is longer than `width`, unless a single word is. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > Math.max(20, width)) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

export type Colour = 'green' | 'yellow' | 'red' | 'bold' | 'dim';

/** Colours a text, or leaves it as it is. */
export type Paint = (colour: Colour, text: string) => string;

const CODES: { readonly [Each in Colour]: number } = { green: 32, yellow: 33, red: 31, bold: 1, dim: 2 };

export function painter(hasColours: boolean): Paint {
  return (colour, text) => (hasColours ? `\u001b[${CODES[colour]}m${text}\u001b[0m` : text);
}

const UNITS = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'm'],
  [1_000, 's'],
] as const;

/** A span as people say it: its two largest units, such as `2h 3m`; below ten seconds with a tenth. */
export function span(ms: number): string {
  if (ms < 10_000) return `${Math.max(0, Math.round(ms / 100) / 10)}s`;
  const first = UNITS.findIndex(([unitMs]) => ms >= unitMs);
  const [[unitMs, unit] = [1_000, 's'], second] = UNITS.slice(first, first + 2);
  const rest = second === undefined ? 0 : Math.floor((ms % unitMs) / second[0]);
  return `${Math.floor(ms / unitMs)}${unit}${rest === 0 || second === undefined ? '' : ` ${rest}${second[1]}`}`;
}

/** Control characters of somebody else's text would move the cursor about. */
export function plain(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}
