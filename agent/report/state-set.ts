/**
 * States as Prometheus likes them: a gauge for each state there is, 1 for the present one and 0 for every other.
 */
import type { Gauge, LabelValues } from 'prom-client';

/** Sets a state set. `rest` are the labels that tell one set from another; `present` is null while none of the states is. */
export function setState<State extends string, Label extends string>(
  gauge: Gauge<Label>,
  label: Label,
  { states, present, rest = {} }: { readonly states: readonly State[]; readonly present: State | null; readonly rest?: object },
): void {
  for (const state of states) gauge.set({ ...rest, [label]: state } as unknown as LabelValues<Label>, state === present ? 1 : 0);
}

/** The names of a closed union, made from an object that has to hold each of them. */
export function namesOf<Name extends string>(all: Readonly<Record<Name, unknown>>): Name[] {
  return Object.keys(all) as Name[];
}
