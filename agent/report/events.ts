/**
 * Chooses what becomes a Kubernetes Event, and says it so that `kubectl describe` tells the story of a failover.
 *
 * Guarantees: a short list of reasons, each of which somebody would want to read the morning after; what repeats does so
 * word for word but for durations, so that it can be counted instead of repeated. Of each incident it is decided here
 * whether it becomes one.
 */
import type { Incident, Report, Role } from '../contender/command.ts';
import type { Contender } from '../contender/state.ts';
import type { Happening } from '../happening.ts';

type Kind = Pick<Happening, 'reason' | 'action' | 'type' | 'about'>;

const BOTH = { about: 'lease-and-pod' } as const;
const POD = { about: 'pod' } as const;

/** The Events that tell of a change of role. */
export const ROLE_EVENTS = {
  becameHolder: { reason: 'BecameHolder', action: 'Acquire', type: 'Normal', ...BOTH },
  serving: { reason: 'Serving', action: 'Serve', type: 'Normal', ...BOTH },
  steppedDown: { reason: 'SteppedDown', action: 'StepDown', type: 'Normal', ...BOTH },
  lostLease: { reason: 'LostLease', action: 'Renew', type: 'Warning', ...BOTH },
} as const satisfies Record<string, Kind>;

/** What each incident becomes; null: it is in the log, and nobody needs it in Kubernetes. */
export const INCIDENT_EVENTS: { readonly [Name in Incident]: Kind | null } = {
  hindered: { reason: 'NotContending', action: 'Contend', type: 'Warning', ...POD },
  unhindered: { reason: 'Contending', action: 'Contend', type: 'Normal', ...POD },
  stalled: { reason: 'Stalled', action: 'Run', type: 'Warning', ...POD },
  'residence-disproved': { reason: 'AnotherAgentHere', action: 'Run', type: 'Warning', ...POD },
  vacant: { reason: 'NobodyHolds', action: 'Contend', type: 'Warning', ...BOTH },
  'relief-wanted': { reason: 'ReliefWanted', action: 'AskForRelief', type: 'Warning', ...BOTH },
  'relief-withdrawn': { reason: 'ReliefWithdrawn', action: 'AskForRelief', type: 'Normal', ...BOTH },
  unrelieved: { reason: 'Unrelieved', action: 'AskForRelief', type: 'Warning', ...BOTH },
  'claim-failed': { reason: 'ClaimFailed', action: 'Claim', type: 'Warning', ...BOTH },
  'owner-drifted': { reason: 'RouteMoved', action: 'Claim', type: 'Warning', ...BOTH },
  contested: { reason: 'AddressContested', action: 'Claim', type: 'Warning', ...BOTH },
  'contest-over': { reason: 'AddressUncontested', action: 'Claim', type: 'Normal', ...BOTH },
  'bind-failed': { reason: 'BindFailed', action: 'Bind', type: 'Warning', ...BOTH },
  'address-repaired': { reason: 'AddressRepaired', action: 'Bind', type: 'Warning', ...BOTH },
  'address-left-behind': { reason: 'AddressLeftBehind', action: 'Unbind', type: 'Warning', ...BOTH },
  conflict: { reason: 'AddressConflict', action: 'Bind', type: 'Warning', ...BOTH },
  'announce-failed': { reason: 'AnnounceFailed', action: 'Announce', type: 'Warning', ...BOTH },
  'release-failed': { reason: 'ReleaseFailed', action: 'StepDown', type: 'Warning', ...BOTH },
  'linger-expired': { reason: 'NotTakenOver', action: 'StepDown', type: 'Warning', ...BOTH },
  'holding-over': { reason: 'HoldingOver', action: 'HoldOver', type: 'Warning', ...BOTH },
  'holdover-ended': { reason: 'HoldoverEnded', action: 'HoldOver', type: 'Warning', ...BOTH },
  // Read in the role Events that they lead to, or passing by themselves, or about the very API that would have to take them.
  'asked-for-relief': null,
  'bound-elsewhere': null,
  'claim-confirmed': null,
  'lease-trouble': null,
  'lease-trouble-over': null,
  'linger-ended': null,
  'owner-known': null,
  'owner-unknown': null,
  'set-aside': null,
};

const IN_OFFICE: readonly Role[] = ['claiming', 'serving'];

export class EventChoice {
  readonly #node: string;
  readonly #addresses: string;
  /** Why the Lease was last reached for: the reason to become the holder is known before that is granted. */
  #whyAcquired = '';

  constructor(node: string, addresses: readonly string[]) {
    this.#node = node;
    this.#addresses = addresses.join(', ');
  }

  /** What a report is worth to Kubernetes; mostly nothing. */
  of(report: Report): readonly Happening[] {
    if (report.kind === 'transition') return this.#ofTransition(report);
    const kind = INCIDENT_EVENTS[report.event];
    if (kind === null) return [];
    const about = report.address === null ? '' : `${report.address}: `;
    return [{ ...kind, note: `${this.#node}: ${about}${report.message}` }];
  }

  #ofTransition({ from, to, reason }: Report & { kind: 'transition' }): readonly Happening[] {
    const say = (kind: Kind, what: string): Happening => ({ ...kind, note: `${this.#node} ${what}` });
    if (to === 'acquiring') this.#whyAcquired = reason;
    const happenings: Happening[] = [];
    if (from === 'acquiring' && IN_OFFICE.includes(to)) {
      happenings.push(say(ROLE_EVENTS.becameHolder, `became the holder: ${this.#whyAcquired}`));
    }
    if (to === 'serving') happenings.push(say(ROLE_EVENTS.serving, `serves ${this.#addresses}: ${reason}`));
    if (!IN_OFFICE.includes(from) || IN_OFFICE.includes(to)) return happenings;
    if (to === 'stepping-down') happenings.push(say(ROLE_EVENTS.steppedDown, `steps down: ${reason}`));
    else happenings.push(say(ROLE_EVENTS.lostLease, `lost the Lease: ${reason}`));
    return happenings;
  }
}

/** The uid of the Lease that a report is about, or null where none has been seen. */
export function leaseUidOf(report: Report, { observation }: Pick<Contender, 'observation'>): string | null {
  const sight = observation?.sight ?? 'absent';
  if (sight !== 'absent') return sight.uid;
  const uid = report.kind === 'transition' ? (report.term?.uid ?? '') : '';
  return uid === '' ? null : uid;
}
