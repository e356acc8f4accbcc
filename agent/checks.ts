/**
 * The preflight: everything that `leasehold check` looks at, and that an agent looks at when it starts.
 *
 * Guarantees: it changes nothing, on this node or elsewhere. Each room brings the checks of what it knows; this only says in
 * which order they are shown.
 */
import type { Clock } from './clock.ts';
import { controlCheck } from './control/check.ts';
import type { ApplicationSettings, Settings } from './config/settings.ts';
import { isAnotherPrograms, nodeOfIdentity } from './contender/lease.ts';
import { requestTimeoutMs } from './contender/settings.ts';
import { ok } from './finding.ts';
import type { Check, Finding } from './finding.ts';
import { kubeChecks } from './kube/checks.ts';
import type { FollowedApplication } from './kube/checks.ts';
import type { KubeHttp } from './kube/transport.ts';
import type { Provider } from './ports.ts';
import { probeChecks } from './probe/checks.ts';
import type { Ask, ProbeQuestion } from './probe/probe.ts';
import { kindOf, profileOf } from './provider/profiles.ts';
import { listenCheck } from './report/listen-check.ts';

/** What the checks see of the world. */
export interface CheckWorld {
  readonly clock: Clock;
  readonly kube: KubeHttp;
  /** Where the API server is. Throws where the credentials cannot be read. */
  readonly apiServer: () => Promise<URL>;
  /** All addresses of a host name. Throws where it has none. */
  readonly resolve: (hostname: string) => Promise<readonly string[]>;
  readonly ask: (question: ProbeQuestion) => Ask;
  readonly provider: Pick<Provider, 'check' | 'prepare'>;
  /** What is found of this kernel and its interfaces, with the hardware address that the provider names, or null. */
  readonly link: (mac: string | null) => readonly Finding[];
}

export function preflight(settings: Settings, world: CheckWorld): Check[] {
  const { lease, addresses, application, probes, listen, controlSocket } = settings;
  const { clock, kube, apiServer, resolve, ask, provider, link } = world;
  return [
    { name: 'settings', run: () => Promise.resolve([settingsFinding(settings), timingsFinding(settings)]) },
    ...kubeChecks({
      http: kube,
      lease,
      application: application === null ? null : followed(application),
      addresses: addresses.map(({ text }) => text),
      apiServer,
      resolve,
      isAnotherPrograms,
      nodeOf: nodeOfIdentity,
      requestTimeoutMs: requestTimeoutMs(lease),
      clock,
    }),
    { name: 'provider', run: (signal) => provider.check(signal) },
    { name: 'interface', run: async (signal) => link(await toldInterface(settings, provider, signal)) },
    ...(probes.length === 0 && application !== null ? [] : probeChecks(probes, ask, clock)),
    listenCheck(listen),
    controlCheck(controlSocket),
  ];
}

/** The hardware address that the provider names; null where it names none. */
async function toldInterface(
  { provider: { name } }: Settings,
  provider: Pick<Provider, 'prepare'>,
  signal: AbortSignal,
): Promise<string | null> {
  if (profileOf(name).tellsInterface !== true) return null;
  const readiness = await provider.prepare(signal);
  return readiness.is === 'ready' ? (readiness.mac ?? null) : null;
}

function followed({ name: { namespace, by }, eviction }: ApplicationSettings): FollowedApplication {
  return { namespace, byService: 'service' in by, evictsIn: eviction?.own.namespace ?? null };
}

function settingsFinding({ nodeName, provider, addresses }: Settings): Finding {
  const kept = addresses.map(({ text, prefixLength }) => `${text}/${prefixLength}`).join(', ');
  return ok('settings', `${nodeName} may keep ${kept} by way of ${provider.name} (${kindOf(provider.name)})`);
}

function timingsFinding({ lease }: Settings): Finding {
  const { durationMs, renewDeadlineMs, renewIntervalMs } = lease;
  const text = (ms: number): string => (ms % 1_000 === 0 ? `${ms / 1_000} s` : `${ms} ms`);
  return ok(
    'timings',
    `another node may take over ${text(durationMs)} after the last sign of life; an API that is away for ${text(renewDeadlineMs - renewIntervalMs)} costs nothing`,
  );
}
