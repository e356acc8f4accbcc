/**
 * A network namespace for one test, with an interface that has a carrier.
 */
import { addressText, parseAddress } from '../../agent/address.ts';
import type { Address } from '../../agent/address.ts';
import type { InterfaceChoice } from '../../agent/link/interface.ts';
import { KernelLink } from '../../agent/link/kernel-link.ts';
import { decodeAddress, RTM_GETADDR } from '../../agent/link/rtnetlink.ts';
import type { AddressRow } from '../../agent/link/rtnetlink.ts';
import { openDatagrams, NetlinkSocket } from '../../agent/link/netlink-socket.ts';
import type { Datagrams } from '../../agent/link/netlink-socket.ts';
import { inNamespace } from './inside-namespace.ts';
import { ip } from './namespaces.ts';

let count = 0;

export interface LinkOptions {
  readonly choice?: InterfaceChoice;
  readonly kernelRelease?: string;
  /** Puts something between the link and the kernel. */
  readonly through?: (datagrams: Datagrams) => Datagrams;
}

/** A node with `eth0`, cabled to a peer that can be unplugged. */
export class NamespaceNode {
  readonly name: string;
  readonly notices: string[] = [];
  readonly #socket: NetlinkSocket;

  constructor() {
    count += 1;
    this.name = `t${process.pid}-${count}`;
    ip(`netns add ${this.name}`);
    ip(`-n ${this.name} link set lo up`);
    this.addInterface('eth0');
    this.#socket = inNamespace(this.name, () => new NetlinkSocket(openDatagrams()));
  }

  /** Adds an interface with a carrier. */
  addInterface(name: string): void {
    ip(`-n ${this.name} link add ${name} type veth peer name p-${name}`);
    ip(`-n ${this.name} link set p-${name} up`);
    ip(`-n ${this.name} link set ${name} up`);
  }

  /** Runs `ip` inside. */
  ip(line: string): string {
    return ip(`-n ${this.name} ${line}`);
  }

  unplug(name = 'eth0'): void {
    this.ip(`link set p-${name} down`);
  }

  plug(name = 'eth0'): void {
    this.ip(`link set p-${name} up`);
  }

  /** The rows of an address, on whatever interface. */
  rows(address: string): AddressRow[] {
    const all = this.#socket.dump(RTM_GETADDR, Buffer.alloc(8)).map(decodeAddress);
    return all.filter((row): row is AddressRow => row !== null && addressText(row.bytes) === address);
  }

  /** A link inside this namespace, for addresses as a person writes them. */
  link(addresses: readonly string[], options: LinkOptions = {}): KernelLink {
    const { choice = { is: 'name', name: 'eth0' }, kernelRelease = '6.1.0', through = (direct: Datagrams): Datagrams => direct } = options;
    const parsed = addresses.map((text): Address => parseAddress(text) ?? raise(`${text} is no address`));
    const onNotice = (level: string, message: string): void => {
      if (level === 'warn') this.notices.push(message);
    };
    return inNamespace(
      this.name,
      () => new KernelLink(new NetlinkSocket(through(openDatagrams())), { addresses: parsed, choice, kernelRelease, onNotice }),
    );
  }

  close(): void {
    this.#socket.close();
    ip(`netns del ${this.name}`);
  }
}

function raise(message: string): never {
  throw new Error(message);
}
