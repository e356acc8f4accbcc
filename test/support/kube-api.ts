/**
 * A stand-in for the part of the Kubernetes API that Leasehold uses: the model of Leases and watches, served over TLS.
 */
import { randomUUID } from 'node:crypto';
import type http from 'node:http';
import { HttpStandIn } from './http-stand-in.ts';
import type { Answer, Exchange } from './http-stand-in.ts';
import { selfSigned } from './certificate.ts';
import { forwardPort } from './port-forward.ts';
import { KubeModel } from './kube-model.ts';
import type { Watch } from './kube-model.ts';

export type { Permissions, StoredLease } from './kube-model.ts';

const BOOKMARK_MS = 60_000;

export class KubeApi extends KubeModel {
  readonly http: HttpStandIn;
  readonly ca: string;
  readonly #streams = new Set<http.ServerResponse>();
  readonly #bookmarks: NodeJS.Timeout;

  private constructor(tls: { readonly key: string; readonly cert: string }) {
    super({ wallMs: () => Date.now(), newUid: randomUUID });
    this.ca = tls.cert;
    this.http = new HttpStandIn((exchange, response) => this.#answer(exchange, response), tls);
    this.http.onUpgrade = (request, socket, head) => {
      const [, , , , namespace = '', , pod = ''] = (request.url ?? '').split('/');
      const [, token = ''] = /^Bearer (.+)$/.exec(request.headers.authorization ?? '') ?? [];
      if (this.tokens.get(token)?.may('create', 'pods/portforward', pod, namespace) === true) return forwardPort(request, socket, head);
      const body = JSON.stringify({
        kind: 'Status',
        status: 'Failure',
        reason: 'Forbidden',
        message: `pods "${pod}" is forbidden`,
        code: 403,
      });
      socket.end(
        `HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
      );
    };
    this.#bookmarks = setInterval(() => this.sendBookmarks(), BOOKMARK_MS);
    this.#bookmarks.unref();
  }

  /** Starts one on a free port unless told otherwise. */
  static async start(where: { readonly host?: string; readonly port?: number } = {}): Promise<KubeApi> {
    const host = where.host ?? '127.0.0.1';
    const api = new KubeApi(await selfSigned(host));
    await api.http.listen(host, where.port ?? 0);
    return api;
  }

  /** A kubeconfig for one of its tokens. */
  kubeconfig(token = 'agent-token', namespace = 'default'): string {
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        { name: 'stand-in', cluster: { server: this.http.url, 'certificate-authority-data': Buffer.from(this.ca).toString('base64') } },
      ],
      users: [{ name: 'agent', user: { token } }],
      contexts: [{ name: 'stand-in', context: { cluster: 'stand-in', user: 'agent', namespace } }],
      'current-context': 'stand-in',
    });
  }

  /** Cuts every watch. */
  cutWatches(): void {
    for (const response of this.#streams) response.socket?.destroy();
  }

  async close(): Promise<void> {
    clearInterval(this.#bookmarks);
    await this.http.close();
  }

  #answer(exchange: Exchange, response: http.ServerResponse): Answer | null {
    const answer = this.handle(exchange);
    if (!('is' in answer)) return answer;
    this.#stream(answer, response);
    return null;
  }

  #stream({ endsAfterMs, open }: Watch, response: http.ServerResponse): void {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const end = open((line) => response.write(`${line}\n`));
    this.#streams.add(response);
    const timer = setTimeout(() => response.end(), endsAfterMs);
    timer.unref();
    response.on('close', () => {
      clearTimeout(timer);
      this.#streams.delete(response);
      end();
    });
  }
}
