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
import type { Fence, FencedInterface } from './fence.ts';
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
  #cannotReset = false;
  /** What was heard about other addresses while one was asked for, until it is looked at. */
  #heardMeanwhile: ReturnType<Segment['heard']> = [];

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
      fence.stand(this.#interfaces());
      const outcome = kernel.bindUnlessEnough(text, lifetimeMs, lifetimeMs - STALE_LIFETIME_MS);
      if (outcome.is !== 'bound') return outcome;
      if (fence.open(text, closesAtMs)) return outcome;
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
    if (!tellsClients) this.#resetConnections(text);
    return outcome;
  }

  probe(text: string): void {
    const { kernel, segment } = this.#parts;
    try {
      const address = this.#addresses.get(text);
      const heard = [...this.#heardMeanwhile, ...segment.heard()];
      this.#heardMeanwhile = heard.filter(({ bytes }) => address === undefined || !bytes.equals(Buffer.from(address.bytes)));
      const link = kernel.interfaceOf(text);
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
      // A closed fence stays before what is still bound, by this process or an earlier one, until its lifetime ends.
      if (this.#isNothingOursBound()) fence?.remove();
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    }
    fence?.release();
    segment.close();
    connections.close();
    kernel.close();
  }

  #isNothingOursBound(): boolean {
    const seen = this.#parts.kernel.look().addresses;
    return this.#parts.addresses.every(({ text }) => seen[text]?.is === 'absent' || seen[text]?.is === 'foreign');
  }

  /** The interface of each address, as far as there is one. */
  #interfaces(): Record<string, FencedInterface> {
    const found = this.#parts.addresses.map(({ text }) => [text, this.#parts.kernel.interfaceOf(text)] as const);
    return Object.fromEntries(found.filter((each): each is [string, LinkRow] => each[1] !== null));
  }

  /** Who else says that an address is theirs, on the address's own interface. */
  #rivals(links: ReadonlyMap<string, LinkRow | null>): Record<string, string> {
    const { segment, kernel, addresses } = this.#parts;
    const heard = [...this.#heardMeanwhile, ...segment.heard()];
    this.#heardMeanwhile = [];
    if (heard.length === 0) return {};
    // Another interface of this machine on the same segment answers, too, and is nobody else.
    const own = kernel.ownMacs();
    const rivals: Record<string, string> = {};
    for (const { bytes, mac, interfaceIndex } of heard) {
      const address = addresses.find((each) => Buffer.from(each.bytes).equals(bytes));
      if (address !== undefined && links.get(address.text)?.index === interfaceIndex && !own.has(mac)) rivals[address.text] = mac;
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
      if (!link.hasArp) {
        return `on ${link.name} nobody is asked by ARP (it is no Ethernet interface, or ARP is off): name another one in INTERFACE, because nobody could be told who has ${text}`;
      }
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

function messageOf(error: unknown): string {
  if (!(error instanceof SystemError)) throw error;
  return error.message;
}
