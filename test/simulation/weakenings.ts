/**
 * Shows that the simulation can see: deliberate weakenings of the rules, each of which it has to catch.
 *
 * Guarantees: each is made as a patch on a copy of the tree, never by a switch in the product; a text to replace that does
 * not occur exactly once is an error, so that no weakening goes stale unnoticed. A weakening counts as caught only by an
 * invariant that is named for it, and only if the unchanged product passes the very same runs.
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FaultKind } from './faults.ts';
import type { Invariant } from './invariants.ts';
import type { SimProviderName } from './providers/all.ts';
import { run } from './run.ts';
import type { WorldKind } from './scenario.ts';

interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

interface Weakening {
  readonly name: string;
  readonly edits: readonly Edit[];
  readonly kind: WorldKind;
  /** Of routed worlds, where it is not the usual one. */
  readonly provider?: SimProviderName;
  /** Kinds of faults that may strike, so that the wanted ones meet. */
  readonly faults: readonly FaultKind[];
  readonly caughtBy: readonly Invariant[];
}

/** What became of one weakening. */
export interface Outcome {
  readonly name: string;
  readonly caughtBy: Invariant | null;
  readonly runs: number;
  /** What went wrong, where it was not caught as it should be. */
  readonly problem: string | null;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const RUNS_MAX = 400;
const SEED = 'weakening';

const USUAL_PROVIDER: SimProviderName = 'hcloud-floating-ip';

const CONTENDER = 'agent/contender/';

/** A tenure that the holder takes for longer than it is once it has renewed it, by about what an unbind may take. */
const LONGER_TENURE: readonly Edit[] = [
  {
    file: `${CONTENDER}holder.ts`,
    find: '    tenureEndMs: sentAtMs + settings.renewDeadlineMs,\n    renewFailures: 0,',
    replace: '    tenureEndMs: sentAtMs + settings.renewDeadlineMs + 230,\n    renewFailures: 0,',
  },
];

export const WEAKENINGS: readonly Weakening[] = [
  {
    name: 'the deadline is counted from the answer',
    edits: [
      {
        file: `${CONTENDER}holder.ts`,
        find: '    renewalSentAtMs: sentAtMs,\n    tenureEndMs: sentAtMs + settings.renewDeadlineMs,',
        replace: '    renewalSentAtMs: sentAtMs,\n    tenureEndMs: turn.nowMs + settings.renewDeadlineMs,',
      },
    ],
    kind: 'l2',
    faults: ['api slow', 'api cut off', 'api outage'],
    caughtBy: ['bound-is-explained', 'answers-in-time', 'opened-in-time', 'announced-in-tenure', 'l2-one-node'],
  },
  {
    name: 'a late answer revives a tenure',
    edits: [
      {
        file: `${CONTENDER}contender.ts`,
        find: '  endTenureInTime(turn);\n  doubtAfterStall(turn);\n  takeIn(turn, input);',
        replace: '  takeIn(turn, input);\n  endTenureInTime(turn);\n  doubtAfterStall(turn);',
      },
    ],
    kind: 'l2',
    faults: ['freeze for about a tenure', 'watch falls silent'],
    caughtBy: ['bound-is-explained', 'opened-in-time', 'announced-in-tenure', 'one-tenure', 'l2-one-node'],
  },
  {
    name: 'a release without a fresh read',
    edits: [
      {
        file: `${CONTENDER}departure.ts`,
        find: "  turn.draft.life = { ...life, stage: 'reading' };\n  turn.request({ type: 'read' }, life.giveUpAtMs);",
        replace:
          "  const sight = turn.draft.observation?.sight ?? 'absent';\n  if (sight === 'absent') return;\n  turn.draft.life = { ...life, stage: 'writing' };\n" +
          "  turn.request({ type: 'release', basis: sight, marks: { released: life.term, relief: null } }, life.giveUpAtMs);",
      },
    ],
    kind: 'routed',
    faults: ['stop'],
    caughtBy: ['release-own-term'],
  },
  {
    name: 'a release before the address is seen unbound on L2',
    edits: [{ file: `${CONTENDER}departure.ts`, find: "draft.settings.kind === 'l2' ? 'unbinding' : 'settling'", replace: "'settling'" }],
    kind: 'l2',
    faults: ['stop', 'netlink fails'],
    caughtBy: ['release-own-term'],
  },
  {
    name: 'no wait at first sight',
    edits: [
      {
        file: `${CONTENDER}lease.ts`,
        find: '      sinceMs: seen.atMs,\n      lastTerm: term,',
        replace: '      sinceMs: previous === null ? 0 : seen.atMs,\n      lastTerm: term,',
      },
    ],
    kind: 'routed',
    faults: ['crash', 'stop'],
    caughtBy: ['one-tenure'],
  },
  {
    name: 'a vacancy counts as free at once',
    edits: [
      {
        file: `${CONTENDER}lease.ts`,
        find: "  if (isReleasedByItsHolder(sight, lastTerm)) return { is: 'free' };",
        replace: "  if (sight.holder === '') return { is: 'free' };",
      },
    ],
    kind: 'l2',
    faults: ['lease edited'],
    caughtBy: ['one-tenure', 'l2-one-node'],
  },
  {
    name: 'a deleted Lease counts as free at once',
    edits: [
      {
        file: `${CONTENDER}lease.ts`,
        find: "if (sight === 'absent') return afterAWholeDuration;",
        replace: "if (sight === 'absent') return { is: 'free' };",
      },
    ],
    kind: 'l2',
    faults: ['lease deleted'],
    caughtBy: ['one-tenure', 'l2-one-node'],
  },
  {
    name: 'the own duration instead of the longest one seen',
    edits: [
      {
        file: `${CONTENDER}lease.ts`,
        find: 'Math.max(settings.leaseDurationMs, observation.longestDurationMs)',
        replace: 'settings.leaseDurationMs',
      },
    ],
    kind: 'routed',
    faults: ['cut off', 'api cut off', 'freeze'],
    caughtBy: ['one-tenure', 'read-before-taking'],
  },
  {
    name: 'no margin between deadline and duration',
    edits: [
      {
        file: `${CONTENDER}settings.ts`,
        find: 'Math.ceil(leaseDurationMs * (1 - CLOCK_RATE_ERROR) - UNBIND_MS) - 1',
        replace: 'leaseDurationMs - 1',
      },
    ],
    kind: 'routed',
    faults: ['cut off', 'api cut off', 'freeze'],
    caughtBy: ['one-tenure'],
  },
  {
    name: 'a stale watch is trusted to end a term',
    edits: [
      {
        file: `${CONTENDER}holder.ts`,
        find: '  if (isOurTerm && !isAsked) return;',
        replace: "  if (!isOurTerm) return loseOffice(turn, office, 'a watch says so');\n  if (!isAsked) return;",
      },
    ],
    kind: 'routed',
    faults: ['watch lags', 'watch breaks', 'stop', 'crash', 'unhealthy'],
    caughtBy: ['keeps-office'],
  },
  {
    name: 'a silent watch is trusted to take the Lease',
    edits: [
      {
        file: `${CONTENDER}candidate.ts`,
        find: "  if (freedom.is === 'free-at' && !isConfirmed) return readLease(turn, life);",
        replace: "  if (freedom.is === 'free-at' && !isConfirmed && hindrance !== null) return readLease(turn, life);",
      },
    ],
    kind: 'routed',
    faults: ['watch falls silent', 'watch lags'],
    caughtBy: ['read-before-taking'],
  },
  {
    name: 'transitions are not raised',
    edits: [
      {
        file: `${CONTENDER}candidate.ts`,
        find: 'const transitions = sight.transitions + 1;',
        replace: 'const transitions = Math.max(1, sight.transitions);',
      },
    ],
    kind: 'routed',
    faults: ['crash', 'cut off'],
    caughtBy: ['term-order'],
  },
  {
    name: 'a renewal is unconditional',
    edits: [
      {
        file: 'agent/kube/lease-codec.ts',
        find: 'const metadata = { ...write.basis, annotations',
        replace: "const metadata = { ...(write.type === 'renew' ? {} : write.basis), annotations",
      },
    ],
    kind: 'routed',
    faults: ['freeze before a call', 'lease edited'],
    caughtBy: ['term-order', 'one-tenure'],
  },
  {
    name: 'a candidate ignores its health',
    edits: [
      { file: `${CONTENDER}candidate.ts`, find: 'return healthProblem(contender) ?? (provider.ready', replace: 'return (provider.ready' },
    ],
    kind: 'routed',
    faults: ['unhealthy', 'crash', 'cut off'],
    caughtBy: ['healthy-before-contending'],
  },
  {
    name: 'an unhealthy holder keeps quiet',
    edits: [
      {
        file: `${CONTENDER}holder.ts`,
        find: 'const problem = healthProblem(draft)?.reason ??',
        replace: 'const problem =',
      },
    ],
    kind: 'routed',
    faults: ['unhealthy'],
    caughtBy: ['liveness'],
  },
  {
    name: 'a candidate does not ask a holder that wants relief',
    edits: [
      { file: `${CONTENDER}candidate.ts`, find: '  if (hindrance === null && offerRelief(turn, observation)) return;\n', replace: '' },
    ],
    kind: 'routed',
    faults: ['unhealthy'],
    caughtBy: ['liveness'],
  },
  {
    name: 'a claim writes without another look',
    edits: [
      {
        file: 'agent/runtime/loop.ts',
        find: 'const mayWrite = (): boolean => mayWriteToProvider(this.#contender, address, attempt, clock.nowMs());',
        replace: 'const mayWrite = (): boolean => mayWriteToProvider(this.#contender, address, attempt, 0);',
      },
    ],
    kind: 'routed',
    faults: ['suspend', 'provider answers slowly', 'provider actions fail'],
    caughtBy: ['no-stale-provider-write'],
  },
  {
    name: 'claims are kept after stepping down',
    edits: [
      {
        file: 'agent/runtime/loop.ts',
        find: "return this.#claims.get(command.attempt)?.abort(new Error('the office is over'));",
        replace: 'return;',
      },
      {
        file: 'agent/runtime/loop.ts',
        find: 'const mayWrite = (): boolean => mayWriteToProvider(this.#contender, address, attempt, clock.nowMs());',
        replace: 'const mayWrite = (): boolean => true;',
      },
    ],
    kind: 'routed',
    faults: ['stop', 'crash', 'provider slow', 'provider locked', 'provider errors'],
    caughtBy: ['no-stale-provider-write'],
  },
  {
    name: 'a first claim believes "already mine" while an action runs',
    edits: [
      {
        file: 'agent/provider/hcloud-floating-ip.ts',
        find: 'const isSettled = running.length === 0 && (',
        replace: 'const isSettled = true || (',
      },
      {
        file: 'agent/provider/hcloud-floating-ip.ts',
        find: '    for (const action of running) await this.#api.waitFor(action, signal);\n',
        replace: '',
      },
    ],
    kind: 'routed',
    faults: ['provider slow', 'provider locked', 'stop', 'crash and instant restart'],
    caughtBy: ['claims-with-care'],
  },
  {
    name: 'alias IPs of others are left out of the list that is written',
    edits: [
      {
        file: 'agent/provider/hcloud-alias-lists.ts',
        find: '[...aliases, address], address,',
        replace: '[address], address,',
      },
    ],
    kind: 'routed',
    provider: 'hcloud-alias-ip',
    faults: ['stop', 'crash'],
    caughtBy: ['foreign-untouched'],
  },
  {
    name: 'an alias IP is not taken away from its server',
    edits: [
      {
        file: 'agent/provider/hcloud-alias-ip.ts',
        find: 'for (const other of others) await this.#lists.take(address, other, place, terms);',
        replace: 'void others;',
      },
    ],
    kind: 'routed',
    provider: 'hcloud-alias-ip',
    faults: ['stop', 'crash'],
    caughtBy: ['liveness', 'prompt'],
  },
  {
    name: 'a task of netcup that is under way is not waited for',
    edits: [
      { file: 'agent/provider/netcup.ts', find: 'const isSettled = tasks.length === 0 && (', replace: 'const isSettled = true || (' },
      { file: 'agent/provider/netcup.ts', find: '    await this.#waitForOthers(tasks, signal);\n', replace: '' },
    ],
    kind: 'routed',
    provider: 'netcup',
    faults: ['provider slow', 'provider locked', 'stop', 'crash and instant restart'],
    caughtBy: ['claims-with-care'],
  },
  {
    name: 'the owner is not read back again',
    edits: [
      {
        file: `${CONTENDER}claims.ts`,
        find: '      if (claim.attempt !== null || !turn.due(claim.readAtMs)) return;',
        replace: '      if (claim.attempt !== null || claim.readAtMs > 0) return;',
      },
    ],
    kind: 'routed',
    faults: ['provider moved by a person', 'provider writes land late'],
    caughtBy: ['liveness'],
  },
  {
    name: 'no kernel lifetime',
    edits: [
      {
        file: `${CONTENDER}settings.ts`,
        find: 'return renewalSentAtMs + leaseDurationMs + worstMoveMs + LIFETIME_MARGIN_MS;',
        replace: 'return renewalSentAtMs + 86_400_000;',
      },
    ],
    kind: 'routed',
    faults: ['crash'],
    caughtBy: ['bound-is-explained'],
  },
  {
    name: 'the kernel lifetime on L2 leaves out how late the kernel may be',
    edits: [
      {
        file: `${CONTENDER}settings.ts`,
        find: 'return renewalSentAtMs + leaseDurationMs * (1 - CLOCK_RATE_ERROR) - LIFETIME_LATENESS_MS;',
        replace: 'return renewalSentAtMs + leaseDurationMs;',
      },
    ],
    kind: 'l2',
    faults: ['freeze', 'crash'],
    caughtBy: ['bound-is-explained', 'answers-in-time', 'l2-one-node'],
  },
  {
    name: 'a linger without bound',
    edits: [
      {
        file: `${CONTENDER}retention.ts`,
        find: 'untilMs: sinceMs + worstMoveMs, reading',
        replace: 'untilMs: sinceMs + 86_400_000, reading',
      },
    ],
    kind: 'routed',
    faults: ['api outage', 'lease of another program', 'provider cut off'],
    caughtBy: ['bound-is-explained'],
  },
  {
    name: 'a holdover that outlasts another owner',
    edits: [
      {
        file: `${CONTENDER}retention.ts`,
        find: '        return endHeldOver(turn, address, state, `the provider routes it ${whom}`);',
        replace: '        break;',
      },
    ],
    kind: 'routed',
    faults: ['api cut off', 'cut off', 'provider moved by a person', 'api outage'],
    caughtBy: ['bound-is-explained', 'liveness'],
  },
  {
    name: 'a holder does not read again after a conflict',
    edits: [
      {
        file: `${CONTENDER}holder.ts`,
        find: "doubt: office.doubt ?? 'conflict',",
        replace: 'doubt: office.doubt,',
      },
    ],
    kind: 'routed',
    faults: ['lease edited'],
    caughtBy: ['keeps-office'],
  },
  {
    name: 'an address of the administrator is taken for ours',
    edits: [
      {
        file: 'agent/link/kernel-link.ts',
        find: 'if (this.#marksByProtocol) return row.protocol === OUR_PROTOCOL;',
        replace: 'if (this.#marksByProtocol) return true;',
      },
    ],
    kind: 'routed',
    faults: ['address of the administrator', 'crash'],
    caughtBy: ['foreign-untouched'],
  },
  {
    name: 'a Lease of another program counts as ours',
    edits: [
      {
        file: `${CONTENDER}lease.ts`,
        find: '  if (!sight.isOurs && !isUntouched) return',
        replace: '  if (!sight.isOurs && isUntouched) return',
      },
    ],
    kind: 'routed',
    faults: ['lease of another program'],
    caughtBy: ['foreign-untouched'],
  },
  {
    name: 'a predecessor is taken for dead without proof',
    edits: [
      { file: `${CONTENDER}state.ts`, find: "  return residence?.is === 'alone';", replace: "  return residence?.is !== 'unsure';" },
      {
        file: `${CONTENDER}candidate.ts`,
        find: "  if (residence.is === 'shared') return { about: 'residence', reason: residence.reason };\n",
        replace: '',
      },
    ],
    kind: 'routed',
    faults: ['second agent'],
    caughtBy: ['one-tenure', 'one-agent-a-node'],
  },
  {
    name: 'a failed request is tried again without a pause',
    edits: [
      {
        file: `${CONTENDER}turn.ts`,
        find: 'return Math.max(doubled, Math.min(RETRY_AFTER_MAX_MS, trouble?.retryAfterMs ?? 0));',
        replace: 'return 0;',
      },
    ],
    kind: 'routed',
    faults: ['api errors', 'api cut off', 'api outage'],
    caughtBy: ['no-storm'],
  },
  {
    name: 'whoever holds over asks for the Lease but once a minute',
    edits: [
      {
        file: `${CONTENDER}candidate.ts`,
        find: 'if (isHoldingOver(draft)) return turn.pauseMs(trouble, life.failures, draft.settings.renewIntervalMs);',
        replace: 'if (isHoldingOver(draft)) return 60_000;',
      },
    ],
    kind: 'routed',
    faults: ['api outage'],
    caughtBy: ['no-needless-move'],
  },
  {
    name: 'the lifetime of what is held over is not refreshed',
    edits: [
      {
        file: `${CONTENDER}retention.ts`,
        find: '      if (!state.isOff && !isLongEnough(',
        replace: '      if (state.isOff && !isLongEnough(',
      },
    ],
    kind: 'routed',
    faults: ['api outage'],
    caughtBy: ['stays-served'],
  },
  {
    name: 'a candidate waits twice the duration',
    edits: [
      {
        file: `${CONTENDER}lease.ts`,
        find: 'Math.max(settings.leaseDurationMs, observation.longestDurationMs)',
        replace: '2 * Math.max(settings.leaseDurationMs, observation.longestDurationMs)',
      },
    ],
    kind: 'routed',
    faults: ['crash', 'cut off'],
    caughtBy: ['prompt'],
  },
  {
    name: 'a second agent on a node contends',
    edits: [
      {
        file: `${CONTENDER}candidate.ts`,
        find: "  if (residence.is === 'shared') return { about: 'residence', reason: residence.reason };\n",
        replace: '',
      },
    ],
    kind: 'routed',
    faults: ['second agent', 'crash'],
    caughtBy: ['one-agent-a-node'],
  },
  {
    name: 'the packet filter is opened past the margin',
    edits: [
      {
        file: `${CONTENDER}settings.ts`,
        find: 'return renewalSentAtMs + settings.leaseDurationMs * (1 - CLOCK_RATE_ERROR) - FENCE_MARGIN_MS;',
        replace: 'return renewalSentAtMs + settings.leaseDurationMs;',
      },
    ],
    kind: 'l2',
    faults: ['freeze', 'crash'],
    caughtBy: ['opened-in-time'],
  },
  {
    name: 'the packet filter is opened from the answer on',
    edits: [
      {
        file: `${CONTENDER}addresses.ts`,
        find: 'openUntilMs: openUntilMs(settings, office.renewalSentAtMs),',
        replace: 'openUntilMs: openUntilMs(settings, turn.nowMs),',
      },
    ],
    kind: 'l2',
    faults: ['api slow'],
    caughtBy: ['opened-in-time'],
  },
  {
    name: 'the packet filter is renewed a moment after the tenure',
    edits: [
      ...LONGER_TENURE,
      {
        file: `${CONTENDER}segment.ts`,
        find: "turn.command({ type: 'announce', address, notAfterMs: office.tenureEndMs });",
        replace: "turn.command({ type: 'announce', address, notAfterMs: office.tenureEndMs - 230 });",
      },
    ],
    kind: 'l2',
    faults: ['api cut off', 'api outage'],
    caughtBy: ['opened-in-time', 'bound-is-explained'],
  },
  {
    name: 'an address is announced a moment after the tenure',
    edits: [
      ...LONGER_TENURE,
      {
        file: `${CONTENDER}addresses.ts`,
        find: 'notAfterMs: office.tenureEndMs,',
        replace: 'notAfterMs: office.tenureEndMs - 230,',
      },
    ],
    kind: 'l2',
    faults: ['api outage'],
    caughtBy: ['announced-in-tenure'],
  },
  {
    name: 'the packet filter stays open where an address cannot be taken off',
    edits: [
      {
        file: 'agent/link/l2-link.ts',
        find: 'fence?.close(text);',
        replace: "if (kernel.unbind(text).is === 'unbound') fence?.close(text);",
      },
    ],
    kind: 'l2',
    faults: ['netlink fails', 'api outage'],
    caughtBy: ['answers-in-time', 'l2-one-node'],
  },
  {
    name: 'an address is bound before its packet filter stands',
    edits: [
      { file: 'agent/link/l2-link.ts', find: '      fence.stand(Object.fromEntries(this.#links()));\n', replace: '' },
      {
        file: 'agent/link/l2-link.ts',
        find: "      if (outcome.is === 'bound' && fence.open(text, openUntilMs)) return outcome;\n",
        replace:
          "      try {\n        if (outcome.is === 'bound' && fence.open(text, openUntilMs)) return outcome;\n      } catch {\n        return outcome;\n      }\n",
      },
    ],
    kind: 'l2',
    faults: ['freeze', 'crash', 'cut off'],
    caughtBy: ['answers-in-time', 'l2-one-node', 'liveness'],
  },
  {
    name: 'a packet filter that somebody has removed is not put back',
    edits: [{ file: 'agent/link/fence.ts', find: 'if (!isNew && this.#isWhole()) return;', replace: 'if (!isNew) return;' }],
    kind: 'l2',
    faults: ['packet filter removed'],
    caughtBy: ['liveness'],
  },
  {
    name: 'the packet filter goes while an address of an earlier process is bound',
    edits: [
      {
        file: 'agent/link/l2-link.ts',
        find: 'if (!this.#isAnythingBound()) fence?.remove();',
        replace: 'fence?.remove();',
      },
      // It would be taken off beforehand.
      { file: `${CONTENDER}departure.ts`, find: '  takeOffLeftovers(turn);\n', replace: '' },
    ],
    kind: 'l2',
    faults: ['api outage', 'crash and instant restart', 'stop'],
    caughtBy: ['answers-in-time', 'l2-one-node'],
  },
  {
    name: 'what a dead predecessor has left of its packet filter is not swept',
    edits: [
      {
        file: `${CONTENDER}contender.ts`,
        find: "if (turn.draft.settings.kind === 'l2' && input.residence === 'alone' && !isAlone(turn.draft)) turn.command({ type: 'sweep' });",
        replace: '',
      },
    ],
    kind: 'l2',
    faults: ['crash', 'stop'],
    caughtBy: ['leaves-no-trace'],
  },
  {
    name: 'somebody else who has the address is ignored',
    edits: [
      {
        file: `${CONTENDER}addresses.ts`,
        find: "else if (state.is === 'bound' && rival !== undefined) onRivalSeen(",
        replace: "else if (state.is === 'bound' && rival === '') onRivalSeen(",
      },
    ],
    kind: 'l2',
    faults: ['a stranger has the address'],
    caughtBy: ['yields-to-others'],
  },
  {
    name: 'nobody is asked before an address is bound',
    edits: [
      {
        file: `${CONTENDER}addresses.ts`,
        find: 'if (!isInDoubt(turn, office)) probe(turn, address, problem, office);',
        replace: 'bind(turn, address, office);',
      },
      {
        file: `${CONTENDER}addresses.ts`,
        find: 'function begin(turn: Turn, address: string, problem: string | null,',
        replace: 'function begin(turn: Turn, address: string, _: string | null,',
      },
    ],
    kind: 'l2',
    faults: ['a stranger has the address', 'crash', 'cut off'],
    caughtBy: ['asks-first'],
  },
  {
    name: 'a cable that is plugged in again is no reason to announce',
    edits: [
      {
        file: `${CONTENDER}addresses.ts`,
        find: '    if (isPluggedAnew(before, view, address)) announceAnew(turn, address);\n',
        replace: '',
      },
    ],
    kind: 'l2',
    faults: ['link down', 'unhealthy'],
    caughtBy: ['announced'],
  },
  {
    name: 'an address is announced only when it is bound',
    edits: [
      {
        file: `${CONTENDER}segment.ts`,
        find: 'afterMs === undefined ? turn.nowMs + ANNOUNCE_EVERY_MS :',
        replace: 'afterMs === undefined ? Number.POSITIVE_INFINITY :',
      },
    ],
    kind: 'l2',
    faults: ['stall', 'watch breaks'],
    caughtBy: ['announced'],
  },
];

/** Runs one weakening until it is caught. */
export async function tryWeakening(weakening: Weakening): Promise<Outcome> {
  const { name, kind, faults, caughtBy } = weakening;
  const provider = kind === 'routed' ? (weakening.provider ?? USUAL_PROVIDER) : null;
  const copy = weakenedCopy(weakening);
  try {
    const args = ['--brief', '--runs', String(RUNS_MAX), '--seed', SEED, '--world', kind, '--faults', faults.join(',')];
    if (provider !== null) args.push('--provider', provider);
    const { runs, invariant } = JSON.parse(await output(join(copy, 'test/simulation/simulate.ts'), args)) as {
      runs: number;
      invariant: Invariant | null;
    };
    if (invariant === null) return { name, caughtBy: null, runs, problem: `not caught within ${runs} runs` };
    if (!caughtBy.includes(invariant)) return { name, caughtBy: invariant, runs, problem: `caught, but not by ${caughtBy.join(' or ')}` };
    for (let index = 0; index < runs; index += 1) {
      const { violation } = await run(`${SEED}.${index}`, { kind, provider, faults });
      if (violation !== null)
        return { name, caughtBy: invariant, runs, problem: `the unchanged product violates ${violation.invariant} in run ${index}` };
    }
    return { name, caughtBy: invariant, runs, problem: null };
  } finally {
    removeCopy(copy);
  }
}

/** A copy of what the simulation needs, with the weakening made. */
/** Copies that are there now. */
const copies = new Set<string>();

function removeCopy(copy: string): void {
  copies.delete(copy);
  rmSync(copy, { recursive: true, force: true });
}

/** Leaves nothing behind when the command is broken off. */
export function removeCopiesOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      for (const copy of copies) removeCopy(copy);
      process.exit(128 + constants.signals[signal]);
    });
  }
}

function weakenedCopy({ name, edits }: Weakening): string {
  const copy = mkdtempSync(join(tmpdir(), 'leasehold-weakened-'));
  copies.add(copy);
  for (const part of ['agent', 'test', 'scripts', 'package.json']) cpSync(join(ROOT, part), join(copy, part), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  for (const { file, find, replace } of edits) {
    const text = readFileSync(join(copy, file), 'utf8');
    const parts = text.split(find);
    if (parts.length !== 2)
      throw new Error(`weakening "${name}": the text to replace occurs ${parts.length - 1} times in ${file}, not once`);
    writeFileSync(join(copy, file), parts.join(replace));
  }
  return copy;
}

function output(script: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--max-old-space-size=512', script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
    child.on('error', reject);
    child.on('close', (code) =>
      text === '' ? reject(new Error(`the weakened simulation ended with ${code ?? 'a signal'}`)) : resolve(text),
    );
  });
}
