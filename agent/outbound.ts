/**
 * What every outgoing connection of this agent has in common: its name, and how host names are looked up.
 *
 * Guarantees: a name that was found once is answered from memory from then on and looked up anew beside it, so that a DNS
 * server on the node that has just died delays nothing. Each name is looked up once at a time: the look-ups that nobody
 * waits for any more would otherwise pile up in the few threads there are and hold up all others. `localhost` is not looked
 * up at all (RFC 6761, section 6.3).
 * An address that has changed is used one connection later.
 */
import type { LookupAddress, LookupOptions } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { asError } from './clock.ts';
import type { Clock } from './clock.ts';

export interface Outbound {
  /** What this program calls itself in HTTP requests. */
  readonly userAgent: string;
  readonly lookup: LookupFunction;
}

/** Finds all addresses of a name. Throws when there are none or nobody answers. */
export type FindAddresses = (hostname: string) => Promise<readonly LookupAddress[]>;

/** How long an answer is used before it is asked for again. */
const FRESH_MS = 10_000;
const LOOPBACK: readonly LookupAddress[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
];

/** Makes a look-up for sockets (the option `lookup` of `net.connect` and all that is built on it). */
export function rememberingLookup(find: FindAddresses, clock: Clock): LookupFunction {
  const known = new Map<string, { readonly addresses: readonly LookupAddress[]; readonly atMs: number }>();
  const underWay = new Map<string, Promise<readonly LookupAddress[]>>();

  const findOnce = (hostname: string): Promise<readonly LookupAddress[]> => {
    const already = underWay.get(hostname);
    if (already !== undefined) return already;
    const search = find(hostname)
      .then((addresses) => {
        known.set(hostname, { addresses, atMs: clock.nowMs() });
        return addresses;
      })
      .finally(() => underWay.delete(hostname));
    underWay.set(hostname, search);
    return search;
  };

  const addressesOf = async (hostname: string): Promise<readonly LookupAddress[]> => {
    if (hostname === 'localhost') return LOOPBACK;
    const remembered = known.get(hostname);
    if (remembered === undefined) return await findOnce(hostname);
    if (clock.nowMs() - remembered.atMs >= FRESH_MS) findOnce(hostname).catch(() => undefined);
    return remembered.addresses;
  };

  return (hostname, options, callback) => {
    addressesOf(hostname).then(
      (addresses) => answer(hostname, addresses, options, callback),
      (error: unknown) => callback(asError(error), ''),
    );
  };
}

function answer(
  hostname: string,
  addresses: readonly LookupAddress[],
  { all, family }: LookupOptions,
  callback: Parameters<LookupFunction>[2],
): void {
  const wanted = family === 'IPv4' ? 4 : family === 'IPv6' ? 6 : (family ?? 0);
  const fitting = addresses.filter((each) => wanted === 0 || each.family === wanted);
  const [first] = fitting;
  if (first === undefined) callback(Object.assign(new Error(`${hostname} has no address of that family`), { code: 'ENOTFOUND' }), '');
  else if (all === true) callback(null, [...fitting]);
  else callback(null, first.address, first.family);
}
