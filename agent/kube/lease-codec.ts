/**
 * Between a `coordination.k8s.io/v1` Lease as the API server writes it and the heart's own words for it.
 *
 * Guarantees: what is written is a Lease that client-go understands, with times of exactly six fraction digits, without
 * which the API server refuses it; marks that are malformed count as not there. Everything is written as a merge patch
 * (RFC 7396) or, to create, as a whole Lease; a merge patch to a missing Lease creates nothing.
 */
import type { V1Lease } from '@kubernetes/client-node';
import type { MarkChanges } from '../contender/command.ts';
import type { LeaseMarks, LeaseRecord, ReliefCause, Term } from '../contender/lease.ts';
import { at, integerAt, listAt, messageAt, parseJson, stringAt } from '../json.ts';
import type { LeaseWrite } from '../ports.ts';

const PREFIX = 'leasehold.dev/';

/** The annotation of each mark. */
export const ANNOTATIONS: { readonly [Mark in keyof LeaseMarks]: string } = {
  duration: `${PREFIX}lease-duration`,
  released: `${PREFIX}released`,
  relief: `${PREFIX}relief`,
  ask: `${PREFIX}ask`,
  claimFailed: `${PREFIX}claim-failed`,
  reason: `${PREFIX}reason`,
};

const NAME_LABEL = 'app.kubernetes.io/name';
const OUR_NAME = 'leasehold';
const REASON_LENGTH_MAX = 300;

/** Reads a Lease, or gives null for anything that is none. */
export function decodeLease(json: unknown): LeaseRecord | null {
  const uid = stringAt(json, 'metadata', 'uid');
  const resourceVersion = stringAt(json, 'metadata', 'resourceVersion');
  if (uid === undefined || resourceVersion === undefined) return null;
  return {
    uid,
    resourceVersion,
    holder: stringAt(json, 'spec', 'holderIdentity') ?? '',
    transitions: Math.max(0, integerAt(json, 'spec', 'leaseTransitions') ?? 0),
    acquireTime: stringAt(json, 'spec', 'acquireTime') ?? null,
    renewTime: stringAt(json, 'spec', 'renewTime') ?? null,
    durationMs: decodeDurationMs((integerAt(json, 'spec', 'leaseDurationSeconds') ?? 0) * 1_000),
    isOurs: bearsOurName(json),
    marks: decodeMarks(json),
  };
}

/** A duration that a candidate can wait for, or null. */
function decodeDurationMs(ms: number): number | null {
  return Number.isSafeInteger(ms) && ms > 0 ? ms : null;
}

function bearsOurName(json: unknown): boolean {
  if (stringAt(json, 'metadata', 'labels', NAME_LABEL) === OUR_NAME) return true;
  return Object.keys(at(json, 'metadata', 'annotations') ?? {}).some((name) => name.startsWith(PREFIX));
}

function decodeMarks(json: unknown): LeaseMarks {
  const mark = (name: keyof LeaseMarks): unknown => {
    const text = stringAt(json, 'metadata', 'annotations', ANNOTATIONS[name]);
    return text === undefined ? undefined : parseJson(text);
  };
  const duration = mark('duration');
  const relief = mark('relief');
  const ask = mark('ask');
  const durationTerm = decodeTerm(duration);
  const durationMs = decodeDurationMs(integerAt(duration, 'durationMs') ?? 0);
  const reliefTerm = decodeTerm(relief);
  const cause = decodeCause(stringAt(relief, 'cause'));
  const askTerm = decodeTerm(ask);
  const by = stringAt(ask, 'by');
  const moved = mark('reason');
  const movedTerm = decodeTerm(moved);
  const failed = listAt({ nodes: mark('claimFailed') }, 'nodes') ?? [];
  return {
    duration: durationTerm === null || durationMs === null ? null : { term: durationTerm, durationMs },
    released: decodeTerm(mark('released')),
    relief:
      reliefTerm === null || cause === null
        ? null
        : { term: reliefTerm, cause, reason: messageAt(relief, 'reason') ?? 'it gives no reason' },
    ask: askTerm === null || by === undefined ? null : { term: askTerm, by },
    claimFailed: failed.filter((node): node is string => typeof node === 'string'),
    reason: movedTerm === null ? null : { term: movedTerm, reason: messageAt(moved, 'reason') ?? 'it gives no reason' },
  };
}

function decodeTerm(json: unknown): Term | null {
  const uid = stringAt(json, 'uid');
  const transitions = integerAt(json, 'transitions');
  const holder = stringAt(json, 'holder');
  return uid === undefined || transitions === undefined || holder === undefined ? null : { uid, transitions, holder };
}

function decodeCause(text: string | undefined): ReliefCause | null {
  return text === 'unhealthy' || text === 'claim-failed' || text === 'planned' ? text : null;
}

function encodeMark(name: keyof LeaseMarks, marks: MarkChanges): string | null {
  switch (name) {
    case 'duration':
      return marks.duration ? JSON.stringify({ ...marks.duration.term, durationMs: marks.duration.durationMs }) : null;
    case 'released':
      return marks.released ? JSON.stringify(marks.released) : null;
    case 'relief': {
      if (!marks.relief) return null;
      const { term, cause, reason } = marks.relief;
      return JSON.stringify({ ...term, cause, reason: reason.slice(0, REASON_LENGTH_MAX) });
    }
    case 'ask':
      return marks.ask ? JSON.stringify({ ...marks.ask.term, by: marks.ask.by }) : null;
    case 'claimFailed':
      return marks.claimFailed && marks.claimFailed.length > 0 ? JSON.stringify(marks.claimFailed) : null;
    case 'reason':
      return marks.reason ? JSON.stringify({ ...marks.reason.term, reason: marks.reason.reason.slice(0, REASON_LENGTH_MAX) }) : null;
  }
}

/** The annotations that a write changes; null removes one. */
function encodeMarks(marks: MarkChanges): Record<string, string | null> {
  const names = Object.keys(marks) as (keyof LeaseMarks)[];
  return Object.fromEntries(names.map((name) => [ANNOTATIONS[name], encodeMark(name, marks)]));
}

export interface LeaseName {
  readonly namespace: string;
  readonly name: string;
}

/** The body of a write, as text: a whole Lease for `create`, otherwise a merge patch. */
export function encodeWrite(write: LeaseWrite, { name, namespace }: LeaseName, identity: string, wallMs: number): string {
  const time = microTime(wallMs, write.type === 'renew' ? write.lastRenewTime : null);
  if (write.type === 'create') {
    const lease: Pick<V1Lease, 'apiVersion' | 'kind'> & { metadata: object; spec: object } = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name, namespace, labels: { [NAME_LABEL]: OUR_NAME }, annotations: encodeMarks(write.marks) },
      spec: specOfAcquisition(identity, write.transitions, write.durationMs, time),
    };
    return JSON.stringify(lease);
  }
  const metadata = { ...write.basis, annotations: encodeMarks(write.marks) };
  switch (write.type) {
    case 'acquire':
      return JSON.stringify({ metadata, spec: specOfAcquisition(identity, write.transitions, write.durationMs, time) });
    case 'renew':
      return JSON.stringify({
        metadata,
        spec: { holderIdentity: identity, leaseDurationSeconds: wholeSeconds(write.durationMs), renewTime: time },
      });
    case 'release':
      return JSON.stringify({ metadata, spec: { holderIdentity: '' } });
    case 'ask':
      return JSON.stringify({ metadata });
  }
}

function specOfAcquisition(identity: string, transitions: number, durationMs: number, time: string): object {
  return {
    holderIdentity: identity,
    leaseDurationSeconds: wholeSeconds(durationMs),
    acquireTime: time,
    renewTime: time,
    leaseTransitions: transitions,
  };
}

/** The API server refuses 0; candidates that know no exact duration wait a little longer, never shorter. */
function wholeSeconds(durationMs: number): number {
  return Math.max(1, Math.ceil(durationMs / 1_000));
}

/**
 * A time as Kubernetes' MicroTime is written: UTC with exactly six fraction digits. It always differs from `last`, even
 * if the wall clock stands still, because candidates recognise a renewal by its change.
 */
export function microTime(wallMs: number, last: string | null): string {
  const time = new Date(wallMs).toISOString().replace(/Z$/, '000Z');
  return time === last ? time.replace(/000Z$/, '001Z') : time;
}
