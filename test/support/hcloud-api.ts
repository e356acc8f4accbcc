/**
 * Stand-ins for the parts of the Hetzner Cloud API and of its metadata service that Leasehold uses: each is a model, served
 * on two ports.
 */
import { RATE_LIMIT } from './hcloud-core.ts';
import type { HcloudCore } from './hcloud-core.ts';
import { HcloudModel } from './hcloud-model.ts';
import type { HcloudOptions } from './hcloud-model.ts';
import { HcloudNetworkModel } from './hcloud-network-model.ts';
import type { HcloudNetworkOptions } from './hcloud-network-model.ts';
import { HttpStandIn } from './http-stand-in.ts';
import type { Exchange } from './http-stand-in.ts';
import { REAL_CLOCK } from './real-clock.ts';

export type { AcceptedWrite, FloatingIpSpec, HcloudOptions } from './hcloud-model.ts';

const REFILL_MS = 1_000;

/** The two ports of a model. */
export class HcloudPorts {
  readonly http: HttpStandIn;
  readonly metadata: HttpStandIn;
  readonly #model: HcloudCore;
  #refill: NodeJS.Timeout | undefined;

  constructor(model: HcloudCore) {
    this.#model = model;
    this.http = new HttpStandIn((exchange) => model.handle(exchange), null);
    this.metadata = new HttpStandIn((exchange) => model.handleMetadata(exchange), null);
  }

  async listen(host: string): Promise<void> {
    await this.http.listen(host);
    await this.metadata.listen(host);
  }

  /** Gives back one request a second from now on, for whoever goes on for as long as an hour. */
  refill(): void {
    this.#refill = setInterval(() => (this.#model.remaining = Math.min(RATE_LIMIT, this.#model.remaining + 1)), REFILL_MS);
  }

  get endpoint(): string {
    return `${this.http.url}/v1`;
  }

  get metadataEndpoint(): string {
    return `${this.metadata.url}/hetzner/v1/metadata`;
  }

  /** Requests that change something, as they arrived. */
  writes(): Exchange[] {
    return this.http.exchanges.filter(({ method }) => method !== 'GET');
  }

  async close(): Promise<void> {
    this.#model.stopActions();
    clearInterval(this.#refill);
    await Promise.all([this.http.close(), this.metadata.close()]);
  }
}

/** Floating IPs. */
export class HcloudStandIn extends HcloudModel {
  readonly ports = new HcloudPorts(this);

  /** Starts both ports. */
  static async start(options: HcloudOptions, host = '127.0.0.1'): Promise<HcloudStandIn> {
    const hcloud = new HcloudStandIn(options, REAL_CLOCK);
    await hcloud.ports.listen(host);
    return hcloud;
  }

  get http(): HttpStandIn {
    return this.ports.http;
  }

  get metadata(): HttpStandIn {
    return this.ports.metadata;
  }

  get endpoint(): string {
    return this.ports.endpoint;
  }

  get metadataEndpoint(): string {
    return this.ports.metadataEndpoint;
  }

  writes(): Exchange[] {
    return this.ports.writes();
  }

  async close(): Promise<void> {
    await this.ports.close();
  }
}

/** Private networks and their alias IPs. */
export class HcloudNetworkStandIn extends HcloudNetworkModel {
  readonly ports = new HcloudPorts(this);

  /** Starts both ports. */
  static async start(options: HcloudNetworkOptions, host = '127.0.0.1'): Promise<HcloudNetworkStandIn> {
    const hcloud = new HcloudNetworkStandIn(options, REAL_CLOCK);
    await hcloud.ports.listen(host);
    return hcloud;
  }
}
