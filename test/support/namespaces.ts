/**
 * Network namespaces of our own, as root or as an ordinary user.
 *
 * Guarantees: everything happens inside new mount, process and network namespaces that the kernel dissolves when the
 * script ends, however it ends: processes, interfaces and files under /run are gone with it. Whether that can be had is
 * found out by trying.
 */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { constants } from 'node:os';

const INSIDE = 'LEASEHOLD_INSIDE_NAMESPACES';
const NAMESPACES = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
/** How long a script may take to clean up after itself. */
const PATIENCE_MS = 2_000;
const AS_ORDINARY_USER = ['--user', '--map-root-user'];
/** Everything that a lab needs, once: a name, a pair of linked interfaces, a bridge, forwarding. */
const TRIAL = [
  'mount -t tmpfs tmpfs /run',
  'ip netns add trial',
  'ip link add trial0 type veth peer name trial1 netns trial',
  'ip link add trial-bridge type bridge',
  'echo 1 > /proc/sys/net/ipv4/ip_forward',
  'nsenter --net=/run/netns/trial true',
].join(' && ');

export type Availability =
  { readonly is: 'available'; readonly unshare: readonly string[] } | { readonly is: 'unavailable'; readonly why: string };

/** Finds out by trying whether namespaces can be had, and how. */
export function findNamespaces(): Availability {
  if (process.platform !== 'linux') return { is: 'unavailable', why: `this is ${process.platform} and not Linux` };
  for (const [program, argument] of [
    ['ip', '-V'],
    ['unshare', '--version'],
    ['nsenter', '--version'],
  ] as const) {
    if (spawnSync(program, [argument]).error !== undefined) return { is: 'unavailable', why: `there is no program "${program}"` };
  }
  let why = '';
  for (const unshare of [NAMESPACES, [...AS_ORDINARY_USER, ...NAMESPACES]]) {
    const { status, stderr } = spawnSync('unshare', [...unshare, 'sh', '-c', TRIAL], { encoding: 'utf8' });
    if (status === 0) return { is: 'available', unshare };
    why = stderr.trim().split('\n').at(-1) ?? '';
  }
  return { is: 'unavailable', why: why === '' ? 'the kernel does not allow them' : why };
}

/** Whether this process runs inside namespaces of its own already. */
export function isInside(): boolean {
  return process.env[INSIDE] !== undefined;
}

/**
 * Runs a script again, inside new namespaces, and returns its exit code. The script is their first process, or the child of one
 * that also waits for processes whose parents have died, without which a container that had any would never be seen to end.
 */
export async function runInside(
  unshare: readonly string[],
  script: string,
  args: readonly string[],
  first: 'script' | 'shell' = 'script',
): Promise<number> {
  return await endOf(startInside(unshare, script, args, { first }));
}

/** Starts a script again, inside new namespaces, as `runInside` does; on the same output unless said otherwise. */
export function startInside(
  unshare: readonly string[],
  script: string,
  args: readonly string[],
  { first = 'script', ...options }: Pick<SpawnOptions, 'stdio' | 'serialization'> & { readonly first?: 'script' | 'shell' } = {},
): ChildProcess {
  const run = first === 'script' ? 'exec "$@"' : '"$@"; exit "$?"';
  const prepare = 'mount -t tmpfs tmpfs /run && ip link set lo up || exit';
  const command = ['sh', '-c', `${prepare}; ${run}`, 'sh', process.execPath, script, ...args];
  // What is left in /run is gone with it.
  const env = { ...process.env, [INSIDE]: '1', TMPDIR: '/run' };
  const child = spawn('unshare', [...unshare, ...command], { stdio: 'inherit', env, ...options });
  // The foreground group gets Ctrl-C as a whole, and the script inside ends by itself, unless it has only just begun: the
  // first process of a namespace gets no signal before it has a handler for it. Killing `unshare` dissolves everything.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => void setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS));
  }
  return child;
}

/** The exit code of a process once it has ended, as a shell would tell it. */
export async function endOf(child: ChildProcess): Promise<number> {
  return await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(code ?? 128 + (constants.signals[signal ?? 'SIGKILL'] ?? 0)));
  });
}

/** Runs `ip` with the words of one line. Throws with what it said. */
export function ip(line: string): string {
  const { status, stdout, stderr, error } = spawnSync('ip', line.split(' '), { encoding: 'utf8' });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`ip ${line}: ${stderr.trim()}`);
  return stdout;
}

/** Starts a program inside a named namespace. Its process id is the program's own. */
export function spawnIn(
  namespace: string,
  command: readonly string[],
  options: { readonly env: Readonly<Record<string, string>>; readonly stdio: ('ignore' | 'pipe' | 'inherit' | 'ipc')[] },
): ChildProcess {
  return spawn('nsenter', [`--net=/run/netns/${namespace}`, '--', ...command], { env: { ...options.env }, stdio: options.stdio });
}
