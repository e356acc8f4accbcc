/**
 * Every change of role that is known to happen, by its cause: what counts transitions begins at zero for each of them, so
 * that the first one is seen, even if it is the only one in a year.
 *
 * Guarantees: none about completeness. A change that is missing here is counted all the same, from its first time on; tests
 * that let contenders live through everything look for such ones.
 */
import type { Cause, Role } from '../contender/command.ts';

/** By cause, from which roles to which. */
export const KNOWN_TRANSITIONS: { readonly [Each in Cause]: readonly { readonly from: readonly Role[]; readonly to: readonly Role[] }[] } =
  {
    'first-sight': [{ from: ['starting'], to: ['standby'] }],
    vacancy: [{ from: ['standby'], to: ['acquiring'] }],
    'holder-released': [{ from: ['standby', 'starting'], to: ['acquiring'] }],
    'holder-silent': [{ from: ['standby'], to: ['acquiring'] }],
    restart: [{ from: ['standby', 'starting', 'holding-over'], to: ['acquiring'] }],
    'race-lost': [{ from: ['acquiring'], to: ['standby', 'holding-over'] }],
    acquired: [{ from: ['acquiring'], to: ['claiming'] }],
    'ready-to-serve': [{ from: ['acquiring', 'claiming'], to: ['serving'] }],
    'api-trouble': [{ from: ['acquiring'], to: ['standby', 'holding-over'] }],
    'tenure-ended': [
      { from: ['claiming', 'serving'], to: ['standby', 'holding-over'] },
      { from: ['standby'], to: ['holding-over'] },
    ],
    'lease-deleted': [{ from: ['claiming', 'serving', 'acquiring', 'holding-over', 'stepping-down'], to: ['standby'] }],
    'lease-changed': [{ from: ['claiming', 'serving', 'holding-over'], to: ['standby'] }],
    'other-holder': [
      { from: ['claiming', 'serving', 'holding-over', 'stepping-down'], to: ['standby'] },
      { from: ['stepping-down'], to: ['leaving', 'stopped'] },
    ],
    'owner-moved': [{ from: ['holding-over'], to: ['standby'] }],
    unhealthy: [{ from: ['claiming', 'serving'], to: ['stepping-down'] }],
    'claim-failed': [{ from: ['claiming'], to: ['stepping-down'] }],
    planned: [{ from: ['claiming', 'serving'], to: ['stepping-down'] }],
    asked: [{ from: ['claiming', 'serving'], to: ['stepping-down'] }],
    shutdown: [
      { from: ['acquiring', 'claiming', 'serving', 'standby', 'holding-over'], to: ['stepping-down'] },
      { from: ['starting', 'standby'], to: ['leaving', 'stopped'] },
    ],
    released: [{ from: ['stepping-down'], to: ['standby', 'leaving', 'stopped'] }],
    'release-failed': [{ from: ['stepping-down'], to: ['standby', 'leaving', 'stopped'] }],
    done: [{ from: ['leaving'], to: ['stopped'] }],
    unstated: [],
  };

/** Each known change of role once. */
export function knownTransitions(): { from: Role; to: Role; reason: Cause }[] {
  return Object.entries(KNOWN_TRANSITIONS).flatMap(([reason, changes]) =>
    changes.flatMap(({ from, to }) => from.flatMap((before) => to.map((after) => ({ from: before, to: after, reason: reason as Cause })))),
  );
}
