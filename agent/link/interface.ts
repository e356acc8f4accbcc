/**
 * Which interface carries an address.
 *
 * Guarantees: an ambiguous choice is a problem that lists the candidates, never a guess. Knows nothing but the rows it
 * is given.
 */
import { contains } from '../address.ts';
import type { Address } from '../address.ts';
import { AF_INET, AF_INET6 } from './rtnetlink.ts';
import type { AddressRow, DefaultRoute, LinkRow } from './rtnetlink.ts';

/** What INTERFACE says. */
export type InterfaceChoice =
  | { readonly is: 'auto' }
  /** `auto` where the provider tells the hardware address: null until it has. */
  | { readonly is: 'told'; readonly mac: string | null }
  | { readonly is: 'name'; readonly name: string }
  | { readonly is: 'mac'; readonly mac: string }
  | { readonly is: 'cidr'; readonly network: Address }
  | { readonly is: 'pattern'; readonly pattern: RegExp };

/** What the kernel says at one instant. Addresses that Leasehold itself bound are left out. */
export interface Surroundings {
  readonly links: readonly LinkRow[];
  readonly addresses: readonly AddressRow[];
  readonly routes: readonly DefaultRoute[];
}

export type Chosen =
  /** `why`: what speaks for this one, for people. */
  { readonly is: 'chosen'; readonly link: LinkRow; readonly why: string } | { readonly is: 'problem'; readonly problem: string };

const NOT_TOLD: Chosen = {
  is: 'problem',
  problem: 'the provider has not told yet which interface it is; INTERFACE may name one',
};

/** Chooses the interface for an address. */
export function chooseInterface(choice: InterfaceChoice, address: Address, around: Surroundings): Chosen {
  switch (choice.is) {
    case 'auto':
      return chooseBySubnet(address, around);
    case 'told':
      return choice.mac === null
        ? NOT_TOLD
        : chooseByMac(choice.mac, ', which the provider names', `the provider names its hardware address ${choice.mac}`, around);
    case 'name':
      return theOnly(
        around.links.filter(({ name }) => name === choice.name),
        { ifNone: `there is no interface ${choice.name}`, which: `named ${choice.name}`, why: 'INTERFACE names it' },
        around,
      );
    case 'mac':
      return chooseByMac(choice.mac, '', `INTERFACE names its hardware address ${choice.mac}`, around);
    case 'cidr': {
      const { network } = choice;
      const within = linksOf(
        around.addresses.filter(({ bytes }) => contains(network.bytes, network.prefixLength, bytes)),
        around,
      );
      const text = `${network.text}/${network.prefixLength}`;
      const why = `it has an address in ${text}, as INTERFACE says`;
      return theOnly(within, { ifNone: `no interface has an address in ${text}`, which: `with an address in ${text}`, why }, around);
    }
    case 'pattern': {
      const { pattern } = choice;
      const text = String(pattern);
      return theOnly(
        around.links.filter(({ name }) => pattern.test(name)),
        { ifNone: `no interface matches ${text}`, which: `that match ${text}`, why: `it matches ${text}, as INTERFACE says` },
        around,
      );
    }
  }
}

function chooseByMac(mac: string, whose: string, why: string, around: Surroundings): Chosen {
  const found = around.links.filter((link) => link.mac === mac);
  return theOnly(
    found,
    { ifNone: `no interface has the hardware address ${mac}${whose}`, which: `with the hardware address ${mac}`, why },
    around,
  );
}

/** The interface whose own subnet contains the address, else the one of the default route. */
function chooseBySubnet(address: Address, around: Surroundings): Chosen {
  const family = address.family === 4 ? AF_INET : AF_INET6;
  const neighbours = around.addresses.filter(
    (row) => row.family === family && !isHostAddress(row) && contains(row.bytes, row.prefixLength, address.bytes),
  );
  const near = linksOf(neighbours, around).filter(({ isLoopback }) => !isLoopback);
  const ifNone = `no interface has a subnet that contains ${address.text}, and there is no default route`;
  if (near.length > 0)
    return theOnly(near, { ifNone, which: `whose subnet contains ${address.text}`, why: 'its own subnet contains the address' }, around);
  const byFamily = around.routes.filter((route) => route.family === family);
  // A node without IPv6 routes of its own still has one interface towards the world.
  const routes = byFamily.length > 0 ? byFamily : around.routes;
  const best = Math.min(...routes.map(({ metric }) => metric));
  const indexes = new Set(routes.filter(({ metric }) => metric === best).map(({ interfaceIndex }) => interfaceIndex));
  const far = around.links.filter(({ index }) => indexes.has(index));
  const why = 'the default route leads over it, and no own subnet contains the address';
  return theOnly(far, { ifNone, which: 'with a default route', why }, around);
}

/** What is said of a choice, whatever its outcome. */
interface Words {
  readonly ifNone: string;
  readonly which: string;
  readonly why: string;
}

function theOnly(found: readonly LinkRow[], { ifNone, which, why }: Words, { links }: Surroundings): Chosen {
  const [link, ...others] = found;
  if (link === undefined) return { is: 'problem', problem: `${ifNone}; there are ${names(links.filter(({ isLoopback }) => !isLoopback))}` };
  if (others.length === 0) return { is: 'chosen', link, why };
  return { is: 'problem', problem: `there are several interfaces ${which}: set INTERFACE to one of ${names(found)}` };
}

function linksOf(rows: readonly AddressRow[], { links }: Surroundings): LinkRow[] {
  const indexes = new Set(rows.map(({ interfaceIndex }) => interfaceIndex));
  return links.filter(({ index }) => indexes.has(index));
}

/** A /32 or /128 is no subnet: it says nothing about who lives next to it. */
function isHostAddress({ bytes, prefixLength }: AddressRow): boolean {
  return prefixLength === bytes.length * 8;
}

function names(links: readonly LinkRow[]): string {
  return links.length === 0 ? 'none' : links.map(({ name }) => name).join(', ');
}
