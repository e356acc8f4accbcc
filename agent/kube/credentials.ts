/**
 * Where the Kubernetes API is and how to be let in: by a service account in a cluster, by a kubeconfig outside one.
 *
 * Guarantees: a service account's token is read again at least once a minute, as it is rotated; `reload` reads
 * everything again at once. What cannot be read is an error that names the file; no error holds a credential. What the
 * last few reads have brought is known as secret, in every form that goes over the wire.
 */
import { KubeConfig } from '@kubernetes/client-node/dist/config.js';
import type { RequestOptions } from 'node:https';
import { asError } from '../clock.ts';
import type { Clock } from '../clock.ts';

/** How one request reaches the API server and proves who sends it. */
export interface ApiAccess {
  readonly server: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** `user:password` for HTTP Basic, where a kubeconfig still has it. */
  readonly basicAuth: string | undefined;
  readonly tls: Pick<RequestOptions, 'ca' | 'cert' | 'key' | 'pfx' | 'passphrase' | 'rejectUnauthorized' | 'servername'>;
}

/** Where the credentials come from. */
export type CredentialSource =
  /** `context`: the one to use in the place of the file's own choice. */
  | { readonly kind: 'kubeconfig'; readonly path: string; readonly context?: string }
  | { readonly kind: 'service-account'; readonly host: string; readonly port: string; readonly folder: string };

export const SERVICE_ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';

/** How long what a credential plugin or file gave is used before it is asked again. */
const REUSE_MS = 10_000;
const REASON_LENGTH_MAX = 200;
/** A token is good for a while after it was rotated away; one that is this many behind is not. */
const SECRETS_MAX = 32;

export class Credentials {
  readonly #source: CredentialSource;
  readonly #clock: Clock;
  #config: KubeConfig | null = null;
  #access: { readonly value: ApiAccess; readonly readAtMs: number } | null = null;
  readonly #secrets = new Set<string>();

  constructor(source: CredentialSource, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  /** What must not be shown to anybody. */
  get secrets(): readonly string[] {
    return [...this.#secrets];
  }

  /** Throws an Error that says what could not be read. */
  async access(): Promise<ApiAccess> {
    const nowMs = this.#clock.nowMs();
    if (this.#access !== null && nowMs - this.#access.readAtMs < REUSE_MS) return this.#access.value;
    const value = await this.#read();
    this.#access = { value, readAtMs: nowMs };
    return value;
  }

  /** Forgets everything that was read: the server has refused it. */
  reload(): void {
    this.#config = null;
    this.#access = null;
  }

  async #read(): Promise<ApiAccess> {
    let isPlugin = false;
    try {
      this.#config ??= loadConfig(this.#source);
      const cluster = this.#config.getCurrentCluster();
      if (cluster === null) throw new Error('its current context names no cluster');
      if (cluster.proxyUrl !== undefined) throw new Error('its cluster names a proxy-url, and the agent connects directly only');
      const options: RequestOptions = {};
      isPlugin = this.#config.getCurrentUser()?.exec !== undefined;
      await this.#config.applyToHTTPSOptions(options);
      isPlugin = false;
      this.#remember(secretsOf(options));
      return {
        server: new URL(cluster.server),
        headers: plainHeaders(options.headers),
        basicAuth: options.auth ?? undefined,
        tls: tlsOf(options),
      };
    } catch (error) {
      this.reload();
      throw new Error(
        `cannot read the credentials for the Kubernetes API from ${nameOf(this.#source)}: ${isPlugin ? explainPlugin(asError(error)) : explain(asError(error))}`,
      );
    }
  }

  #remember(secrets: readonly string[]): void {
    for (const secret of secrets) {
      // The latest stands last.
      this.#secrets.delete(secret);
      this.#secrets.add(secret);
    }
    for (const oldest of this.#secrets) if (this.#secrets.size > SECRETS_MAX) this.#secrets.delete(oldest);
  }
}

/** Everything in the options of a request that proves who sends it. */
function secretsOf({ headers, auth, key, pfx, passphrase }: RequestOptions): string[] {
  const [, token] = /^\S+\s+(\S+)$/.exec(plainHeaders(headers)['Authorization'] ?? '') ?? [];
  const password = auth?.slice(auth.indexOf(':') + 1);
  const [keyText, pfxText] = [key, pfx].map((each) => (typeof each === 'string' || Buffer.isBuffer(each) ? each.toString() : undefined));
  const basic = auth === undefined || auth === null ? undefined : Buffer.from(auth).toString('base64');
  return [token, password, basic, keyText?.trim(), pfxText, passphrase].filter((each): each is string => each !== undefined && each !== '');
}

function loadConfig(source: CredentialSource): KubeConfig {
  const config = new KubeConfig();
  if (source.kind === 'kubeconfig') {
    config.loadFromFile(source.path);
    if (source.context !== undefined) {
      if (config.getContextObject(source.context) === null) {
        const known = config.getContexts().map(({ name }) => name);
        throw new Error(`it has no context "${source.context}"; there ${known.length === 1 ? 'is' : 'are'} ${known.join(', ')}`);
      }
      config.setCurrentContext(source.context);
    }
    return config;
  }
  const { host, port, folder } = source;
  const name = 'in-cluster';
  config.loadFromOptions({
    clusters: [
      { name, server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`, caFile: `${folder}/ca.crt`, skipTLSVerify: false },
    ],
    users: [{ name, authProvider: { name: 'tokenFile', config: { tokenFile: `${folder}/token` } } }],
    contexts: [{ name, cluster: name, user: name }],
    currentContext: name,
  });
  return config;
}

/** What a plugin wrote is the error that the client makes of it, and may hold the token. */
function explainPlugin(error: Error & { code?: string }): string {
  if (error instanceof SyntaxError) return 'what its credential plugin has written is not JSON';
  const why = error.code === undefined ? '' : ` (${error.code})`;
  return `its credential plugin has failed${why}: run the command under "exec" by hand, as what it says may hold a token and is not shown`;
}

/** A YAML error quotes the lines around it, which may hold a token, so only its reason is passed on. */
function explain(error: Error & { reason?: string; mark?: { line?: number } }): string {
  if (error.name === 'YAMLException') return `it is not YAML: ${error.reason ?? 'no reason given'} in line ${(error.mark?.line ?? 0) + 1}`;
  return (error.message.split('\n')[0] ?? '').slice(0, REASON_LENGTH_MAX);
}

function nameOf(source: CredentialSource): string {
  return source.kind === 'kubeconfig' ? source.path : source.folder;
}

function plainHeaders(headers: RequestOptions['headers']): Record<string, string> {
  const entries = Object.entries(headers ?? {}).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value).trim()]]));
  return Object.fromEntries(entries) as Record<string, string>;
}

function tlsOf(options: RequestOptions): ApiAccess['tls'] {
  const { ca, cert, key, pfx, passphrase, rejectUnauthorized, servername } = options;
  const all = { ca, cert, key, pfx, passphrase, rejectUnauthorized, servername };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}
