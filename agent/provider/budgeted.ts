/**
 * A provider whose requests all pass by the ledger, whatever provider it is.
 *
 * Guarantees: a provider need not know of it: what a request is for follows it from the call that it is made in down to the one
 * place where it is sent. One that is held back looks like one that the provider itself has refused for a while, so each policy
 * for that applies; nothing is sent. What was not asked is told from what could not be known.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Clock } from '../clock.ts';
import type { ClaimOutcome, Owner } from '../contender/input.ts';
import { warn } from '../finding.ts';
import type { Finding } from '../finding.ts';
import { CommandNotStarted } from '../host.ts';
import type { RunCommand } from '../host.ts';
import type { Provider, ProviderReadiness } from '../ports.ts';
import type { Budget, Counted, HeldBack, Purpose } from './budget.ts';
import { ProviderError } from './error.ts';
import type { ProviderHttp } from './http.ts';

/** What a request is made for. */
interface Errand {
  /** A claim that has begun to move an address is worth as much as a failover where stopping would leave it nowhere. */
  purpose: Purpose;
  readonly address: string | null;
  /** What was last held back of it. */
  heldBack: HeldBack | null;
}

export class Budgeted {
  readonly #budget: Budget;
  readonly #clock: Clock;
  /** A provider does several things at once, and what is asked on the way down is asked for one of them. */
  readonly #errands = new AsyncLocalStorage<Errand>();
  #lastReadiness: ProviderReadiness | null = null;

  constructor(budget: Budget, clock: Clock) {
    this.#budget = budget;
    this.#clock = clock;
  }

  /** The same HTTP, which sends only what the ledger admits. Throws ProviderError `rate-limited` for what it does not. */
  http(http: ProviderHttp): ProviderHttp {
    return async (call) => {
      const admitted = this.#admit(call.operation, originOf(call.url));
      try {
        const answer = await http(call);
        admitted.answered(answer);
        return answer;
      } catch (error) {
        if (error instanceof ProviderError && !error.wasSent) admitted.unsent();
        else admitted.answered(null);
        throw error;
      }
    };
  }

  /** The same for commands that are run in the place of requests. */
  run(run: RunCommand): RunCommand {
    return async (command) => {
      const admitted = this.#admit(command.operation, command.program);
      try {
        const end = await run(command);
        admitted.answered(null);
        return end;
      } catch (error) {
        if (error instanceof CommandNotStarted) admitted.unsent();
        else admitted.answered(null);
        throw error;
      }
    };
  }

  /** What the ledger admits is sent in the same instant, so no write comes later after its last look than it would without. */
  #admit(operation: string, origin: string): Counted {
    const errand = this.#errands.getStore();
    const { purpose = 'preparation', address = null } = errand ?? {};
    const admitted = this.#budget.admit({ operation, origin, purpose, address });
    if (!('untilMs' in admitted)) {
      if (errand !== undefined) this.#begun(errand, operation);
      return admitted;
    }
    if (errand !== undefined) errand.heldBack = admitted;
    throw new ProviderError('rate-limited', admitted.message, { retryAfterMs: admitted.untilMs - this.#clock.nowMs() });
  }

  #begun(errand: Errand, operation: string): void {
    if (this.#budget.mustBeFinished(operation)) errand.purpose = 'first-claim';
    // Whoever claims has found another way past what was held back, so that is not what it waits for.
    if (errand.purpose === 'first-claim' || errand.purpose === 'claim-again') errand.heldBack = null;
  }

  /** The same provider, its requests made for what they are. */
  provider(provider: Provider): Provider {
    return {
      kind: provider.kind,
      prepare: (signal) => this.#prepare(provider, signal),
      check: (signal) => this.#check(provider, signal),
      owner: (address, signal) => this.#owner(provider, address, signal),
      claim: (address, terms) =>
        this.#run(terms.isFirst ? 'first-claim' : 'claim-again', address, async (errand) =>
          told(await provider.claim(address, terms), errand),
        ),
    };
  }

  /** What was known last goes on counting while it is not asked. */
  async #prepare(provider: Provider, signal: AbortSignal): Promise<ProviderReadiness> {
    return await this.#run('preparation', null, async (errand) => {
      const readiness = await provider.prepare(signal);
      if (errand.heldBack !== null && this.#lastReadiness !== null) return this.#lastReadiness;
      if (errand.heldBack === null) this.#lastReadiness = readiness;
      return readiness;
    });
  }

  async #check(provider: Provider, signal: AbortSignal): Promise<readonly Finding[]> {
    return await this.#run('preparation', null, async (errand) => {
      const findings = await provider.check(signal);
      // What was not asked is nobody's fault, so whatever was concluded from it is not said.
      if (errand.heldBack !== null) return [warn('budget', errand.heldBack.message, 'check again after that time')];
      return [...findings, ...this.#scarcity()];
    });
  }

  #scarcity(): Finding[] {
    const { said } = this.#budget.status;
    if (said === null || said.remaining > said.reserve) return [];
    const what = `the provider has only ${said.remaining} of ${said.limit} requests left`;
    return [warn('budget', what, 'find out what else asks the provider so often with these credentials, or in the same project')];
  }

  async #owner(provider: Provider, address: string, signal: AbortSignal): Promise<Owner> {
    return await this.#run('verification', address, async (errand) => {
      const owner = await provider.owner(address, signal);
      return owner.is === 'unknown' && errand.heldBack !== null ? { ...owner, notBeforeMs: errand.heldBack.untilMs } : owner;
    });
  }

  async #run<Result>(purpose: Purpose, address: string | null, work: (errand: Errand) => Promise<Result>): Promise<Result> {
    const errand: Errand = { purpose, address, heldBack: null };
    return await this.#errands.run(errand, () => work(errand));
  }
}

function told(outcome: ClaimOutcome, { heldBack }: Errand): ClaimOutcome {
  if (outcome.is !== 'failed' || heldBack === null) return outcome;
  return { ...outcome, notBeforeMs: heldBack.untilMs };
}

function originOf(url: string): string {
  return URL.parse(url)?.origin ?? '';
}
