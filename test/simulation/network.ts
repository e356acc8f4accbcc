/**
 * What lies between an agent and the APIs: delays, losses, connections that hang, and servers that misbehave.
 *
 * Guarantees: stands where the product's own transports stand and reports troubles as they do: whether a request can have
 * been carried out is told apart, every request has its deadline, and a call that was given up gets no answer any more.
 */
import type { Network } from '../../agent/assemble.ts';
import { asError, DeadlineExceeded, withDeadline } from '../../agent/clock.ts';
import type { Timer } from '../../agent/clock.ts';
import { KubeTrouble } from '../../agent/kube/transport.ts';
import type { KubeAnswer, KubeCall, KubeStream } from '../../agent/kube/transport.ts';
import { ProviderError } from '../../agent/provider/error.ts';
import type { ProviderAnswer, ProviderCall } from '../../agent/provider/http.ts';
import type { Answer } from '../support/http-stand-in.ts';
import type { KubeModel, KubeRequest, StoredLease, Watch } from '../support/kube-model.ts';
import type { SimProvider, SimRequest } from './providers/provider.ts';
import type { Random } from './random.ts';
import type { SimProcess } from './sim-process.ts';
import type { VirtualTime } from './virtual-time.ts';

/** A way between one machine and one API, and what is wrong with it. */
export interface Way {
  /** New connections are refused, or nothing at all comes back. */
  cut: 'refused' | 'silent' | null;
  slowMs: number;
  requestLoss: number;
  answerLoss: number;
}

/** What an API does wrong by itself. */
export interface Misbehaviour {
  /** How large a share of the requests it hits. */
  share: number;
  readonly status: number;
  readonly retryAfterS: number | null;
  /** Whether what was asked for is done all the same. */
  readonly isCarriedOut: boolean;
  /** Writes only. */
  readonly onlyWrites: boolean;
}

/** Faults of the whole network, changed while the simulation goes on. */
export interface Conditions {
  kube: { outage: 'refused' | 'silent' | null; misbehaviours: Misbehaviour[]; watchLagMs: number };
  provider: { misbehaviours: Misbehaviour[]; lateWritesMs: number; lie: { readonly server: number | null; share: number } | null };
}

/** What is told of every exchange. Instants are true ones. */
export interface Observer {
  onLeaseSent(process: SimProcess, call: KubeCall): void;
  onLeaseHandled(process: SimProcess, call: KubeCall, before: StoredLease | undefined): void;
  onLeaseAnswer(process: SimProcess, call: KubeCall, sentAtBootMs: number, answer: Answer): void;
  /** Told only of what changes something as a write. `leapMs`: how much later it leaves the process. */
  onProviderSent(process: SimProcess, call: ProviderCall, isWrite: boolean, leapMs: number): void;
}

export interface NetworkWorld {
  readonly time: VirtualTime;
  readonly random: Random;
  readonly kube: KubeModel;
  readonly provider: SimProvider;
  readonly conditions: Conditions;
  readonly observer: Observer;
  /** How long a message is on its way now and then, though nothing is wrong. */
  readonly slowestMs: number;
  /** How to break each watch that stands. */
  readonly streams: Set<() => void>;
  way(process: SimProcess, to: 'kube' | 'provider'): Way;
}

const QUICK_MS = [0.2, 2.5] as const;
const SLOW_FROM_MS = 5;
const SLOW_SHARE = 0.01;
/** How long the provider thinks about a request. */
const PROVIDER_MS = 30;
const KUBE_TOKEN = 'agent-token';

/** What is asked aside is not about the Lease, so nobody judges it. */
const NOBODY: Observer = {
  onLeaseSent: () => undefined,
  onLeaseHandled: () => undefined,
  onLeaseAnswer: () => undefined,
  onProviderSent: () => undefined,
};

/** The network of one process. */
export function networkOf(world: NetworkWorld, process: SimProcess): Network {
  return {
    kube: {
      request: (call) => kubeRequest(world, process, call),
      stream: (call) => kubeStream(world, process, call),
    },
    kubeAside: {
      request: (call) => kubeRequest({ ...world, observer: NOBODY }, process, call),
      stream: () => Promise.reject(new Error('nothing is watched aside')),
    },
    provider: (call) => providerRequest(world, process, call),
    ask: () => async (signal) => {
      await ask(world, process, signal);
    },
    serve: () => ({ changed: () => undefined, close: () => undefined }),
    close: () => undefined,
  };
}

function oneWayMs({ random, slowestMs }: NetworkWorld, way: Way): number {
  const [fromMs, toMs] = random.chance(SLOW_SHARE) ? [SLOW_FROM_MS, slowestMs] : QUICK_MS;
  return random.between(fromMs, toMs) + (way.slowMs === 0 ? 0 : way.slowMs * random.between(0.2, 1));
}

/** Runs `begin` until it settles or the signal is aborted. */
function settling<Result>(
  signal: AbortSignal,
  begin: (resolve: (result: Result) => void, reject: (error: Error) => void, isOver: () => boolean) => void,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    let isOver = false;
    const end = (settle: () => void): void => {
      isOver = true;
      settle();
    };
    const onAbort = (): void => end(() => reject(asError(signal.reason)));
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    const finish = (settle: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      end(settle);
    };
    begin(
      (result) => finish(() => resolve(result)),
      (error) => finish(() => reject(error)),
      () => isOver,
    );
  });
}

interface Progress {
  wasSent: boolean;
}

async function kubeRequest(world: NetworkWorld, process: SimProcess, call: KubeCall): Promise<KubeAnswer> {
  const progress: Progress = { wasSent: false };
  try {
    return await withDeadline(process.clock, call.timeoutMs, call.signal, (signal) => kubeExchange(world, process, call, signal, progress));
  } catch (error) {
    throw troubleOf(error, call.signal, progress);
  }
}

function troubleOf(thrown: unknown, outer: AbortSignal, { wasSent }: Progress): KubeTrouble {
  const error = asError(thrown);
  if (error instanceof KubeTrouble) return error;
  const isAborted = !(error instanceof DeadlineExceeded) && outer.aborted;
  return new KubeTrouble(isAborted ? 'aborted' : wasSent ? 'unknown' : 'unreachable', error.message, error);
}

function kubeExchange(
  world: NetworkWorld,
  process: SimProcess,
  call: KubeCall,
  signal: AbortSignal,
  progress: Progress,
): Promise<KubeAnswer> {
  const { time, random, kube, conditions, observer } = world;
  const sentAtBootMs = process.machine.bootMs();
  const way = world.way(process, 'kube');
  observer.onLeaseSent(process, call);
  return settling(signal, (resolve, reject, isOver) => {
    const answerLater = (work: () => void): void => {
      if (random.chance(way.answerLoss)) return;
      time.after(oneWayMs(world, way), () => process.deliver('answer', () => (isOver() ? undefined : work())));
    };
    const refuse = (): void => answerLater(() => reject(new KubeTrouble('unreachable', 'connect ECONNREFUSED')));
    // Faults are aimed at what touches the Lease.
    const isAside = observer === NOBODY;
    const leapMs = isAside ? 0 : process.leapMs('request');
    if (call.method !== 'GET' && !isAside) process.hasWritten();
    const cut = way.cut ?? conditions.kube.outage;
    if (cut === 'refused') return refuse();
    // A connection that was kept takes a request that never arrives; a new one is never made.
    progress.wasSent = cut === null || random.chance(0.5);
    if (cut === 'silent' || random.chance(way.requestLoss)) return;
    time.after(leapMs + oneWayMs(world, way), () => {
      if (leapMs > 0 && !process.isAlive) return;
      if (conditions.kube.outage === 'refused') return answerLater(() => reject(new KubeTrouble('unknown', 'read ECONNRESET')));
      if (conditions.kube.outage === 'silent') return;
      const fault = misbehaviour(conditions.kube.misbehaviours, call.method, random);
      if (fault !== null && !fault.isCarriedOut) return answerLater(() => resolve(faultyAnswer(fault)));
      const before = kube.lease();
      const answer = kube.handle(toKubeRequest(call)) as Answer;
      observer.onLeaseHandled(process, call, before);
      // What is stored may change before the answer is read.
      const body = JSON.stringify(answer.body);
      if (fault !== null) return answerLater(() => resolve(faultyAnswer(fault)));
      answerLater(() => {
        observer.onLeaseAnswer(process, call, sentAtBootMs, { status: answer.status, body });
        resolve({ status: answer.status, retryAfterMs: null, body });
      });
    });
  });
}

function toKubeRequest({ method, path, contentType, body }: KubeCall): KubeRequest {
  const headers = { authorization: `Bearer ${KUBE_TOKEN}`, ...(contentType === undefined ? {} : { 'content-type': contentType }) };
  return { method, path, headers, body: body ?? '' };
}

function misbehaviour(all: readonly Misbehaviour[], method: string, random: Random): Misbehaviour | null {
  return all.find(({ share, onlyWrites }) => (!onlyWrites || method !== 'GET') && random.chance(share)) ?? null;
}

function faultyAnswer({ status, retryAfterS }: Misbehaviour): KubeAnswer {
  const body = JSON.stringify({ kind: 'Status', status: 'Failure', message: 'a fault of the simulation', code: status });
  return { status, retryAfterMs: retryAfterS === null ? null : retryAfterS * 1_000, body };
}

async function kubeStream(world: NetworkWorld, process: SimProcess, call: KubeStream): Promise<KubeAnswer> {
  const progress: Progress = { wasSent: false };
  try {
    await withDeadline(process.clock, call.timeoutMs, call.signal, (signal) => connect(world, process, signal, progress));
  } catch (error) {
    throw troubleOf(error, call.signal, progress);
  }
  const answer = world.kube.handle(toKubeRequest({ method: 'GET', ...call }));
  if (!('is' in answer)) return { status: answer.status, retryAfterMs: null, body: JSON.stringify(answer.body) };
  call.onOpen();
  try {
    await readLines(world, process, call, answer);
    return { status: 200, retryAfterMs: null, body: '' };
  } catch (error) {
    throw error instanceof KubeTrouble ? error : new KubeTrouble('aborted', 'called off', error);
  }
}

function connect(world: NetworkWorld, process: SimProcess, signal: AbortSignal, progress: Progress): Promise<null> {
  const { time, random, conditions } = world;
  const way = world.way(process, 'kube');
  const cut = way.cut ?? conditions.kube.outage;
  return settling(signal, (resolve, reject, isOver) => {
    const later = (work: () => void): void => {
      time.after(2 * oneWayMs(world, way), () => process.deliver('answer', () => (isOver() ? undefined : work())));
    };
    if (cut === 'refused') return later(() => reject(new KubeTrouble('unreachable', 'connect ECONNREFUSED')));
    progress.wasSent = cut === null;
    if (cut === 'silent' || random.chance(way.requestLoss)) return;
    later(() => resolve(null));
  });
}

/** Hands on what a watch sends, until it ends, breaks, falls silent for too long or is called off. */
function readLines(world: NetworkWorld, process: SimProcess, call: KubeStream, watch: Watch): Promise<null> {
  const { time, random, conditions, streams } = world;
  const way = world.way(process, 'kube');
  let cleanUp = (): void => undefined;
  const ended = settling<null>(call.signal, (resolve, reject, isOver) => {
    const silence = (): Timer =>
      process.clock.setTimer(call.idleMs, () => reject(new KubeTrouble('unknown', `silent for ${call.idleMs}ms`)));
    let idle = silence();
    let lastArrivalMs = 0;
    const later = (work: () => void): void => {
      if (way.cut !== null || !process.isAlive) return;
      // One connection keeps its order.
      lastArrivalMs = Math.max(lastArrivalMs, time.nowMs + conditions.kube.watchLagMs * random.next() + oneWayMs(world, way));
      time.at(lastArrivalMs, () => process.deliver('answer', () => (isOver() ? undefined : work())));
    };
    const onLine = (line: string): void => {
      idle.cancel();
      idle = silence();
      try {
        call.onLine(line);
      } catch (error) {
        reject(new KubeTrouble('unknown', asError(error).message, error));
      }
    };
    const broken = (): void => later(() => reject(new KubeTrouble('unknown', 'read ECONNRESET')));
    const close = watch.open((line) => later(() => onLine(line)));
    const callOffEnd = time.after(Math.max(1, watch.endsAfterMs), () => later(() => resolve(null)));
    streams.add(broken);
    cleanUp = (): void => {
      idle.cancel();
      close();
      callOffEnd();
      streams.delete(broken);
    };
  });
  return ended.finally(() => cleanUp());
}

async function providerRequest(world: NetworkWorld, process: SimProcess, call: ProviderCall): Promise<ProviderAnswer> {
  try {
    return await withDeadline(process.clock, call.timeoutMs, call.signal, (signal) => providerExchange(world, process, call, signal));
  } catch (error) {
    if (call.signal.aborted) throw asError(call.signal.reason);
    if (error instanceof ProviderError) throw error;
    const code = call.method === 'GET' ? 'unavailable' : 'unknown-outcome';
    throw new ProviderError(code, `${call.method} ${call.url}: ${asError(error).message}`);
  }
}

function providerExchange(world: NetworkWorld, process: SimProcess, call: ProviderCall, signal: AbortSignal): Promise<ProviderAnswer> {
  const { time, random, conditions, observer } = world;
  const way = world.way(process, 'provider');
  const isWrite = world.provider.isWrite({ method: call.method, path: new URL(call.url).pathname });
  return settling(signal, (resolve, reject, isOver) => {
    const answerLater = (work: () => void): void => {
      if (random.chance(way.answerLoss)) return;
      time.after(PROVIDER_MS * random.between(0.5, 1.5) + oneWayMs(world, way), () =>
        process.deliver('answer', () => (isOver() ? undefined : work())),
      );
    };
    const leapMs = process.leapMs(isWrite ? 'provider write' : 'request');
    observer.onProviderSent(process, call, isWrite, leapMs);
    if (way.cut === 'refused') {
      return answerLater(() => reject(new ProviderError('unavailable', `${call.method} ${call.url}: connect ECONNREFUSED`)));
    }
    if (way.cut === 'silent' || random.chance(way.requestLoss)) return;
    const lateMs = isWrite ? conditions.provider.lateWritesMs * random.next() : 0;
    time.after(leapMs + lateMs + oneWayMs(world, way), () => {
      if (leapMs > 0 && !process.isAlive) return;
      const fault = misbehaviour(conditions.provider.misbehaviours, isWrite ? call.method : 'GET', random);
      const say = ({ status, headers, body }: Answer): void =>
        answerLater(() =>
          resolve({ status, headers: headers ?? {}, body: body === null ? '' : typeof body === 'string' ? body : JSON.stringify(body) }),
        );
      if (fault !== null && !fault.isCarriedOut) return say(gatewayAnswer(fault));
      handleProvider(world, process, call, (answer) => say(fault === null ? answer : gatewayAnswer(fault)));
    });
  });
}

function gatewayAnswer({ status }: Misbehaviour): Answer {
  return { status, body: '<html>a fault of the simulation</html>' };
}

/** Hands a request over, and its answer on, which may come later. */
function handleProvider(
  { provider, conditions, random }: NetworkWorld,
  process: SimProcess,
  call: ProviderCall,
  onAnswer: (answer: Answer) => void,
): void {
  const url = new URL(call.url);
  const request: SimRequest = {
    method: call.method,
    path: url.pathname + url.search,
    headers: { ...call.headers, ...(call.form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }) },
    body: bodyOf(call),
    from: process.machine.name,
  };
  const onHandled = (answer: Answer): void => {
    const { lie } = conditions.provider;
    const wrong = lie === null ? null : provider.lieIn(request, answer, lie.server);
    onAnswer(lie !== null && wrong !== null && random.chance(lie.share) ? wrong : answer);
  };
  const answer = provider.handle(request);
  if (answer instanceof Promise) void answer.then(onHandled);
  else onHandled(answer);
}

function bodyOf({ json, form }: ProviderCall): string {
  if (json !== undefined) return JSON.stringify(json);
  return form === undefined ? '' : new URLSearchParams(form).toString();
}

/** The local service of a machine, asked by a probe. */
function ask({ time, random }: NetworkWorld, process: SimProcess, signal: AbortSignal): Promise<null> {
  const { machine } = process;
  return settling<null>(signal, (resolve, reject, isOver) => {
    if (machine.service === 'hanging') return;
    const isWell = machine.service === 'well';
    time.after(random.between(0.1, 1), () =>
      process.deliver('answer', () => {
        if (isOver()) return;
        if (isWell) resolve(null);
        else reject(new Error('connection refused'));
      }),
    );
  });
}
