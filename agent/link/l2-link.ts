/**
 * Addresses on a shared segment: on the interface, behind a fence, announced, and nobody else's.
 *
 * Guarantees (rules 5, 7 and 11): an address is bound while its fence is closed, answers only while it is open, and is taken off
 * behind a closed one. An interface on which announcing cannot work is a problem, and says why.
 * Without nf_tables there is no fence, and nothing but the address's lifetime ends it.
 */
import type { Address } from '../address.ts';
import type { AnnounceOutcome, BindOutcome, LinkView, UnbindOutcome } from '../contender/input.ts';
import type { Link, SegmentPort } from '../ports.ts';
import type { Connections } from './connections.ts';
import type { Fence } from './fence.ts';
import type { KernelLink } from './kernel-link.ts';
import { SystemError } from './libc.ts';
import type { LinkRow } from './rtnetlink.ts';
import type { Segment } from './segment.ts';

/** How much of a lifetime that only tidies up may be gone before it is refreshed: every refresh wakes the network daemons. */
const STALE_LIFETIME_MS = 1_000;
/** Hardware addresses of interfaces in private networks of Hetzner Cloud begin so. */
const HETZNER_PRIVATE_MAC = '86:00:00:';
/** Where kube-proxy in IPVS mode binds the addresses of Services, on every node. */
const IPVS_INTERFACE = 'kube-ipvs0';
/** Settings of arp_ignore under which a kernel does not answer for an address of the scope `host` (ip-sysctl). */
const SILENT_ARP_IGNORE = [3, 8];
/** What no later try can change. */
const LASTING = ['EOPNOTSUPP', 'EPERM', 'EPROTONOSUPPORT'];

export interface L2LinkParts {
  readonly kernel: KernelLink;
  /** Null where this kernel cannot have one. */
  readonly fence: Fence | null;
  readonly segment: Segment;
  readonly connections: Connections;
  readonly addresses: readonly Address[];
  /** Reads a file below /proc/sys; null where there is none. */
  readonly readSysctl: (path: string) => string | null;
  readonly onNotice: (level: 'info' | 'warn', message: string) => void;
}

export class L2Link implements Link, SegmentPort {
  readonly segment: SegmentPort = this;
  readonly isFenced: boolean;
  readonly #parts: L2LinkParts;
  readonly #addresses: ReadonlyMap<string, Address>;
  /** Who else has said since the last look that an address is theirs, by its hardware address. */
  readonly #rivals = new Map<string, string>();
  #cannotReset = false;

  constructor(parts: L2LinkParts) {
    this.#parts = parts;
    this.isFenced = parts.fence !== null;
    this.#addresses = new Map(parts.addresses.map((address) => [address.text, address]));
  }

  look(): LinkView {
    const view = this.#parts.kernel.look();
    try {
      const links = this.#links();
      this.#listen(links);
      const rivals = Object.fromEntries(this.#rivals);
      this.#rivals.clear();
      const plugged = Object.fromEntries([...links].map(([text, link]) => [text, pluggedText(link)]));
      return { ...view, problem: view.problem ?? this.#segmentProblem(links), plugged, rivals };
    } catch (error) {
      return { ...view, problem: view.problem ?? `the segment cannot be listened to: ${messageOf(error)}` };
    }
  }

  tellInterface(mac: string): void {
    this.#parts.kernel.tellInterface(mac);
  }

  bind(text: string, lifetimeMs: number, openUntilMs: number | null): BindOutcome {
    const { kernel, fence } = this.#parts;
    if (fence === null || openUntilMs === null) return kernel.bind(text, lifetimeMs);
    try {
      fence.stand(Object.fromEntries(this.#links()));
      const outcome = kernel.bindUnlessEnough(text, lifetimeMs, lifetimeMs - STALE_LIFETIME_MS);
      if (outcome.is === 'bound' && fence.open(text, openUntilMs)) return outcome;
      // Nobody knows what a bind that has failed has left behind, and what is not open has no business to be there.
      const removed = this.unbind(text, false);
      if (outcome.is !== 'bound') return outcome;
      return removed.is === 'unbound' ? { is: 'too-late' } : removed;
    } catch (error) {
      const message = `cannot open the packet filter for ${text}: ${messageOf(error)}`;
      const removed = this.unbind(text, false);
      return { is: 'failed', message: removed.is === 'unbound' ? message : `${message}; ${removed.message}` };
    }
  }

  unbind(text: string, tellsClients: boolean): UnbindOutcome {
    const { kernel, fence } = this.#parts;
    if (tellsClients) this.#resetConnections(text);
    let problem: string | null = null;
    try {
      fence?.close(text);
    } catch (error) {
      problem = `cannot close the packet filter for ${text}: ${messageOf(error)}`;
    }
    const outcome = kernel.unbind(text);
    // Somebody else may still serve it under a filter that is open, such as kube-proxy.
    return problem === null ? outcome : { is: 'failed', message: problem };
  }

  probe(text: string): void {
    try {
      const links = this.#links();
      // Of the other addresses nothing may be lost: what is heard of them is shown by the next look.
      this.#listen(links);
      this.#rivals.delete(text);
      const address = this.#addresses.get(text);
      const link = links.get(text);
      if (address !== undefined && link !== undefined) this.#parts.segment.ask(address, link);
    } catch (error) {
      // An interface that carries nothing is seen by the look that follows.
      if (!(error instanceof SystemError)) throw error;
    }
  }

  announce(text: string, mayStill: () => boolean): AnnounceOutcome {
    const address = this.#addresses.get(text);
    try {
      const link = this.#parts.kernel.interfaceOf(text);
      if (address === undefined || link === null) return { is: 'failed', message: `cannot announce ${text}: its interface is gone` };
      this.#parts.segment.announce(address, link, mayStill);
      return { is: 'announced' };
    } catch (error) {
      return { is: 'failed', message: `cannot announce ${text}: ${messageOf(error)}` };
    }
  }

  sweep(): void {
    try {
      this.#parts.fence?.sweep();
    } catch (error) {
      this.#parts.onNotice('warn', `what an earlier agent has left of its packet filter cannot be closed: ${messageOf(error)}`);
    }
  }

  close(): void {
    const { kernel, fence, segment, connections } = this.#parts;
    try {
      // A closed fence stays before what could not be taken off.
      if (!this.#isAnythingBound()) fence?.remove();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    }
    fence?.release();
    segment.close();
    connections.close();
    kernel.close();
  }

  /** Whether any address bears our mark here, whoever put it there; true where that cannot be told. */
  #isAnythingBound(): boolean {
    const { addresses } = this.#parts.kernel.look();
    return this.#parts.addresses.some(({ text }) => (addresses[text]?.is ?? 'ours') === 'ours');
  }

  /** The interface of each address, as it is now; none for an address that has none. */
  #links(): Map<string, LinkRow> {
    const links = new Map<string, LinkRow>();
    for (const { text } of this.#parts.addresses) {
      const link = this.#parts.kernel.interfaceOf(text);
      if (link !== null) links.set(text, link);
    }
    return links;
  }

  /** Notes who else has said that an address is theirs, on the address's own interface. */
  #listen(links: ReadonlyMap<string, LinkRow>): void {
    const { segment, kernel, addresses } = this.#parts;
    const heard = segment.heard();
    if (heard.length === 0) return;
    // Another interface of this machine on the same segment answers, too, and is nobody else.
    const own = kernel.ownMacs();
    for (const { bytes, mac, interfaceIndex } of heard) {
      const address = addresses.find((each) => Buffer.from(each.bytes).equals(bytes));
      if (address !== undefined && links.get(address.text)?.index === interfaceIndex && !own.has(mac)) this.#rivals.set(address.text, mac);
    }
  }

  /** Why announcing on these interfaces would reach nobody, or null. */
  #segmentProblem(links: ReadonlyMap<string, LinkRow>): string | null {
    const { kernel, addresses } = this.#parts;
    for (const { text, family } of addresses) {
      if (kernel.hasCopyOn(text, IPVS_INTERFACE)) {
        return (
          `kube-proxy in IPVS mode has ${text} on ${IPVS_INTERFACE}, on every node at once: take it out of the Service's externalIPs or ` +
          'loadBalancerIP, or run kube-proxy in another mode'
        );
      }
      const link = links.get(text);
      if (link === undefined) continue;
      if (!link.hasArp) {
        return `on ${link.name} nobody is asked by ARP (it is no Ethernet interface, or ARP is off): name another one in INTERFACE, because nobody could be told who has ${text}`;
      }
      const master = kernel.masterOf(link);
      if (master !== null && master.kind !== 'vrf') return `${link.name} is a part of ${master.name}: name that one in INTERFACE`;
      if (link.mac.startsWith(HETZNER_PRIVATE_MAC)) {
        return `${link.name} belongs to a private network of Hetzner Cloud, which is routed and hears no announcement: ${text} cannot be moved there with PROVIDER=l2`;
      }
      const ignored = family === 4 ? this.#arpIgnore(link.name) : 0;
      if (SILENT_ARP_IGNORE.includes(ignored)) {
        return `net.ipv4.conf.${link.name}.arp_ignore or that of "all" is ${ignored}, so the kernel would answer nobody who asks for ${text}: set it to 0 or 1`;
      }
    }
    return null;
  }

  /** The setting that holds for an interface: the higher of its own and the one for all. */
  #arpIgnore(interfaceName: string): number {
    const { readSysctl } = this.#parts;
    return Math.max(...['all', interfaceName].map((name) => Number(readSysctl(`net/ipv4/conf/${name}/arp_ignore`) ?? 0)));
  }

  #resetConnections(text: string): void {
    const { connections, onNotice } = this.#parts;
    const address = this.#addresses.get(text);
    if (address === undefined || this.#cannotReset) return;
    try {
      connections.reset(address);
    } catch (error) {
      const message = messageOf(error);
      this.#cannotReset = error instanceof SystemError && LASTING.includes(error.code);
      onNotice('info', `connections to ${text} cannot be reset (${message}): clients learn of a move from the next holder`);
    }
  }
}

/** Another text whenever its cable has been out, however shortly, or it has got another hardware address. */
function pluggedText({ mac, carrierChanges }: LinkRow): string {
  return `${mac} ${carrierChanges}`;
}

function messageOf(error: unknown): string {
  if (!(error instanceof SystemError)) throw error;
  return error.message;
}
