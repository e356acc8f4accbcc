/**
 * Runs every command but `run`, and returns its exit code.
 *
 * Guarantees: none of them leaves anything changed on this node or elsewhere, but for `step-down`, which asks the agent that runs.
 * (`check` takes the port for a moment, and tries in one transaction that leaves nothing whether the kernel can keep a fence.) What
 * they touch of the process, its terminal and its environment is passed in.
 */
import type { Network } from './assemble.ts';
import { preflight } from './checks.ts';
import type { CheckWorld } from './checks.ts';
import { concealingData, concealingFindings } from './concealment.ts';
import type { Conceal } from './concealment.ts';
import { withDeadline } from './clock.ts';
import type { Clock } from './clock.ts';
import { clusterStatus } from './command-line/cluster-status.ts';
import type { ClusterStatus } from './command-line/cluster-status.ts';
import { bashCompletion, zshCompletion } from './command-line/completion.ts';
import { EXIT } from './command-line/exit-codes.ts';
import { findingsText } from './command-line/findings.ts';
import { runNetcupLogin } from './command-line/netcup-login.ts';
import type { Wanted } from './command-line/parse.ts';
import { statusLine, statusText } from './command-line/status-text.ts';
import { runStepDown } from './command-line/step-down.ts';
import { painter } from './command-line/text.ts';
import { watch } from './command-line/watch.ts';
import { findControlSocket, findCredentials, findLease, findLocalPort, findNetcupLogin } from './command-line/where.ts';
import type { Surroundings } from './command-line/where.ts';
import { checkUnfenced, SettingsError, unknownSettings } from './config/settings.ts';
import type { Settings } from './config/settings.ts';
import type { LinkView } from './contender/input.ts';
import { fail, runChecks, warn } from './finding.ts';
import type { Finding } from './finding.ts';
import type { Host } from './host.ts';
import type { GetText } from './get-text.ts';
import { Credentials } from './kube/credentials.ts';
import { getFromPod } from './kube/port-forward.ts';
import { KubeTransport } from './kube/transport.ts';
import { unusableLinkFinding } from './link/checks.ts';
import { LinkUnusable } from './link/kernel-link.ts';
import type { Outbound } from './outbound.ts';
import type { Link } from './ports.ts';
import { createProviderHttp } from './provider/http.ts';
import { logInAtNetcup } from './provider/netcup-login.ts';
import { NetcupOpenId } from './provider/netcup-openid.ts';
import { createBudgetedProvider } from './providers.ts';
import { blotOut } from './secret.ts';

export interface Terminal {
  readonly write: (text: string) => void;
  /** To standard error. */
  readonly complain: (text: string) => void;
  readonly isTty: boolean;
  /** Null where nobody has said. Asked anew, because it may change. */
  readonly columns: () => number | null;
}

/** Judges what was seen of the settings' addresses. `view` is null where nothing was. */
export type LinkFindings = (settings: Settings, view: LinkView | null, isFenced: boolean) => readonly Finding[];

export interface CommandWorld {
  readonly terminal: Terminal;
  readonly surroundings: Surroundings;
  readonly clock: Clock;
  readonly outbound: Outbound;
  readonly host: Host;
  readonly version: string;
  /** Aborted when somebody wants the command to end. */
  readonly signal: AbortSignal;
  /** Reads the settings of an agent. Throws SettingsError. */
  readonly loadSettings: () => Settings;
  readonly openNetwork: (settings: Settings) => {
    readonly network: Network;
    readonly credentials: Credentials;
    /** Takes every secret that this process has out of a text. */
    readonly conceal: Conceal;
  };
  readonly openLink: (settings: Settings) => Link;
  /** What is to be said of the addresses as they were found, and of this kernel. */
  readonly linkFindings: LinkFindings;
  /** All addresses of a host name. Throws where it has none. */
  readonly resolve: CheckWorld['resolve'];
  /** Asks the agent of this machine. */
  readonly getText: GetText;
}

/** Where nobody says how wide a line may be: as wide as is pleasant to read, or without an end for a table. */
const READABLE_COLUMNS = 100;
const ENDLESS_COLUMNS = 100_000;
const LOCAL_MS = 2_000;
const POD_MS = 5_000;

export async function runCommand(wanted: Exclude<Wanted, { is: 'run' }>, world: CommandWorld): Promise<number> {
  const { terminal, version } = world;
  switch (wanted.is) {
    case 'misuse':
      terminal.complain(`${wanted.message}\n`);
      return EXIT.usage;
    case 'help':
      terminal.write(wanted.text(Math.min(READABLE_COLUMNS, terminal.columns() ?? READABLE_COLUMNS)));
      return EXIT.done;
    case 'version':
      terminal.write(`leasehold ${version}\n`);
      return EXIT.done;
    case 'completion':
      terminal.write(wanted.shell === 'zsh' ? zshCompletion() : bashCompletion());
      return EXIT.done;
    case 'step-down':
      return await runStepDown(wanted, { ...terminal, socket: findControlSocket(wanted.socket, world.surroundings), clock: world.clock });
    case 'netcup-login':
      return await logInAndWrite(wanted, world);
    case 'status':
      return await runStatus(wanted, world);
    case 'check':
      return await runCheck(wanted, world);
  }
}

async function runCheck({ output }: Wanted & { is: 'check' }, world: CommandWorld): Promise<number> {
  const { terminal, clock, host, signal, surroundings, version } = world;
  let settings: Settings;
  try {
    settings = world.loadSettings();
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    const advice = 'correct it where the settings of the agent come from, such as the ConfigMap leasehold-settings';
    const findings = error.problems.map((problem) => fail('settings', problem, advice));
    if (output === 'json') terminal.write(json({ version, findings }));
    else terminal.complain(`leasehold: ${error.message}\n`);
    return EXIT.settings;
  }
  const { network, credentials, conceal } = world.openNetwork(settings);
  try {
    const checks = preflight(settings, {
      clock,
      kube: network.kube,
      apiServer: async () => (await credentials.access()).server,
      resolve: world.resolve,
      ask: network.ask,
      // What it has to say in passing is in the findings, too.
      provider: createBudgetedProvider(
        settings,
        { clock, host, http: network.provider, kube: network.kube, tell: () => undefined },
        () => undefined,
      ).provider,
      link: (mac) => lookAtLink(settings, mac, world),
    });
    const misspelt = unknownSettings(surroundings.env).map((name) =>
      warn('settings', `${name} is no setting of Leasehold`, 'is it misspelt?'),
    );
    const findings = concealingFindings([...misspelt, ...(await runChecks(checks, clock, signal))], conceal);
    terminal.write(
      output === 'json' ? json({ version, node: settings.nodeName, findings }) : findingsText(findings, look(terminal, surroundings)),
    );
    return findings.some(({ level }) => level === 'fail') ? EXIT.no : EXIT.done;
  } finally {
    network.close();
  }
}

async function logInAndWrite(wanted: Wanted & { is: 'netcup-login' }, world: CommandWorld): Promise<number> {
  const { terminal, surroundings, clock, outbound, signal } = world;
  const endpoint = findNetcupLogin(surroundings);
  if (endpoint === null) {
    terminal.complain('leasehold netcup-login: NETCUP_AUTH_ENDPOINT is no URL: write https://…, or leave it unset\n');
    return EXIT.settings;
  }
  const openId = new NetcupOpenId(createProviderHttp(clock, outbound), endpoint);
  return await runNetcupLogin(wanted, { ...terminal, logIn: (onBegun) => logInAtNetcup(openId, { clock, signal, onBegun }) });
}

/** Opens the interface for one look, and touches nothing there. */
function lookAtLink(settings: Settings, mac: string | null, { openLink, linkFindings }: CommandWorld): readonly Finding[] {
  try {
    const link = openLink(settings);
    if (mac !== null) link.tellInterface(mac);
    const isFenced = link.segment?.isFenced ?? false;
    try {
      const findings = linkFindings(settings, link.look(), isFenced);
      if (link.segment !== null && !isFenced) checkUnfenced(settings);
      return findings;
    } finally {
      link.close();
    }
  } catch (error) {
    if (error instanceof LinkUnusable) return [unusableLinkFinding(error.message)];
    if (error instanceof SettingsError)
      return error.problems.map((problem) => fail('timings', problem, 'choose timings that are safe without the packet filter'));
    throw error;
  }
}

async function runStatus(wanted: Wanted & { is: 'status' }, world: CommandWorld): Promise<number> {
  const { terminal, surroundings, clock, outbound, signal } = world;
  const source = findCredentials(wanted, surroundings);
  if ('problem' in source) {
    terminal.complain(`leasehold status: ${source.problem}\n`);
    return EXIT.unavailable;
  }
  const credentials = new Credentials(source, clock);
  const kube = new KubeTransport(credentials, clock, outbound);
  const lease = findLease(wanted, surroundings);
  const local = findLocalPort(surroundings);
  const conceal = (text: string): string => blotOut(text, credentials.secrets);
  const gather = async (): Promise<ClusterStatus> => {
    const status = await clusterStatus({
      http: kube,
      lease,
      signal,
      readLocal: () => withDeadline(clock, LOCAL_MS, signal, (inner) => world.getText({ ...local, path: '/status', signal: inner })),
      readPod: async (pod, port) =>
        await getFromPod({ namespace: lease.namespace, pod, port }, '/status', {
          ...outbound,
          access: await credentials.access(),
          clock,
          timeoutMs: POD_MS,
          signal,
        }),
    });
    return concealingData(status, conceal);
  };
  const show = (status: ClusterStatus): string => {
    if (wanted.output === 'json')
      return json(
        status.is === 'known' ? { lease: status.lease, nodes: status.nodes, missing: status.missing } : { problem: status.message },
      );
    if (status.is !== 'known') return `${status.message}\n`;
    const { width, paint } = look(terminal, surroundings);
    return statusText(status, { width: terminal.columns() === null ? ENDLESS_COLUMNS : width, paint, wallMs: clock.wallMs() });
  };
  try {
    if (wanted.watch) {
      const isTty = terminal.isTty && wanted.output === 'table';
      const stamp = (): string => (wanted.output === 'json' ? '' : `${timeText(clock)}  `);
      await watch(async () => views(await gather(), show, wanted.output, clock), { isTty, clock, write: terminal.write, stamp, signal });
      return EXIT.done;
    }
    const status = await gather();
    if (status.is === 'known' || wanted.output === 'json') terminal.write(show(status));
    if (status.is !== 'known' && wanted.output !== 'json') terminal.complain(`leasehold status: ${status.message}\n`);
    return status.is === 'known' ? EXIT.done : status.is === 'absent' ? EXIT.no : EXIT.unavailable;
  } finally {
    kube.close();
  }
}

/** What is written of one look: a screen, or a line where there is none. */
function views(
  status: ClusterStatus,
  show: (status: ClusterStatus) => string,
  output: 'table' | 'json',
  clock: Clock,
): { readonly screen: string; readonly line: string } {
  const text = status.is === 'known' ? statusLine(status) : status.message;
  const line = output === 'json' ? JSON.stringify(JSON.parse(show(status))) : text;
  return { screen: `${show(status)}\n${timeText(clock)}, every 2 s; Ctrl-C ends it\n`, line };
}

function look({ columns, isTty }: Terminal, { env }: Surroundings): { readonly width: number; readonly paint: ReturnType<typeof painter> } {
  // https://no-color.org: whatever it is set to, unless that is nothing.
  const hasColours = isTty && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
  return { width: columns() ?? READABLE_COLUMNS, paint: painter(hasColours) };
}

function timeText(clock: Clock): string {
  return new Date(clock.wallMs()).toISOString().replace('T', ' ').replace(/\..*$/, ' UTC');
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
