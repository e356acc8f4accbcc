/**
 * HTML that nobody can write into from outside.
 *
 * Guarantees: whatever is put into a template is escaped, unless a template made it. So a name, a reason or an error message
 * stays text, between tags and inside a quoted attribute, whatever it contains.
 */

/** A piece of HTML. Only `markup` and `trusted` make one. */
export class Markup {
  readonly html: string;

  constructor(html: string) {
    this.html = html;
  }
}

type Part = Markup | string | number | null | readonly Part[];

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** A template literal: its own text is HTML, everything put into it is text. Null is nothing, a list is its parts in order. */
export function markup(texts: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  return new Markup(texts.map((text, index) => text + render(parts[index] ?? null)).join(''));
}

/** Text of this program that is to stand in a page as it is, such as a style sheet. Never for what came from outside. */
export function trusted(html: string): Markup {
  return new Markup(html);
}

function render(part: Part): string {
  if (part === null) return '';
  if (part instanceof Markup) return part.html;
  if (typeof part === 'string') return part.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? '');
  return typeof part === 'number' ? String(part) : part.map(render).join('');
}
