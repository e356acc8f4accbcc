/**
 * The agent's image as a container, started as a kubelet would start our pod: by an OCI runtime, with the image's own entry
 * point, a read-only root, the capabilities of the manifests, no new privileges and the seccomp profile of the runtime.
 *
 * Runs in the network of whoever starts it, because the agent uses its node's. Has to run inside namespaces of its own,
 * since it takes the control groups out of sight: some runtimes refuse machines where their two versions are mixed.
 */
import { spawn, spawnSync } from 'node:child_process';
import type { SpawnSyncReturns } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AgentProcess } from '../../test/support/agent-process.ts';
import type { ImageConfig } from './layout.ts';

/** Where Debian puts the profile that its container tools share, which is also where RuntimeDefault comes from. */
const SECCOMP_PROFILE = '/usr/share/containers/seccomp.json';
const RUNTIME = 'crun';
/** How long a program inside may take that is only asked something. */
const PATIENCE_MS = 30_000;

export interface Mount {
  /** A file or folder of this machine, seen read-only inside. */
  readonly from: string;
  readonly to: string;
}

export interface ContainerOptions {
  /** The image's files. Nothing is written into them. */
  readonly root: string;
  readonly image: ImageConfig;
  /** For the runtime's own files. */
  readonly folder: string;
  readonly node: string;
  readonly env: Readonly<Record<string, string>>;
  /** As manifests name them: `NET_ADMIN`. */
  readonly capabilities: readonly string[];
  readonly mounts: readonly Mount[];
}

/** Why containers cannot be started here, or null. */
export function whyNoContainers(): string | null {
  if (spawnSync(RUNTIME, ['--version']).error !== undefined) return `there is no program "${RUNTIME}"`;
  try {
    readFileSync(SECCOMP_PROFILE);
    return null;
  } catch {
    return `there is no seccomp profile ${SECCOMP_PROFILE}`;
  }
}

/** Takes the control groups out of sight of this mount namespace, and with it of the runtime. */
export function hideControlGroups(): void {
  spawnSync('sh', ['-c', 'umount -R /sys/fs/cgroup; mount -t tmpfs tmpfs /sys/fs/cgroup']);
}

export class Container {
  readonly agent: AgentProcess;
  readonly #name: string;
  readonly #state: string;
  readonly #env: readonly string[];

  private constructor(agent: AgentProcess, { node, image }: ContainerOptions, state: string) {
    this.agent = agent;
    this.#name = node;
    this.#state = state;
    this.#env = image.env;
  }

  static start(options: ContainerOptions): Container {
    const bundle = join(options.folder, options.node);
    const state = join(options.folder, 'state');
    for (const each of [bundle, state]) mkdirSync(each, { recursive: true });
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(runtimeConfig(options)));
    const args = ['--root', state, '--cgroup-manager=disabled', 'run', '--bundle', bundle, options.node];
    const child = spawn(RUNTIME, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    return new Container(new AgentProcess(options.node, child), options, state);
  }

  /** The process id of the agent, as this machine counts. */
  get pid(): number {
    return (JSON.parse(this.#runtime('state', this.#name).stdout) as { pid: number }).pid;
  }

  /** Sends a signal to the agent, as a kubelet does to end a pod. */
  signal(signal: NodeJS.Signals): void {
    this.#runtime('kill', this.#name, signal);
  }

  /** Runs a program inside, as `kubectl exec POD -- WORD…` does, in the image's own environment and what is given besides. */
  exec(env: readonly string[], ...words: string[]): SpawnSyncReturns<string> {
    const settings = [...this.#env, ...env].flatMap((each) => ['--env', each]);
    return this.#runtime('exec', ...settings, this.#name, ...words);
  }

  #runtime(...args: string[]): SpawnSyncReturns<string> {
    return spawnSync(RUNTIME, ['--root', this.#state, ...args], { encoding: 'utf8', timeout: PATIENCE_MS, killSignal: 'SIGKILL' });
  }
}

/** What the runtime is told: the image's own choices, and those of the manifests. */
function runtimeConfig({ root, image, env, capabilities, mounts }: ContainerOptions): object {
  const names = capabilities.map((name) => `CAP_${name}`);
  const [uid = 0, gid = 0] = image.user.split(':').map(Number);
  const memory = (destination: string, ...options: string[]): object => ({
    destination,
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', ...options],
  });
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid, gid },
      args: image.entrypoint,
      cwd: image.workingDir,
      env: [...image.env, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)],
      noNewPrivileges: true,
      capabilities: { bounding: names, effective: names, permitted: names },
    },
    root: { path: root, readonly: true },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      memory('/dev', 'mode=755'),
      memory('/run/leasehold', 'mode=755', 'noexec', 'nodev'),
      ...mounts.map(({ from, to }) => ({ destination: to, type: 'bind', source: from, options: ['bind', 'ro'] })),
    ],
    linux: { namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'ipc' }, { type: 'uts' }], seccomp: seccomp(names) },
  };
}

interface ProfileRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly args: readonly object[] | null;
  readonly errnoRet?: number;
  readonly includes?: { readonly caps?: readonly string[]; readonly arches?: readonly string[] };
  readonly excludes?: { readonly caps?: readonly string[]; readonly arches?: readonly string[] };
}

/** The shared profile, resolved for this architecture and these capabilities, as container engines do. */
function seccomp(capabilities: readonly string[]): object {
  const profile = JSON.parse(readFileSync(SECCOMP_PROFILE, 'utf8')) as {
    readonly defaultAction: string;
    readonly defaultErrnoRet: number;
    readonly archMap: readonly { readonly architecture: string; readonly subArchitectures: readonly string[] }[];
    readonly syscalls: readonly ProfileRule[];
  };
  const [arch, seccompArch] = process.arch === 'arm64' ? ['arm64', 'SCMP_ARCH_AARCH64'] : ['amd64', 'SCMP_ARCH_X86_64'];
  const applies = ({ includes, excludes }: ProfileRule): boolean =>
    (includes?.caps ?? []).every((each) => capabilities.includes(each)) &&
    (includes?.arches ?? [arch]).includes(arch) &&
    !(excludes?.caps ?? []).some((each) => capabilities.includes(each)) &&
    !(excludes?.arches ?? []).includes(arch);
  const architectures = profile.archMap.filter(({ architecture }) => architecture === seccompArch);
  return {
    defaultAction: profile.defaultAction,
    defaultErrnoRet: profile.defaultErrnoRet,
    architectures: architectures.flatMap(({ architecture, subArchitectures }) => [architecture, ...subArchitectures]),
    syscalls: profile.syscalls.filter(applies).map(({ names, action, args, errnoRet }) => ({
      names,
      action,
      ...(args === null ? {} : { args }),
      ...(errnoRet === undefined ? {} : { errnoRet }),
    })),
  };
}
