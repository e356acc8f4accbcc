/**
 * The kubelet of one node of the walk's small cluster: runs the pods that are bound to it as processes of this node, with the
 * environment, files and capabilities that their specification names, tells the API how they are, and serves their logs, their
 * ports and what is executed in them. (Ports over a WebSocket, as `leasehold status` asks for them; kubectl speaks SPDY there.)
 *
 * Arguments: one JSON document, `KubeletOptions`. Runs inside the node's network namespace. Whatever a container's image is,
 * the built agent is run; a container that is not the agent is only said to be ready.
 */
import type http from 'node:http';
import https from 'node:https';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';
import { listAt } from '../../agent/json.ts';
import { forwardPort } from '../../test/support/port-forward.ts';
import { selfSigned } from '../../test/support/certificate.ts';
import { KubeAdmin } from '../control-plane/kube-admin.ts';
import { RunningPod } from './running-pod.ts';
import type { Pod } from './pods.ts';

export interface KubeletOptions {
  readonly node: string;
  readonly ip: string;
  readonly api: { readonly url: string; readonly ca: string; readonly token: string };
  /** The image's entry point, as it starts here. */
  readonly entryPoint: readonly string[];
  /** Where this node's files are. */
  readonly folder: string;
  /** What every agent finds in its environment besides what its pod says: where the stand-ins are. */
  readonly env: Readonly<Record<string, string>>;
}

export const KUBELET_PORT = 10_250;
const LOOK_MS = 150;
const READY_TIMEOUT_MS = 1_000;
const MERGE = 'application/merge-patch+json';
/** The protocol that kubectl speaks over a WebSocket, each message headed by the number of its channel. */
const EXEC_PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];
const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3 } as const;

class Kubelet {
  readonly #options: KubeletOptions;
  readonly #admin: KubeAdmin;
  readonly #pods = new Map<string, RunningPod>();
  /** What was last complained of. */
  #problem = '';

  constructor(options: KubeletOptions) {
    this.#options = options;
    this.#admin = new KubeAdmin(options.api);
  }

  async run(): Promise<void> {
    await this.#serve();
    process.send?.('listening');
    for (;;) {
      // An API server that is away, or a node that is cut off, changes nothing of what runs.
      await this.#look().catch((error: unknown) => this.#complain(String(error)));
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  #complain(problem: string): void {
    if (problem !== this.#problem) process.stderr.write(`kubelet of ${this.#options.node}: ${problem}\n`);
    this.#problem = problem;
  }

  async #look(): Promise<void> {
    const { body } = await this.#admin.request('GET', `/api/v1/pods?fieldSelector=spec.nodeName%3D${this.#options.node}`);
    const pods = (listAt(body, 'items') ?? []) as Pod[];
    for (const pod of pods) {
      const uid = pod.metadata.uid ?? '';
      const running = this.#pods.get(uid);
      // What one pod lacks is no reason to neglect the others.
      await this.#care(pod, uid, running).catch((error: unknown) => this.#complain(String(error)));
    }
    for (const [uid, running] of this.#pods) {
      if (pods.some(({ metadata }) => metadata.uid === uid)) continue;
      running.kill();
      this.#pods.delete(uid);
    }
  }

  async #care(pod: Pod, uid: string, running: RunningPod | undefined): Promise<void> {
    if (pod.metadata.deletionTimestamp !== undefined) await this.#end(pod, running);
    else if (running === undefined) await this.#start(pod, uid);
    else await this.#tell(pod, running);
  }

  async #start(pod: Pod, uid: string): Promise<void> {
    this.#pods.set(uid, await RunningPod.start(pod, this.#admin, this.#options));
  }

  async #end(pod: Pod, running: RunningPod | undefined): Promise<void> {
    const { name, namespace = '', deletionGracePeriodSeconds = 30 } = pod.metadata;
    if (running !== undefined && !running.isEnding) void running.end(deletionGracePeriodSeconds * 1_000);
    if (running?.isRunning === true) return;
    await this.#admin.request('DELETE', `/api/v1/namespaces/${namespace}/pods/${name}`, { gracePeriodSeconds: 0 });
    this.#pods.delete(pod.metadata.uid ?? '');
  }

  async #tell({ metadata: { name, namespace = '' }, spec }: Pod, running: RunningPod): Promise<void> {
    const isReady = await running.isReady(READY_TIMEOUT_MS);
    if (isReady === running.toldReady) return;
    running.toldReady = isReady;
    const status = {
      phase: 'Running',
      hostIP: this.#options.ip,
      podIP: this.#options.ip,
      conditions: [
        { type: 'PodScheduled', status: 'True' },
        { type: 'Ready', status: isReady ? 'True' : 'False' },
      ],
      containerStatuses: spec.containers.map((container) => ({
        name: container.name,
        ready: isReady,
        started: true,
        restartCount: 0,
        image: 'leasehold',
        imageID: '',
        state: { running: { startedAt: running.startedAt } },
      })),
    };
    await this.#admin.request('PATCH', `/api/v1/namespaces/${namespace}/pods/${name}/status`, { status }, MERGE);
  }

  async #serve(): Promise<void> {
    const { key, cert } = await selfSigned(this.#options.ip);
    const server = https.createServer({ key, cert }, (request, response) => this.#answer(request, response));
    const sockets = new WebSocketServer({
      noServer: true,
      handleProtocols: (offered) => EXEC_PROTOCOLS.find((each) => offered.has(each)) ?? false,
    });
    server.on('upgrade', (request: http.IncomingMessage, socket: Duplex, head: Buffer) => {
      const url = new URL(request.url ?? '/', 'https://kubelet');
      const running = this.#find(url);
      const isWebSocket = request.headers.upgrade?.toLowerCase() === 'websocket';
      if (isWebSocket && running !== undefined && url.pathname.startsWith('/portForward/')) return forwardPort(request, socket, head);
      if (!isWebSocket || running === undefined || !url.pathname.startsWith('/exec/')) {
        socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n');
        return;
      }
      sockets.handleUpgrade(request, socket, head, (client) => execute(client, running, url.searchParams.getAll('command')));
    });
    await new Promise<void>((resolve) => server.listen(KUBELET_PORT, this.#options.ip, resolve));
  }

  /** GET /containerLogs/NAMESPACE/POD/CONTAINER, with what `kubectl logs` asks for. */
  #answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    const url = new URL(request.url ?? '/', 'https://kubelet');
    const running = url.pathname.startsWith('/containerLogs/') ? this.#find(url) : undefined;
    if (running === undefined) {
      response.writeHead(404).end();
      return;
    }
    const tail = url.searchParams.get('tailLines');
    response.writeHead(200, { 'content-type': 'text/plain' });
    const lines = tail === null ? running.log : running.log.slice(-Number(tail));
    response.end(lines.map((line) => `${line}\n`).join(''));
  }

  #find(url: URL): RunningPod | undefined {
    const [, , namespace, name] = url.pathname.split('/');
    return [...this.#pods.values()].find(({ pod }) => pod.metadata.namespace === namespace && pod.metadata.name === name);
  }
}

/** Runs a command in a pod for whoever is at the other end of a WebSocket. */
function execute(client: WebSocket, running: RunningPod, command: readonly string[]): void {
  const send = (channel: number, data: Buffer): void => client.send(Buffer.concat([Buffer.from([channel]), data]));
  const child = running.execute(command);
  child.stdout?.on('data', (data: Buffer) => send(CHANNEL.stdout, data));
  child.stderr?.on('data', (data: Buffer) => send(CHANNEL.stderr, data));
  client.on('close', () => child.kill());
  child.on('close', (code) => {
    const status =
      code === 0
        ? { metadata: {}, status: 'Success' }
        : {
            metadata: {},
            status: 'Failure',
            message: `command terminated with non-zero exit code: ${code ?? 'killed'}`,
            reason: 'NonZeroExitCode',
            details: { causes: [{ reason: 'ExitCode', message: String(code ?? 137) }] },
          };
    send(CHANNEL.error, Buffer.from(JSON.stringify(status)));
    client.close(1_000);
  });
}

if (import.meta.main) await new Kubelet(JSON.parse(process.argv[2] ?? '{}') as KubeletOptions).run();
