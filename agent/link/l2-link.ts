/**
 * Addresses on a shared segment: on the interface, behind a fence, announced, and nobody else's.
 *
 * Guarantees (rules 5, 7 and 11): an address is bound while its fence is closed, answers only while it is open, and is taken off
 * behind a closed one. An interface on which announcing cannot work is a problem, and says why.
 * Without nf_tables there is no fence, and nothing but the address's lifetime ends it.
 */
import type { Address } from '../address.ts';
import type { Clock } from '../clock.ts';
import type { AnnounceOutcome, BindOutcome, LinkView, UnbindOutcome } from '../contender/input.ts';
import type { Link, SegmentPort } from '../ports.ts';
import type { Connections } from './connections.ts';
import type { Fence } from './fence.ts';
import type { KernelLink } from './kernel-link.ts';
import { SystemError } from './libc.ts';
import type { LinkRow } from './rtnetlink.ts';
import type { Heard, Segment } from './segment.ts';

/** How much of a lifetime that only tidies up may be gone before it is refreshed: every refresh wakes the network daemons. */
const STALE_LIFETIME_MS = 1_000;
/** Hardware addresses of interfaces in private networks of Hetzner Cloud begin so. */
const HETZNER_PRIVATE_MAC = '86:00:00:';
/** Where kube-proxy in IPVS mode binds the addresses of Services, on every node. */
const IPVS_INTERFACE = 'kube-ipvs0';

export interface L2LinkParts {
  readonly kernel: KernelLink;
  /** Null where this kernel cannot have one. */
  readonly fence: Fence | null;
  readonly segment: Segment;
  readonly connections: Connections;
  readonly addresses: readonly Address[];
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly onNotice: (level: 'info' | 'warn', message: string) => void;
}

export class L2Link implements Link, SegmentPort {
  readonly segment: SegmentPort = this;
  readonly isFenced: boolean;
  readonly #parts: L2LinkParts;
  readonly #addresses: ReadonlyMap<string, Address>;
  /** Addresses that this process has bound and not yet seen unbound. */
  readonly #bound = new Set<string>();
  /** What others have said about our addresses since the last look. */
  #heard: Heard[] = [];
  #cannotReset = false;

  constructor(parts: L2LinkParts) {
    this.#parts = parts;
    this.isFenced = parts.fence !== null;
    this.#addresses = new Map(parts.addresses.map((address) => [address.text, address]));
  }

  look(): LinkView {
    const view = this.#parts.kernel.look();
    try {
      const links = new Map(this.#parts.addresses.map(({ text }) => [text, this.#parts.kernel.interfaceOf(text)]));
      const problem = view.problem ?? this.#segmentProblem(links, view);
      const carrierChanges = Object.fromEntries([...links].flatMap(([text, link]) => (link === null ? [] : [[text, link.carrierChanges]])));
      return { ...view, problem, carrierChanges, rivals: this.#rivals(links) };
    } catch (error) {
      return { ...view, problem: view.problem ?? `the segment cannot be listened to: ${messageOf(error)}` };
    }
  }

  bind(text: string, lifetimeMs: number, openMs: number | null): BindOutcome {
    const { kernel, fence, clock } = this.#parts;
    if (fence === null || openMs === null) return kernel.bind(text, lifetimeMs);
    const closesAtMs = clock.nowMs() + openMs;
    try {
      fence.stand(this.#interfaceNames());
      const outcome = kernel.bindUnlessEnough(text, lifetimeMs, lifetimeMs - STALE_LIFETIME_MS);
      if (outcome.is !== 'bound') return outcome;
      this.#bound.add(text);
      const remainingMs = closesAtMs - clock.nowMs();
      if (remainingMs > 0) {
        fence.open(text, remainingMs);
        return outcome;
      }
      const removed = this.unbind(text, false);
      return removed.is === 'unbound' ? { is: 'too-late' } : removed;
    } catch (error) {
      // What no fence guards must not be there.
      kernel.unbind(text);
      return { is: 'failed', message: `cannot open the packet filter for ${text}: ${messageOf(error)}` };
    }
  }

  unbind(text: string, tellsClients: boolean): UnbindOutcome {
    const { kernel, fence } = this.#parts;
    if (tellsClients) this.#resetConnections(text);
    try {
      fence?.close(text);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      // It closes by itself, and what is taken off answers nobody.
    }
    const outcome = kernel.unbind(text);
    if (outcome.is === 'unbound') this.#bound.delete(text);
    if (!tellsClients) this.#resetConnections(text);
    return outcome;
  }

  probe(text: string): void {
    const { kernel, segment } = this.#parts;
    try {
      const address = this.#addresses.get(text);
      const link = kernel.interfaceOf(text);
      // Only what was said about this one before is no answer: another one may have been answered already.
      this.#heard = [...this.#heard, ...segment.heard()].filter(({ bytes }) => address === undefined || !isAbout(address, bytes));
      if (address !== undefined && link !== null) segment.ask(address, link);
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
      // A closed fence stays before what could not be taken off, until its lifetime ends.
      if (this.#bound.size === 0) fence?.remove();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    }
    fence?.release();
    segment.close();
    connections.close();
    kernel.close();
  }

  #interfaceNames(): Record<string, string> {
    const named = this.#parts.addresses.map(({ text }) => [text, this.#parts.kernel.interfaceOf(text)?.name ?? ''] as const);
    return Object.fromEntries(named.filter(([, name]) => name !== ''));
  }

  /** Who else says that an address is theirs, on the address's own interface. */
  #rivals(links: ReadonlyMap<string, LinkRow | null>): Record<string, string> {
    const rivals: Record<string, string> = {};
    const heard = [...this.#heard, ...this.#parts.segment.heard()];
    this.#heard = [];
    for (const { bytes, mac, interfaceIndex } of heard) {
      const address = this.#parts.addresses.find((each) => isAbout(each, bytes));
      const link = address === undefined ? null : links.get(address.text);
      if (address !== undefined && link?.index === interfaceIndex && link.mac !== mac) rivals[address.text] = mac;
    }
    return rivals;
  }

  /** Why announcing on these interfaces would reach nobody, or null. */
  #segmentProblem(links: ReadonlyMap<string, LinkRow | null>, view: LinkView): string | null {
    for (const [text, link] of links) {
      const seen = view.addresses[text];
      if (seen?.is === 'foreign' && seen.interfaceName === IPVS_INTERFACE) {
        return (
          `kube-proxy in IPVS mode has ${text} on ${IPVS_INTERFACE}, on every node at once: take it out of the Service's externalIPs or ` +
          'loadBalancerIP, or run kube-proxy in another mode'
        );
      }
      if (link === null) continue;
      if (!link.hasArp)
        return `${link.name} is no Ethernet interface, so nobody could be told who has ${text}: name another one in INTERFACE`;
      if (link.mac.startsWith(HETZNER_PRIVATE_MAC)) {
        return `${link.name} belongs to a private network of Hetzner Cloud, which is routed and hears no announcement: ${text} cannot be moved there with PROVIDER=l2`;
      }
    }
    return null;
  }

  #resetConnections(text: string): void {
    const address = this.#addresses.get(text);
    if (address === undefined || this.#cannotReset) return;
    try {
      this.#parts.connections.reset(address);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#cannotReset = true;
      this.#parts.onNotice(
        'info',
        `this kernel does not let connections be reset (${error.message}): clients learn of a move from the next holder`,
      );
    }
  }
}

function isAbout(address: Address, bytes: Buffer): boolean {
  return Buffer.from(address.bytes).equals(bytes);
}

function messageOf(error: unknown): string {
  if (!(error instanceof SystemError)) throw error;
  return error.message;
}
