/**
 * netcup's OpenID Connect endpoints as a model: refresh tokens, access tokens, and the login of a person on another device.
 *
 * Guarantees: no time but that of the clock it is given. A refresh token may be replaced at each use, and the old one stay good or
 * not, because what netcup does is not said.
 */
import type { Clock } from '../../agent/clock.ts';
import type { Answer } from './http-stand-in.ts';
import type { NetcupRequest } from './netcup-model.ts';

export interface IdentityOptions {
  /** What a token ends with, by its number: what nobody can guess. */
  readonly signature?: (index: number) => string;
}

interface DeviceCode {
  readonly userCode: string;
  readonly endsAtMs: number;
  askedAtMs: number;
  intervalMs: number;
  state: 'pending' | 'approved' | 'denied';
}

export const DEVICE_PATH = '/realms/scp/protocol/openid-connect';
export const REFRESH_TOKEN = 'netcup-refresh-token';
export const USER_ID = 555_001;
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
const ACCESS_MS = 300_000;
const DEVICE_MS = 600_000;
const SLOWER_MS = 5_000;

export class NetcupIdentity {
  readonly refreshTokens = new Set([REFRESH_TOKEN]);
  /** How long access tokens live. */
  accessMs = ACCESS_MS;
  /** What becomes of a refresh token at each use. */
  atUse: 'same' | 'replaced' | 'replaced and revoked' = 'same';
  /** How often the person's login may be asked about. */
  deviceIntervalMs = 5_000;
  deviceMs = DEVICE_MS;
  /** Refresh tokens that were given out, the newest last. */
  readonly given: string[] = [];
  readonly #accessTokens = new Map<string, number>();
  readonly #devices = new Map<string, DeviceCode>();
  readonly #clock: Clock;
  readonly #signature: (index: number) => string;
  #count = 0;

  constructor({ signature }: IdentityOptions, clock: Clock) {
    this.#clock = clock;
    this.#signature = signature ?? ((index) => `signature-${index}`);
  }

  readonly userJson = { id: USER_ID, username: '123456', firstname: 'A', lastname: 'B', email: 'a@example.org', company: null };

  /** The user whose access token it is, or null. */
  userOf(accessToken: string): number | null {
    return (this.#accessTokens.get(accessToken) ?? 0) > this.#clock.nowMs() ? USER_ID : null;
  }

  /** Ends every access token before its time. */
  endAccess(): void {
    this.#accessTokens.clear();
  }

  /** What a person does in the browser with the code that is shown there. */
  decide(userCode: string, state: 'approved' | 'denied'): void {
    const device = [...this.#devices.values()].find((each) => each.userCode === userCode);
    if (device === undefined) throw new Error(`nobody waits for ${userCode}`);
    device.state = state;
  }

  handle({ method, path, body }: NetcupRequest): Answer {
    const form = new URLSearchParams(body);
    if (method !== 'POST') return { status: 405, body: { error: 'HTTP 405 Method Not Allowed' } };
    if (form.get('client_id') !== 'scp') return refusal(401, 'invalid_client', 'Invalid client or Invalid client credentials');
    switch (path.slice(DEVICE_PATH.length)) {
      case '/auth/device':
        return this.#beginDevice(form);
      case '/token':
        return form.get('grant_type') === DEVICE_GRANT ? this.#askDevice(form) : this.#refresh(form);
      case '/revoke':
        this.refreshTokens.delete(form.get('token') ?? '');
        return { status: 200, body: null };
      default:
        return { status: 404, body: { error: 'HTTP 404 Not Found' } };
    }
  }

  #beginDevice(form: URLSearchParams): Answer {
    const code = `dc-${this.#signature((this.#count += 1))}`;
    const userCode = `QWER-TY${String(this.#count).padStart(2, '0')}`;
    if (form.get('scope')?.split(' ').includes('offline_access') !== true)
      return refusal(400, 'invalid_scope', 'offline_access is missing');
    const nowMs = this.#clock.nowMs();
    this.#devices.set(code, {
      userCode,
      endsAtMs: nowMs + this.deviceMs,
      askedAtMs: Number.NEGATIVE_INFINITY,
      intervalMs: this.deviceIntervalMs,
      state: 'pending',
    });
    const url = 'https://www.servercontrolpanel.de/realms/scp/device';
    return {
      status: 200,
      body: {
        device_code: code,
        user_code: userCode,
        verification_uri: url,
        verification_uri_complete: `${url}?user_code=${userCode}`,
        expires_in: this.deviceMs / 1_000,
        interval: this.deviceIntervalMs / 1_000,
      },
    };
  }

  #askDevice(form: URLSearchParams): Answer {
    const code = form.get('device_code') ?? '';
    const device = this.#devices.get(code);
    const nowMs = this.#clock.nowMs();
    if (device === undefined) return refusal(400, 'invalid_grant', 'Device code not valid');
    if (nowMs >= device.endsAtMs) return refusal(400, 'expired_token', 'Device code is expired');
    const isTooSoon = nowMs < device.askedAtMs + device.intervalMs;
    device.askedAtMs = nowMs;
    if (isTooSoon) {
      device.intervalMs += SLOWER_MS;
      return refusal(400, 'slow_down', 'Slow down');
    }
    if (device.state === 'denied') return refusal(400, 'access_denied', 'The end user denied the authorization request');
    if (device.state === 'pending') return refusal(400, 'authorization_pending', 'The authorization request is still pending');
    this.#devices.delete(code);
    return this.#grant(this.#newRefreshToken());
  }

  #refresh(form: URLSearchParams): Answer {
    const sent = form.get('refresh_token') ?? '';
    if (!this.refreshTokens.has(sent)) return refusal(400, 'invalid_grant', 'Offline user session not found');
    if (this.atUse === 'same') return this.#grant(sent);
    if (this.atUse === 'replaced and revoked') this.refreshTokens.delete(sent);
    return this.#grant(this.#newRefreshToken());
  }

  #newRefreshToken(): string {
    const token = this.#jwt({ typ: 'Offline' });
    this.refreshTokens.add(token);
    this.given.push(token);
    return token;
  }

  #grant(refreshToken: string): Answer {
    const access = this.#jwt({ typ: 'Bearer', id: String(USER_ID), sub: '0000-sub', preferred_username: '123456' });
    this.#accessTokens.set(access, this.#clock.nowMs() + this.accessMs);
    return {
      status: 200,
      body: {
        access_token: access,
        expires_in: Math.max(1, Math.round(this.accessMs / 1_000)),
        refresh_expires_in: 0,
        refresh_token: refreshToken,
        token_type: 'Bearer',
        id_token: this.#jwt({ typ: 'ID' }),
        'not-before-policy': 0,
        session_state: '0000-session',
        scope: 'openid offline_access',
      },
    };
  }

  #jwt(claims: object): string {
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    return [part({ alg: 'RS256', typ: 'JWT' }), part(claims), this.#signature((this.#count += 1))].join('.');
  }
}

function refusal(status: number, error: string, description: string): Answer {
  return { status, body: { error, error_description: description } };
}
