/**
 * From environment variables to one frozen object.
 *
 * Guarantees: either every setting is usable, also together with the others, or every problem is reported at once and
 * nothing has been touched. An empty variable counts as unset. No problem shows a secret.
 */
import { parseAddress } from '../address.ts';
import type { Address } from '../address.ts';
import { asError } from '../clock.ts';
import { timingProblems } from '../contender/settings.ts';
import type { ApplicationName } from '../kube/application-watch.ts';
import type { CredentialSource } from '../kube/credentials.ts';
import type { OwnPod } from '../kube/evictions.ts';
import type { InterfaceChoice } from '../link/interface.ts';
import type { ProbeSpec } from '../probe/probe.ts';
import type { ProviderProfile } from '../provider/profile.ts';
import { kindOf, profileOf } from '../provider/profiles.ts';
import { Secret } from '../secret.ts';
import { withoutSecrets } from './formats.ts';
import type { HostAndPort } from './formats.ts';
import type { ProbeText } from './probe-text.ts';
import { assembleProvider } from './provider-settings.ts';
import type { ProviderSettings } from './provider-settings.ts';
import { FILE_SUFFIX, SettingsReader } from './reader.ts';
import type { SettingsWorld } from './reader.ts';
import { SCHEMA } from './schema.ts';

export interface Settings {
  readonly nodeName: string;
  /** The agent's own pod; null where it is none, or not told which. */
  readonly pod: { readonly name: string; readonly namespace: string; readonly uid: string } | null;
  readonly kubernetes: CredentialSource;
  readonly lease: {
    readonly name: string;
    readonly namespace: string;
    readonly durationMs: number;
    readonly renewDeadlineMs: number;
    readonly renewIntervalMs: number;
  };
  readonly addresses: readonly Address[];
  readonly interfaceChoice: InterfaceChoice;
  readonly provider: ProviderSettings;
  readonly providerTimeoutMs: number;
  readonly verifyIntervalMs: number;
  /** How often an address may move within an hour before it is not claimed back any more. */
  readonly movesPerHour: number;
  readonly probes: readonly ProbeSpec[];
  /** What the address is to stay beside; null where it need not stay beside anything. */
  readonly application: ApplicationSettings | null;
  readonly listen: HostAndPort;
  /** The path of the control socket. */
  readonly controlSocket: string;
  readonly whenAllUnhealthy: 'keep' | 'release';
  readonly onApiLoss: 'hold' | 'release';
  readonly log: { readonly level: string; readonly format: 'json' | 'pretty' };
}

export interface ApplicationSettings {
  readonly name: ApplicationName;
  /** How whether it is on this node is judged, as a probe is. */
  readonly probe: Pick<ProbeSpec, 'intervalMs' | 'timeoutMs' | 'rise' | 'fall'>;
  /** How the agent may have its own pod evicted; null where it may not. */
  readonly eviction: { readonly own: OwnPod; readonly delayMs: number } | null;
}

/** Everything that is wrong with the settings, a line each. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `${problems.length === 1 ? 'a setting is' : `${problems.length} settings are`} not usable:\n${problems.map((problem) => `  ${problem}`).join('\n')}`,
    );
    this.problems = problems;
  }
}

/** Names that begin like ours and are none of them are probably misspelt. */
const OUR_PREFIXES = [
  'LEASE_',
  'RENEW_',
  'PROBE_',
  'PROVIDER_',
  'VERIFY_',
  'HCLOUD_',
  'ROBOT_',
  'EXEC_',
  'NETCUP_',
  'WHEN_ALL_',
  'ON_API_',
  'CONTROL_',
  'ADDRESS',
  'INTERFACE',
  'APPLICATION_',
];

/** Reads the settings. Throws SettingsError with all their problems. */
export function loadSettings(world: SettingsWorld): Settings {
  const reader = new SettingsReader(world);
  const settings = assemble(reader, world);
  reader.refuseMisplacedSecrets();
  if (reader.problems.length > 0 || settings === null) throw new SettingsError(reader.shownProblems);
  return deepFreeze(settings);
}

/**
 * The variables that no program which this one starts needs: secrets, and what may hold one, as a probe's URL does. Where the
 * Kubernetes API is, a credential plugin may want to know.
 */
export const OWN_VARIABLES: readonly string[] = Object.keys(SCHEMA)
  .filter((name) => !name.startsWith('KUBE'))
  .flatMap((name) => [name, name + FILE_SUFFIX]);

/** Variables that look like settings and are none, so that a misspelt one does not go unnoticed. */
export function unknownSettings(env: SettingsWorld['env']): string[] {
  const known = new Set(Object.keys(SCHEMA).flatMap((name) => [name, name + FILE_SUFFIX]));
  // Kubernetes itself injects variables like these for every Service.
  const isInjected = /_SERVICE_(HOST|PORT)|_PORT(_|$)/;
  return Object.keys(env).filter(
    (name) => !known.has(name) && !isInjected.test(name) && OUR_PREFIXES.some((prefix) => name.startsWith(prefix)),
  );
}

function assemble(reader: SettingsReader, world: SettingsWorld): Settings | null {
  const addresses = reader.require('ADDRESSES', 'there is nothing to keep');
  const provider = assembleProvider(reader);
  // Where none is named, that is a problem of its own, and what depends on it is read as for most.
  const profile = profileOf(provider?.name ?? 'hcloud-floating-ip');
  const kubernetes = credentialSource(reader, world);
  reader.problems.push(...selfDependence(kubernetes, addresses ?? []));
  const durationMs = reader.get('LEASE_DURATION');
  const renewDeadlineMs = reader.get('RENEW_DEADLINE');
  const renewIntervalMs = reader.get('RENEW_INTERVAL');
  if (durationMs !== null && renewDeadlineMs !== null && renewIntervalMs !== null) {
    const { kind } = profile;
    // Whether this kernel can keep a fence is not known yet: see checkUnfenced.
    const timings = { leaseDurationMs: durationMs, renewDeadlineMs, renewIntervalMs, kind, isFenced: kind === 'l2' };
    reader.problems.push(...timingTexts(timings));
  }
  const probeDefaults = readProbeDefaults(reader);
  const probes = assembleProbes(reader, world, probeDefaults);
  const ownNamespace = podNamespace(reader, world);
  const all = {
    nodeName: reader.get('NODE_NAME') ?? world.hostname,
    pod: ownPod(reader),
    kubernetes,
    lease: {
      name: reader.get('LEASE_NAME'),
      namespace: reader.get('LEASE_NAMESPACE') ?? ownNamespace,
      durationMs,
      renewDeadlineMs,
      renewIntervalMs,
    },
    addresses,
    interfaceChoice: interfaceChoice(reader, profile),
    provider,
    providerTimeoutMs: reader.get('PROVIDER_TIMEOUT') ?? profile.claimTimeoutMs,
    verifyIntervalMs: reader.get('VERIFY_INTERVAL') ?? profile.verifyIntervalMs,
    movesPerHour: reader.get('MOVES_PER_HOUR'),
    probes,
    application: assembleApplication(reader, ownNamespace, probeDefaults),
    listen: reader.get('LISTEN'),
    controlSocket: reader.get('CONTROL_SOCKET'),
    whenAllUnhealthy: reader.get('WHEN_ALL_UNHEALTHY'),
    onApiLoss: onApiLoss(reader, provider),
    log: { level: reader.get('LOG_LEVEL'), format: reader.get('LOG_FORMAT') },
  };
  // A value is missing only where a problem has been noted.
  return reader.problems.length > 0 ? null : (all as Settings);
}

/** A provider that knows the interface is not second-guessed; a person who names one is. */
function interfaceChoice(reader: SettingsReader, { tellsInterface }: ProviderProfile): InterfaceChoice | null {
  const chosen = reader.get('INTERFACE');
  return chosen?.is === 'auto' && tellsInterface === true ? { is: 'told', mac: null } : chosen;
}

/** Without anybody who says where traffic goes, nothing could tell a holder that its time is over. */
function onApiLoss(reader: SettingsReader, provider: ProviderSettings | null): 'hold' | 'release' {
  const isRouted = provider === null || kindOf(provider.name) === 'routed';
  const chosen = reader.get('ON_API_LOSS') ?? (isRouted ? 'hold' : 'release');
  if (!isRouted && chosen === 'hold') {
    reader.problems.push(
      `ON_API_LOSS=hold cannot be used with PROVIDER=${provider.name}, which does not tell where an address is routed: use release`,
    );
  }
  return chosen;
}

const TIMING_NAMES = { leaseDurationMs: 'LEASE_DURATION', renewDeadlineMs: 'RENEW_DEADLINE', renewIntervalMs: 'RENEW_INTERVAL' } as const;

function timingTexts(timings: Parameters<typeof timingProblems>[0]): string[] {
  return timingProblems(timings).map(
    ({ settings, message }) =>
      `${settings.map((name) => `${TIMING_NAMES[name]}=${timings[name]}ms`).join(', ')} cannot be used: ${message}`,
  );
}

/** Throws SettingsError where the timings are safe only behind a fence, which this kernel cannot keep. */
export function checkUnfenced({ provider, lease }: Settings): void {
  const { durationMs: leaseDurationMs, renewDeadlineMs, renewIntervalMs } = lease;
  const timings = { leaseDurationMs, renewDeadlineMs, renewIntervalMs, kind: kindOf(provider.name), isFenced: false };
  const problems = timingTexts(timings);
  if (problems.length > 0) throw new SettingsError(problems);
}

function readProbeDefaults(reader: SettingsReader): ApplicationSettings['probe'] {
  return {
    intervalMs: reader.get('PROBE_INTERVAL') ?? 0,
    timeoutMs: reader.get('PROBE_TIMEOUT') ?? 0,
    rise: reader.get('PROBE_RISE') ?? 0,
    fall: reader.get('PROBE_FALL') ?? 0,
  };
}

function assembleApplication(
  reader: SettingsReader,
  ownNamespace: string,
  probe: ApplicationSettings['probe'],
): ApplicationSettings | null {
  const selector = reader.get('APPLICATION_SELECTOR');
  const service = reader.get('APPLICATION_SERVICE');
  const isNamed = selector !== null || service !== null;
  const mayEvict = reader.get('APPLICATION_EVICTION') === 'true';
  if (selector !== null && service !== null)
    reader.problems.push('APPLICATION_SELECTOR and APPLICATION_SERVICE are both set: keep one of them');
  if (mayEvict && !isNamed)
    reader.problems.push(
      'APPLICATION_EVICTION=true says nothing without an application: name it in APPLICATION_SELECTOR or APPLICATION_SERVICE',
    );
  if (!isNamed) return null;
  const namespace = reader.get('APPLICATION_NAMESPACE') ?? ownNamespace;
  const by = selector === null ? { service: service ?? '' } : { selector };
  const delayMs = reader.get('APPLICATION_ABSENCE_MAX') ?? 0;
  return { name: { namespace, by }, probe, eviction: mayEvict ? { own: podToEvict(reader, ownNamespace), delayMs } : null };
}

/** Only the pod that the agent runs in may ever be evicted, and of that name there may be another one. */
function podToEvict(reader: SettingsReader, namespace: string): OwnPod {
  const why = 'with APPLICATION_EVICTION=true the agent has to know its own pod, by the downward API (metadata.name, metadata.uid)';
  return { namespace, name: reader.require('POD_NAME', why) ?? '', uid: reader.require('POD_UID', why) ?? '' };
}

function assembleProbes(reader: SettingsReader, world: SettingsWorld, defaults: ApplicationSettings['probe']): ProbeSpec[] {
  const texts = reader.get('PROBES') ?? [];
  return texts.map(({ caPath, ...probe }) => ({ ...defaults, ...probe, question: withCa(reader, world, probe, caPath) }));
}

function withCa(
  reader: SettingsReader,
  world: SettingsWorld,
  { name, question }: ProbeText,
  caPath: string | undefined,
): ProbeText['question'] {
  if (caPath === undefined || question.kind !== 'http') return question;
  try {
    return { ...question, ca: world.readFile(caPath) };
  } catch (error) {
    const { code = 'no reason given' } = asError(error) as NodeJS.ErrnoException;
    reader.problems.push(`PROBES: ${name}: ca=${withoutSecrets(caPath)} cannot be read (${code})`);
    return question;
  }
}

function credentialSource(reader: SettingsReader, world: SettingsWorld): CredentialSource | null {
  const path = reader.get('KUBECONFIG');
  if (path !== null) {
    try {
      world.readFile(path);
    } catch (error) {
      const { code = 'no reason given' } = asError(error) as NodeJS.ErrnoException;
      // What is no path may be what belongs into the file.
      reader.problems.push(`KUBECONFIG="${withoutSecrets(path)}" cannot be read (${code}): write the path of a kubeconfig`);
    }
    return { kind: 'kubeconfig', path };
  }
  const host = reader.get('KUBERNETES_SERVICE_HOST');
  const port = reader.get('KUBERNETES_SERVICE_PORT');
  if (host !== null) return { kind: 'service-account', host, port: String(port ?? 443), folder: world.serviceAccountFolder };
  reader.problems.push('KUBECONFIG is not set, and this is no pod: name a kubeconfig file, such as /etc/rancher/k3s/k3s.yaml');
  return null;
}

/** Whoever loses the address by which he reaches the Kubernetes API could never take it again. */
function selfDependence(kubernetes: CredentialSource | null, addresses: readonly Address[]): string[] {
  if (kubernetes?.kind !== 'service-account') return [];
  const api = parseAddress(kubernetes.host);
  return addresses
    .filter(({ text }) => text === api?.text)
    .map(
      ({ text }) =>
        `KUBERNETES_SERVICE_HOST="${kubernetes.host}" is one of ADDRESSES, so that nobody could take ${text} again once it is lost: ` +
        'name an API server that does not depend on it, such as the one on this node (status.hostIP, as in manifests/overlays/control-plane)',
    );
}

function ownPod(reader: SettingsReader): Settings['pod'] {
  const [name, namespace, uid] = [reader.get('POD_NAME'), reader.get('POD_NAMESPACE'), reader.get('POD_UID')];
  return name === null || namespace === null || uid === null ? null : { name, namespace, uid };
}

function podNamespace(reader: SettingsReader, world: SettingsWorld): string {
  const named = reader.get('POD_NAMESPACE');
  if (named !== null) return named;
  try {
    return world.readFile(`${world.serviceAccountFolder}/namespace`).trim() || 'default';
  } catch {
    return 'default';
  }
}

function deepFreeze<Value extends object>(value: Value): Value {
  for (const part of Object.values(value) as unknown[]) {
    // A Secret reads itself anew and so must stay as it is.
    if (typeof part === 'object' && part !== null && !(part instanceof Secret) && !Object.isFrozen(part)) deepFreeze(part);
  }
  return Object.freeze(value);
}
