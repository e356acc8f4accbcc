/**
 * Puts the parts of an agent together and runs them: the only place that knows every part.
 *
 * Guarantees: whatever touches the outside (clock, chance, network, interface, log) is passed in. Once the contender has
 * nothing left to do, everything else ends, too.
 */
import { ApplicationFollower } from './application/follower.ts';
import { asError } from './clock.ts';
import type { Clock } from './clock.ts';
import { concealingData, concealingFindings, concealingProvider, concealingStore } from './concealment.ts';
import type { Conceal } from './concealment.ts';
import type { ApplicationSettings, Settings } from './config/settings.ts';
import { nodeOfIdentity, termOf } from './contender/lease.ts';
import type { ContenderSettings } from './contender/settings.ts';
import { EventRecorder } from './kube/event-recorder.ts';
import { KubeEvents } from './kube/events.ts';
import type { Contender } from './contender/state.ts';
import { applicationText } from './kube/application-watch.ts';
import { KubeLeaseStore } from './kube/lease-store.ts';
import { KubeLeaseWatch } from './kube/lease-watch.ts';
import { observedKubeHttp } from './kube/observed-http.ts';
import { keepChecking } from './finding.ts';
import type { Check } from './finding.ts';
import type { LinkView } from './contender/input.ts';
import type { KubeHttp } from './kube/transport.ts';
import type { Finding } from './finding.ts';
import type { Host } from './host.ts';
import { OtherTerms } from './other-terms.ts';
import type { Link, Provider } from './ports.ts';
import type { Ask, ProbeQuestion, ProbeSpec } from './probe/probe.ts';
import { Prober } from './probe/prober.ts';
import type { Verdict } from './probe/prober.ts';
import type { ResidenceReport } from './residence.ts';
import type { BudgetStatus } from './provider/budget.ts';
import type { ProviderHttp } from './provider/http.ts';
import { observedProviderHttp, observedRun } from './provider/observed-http.ts';
import { keepPrepared } from './provider/preparation.ts';
import { kindOf, profileOf } from './provider/profiles.ts';
import { createBudgetedProvider } from './providers.ts';
import { EventChoice, leaseUidOf } from './report/events.ts';
import { Journal } from './report/journal.ts';
import type { Log } from './report/log.ts';
import { Metrics } from './report/metrics.ts';
import type { MetricFacts } from './report/metrics.ts';
import { PreflightLog } from './report/preflight.ts';
import type { ProcessUsage } from './report/process-metrics.ts';
import { Notices } from './report/notices.ts';
import { Reachability } from './report/reachability.ts';
import type { Answers } from './report/server.ts';
import { statusDocument } from './report/status.ts';
import { ContenderLoop } from './runtime/loop.ts';

/** How an agent reaches others and is reached, each at its lowest seam. */
export interface Network {
  readonly kube: KubeHttp;
  /** Another way to the Kubernetes API, for what must never be in the way of the Lease. */
  readonly kubeAside: KubeHttp;
  readonly provider: ProviderHttp;
  readonly ask: (question: ProbeQuestion) => Ask;
  /** Serves what people and the kubelet ask this agent until it is closed. */
  readonly serve: (answers: Answers) => { changed(): void; close(): void };
  /** Closes every connection to others. */
  close(): void;
}

/** What an agent is given besides its settings. */
export interface AgentWorld {
  readonly clock: Clock;
  /** A number from 0 up to 1. */
  readonly random: () => number;
  readonly identity: string;
  readonly version: string;
  readonly network: Network;
  readonly host: Host;
  readonly link: Link;
  /** Finds out whether another agent for this Lease lives on this node, and tells each change until the signal is aborted. */
  readonly establishResidence: (signal: AbortSignal, onReport: (report: ResidenceReport) => void) => Promise<void>;
  readonly log: Log;
  /** What this process has used so far. Asked whenever somebody collects metrics. */
  readonly usage: () => ProcessUsage;
  /** Takes every secret that this process has out of a text. */
  readonly conceal: Conceal;
  /** What the agent looks at when it starts, beside its work; nothing where that is not wanted. */
  readonly checks?: (parts: CheckedParts) => readonly Check[];
  /** Called with what should never have been thrown. The agent does nothing more after it. */
  readonly onDefect: (error: Error) => void;
}

/** What an agent lets its own checks see. */
export interface CheckedParts {
  readonly provider: Pick<Provider, 'check' | 'prepare'>;
  /** What the latest look at the interfaces has shown, after they were told what the provider names, where it does that. */
  readonly look: (mac: string | null) => LinkView | null;
  readonly isFenced: boolean;
}

export interface Agent {
  /** Its present state, which never changes in place. */
  readonly contender: Contender;
  /** Steps down in order and ends. */
  shutdown(reason: string): void;
  /**
   * Gives up office and stays a candidate: when another one asks within `waitMs`, or at once where that is null. Without an
   * office nothing happens.
   */
  requestStepDown(reason: string, waitMs: number | null): void;
  /** Resolves when everything has ended. */
  readonly stopped: Promise<void>;
}

/** A contender takes in at least one input a second: a loop that has stood still for so long is stuck. */
const LOOP_SILENCE_MAX_MS = 10_000;
/** More at once are no terms that were served. */
const TERMS_COUNTED_MAX = 20;
/** What is still to be told when all else has ended holds up the end for so long at the most. */
const LAST_EVENTS_MS = 1_000;

/** Starts an agent. */
export function startAgent(settings: Settings, world: AgentWorld): Agent {
  const { clock, link, log, conceal } = world;
  const { logger } = log;
  const ending = new AbortController();
  const reachability = new Reachability(clock);
  const journal = new Journal(logger, clock);
  const notices = new Notices(logger);
  const metrics = new Metrics(metricFacts(settings, world.version), clock);
  const network = observed(world.network, metrics, clock);
  const host = { ...world.host, run: observedRun(world.host.run, clock, (exchange) => metrics.requests.provider(exchange)) };
  const choice = new EventChoice(
    settings.nodeName,
    settings.addresses.map(({ text }) => text),
  );
  const recorder = createRecorder(settings, { ...world, network });
  const asked = {
    clock,
    host,
    http: network.provider,
    kube: network.kube,
    tell: (finding: Finding) => notices.note(concealingFindings([finding], conceal)[0] ?? finding),
  };
  const budgeted = createBudgetedProvider(settings, asked, (message) => logger.warn({ event: 'held-back' }, message));
  const { budget } = budgeted;
  const provider = metrics.addresses.observing(reachability.noting(concealingProvider(budgeted.provider, conceal)));
  const budgetStatus = (): BudgetStatus | null => (provider.kind === 'routed' ? budget.status : null);
  const otherTerms = new OtherTerms();
  const store = new KubeLeaseStore(network.kube, settings.lease, world.identity, clock, (problem) =>
    reachability.noteApi(problem === null ? null : conceal(problem)),
  );
  const watch = new KubeLeaseWatch(network.kube, settings.lease, clock, world.random, {
    onSight: (sight) => loop.post({ type: 'lease-seen', sight }),
    onState: ({ stands, problem: said, isRefused }) => {
      const problem = conceal(said);
      reachability.noteWatch(stands, problem);
      const event = stands ? 'watch-stands' : 'watch-broken';
      logger[isRefused ? 'warn' : 'debug']({ event }, stands ? 'watching the Lease' : `the watch of the Lease broke: ${problem}`);
    },
  });
  const loop: ContenderLoop = new ContenderLoop(contenderSettings(settings, world.identity, link.segment?.isFenced ?? false), {
    clock: metrics.process.observing(clock),
    lease: metrics.contender.observing(concealingStore(store, conceal), () => loop.contender),
    watch,
    link,
    provider,
    report: (report, contender) => {
      journal.report(report);
      metrics.report(report, contender);
      // Whoever has taken an address away has moved it, as a rule with the same account.
      if (report.kind === 'incident' && report.event === 'owner-drifted' && report.address !== null)
        budget.noteMoveOfOthers(report.address);
      for (const happening of choice.of(report)) recorder.record(happening, leaseUidOf(report, contender));
    },
    onDefect: world.onDefect,
    onStepped: () => {
      const terms = otherTerms.begun(loop.contender);
      // Each holder claims every address, and others that were missed have done so before it.
      for (let term = 0; term < Math.min(terms, TERMS_COUNTED_MAX); term += 1)
        for (const { text } of settings.addresses) budget.noteMoveOfOthers(text);
      server.changed();
    },
  });
  const following = followApplication(
    settings,
    { ...world, network },
    {
      holder: () => holderIn(loop.contender),
      onNews: () => prober.askAhead(following?.probe.name ?? ''),
    },
  );
  const probes = following === null ? settings.probes : [...settings.probes, following.probe];
  const ask = (question: ProbeQuestion | ApplicationQuestion): Ask =>
    question.kind === 'application' ? question.ask : network.ask(question);
  const onVerdict = (verdict: Verdict): void => {
    const { healthy } = verdict;
    // What an application's watch was told may be among it.
    const reason = conceal(verdict.reason);
    const isNews = loop.contender.verdict?.healthy !== healthy;
    logger[!isNews ? 'debug' : healthy ? 'info' : 'warn'](
      { event: 'verdict', healthy },
      healthy ? `healthy: ${reason}` : `unhealthy: ${reason}`,
    );
    loop.post({ type: 'verdict', healthy, reason });
  };
  const prober = new Prober<ProbeQuestion | ApplicationQuestion>(probes, ask, clock, onVerdict, (answer) => metrics.probes.note(answer));
  const readinessProblems = (): readonly string[] => reachability.problems(loop.contender);
  const preflight = new PreflightLog(logger, clock);
  const server = network.serve({
    livenessProblem: () => {
      const silentMs = clock.nowMs() - loop.lastStepMs;
      return silentMs > LOOP_SILENCE_MAX_MS ? `the loop has stood still for ${Math.round(silentMs)}ms` : null;
    },
    readinessProblems,
    metrics: async () => ({
      contentType: metrics.contentType,
      text: await metrics.text({
        contender: loop.contender,
        owners: reachability.owners,
        probes: prober.status,
        watchStands: reachability.watch.stands,
        budget: budgetStatus(),
        isProviderReady: reachability.providerProblem === null,
        isReady: readinessProblems().length === 0,
        droppedLogLines: log.dropped(),
        events: recorder.counts,
        usage: world.usage(),
      }),
    }),
    status: () =>
      statusDocument({
        version: world.version,
        lease: { namespace: settings.lease.namespace, name: settings.lease.name },
        provider: { name: settings.provider.name, problem: reachability.providerProblem, budget: budgetStatus() },
        watch: reachability.watch,
        contender: loop.contender,
        nowMs: clock.nowMs(),
        wallMs: clock.wallMs(),
        owners: reachability.owners,
        probes: concealingData(prober.status, conceal),
        application: concealingData(following?.follower.status ?? null, conceal),
        readinessProblems: readinessProblems(),
        transitions: journal.transitions,
        preflight: notices.addedTo(preflight.latest),
        droppedLogLines: log.dropped(),
      }),
  });
  const tellInterface = (mac: string): void => {
    link.tellInterface(mac);
    loop.post({ type: 'looked', view: link.look() });
  };
  let providerReason: string | null = null;
  const look = (mac: string | null): LinkView | null => {
    if (mac !== null) tellInterface(mac);
    return loop.contender.link;
  };
  const background = Promise.all([
    world.establishResidence(ending.signal, ({ residence, reason }) => {
      logger[residence === 'alone' ? 'info' : 'warn']({ event: `residence-${residence}` }, reason);
      loop.post({ type: 'residence', residence, reason });
    }),
    watch.run(ending.signal),
    prober.run(ending.signal),
    following?.follower.run(ending.signal),
    keepPrepared(provider, clock, ending.signal, (readiness, mayContend) => {
      const { is, reason } = readiness;
      // First, so that nobody contends who does not know where to bind.
      if (readiness.is === 'ready' && readiness.mac !== undefined) tellInterface(readiness.mac);
      if (reason !== providerReason) logger[is === 'ready' ? 'info' : 'error']({ event: `provider-${is}` }, reason);
      providerReason = reason;
      loop.post({ type: 'provider-readiness', ready: mayContend, reason });
    }),
    keepChecking(world.checks?.({ provider, look, isFenced: link.segment?.isFenced ?? false }) ?? [], clock, ending.signal, (findings) =>
      preflight.note(concealingFindings(findings, conceal)),
    ),
  ]).catch((error: unknown) => world.onDefect(asError(error)));
  loop.start();
  return {
    get contender() {
      return loop.contender;
    },
    shutdown: (reason) => loop.post({ type: 'shutdown', reason }),
    requestStepDown: (reason, waitMs) =>
      loop.post({ type: 'step-down-requested', reason, untilMs: waitMs === null ? null : clock.nowMs() + waitMs }),
    stopped: loop.stopped.then(async () => {
      ending.abort(new Error('the agent ends'));
      server.close();
      link.close();
      await recorder.end(LAST_EVENTS_MS);
      network.close();
      await background;
    }),
  };
}

function createRecorder(settings: Settings, { clock, random, network, identity, conceal, log, onDefect }: AgentWorld): EventRecorder {
  const { name, namespace } = settings.lease;
  return new EventRecorder(
    { lease: { namespace, name }, pod: settings.pod },
    {
      events: new KubeEvents(network.kubeAside, identity),
      clock,
      random,
      conceal,
      onProblem: (message) => log.logger.warn({ event: 'events' }, message),
      onDefect,
    },
  );
}

/** Whether the application is on this node is asked of what follows it, and judged like any probe. */
interface ApplicationQuestion {
  readonly kind: 'application';
  readonly ask: Ask;
}

function followApplication(
  { application, nodeName }: Settings,
  { network, clock, random, log: { logger } }: AgentWorld,
  { holder, onNews }: { readonly holder: () => string | null; readonly onNews: () => void },
): { readonly follower: ApplicationFollower; readonly probe: ProbeSpec<ApplicationQuestion> } | null {
  if (application === null) return null;
  const { name, eviction } = application;
  const follower = new ApplicationFollower(
    { name, node: nodeName, eviction },
    { http: network.kubeAside, clock, random, holder, onNews, tell: (level, event, message) => logger[level]({ event }, message) },
  );
  return {
    follower,
    probe: { ...application.probe, name: probeNameOf(application), question: { kind: 'application', ask: follower.ask } },
  };
}

function probeNameOf({ name }: ApplicationSettings): string {
  return `application ${applicationText(name)}`;
}

/** The node of the agent that the Lease names, as far as this one knows. */
function holderIn({ observation }: Contender): string | null {
  const term = observation === null ? null : termOf(observation.sight);
  return term === null ? null : nodeOfIdentity(term.holder);
}

function contenderSettings(settings: Settings, identity: string, isFenced: boolean): ContenderSettings {
  const kind = kindOf(settings.provider.name);
  return {
    identity,
    node: settings.nodeName,
    leaseDurationMs: settings.lease.durationMs,
    renewDeadlineMs: settings.lease.renewDeadlineMs,
    renewIntervalMs: settings.lease.renewIntervalMs,
    addresses: settings.addresses.map(({ text }) => text),
    kind,
    isFenced,
    worstMoveMs: kind === 'routed' ? settings.providerTimeoutMs : 0,
    claimTimeoutMs: settings.providerTimeoutMs,
    verifyIntervalMs: settings.verifyIntervalMs,
    ownerReadPace: profileOf(settings.provider.name).ownerReadPace ?? 1,
    whenAllUnhealthy: settings.whenAllUnhealthy,
    onApiLoss: settings.onApiLoss,
  };
}

function metricFacts({ provider, lease, nodeName, addresses, probes, application }: Settings, version: string): MetricFacts {
  return {
    version,
    node: nodeName,
    lease,
    timings: { leaseDurationMs: lease.durationMs, renewDeadlineMs: lease.renewDeadlineMs, renewIntervalMs: lease.renewIntervalMs },
    addresses: addresses.map(({ text }) => text),
    isRouted: kindOf(provider.name) === 'routed',
    provider: provider.name,
    operations: profileOf(provider.name).operations,
    probes: [...probes.map(({ name }) => name), ...(application === null ? [] : [probeNameOf(application)])],
  };
}

/** The same network, with every request counted that passes by. */
function observed(network: Network, { requests }: Metrics, clock: Clock): Network {
  return {
    ...network,
    kube: observedKubeHttp(network.kube, clock, (exchange) => requests.kubernetes(exchange)),
    kubeAside: observedKubeHttp(network.kubeAside, clock, (exchange) => requests.kubernetes(exchange)),
    provider: observedProviderHttp(network.provider, clock, (exchange) => requests.provider(exchange)),
  };
}
