/**
 * What the preflight says of this kernel and of the interface that carries each address.
 *
 * Guarantees: it only tells what a look has shown, and looks at nothing itself.
 */
import type { Address } from '../address.ts';
import type { LinkView } from '../contender/input.ts';
import { fail, ok, warn } from '../finding.ts';
import type { Finding } from '../finding.ts';

export interface LinkFindingsSource {
  readonly kind: 'l2' | 'routed';
  readonly addresses: readonly Address[];
  /** What the latest look has shown; null where there was none yet. */
  readonly view: LinkView | null;
  /** Whether this kernel keeps a fence; of no interest where routed. */
  readonly isFenced: boolean;
  /** As uname(2) has it. */
  readonly kernelRelease: string;
}

/** What is found where the link could be opened. */
export function linkFindings({ kind, addresses, view, isFenced, kernelRelease }: LinkFindingsSource): Finding[] {
  return [
    kernelFinding(kind, isFenced, kernelRelease),
    ok('capabilities', kind === 'l2' ? 'NET_ADMIN and NET_RAW are there' : 'NET_ADMIN is there'),
    ...(view === null ? [] : interfaceFindings(kind, addresses, view)),
  ];
}

/** What is found where it could not. */
export function unusableLinkFinding(message: string): Finding {
  return fail('kernel', message, 'the agent ends with code 77 until that is so');
}

function kernelFinding(kind: 'l2' | 'routed', isFenced: boolean, release: string): Finding {
  if (kind === 'routed') return ok('kernel', `Linux ${release} can mark addresses as Leasehold's own`);
  if (isFenced) return ok('kernel', `Linux ${release} keeps the packet filter that stops a frozen agent to the millisecond`);
  return warn(
    'kernel',
    `Linux ${release} cannot keep the packet filter that stops a frozen agent: address lifetimes take its place, in whole seconds`,
    'load nf_tables with the families inet and arp and the expression fib (modprobe nf_tables nft_fib_inet), or keep LEASE_DURATION at 2909ms or more',
  );
}

function interfaceFindings(kind: 'l2' | 'routed', addresses: readonly Address[], view: LinkView): Finding[] {
  const problem = view.problem === null ? [] : [fail('interface', view.problem, 'see to the interface, or name another one in INTERFACE')];
  return [...problem, ...addresses.flatMap(({ text }) => addressFinding(kind, text, view))];
}

function addressFinding(kind: 'l2' | 'routed', text: string, { interfaces, reasons, addresses, problem }: LinkView): Finding[] {
  const name = `interface ${text}`;
  const chosen = interfaces[text];
  const seen = addresses[text];
  if (seen?.is === 'foreign') {
    const what = `it is configured on ${seen.interfaceName} by somebody else`;
    if (kind === 'l2') return [fail(name, what, 'remove it there: two that manage one address cannot both be right')];
    return [warn(name, `${what}: Leasehold uses it as it is and never takes it off`, 'remove it there, unless that is meant')];
  }
  if (chosen === undefined) return problem === null ? [fail(name, 'no interface fits', 'name one in INTERFACE')] : [];
  const why = reasons[text] === undefined ? '' : ` (${reasons[text]})`;
  const where = `${chosen}${why}`;
  return [ok(name, seen?.is === 'ours' ? `it is bound on ${where}, by Leasehold` : `it belongs on ${where}, and is not bound now`)];
}
