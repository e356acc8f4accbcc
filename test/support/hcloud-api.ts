/**
 * A stand-in for the part of the Hetzner Cloud API and of its metadata service that Leasehold uses: the model, served on
 * two ports.
 */
import { HcloudModel, RATE_LIMIT } from './hcloud-model.ts';
import type { HcloudOptions } from './hcloud-model.ts';
import { HttpStandIn } from './http-stand-in.ts';
import type { Exchange } from './http-stand-in.ts';
import { REAL_CLOCK } from './real-clock.ts';

export type { AcceptedWrite, FloatingIpSpec, HcloudOptions } from './hcloud-model.ts';

const REFILL_MS = 1_000;

export class HcloudStandIn extends HcloudModel {
  readonly http: HttpStandIn;
  readonly metadata: HttpStandIn;
  #refill: NodeJS.Timeout | undefined;

  constructor(options: HcloudOptions) {
    super(options, REAL_CLOCK);
    this.http = new HttpStandIn((exchange) => this.handle(exchange), null);
    this.metadata = new HttpStandIn((exchange) => this.handleMetadata(exchange), null);
  }

  /** Starts both ports. */
  static async start(options: HcloudOptions, host = '127.0.0.1'): Promise<HcloudStandIn> {
    const hcloud = new HcloudStandIn(options);
    await hcloud.http.listen(host);
    await hcloud.metadata.listen(host);
    return hcloud;
  }

  /** Gives back one request a second from now on, for whoever goes on for as long as an hour. */
  refill(): void {
    this.#refill = setInterval(() => (this.remaining = Math.min(RATE_LIMIT, this.remaining + 1)), REFILL_MS);
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
    this.stopActions();
    clearInterval(this.#refill);
    await Promise.all([this.http.close(), this.metadata.close()]);
  }
}
