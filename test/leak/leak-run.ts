/**
 * One run of a whole agent among servers that say back whatever they are told, and everything that came out of it.
 *
 * The agent is the built bundle as a real process. Collected: both outputs, every answer of its port, every Lease and Event that was
 * stored, everything it sent to others but the header that is made for it, the arguments of its process, and arguments and
 * environments of those that it starts. Not its memory, and not the environment that it was given.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AgentWorld } from '../support/agent-world.ts';
import { entryPoint } from '../support/agent-process.ts';
import { eventually } from '../support/eventually.ts';
import { HttpStandIn } from '../support/http-stand-in.ts';
import type { Answer, Exchange } from '../support/http-stand-in.ts';
import type { Harvested, Planted } from './traces.ts';

type Env = Readonly<Record<string, string | undefined>>;

/** What is asked for over HTTP besides whatever the page names. */
const PATHS = ['/', '/healthz', '/readyz', '/status', '/metrics', '/status/stream', '/nothing-here', '/status?verbose=1', '/../etc/passwd'];
/** A stream is listened to for so long. */
const STREAM_MS = 300;
const SAMPLE_MS = 10;
const FIRST_PORT = 30_100;
const PORTS = 1_000;
const QUICK = { LEASE_DURATION: '1500ms', RENEW_DEADLINE: '900ms', RENEW_INTERVAL: '200ms' };
/** What every agent is told, and what is recognised in what came out. */
export const POD = { POD_NAME: 'leasehold-x7k2p', POD_NAMESPACE: 'default', POD_UID: '5f0c0a4e-0000-4000-8000-0000000000aa' };

let count = 0;

export class LeakRun {
  readonly world: AgentWorld;
  readonly planted: Record<string, string>;
  /** What asks whether this node is healthy. */
  readonly probed: HttpStandIn;
  /** Where redirects lead: nobody should ever come. */
  readonly trap: HttpStandIn;
  readonly #bundle: string;
  readonly #harvest: Harvested[] = [];
  readonly #children = new Map<string, string>();
  readonly #outputs: { readonly name: string; stdout: string; stderr: string }[] = [];
  readonly #processes: { readonly child: ChildProcess; readonly ended: Promise<number | string> }[] = [];
  readonly #sampler: NodeJS.Timeout;
  readonly #port: number;
  isProbedWell = true;

  private constructor(bundle: string, world: AgentWorld, planted: Planted, servers: { probed: HttpStandIn; trap: HttpStandIn }) {
    this.#bundle = bundle;
    this.world = world;
    this.planted = { ...planted };
    this.probed = servers.probed;
    this.trap = servers.trap;
    // Below the range that the kernel gives out by itself.
    count += 1;
    this.#port = FIRST_PORT + (count % PORTS);
    world.kube.onStored = (lease) => this.#harvest.push({ from: 'the Lease', text: JSON.stringify(lease) });
    this.#sampler = setInterval(() => this.#sampleProcesses(), SAMPLE_MS);
  }

  static async open(bundle: string, planted: Planted): Promise<LeakRun> {
    const world = await AgentWorld.open();
    const isWell = (): boolean => run.isProbedWell;
    const probed = new HttpStandIn((exchange) => (isWell() ? { status: 200, body: 'well' } : run.elsewhere(exchange)), null);
    const trap = new HttpStandIn(() => ({ status: 200, body: 'caught' }), null);
    await Promise.all([probed.listen(), trap.listen()]);
    const run: LeakRun = new LeakRun(bundle, world, planted, { probed, trap });
    return run;
  }

  /** A redirect that says back what was sent. */
  elsewhere(exchange: Exchange): Answer {
    return { status: 302, body: echoOf(exchange), headers: { location: `${this.trap.url}/?${encodeURIComponent(echoOf(exchange))}` } };
  }

  /** A kubeconfig with these credentials of its user. */
  kubeconfig(user: object): string {
    const path = join(this.world.folder, 'credentials');
    const config = JSON.parse(this.world.kube.kubeconfig()) as { users: { name: string; user: object }[] };
    config.users = [{ name: 'agent', user }];
    writeFileSync(path, JSON.stringify(config));
    return path;
  }

  /** Starts one of the program's commands. `env` changes its settings; undefined unsets one. `through` is a program that starts it. */
  start(
    name: string,
    args: readonly string[],
    env: Env,
    through: readonly string[] = [],
  ): { readonly child: ChildProcess; readonly ended: Promise<number | string> } {
    const [program = '', ...before] = [...through, ...entryPoint(this.#bundle)];
    const settings: Env = {
      PATH: process.env['PATH'],
      NODE_NAME: 'node-a',
      ADDRESSES: '203.0.113.10',
      INTERFACE: this.world.interfaceName,
      PROVIDER: 'hcloud-floating-ip',
      HCLOUD_ENDPOINT: this.world.hcloud.endpoint,
      HCLOUD_METADATA_ENDPOINT: this.world.hcloud.metadataEndpoint,
      LISTEN: `127.0.0.1:${this.#port}`,
      LOG_LEVEL: 'trace',
      ...QUICK,
      ...POD,
      ...env,
    };
    const set = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
    const child = spawn(program, [...before, ...args], { env: set, stdio: ['ignore', 'pipe', 'pipe'] });
    const output = { name, stdout: '', stderr: '' };
    this.#outputs.push(output);
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
    // Everything has been read once the streams are closed.
    const ended = new Promise<number | string>((resolve) => child.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown')));
    this.#processes.push({ child, ended });
    return { child, ended };
  }

  /** Everything that was written to any output so far. */
  get output(): string {
    return this.#outputs.map(({ stdout, stderr }) => stdout + stderr).join('\n');
  }

  async role(): Promise<string | null> {
    try {
      return ((await (await fetch(`http://127.0.0.1:${this.#port}/status`)).json()) as { role: string }).role;
    } catch {
      return null;
    }
  }

  async untilRole(role: string): Promise<void> {
    try {
      await eventually(`it is ${role}`, async () => (await this.role()) === role, 15_000);
    } catch (error) {
      throw new Error(`${String(error)}\n${this.output}`);
    }
  }

  /** Asks the agent for everything that it answers, and whatever its page refers to. */
  async ask(): Promise<void> {
    const asked = new Set<string>();
    const waiting = [...PATHS];
    for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
      if (asked.has(path) || asked.size > 40) continue;
      asked.add(path);
      const text = await fetchAll(`http://127.0.0.1:${this.#port}${path}`);
      this.#harvest.push({ from: `http ${path}`, text });
      if (path === '/')
        waiting.push(...[...text.matchAll(/["'`](\/?[a-z][a-z/-]+)["'`]/g)].map(([, found = '']) => `/${found.replace(/^\//, '')}`));
    }
  }

  /** Everything that has come out, by where. */
  harvest(): Harvested[] {
    const { kube, hcloud } = this.world;
    const sent = (what: string, server: HttpStandIn, isPathTheirs = false): Harvested[] =>
      server.exchanges.map(({ method, path, body, headers }) => {
        const others = Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'authorization'));
        return { from: `a request to ${what}`, text: `${method} ${isPathTheirs ? '' : path} ${JSON.stringify(others)} ${body}` };
      });
    return [
      ...this.#outputs.flatMap(({ name, stdout, stderr }) => [
        { from: `stdout of ${name}`, text: stdout },
        { from: `stderr of ${name}`, text: stderr },
      ]),
      ...this.#harvest,
      ...kube.events.all.map((event) => ({ from: 'an Event', text: JSON.stringify(event) })),
      ...sent('Kubernetes', kube.http),
      ...sent('the provider', hcloud.http),
      ...sent('the metadata service', hcloud.metadata),
      // A probe's query is meant for who is probed.
      ...sent('what is probed', this.probed, true),
      ...sent('where a redirect leads', this.trap),
      ...[...this.#children].map(([from, text]) => ({ from, text })),
    ];
  }

  async close(): Promise<void> {
    clearInterval(this.#sampler);
    for (const { child, ended } of this.#processes) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await ended;
    }
    await Promise.all([this.probed.close(), this.trap.close(), this.world.close()]);
  }

  /** Arguments of our processes, and arguments and environment of every one that they have started. */
  #sampleProcesses(): void {
    const parents = new Map<number, number>();
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue;
      const stat = read(`/proc/${entry}/stat`);
      parents.set(Number(entry), Number(/^.*\) \S (\d+)/s.exec(stat)?.[1] ?? 0));
    }
    const own = new Set(this.#processes.map(({ child }) => child.pid ?? 0));
    for (const pid of own) this.#note(`the arguments of the agent`, read(`/proc/${pid}/cmdline`));
    // What a program in front of the agent starts, to mount something, has its environment by right.
    const agents = new Set([...own].filter((pid) => /^[^\0]*node\0/.test(read(`/proc/${pid}/cmdline`))));
    const isDescendant = (pid: number): boolean => {
      for (let at = parents.get(pid) ?? 0; at > 1; at = parents.get(at) ?? 0) if (agents.has(at)) return true;
      return false;
    };
    for (const pid of parents.keys()) {
      if (!isDescendant(pid)) continue;
      this.#note('the arguments of a child', read(`/proc/${pid}/cmdline`));
      // Until it has become the other program, it is still the agent, with the environment that that was given.
      if (!read(`/proc/${pid}/cmdline`).includes('leasehold.mjs')) this.#note('the environment of a child', read(`/proc/${pid}/environ`));
    }
  }

  #note(from: string, text: string): void {
    const before = this.#children.get(from) ?? '';
    if (text !== '' && !before.includes(text)) this.#children.set(from, `${before}\n${text}`);
  }
}

/** What somebody says back who should not: everything that was sent to prove who sends it, in all forms, also cut short. */
export function echoOf({ headers, path }: Exchange): string {
  const sent = headers.authorization ?? '';
  const credential = sent.replace(/^\w+ /, '');
  const plain = sent.startsWith('Basic ') ? Buffer.from(credential, 'base64').toString() : credential;
  const forms = [
    sent,
    plain,
    JSON.stringify(plain),
    encodeURIComponent(plain),
    Buffer.from(plain).toString('base64'),
    Buffer.from(sent).toString('base64url'),
    path,
  ];
  return `you sent ${forms.join(', ')}`;
}

/** The same, with the credential where sentences are cut: after 200, 300 and 500 characters. */
export function echoAtTheCut(exchange: Exchange, index: number): string {
  const at = [170, 270, 470, 0][index % 4] ?? 0;
  return `${'.'.repeat(at)} ${at === 0 ? echoOf(exchange) : (exchange.headers.authorization ?? '').replace(/^\w+ /, '')} `;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

async function fetchAll(url: string): Promise<string> {
  const controller = new AbortController();
  let text = '';
  const timer = setTimeout(() => controller.abort(), STREAM_MS);
  try {
    const response = await fetch(url, { signal: controller.signal, redirect: 'manual' });
    text = `${response.status} ${JSON.stringify([...response.headers])} `;
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) text += decoder.decode(chunk as Uint8Array, { stream: true });
  } catch {
    // A stream goes on until it is left.
  } finally {
    clearTimeout(timer);
  }
  return text;
}
