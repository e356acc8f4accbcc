/**
 * One pod as a process of its node: what Kubernetes promises a container, as far as the agent sees it.
 *
 * Guarantees: the environment is the pod's and nothing else; the ServiceAccount's token, Secrets and empty folders are mounted
 * where the pod has them, seen by this process alone; of all capabilities it has those that the pod adds. Its log is kept.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { at, stringAt } from '../../agent/json.ts';
import type { KubeAdmin } from '../control-plane/kube-admin.ts';
import type { KubeletOptions } from './kubelet.ts';
import type { Container, Pod, VolumeFiles } from './pods.ts';

const SERVICE_ACCOUNT = '/run/secrets/kubernetes.io/serviceaccount';
const TOKEN_LIFE_S = 3_600;
/** What a program finds in /etc besides what is mounted there. */
const ETC = ['hosts', 'resolv.conf', 'nsswitch.conf', 'passwd', 'group', 'ssl', 'ld.so.cache'];
const AGENT = 'leasehold';

export class RunningPod {
  readonly pod: Pod;
  readonly log: string[] = [];
  readonly startedAt = new Date().toISOString();
  isRunning = true;
  isEnding = false;
  /** What the API was last told. */
  toldReady: boolean | null = null;
  readonly #child: ChildProcess | null;
  readonly #enter: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  readonly #entryPoint: readonly string[];
  readonly #probe: string | null;

  private constructor(
    pod: Pod,
    how: {
      readonly enter: readonly string[];
      readonly env: Readonly<Record<string, string>>;
      readonly entryPoint: readonly string[];
      readonly probe: string | null;
    },
  ) {
    this.pod = pod;
    this.#enter = how.enter;
    this.#env = how.env;
    this.#entryPoint = how.entryPoint;
    this.#probe = how.probe;
    const [container] = pod.spec.containers;
    if (container?.name !== AGENT) {
      this.#child = null;
      return;
    }
    const child = this.#spawn([...how.entryPoint, ...(container.args ?? [])]);
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.log.push(line));
    child.on('exit', () => (this.isRunning = false));
  }

  static async start(pod: Pod, admin: KubeAdmin, options: KubeletOptions): Promise<RunningPod> {
    const [container] = pod.spec.containers;
    if (container === undefined) throw new Error(`${pod.metadata.name} has no container`);
    const { entryPoint } = options;
    if (container.name !== AGENT) return new RunningPod(pod, { enter: [], env: {}, entryPoint, probe: null });
    const folder = join(options.folder, pod.metadata.uid ?? '');
    const mounts = await prepareMounts(pod, container, admin, options, folder);
    const capabilities = (container.securityContext?.capabilities?.add ?? []).map((each) => `+${each.toLowerCase()}`);
    const enter = [
      ...['unshare', '--mount', '--propagation', 'private', 'sh', '-ec'],
      `${mounts.map(([from, to]) => `mkdir -p ${to}; mount --bind ${from} ${to}`).join('; ')}; exec "$@"`,
      ...['sh', 'setpriv', '--no-new-privs', `--bounding-set=${['-all', ...capabilities].join()}`, '--inh-caps=-all'],
    ];
    const env = { PATH: process.env['PATH'] ?? '', ...options.env, ...(await environmentOf(pod, container, admin, options)) };
    return new RunningPod(pod, { enter, env, entryPoint, probe: probeUrl(container, options.ip) });
  }

  /** Asks it to end, and kills it when it has not by then. */
  async end(graceMs: number): Promise<void> {
    this.isEnding = true;
    if (this.#child === null) this.isRunning = false;
    this.#child?.kill('SIGTERM');
    const timer = setTimeout(() => this.kill(), graceMs);
    await new Promise((resolve) => (this.isRunning ? this.#child?.once('exit', resolve) : resolve(null)));
    clearTimeout(timer);
  }

  kill(): void {
    this.#child?.kill('SIGKILL');
    if (this.#child === null) this.isRunning = false;
  }

  /** Starts a command in it, where `leasehold` is what the image has under that name. */
  execute([program = '', ...args]: readonly string[]): ChildProcess {
    return this.#spawn(program === AGENT ? [...this.#entryPoint, ...args] : [program, ...args]);
  }

  /** What its readiness probe says; one without a probe is ready. */
  async isReady(timeoutMs: number): Promise<boolean> {
    const url = this.#probe;
    if (url === null || this.#child === null) return this.isRunning;
    return await new Promise((resolve) => {
      const request = http.get(url, { timeout: timeoutMs, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      });
      request.on('timeout', () => request.destroy());
      request.on('error', () => resolve(false));
    });
  }

  #spawn(command: readonly string[]): ChildProcess {
    const [program = '', ...args] = [...this.#enter, ...command];
    return spawn(program, args, { env: { ...this.#env }, stdio: ['ignore', 'pipe', 'pipe'] });
  }
}

function probeUrl({ readinessProbe, ports }: Container, podIp: string): string | null {
  const get = readinessProbe?.httpGet;
  if (get === undefined) return null;
  const port = typeof get.port === 'number' ? get.port : (ports?.find(({ name }) => name === get.port)?.containerPort ?? 0);
  return `http://${get.host ?? podIp}:${port}${get.path}`;
}

/** Writes every file that the pod mounts, and says what belongs where. */
async function prepareMounts(
  pod: Pod,
  container: Container,
  admin: KubeAdmin,
  { api }: KubeletOptions,
  folder: string,
): Promise<(readonly [string, string])[]> {
  const { namespace = '' } = pod.metadata;
  const put = (path: string, content: string | Buffer, mode = 0o644): void => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content, { mode });
  };
  const token = await admin.create(`/api/v1/namespaces/${namespace}/serviceaccounts/${pod.spec.serviceAccountName ?? 'default'}/token`, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { audiences: ['https://kubernetes.default.svc'], expirationSeconds: TOKEN_LIFE_S },
  });
  put(join(folder, 'account', 'token'), stringAt(token, 'status', 'token') ?? '');
  put(join(folder, 'account', 'ca.crt'), api.ca);
  put(join(folder, 'account', 'namespace'), namespace);
  const etc = join(folder, 'etc');
  mkdirSync(etc, { recursive: true });
  for (const name of ETC)
    if (existsSync(`/etc/${name}`)) cpSync(`/etc/${name}`, join(etc, name), { recursive: true, dereference: true, force: true });
  const mounts: (readonly [string, string])[] = [
    [etc, '/etc'],
    [join(folder, 'account'), SERVICE_ACCOUNT],
  ];
  for (const { name, mountPath } of container.volumeMounts ?? []) {
    const volume = pod.spec.volumes?.find((each) => each.name === name);
    const from = join(folder, 'volumes', name);
    mkdirSync(from, { recursive: true });
    const { secret, configMap } = volume ?? {};
    if (secret !== undefined) {
      const { data = {} } = (await admin.get(`/api/v1/namespaces/${namespace}/secrets/${secret.secretName}`)) as Data;
      for (const [name, value] of files(data, secret)) put(join(from, name), Buffer.from(value, 'base64'), secret.defaultMode);
    }
    if (configMap !== undefined) {
      const { data = {} } = (await admin.get(`/api/v1/namespaces/${namespace}/configmaps/${configMap.name}`)) as Data;
      for (const [name, value] of files(data, configMap)) put(join(from, name), onThisMachine(value), configMap.defaultMode);
    }
    mounts.push([from, mountPath]);
  }
  return mounts;
}

interface Data {
  readonly data?: Readonly<Record<string, string>>;
}

/** A script for the image's Node, as one for the Node that there is here. */
function onThisMachine(script: string): string {
  return script.replace(/^#!\/nodejs\/bin\/node\n/, `#!${process.execPath}\n`);
}

/** The files of a volume, by name. */
function files(data: Readonly<Record<string, string>>, { items }: VolumeFiles): (readonly [string, string])[] {
  return items === undefined ? Object.entries(data) : items.map(({ key, path }) => [path, data[key] ?? '']);
}

async function environmentOf(
  pod: Pod,
  container: Container,
  admin: KubeAdmin,
  { ip, api }: KubeletOptions,
): Promise<Record<string, string>> {
  const { namespace = '', name, uid = '' } = pod.metadata;
  const fields: Readonly<Record<string, string>> = {
    'spec.nodeName': pod.spec.nodeName ?? '',
    'metadata.name': name,
    'metadata.namespace': namespace,
    'metadata.uid': uid,
    'status.hostIP': ip,
    'status.podIP': ip,
  };
  const { hostname, port } = new URL(api.url);
  const env: Record<string, string> = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
  for (const { configMapRef } of container.envFrom ?? []) {
    if (configMapRef === undefined) continue;
    const map = await admin.get(`/api/v1/namespaces/${namespace}/configmaps/${configMapRef.name}`);
    Object.assign(env, at(map, 'data'));
  }
  for (const { name: variable, value, valueFrom } of container.env ?? []) {
    if (valueFrom?.fieldRef !== undefined) env[variable] = fields[valueFrom.fieldRef.fieldPath] ?? '';
    else env[variable] = (value ?? '').replaceAll(/\$\((\w+)\)/g, (text, key: string) => env[key] ?? text);
  }
  return env;
}
