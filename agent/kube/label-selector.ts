/**
 * Whether labels match a label selector as it stands in an object: what the scheduler asks of an affinity term.
 *
 * Guarantees: as the API defines it: an empty selector matches everything, a missing one nothing, and an operator that is not
 * known matches nothing.
 */
import { at, listAt, stringAt } from '../json.ts';

export type Labels = Readonly<Record<string, string>>;

/** Takes the JSON of a LabelSelector with its `matchLabels` and `matchExpressions`. */
export function matchesSelector(selector: unknown, labels: Labels): boolean {
  if (typeof selector !== 'object' || selector === null) return false;
  const wanted = Object.entries((at(selector, 'matchLabels') ?? {}) as Readonly<Record<string, unknown>>);
  const expressions = listAt(selector, 'matchExpressions') ?? [];
  return wanted.every(([key, value]) => labelOf(labels, key) === value) && expressions.every((each) => matchesExpression(each, labels));
}

function matchesExpression(expression: unknown, labels: Labels): boolean {
  const value = labelOf(labels, stringAt(expression, 'key') ?? '');
  const values = listAt(expression, 'values') ?? [];
  switch (stringAt(expression, 'operator')) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      return false;
  }
}

function labelOf(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}
