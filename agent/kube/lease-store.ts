/**
 * One Lease in the Kubernetes API: reads and conditional writes, each with one request.
 *
 * Guarantees: every write names the uid and the resourceVersion that it is based on, and none but `create` can bring a
 * Lease into being. Every way a request can end is told apart and explained; no explanation holds a credential.
 */
import type { LeaseTrouble, ReadOutcome, WriteOutcome } from '../contender/input.ts';
import { asError } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { listAt, messageAt, parseJson, stringAt } from '../json.ts';
import type { LeaseStore, LeaseWrite } from '../ports.ts';
import { adviceOn } from './advice.ts';
import { decodeLease, encodeWrite } from './lease-codec.ts';
import type { LeaseName } from './lease-codec.ts';
import { KubeTrouble } from './transport.ts';
import type { KubeAnswer, KubeHttp } from './transport.ts';

/** Told how every exchange ended: null if it was answered as it should be, else the problem in words. */
export type KubeObserver = (problem: string | null) => void;

export class KubeLeaseStore implements LeaseStore {
  readonly #http: KubeHttp;
  readonly #lease: LeaseName;
  readonly #identity: string;
  readonly #clock: Clock;
  readonly #observe: KubeObserver;

  constructor(http: KubeHttp, lease: LeaseName, identity: string, clock: Clock, observe: KubeObserver) {
    this.#http = http;
    this.#lease = lease;
    this.#identity = identity;
    this.#clock = clock;
    this.#observe = observe;
  }

  async read(timeoutMs: number, signal: AbortSignal): Promise<ReadOutcome> {
    const answer = await this.#exchange('get', () =>
      this.#http.request({ method: 'GET', path: leasePath(this.#lease), timeoutMs, signal }),
    );
    if ('is' in answer) return answer;
    if (answer.status === 200) {
      const record = decodeLease(parseJson(answer.body));
      return record === null ? this.#nonsense('get') : this.#well({ is: 'read', sight: record });
    }
    return isMissing(answer, this.#lease) ? this.#well({ is: 'read', sight: 'absent' }) : this.#trouble('get', answer);
  }

  async write(command: LeaseWrite, signal: AbortSignal): Promise<WriteOutcome> {
    const isCreation = command.type === 'create';
    const verb = isCreation ? 'create' : 'patch';
    const body = encodeWrite(command, this.#lease, this.#identity, this.#clock.wallMs());
    const answer = await this.#exchange(verb, () =>
      this.#http.request({
        method: isCreation ? 'POST' : 'PATCH',
        path: isCreation ? leasesPath(this.#lease.namespace) : leasePath(this.#lease),
        contentType: isCreation ? 'application/json' : 'application/merge-patch+json',
        body,
        timeoutMs: command.timeoutMs,
        signal,
      }),
    );
    if ('is' in answer) return answer;
    if (answer.status === 200 || answer.status === 201) {
      const record = decodeLease(parseJson(answer.body));
      return record === null ? this.#nonsense(verb) : this.#well({ is: 'written', record });
    }
    if (answer.status === 409 || isUidConflict(answer)) return this.#well({ is: 'conflict' });
    return isMissing(answer, this.#lease) && !isCreation ? this.#well({ is: 'missing' }) : this.#trouble(verb, answer);
  }

  async #exchange(verb: string, request: () => Promise<KubeAnswer>): Promise<KubeAnswer | LeaseTrouble> {
    try {
      return await request();
    } catch (error) {
      const kind = error instanceof KubeTrouble ? error.kind : 'unreachable';
      const message = `${this.#what(verb)}: ${asError(error).message}`;
      if (kind !== 'aborted') this.#observe(message);
      return { is: kind, message, retryAfterMs: null };
    }
  }

  #well<Outcome>(outcome: Outcome): Outcome {
    this.#observe(null);
    return outcome;
  }

  #what(verb: string): string {
    return `cannot ${verb} the Lease ${this.#lease.namespace}/${this.#lease.name}`;
  }

  #nonsense(verb: string): LeaseTrouble {
    const message = `${this.#what(verb)}: the answer is not a Lease`;
    this.#observe(message);
    return { is: 'unavailable', message, retryAfterMs: null };
  }

  #trouble(verb: string, answer: KubeAnswer): LeaseTrouble {
    const said = messageAt(parseJson(answer.body), 'message') ?? 'no explanation';
    const message = `${this.#what(verb)}: ${answer.status} ${said}${advice(answer.status, verb)}`;
    const { retryAfterMs } = answer;
    this.#observe(answer.status === 429 ? null : message);
    if (answer.status === 429) return { is: 'throttled', message, retryAfterMs };
    const isRefusal = answer.status >= 400 && answer.status < 500 && ![404, 408, 410].includes(answer.status);
    return { is: isRefusal ? 'refused' : 'unavailable', message, retryAfterMs };
  }
}

export function leasesPath(namespace: string): string {
  return `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/leases`;
}

export function leasePath({ namespace, name }: LeaseName): string {
  return `${leasesPath(namespace)}/${encodeURIComponent(name)}`;
}

/** A 404 counts only if the API server itself says it of this very Lease, not a proxy that knows no such path. */
export function isMissing(answer: KubeAnswer, { name }: LeaseName): boolean {
  if (answer.status !== 404) return false;
  const status = parseJson(answer.body);
  return stringAt(status, 'reason') === 'NotFound' && stringAt(status, 'details', 'name') === name;
}

/** A merge patch that names another uid than the Lease's is answered with 422 and not with 409. */
function isUidConflict(answer: KubeAnswer): boolean {
  if (answer.status !== 422) return false;
  const causes = listAt(parseJson(answer.body), 'details', 'causes') ?? [];
  return causes.some((cause) => stringAt(cause, 'field') === 'metadata.uid');
}

/** What a person can do about a refusal of what is asked of a Lease. */
export function advice(status: number, verb: string): string {
  return adviceOn(status, `grant the verb "${verb}" on it: apply the Role in manifests/base, with this Lease in its resourceNames`);
}
