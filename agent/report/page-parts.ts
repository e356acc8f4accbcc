/**
 * The small parts that the page is made of: tones, glyphs, instants and ages, facts.
 */
import { markup, trusted } from './markup.ts';
import type { Markup } from './markup.ts';
import { spanText } from './page-script.ts';

/**
 * How something is doing. Each tone has a colour and a shape of its own, and stands beside words. `good`: it serves; `ready`:
 * it would; `moving`: it is on its way and ends by itself; `warn`, `bad`: a person should look; `gone`: nothing is there.
 */
export type Tone = 'good' | 'ready' | 'moving' | 'warn' | 'bad' | 'gone';

/** Each shape, where `colour` fills it and `cut` is what is cut out of it. */
const SHAPES: { readonly [Name in Tone]: (colour: string, cut: string) => string } = {
  good: (colour, cut) =>
    `<circle cx="8" cy="8" r="8" fill="${colour}"/><path d="M4.2 8.4l2.6 2.6 5-5.4" fill="none" stroke="${cut}" stroke-width="2"/>`,
  ready: (colour) => `<circle cx="8" cy="8" r="6.6" fill="none" stroke="${colour}" stroke-width="2.6"/>`,
  moving: (colour) =>
    `<circle cx="8" cy="8" r="6.8" fill="none" stroke="${colour}" stroke-width="2"/><path d="M8 3.2a4.8 4.8 0 0 1 0 9.6z" fill="${colour}"/>`,
  warn: (colour, cut) => `<path d="M8 .8l8 14.4H0z" fill="${colour}"/><path d="M8 5.6v4.6M8 11.6v2" stroke="${cut}" stroke-width="1.8"/>`,
  bad: (colour, cut) =>
    `<path d="M4.7 0h6.6L16 4.7v6.6L11.3 16H4.7L0 11.3V4.7z" fill="${colour}"/><path d="M4.9 4.9l6.2 6.2M11.1 4.9l-6.2 6.2" stroke="${cut}" stroke-width="2"/>`,
  gone: (colour) =>
    `<circle cx="8" cy="8" r="6.8" fill="none" stroke="${colour}" stroke-width="1.8"/><path d="M4.8 8h6.4" stroke="${colour}" stroke-width="1.8"/>`,
};

/** What a browser shows beside the title: seen on light and on dark ground. */
const ICON_COLOURS: { readonly [Name in Tone]: string } = {
  good: '#2da44e',
  ready: '#2da44e',
  moving: '#3b82f6',
  warn: '#d98a00',
  bad: '#e5484d',
  gone: '#8b949e',
};

export const TONES = Object.keys(SHAPES) as readonly Tone[];

/** Every shape once, to be used by its name. */
export const SPRITE: Markup = trusted(
  `<svg class="sprite" aria-hidden="true">${TONES.map(
    (tone) => `<symbol id="glyph-${tone}" viewBox="0 0 16 16">${SHAPES[tone]('currentColor', 'var(--cut)')}</symbol>`,
  ).join('')}</svg>`,
);

export function glyph(tone: Tone): Markup {
  return markup`<svg class="glyph" viewBox="0 0 16 16" aria-hidden="true"><use href="#glyph-${tone}"></use></svg>`;
}

/** The icon as an address that needs no request. */
export function iconOf(tone: Tone): string {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">${SHAPES[tone](ICON_COLOURS[tone], '#ffffff')}</svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

/** Names and sentences from outside: their writing direction stays their own. */
export function foreign(text: string): Markup {
  return markup`<bdi>${text}</bdi>`;
}

/** Facts with a name each. */
export function facts(rows: readonly (readonly [name: string, value: Markup | string])[]): Markup {
  return markup`<dl>${rows.map(([name, value]) => markup`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

/** Tells instants and ages; without a now the ages are left to the page's script, which knows it better. */
export class Times {
  readonly #nowMs: number | null;

  constructor(nowMs: number | null) {
    this.#nowMs = nowMs;
  }

  /** Whether the page's script goes on from here. */
  get isLive(): boolean {
    return this.#nowMs === null;
  }

  /** An instant as people write it. A text from outside that is none stays as it is. */
  instant(iso: string): Markup {
    const atMs = Date.parse(iso);
    if (Number.isNaN(atMs)) return foreign(iso);
    const seconds = new Date(atMs).toISOString().slice(0, 19);
    return markup`<time datetime="${seconds}Z">${seconds.replace('T', ' ')} UTC</time>`;
  }

  /** How long ago an instant was. */
  age(iso: string): Markup {
    const atMs = Math.floor(Date.parse(iso) / 1_000) * 1_000;
    if (Number.isNaN(atMs)) return markup`?`;
    return markup`<span data-age="${atMs}">${this.#nowMs === null ? '' : spanText(this.#nowMs - atMs)}</span>`;
  }

  /** How long something lasted. */
  span(ms: number): string {
    return ms < 1_000 ? `${Math.round(ms)}\u00a0ms` : spanText(ms);
  }
}
