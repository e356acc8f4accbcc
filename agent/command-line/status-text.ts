/**
 * The status of a cluster as a person reads it: the Lease above, a table of nodes below, and what could not be seen.
 *
 * Guarantees: where the table is wider than the terminal it becomes a block for each node, so nothing is cut off.
 */
import type { ClusterStatus, LeaseStatus, NodeStatus } from './cluster-status.ts';
import { plain, span, wrap } from './text.ts';
import type { Paint } from './text.ts';

export interface StatusTextOptions {
  readonly width: number;
  readonly paint: Paint;
  readonly wallMs: number;
}

type Known = ClusterStatus & { is: 'known' };

const COLUMNS = ['NODE', 'ROLE', 'SINCE', 'WOULD TAKE OVER', 'INTERFACE', 'BOUND', 'VERSION'] as const;
/** Wide enough for every message, and used where nobody says how wide a line may be. */
const ENDLESS = 100_000;

export function statusText({ lease, nodes, missing }: Known, { width, paint, wallMs }: StatusTextOptions): string {
  const summary = pairs(leaseLines(lease, paint, wallMs), width);
  const warnings = nodes.flatMap((node) => node.warnings.flatMap((each) => wrap(plain(`${node.node}: ${each}`), width)));
  const notes = missing.flatMap((note) => wrap(plain(note), width));
  const parts = [
    summary,
    nodes.length === 0 ? ['No agent could be asked.'] : nodeLines(nodes, { width, paint, wallMs }),
    warnings.map((line) => paint('yellow', line)),
    notes,
  ];
  return parts
    .filter((part) => part.length > 0)
    .map((part) => `${part.join('\n')}\n`)
    .join('\n');
}

/** One line that says all that a change can be about. */
export function statusLine({ lease, nodes }: Known): string {
  const held = lease.holder === null ? 'nobody holds it' : `${lease.holder.node} holds it, term ${lease.transitions}`;
  const each = nodes.map((node) => `${node.node} ${node.role ?? 'unseen'}${node.hindrance === null ? '' : ` (${plain(node.hindrance)})`}`);
  return `${lease.namespace}/${lease.name}: ${[held, ...(lease.relief === null ? [] : [`wants relief: ${plain(lease.relief)}`]), ...each].join('; ')}`;
}

function leaseLines(lease: LeaseStatus, paint: Paint, wallMs: number): (readonly [string, string])[] {
  const { holder, since, renewed, durationMs, transitions, reason, relief, askedBy } = lease;
  const held =
    holder === null
      ? paint('red', 'nobody')
      : `${paint('bold', holder.node)}${since === null ? '' : ` for ${ageOf(since, wallMs)}, since ${atSecond(since)}`} (term ${transitions})`;
  return [
    ['Lease', `${lease.namespace}/${lease.name}`],
    ['Held by', held],
    ...(holder === null ? [] : [['Renewed', renewedText(renewed, durationMs, paint, wallMs)] as const]),
    ['Last move', reason === null ? 'nothing is written about it' : plain(reason)],
    ...(relief === null ? [] : [['Wants relief', paint('yellow', plain(relief))] as const]),
    ...(askedBy === null ? [] : [['Offer', `${askedBy} has offered to take over`] as const]),
  ];
}

/** By two clocks, that of the holder and this one, which may differ. */
function renewedText(renewed: string | null, durationMs: number | null, paint: Paint, wallMs: number): string {
  const ageMs = renewed === null ? Number.NaN : wallMs - Date.parse(renewed);
  if (Number.isNaN(ageMs)) return 'never';
  if (ageMs < 0) return 'just now (the clocks of the holder and of this machine differ)';
  const text = `${span(ageMs)} ago`;
  return durationMs !== null && ageMs > durationMs ? paint('red', `${text}: overdue, or the clocks differ`) : text;
}

function nodeLines(nodes: readonly NodeStatus[], options: StatusTextOptions): string[] {
  const rows = nodes.map((node) => cells(node, options.wallMs));
  const widths = COLUMNS.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const total = widths.reduce((sum, each) => sum + each + 2, -2);
  if (total > options.width) return blocks(nodes, rows, options);
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [options.paint('dim', line(COLUMNS)), ...rows.map((row, index) => colourOf(nodes[index], options.paint)(line(row)))];
}

/** A narrow terminal: what stands beside each other in the table stands below each other here. */
function blocks(nodes: readonly NodeStatus[], rows: readonly (readonly string[])[], { width, paint }: StatusTextOptions): string[] {
  return rows.flatMap(([node = '', ...row], index) => {
    const [, ...titles] = COLUMNS;
    const named = titles.map((title, column) => [`  ${title.charAt(0)}${title.slice(1).toLowerCase()}`, row[column] ?? ''] as const);
    return [...(index === 0 ? [] : ['']), colourOf(nodes[index], paint)(node), ...pairs(named, width)];
  });
}

function cells(node: NodeStatus, wallMs: number): string[] {
  return [
    node.node === '' ? (node.pod ?? '?') : node.node,
    node.role ?? (node.holds ? 'holder' : '?'),
    node.since === null ? '–' : ageOf(node.since, wallMs),
    plain(answerOf(node)),
    list(node.interfaces),
    list(node.bound),
    node.version ?? '–',
  ];
}

/** What a node would say if it were asked to take over. */
function answerOf({ problem, holds, role, hindrance, healthy }: NodeStatus): string {
  if (problem !== null) return `? ${problem}`;
  if (holds) return healthy === false ? 'holds it, unhealthy' : 'holds it';
  if (hindrance !== null) return `no: ${hindrance}`;
  if (role === 'leaving' || role === 'stopped' || role === 'stepping-down') return `no: it is ${role}`;
  return role === 'starting' ? 'not yet: it is starting' : 'yes';
}

function colourOf(node: NodeStatus | undefined, paint: Paint): (text: string) => string {
  if (node?.problem !== null) return (text) => paint('dim', text);
  if (node.hindrance !== null || node.healthy === false) return (text) => paint('yellow', text);
  return node.holds ? (text) => paint('green', text) : (text) => text;
}

function pairs(rows: readonly (readonly [title: string, text: string])[], width: number): string[] {
  const widest = Math.max(...rows.map(([title]) => title.length));
  return rows.flatMap(([title, text]) =>
    wrap(text, Math.min(ENDLESS, width - widest - 2)).map((line, index) =>
      `${(index === 0 ? title : '').padEnd(widest)}  ${line}`.trimEnd(),
    ),
  );
}

function list(texts: readonly string[]): string {
  return texts.length === 0 ? '–' : texts.join(', ');
}

function ageOf(time: string, wallMs: number): string {
  const atMs = Date.parse(time);
  return Number.isNaN(atMs) ? '?' : span(wallMs - atMs);
}

function atSecond(time: string): string {
  const atMs = Date.parse(time);
  return Number.isNaN(atMs) ? plain(time) : new Date(atMs).toISOString().replace('T', ' ').replace(/\..*$/, ' UTC');
}
