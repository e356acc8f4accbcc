/**
 * Puts the parts of an agent together and runs them: the only place that knows every part.
 *
 * Guarantees: whatever touches the outside (clock, chance, network, interface, log) is passed in. Once the contender has
 * nothing left to do, everything else ends, too.
 */
import { asError } from './clock.ts';
import type { Clock } from './clock.ts';
import { kindOf } from './config/settings.ts';
import type { Settings } from './config/settings.ts';
import type { ContenderSettings } from './contender/settings.ts';
import { KubeLeaseStore } from './kube/lease-store.ts';
import { KubeLeaseWatch } from './kube/lease-watch.ts';
import { readProviderId } from './kube/node.ts';
import { keepChecking } from './finding.ts';
import type { Check, Finding } from './finding.ts';
import type { LinkView } from './contender/input.ts';
import type { Contender } from './contender/state.ts';
import type { KubeHttp } from './kube/transport.ts';
import type { Link, Provider } from './ports.ts';
import type { Ask, ProbeQuestion } from './probe/probe.ts';
import { Prober } from './probe/prober.ts';
import type { ResidenceReport } from './residence.ts';
import { HcloudApi } from './provider/hcloud-api.ts';
import { HcloudFloatingIp } from './provider/hcloud-floating-ip.ts';
import { HcloudServerId } from './provider/hcloud-server-id.ts';
import type { ProviderHttp } from './provider/http.ts';
import { L2 } from './provider/l2.ts';
import { keepPrepared } from './provider/preparation.ts';
import { Journal } from './report/journal.ts';
import type { Log } from './report/log.ts';
import { Metrics } from './report/metrics.ts';
import { Reachability } from './report/reachability.ts';
import type { Answers } from './report/server.ts';
import { statusDocument } from './report/status.ts';
import { ContenderLoop } from './runtime/loop.ts';

/** How an agent reaches others and is reached, each at its lowest seam. */
export interface Network {
  readonly kube: KubeHttp;
  readonly provider: ProviderHttp;
  readonly ask: (question: ProbeQuestion) => Ask;
  /** Serves what people and the kubelet ask this agent until it is closed. */
  readonly serve: (answers: Answers) => { close(): void };
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
  readonly link: Link;
  /** Finds out whether another agent for this Lease lives on this node, and tells each change until the signal is aborted. */
  readonly establishResidence: (signal: AbortSignal, onReport: (report: ResidenceReport) => void) => Promise<void>;
  readonly log: Log;
  /** What the agent looks at when it starts, beside its work; nothing where that is not wanted. */
  readonly checks?: (parts: CheckedParts) => readonly Check[];
  /** Called with what should never have been thrown. The agent does nothing more after it. */
  readonly onDefect: (error: Error) => void;
}

/** What an agent lets its own checks see. */
export interface CheckedParts {
  readonly provider: Pick<Provider, 'check'>;
  readonly look: () => LinkView | null;
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

/** Starts an agent. */
export function startAgent(settings: Settings, world: AgentWorld): Agent {
  const { clock, network, link, log } = world;
  const { logger } = log;
  const ending = new AbortController();
  const reachability = new Reachability(clock);
  const journal = new Journal(logger, clock);
  const metrics = new Metrics(settings.addresses.map(({ text }) => text));
  const provider = reachability.noting(createProvider(settings, network, clock));
  const store = new KubeLeaseStore(network.kube, settings.lease, world.identity, clock, (problem) => reachability.noteApi(problem));
  const watch = new KubeLeaseWatch(network.kube, settings.lease, clock, world.random, {
    onSight: (sight) => loop.post({ type: 'lease-seen', sight }),
    onState: ({ stands, problem, isRefused }) => {
      reachability.noteWatch(stands, problem);
      const event = stands ? 'watch-stands' : 'watch-broken';
      logger[isRefused ? 'warn' : 'debug']({ event }, stands ? 'watching the Lease' : `the watch of the Lease broke: ${problem}`);
    },
  });
  const loop: ContenderLoop = new ContenderLoop(contenderSettings(settings, world.identity, link.segment?.isFenced ?? false), {
    clock,
    lease: store,
    watch,
    link,
    provider,
    report: (report) => {
      journal.report(report);
      metrics.report(report);
    },
    onDefect: world.onDefect,
  });
  const prober = new Prober(settings.probes, network.ask, clock, (verdict) => {
    const { healthy, reason } = verdict;
    const isNews = loop.contender.verdict?.healthy !== healthy;
    logger[!isNews ? 'debug' : healthy ? 'info' : 'warn'](
      { event: 'verdict', healthy },
      healthy ? `healthy: ${reason}` : `unhealthy: ${reason}`,
    );
    loop.post({ type: 'verdict', ...verdict });
  });
  const readinessProblems = (): readonly string[] => reachability.problems(loop.contender);
  let preflight: { readonly at: string; readonly findings: readonly Finding[] } | null = null;
  const server = network.serve({
    livenessProblem: () => {
      const silentMs = clock.nowMs() - loop.lastStepMs;
      return silentMs > LOOP_SILENCE_MAX_MS ? `the loop has stood still for ${Math.round(silentMs)}ms` : null;
    },
    readinessProblems,
    metrics: async () => ({ contentType: metrics.contentType, text: await metrics.text() }),
    status: () =>
      statusDocument({
        version: world.version,
        lease: { namespace: settings.lease.namespace, name: settings.lease.name },
        provider: { name: settings.provider.name, problem: reachability.providerProblem },
        watch: reachability.watch,
        contender: loop.contender,
        nowMs: clock.nowMs(),
        wallMs: clock.wallMs(),
        owners: reachability.owners,
        probes: prober.status,
        readinessProblems: readinessProblems(),
        transitions: journal.transitions,
        preflight,
        droppedLogLines: log.dropped(),
      }),
  });
  let providerReason: string | null = null;
  let failing = '';
  const onFindings = (findings: readonly Finding[]): void => {
    preflight = { at: new Date(clock.wallMs()).toISOString(), findings };
    const failed = findings.filter(({ level }) => level === 'fail');
    const before = failing;
    failing = failed.map(({ name, message }) => `${name}: ${message}`).join('\n');
    if (failing === before) return;
    for (const { name, message, advice } of failed)
      logger.error({ event: 'preflight', check: name }, `${name}: ${message}${advice === null ? '' : `: ${advice}`}`);
  };
  const background = Promise.all([
    world.establishResidence(ending.signal, ({ residence, reason }) => {
      logger[residence === 'alone' ? 'info' : 'warn']({ event: `residence-${residence}` }, reason);
      loop.post({ type: 'residence', residence, reason });
    }),
    watch.run(ending.signal),
    prober.run(ending.signal),
    keepPrepared(provider, clock, ending.signal, ({ is, reason }, mayContend) => {
      if (reason !== providerReason) logger[is === 'ready' ? 'info' : 'error']({ event: `provider-${is}` }, reason);
      providerReason = reason;
      loop.post({ type: 'provider-readiness', ready: mayContend, reason });
    }),
    keepChecking(
      world.checks?.({ provider, look: () => loop.contender.link, isFenced: link.segment?.isFenced ?? false }) ?? [],
      clock,
      ending.signal,
      onFindings,
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
      network.close();
      link.close();
      await background;
    }),
  };
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
    whenAllUnhealthy: settings.whenAllUnhealthy,
    onApiLoss: settings.onApiLoss,
  };
}

/** The provider that the settings name. */
export function createProvider(
  { provider, addresses, nodeName }: Settings,
  network: Pick<Network, 'kube' | 'provider'>,
  clock: Clock,
): Provider {
  switch (provider.name) {
    case 'l2':
      return L2;
    case 'hcloud-floating-ip': {
      const serverId = new HcloudServerId(network.provider, {
        configured: provider.serverId,
        metadataEndpoint: provider.metadataEndpoint,
        providerId: (signal) => readProviderId(network.kube, nodeName, signal),
      });
      const api = new HcloudApi(network.provider, provider.endpoint, provider.token, clock);
      return new HcloudFloatingIp(
        api,
        serverId,
        addresses.map(({ text }) => text),
        clock,
      );
    }
  }
}
