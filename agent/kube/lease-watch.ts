/**
 * Watches one Lease, so that changes are seen at once and candidates need not ask.
 *
 * Guarantees: only an accelerator (see object-watch.ts). What it misses the contender's own timers find later.
 */
import type { Clock } from '../clock.ts';
import type { LeaseSight } from '../contender/lease.ts';
import type { LeaseWatch } from '../ports.ts';
import { decodeLease } from './lease-codec.ts';
import type { LeaseName } from './lease-codec.ts';
import { advice, leasesPath } from './lease-store.ts';
import { ObjectWatch, WatchTrouble } from './object-watch.ts';
import type { WatchState } from './object-watch.ts';
import type { KubeHttp } from './transport.ts';

export type { WatchState } from './object-watch.ts';

export interface WatchEvents {
  readonly onSight: (sight: LeaseSight) => void;
  /** Told when the watch stands, when it has broken, and when the reason for its not standing changes. */
  readonly onState: (state: WatchState) => void;
}

export class KubeLeaseWatch extends ObjectWatch implements LeaseWatch {
  constructor(http: KubeHttp, { namespace, name }: LeaseName, clock: Clock, random: () => number, { onSight, onState }: WatchEvents) {
    const selection = {
      path: leasesPath(namespace),
      query: { fieldSelector: `metadata.name=${name}` },
      what: `the Lease ${namespace}/${name}`,
      advice,
    };
    super(http, selection, clock, random, {
      onList: ([lease]) => {
        const sight = lease === undefined ? 'absent' : decodeLease(lease);
        if (sight === null) throw new WatchTrouble('the list holds something that is no Lease');
        onSight(sight);
      },
      onChange: (object, isGone) => {
        const sight = isGone ? 'absent' : decodeLease(object);
        if (sight !== null) onSight(sight);
      },
      onState,
    });
  }
}
