/**
 * The addresses on this node's interfaces, kept by the kernel and changed over rtnetlink.
 *
 * Guarantees (rules 7 and 11): every address that it binds has a kernel lifetime and bears Leasehold's mark; the
 * first bind is exclusive; what does not bear the mark is never changed or removed. A bound address is never chosen as the
 * source of the node's own connections: its scope is `host`, which the kernel's choice of an IPv4 source passes over, and
 * it is deprecated, which the choice of an IPv6 source avoids. No prefix route, no duplicate address detection.
 *
 * Needs Linux 5.18 for the mark in the address protocol number. From 4.18 on IPv4 works by its label alone, and IPv6 is
 * refused, because nothing would tell a leftover of ours from an address that somebody else configured.
 * It does not watch: what changes is seen by the next look. Of a segment it knows nothing: that is in l2-link.ts.
 */
import { addressText, contains } from '../address.ts';
import type { Address } from '../address.ts';
import type { AddressView, BindOutcome, LinkView, UnbindOutcome } from '../contender/input.ts';
import type { Link } from '../ports.ts';
import { chooseInterface } from './interface.ts';
import type { Chosen, InterfaceChoice } from './interface.ts';
import { SystemError } from './libc.ts';
import { encodeAttribute, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from './netlink.ts';
import {
  addressHeader,
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  decodeAddress,
  decodeDefaultRoutes,
  decodeLink,
  encodeAddress,
  IFA_F_NODAD,
  IFA_F_NOPREFIXROUTE,
  IFA_LOCAL,
  linkRequestBody,
  RT_SCOPE_HOST,
  RT_SCOPE_UNIVERSE,
  RTM_DELADDR,
  RTM_GETADDR,
  RTM_GETLINK,
  RTM_GETROUTE,
  RTM_NEWADDR,
} from './rtnetlink.ts';
import type { AddressRow, DefaultRoute, LinkRow } from './rtnetlink.ts';
import type { NetlinkSocket } from './netlink-socket.ts';

/** The address protocol number (IFA_PROTO) of everything that Leasehold binds: 'L'. */
export const OUR_PROTOCOL = 0x4c;
const OUR_LABEL_SUFFIX = ':lh';
const LABEL_LENGTH_MAX = 15;
const KERNEL_WITH_PROTOCOL = [5, 18];
const KERNEL_OLDEST = [4, 18];
const VALID_MAX_S = 0x7fffffff;

export interface KernelLinkOptions {
  readonly addresses: readonly Address[];
  readonly choice: InterfaceChoice;
  /** The kernel's release, such as `6.1.0-18-amd64` (uname(2)). */
  readonly kernelRelease: string;
  /** Told once of each choice that is made (`info`), and of each thing that is done otherwise than asked for (`warn`). */
  readonly onNotice: (level: 'info' | 'warn', message: string) => void;
}

const NOTHING_SEEN = { interfaces: {}, reasons: {}, addresses: {}, plugged: {}, rivals: {} } as const;

/** What keeps the link from working at all, found at start. */
export class LinkUnusable extends Error {
  override readonly name = 'LinkUnusable';
}

export class KernelLink implements Link {
  readonly segment = null;
  readonly #socket: NetlinkSocket;
  readonly #options: KernelLinkOptions;
  readonly #marksByProtocol: boolean;
  readonly #addresses: ReadonlyMap<string, Address>;
  readonly #noticed = new Set<string>();
  #choice: InterfaceChoice;
  /** The interface chosen for each address and why, kept for as long as it exists: what is bound there must not wander. */
  readonly #chosen = new Map<string, { readonly index: number; readonly why: string }>();
  /** Every address of this machine at the last look. */
  #looked: readonly AddressRow[] = [];
  /** Addresses of which this process has removed every copy of ours on another interface. */
  readonly #tidied = new Set<string>();

  /** Throws LinkUnusable where this kernel or this process cannot do what is needed. */
  constructor(socket: NetlinkSocket, options: KernelLinkOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#choice = options.choice;
    this.#addresses = new Map(options.addresses.map((address) => [address.text, address]));
    this.#marksByProtocol = isAtLeast(options.kernelRelease, KERNEL_WITH_PROTOCOL);
    this.#checkKernel();
    this.#checkPermission();
  }

  look(): LinkView {
    try {
      const rows = this.#rows();
      this.#looked = rows;
      const choices = this.#options.addresses.map((address) => ({ address, chosen: this.#choose(address, rows) }));
      const problems = choices.map(({ address, chosen }) => problemOf(chosen, address)).filter((problem) => problem !== null);
      return {
        problem: problems[0] ?? null,
        isPresent: choices.every(({ chosen }) => chosen.is === 'chosen'),
        interfaces: Object.fromEntries(
          choices.flatMap(({ address, chosen }) => (chosen.is === 'chosen' ? [[address.text, chosen.link.name]] : [])),
        ),
        reasons: Object.fromEntries(choices.flatMap(({ address, chosen }) => (chosen.is === 'chosen' ? [[address.text, chosen.why]] : []))),
        addresses: Object.fromEntries(this.#options.addresses.map((address) => [address.text, this.#view(address, rows)])),
        plugged: {},
        rivals: {},
      };
    } catch (error) {
      return { problem: `the kernel does not list its interfaces: ${explain(error, '')}`, isPresent: false, ...NOTHING_SEEN };
    }
  }

  tellInterface(mac: string): void {
    if (this.#choice.is !== 'told' || this.#choice.mac === mac) return;
    this.#choice = { is: 'told', mac };
    // What is bound by what was told before is in the wrong place now.
    this.#chosen.clear();
    this.#tidied.clear();
  }

  bind(text: string, lifetimeMs: number): BindOutcome {
    return this.bindUnlessEnough(text, lifetimeMs, Number.POSITIVE_INFINITY);
  }

  /** Binds or refreshes, and leaves a lifetime alone of which so much is left. */
  bindUnlessEnough(text: string, lifetimeMs: number, enoughMs: number): BindOutcome {
    const address = this.#addresses.get(text);
    if (address === undefined) return { is: 'failed', message: `${text} is none of the configured addresses` };
    const lifetimeS = Math.min(VALID_MAX_S, Math.floor(lifetimeMs / 1_000));
    if (lifetimeS < 1) {
      const removed = this.unbind(text);
      return removed.is === 'unbound' ? { is: 'too-late' } : removed;
    }
    let interfaceName = '';
    try {
      if (this.#tidied.has(text) && this.#refresh(address, lifetimeS, enoughMs)) return { is: 'bound' };
      const rows = this.#rows();
      const chosen = this.#choose(address, rows);
      if (chosen.is === 'problem') return { is: 'failed', message: chosen.problem };
      interfaceName = chosen.link.name;
      return this.#bindOn(chosen.link, address, lifetimeS, rows);
    } catch (error) {
      const where = interfaceName === '' ? '' : ` to ${interfaceName}`;
      return { is: 'failed', message: `cannot bind ${text}${where}: ${explain(error, interfaceName)}` };
    }
  }

  unbind(text: string): UnbindOutcome {
    try {
      for (const row of this.#rows()) if (this.#isOurs(row) && addressText(row.bytes) === text) this.#remove(row);
      return { is: 'unbound' };
    } catch (error) {
      return { is: 'failed', message: `cannot take ${text} off its interface: ${explain(error, '')}` };
    }
  }

  /** The interface chosen for an address, as it is now; null where there is none. */
  interfaceOf(text: string): LinkRow | null {
    const chosen = this.#chosen.get(text);
    return chosen === undefined ? null : this.#link(chosen.index);
  }

  /** The bridge, bond or VRF that an interface is a part of, or null. */
  masterOf({ masterIndex }: LinkRow): LinkRow | null {
    return masterIndex === null ? null : this.#link(masterIndex);
  }

  /** Whether somebody else had an address on an interface of that name when it was looked at last. */
  hasCopyOn(text: string, interfaceName: string): boolean {
    const copies = this.#looked.filter((row) => !this.#isOurs(row) && addressText(row.bytes) === text);
    return copies.some(({ interfaceIndex }) => this.#link(interfaceIndex)?.name === interfaceName);
  }

  /** The hardware addresses of this machine. */
  ownMacs(): Set<string> {
    return new Set(this.#links().map(({ mac }) => mac));
  }

  close(): void {
    this.#socket.close();
  }

  /** The common case, which is to cost little however many interfaces there are: ours is where it belongs. */
  #refresh(address: Address, lifetimeS: number, enoughMs: number): boolean {
    const link = this.interfaceOf(address.text);
    if (link === null) return false;
    const row = this.#rows(address, link.index).find((each) => this.#isOurs(each) && addressText(each.bytes) === address.text);
    if (row === undefined) return false;
    if (row.validS * 1_000 < enoughMs) this.#set(link, { ...address, prefixLength: row.prefixLength }, lifetimeS, NLM_F_REPLACE);
    return true;
  }

  #bindOn(link: LinkRow, address: Address, lifetimeS: number, rows: readonly AddressRow[]): BindOutcome {
    const copies = rows.filter((row) => addressText(row.bytes) === address.text);
    // What an agent with another INTERFACE left behind would go on answering there.
    for (const row of copies) if (this.#isOurs(row) && row.interfaceIndex !== link.index) this.#remove(row);
    this.#tidied.add(address.text);
    if (this.#refresh(address, lifetimeS, Number.POSITIVE_INFINITY)) return { is: 'bound' };
    const foreign = copies.find((row) => !this.#isOurs(row));
    if (foreign !== undefined) return { is: 'foreign', interfaceName: this.#nameOf(foreign.interfaceIndex) };
    try {
      this.#set(link, this.#withSafePrefix(address, link, rows), lifetimeS, NLM_F_CREATE | NLM_F_EXCL);
      return { is: 'bound' };
    } catch (error) {
      // Somebody else was faster between the look and the bind: theirs it is.
      if (error instanceof SystemError && error.code === 'EEXIST') return { is: 'foreign', interfaceName: link.name };
      throw error;
    }
  }

  /**
   * The kernel ties IPv4 addresses of one interface and one prefix together: removing the first removes the others, and
   * they must share a scope. So where the node has an address of its own in the same prefix, ours is bound as a /32.
   */
  #withSafePrefix(address: Address, link: LinkRow, rows: readonly AddressRow[]): Address {
    if (address.family === 6 || address.prefixLength === 32) return address;
    const neighbour = rows.find(
      (row) =>
        row.family === AF_INET &&
        row.interfaceIndex === link.index &&
        row.prefixLength === address.prefixLength &&
        contains(row.bytes, row.prefixLength, address.bytes),
    );
    if (neighbour === undefined) return address;
    this.#notice(
      'warn',
      `${address.text}/${address.prefixLength} is bound as a /32: ${link.name} has ${addressText(neighbour.bytes)}/${neighbour.prefixLength}, ` +
        'and the kernel would remove the two together',
    );
    return { ...address, prefixLength: 32 };
  }

  #set(link: LinkRow, address: Address, validS: number, flags: number): void {
    const isIpv4 = address.family === 4;
    const body = encodeAddress({
      family: isIpv4 ? AF_INET : AF_INET6,
      prefixLength: address.prefixLength,
      interfaceIndex: link.index,
      scope: isIpv4 ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
      flags: IFA_F_NOPREFIXROUTE | (isIpv4 ? 0 : IFA_F_NODAD),
      bytes: Buffer.from(address.bytes),
      label: isIpv4 ? labelFor(link.name) : null,
      protocol: this.#marksByProtocol ? OUR_PROTOCOL : null,
      validS,
    });
    this.#socket.change(RTM_NEWADDR, flags, body);
  }

  #remove(row: AddressRow): void {
    try {
      const header = addressHeader(row.family, row.prefixLength, row.scope, row.interfaceIndex);
      this.#socket.change(RTM_DELADDR, 0, Buffer.concat([header, encodeAttribute(IFA_LOCAL, Buffer.from(row.bytes))]));
    } catch (error) {
      // Gone in the meantime, by its lifetime or with its interface: that is what was wanted.
      if (!(error instanceof SystemError) || !['EADDRNOTAVAIL', 'ENODEV'].includes(error.code)) throw error;
    }
  }

  #view(address: Address, rows: readonly AddressRow[]): AddressView {
    const copies = rows.filter((row) => addressText(row.bytes) === address.text);
    const ours = copies.find((row) => this.#isOurs(row));
    if (ours !== undefined) return { is: 'ours', remainingMs: ours.validS * 1_000 };
    const [foreign] = copies;
    return foreign === undefined ? { is: 'absent' } : { is: 'foreign', interfaceName: this.#nameOf(foreign.interfaceIndex) };
  }

  #choose(address: Address, rows: readonly AddressRow[]): Chosen {
    const before = this.#chosen.get(address.text);
    const kept = this.interfaceOf(address.text);
    if (before !== undefined && kept !== null) return { is: 'chosen', link: kept, why: before.why };
    const addresses = rows.filter((row) => !this.#isOurs(row));
    const chosen = chooseInterface(this.#choice, address, { links: this.#links(), addresses, routes: this.#routes() });
    if (chosen.is === 'chosen' && !this.#marksByProtocol && labelFor(chosen.link.name) === null) {
      const problem = `the name ${chosen.link.name} leaves no room for Leasehold's label, the only mark that Linux ${this.#options.kernelRelease} knows: rename the interface`;
      return { is: 'problem', problem };
    }
    if (chosen.is === 'chosen') {
      this.#chosen.set(address.text, { index: chosen.link.index, why: chosen.why });
      this.#notice('info', `${address.text} belongs on the interface ${chosen.link.name}: ${chosen.why}`);
    }
    return chosen;
  }

  #isOurs(row: AddressRow): boolean {
    if (this.#marksByProtocol) return row.protocol === OUR_PROTOCOL;
    return row.family === AF_INET && row.label?.endsWith(OUR_LABEL_SUFFIX) === true;
  }

  /** All addresses, or at least those of one address's family on one interface. */
  #rows(like: Address | null = null, interfaceIndex = 0): AddressRow[] {
    const family = like === null ? AF_UNSPEC : like.family === 4 ? AF_INET : AF_INET6;
    return this.#socket
      .dump(RTM_GETADDR, addressHeader(family, 0, 0, interfaceIndex))
      .map(decodeAddress)
      .filter((row) => row !== null && (interfaceIndex === 0 || row.interfaceIndex === interfaceIndex)) as AddressRow[];
  }

  #links(): LinkRow[] {
    return this.#socket
      .dump(RTM_GETLINK, linkRequestBody(0))
      .map(decodeLink)
      .filter((row) => row !== null);
  }

  /** One interface, or null when it does not exist (any more). */
  #link(index: number): LinkRow | null {
    try {
      const [message] = this.#socket.get(RTM_GETLINK, linkRequestBody(index));
      return message === undefined ? null : decodeLink(message);
    } catch (error) {
      if (error instanceof SystemError && error.code === 'ENODEV') return null;
      throw error;
    }
  }

  #nameOf(interfaceIndex: number): string {
    return this.#link(interfaceIndex)?.name ?? `interface ${interfaceIndex}`;
  }

  #routes(): DefaultRoute[] {
    return this.#socket.dump(RTM_GETROUTE, Buffer.alloc(12)).flatMap(decodeDefaultRoutes);
  }

  #checkKernel(): void {
    const { kernelRelease, addresses } = this.#options;
    if (!isAtLeast(kernelRelease, KERNEL_OLDEST)) {
      throw new LinkUnusable(
        `Linux ${kernelRelease} is too old: ${KERNEL_OLDEST.join('.')} or later is needed, ${KERNEL_WITH_PROTOCOL.join('.')} for IPv6`,
      );
    }
    const ipv6 = addresses.filter(({ family }) => family === 6);
    if (!this.#marksByProtocol && ipv6.length > 0) {
      throw new LinkUnusable(
        `Linux ${kernelRelease} cannot mark IPv6 addresses as Leasehold's own: ${KERNEL_WITH_PROTOCOL.join('.')} or later is needed for ` +
          `${ipv6.map(({ text }) => text).join(', ')} in ADDRESSES`,
      );
    }
  }

  /** Tries to remove an address from an interface that cannot exist: without the permission that fails otherwise. */
  #checkPermission(): void {
    try {
      this.#socket.change(RTM_DELADDR, 0, addressHeader(AF_INET, 32, 0, 0x7fffffff));
    } catch (error) {
      if (!(error instanceof SystemError) || error.code !== 'EPERM') return;
      throw new LinkUnusable(
        'this process may not change addresses: it needs the capability NET_ADMIN in the network namespace it runs in ' +
          '(securityContext.capabilities.add in Kubernetes, AmbientCapabilities=CAP_NET_ADMIN in systemd)',
      );
    }
  }

  #notice(level: 'info' | 'warn', message: string): void {
    if (this.#noticed.has(message)) return;
    this.#noticed.add(message);
    this.#options.onNotice(level, message);
  }
}

/** The label that people see in `ip address`; a name that leaves no room for it goes without. */
function labelFor(interfaceName: string): string | null {
  const label = interfaceName + OUR_LABEL_SUFFIX;
  return label.length <= LABEL_LENGTH_MAX ? label : null;
}

function problemOf(chosen: Chosen, { family }: Address): string | null {
  if (chosen.is === 'problem') return chosen.problem;
  const { name, isUp, hasCarrier, hasIpv6 } = chosen.link;
  if (!isUp) return `the interface ${name} is down`;
  if (!hasCarrier) return `the interface ${name} has no carrier`;
  return family === 6 && !hasIpv6 ? `IPv6 is switched off on ${name} (net.ipv6.conf.${name}.disable_ipv6)` : null;
}

function isAtLeast(release: string, [major = 0, minor = 0]: readonly number[]): boolean {
  const [, ownMajor = '0', ownMinor = '0'] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return Number(ownMajor) > major || (Number(ownMajor) === major && Number(ownMinor) >= minor);
}

function explain(error: unknown, interfaceName: string): string {
  if (!(error instanceof SystemError)) throw error;
  switch (error.code) {
    case 'EACCES':
      return `IPv6 is switched off there (net.ipv6.conf.${interfaceName}.disable_ipv6)`;
    case 'EPERM':
      return 'the capability NET_ADMIN is missing';
    case 'EAGAIN':
      return 'it did not answer in time';
    case 'EOVERFLOW':
      return 'its answer has no end';
    default:
      return error.message;
  }
}
