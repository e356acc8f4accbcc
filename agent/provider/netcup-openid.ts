/**
 * netcup's OpenID Connect endpoints: tokens for a refresh token, and the login of a person on another device.
 *
 * Guarantees: each answer is either understood or an error in our words. Who calls keeps the tokens secret; no error holds one that
 * was not said back by the endpoint itself.
 * Facts: realm `scp` at https://www.servercontrolpanel.de, public client `scp`; OAuth 2.0 Device Authorization Grant (RFC 8628).
 */
import { integerAt, messageAt, parseJson, stringAt } from '../json.ts';
import { ProviderError } from './error.ts';
import type { ProviderErrorCode } from './error.ts';
import type { ProviderAnswer, ProviderHttp } from './http.ts';
import { codeOfStatus } from './http-status.ts';

/** What it takes to get a new refresh token, for people. */
export const LOGIN_ADVICE = 'run "leasehold netcup-login" and put what it prints in the place of NETCUP_REFRESH_TOKEN';

export const TOKEN_OPERATION = 'POST /token';
const DEVICE_OPERATION = 'POST /auth/device';
const CLIENT = 'scp';
/** `offline_access`: the refresh token outlives the session of the person who logs in. */
const SCOPE = 'openid offline_access';
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
const TIMEOUT_MS = 5_000;
/** RFC 8628, section 3.2: what counts where the answer does not say. */
const DEVICE_INTERVAL_S = 5;
/** What the endpoint says of a refresh token, or of a client, that it does not take. */
const REFUSALS = ['invalid_grant', 'invalid_client', 'unauthorized_client', 'invalid_token'];

/** What a refresh token, or a person, has brought. */
export interface GrantedTokens {
  readonly access: string;
  /** How long the access token lives from when it was asked for. */
  readonly accessLifetimeMs: number;
  /** The refresh token to use from now on, which may be the one that was sent. */
  readonly refresh: string;
  /** How long the refresh token lives by itself; null where only its use counts (an offline token). */
  readonly refreshLifetimeMs: number | null;
  /** The number of the SCP user, which is part of paths of the API. */
  readonly userId: number;
}

/** A login that a person has to finish elsewhere. */
export interface DeviceLogin {
  readonly deviceCode: string;
  readonly userCode: string;
  /** Where to type the code. */
  readonly url: string;
  /** The same with the code in it; null where there is none. */
  readonly completeUrl: string | null;
  readonly lifetimeMs: number;
  readonly intervalMs: number;
}

export type DeviceAnswer =
  | { readonly is: 'granted'; readonly tokens: GrantedTokens }
  | { readonly is: 'pending' }
  | { readonly is: 'slow-down' }
  | { readonly is: 'expired' }
  | { readonly is: 'denied' };

const DEVICE_ANSWERS: Readonly<Record<string, Exclude<DeviceAnswer, { is: 'granted' }>>> = {
  authorization_pending: { is: 'pending' },
  slow_down: { is: 'slow-down' },
  expired_token: { is: 'expired' },
  access_denied: { is: 'denied' },
};

export class NetcupOpenId {
  readonly #http: ProviderHttp;
  readonly #endpoint: string;

  /** `endpoint` is such as `https://www.servercontrolpanel.de/realms/scp/protocol/openid-connect`. */
  constructor(http: ProviderHttp, endpoint: string) {
    this.#http = http;
    this.#endpoint = endpoint.replace(/\/+$/, '');
  }

  /** Gets an access token. Throws ProviderError, `unauthorized` where the refresh token is not accepted. */
  async refresh(refreshToken: string, signal: AbortSignal): Promise<GrantedTokens> {
    const form = { client_id: CLIENT, grant_type: 'refresh_token', refresh_token: refreshToken };
    const answer = await this.#post('/token', TOKEN_OPERATION, form, signal);
    if (answer.status !== 200)
      throw toError(TOKEN_OPERATION, answer, `the refresh token in NETCUP_REFRESH_TOKEN is not accepted: ${LOGIN_ADVICE}`);
    return readTokens(answer, refreshToken);
  }

  async beginDeviceLogin(signal: AbortSignal): Promise<DeviceLogin> {
    const answer = await this.#post('/auth/device', DEVICE_OPERATION, { client_id: CLIENT, scope: SCOPE }, signal);
    if (answer.status !== 200) throw toError(DEVICE_OPERATION, answer, null);
    const json = parseJson(answer.body);
    const [deviceCode, userCode, url] = [stringAt(json, 'device_code'), messageAt(json, 'user_code'), messageAt(json, 'verification_uri')];
    const lifetimeS = integerAt(json, 'expires_in');
    if (deviceCode === undefined || userCode === undefined || url === undefined || lifetimeS === undefined)
      throw new ProviderError('unavailable', `${DEVICE_OPERATION}: the answer holds no code; is NETCUP_AUTH_ENDPOINT right?`);
    return {
      deviceCode,
      userCode,
      url,
      completeUrl: messageAt(json, 'verification_uri_complete') ?? null,
      lifetimeMs: lifetimeS * 1_000,
      intervalMs: Math.max(1, integerAt(json, 'interval') ?? DEVICE_INTERVAL_S) * 1_000,
    };
  }

  /** Asks once whether the person has finished. Throws ProviderError for any other answer. */
  async askDeviceLogin({ deviceCode }: DeviceLogin, signal: AbortSignal): Promise<DeviceAnswer> {
    const form = { client_id: CLIENT, grant_type: DEVICE_GRANT, device_code: deviceCode };
    const answer = await this.#post('/token', TOKEN_OPERATION, form, signal);
    if (answer.status === 200) return { is: 'granted', tokens: readTokens(answer, null) };
    const known = DEVICE_ANSWERS[messageAt(parseJson(answer.body), 'error') ?? ''];
    if (known === undefined) throw toError(TOKEN_OPERATION, answer, null);
    return known;
  }

  async #post(path: string, operation: string, form: Readonly<Record<string, string>>, signal: AbortSignal): Promise<ProviderAnswer> {
    try {
      return await this.#http({ method: 'POST', url: this.#endpoint + path, operation, headers: {}, form, timeoutMs: TIMEOUT_MS, signal });
    } catch (error) {
      // Whether a token was given out that nobody has received changes nothing about any address.
      if (error instanceof ProviderError && error.code === 'unknown-outcome') throw new ProviderError('unavailable', error.message);
      throw error;
    }
  }
}

function readTokens({ body }: ProviderAnswer, sent: string | null): GrantedTokens {
  const json = parseJson(body);
  const access = stringAt(json, 'access_token');
  const refresh = stringAt(json, 'refresh_token') ?? sent;
  const lifetimeS = integerAt(json, 'expires_in');
  if (access === undefined || refresh === null || lifetimeS === undefined || lifetimeS <= 0)
    throw new ProviderError('unavailable', `${TOKEN_OPERATION}: the answer holds no token; is NETCUP_AUTH_ENDPOINT right?`);
  const userId = userIdOf(access);
  if (userId === null)
    throw new ProviderError(
      'invalid',
      `${TOKEN_OPERATION}: the access token does not name a user of the SCP (claim id); is NETCUP_AUTH_ENDPOINT right?`,
    );
  const refreshLifetimeS = integerAt(json, 'refresh_expires_in') ?? 0;
  return {
    access,
    accessLifetimeMs: lifetimeS * 1_000,
    refresh,
    refreshLifetimeMs: refreshLifetimeS > 0 ? refreshLifetimeS * 1_000 : null,
    userId,
  };
}

/** The claim `id`: neither the customer number, which is the user's name, nor `sub`. Nothing is verified: who uses it is the API. */
function userIdOf(accessToken: string): number | null {
  const [, payload = ''] = accessToken.split('.');
  const claims = parseJson(Buffer.from(payload, 'base64url').toString());
  const id = Number(stringAt(claims, 'id') ?? integerAt(claims, 'id'));
  return Number.isSafeInteger(id) && id > 0 ? id : null;
}

/** `advice`: what to do where a credential is not accepted. */
function toError(what: string, { status, body }: ProviderAnswer, advice: string | null): ProviderError {
  const json = parseJson(body);
  const named = messageAt(json, 'error');
  const isRefused = named !== undefined && REFUSALS.includes(named);
  const code: ProviderErrorCode = isRefused ? 'unauthorized' : codeOfStatus(status, false);
  const parts = [`${what}: ${status} ${named ?? ''}`.trim(), messageAt(json, 'error_description'), code === 'unauthorized' ? advice : null];
  return new ProviderError(code, parts.filter((part) => part != null).join('; '), { providerCode: named ?? null });
}
