/**
 * A stand-in for the part of netcup's API and of its OpenID Connect endpoints that Leasehold uses: the model, served on one port.
 */
import { HttpStandIn } from './http-stand-in.ts';
import type { Exchange } from './http-stand-in.ts';
import { DEVICE_PATH } from './netcup-identity.ts';
import { NetcupModel } from './netcup-model.ts';
import type { NetcupOptions } from './netcup-model.ts';
import { REAL_CLOCK } from './real-clock.ts';

export class NetcupStandIn extends NetcupModel {
  readonly http: HttpStandIn;

  constructor(options: NetcupOptions) {
    super(options, REAL_CLOCK);
    this.http = new HttpStandIn((exchange) => this.handle(exchange), null);
  }

  static async start(options: NetcupOptions, host = '127.0.0.1'): Promise<NetcupStandIn> {
    const netcup = new NetcupStandIn(options);
    await netcup.http.listen(host);
    return netcup;
  }

  get endpoint(): string {
    return `${this.http.url}/scp-core`;
  }

  get authEndpoint(): string {
    return `${this.http.url}${DEVICE_PATH}`;
  }

  /** Requests that move something, as they arrived. */
  writes(): Exchange[] {
    return this.http.exchanges.filter(({ method }) => method === 'PATCH');
  }

  /** Requests for an access token. */
  logins(): Exchange[] {
    return this.http.exchanges.filter(isAboutTokens);
  }

  async close(): Promise<void> {
    this.stopTasks();
    await this.http.close();
  }
}

export function isAboutTokens({ path }: Exchange): boolean {
  return path.startsWith(`${DEVICE_PATH}/token`);
}
