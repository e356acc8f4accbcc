/**
 * Watches the pods of an application, which is named by labels or by its Service.
 *
 * Guarantees: one watch, and one more of the Service where that names it; whose selector is followed when it changes. What
 * was seen last stays valid while the API is away. Nothing is claimed to be known before there was a list of all its pods.
 */
import type { Clock } from '../clock.ts';
import { at, stringAt } from '../json.ts';
import { adviceOn } from './advice.ts';
import { listObjects, ObjectWatch } from './object-watch.ts';
import type { Selection, WatchState } from './object-watch.ts';
import { decodePod, podsPath } from './pod.ts';
import type { Pod } from './pod.ts';
import type { KubeHttp } from './transport.ts';

/** What the address is to stay beside. */
export interface ApplicationName {
  readonly namespace: string;
  readonly by: { readonly selector: string } | { readonly service: string };
}

export type ApplicationSight = { readonly is: 'unknown'; readonly reason: string } | { readonly is: 'seen'; readonly pods: readonly Pod[] };

export interface ApplicationEvents {
  readonly onSight: (sight: ApplicationSight) => void;
  /** Told for each of its watches, which `what` names. */
  readonly onState: (what: string, state: WatchState) => void;
  /** Such a watch is no longer of interest. */
  readonly onDropped: (what: string) => void;
}

/** How an application is called in sentences: `default/web` for a Service, `default/app=web` for labels. */
export function applicationText({ namespace, by }: ApplicationName): string {
  return `${namespace}/${'service' in by ? by.service : by.selector}`;
}

export class ApplicationWatch {
  readonly #http: KubeHttp;
  readonly #name: ApplicationName;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #events: ApplicationEvents;
  /** The labels of its pods, as a selector in a request; null while they are not known. */
  #selector: string | null;
  /** Aborted when another selector takes the place of the present one. */
  #following = new AbortController();

  constructor(http: KubeHttp, name: ApplicationName, clock: Clock, random: () => number, events: ApplicationEvents) {
    this.#http = http;
    this.#name = name;
    this.#clock = clock;
    this.#random = random;
    this.#events = events;
    this.#selector = 'selector' in name.by ? name.by.selector : null;
  }

  /** Watches until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { by } = this.#name;
    if ('selector' in by) await this.#followPods(by.selector, signal);
    else await this.#followService(by.service, signal);
  }

  async #followService(name: string, signal: AbortSignal): Promise<void> {
    const selection = this.#serviceSelection(name);
    let running: Promise<void> = Promise.resolve();
    const onAbort = (): void => this.#following.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const onService = (service: unknown): void => {
      const selector = service === null ? null : selectorOf(service);
      if (selector === this.#selector && selector !== null) return;
      if (this.#selector !== null) this.#events.onDropped(this.#podSelection(this.#selector).what);
      this.#selector = selector;
      this.#following.abort(new Error('another selector'));
      this.#following = new AbortController();
      if (selector !== null) running = Promise.all([running, this.#followPods(selector, this.#following.signal)]).then(() => undefined);
      else
        this.#events.onSight({
          is: 'unknown',
          reason: service === null ? `there is no Service ${this.#name.namespace}/${name}` : `${selection.what} has no selector`,
        });
    };
    await new ObjectWatch(this.#http, selection, this.#clock, this.#random, {
      onList: ([service]) => onService(service ?? null),
      onChange: (service, isGone) => onService(isGone ? null : service),
      onState: (state) => this.#events.onState(selection.what, state),
    }).run(signal);
    await running;
  }

  /** Its pods by a fresh read. Throws an Error that says why there is none. */
  async look(signal: AbortSignal): Promise<readonly Pod[]> {
    if (this.#selector === null) throw new Error('the labels of its pods are not known');
    const { objects } = await listObjects(this.#http, this.#podSelection(this.#selector), signal);
    return objects.flatMap((each) => decodePod(each) ?? []);
  }

  async #followPods(selector: string, signal: AbortSignal): Promise<void> {
    const pods = new Map<string, Pod>();
    const selection = this.#podSelection(selector);
    const tell = (): void => {
      if (!signal.aborted) this.#events.onSight({ is: 'seen', pods: [...pods.values()] });
    };
    await new ObjectWatch(this.#http, selection, this.#clock, this.#random, {
      onList: (objects) => {
        pods.clear();
        for (const pod of objects.flatMap((each) => decodePod(each) ?? [])) pods.set(pod.name, pod);
        tell();
      },
      onChange: (object, isGone) => {
        const pod = decodePod(object);
        if (pod === null) return;
        if (isGone) pods.delete(pod.name);
        else pods.set(pod.name, pod);
        tell();
      },
      onState: (state) => this.#events.onState(selection.what, state),
    }).run(signal);
  }

  #podSelection(selector: string): Selection {
    const { namespace } = this.#name;
    return {
      path: podsPath(namespace),
      query: { labelSelector: selector },
      what: `the pods ${selector} in the namespace ${namespace}`,
      advice: adviceFor('pods', namespace),
    };
  }

  #serviceSelection(service: string): Selection {
    const { namespace } = this.#name;
    return {
      path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/services`,
      query: { fieldSelector: `metadata.name=${service}` },
      what: `the Service ${namespace}/${service}`,
      advice: adviceFor('services', namespace),
    };
  }
}

function adviceFor(resource: string, namespace: string): (status: number, verb: string) => string {
  return (status, verb) =>
    adviceOn(
      status,
      `grant the verb "${verb}" on ${resource} in the namespace ${namespace}: apply the Role of manifests/overlays/beside-application`,
    );
}

/** A Service's selector as it is written in a request; null where it has none. */
function selectorOf(service: unknown): string | null {
  const selector = at(service, 'spec', 'selector');
  if (typeof selector !== 'object' || selector === null) return null;
  const pairs = Object.keys(selector).map((key) => `${key}=${stringAt(selector, key) ?? ''}`);
  return pairs.length === 0 ? null : pairs.sort().join(',');
}
