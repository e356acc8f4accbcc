/**
 * A candidate as client-go's leader election makes it, for standing beside our agents at the same Lease.
 *
 * Follows its documented rules: it asks every retry period, up to 2.2 times as long while it does not lead; it takes a Lease
 * that nobody holds, or whose record it has not seen change for the lease duration; it raises the transitions, keeps labels and
 * annotations, and on release writes an empty holder and a duration of one second. It leads nothing.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { at, integerAt, stringAt } from '../../agent/json.ts';
import { monotonicMs } from '../../test/support/monotonic.ts';
import type { KubeAdmin } from '../control-plane/kube-admin.ts';
import { LEASE_PATH, NAMESPACE } from '../control-plane/our-manifests.ts';
import { leasesPath } from '../../agent/kube/lease-store.ts';

const LEASE_DURATION_S = 3;
const RETRY_PERIOD_MS = 400;
const JITTER = 1.2;
const IDENTITY = 'elsewhere-5d8f7c';

export class Elector {
  readonly identity = IDENTITY;
  readonly #admin: KubeAdmin;
  readonly #end = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #observed = { record: '', sinceMs: 0 };
  isLeading = false;

  constructor(admin: KubeAdmin) {
    this.#admin = admin;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Ends as its process would if it were killed. */
  async kill(): Promise<void> {
    this.#end.abort();
    await this.#running;
    this.isLeading = false;
  }

  /** Ends in order, with a release. */
  async stop(): Promise<void> {
    const wasLeading = this.isLeading;
    await this.kill();
    if (!wasLeading) return;
    const lease = await this.#admin.get(LEASE_PATH);
    await this.#update(lease, { ...(at(lease, 'spec') as object), holderIdentity: '', leaseDurationSeconds: 1 });
  }

  async #run(): Promise<void> {
    while (!this.#end.signal.aborted) {
      try {
        this.isLeading = await this.#acquireOrRenew();
      } catch {
        // As the real one does, it tries again in its own time.
      }
      await pause(this.isLeading ? RETRY_PERIOD_MS : RETRY_PERIOD_MS * (1 + Math.random() * JITTER));
    }
  }

  async #acquireOrRenew(): Promise<boolean> {
    const { status, body: lease } = await this.#admin.request('GET', LEASE_PATH);
    if (status === 404) return await this.#create();
    const record = JSON.stringify(at(lease, 'spec'));
    if (record !== this.#observed.record) this.#observed = { record, sinceMs: monotonicMs() };
    const holder = stringAt(lease, 'spec', 'holderIdentity') ?? '';
    const isOurs = holder === IDENTITY;
    if (holder !== '' && !isOurs && monotonicMs() < this.#observed.sinceMs + LEASE_DURATION_S * 1_000) return false;
    const transitions = integerAt(lease, 'spec', 'leaseTransitions') ?? 0;
    const acquireTime = isOurs ? (stringAt(lease, 'spec', 'acquireTime') ?? microTime()) : microTime();
    return await this.#update(lease, spec(acquireTime, isOurs ? transitions : transitions + 1));
  }

  async #create(): Promise<boolean> {
    const { status } = await this.#admin.request('POST', leasesPath(NAMESPACE), {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'leasehold', namespace: NAMESPACE },
      spec: spec(microTime(), 0),
    });
    return status === 201;
  }

  async #update(lease: unknown, changed: object): Promise<boolean> {
    const { status } = await this.#admin.request('PUT', LEASE_PATH, { ...(lease as object), spec: { ...changed, renewTime: microTime() } });
    return status === 200;
  }
}

function spec(acquireTime: string, leaseTransitions: number): object {
  return { holderIdentity: IDENTITY, leaseDurationSeconds: LEASE_DURATION_S, acquireTime, renewTime: microTime(), leaseTransitions };
}

function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z');
}
