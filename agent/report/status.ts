/**
 * The one document that says what an agent is doing: `/status`, and what the page is drawn from.
 *
 * Guarantees: plain data without credentials. Field names are for people and programs alike and only ever grow.
 */
import { hindranceOf } from '../contender/candidate.ts';
import type { Role } from '../contender/command.ts';
import { patienceMs } from '../contender/contest.ts';
import type { Owner, Residence } from '../contender/input.ts';
import { nodeOfIdentity, termOf } from '../contender/lease.ts';
import type { ReliefCause, Term } from '../contender/lease.ts';
import type { AddressKind } from '../contender/settings.ts';
import { isAlone, officeTerm, roleOf } from '../contender/state.ts';
import type { AddressState, Claim, Contender, Hindrance } from '../contender/state.ts';
import type { BudgetStatus } from '../provider/budget.ts';
import type { ProbeStatus } from '../probe/prober.ts';
import type { TransitionEntry } from './journal.ts';
import type { Preflight } from './preflight.ts';
import { problemOfAddress, problemsOf } from './problems.ts';
import type { Problem } from './problems.ts';

export interface StatusSources {
  readonly version: string;
  readonly lease: { readonly namespace: string; readonly name: string };
  /** `budget`: what the ledger of requests says; null where there is no provider to ask. */
  readonly provider: { readonly name: string; readonly problem: string | null; readonly budget: BudgetStatus | null };
  readonly watch: { readonly stands: boolean; readonly problem: string | null };
  readonly contender: Contender;
  readonly nowMs: number;
  readonly wallMs: number;
  readonly owners: ReadonlyMap<string, { readonly owner: Owner; readonly atMs: number }>;
  /** Where the application is that the address is to stay beside; null where there is none. */
  readonly application: unknown;
  readonly probes: readonly ProbeStatus[];
  readonly readinessProblems: readonly string[];
  readonly transitions: readonly TransitionEntry[];
  /** What the checks at start have found; null while they run. */
  readonly preflight: Preflight | null;
  readonly droppedLogLines: number;
}

/** Instants are in UTC by the node's wall clock unless a comment says otherwise, spans in milliseconds. */
export interface StatusDocument {
  readonly version: string;
  /** When this document was made. */
  readonly at: string;
  readonly node: string;
  readonly identity: string;
  readonly role: Role;
  readonly since: string;
  /** What keeps a candidate from contending, and what it is about. */
  readonly hindrance: string | null;
  readonly hinderedBy: Hindrance['about'] | null;
  /** Why a holder asks to be relieved, and what for: `planned` where somebody has asked it to step down, else it is unfit. */
  readonly relief: string | null;
  readonly reliefCause: ReliefCause | null;
  readonly lease: {
    readonly namespace: string;
    readonly name: string;
    readonly holder: { readonly node: string; readonly identity: string } | null;
    readonly transitions: number | null;
    /** As its holder wrote them, by that node's clock. */
    readonly acquired: string | null;
    readonly renewed: string | null;
    readonly exists: boolean | null;
    /** When this agent saw the record's last sign of life, or its holder gone. */
    readonly seen: string | null;
  };
  readonly timings: { readonly leaseDurationMs: number; readonly renewDeadlineMs: number; readonly renewIntervalMs: number };
  readonly term: Term | null;
  readonly deadline: { readonly tenureEnds: string; readonly inMs: number } | null;
  readonly addresses: readonly StatusAddress[];
  readonly provider: {
    readonly name: string;
    readonly kind: AddressKind;
    readonly ready: boolean;
    readonly reason: string;
    /** How much of what the provider grants is used; null on a shared segment. */
    readonly budget: StatusBudget | null;
  };
  readonly watch: { readonly stands: boolean; readonly problem: string | null };
  readonly residence: { readonly is: Residence; readonly reason: string } | null;
  readonly interface: { readonly problem: string | null };
  readonly verdict: { readonly healthy: boolean; readonly reason: string } | null;
  readonly probes: readonly StatusProbe[];
  /** Where the application is that the address is to stay beside; null where there is none. */
  readonly application: unknown;
  readonly ready: boolean;
  readonly notReadyBecause: readonly string[];
  readonly problems: readonly Problem[];
  /** What the check at the start found; null where none has ended yet. */
  readonly preflight: Preflight | null;
  readonly transitions: readonly TransitionEntry[];
  readonly droppedLogLines: number;
}

export interface StatusBudget {
  readonly limits: readonly {
    readonly name: string;
    readonly used: number;
    readonly max: number;
    readonly withinMs: number;
    /** How many of them are kept for a failover. */
    readonly reserve: number;
    /** False where a failover may go beyond it. */
    readonly bindsFailover: boolean;
    /** When anything but a failover may use it again; null: now. */
    readonly next: string | null;
  }[];
  /** What the last answer said that named a budget. */
  readonly said: { readonly limit: number; readonly remaining: number; readonly reserve: number; readonly at: string } | null;
  /** Until when nothing but claims is asked; null: no such time. */
  readonly quietUntil: string | null;
  readonly moves: BudgetStatus['moves'];
  readonly heldBack: BudgetStatus['heldBack'];
}

export interface StatusAddress {
  readonly address: string;
  /** In words. */
  readonly state: string;
  readonly is: AddressState['is'];
  readonly claim: Claim['is'] | null;
  readonly problem: string | null;
  readonly interface: string | null;
  /** Why it is that interface. */
  readonly interfaceReason: string | null;
  readonly lifetimeMs: number | null;
  readonly owner: (Owner & { readonly readAt: string }) | null;
  /** Somebody else claims it, too: how often it was taken away, and for how long it is left there; null while nobody does. */
  readonly contest: {
    readonly losses: number;
    readonly since: string;
    readonly patienceMs: number;
    readonly nextClaim: string | null;
  } | null;
}

export interface StatusProbe extends Omit<ProbeStatus, 'answeredAtMs'> {
  readonly answered: string | null;
}

export function statusDocument(sources: StatusSources): StatusDocument {
  const { contender, nowMs, wallMs } = sources;
  const { life, settings, observation } = contender;
  const toWall = (atMs: number): string => new Date(wallMs + atMs - nowMs).toISOString();
  const record = observation === null || observation.sight === 'absent' ? null : observation.sight;
  const office = life.is === 'holding' ? life.office : null;
  const hindrance = life.is === 'standby' ? hindranceOf(contender) : null;
  const { leaseDurationMs, renewDeadlineMs, renewIntervalMs } = settings;
  return {
    version: sources.version,
    at: toWall(nowMs),
    node: settings.node,
    identity: settings.identity,
    role: roleOf(contender),
    since: toWall(contender.roleSinceMs),
    hindrance: hindrance?.reason ?? null,
    hinderedBy: hindrance?.about ?? null,
    relief: office?.relief?.reason ?? null,
    reliefCause: office?.relief?.cause ?? null,
    lease: {
      ...sources.lease,
      holder: record === null || record.holder === '' ? null : { node: nodeOfIdentity(record.holder), identity: record.holder },
      transitions: record?.transitions ?? null,
      acquired: record?.acquireTime ?? null,
      renewed: record?.renewTime ?? null,
      exists: observation === null ? null : observation.sight !== 'absent',
      seen: observation === null ? null : toWall(observation.sinceMs),
    },
    timings: { leaseDurationMs, renewDeadlineMs, renewIntervalMs },
    term: officeTerm(contender) ?? termOf(observation?.sight ?? 'absent'),
    deadline: office === null ? null : { tenureEnds: toWall(office.tenureEndMs), inMs: Math.round(office.tenureEndMs - nowMs) },
    addresses: settings.addresses.map((address) => {
      const read = sources.owners.get(address);
      const seen = contender.link?.addresses[address];
      const state = contender.addresses[address];
      return {
        address,
        state: describe(state, isAlone(contender)),
        is: state?.is ?? 'absent',
        claim: state?.is === 'bound' ? state.claim.is : null,
        problem: problemOfAddress(state),
        interface: contender.link?.interfaces[address] ?? null,
        interfaceReason: contender.link?.reasons[address] ?? null,
        lifetimeMs: seen?.is === 'ours' ? seen.remainingMs : null,
        owner: read === undefined ? null : { ...read.owner, readAt: toWall(read.atMs) },
        contest: contestOf(state, toWall),
      };
    }),
    provider: {
      name: sources.provider.name,
      kind: settings.kind,
      ready: sources.provider.problem === null,
      reason: sources.provider.problem ?? contender.provider?.reason ?? 'it has not been asked yet',
      budget: budgetOf(sources.provider.budget, toWall),
    },
    watch: sources.watch,
    residence: contender.residence,
    interface: { problem: contender.link?.problem ?? null },
    verdict: contender.verdict,
    probes: sources.probes.map(({ answeredAtMs, ...probe }) => ({
      ...probe,
      answered: answeredAtMs === null ? null : toWall(answeredAtMs),
    })),
    application: sources.application,
    ready: sources.readinessProblems.length === 0,
    notReadyBecause: sources.readinessProblems,
    problems: problemsOf(sources),
    transitions: sources.transitions,
    preflight: sources.preflight,
    droppedLogLines: sources.droppedLogLines,
  };
}

function contestOf(state: AddressState | undefined, toWall: (atMs: number) => string): StatusAddress['contest'] {
  if (state?.is !== 'bound' || state.contest === null) return null;
  const { contest, claim } = state;
  const nextClaim = claim.is === 'due' && !claim.isFirst ? toWall(claim.atMs) : null;
  return { losses: contest.losses, since: toWall(contest.sinceMs), patienceMs: patienceMs(contest), nextClaim };
}

function budgetOf(budget: BudgetStatus | null, toWall: (atMs: number) => string): StatusBudget | null {
  if (budget === null) return null;
  const { limits, said, quietUntilMs, moves, heldBack } = budget;
  return {
    limits: limits.map(({ freeAtMs, ...limit }) => ({ ...limit, next: freeAtMs === null ? null : toWall(freeAtMs) })),
    said: said === null ? null : { limit: said.limit, remaining: said.remaining, reserve: said.reserve, at: toWall(said.atMs) },
    quietUntil: quietUntilMs === null ? null : toWall(quietUntilMs),
    moves,
    heldBack,
  };
}

function describe(state: AddressState | undefined, isAlone: boolean): string {
  switch (state?.is) {
    case 'bound':
      return state.claim.is === 'not-needed'
        ? 'bound'
        : `bound${state.managed ? '' : ' by somebody else'}, ${state.claim.is === 'due' ? 'claim due' : state.claim.is}${state.contest?.isTold === true ? ', contested' : ''}`;
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
