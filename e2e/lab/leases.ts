/**
 * What a stage needs of a Lease API, whether it is the stand-in or a real one.
 */
import { KubeApi } from '../../test/support/kube-api.ts';
import { API_IPS } from './network.ts';

/** A Lease, as far as the lab looks at it. */
export interface SeenLease {
  readonly metadata: { readonly uid?: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: { readonly holderIdentity?: string; readonly renewTime?: string; readonly leaseTransitions?: number };
}

/** Told of each Lease as it was stored, in order; null when it was deleted. */
export type OnLease = (lease: SeenLease | null) => void;

export interface Leases {
  /** The Lease as it was seen last, or null when there is none. */
  lease(): SeenLease | null;
  /** A kubeconfig for agents, and the namespace in which they find the Lease. */
  readonly kubeconfig: string;
  readonly namespace: string;
  /** Nodes that do not get from it what they ask for, or not soon. */
  readonly troubled: ReadonlySet<string>;
  /** Resolves when everything has been told that was stored before this was asked. */
  caughtUp(): Promise<void>;
  close(): Promise<void>;
}

/** The stand-in, which tells of a Lease in the very moment it is stored. */
export class StandInLeases implements Leases {
  readonly namespace = 'default';
  readonly troubled: ReadonlySet<string> = new Set();
  readonly kube: KubeApi;

  private constructor(kube: KubeApi) {
    this.kube = kube;
  }

  static async open(onLease: OnLease): Promise<StandInLeases> {
    const kube = await KubeApi.start({ host: API_IPS.kubernetes });
    kube.onStored = onLease;
    kube.create();
    return new StandInLeases(kube);
  }

  lease(): SeenLease | null {
    return this.kube.lease() ?? null;
  }

  get kubeconfig(): string {
    return this.kube.kubeconfig();
  }

  async caughtUp(): Promise<void> {
    // Nothing is ever behind.
  }

  async close(): Promise<void> {
    await this.kube.close();
  }
}

/** Who holds a Lease, or '' where nobody does. */
export function holderOf(lease: SeenLease | null): string {
  return lease?.spec.holderIdentity ?? '';
}
