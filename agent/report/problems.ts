/**
 * What is wrong with an agent's work right now and what to do about it, in words for whoever is called at night.
 *
 * Guarantees: pure; empty exactly when nobody has to do or to know anything. What passes by itself says so instead of asking
 * for something. A cause that shows in two places is named once.
 */
import { hindranceOf } from '../contender/candidate.ts';
import { describe } from '../contender/contest.ts';
import type { Owner } from '../contender/input.ts';
import { termOf } from '../contender/lease.ts';
import { isHoldingOver } from '../contender/state.ts';
import type { AddressState, Contender } from '../contender/state.ts';
import type { BudgetStatus, LimitStatus } from '../provider/budget.ts';

export interface Problem {
  /** What it is about: an address, or a word such as `provider` or `Kubernetes API`. */
  readonly name: string;
  /** `fail`: clients lose something, or would with one more fault. `warn`: somebody should look at it by day. */
  readonly level: 'warn' | 'fail';
  /** What is so, in one sentence. */
  readonly message: string;
  /** What to do about it. */
  readonly advice: string;
}

export interface ProblemSources {
  readonly contender: Contender;
  readonly lease: { readonly namespace: string; readonly name: string };
  readonly watch: { readonly stands: boolean; readonly problem: string | null };
  readonly owners: ReadonlyMap<string, { readonly owner: Owner; readonly atMs: number }>;
  readonly provider: { readonly budget: BudgetStatus | null };
  /** As Reachability words them: what it is about, a colon, and the reason. */
  readonly readinessProblems: readonly string[];
  readonly droppedLogLines: number;
}

const API = 'Kubernetes API';
const CONTESTED =
  'Find out who else moves it, and stop that: a second installation with another Lease, keepalived or a script with the same credentials, a person. This node goes on claiming it, ever more rarely.';
const PASSES = 'Nothing: this passes by itself soon after the start.';

const ADVICE = {
  probes: 'Look at what the probe asks on this node. Once it answers well as often as its rise count says, this node may take over again.',
  interface: 'Bring the interface up on this node, or name another one in INTERFACE. It is looked at again every second.',
  provider: 'Do what the sentence says: as a rule the token, its permission or the address. It is asked again by itself.',
  lease:
    "Name another Lease in LEASE_NAME and in the Role, or end the program that uses this one. Leasehold never takes another program's Lease.",
  residence: 'Let only one agent for this Lease run on this node, and end the other one. This one goes on by itself then.',
  [API]:
    "See whether this node reaches the API server, and whether the agent's Role still allows get, list, watch and patch on this Lease. The agent tries again by itself.",
} as const;

/** All of them, those that cost clients something first. */
export function problemsOf(sources: ProblemSources): Problem[] {
  const found = [
    ...holdoverProblem(sources),
    ...reliefProblem(sources),
    ...hindranceProblem(sources),
    ...sources.contender.settings.addresses.flatMap((address) => addressProblems(sources, address)),
    ...readinessProblems(sources),
    ...budgetProblems(sources),
    ...interfaceProblem(sources),
    ...watchProblem(sources),
    ...residenceProblem(sources),
    ...leaseProblem(sources),
    ...logProblem(sources),
  ];
  const unique = found.filter(
    (problem, index) =>
      !found.slice(0, index).some(({ message }) => message.includes(problem.message) || problem.message.includes(message)),
  );
  return [...unique.filter(({ level }) => level === 'fail'), ...unique.filter(({ level }) => level === 'warn')];
}

function holdoverProblem({ contender }: ProblemSources): Problem[] {
  if (!isHoldingOver(contender)) return [];
  return [
    {
      name: API,
      level: 'fail',
      message: 'The Lease could not be renewed in time. The address stays here only because the provider still routes it here.',
      advice: 'Bring the Kubernetes API back within reach of this node, and leave the address where it is meanwhile.',
    },
  ];
}

function reliefProblem({ contender: { life, settings } }: ProblemSources): Problem[] {
  const relief = life.is === 'holding' ? life.office.relief : null;
  // Somebody has asked for a planned one: nothing is wrong, and nobody has to do anything.
  if (relief === null || relief.cause === 'planned') return [];
  return [
    {
      name: 'this node',
      level: 'fail',
      message: relief.reason,
      advice:
        'Mend this node or another one: a healthy one takes over by itself.' +
        (relief.cause === 'unhealthy' && settings.whenAllUnhealthy === 'keep'
          ? ' Until then this node goes on (WHEN_ALL_UNHEALTHY=keep).'
          : ''),
    },
  ];
}

function hindranceProblem({ contender }: ProblemSources): Problem[] {
  const hindrance = contender.life.is === 'standby' ? hindranceOf(contender) : null;
  if (hindrance === null) return [];
  const { verdict, provider, residence, link } = contender;
  const isKnown = verdict !== null && provider !== null && residence !== null && link !== null;
  return [
    {
      name: hindrance.about,
      level: isVacant(contender) ? 'fail' : 'warn',
      message: hindrance.reason,
      advice: isKnown ? ADVICE[hindrance.about] : PASSES,
    },
  ];
}

function addressProblems({ contender, owners }: ProblemSources, address: string): Problem[] {
  const state = contender.addresses[address];
  const problem = problemOfAddress(state);
  const isOffice = contender.life.is === 'holding';
  const owner = owners.get(address)?.owner;
  const found: Problem[] = [];
  // What the holder wants to be relieved for has been told already.
  const isTold = contender.life.is === 'holding' && problem !== null && contender.life.office.relief?.reason.includes(problem) === true;
  if (problem !== null && !isTold) {
    const advice = isOffice
      ? 'This node holds the Lease and tries again by itself. Mend what the sentence names, or end this agent so that another node takes over.'
      : 'It is tried again by itself. Mend what the sentence names.';
    found.push({ name: address, level: isOffice ? 'fail' : 'warn', message: `${address}: ${problem}`, advice });
  }
  if (isOffice && state?.is === 'bound' && state.contest?.isTold === true)
    found.push({ name: address, level: 'fail', message: `${address}: ${describe(state.contest, contender.nowMs)}`, advice: CONTESTED });
  else if (isOffice && state?.is === 'bound' && state.claim.is === 'confirmed' && owner?.is === 'other')
    found.push({
      name: address,
      level: 'fail',
      message: `${address}: the provider routes it to ${owner.name}, though this node holds the Lease`,
      advice:
        'It is claimed back by itself. If it moves again, find out who else moves it: a second agent, a script, a person with the token.',
    });
  return found;
}

/** What the provider grants is nearly used up. */
function budgetProblems({ provider: { budget } }: ProblemSources): Problem[] {
  if (budget === null) return [];
  const { said, quietUntilMs, limits } = budget;
  const advice =
    'Nothing by itself: it passes. Find out what moves the addresses so often, or asks the provider with the same credentials.';
  const isScarce = quietUntilMs !== null && said !== null && said.remaining <= said.reserve;
  const scarce: Problem = {
    name: 'budget',
    level: 'warn',
    message: `the provider has only ${said?.remaining ?? 0} of ${said?.limit ?? 0} requests left: they are kept for a failover, and nothing else is asked`,
    advice,
  };
  return [
    ...(isScarce ? [scarce] : []),
    ...limits.flatMap((limit): Problem[] => {
      const message = limitProblem(limit);
      return message === null
        ? []
        : [{ name: 'budget', level: limit.used >= limit.max && limit.bindsFailover ? 'fail' : 'warn', message, advice }];
    }),
  ];
}

function limitProblem({ name, used, max, reserve, withinMs, bindsFailover }: LimitStatus): string | null {
  if (used < max - reserve) return null;
  const what = `${name}: ${used} of ${max} within ${withinMs / 60_000} min are used`;
  if (!bindsFailover) return `${what} (MOVES_PER_HOUR), so it is not claimed back from whoever takes it away`;
  return used < max ? `${what}, and the rest is kept for a failover` : `${what}, so a failover may have to wait`;
}

/** Why an address is not as it should be, or null. */
export function problemOfAddress(state: AddressState | undefined): string | null {
  switch (state?.is) {
    case 'absent':
    case 'probing':
    case 'binding':
    case 'bound':
      return state.problem;
    case 'unbinding':
      return state.failures === 0 ? null : `could not be taken off the interface, tried ${state.failures} times`;
    case 'held-over':
      return state.isOff ? 'held over, and taken off for now' : null;
    default:
      return null;
  }
}

function readinessProblems({ readinessProblems: problems }: ProblemSources): Problem[] {
  return problems.map((text) => {
    const [, name, reason] = /^(Kubernetes API|provider|interface): (.*)$/s.exec(text) ?? [];
    const isAbout = name === API || name === 'provider' || name === 'interface';
    const advice = !isAbout
      ? 'The agent is not ready until this is mended.'
      : /\byet$/.test(reason ?? '')
        ? `${ADVICE[name]} Soon after the start it passes.`
        : ADVICE[name];
    return { name: name ?? 'readiness', level: 'warn', message: reason ?? text, advice };
  });
}

/** A candidate's interface is among what hinders it. */
function interfaceProblem({ contender: { link, life } }: ProblemSources): Problem[] {
  if (life.is !== 'holding' || (link?.problem ?? null) === null) return [];
  return [{ name: 'interface', level: 'fail', message: link?.problem ?? '', advice: ADVICE.interface }];
}

function watchProblem({ watch, readinessProblems: problems }: ProblemSources): Problem[] {
  if (watch.stands || watch.problem === null || problems.some((text) => text.startsWith(API))) return [];
  return [
    {
      name: 'watch',
      level: 'warn',
      message: `the watch of the Lease does not stand: ${watch.problem}`,
      advice: 'It is begun again by itself. Until then this node notices a free Lease later, by reading it.',
    },
  ];
}

function residenceProblem({ contender: { residence } }: ProblemSources): Problem[] {
  if (residence?.is !== 'unsure') return [];
  return [{ name: 'residence', level: 'warn', message: residence.reason, advice: ADVICE.residence }];
}

function leaseProblem({ contender, lease }: ProblemSources): Problem[] {
  if (contender.life.is !== 'standby' || contender.observation === null) return [];
  const name = `${lease.namespace}/${lease.name}`;
  if (contender.observation.sight === 'absent')
    return [
      {
        name: 'lease',
        level: 'warn',
        message: `there is no Lease ${name}`,
        advice: 'Apply the manifests again, which create it. An agent that may create Leases does so itself after a lease duration.',
      },
    ];
  if (!isVacant(contender) || hindranceOf(contender) === null) return [];
  return [
    {
      name: 'lease',
      level: 'fail',
      message: `nobody holds the Lease ${name}, and this node may not take it`,
      advice:
        "Mend what is named here, or another node: the first one that is fit takes over by itself. Look at the other nodes' pages, too.",
    },
  ];
}

function isVacant({ observation }: Contender): boolean {
  return observation !== null && termOf(observation.sight) === null;
}

function logProblem({ droppedLogLines }: ProblemSources): Problem[] {
  if (droppedLogLines === 0) return [];
  return [
    {
      name: 'log',
      level: 'warn',
      message: `${droppedLogLines} log lines were dropped, because nobody read them`,
      advice: "See whether the node's disk is full or its container runtime stuck.",
    },
  ];
}
