/**
 * What a provider may use of the machine that the agent runs on, each passed in.
 */

export interface Host {
  /** The network interfaces of this machine, as they are now. */
  readonly interfaces: () => readonly HostInterface[];
  /**
   * Replaces what a file holds, whole or not at all, and keeps who may read it. Throws where that cannot be done, as in a mounted
   * Secret.
   */
  readonly writeFile: (path: string, text: string) => void;
}

export interface HostInterface {
  readonly name: string;
  /** Its hardware address, such as `86:00:00:aa:bb:02`, in lower case. */
  readonly mac: string;
  /** Its addresses of both families, without prefix lengths; the failover IPs among them where they are bound. */
  readonly addresses: readonly string[];
}
