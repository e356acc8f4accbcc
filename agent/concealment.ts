/**
 * Takes secrets out of what others say, at the seams where it comes in.
 *
 * Guarantees: of what a provider or the Kubernetes API answers, the sentences that people will read hold no secret that is known,
 * wherever they go from here: into logs, status, Events, the Lease. What the agent acts on stays as it was said.
 */
import type { LeaseTrouble, Owner } from './contender/input.ts';
import type { Finding } from './finding.ts';
import type { LeaseStore, Provider } from './ports.ts';

/** Replaces every secret in a text. */
export type Conceal = (text: string) => string;

/** The same provider, with secrets taken out of what it says. */
export function concealingProvider(provider: Provider, conceal: Conceal): Provider {
  return {
    kind: provider.kind,
    prepare: async (signal) => {
      const readiness = await provider.prepare(signal);
      return { ...readiness, reason: conceal(readiness.reason) };
    },
    check: (signal) => provider.check(signal),
    owner: async (address, signal) => concealOwner(await provider.owner(address, signal), conceal),
    claim: async (address, terms) => {
      const outcome = await provider.claim(address, terms);
      return outcome.is === 'failed' ? { ...outcome, message: conceal(outcome.message) } : outcome;
    },
  };
}

/** The same data, with secrets taken out of every text in it, however deep. */
export function concealingData<Data>(data: Data, conceal: Conceal): Data {
  if (typeof data === 'string') return conceal(data) as Data;
  if (Array.isArray(data)) return data.map((each: unknown) => concealingData(each, conceal)) as Data;
  if (typeof data !== 'object' || data === null) return data;
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, concealingData<unknown>(value, conceal)])) as Data;
}

/** The same findings, with secrets taken out of what they say. */
export function concealingFindings(findings: readonly Finding[], conceal: Conceal): Finding[] {
  return findings.map((finding) => ({
    ...finding,
    message: conceal(finding.message),
    advice: finding.advice === null ? null : conceal(finding.advice),
  }));
}

/** The same store, with secrets taken out of what is said of its troubles. */
export function concealingStore(store: LeaseStore, conceal: Conceal): LeaseStore {
  const without = <Outcome extends { readonly is: string }>(outcome: Outcome | LeaseTrouble): Outcome | LeaseTrouble =>
    'message' in outcome ? { ...outcome, message: conceal(outcome.message) } : outcome;
  return {
    read: async (timeoutMs, signal) => without(await store.read(timeoutMs, signal)),
    write: async (command, signal) => without(await store.write(command, signal)),
  };
}

function concealOwner(owner: Owner, conceal: Conceal): Owner {
  switch (owner.is) {
    case 'other':
      return { ...owner, name: conceal(owner.name) };
    case 'unknown':
      return { ...owner, message: conceal(owner.message) };
    case 'self':
    case 'nobody':
      return owner;
  }
}
