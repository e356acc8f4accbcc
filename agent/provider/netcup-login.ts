/**
 * The login of a person at netcup, from a program that has no browser (RFC 8628).
 *
 * Guarantees: it asks no oftener than it was told, and ends with the person's answer, with the end of the code, or with its signal.
 * What it says holds no token.
 */
import { sleep } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { blotOut } from '../secret.ts';
import { ProviderError } from './error.ts';
import type { DeviceAnswer, DeviceLogin, GrantedTokens, NetcupOpenId } from './netcup-openid.ts';

/** RFC 8628, section 3.5: so much slower from then on, where that is asked for and where nobody has answered. */
const SLOWER_MS = 5_000;

export type LoginOutcome =
  | { readonly is: 'granted'; readonly tokens: GrantedTokens }
  /** The person has not finished in time, or has said no. */
  | { readonly is: 'expired' | 'denied' }
  | { readonly is: 'failed'; readonly message: string };

/** Begins a login, tells what the person has to do, and waits. Throws the signal's reason. */
export async function logInAtNetcup(
  openId: NetcupOpenId,
  { clock, signal, onBegun }: { clock: Clock; signal: AbortSignal; onBegun: (login: DeviceLogin) => void },
): Promise<LoginOutcome> {
  let login: DeviceLogin | null = null;
  try {
    login = await openId.beginDeviceLogin(signal);
    onBegun(login);
    return await untilDecided(openId, login, clock, signal);
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    return { is: 'failed', message: blotOut(error.message, login === null ? [] : [login.deviceCode]) };
  }
}

async function untilDecided(openId: NetcupOpenId, login: DeviceLogin, clock: Clock, signal: AbortSignal): Promise<LoginOutcome> {
  const endsAtMs = clock.nowMs() + login.lifetimeMs;
  for (let pauseMs = login.intervalMs; clock.nowMs() + pauseMs < endsAtMs;) {
    await sleep(clock, pauseMs, signal);
    const answer = await askOnce(openId, login, signal);
    if (answer.is === 'granted' || answer.is === 'expired' || answer.is === 'denied') return answer;
    if (answer.is === 'slow-down') pauseMs += SLOWER_MS;
  }
  return { is: 'expired' };
}

/** What passes is no answer, and a reason to ask more slowly. */
async function askOnce(openId: NetcupOpenId, login: DeviceLogin, signal: AbortSignal): Promise<DeviceAnswer> {
  try {
    return await openId.askDeviceLogin(login, signal);
  } catch (error) {
    if (error instanceof ProviderError && !error.isDefinitive) return { is: 'slow-down' };
    throw error;
  }
}
