/**
 * The provider netcup as an agent makes it, over a model or over its stand-in.
 */
import { loadSettings } from '../../agent/config/settings.ts';
import type { Finding } from '../../agent/finding.ts';
import type { Host } from '../../agent/host.ts';
import type { KubeHttp } from '../../agent/kube/transport.ts';
import type { Provider } from '../../agent/ports.ts';
import type { ProviderCall, ProviderHttp } from '../../agent/provider/http.ts';
import { createProvider } from '../../agent/providers.ts';
import type { ProviderWorld } from '../../agent/providers.ts';
import { NO_HOST } from './host.ts';
import { REFRESH_TOKEN } from './netcup-identity.ts';
import type { NetcupModel } from './netcup-model.ts';
import { REAL_CLOCK } from './real-clock.ts';

export const ENDPOINT = 'http://netcup.test/scp-core';
export const AUTH_ENDPOINT = 'http://netcup.test/realms/scp/protocol/openid-connect';

/** HTTP that ends at a model. `calls` is given each request. */
export function httpTo(model: NetcupModel, calls: ProviderCall[] = []): ProviderHttp {
  return (call) => {
    if (call.signal.aborted) return Promise.reject(call.signal.reason as Error);
    calls.push(call);
    const { pathname, search } = new URL(call.url);
    const body = call.form === undefined ? JSON.stringify(call.json ?? null) : new URLSearchParams(call.form).toString();
    const answer = model.handle({ method: call.method, path: pathname + search, headers: call.headers, body, from: '127.0.0.1' });
    const text = typeof answer.body === 'string' ? answer.body : answer.body === null ? '' : JSON.stringify(answer.body);
    return Promise.resolve({ status: answer.status, headers: answer.headers ?? {}, body: text });
  };
}

/** A Kubernetes that answers for one Node, or forbids it. */
export function kubeWith(annotations: Readonly<Record<string, string>> | null): KubeHttp {
  const [status, body] = annotations === null ? [403, { message: 'nodes is forbidden' }] : [200, { metadata: { annotations } }];
  return {
    request: () => Promise.resolve({ status, retryAfterMs: null, body: JSON.stringify(body) }),
    stream: () => Promise.reject(new Error('nothing is watched here')),
  };
}

export interface NetcupProviderOptions extends Partial<Pick<ProviderWorld, 'clock' | 'kube'>> {
  readonly http: ProviderHttp;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly host?: Partial<Host>;
  readonly told?: Finding[];
  readonly readFile?: (path: string) => string;
}

/** Makes it from settings. */
export function netcupProvider({ http, env = {}, host = {}, kube, clock, told = [], readFile }: NetcupProviderOptions): Provider {
  const settings = loadSettings({
    env: {
      NODE_NAME: 'node-a',
      KUBECONFIG: '/dev/null',
      PROVIDER: 'netcup',
      NETCUP_REFRESH_TOKEN: REFRESH_TOKEN,
      NETCUP_ENDPOINT: ENDPOINT,
      NETCUP_AUTH_ENDPOINT: AUTH_ENDPOINT,
      ...env,
    },
    hostname: 'node-a',
    readFile: readFile ?? (() => ''),
    serviceAccountFolder: '/nowhere',
  });
  return createProvider(settings, {
    clock: clock ?? REAL_CLOCK,
    host: { ...NO_HOST, writeFile: () => undefined, ...host },
    http,
    kube: kube ?? kubeWith(null),
    tell: (finding) => told.push(finding),
  });
}
