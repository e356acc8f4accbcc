/**
 * The process: finds out what is wanted of it, and for `run` reads its settings, starts an agent, obeys signals, ends with a code
 * that says why.
 *
 * Exit codes of `run`: 0 stepped down in order; 1 a defect, after which the kernel's address lifetime finishes the job; 77 this
 * process or kernel cannot do what is needed; 78 a setting is not usable; 128 + n a second signal n.
 * This is the only file that touches the process, its environment and its signals.
 */
import { createHash, randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { constants, homedir, hostname, networkInterfaces, release } from 'node:os';
import packageJson from '../package.json' with { type: 'json' };
import { startAgent } from './assemble.ts';
import type { Agent, Network } from './assemble.ts';
import { preflight } from './checks.ts';
import { Children } from './children.ts';
import { asError } from './clock.ts';
import type { Clock } from './clock.ts';
import { EXIT } from './command-line/exit-codes.ts';
import { parseCommandLine } from './command-line/parse.ts';
import type { Wanted } from './command-line/parse.ts';
import { runCommand } from './commands.ts';
import type { LinkFindings } from './commands.ts';
import { secretsIn } from './config/provider-settings.ts';
import { checkUnfenced, loadSettings as loadSettingsFrom, OWN_VARIABLES, SettingsError, unknownSettings } from './config/settings.ts';
import type { Settings } from './config/settings.ts';
import { ControlServer } from './control/server.ts';
import { stepDown } from './control/step-down.ts';
import { getText } from './get-text.ts';
import type { Host } from './host.ts';
import { Credentials, SERVICE_ACCOUNT_FOLDER } from './kube/credentials.ts';
import { KubeTransport } from './kube/transport.ts';
import type { ProcessNames } from './link/abstract-socket.ts';
import { linkFindings } from './link/checks.ts';
import { LinkUnusable } from './link/kernel-link.ts';
import { boottimeMs, canWrite, endWithin, exitNow, reapGroup } from './link/libc.ts';
import { rememberingLookup } from './outbound.ts';
import type { Outbound } from './outbound.ts';
import type { Link } from './ports.ts';
import { askFor } from './probe/prober.ts';
import { createProviderHttp } from './provider/http.ts';
import { kindOf } from './provider/profiles.ts';
import { createLog } from './report/log.ts';
import { replaceFile } from './replace-file.ts';
import { blotOut } from './secret.ts';
import { establishResidence, residenceNames } from './residence.ts';
import type { Log } from './report/log.ts';
import type { ProcessUsage } from './report/process-metrics.ts';
import { StatusServer } from './report/server.ts';
import { systemClock } from './runtime/clock.ts';

/** How long the end may take to be written down. */
const LAST_WORDS_S = 1;
const PROBE_KEY_LENGTH_MIN = 16;

const { version } = packageJson;

/** Seconds since 1970. Looked at once, so that a clock that is set does not start the process anew. */
const STARTED_AT_S = Date.now() / 1_000 - process.uptime();

/** Opens what carries the addresses. Throws LinkUnusable where that cannot work. */
export type OpenLink = (settings: Settings, clock: Clock, onNotice: (level: 'info' | 'warn', message: string) => void) => Link;

/** Two ways to prove to the Kubernetes API who asks: for the Lease, and for everything beside it. */
interface OpenCredentials {
  readonly kube: Credentials;
  readonly kubeAside: Credentials;
}

interface Parts {
  readonly openLink: OpenLink;
  readonly processNames: ProcessNames;
}

/** Does what the command line says, and ends the process. */
export function runProcess(parts: Parts): void {
  const wanted = parseCommandLine(process.argv.slice(2));
  if (wanted.is === 'run') runAgent(parts);
  else void runOther(wanted, parts);
}

/** Runs a command that comes to an end by itself, or at a signal. */
async function runOther(wanted: Exclude<Wanted, { is: 'run' }>, { openLink }: Parts): Promise<void> {
  const clock = systemClock(boottimeMs);
  const outbound = openOutbound(clock);
  const interrupted = new AbortController();
  let code: number | null = null;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      code ??= EXIT.signal + constants.signals[signal];
      interrupted.abort(new Error(`ended by ${signal}`));
      process.exitCode = code;
      // What is under way, such as the look-up of a name, is not waited for.
      if (wanted.is !== 'status' || !wanted.watch) process.exit(code);
    });
  }
  process.on('exit', () => children.endAll());
  // Whoever reads has seen enough.
  process.stdout.on('error', () => process.exit(EXIT.done));
  const readFile = (path: string): string | null => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return null;
    }
  };
  const ended = await runCommand(wanted, {
    terminal: {
      write: (text) => void process.stdout.write(text),
      complain: (text) => void process.stderr.write(text),
      isTty: process.stdout.isTTY,
      columns: () => (process.stdout.isTTY ? process.stdout.columns : null),
    },
    surroundings: { env: process.env, home: homedir(), serviceAccountFolder: SERVICE_ACCOUNT_FOLDER, readFile },
    clock,
    outbound,
    version,
    signal: interrupted.signal,
    loadSettings,
    host,
    openNetwork: (settings) => {
      const credentials = openCredentials(settings, clock);
      const secrets = secretsOf(settings, credentials);
      return {
        network: openNetwork(settings, credentials, clock, outbound, () => undefined),
        credentials: credentials.kube,
        conceal: (text) => blotOut(text, secrets()),
      };
    },
    // What it has to say in passing is in the findings, too.
    openLink: (settings) => openLink(settings, clock, () => undefined),
    linkFindings: judgeLink,
    resolve,
    getText,
  });
  process.exitCode = code ?? ended;
}

/** Runs an agent until it has stepped down, and ends the process. */
function runAgent({ openLink, processNames }: Parts): void {
  const settings = readSettings();
  // A program that a kubeconfig has this process start, for a token, inherits its environment.
  const misspelt = unknownSettings(process.env);
  for (const name of OWN_VARIABLES) Reflect.deleteProperty(process.env, name);
  const clock = systemClock(boottimeMs);
  const credentials = openCredentials(settings, clock);
  const secrets = secretsOf(settings, credentials);
  const log = createLog({
    ...settings.log,
    fd: process.stdout.fd,
    base: { node: settings.nodeName },
    secrets,
  });
  const { logger } = log;
  const onDefect = (error: Error): void => end(log, EXIT.defect, `a defect, please report it: ${error.message}`, error);
  process.on('uncaughtException', onDefect);
  process.on('unhandledRejection', (reason) => onDefect(asError(reason)));

  // First of all, because the kernel drops a signal that the first process of a container has no handler for.
  let agent: Agent | null = null;
  let signals = 0;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      signals += 1;
      if (signals > 1)
        end(log, EXIT.signal + constants.signals[signal], `a second signal (${signal}): ending at once, the kernel removes the addresses`);
      agent?.shutdown(`asked to end by ${signal}`);
    });
  }

  const identity = makeIdentity(settings.nodeName);
  logger.info({ event: 'start', version, identity, settings: shown(settings) }, `leasehold ${version} starts on ${settings.nodeName}`);
  for (const name of misspelt) logger.warn({ event: 'unknown-setting' }, `${name} is no setting of Leasehold: is it misspelt?`);

  const link = tryToOpen(openLink, settings, clock, log);
  const names = residenceNames(settings.lease);
  const uid = process.getuid?.() ?? 0;
  const onListenProblem = (message: string): void => logger.error({ event: 'listen-failed' }, message);
  const network = openNetwork(settings, credentials, clock, openOutbound(clock), onListenProblem);
  const started = startAgent(settings, {
    clock,
    random: Math.random,
    network,
    host,
    identity,
    version,
    link,
    establishResidence: (signal, onReport) => establishResidence(names, { names: processNames, clock, uid }, signal, onReport),
    log,
    usage: processUsage,
    conceal: (text) => blotOut(text, secrets()),
    checks: ({ provider, look, isFenced }) =>
      preflight(settings, {
        clock,
        kube: network.kubeAside,
        apiServer: async () => (await credentials.kubeAside.access()).server,
        resolve,
        ask: network.ask,
        provider,
        link: (mac) => judgeLink(settings, look(mac), isFenced),
      }),
    onDefect,
  });
  agent = started;
  const control = new ControlServer({
    path: settings.controlSocket,
    unique: String(process.pid),
    clock,
    onRequest: (request, tell, signal) => stepDown(request, started, clock, tell, signal),
    onProblem: (message) => logger.warn({ event: 'control-socket' }, message),
  });

  const ended = started.stopped.finally(() => control.close());
  ended.then(
    () => end(log, EXIT.done, 'ended in order'),
    (error: unknown) => onDefect(asError(error)),
  );
}

const children = new Children({
  clock: systemClock(boottimeMs),
  env: process.env,
  kill: (pid, signal) => process.kill(pid, signal),
  reap: reapGroup,
});

/** This machine, as it is whenever it is asked. */
const host: Host = {
  run: children.run,
  interfaces: () =>
    Object.entries(networkInterfaces()).map(([name, addresses = []]) => ({
      name,
      mac: addresses[0]?.mac.toLowerCase() ?? '',
      addresses: addresses.map(({ address }) => address),
    })),
  writeFile: (path, text) => replaceFile(path, text, randomBytes(4).toString('hex')),
};
const resolve = async (hostname: string): Promise<readonly string[]> =>
  (await lookup(hostname, { all: true })).map(({ address }) => address);

const judgeLink: LinkFindings = ({ provider, addresses }, view, isFenced) =>
  linkFindings({ kind: kindOf(provider.name), addresses, view, isFenced, kernelRelease: release() });

function openOutbound(clock: Clock): Outbound {
  return {
    userAgent: `leasehold/${version}`,
    lookup: rememberingLookup((name) => lookup(name, { all: true }), clock),
  };
}

function openCredentials(settings: Settings, clock: Clock): OpenCredentials {
  // Apart from each other, so that whatever befalls the one does not befall the other.
  return { kube: new Credentials(settings.kubernetes, clock), kubeAside: new Credentials(settings.kubernetes, clock) };
}

/** Where LISTEN says, and on loopback, too: by that port-forward and the commands on this node find the agent. */
function listenPlaces({ host, port }: Settings['listen']): Settings['listen'][] {
  const isReached = /^127\.|^::1$|^0\.0\.0\.0$|^::$/.test(host);
  return isReached
    ? [{ host, port }]
    : [
        { host, port },
        { host: '127.0.0.1', port },
      ];
}

function openNetwork(
  settings: Settings,
  credentials: OpenCredentials,
  clock: Clock,
  outbound: Outbound,
  onListenProblem: (message: string) => void,
): Network {
  const kube = new KubeTransport(credentials.kube, clock, outbound);
  const kubeAside = new KubeTransport(credentials.kubeAside, clock, outbound);
  return {
    kube,
    kubeAside,
    provider: createProviderHttp(clock, outbound),
    ask: (question) => askFor(question, outbound),
    serve: (answers) => {
      const servers = listenPlaces(settings.listen).map(
        (place) => new StatusServer({ ...place, names: [settings.nodeName, hostname()], clock, answers, onProblem: onListenProblem }),
      );
      return {
        changed: () => {
          for (const server of servers) server.changed();
        },
        close: () => {
          for (const server of servers) server.close();
        },
      };
    },
    close: () => {
      kube.close();
      kubeAside.close();
    },
  };
}

/** The settings as people need to see them: what a probe asks may carry credentials, and its name says enough. */
function shown(settings: Settings): object {
  return {
    ...settings,
    addresses: settings.addresses.map(({ text, prefixLength }) => `${text}/${prefixLength}`),
    probes: settings.probes.map(({ name, intervalMs, timeoutMs, rise, fall }) => ({ name, intervalMs, timeoutMs, rise, fall })),
  };
}

function loadSettings(): Settings {
  return loadSettingsFrom({
    env: process.env,
    hostname: hostname(),
    readFile: (path) => readFileSync(path, 'utf8'),
    serviceAccountFolder: SERVICE_ACCOUNT_FOLDER,
  });
}

/** Gives every secret that this process has, each time it is asked, because they change. */
function secretsOf(settings: Settings, credentials: OpenCredentials): () => readonly string[] {
  const probeKeys = keysInProbes(settings);
  return () => [
    ...secretsIn(settings.provider).flatMap(({ everHeld }) => everHeld),
    ...[credentials.kube, credentials.kubeAside].flatMap((each) => each.secrets),
    ...probeKeys,
  ];
}

/** What may be a credential in what the probes ask for: a value that nobody would write by hand. */
function keysInProbes({ probes }: Settings): readonly string[] {
  const values = probes.flatMap(({ question }) => (question.kind === 'http' ? [...question.url.searchParams.values()] : []));
  return values.filter((value) => value.length >= PROBE_KEY_LENGTH_MIN);
}

/** Settings that cannot be used end the process before anything has been touched. */
function readSettings(): Settings {
  try {
    return loadSettings();
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    process.stderr.write(`leasehold: ${error.message}\n`);
    process.exit(EXIT.settings);
  }
}

function tryToOpen(openLink: OpenLink, settings: Settings, clock: Clock, log: Log): Link {
  try {
    const link = openLink(settings, clock, (level, message) => log.logger[level]({ event: 'interface' }, message));
    if (link.segment?.isFenced === false) checkUnfenced(settings);
    return link;
  } catch (error) {
    if (error instanceof LinkUnusable) return end(log, EXIT.unable, error.message);
    if (error instanceof SettingsError) return end(log, EXIT.settings, error.message);
    throw error;
  }
}

/** Node, machine and namespace, process: no other process ever has the same. */
function makeIdentity(node: string): string {
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const namespace = readlinkSync('/proc/self/ns/net');
  const here = createHash('sha256').update(`${bootId} ${namespace}`).digest('hex').slice(0, 8);
  return `${node}_${here}_${randomBytes(4).toString('hex')}`;
}

/** A few cheap calls: it is asked at each collection of metrics. */
function processUsage(): ProcessUsage {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  return {
    cpuSeconds: (user + system) / 1_000_000,
    residentBytes: rss,
    heapUsedBytes: heapUsed,
    openFileDescriptors: readdirSync('/proc/self/fd').length,
    startedAtSeconds: STARTED_AT_S,
  };
}

/** Says why and ends, even if nobody reads it: then without these words, at the latest when the alarm rings. */
function end(log: Log, code: number, message: string, error?: Error): never {
  endWithin(LAST_WORDS_S);
  children.endAll();
  if (canWrite(process.stdout.fd)) {
    log.lastWords(() => {
      if (code === EXIT.done) log.logger.info({ event: 'end' }, message);
      else log.logger.fatal({ event: 'end', code, ...(error === undefined ? {} : { err: error }) }, message);
    });
  }
  exitNow(code);
}
