/**
 * Draws what `npm run bench -- --json FILE` wrote down: for each fault and contestant how long it took until another node
 * served, and how long of that clients were without an answer.
 *
 * Arguments: `--json FILE` (what the benchmark wrote; docs/bench.json by default), `--svg FILE` (docs/bench.svg by default). Readable on light and on dark
 * ground, by the reader's preference. A bar is a median, its whisker goes from minimum to maximum.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from '../e2e/bench/measures.ts';
import type { BenchResult } from '../e2e/bench/report.ts';
import type { ContestantResult, FaultResult } from '../e2e/bench/side-by-side.ts';
import { misuse, readOptions, writableFile } from './arguments.ts';

const WIDTH = 760;
/** Where the bars begin, and how far the longest may reach: notes stand behind it. */
const [LEFT, RIGHT] = [130, 550];
const [ROW, BAR, GROUP_HEAD, GROUP_GAP, TOP, BOTTOM] = [20, 13, 22, 12, 62, 30];
const HALF_A_SECOND_MS = 500;

const STYLE = `
  text { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #24292f; }
  .title { font-size: 14px; font-weight: 600; } .fault { font-weight: 600; } .faint { fill: #57606a; } .note { fill: #bc4c00; font-weight: 600; }
  .grid { stroke: #d0d7de; stroke-width: 1; } .whisker { stroke: #24292f; stroke-width: 1.2; fill: none; }
  .moved { fill-opacity: 0.35; }
  .c0 { fill: #6e7781; } .c1 { fill: #a475f9; } .c2 { fill: #1f883d; } .c3 { fill: #0969da; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .faint { fill: #9198a1; } .note { fill: #f0883e; }
    .grid { stroke: #3d444d; } .whisker { stroke: #e6edf3; }
    .c0 { fill: #9198a1; } .c1 { fill: #ab7df8; } .c2 { fill: #3fb950; } .c3 { fill: #4493f8; }
  }`;
const COLOURS = 4;

/** The chart as an SVG document. Needs at least one contestant with one fault. */
export function chartOf(contestants: readonly ContestantResult[], runs: number): string {
  const faults = [...new Set(contestants.flatMap((each) => each.faults.map(({ fault }) => fault)))];
  const longestMs = Math.max(...contestants.flatMap((each) => each.faults.flatMap(({ movedMs, outageMs }) => [...movedMs, ...outageMs])));
  const spanMs = Math.ceil(longestMs / HALF_A_SECOND_MS) * HALF_A_SECOND_MS;
  const x = (ms: number): number => LEFT + (ms / spanMs) * (RIGHT - LEFT);
  const drawn: string[] = [];
  let y = TOP;
  for (const fault of faults) {
    drawn.push(`<text class="fault" x="8" y="${y + 14}">${escaped(fault)}</text>`);
    y += GROUP_HEAD;
    for (const [index, { name, faults: results }] of contestants.entries()) {
      const result = results.find((each) => each.fault === fault);
      if (result === undefined) continue;
      drawn.push(...rowOf(name, `c${index % COLOURS}`, result, y, x));
      y += ROW;
    }
    y += GROUP_GAP;
  }
  const height = y + BOTTOM;
  const what = `Seconds until another node serves, median of ${runs} with minimum and maximum`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>${what}</title>`,
    `<style>${STYLE}\n</style>`,
    `<text class="title" x="8" y="22">${what}</text>`,
    '<text class="faint" x="8" y="42">solid: clients without an answer; pale: the old node still answers them</text>',
    ...gridOf(spanMs, y, x),
    ...drawn,
    '</svg>',
    '',
  ].join('\n');
}

function rowOf(name: string, colour: string, result: FaultResult, y: number, x: (ms: number) => number): string[] {
  const { movedMs, outageMs, answering, mostAnswering } = result;
  const [least, most] = [Math.min(...movedMs), Math.max(...movedMs)];
  const middle = y + BAR / 2;
  const bar = (kind: string, ms: number): string =>
    `<rect class="${colour} ${kind}" x="${LEFT}" y="${y}" width="${(x(ms) - LEFT).toFixed(1)}" height="${BAR}" rx="2"/>`;
  const [from, to] = [x(least).toFixed(1), x(most).toFixed(1)];
  const note = noteOf(Math.max(...answering), Math.max(...mostAnswering));
  return [
    `<text x="${LEFT - 8}" y="${y + 11}" text-anchor="end">${escaped(name)}</text>`,
    bar('moved', median(movedMs)),
    bar('outage', median(outageMs)),
    `<path class="whisker" d="M${from} ${middle}H${to}M${from} ${middle - 3}v6M${to} ${middle - 3}v6"/>`,
    `<text x="${(x(most) + 7).toFixed(1)}" y="${y + 11}">${(median(movedMs) / 1_000).toFixed(2)}${note}</text>`,
  ];
}

/** What is to be said where one address was answered for by more than one node. */
function noteOf(afterwards: number, most: number): string {
  if (most <= 1) return '';
  return `<tspan class="note" dx="8">${afterwards > 1 ? `${afterwards} nodes answer` : `${most} answer on return`}</tspan>`;
}

function gridOf(spanMs: number, bottom: number, x: (ms: number) => number): string[] {
  const stepMs = spanMs > 2_000 ? 2 * HALF_A_SECOND_MS : HALF_A_SECOND_MS;
  const lines: string[] = [];
  for (let ms = 0; ms <= spanMs; ms += stepMs) {
    const at = x(ms).toFixed(1);
    lines.push(`<path class="grid" d="M${at} ${TOP - 6}V${bottom}"/>`);
    lines.push(`<text class="faint" x="${at}" y="${bottom + 16}" text-anchor="middle">${ms / 1_000}${ms === 0 ? ' s' : ''}</text>`);
  }
  return lines;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function main(): void {
  const docs = join(fileURLToPath(new URL('..', import.meta.url)), 'docs');
  const values = readOptions(process.argv.slice(2), {
    json: { type: 'string', default: join(docs, 'bench.json') },
    svg: { type: 'string', default: join(docs, 'bench.svg') },
  });
  const { sideBySide, runs } = JSON.parse(readFileSync(values.json, 'utf8')) as BenchResult;
  if (sideBySide?.some(({ faults }) => faults.length > 0) !== true) misuse(`--json=${values.json} compares nobody.`);
  writeFileSync(writableFile('svg', values.svg) ?? values.svg, chartOf(sideBySide, runs));
}

if (import.meta.main) main();
