/**
 * A stand-in for the webservice of Hetzner Robot: the model, served on a port.
 */
import { HttpStandIn } from './http-stand-in.ts';
import type { Exchange } from './http-stand-in.ts';
import { REAL_CLOCK } from './real-clock.ts';
import { RobotModel } from './robot-model.ts';
import type { RobotOptions } from './robot-model.ts';

export const USER = '#ws+leasehold';
export const PASSWORD = 'robot-password';

export class RobotStandIn extends RobotModel {
  readonly http: HttpStandIn;

  constructor(options: RobotOptions) {
    super(options, REAL_CLOCK);
    this.http = new HttpStandIn((exchange) => this.handle(exchange), null);
  }

  static async start(options: RobotOptions, host = '127.0.0.1'): Promise<RobotStandIn> {
    const robot = new RobotStandIn(options);
    await robot.http.listen(host);
    return robot;
  }

  get endpoint(): string {
    return this.http.url;
  }

  /** Requests that change something, as they arrived. */
  writes(): Exchange[] {
    return this.http.exchanges.filter(({ method }) => method !== 'GET');
  }

  /** How many requests have come, whatever became of them. */
  asked(method: string, path: string): number {
    return this.http.exchanges.filter((each) => each.method === method && each.path === path).length;
  }

  async close(): Promise<void> {
    this.stopSwitches();
    await this.http.close();
  }
}
