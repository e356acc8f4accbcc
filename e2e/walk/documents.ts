/**
 * The commands of the documents: every block of shell in a Markdown file, and every line after a `$ ` in one that shows what
 * commands print; and who tries it.
 *
 * A block is tried by the walk unless a comment right above it says who else does, `<!-- tried by: .ci/run -->`, or why nobody
 * can, `<!-- tried by nobody: … -->`.
 */

export interface CommandBlock {
  /** The line of its first command, from 1 on. */
  readonly line: number;
  readonly script: string;
  readonly triedBy: TriedBy;
}

export type TriedBy =
  { readonly is: 'the walk' } | { readonly is: 'another'; readonly file: string } | { readonly is: 'nobody'; readonly why: string };

const COMMENT = /^\s*<!-- tried by(?:: (?<file>\S+)| nobody: (?<why>.+)) -->\s*$/;
const [OPENING, CLOSING] = [/^(?<indent>\s*)```(?<language>\w*)/, /^\s*```\s*$/];
const PROMPT = '$ ';

/** The blocks of shell in a document, in their order. */
export function commandBlocks(markdown: string): CommandBlock[] {
  const lines = markdown.split('\n');
  const blocks: CommandBlock[] = [];
  for (let index = 0; index < lines.length; index += 1) {
    const { indent, language } = OPENING.exec(lines[index] ?? '')?.groups ?? {};
    if (indent === undefined) continue;
    const length = lines.slice(index + 1).findIndex((line) => CLOSING.test(line));
    if (length === -1) throw new Error(`the block of line ${index + 1} has no end`);
    const shown = lines.slice(index + 1, index + 1 + length).map((line) => line.slice(indent.length));
    const typed = shown.filter((line) => line.startsWith(PROMPT)).map((line) => line.slice(PROMPT.length));
    const script = language === 'sh' ? shown : language === '' ? typed : [];
    if (script.length > 0) blocks.push({ line: index + 2, script: script.join('\n'), triedBy: triedBy(lines.slice(0, index)) });
    index += length + 1;
  }
  return blocks;
}

/** What the last line that is not empty says. */
function triedBy(before: readonly string[]): TriedBy {
  const { file, why } = COMMENT.exec(before.findLast((line) => line.trim() !== '') ?? '')?.groups ?? {};
  if (file !== undefined) return { is: 'another', file };
  return why === undefined ? { is: 'the walk' } : { is: 'nobody', why };
}
