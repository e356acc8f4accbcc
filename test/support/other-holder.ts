/**
 * Another node that holds the Lease of an agent world and renews it, for as long as it is told to.
 */
import type { KubeApi } from './kube-api.ts';

const RENEW_MS = 400;

export class OtherHolder {
  readonly #kube: KubeApi;
  readonly #renewals: NodeJS.Timeout;

  /** Takes the Lease at once, whoever has it. */
  constructor(kube: KubeApi, identity: string) {
    this.#kube = kube;
    kube.edit(({ spec }) => {
      spec.holderIdentity = identity;
      spec.leaseDurationSeconds = 3;
      spec.acquireTime = microTime();
      spec.renewTime = microTime();
      spec.leaseTransitions = (spec.leaseTransitions ?? 0) + 1;
    });
    this.#renewals = setInterval(() => this.#kube.edit(({ spec }) => (spec.renewTime = microTime())), RENEW_MS);
  }

  /** Renews no more, as one that has died. */
  die(): void {
    clearInterval(this.#renewals);
  }
}

function microTime(): string {
  return new Date().toISOString().replace('Z', '000Z');
}
