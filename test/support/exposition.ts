/**
 * Reads what an agent shows at `/metrics`.
 */
import assert from 'node:assert/strict';

export type Labels = Readonly<Record<string, string>>;

/** One line that holds a value. */
export interface Series {
  readonly name: string;
  readonly labels: Labels;
  readonly value: number;
}

export class Exposition {
  readonly all: readonly Series[];

  constructor(all: readonly Series[]) {
    this.all = all;
  }

  /** Every series of a name. */
  series(name: string): Series[] {
    return this.all.filter((each) => each.name === name);
  }

  /** The value of the one series that has exactly these labels. Fails when there is none. */
  value(name: string, labels: Labels): number {
    const wanted = key(labels);
    const found = this.series(name).find((each) => key(each.labels) === wanted);
    assert.ok(
      found,
      `there is no ${name}{${wanted}} among ${this.series(name)
        .map((each) => key(each.labels))
        .join(' ')}`,
    );
    return found.value;
  }

  sum(name: string): number {
    return this.series(name).reduce((sum, { value }) => sum + value, 0);
  }
}

const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;

/** Reads Prometheus' text format, of which only what our library writes. */
export function parseExposition(text: string): Exposition {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Exposition(
    lines.map((line) => {
      const [, name = '', labels = '', value = ''] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? assert.fail(line);
      return {
        name,
        labels: Object.fromEntries([...labels.matchAll(LABEL)].map(([, label = '', text = '']) => [label, text] as const)),
        value: Number(value.replace('Inf', 'Infinity')),
      };
    }),
  );
}

function key(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${value}"`)
    .sort()
    .join();
}
