/**
 * The one document that says what an agent is doing: `/status`.
 *
 * Guarantees: plain data without credentials. Field names are for people and programs alike and only ever grow.
 */
import type { Owner } from '../contender/input.ts';
import { nodeOfIdentity, termOf } from '../contender/lease.ts';
import { hindranceOf } from '../contender/candidate.ts';
import { isAlone, officeTerm, roleOf } from '../contender/state.ts';
import type { AddressState, Contender } from '../contender/state.ts';
import type { TransitionEntry } from './journal.ts';

export interface StatusSources {
  readonly version: string;
  readonly lease: { readonly namespace: string; readonly name: string };
  readonly provider: { readonly name: string; readonly problem: string | null };
  readonly watch: { readonly stands: boolean; readonly problem: string | null };
  readonly contender: Contender;
  readonly nowMs: number;
  readonly wallMs: number;
  readonly owners: ReadonlyMap<string, { readonly owner: Owner; readonly atMs: number }>;
  readonly probes: unknown;
  readonly readinessProblems: readonly string[];
  readonly transitions: readonly TransitionEntry[];
  /** What the checks at start have found; null while they run. */
  readonly preflight: unknown;
  readonly droppedLogLines: number;
}

/** Builds the document. Instants are in UTC by the node's wall clock, spans in milliseconds. */
export function statusDocument(sources: StatusSources): object {
  const { contender, nowMs, wallMs } = sources;
  const { life, settings, observation } = contender;
  const toWall = (atMs: number): string => new Date(wallMs + atMs - nowMs).toISOString();
  const record = observation === null || observation.sight === 'absent' ? null : observation.sight;
  const office = life.is === 'holding' ? life.office : null;
  return {
    version: sources.version,
    node: settings.node,
    identity: settings.identity,
    role: roleOf(contender),
    since: toWall(contender.roleSinceMs),
    hindrance: life.is === 'standby' ? (hindranceOf(contender)?.reason ?? null) : null,
    relief: office?.relief?.reason ?? null,
    lease: {
      ...sources.lease,
      holder: record === null || record.holder === '' ? null : { node: nodeOfIdentity(record.holder), identity: record.holder },
      transitions: record?.transitions ?? null,
      renewed: record?.renewTime ?? null,
      exists: observation === null ? null : observation.sight !== 'absent',
    },
    term: officeTerm(contender) ?? termOf(observation?.sight ?? 'absent'),
    deadline: office === null ? null : { tenureEnds: toWall(office.tenureEndMs), inMs: Math.round(office.tenureEndMs - nowMs) },
    addresses: settings.addresses.map((address) => {
      const read = sources.owners.get(address);
      const seen = contender.link?.addresses[address];
      return {
        address,
        state: describe(contender.addresses[address], isAlone(contender)),
        interface: contender.link?.interfaces[address] ?? null,
        lifetimeMs: seen?.is === 'ours' ? seen.remainingMs : null,
        owner: read === undefined ? null : { ...read.owner, readAt: toWall(read.atMs) },
      };
    }),
    provider: {
      name: sources.provider.name,
      ready: sources.provider.problem === null,
      reason: sources.provider.problem ?? contender.provider?.reason ?? 'it has not been asked yet',
    },
    watch: sources.watch,
    residence: contender.residence,
    interface: { problem: contender.link?.problem ?? null },
    verdict: contender.verdict,
    probes: sources.probes,
    ready: sources.readinessProblems.length === 0,
    notReadyBecause: sources.readinessProblems,
    transitions: sources.transitions,
    preflight: sources.preflight,
    droppedLogLines: sources.droppedLogLines,
  };
}

function describe(state: AddressState | undefined, isAlone: boolean): string {
  switch (state?.is) {
    case 'bound':
      return state.claim.is === 'not-needed'
        ? 'bound'
        : `bound${state.managed ? '' : ' by somebody else'}, ${state.claim.is === 'due' ? 'claim due' : state.claim.is}`;
    case 'absent':
      return state.problem === null ? 'not bound' : `not bound: ${state.problem}`;
    case 'probing':
      return state.problem === null ? 'asking whether anybody else has it' : `not bound: ${state.problem}`;
    case 'leftover':
      return isAlone ? 'left over from an earlier agent' : 'bound by another agent of this node, or left over from one';
    case 'held-over':
      return state.isOff ? 'held over, and taken off for now' : 'held over';
    default:
      return state?.is ?? 'unknown';
  }
}
