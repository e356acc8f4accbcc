/**
 * What this agent last learnt about the Kubernetes API and the provider, and whether that makes it ready.
 *
 * Guarantees: ready says that the agent is configured, reaches what it needs and could hold the Lease (it is not another
 * program's, and no other agent runs on this node), never who holds the address or whether the node is healthy, or a dead
 * application would block rollouts. A problem stays until the same kind of call has succeeded.
 */
import type { Clock } from '../clock.ts';
import { hindranceOf } from '../contender/candidate.ts';
import type { ClaimOutcome, Owner } from '../contender/input.ts';
import type { Contender } from '../contender/state.ts';
import type { Provider } from '../ports.ts';

/** The API counts as reached for so long after its last answer, where no watch stands. */
const API_SILENCE_MAX_MS = 10_000;

export class Reachability {
  readonly #clock: Clock;
  #apiAnsweredAtMs: number | null = null;
  #apiProblem: string | null = null;
  #watch: { readonly stands: boolean; readonly problem: string | null } = { stands: false, problem: null };
  readonly #providerProblems = new Map<'prepare' | 'owner' | 'claim', string>([['prepare', 'it has not been asked yet']]);
  readonly #owners = new Map<string, { readonly owner: Owner; readonly atMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The owner of each address as last read. */
  get owners(): ReadonlyMap<string, { readonly owner: Owner; readonly atMs: number }> {
    return this.#owners;
  }

  get watch(): { readonly stands: boolean; readonly problem: string | null } {
    return this.#watch;
  }

  /** What is wrong with the provider, or null. */
  get providerProblem(): string | null {
    return [...this.#providerProblems.values()][0] ?? null;
  }

  /** Takes in how a request about the Lease ended: null if it was answered as it should be. */
  noteApi(problem: string | null): void {
    this.#apiProblem = problem;
    if (problem === null) this.#apiAnsweredAtMs = this.#clock.nowMs();
  }

  noteWatch(stands: boolean, problem: string): void {
    this.#watch = { stands, problem: stands ? null : problem };
  }

  /** The same provider, with everything noted that passes by. */
  noting(provider: Provider): Provider {
    return {
      kind: provider.kind,
      prepare: async (signal) => {
        const readiness = await provider.prepare(signal);
        this.#noteProvider('prepare', readiness.is === 'ready' ? null : readiness.reason);
        return readiness;
      },
      check: (signal) => provider.check(signal),
      owner: async (address, signal) => {
        const owner = await provider.owner(address, signal);
        if (owner.is === 'unknown' && owner.notBeforeMs !== undefined) return owner;
        this.#noteOwner(address, owner);
        this.#noteProvider('owner', owner.is === 'unknown' ? owner.message : null);
        return owner;
      },
      claim: async (address, terms) => {
        const outcome = await provider.claim(address, terms);
        this.#noteClaim(address, outcome);
        return outcome;
      },
    };
  }

  /** What keeps the agent from being ready, a sentence each; empty when nothing does. */
  problems(contender: Contender): string[] {
    const problems: string[] = [];
    const hasJustAnswered = this.#apiAnsweredAtMs !== null && this.#clock.nowMs() - this.#apiAnsweredAtMs < API_SILENCE_MAX_MS;
    if (!hasJustAnswered && (this.#apiProblem !== null || !this.#watch.stands))
      problems.push(`Kubernetes API: ${this.#apiProblem ?? this.#watch.problem ?? 'not reached yet'}`);
    const hindrance = contender.life.is === 'standby' ? hindranceOf(contender) : null;
    if (hindrance?.about === 'lease' || hindrance?.about === 'residence') problems.push(hindrance.reason);
    if (this.providerProblem !== null) problems.push(`provider: ${this.providerProblem}`);
    if (contender.link?.isPresent !== true) problems.push(`interface: ${contender.link?.problem ?? 'not looked at yet'}`);
    return problems;
  }

  #noteClaim(address: string, outcome: ClaimOutcome): void {
    switch (outcome.is) {
      case 'confirmed':
        this.#noteOwner(address, { is: 'self' });
        return this.#noteProvider('claim', null);
      case 'failed':
        // What was not asked says nothing about the provider.
        if (outcome.notBeforeMs !== undefined && !outcome.definitive) return;
        // What only passes shows in reads, too. A token that may not write shows nowhere else.
        return outcome.definitive ? this.#noteProvider('claim', outcome.message) : this.#noteProvider('owner', outcome.message);
      case 'withdrawn':
        return;
    }
  }

  #noteProvider(kind: 'prepare' | 'owner' | 'claim', problem: string | null): void {
    if (problem === null) this.#providerProblems.delete(kind);
    else this.#providerProblems.set(kind, problem);
  }

  #noteOwner(address: string, owner: Owner): void {
    this.#owners.set(address, { owner, atMs: this.#clock.nowMs() });
  }
}
