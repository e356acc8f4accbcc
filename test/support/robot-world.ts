/**
 * Agents' sides of Hetzner Robot in virtual time: the provider as the agent makes it, its requests answered by the model, so that
 * a switch of a minute and a limit of an hour take no time.
 */
import { DeadlineExceeded, withDeadline } from '../../agent/clock.ts';
import { loadSettings } from '../../agent/config/settings.ts';
import type { ClaimOutcome } from '../../agent/contender/input.ts';
import type { KubeHttp } from '../../agent/kube/transport.ts';
import type { ClaimTerms, Provider } from '../../agent/ports.ts';
import { ProviderError } from '../../agent/provider/error.ts';
import type { ProviderCall, ProviderHttp } from '../../agent/provider/http.ts';
import { createProvider } from '../../agent/providers.ts';
import { NO_HOST } from './host.ts';
import type { Answer } from './http-stand-in.ts';
import { ManualClock } from './manual-clock.ts';
import { PASSWORD, USER } from './robot-api.ts';
import { RobotModel } from './robot-model.ts';
import type { RobotOptions } from './robot-model.ts';

export const IP = '198.51.100.200';
export const ME = { number: 4_410_031, name: 'node-a', ip: '203.0.113.31', ipv6Net: '2001:db8:31::' };
export const OTHER = { number: 4_410_032, name: 'node-b', ip: '203.0.113.32', ipv6Net: '2001:db8:32::' };
/** What Robot says a switch takes. */
export const SWITCH_MS = 50_000;

const STEP_MS = 50;
const LONGEST_MS = 3_600_000;

export const never = new AbortController().signal;

export class RobotWorld {
  readonly clock = new ManualClock();
  readonly robot: RobotModel;
  /** Requests as they were sent. */
  readonly calls: ProviderCall[] = [];
  /** Answers in the place of Robot, or null. */
  faultFor: (call: ProviderCall) => Answer | 'silence' | null = () => null;
  /** What `spec.providerID` of this Node is; null where the Node may not be read. */
  providerId: string | null = null;
  localAddresses: readonly string[] = ['127.0.0.1', ME.ip];
  /** What the files of the Secret hold. */
  readonly files = new Map([
    ['/secret/user', `${USER}\n`],
    ['/secret/password', `${PASSWORD}\n`],
  ]);

  constructor(options: Partial<RobotOptions> = {}) {
    const failovers = [{ ip: IP, active: OTHER.ip }];
    this.robot = new RobotModel({ failovers, servers: [OTHER, ME], switchMs: SWITCH_MS, ...options }, this.clock);
  }

  provider(env: Readonly<Record<string, string>> = {}): Provider {
    const settings = loadSettings({
      env: {
        NODE_NAME: 'node-a',
        KUBECONFIG: '/dev/null',
        PROVIDER: 'hetzner-robot',
        ADDRESSES: IP,
        ROBOT_USER_FILE: '/secret/user',
        ROBOT_PASSWORD_FILE: '/secret/password',
        ...env,
      },
      hostname: 'node-a',
      readFile: (path) => this.files.get(path) ?? '',
      serviceAccountFolder: '/nowhere',
    });
    const host = { ...NO_HOST, interfaces: () => [{ name: 'eth0', mac: '86:00:00:aa:bb:01', addresses: this.localAddresses }] };
    return createProvider(settings, { clock: this.clock, host, http: this.#http, kube: this.#kube, tell: () => undefined });
  }

  /** Lets time pass until something has ended, and gives what it brought. */
  async result<Value>(promise: Promise<Value>): Promise<Value> {
    let isOver = false;
    const watched = promise.finally(() => (isOver = true));
    watched.catch(() => undefined);
    for (let passedMs = 0; !isOver && passedMs < LONGEST_MS; passedMs += STEP_MS) await this.clock.advance(STEP_MS);
    if (!isOver) throw new Error(`it has not ended after ${LONGEST_MS}ms`);
    return await watched;
  }

  /** A claim under the deadline that the provider's profile gives it. */
  async claim(
    provider: Provider,
    {
      address = IP,
      mayWrite = () => true,
      isFirst = true,
    }: Partial<Pick<ClaimTerms, 'isFirst' | 'mayWrite'>> & { readonly address?: string } = {},
  ): Promise<ClaimOutcome> {
    const controller = new AbortController();
    const timer = this.clock.setTimer(180_000, () => controller.abort(new DeadlineExceeded(180_000)));
    const outcome = await this.result(provider.claim(address, { signal: controller.signal, isFirst, mayWrite }));
    timer.cancel();
    return outcome;
  }

  /** How many requests of a kind were sent. */
  sent(operation: string): number {
    return this.calls.filter((call) => call.operation === operation).length;
  }

  readonly #http: ProviderHttp = async (call) => {
    this.calls.push(call);
    const form = call.form === undefined ? '' : new URLSearchParams(call.form).toString();
    const { host, pathname } = new URL(call.url);
    if (host !== 'robot-ws.your-server.de') throw new Error(`nobody is at ${host}`);
    const request = {
      method: call.method,
      path: pathname,
      headers: { ...call.headers, ...(call.form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }) },
      body: call.json === undefined ? form : JSON.stringify(call.json),
      from: ME.ip,
    };
    try {
      const { status, body } = await withDeadline(this.clock, call.timeoutMs, call.signal, async (signal) => {
        const fault = this.faultFor(call);
        return await Promise.race([fault === 'silence' ? onAbort(signal) : (fault ?? this.robot.handle(request)), onAbort(signal)]);
      });
      return { status, headers: {}, body: JSON.stringify(body) };
    } catch (error) {
      if (call.signal.aborted) throw call.signal.reason;
      throw new ProviderError(call.method === 'GET' ? 'unavailable' : 'unknown-outcome', `${call.method} ${call.url}: ${String(error)}`);
    }
  };

  readonly #kube: KubeHttp = {
    request: () => {
      const [status, body] = this.providerId === null ? [403, { message: 'no' }] : [200, { spec: { providerID: this.providerId } }];
      return Promise.resolve({ status, headers: {}, body: JSON.stringify(body) } as never);
    },
    stream: () => Promise.reject(new Error('nothing is watched')),
  };
}

function onAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }));
}

/** An error as Robot writes it. */
export function problem(status: number, code: string, more: object = {}): Answer {
  return { status, body: { error: { status, code, message: 'so it is', ...more } } };
}
