/**
 * Access to netcup's API for as long as an agent runs, from one refresh token.
 *
 * Guarantees: one request for a token is under way at a time, whoever waits for it; a token is renewed before it ends and, as an
 * offline token that nobody uses dies after 30 days, within half a day at the latest while anybody asks. A refresh token that
 * netcup replaces is written to where it came from, or, where that cannot be written to, told of and used from memory. Every
 * token is remembered with the Secret, so that it is blotted out like it.
 * Not guaranteed: that another agent with the same refresh token learns of its replacement, unless they share the file.
 */
import { asError, unlessAborted } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { ok, warn } from '../finding.ts';
import type { Finding } from '../finding.ts';
import type { Host } from '../host.ts';
import type { Secret } from '../secret.ts';
import { ProviderError } from './error.ts';
import { LOGIN_ADVICE } from './netcup-openid.ts';
import type { GrantedTokens, NetcupOpenId } from './netcup-openid.ts';

/** A token with less than this left is not used for another request. */
const SPARE_MS = 30_000;
/** A token that lives for longer is renewed after this all the same, so that the refresh token is used. */
const RENEWED_AFTER_MS = 12 * 60 * 60_000;
/** A request for a token has a deadline of its own. */
const NEVER = new AbortController().signal;
const FINDING = 'refresh token';

/** What proves to the API who asks. */
export interface NetcupAccess {
  readonly token: string;
  readonly userId: number;
}

interface Held extends NetcupAccess {
  readonly endsAtMs: number;
  readonly renewedAtMs: number;
}

export interface RefreshTokenSource {
  readonly secret: Secret;
  /** The file that the secret lives in; null where it is in a variable. */
  readonly path: string | null;
}

export interface NetcupTokensWorld {
  readonly clock: Clock;
  readonly host: Pick<Host, 'writeFile'>;
  /** Told when netcup has replaced the refresh token. */
  readonly tell: (finding: Finding) => void;
}

export class NetcupTokens {
  readonly #openId: NetcupOpenId;
  readonly #source: RefreshTokenSource;
  readonly #world: NetcupTokensWorld;
  #held: Held | null = null;
  /** A refresh token that could not be written to where the one before it came from. */
  #unwritten: { readonly value: string; readonly finding: Finding } | null = null;
  #flight: Promise<Held> | null = null;

  constructor(openId: NetcupOpenId, source: RefreshTokenSource, world: NetcupTokensWorld) {
    this.#openId = openId;
    this.#source = source;
    this.#world = world;
  }

  /** What somebody has to do about the refresh token, or null. */
  get concern(): Finding | null {
    return this.#unwritten?.finding ?? null;
  }

  /** An access token that lives for another `spareMs`, or as long as it can be had for. Throws ProviderError. */
  async access(signal: AbortSignal, spareMs = SPARE_MS): Promise<NetcupAccess> {
    const held = this.#held;
    return held !== null && this.#isGood(held, spareMs) ? held : await this.#renewed(signal);
  }

  /** An access token in the place of one that was refused. */
  async replacing(refused: NetcupAccess, signal: AbortSignal): Promise<NetcupAccess> {
    if (this.#held?.token === refused.token) this.#held = null;
    return await this.access(signal);
  }

  #isGood({ endsAtMs, renewedAtMs }: Held, spareMs: number): boolean {
    const nowMs = this.#world.clock.nowMs();
    const spare = Math.min(spareMs, (endsAtMs - renewedAtMs) / 2);
    return nowMs < endsAtMs - spare && nowMs < renewedAtMs + RENEWED_AFTER_MS;
  }

  async #renewed(signal: AbortSignal): Promise<NetcupAccess> {
    // Who waits may be called off; what it waits for may be wanted by others.
    if (this.#flight === null) {
      this.#flight = this.#renew().finally(() => (this.#flight = null));
      this.#flight.catch(() => undefined);
    }
    return await unlessAborted(this.#flight, signal);
  }

  async #renew(): Promise<Held> {
    const { secret } = this.#source;
    // What somebody has put there since is newer than what is in memory.
    if (secret.reload()) this.#forgetUnwritten();
    const first = this.#unwritten?.value ?? secret.reveal();
    try {
      return await this.#renewWith(first);
    } catch (error) {
      if (!(error instanceof ProviderError) || error.code !== 'unauthorized') throw error;
      // Another agent may have had it replaced, and have written the next one to the file that they share.
      secret.reload();
      const second = secret.reveal();
      if (second === first) throw error;
      this.#forgetUnwritten();
      return await this.#renewWith(second);
    }
  }

  async #renewWith(refreshToken: string): Promise<Held> {
    const { secret } = this.#source;
    const { clock } = this.#world;
    const renewedAtMs = clock.nowMs();
    const granted = await this.#openId.refresh(refreshToken, NEVER);
    secret.remember(granted.access);
    if (granted.refresh !== refreshToken) this.#keep(granted);
    this.#held = { token: granted.access, userId: granted.userId, renewedAtMs, endsAtMs: renewedAtMs + granted.accessLifetimeMs };
    return this.#held;
  }

  #keep({ refresh }: GrantedTokens): void {
    const { secret, path } = this.#source;
    secret.remember(refresh);
    const replaced = 'netcup has replaced the refresh token';
    try {
      if (path === null) throw Object.assign(new Error(), { code: 'NETCUP_REFRESH_TOKEN is a variable and no file' });
      this.#world.host.writeFile(path, `${refresh}\n`);
      this.#unwritten = null;
      this.#world.tell(ok(FINDING, `${replaced}; the new one was written to ${path}`));
    } catch (error) {
      const { code = 'no reason given' } = asError(error) as NodeJS.ErrnoException;
      const where = path === null ? '' : ` to ${path}`;
      const finding = warn(
        FINDING,
        `${replaced}, and the new one could not be written${where} (${code}): this agent uses it from memory. netcup has been seen to go on accepting the one before, and does not promise it: the old one may stop working`,
        `should an agent that starts anew be refused (invalid_grant), ${LOGIN_ADVICE}`,
      );
      this.#unwritten = { value: refresh, finding };
      this.#world.tell(finding);
    }
  }

  #forgetUnwritten(): void {
    if (this.#unwritten === null) return;
    this.#unwritten = null;
    this.#world.tell(ok(FINDING, 'there is another one where the replaced one was'));
  }
}
