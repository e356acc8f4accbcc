/**
 * Draws a failover as it happened: what each node had of the address, and who answered clients, over the seconds.
 *
 * Guarantees: nothing is drawn that was not recorded. The picture plays itself in the time that it took, again and again; for
 * a reader who wants less motion it stands still. Readable on light and on dark ground, by the reader's preference.
 */

/** What was seen from one instant until the next one. */
export interface Sight {
  /** Milliseconds since the recording began. */
  readonly atMs: number;
  /** The node that the Lease names. */
  readonly holder: string | null;
  /** The nodes that have the address bound. */
  readonly boundOn: readonly string[];
  /** The node that the traffic goes to. */
  readonly owner: string | null;
}

/** One connection that a client tried to open, and the node that answered; null where none did. */
export interface Try {
  readonly atMs: number;
  readonly by: string | null;
}

export interface Recording {
  readonly title: string;
  readonly nodes: readonly string[];
  readonly lengthMs: number;
  /** What was done, and when. */
  readonly acts: readonly { readonly atMs: number; readonly text: string }[];
  /** In their order; each holds until the next one. */
  readonly sights: readonly Sight[];
  readonly tries: readonly Try[];
}

/** A stretch of time in which something was so. */
interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

const WIDTH = 760;
const [LEFT, RIGHT] = [110, 744];
const [TOP, LANE, BAR] = [84, 44, 26];
const SECOND_MS = 1_000;
/** How long the finished picture stands before it plays again. */
const REST_MS = 4_000;

const STYLE = `
  text { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #24292f; }
  .title { font-size: 14px; font-weight: 600; } .node { font-weight: 600; } .faint { fill: #57606a; } .act { fill: #bc4c00; font-weight: 600; }
  .grid { stroke: #d0d7de; } .mark { stroke: #bc4c00; stroke-dasharray: 3 3; } .ground { fill: #ffffff; }
  .bound { fill: #54aeff; fill-opacity: 0.3; } .traffic { fill: #0969da; } .lease { fill: #8250df; } .answer { fill: #1f883d; } .silence { fill: #cf222e; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .faint { fill: #9198a1; } .act { fill: #f0883e; } .grid { stroke: #3d444d; } .mark { stroke: #f0883e; } .ground { fill: #0d1117; }
    .bound { fill: #4493f8; } .traffic { fill: #4493f8; } .lease { fill: #ab7df8; } .answer { fill: #3fb950; } .silence { fill: #f85149; }
  }`;

/** The stretches of time in which a sight was such. */
export function spansOf({ sights, lengthMs }: Recording, isSuch: (sight: Sight) => boolean): Span[] {
  const spans: Span[] = [];
  for (const [index, sight] of sights.entries()) {
    const toMs = sights[index + 1]?.atMs ?? lengthMs;
    const last = spans.at(-1);
    if (!isSuch(sight)) continue;
    if (last?.toMs === sight.atMs) spans[spans.length - 1] = { fromMs: last.fromMs, toMs };
    else spans.push({ fromMs: sight.atMs, toMs });
  }
  return spans;
}

/** The stretches of time in which clients were, or were not, answered: each attempt speaks for the time until the next. */
export function answersOf({ tries, lengthMs }: Recording, isAnswered: boolean): Span[] {
  const inOrder = [...tries].sort((a, b) => a.atMs - b.atMs);
  const spans: Span[] = [];
  for (const [index, { atMs, by }] of inOrder.entries()) {
    if ((by !== null) !== isAnswered) continue;
    const toMs = inOrder[index + 1]?.atMs ?? lengthMs;
    const last = spans.at(-1);
    if (last?.toMs === atMs) spans[spans.length - 1] = { fromMs: last.fromMs, toMs };
    else spans.push({ fromMs: atMs, toMs });
  }
  return spans;
}

/** The picture as an SVG document. */
export function timelineOf(recording: Recording): string {
  const { title, nodes, lengthMs, acts } = recording;
  const x = (ms: number): number => LEFT + (Math.min(lengthMs, Math.max(0, ms)) / lengthMs) * (RIGHT - LEFT);
  const bottom = TOP + (nodes.length + 1) * LANE;
  const height = bottom + 56;
  const bar = (kind: string, { fromMs, toMs }: Span, y: number, thickness: number): string =>
    `<rect class="${kind}" x="${x(fromMs).toFixed(1)}" y="${y}" width="${Math.max(1, x(toMs) - x(fromMs)).toFixed(1)}" height="${thickness}" rx="2"/>`;
  const lanes = nodes.flatMap((node, index) => {
    const y = TOP + index * LANE;
    return [
      ...spansOf(recording, ({ boundOn }) => boundOn.includes(node)).map((span) => bar('bound', span, y, BAR)),
      ...spansOf(recording, ({ owner }) => owner === node).map((span) => bar('traffic', span, y + 9, 8)),
      ...spansOf(recording, ({ holder }) => holder === node).map((span) => bar('lease', span, y, 4)),
    ];
  });
  const clients = TOP + nodes.length * LANE;
  const silence = answersOf(recording, false);
  const silentMs = silence.reduce((sum, { fromMs, toMs }) => sum + toMs - fromMs, 0);
  const names = [...nodes, 'clients'].map(
    (name, index) => `<text class="node" x="${LEFT - 10}" y="${TOP + index * LANE + 17}" text-anchor="end">${escaped(name)}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>${escaped(title)}: clients were without an answer for ${(silentMs / SECOND_MS).toFixed(2)} s</title>`,
    `<style>${STYLE}${motion(lengthMs)}\n</style>`,
    `<rect class="ground" width="${WIDTH}" height="${height}"/>`,
    `<text class="title" x="8" y="22">${escaped(title)}</text>`,
    ...names,
    ...lanes,
    ...answersOf(recording, true).map((span) => bar('answer', span, clients + 6, 12)),
    ...silence.map((span) => bar('silence', span, clients + 6, 12)),
    `<rect class="ground cover" x="${LEFT}" y="${TOP - 2}" width="${RIGHT - LEFT}" height="${bottom - TOP}"/>`,
    ...seconds(lengthMs, bottom, x),
    ...acts.map(({ atMs, text }, index) => actOf(text, x(atMs), bottom, index)),
    ...legend(bottom + 44),
    '</svg>',
    '',
  ].join('\n');
}

/** A cover draws back from left to right in the time that it took. */
function motion(lengthMs: number): string {
  const wholeMs = lengthMs + REST_MS;
  const share = ((lengthMs / wholeMs) * 100).toFixed(1);
  return `
  .cover { display: none; transform-origin: ${RIGHT}px 0; }
  @keyframes draw-back { from { transform: scaleX(1); } ${share}%, to { transform: scaleX(0); } }
  @media (prefers-reduced-motion: no-preference) { .cover { display: inline; animation: draw-back ${(wholeMs / SECOND_MS).toFixed(1)}s linear infinite; } }`;
}

function seconds(lengthMs: number, bottom: number, x: (ms: number) => number): string[] {
  const lines: string[] = [];
  for (let ms = 0; ms <= lengthMs; ms += SECOND_MS) {
    const at = x(ms).toFixed(1);
    lines.push(`<path class="grid" d="M${at} ${TOP - 10}V${bottom}"/>`);
    lines.push(`<text class="faint" x="${at}" y="${bottom + 16}" text-anchor="middle">${ms / SECOND_MS}${ms === 0 ? ' s' : ''}</text>`);
  }
  return lines;
}

/** Each on a line of its own in turn, so that two that come close do not cover each other. */
function actOf(text: string, at: number, bottom: number, index: number): string {
  const y = 44 + (index % 2) * 16;
  const isLate = at > (LEFT + RIGHT) / 2;
  return [
    `<path class="mark" d="M${at.toFixed(1)} ${y + 4}V${bottom}"/>`,
    `<text class="act" x="${(at + (isLate ? -5 : 5)).toFixed(1)}" y="${y}" text-anchor="${isLate ? 'end' : 'start'}">${escaped(text)}</text>`,
  ].join('');
}

function legend(y: number): string[] {
  const entries = [
    ['lease', 'holds the Lease'],
    ['bound', 'has it bound'],
    ['traffic', 'traffic goes here'],
    ['answer', 'clients answered'],
    ['silence', 'clients not answered'],
  ] as const;
  return entries.map(([kind, text], index) => {
    const at = 8 + index * 152;
    return `<rect class="${kind}" x="${at}" y="${y - 9}" width="14" height="10" rx="2"/><text class="faint" x="${at + 19}" y="${y}">${text}</text>`;
  });
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
