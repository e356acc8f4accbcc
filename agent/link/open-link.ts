/**
 * Opens what carries the addresses, on the interfaces of this machine.
 *
 * Guarantees: what this kernel or this process cannot do is found out here, before anything is touched.
 */
import { readFileSync } from 'node:fs';
import type { Address } from '../address.ts';
import type { Clock } from '../clock.ts';
import { nameAfterLease } from '../lease-name.ts';
import type { Link } from '../ports.ts';
import { Connections } from './connections.ts';
import { Fence } from './fence.ts';
import type { InterfaceChoice } from './interface.ts';
import { KernelLink, LinkUnusable } from './kernel-link.ts';
import { L2Link } from './l2-link.ts';
import { SystemError } from './libc.ts';
import type { NetlinkProtocol } from './libc.ts';
import { NetlinkSocket, openDatagrams } from './netlink-socket.ts';
import type { Datagrams } from './netlink-socket.ts';
import { openFrames, Segment } from './segment.ts';
import type { Frames } from './segment.ts';

export interface OpenLinkOptions {
  /** Whether the addresses are on a shared segment, or a provider routes them. */
  readonly kind: 'l2' | 'routed';
  readonly addresses: readonly Address[];
  readonly choice: InterfaceChoice;
  readonly lease: { readonly namespace: string; readonly name: string };
  readonly kernelRelease: string;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly onNotice: (level: 'info' | 'warn', message: string) => void;
}

/** The lowest seam: sockets to the kernel and the segment. Each throws SystemError where there is no such socket to be had. */
export interface Sockets {
  datagrams(protocol: NetlinkProtocol): Datagrams;
  frames(addresses: readonly Address[]): Frames;
  /** A setting of the kernel, below /proc/sys; null where it has none of that name. */
  readSysctl(path: string): string | null;
}

/** Real ones, opened in the network namespace of the calling thread. */
const REAL_SOCKETS: Sockets = { datagrams: openDatagrams, frames: openFrames, readSysctl };

/** Opens it. Throws LinkUnusable where this kernel or this process cannot do what is needed. */
export function openLink(options: OpenLinkOptions, sockets: Sockets = REAL_SOCKETS): Link {
  const { kind, addresses, onNotice } = options;
  const kernel = new KernelLink(new NetlinkSocket(sockets.datagrams('route')), options);
  if (kind === 'routed') return kernel;
  return new L2Link({
    kernel,
    fence: openFence(options, sockets),
    segment: new Segment(tryToOpenFrames(addresses, sockets)),
    connections: new Connections(new NetlinkSocket(sockets.datagrams('socket-diag'), 'socket-diag')),
    addresses,
    readSysctl: (path) => sockets.readSysctl(path),
    onNotice,
  });
}

/** A fence that this kernel has been seen to be able to keep, or null. */
function openFence({ lease, addresses, clock, onNotice }: OpenLinkOptions, sockets: Sockets): Fence | null {
  let fence: Fence | null = null;
  try {
    const socket = new NetlinkSocket(sockets.datagrams('netfilter'), 'netfilter');
    fence = new Fence(socket, { table: fenceTable(lease), addresses, clock, onNotice });
    fence.try();
    return fence;
  } catch (error) {
    fence?.release();
    if (!(error instanceof SystemError)) throw error;
    onNotice(
      'warn',
      `this kernel cannot keep the packet filter that stops a frozen agent to the millisecond (nf_tables with the families inet and arp, ` +
        `and the expression fib: ${error.message}): the kernel's address lifetimes, which count whole seconds, take its place`,
    );
    return null;
  }
}

function readSysctl(path: string): string | null {
  try {
    return readFileSync(`/proc/sys/${path}`, 'utf8').trim();
  } catch {
    return null;
  }
}

function tryToOpenFrames(addresses: readonly Address[], sockets: Sockets): Frames {
  try {
    return sockets.frames(addresses);
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== 'EPERM') throw error;
    throw new LinkUnusable(
      'this process may not send announcements: PROVIDER=l2 needs the capability NET_RAW besides NET_ADMIN ' +
        '(securityContext.capabilities.add in Kubernetes, AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW in systemd)',
    );
  }
}

/** NFT_NAME_MAXLEN less the final zero and what a trial adds. */
const TABLE_NAME_LENGTH_MAX = 240;

/** What the tables of one Lease are called: a name that `nft` takes without quotes. */
export function fenceTable({ namespace, name }: OpenLinkOptions['lease']): string {
  // No name in Kubernetes has an underscore, so no two Leases share a table.
  return nameAfterLease({ namespace: namespace.replaceAll('-', '_'), name: name.replaceAll('-', '_') }, TABLE_NAME_LENGTH_MAX);
}
