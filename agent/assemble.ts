/**
 * Puts the parts of an agent together and runs them: the only place that knows every part.
 *
 * Guarantees: whatever touches the outside (clock, chance, interface, log) is passed in. Once the contender has nothing
 * left to do, everything else ends, too.
 */
import { asError } from './clock.ts';
import type { Clock } from './clock.ts';
import { kindOf } from './config/settings.ts';
import type { Settings } from './config/settings.ts';
import { freedomOf } from './contender/lease.ts';
import type { Owner } from './contender/input.ts';
import type { ContenderSettings } from './contender/settings.ts';
import { Credentials } from './kube/credentials.ts';
import { KubeLeaseStore } from './kube/lease-store.ts';
import { KubeLeaseWatch } from './kube/lease-watch.ts';
import { readProviderId } from './kube/node.ts';
import { KubeTransport } from './kube/transport.ts';
import type { Link, Provider } from './ports.ts';
import { askFor, Prober } from './probe/prober.ts';
import { HcloudApi } from './provider/hcloud-api.ts';
import { HcloudFloatingIp } from './provider/hcloud-floating-ip.ts';
import { HcloudServerId } from './provider/hcloud-server-id.ts';
import { createProviderHttp } from './provider/http.ts';
import { NO_PROVIDER } from './provider/none.ts';
import { keepPrepared } from './provider/preparation.ts';
import { Journal } from './report/journal.ts';
import type { Log } from './report/log.ts';
import { StatusServer } from './report/server.ts';
import { statusDocument } from './report/status.ts';
import { ContenderLoop } from './runtime/loop.ts';

/** What an agent is given besides its settings. */
export interface AgentWorld {
  readonly clock: Clock;
  /** A number from 0 up to 1. */
  readonly random: () => number;
  readonly identity: string;
  readonly version: string;
  readonly link: Link;
  readonly log: Log;
  /** Called with what should never have been thrown. The agent does nothing more after it. */
  readonly onDefect: (error: Error) => void;
}

export interface Agent {
  /** Steps down in order and ends. */
  shutdown(reason: string): void;
  /** Resolves when everything has ended. */
  readonly stopped: Promise<void>;
}

/** The API counts as reachable for so long after its last answer, where no watch stands. */
const API_SILENCE_MAX_MS = 10_000;
/** A contender takes in at least one input a second: a loop that has stood still for so long is stuck. */
const LOOP_SILENCE_MAX_MS = 10_000;

/** What the agent has last heard from the outside, for readiness and status. */
interface Hearsay {
  apiAnsweredAtMs: number | null;
  apiProblem: string | null;
  watchStands: boolean;
  providerProblem: string | null;
  readonly owners: Map<string, { owner: Owner; atMs: number }>;
}

/** Starts an agent. */
export function startAgent(settings: Settings, world: AgentWorld): Agent {
  const { clock, link, log } = world;
  const { logger } = log;
  const userAgent = `leasehold/${world.version}`;
  const ending = new AbortController();
  const hearsay: Hearsay = {
    apiAnsweredAtMs: null,
    apiProblem: null,
    watchStands: false,
    providerProblem: 'not asked yet',
    owners: new Map(),
  };
  const journal = new Journal(logger, clock);
  const transport = new KubeTransport(new Credentials(settings.kubernetes, clock), clock, userAgent);
  const provider = withHearsay(createProvider(settings, transport, clock, userAgent), hearsay, clock);
  const store = new KubeLeaseStore(transport, settings.lease, world.identity, clock, ({ status, message }) => {
    if (status !== null && status < 500 && status !== 401 && status !== 403) hearsay.apiAnsweredAtMs = clock.nowMs();
    hearsay.apiProblem = status === null ? message : status >= 500 || status === 401 || status === 403 ? `it answers ${status}` : null;
  });
  const watch = new KubeLeaseWatch(transport, settings.lease, clock, world.random, {
    onSight: (sight) => loop.post({ type: 'lease-seen', sight }),
    onState: (stands, message) => {
      hearsay.watchStands = stands;
      logger.debug(
        { event: stands ? 'watch-stands' : 'watch-broken' },
        stands ? 'watching the Lease' : `the watch of the Lease broke: ${message}`,
      );
    },
  });
  const loop: ContenderLoop = new ContenderLoop(contenderSettings(settings, world.identity), {
    clock,
    lease: store,
    watch,
    link,
    provider,
    report: (report) => journal.report(report),
    onDefect: world.onDefect,
  });
  const prober = new Prober(
    settings.probes,
    (question) => askFor(question, userAgent),
    clock,
    (verdict) => {
      logger[verdict.healthy ? 'info' : 'warn']({ event: 'verdict', healthy: verdict.healthy }, verdict.reason);
      loop.post({ type: 'verdict', ...verdict });
    },
  );
  const readinessProblems = (): readonly string[] => findReadinessProblems(loop, hearsay, clock.nowMs());
  const server = new StatusServer({
    ...settings.listen,
    clock,
    onProblem: (message) => logger.error({ event: 'listen-failed' }, message),
    answers: {
      livenessProblem: () => {
        const silentMs = clock.nowMs() - loop.lastStepMs;
        return silentMs > LOOP_SILENCE_MAX_MS ? `the loop has stood still for ${Math.round(silentMs)}ms` : null;
      },
      readinessProblems,
      status: () =>
        statusDocument({
          version: world.version,
          lease: { namespace: settings.lease.namespace, name: settings.lease.name },
          provider: settings.provider.name,
          contender: loop.contender,
          nowMs: clock.nowMs(),
          wallMs: clock.wallMs(),
          owners: hearsay.owners,
          probes: prober.status,
          readinessProblems: readinessProblems(),
          transitions: journal.transitions,
          droppedLogLines: log.dropped(),
        }),
    },
  });
  let providerReason: string | null = null;
  const background = Promise.all([
    watch.run(ending.signal),
    prober.run(ending.signal),
    keepPrepared(provider, clock, ending.signal, ({ is, reason }, mayContend) => {
      if (reason !== providerReason) logger[is === 'ready' ? 'info' : 'error']({ event: `provider-${is}` }, reason);
      providerReason = reason;
      loop.post({ type: 'provider-readiness', ready: mayContend, reason });
    }),
  ]).catch((error: unknown) => world.onDefect(asError(error)));
  loop.start();
  return {
    shutdown: (reason) => loop.post({ type: 'shutdown', reason }),
    stopped: loop.stopped.then(async () => {
      ending.abort(new Error('the agent ends'));
      server.close();
      transport.close();
      await background;
    }),
  };
}

function contenderSettings(settings: Settings, identity: string): ContenderSettings {
  const kind = kindOf(settings.provider.name);
  return {
    identity,
    node: settings.nodeName,
    leaseDurationMs: settings.lease.durationMs,
    renewDeadlineMs: settings.lease.renewDeadlineMs,
    renewIntervalMs: settings.lease.renewIntervalMs,
    addresses: settings.addresses.map(({ text }) => text),
    kind,
    worstMoveMs: kind === 'routed' ? settings.providerTimeoutMs : 0,
    claimTimeoutMs: settings.providerTimeoutMs,
    verifyIntervalMs: settings.verifyIntervalMs,
    whenAllUnhealthy: settings.whenAllUnhealthy,
  };
}

function createProvider({ provider, addresses, nodeName }: Settings, transport: KubeTransport, clock: Clock, userAgent: string): Provider {
  switch (provider.name) {
    case 'none':
      return NO_PROVIDER;
    case 'hcloud-floating-ip': {
      const http = createProviderHttp(clock, userAgent);
      const serverId = new HcloudServerId(http, {
        configured: provider.serverId,
        metadataEndpoint: provider.metadataEndpoint,
        providerId: (signal) => readProviderId(transport, nodeName, signal),
      });
      const api = new HcloudApi(http, provider.endpoint, provider.token, clock);
      return new HcloudFloatingIp(
        api,
        serverId,
        addresses.map(({ text }) => text),
        clock,
      );
    }
  }
}

/** Remembers what passes by. */
function withHearsay(provider: Provider, hearsay: Hearsay, clock: Clock): Provider {
  const note = (address: string, owner: Owner): void => void hearsay.owners.set(address, { owner, atMs: clock.nowMs() });
  return {
    kind: provider.kind,
    prepare: async (signal) => {
      const readiness = await provider.prepare(signal);
      hearsay.providerProblem = readiness.is === 'ready' ? null : readiness.reason;
      return readiness;
    },
    owner: async (address, signal) => {
      const owner = await provider.owner(address, signal);
      note(address, owner);
      hearsay.providerProblem = owner.is === 'unknown' ? owner.message : null;
      return owner;
    },
    claim: async (address, terms) => {
      const outcome = await provider.claim(address, terms);
      if (outcome.is === 'confirmed') note(address, { is: 'self' });
      if (outcome.is !== 'withdrawn') hearsay.providerProblem = outcome.is === 'failed' ? outcome.message : null;
      return outcome;
    },
  };
}

/** Configured, API and provider reachable, interface there: never the role or the verdict. */
function findReadinessProblems({ contender }: ContenderLoop, hearsay: Hearsay, nowMs: number): string[] {
  const problems: string[] = [];
  const { apiAnsweredAtMs, apiProblem, watchStands, providerProblem } = hearsay;
  const hasJustAnswered = apiAnsweredAtMs !== null && nowMs - apiAnsweredAtMs < API_SILENCE_MAX_MS;
  if (apiProblem !== null && !hasJustAnswered) problems.push(`Kubernetes API: ${apiProblem}`);
  else if (!watchStands && !hasJustAnswered) problems.push('Kubernetes API: not reached');
  if (contender.observation !== null) {
    const freedom = freedomOf(contender.observation, contender.settings);
    if (freedom.is === 'foreign') problems.push(`the Lease belongs to another program: "${freedom.holder}"`);
  }
  if (providerProblem !== null) problems.push(`provider: ${providerProblem}`);
  if (contender.link?.isPresent !== true) problems.push(`interface: ${contender.link?.problem ?? 'not looked at yet'}`);
  return problems;
}
