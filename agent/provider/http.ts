/**
 * HTTP to a provider's API.
 *
 * Guarantees: one request is one request (the library's own retries, redirects and caches are off), with a deadline of
 * its own and a bounded answer. Errors never hold the request, whose headers carry the token.
 */
import got, { RequestError } from 'got';
import http from 'node:http';
import https from 'node:https';
import { asError, DeadlineExceeded, withDeadline } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { Outbound } from '../outbound.ts';
import { ProviderError } from './error.ts';

export interface ProviderCall {
  readonly method: 'GET' | 'POST' | 'PATCH';
  readonly url: string;
  /** What is asked for, for whoever counts: one of a few words, whatever numbers the URL holds. */
  readonly operation: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly json?: Readonly<Record<string, unknown>>;
  /** Sent as `application/x-www-form-urlencoded`, in place of JSON. */
  readonly form?: Readonly<Record<string, string>>;
  /** Set where the API is reached over IPv4 alone, whatever else its name stands for. */
  readonly family?: 4;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface ProviderAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: string;
}

/** The lowest seam: one HTTP exchange. Any answer is returned; throws ProviderError when there was none. */
export type ProviderHttp = (call: ProviderCall) => Promise<ProviderAnswer>;

const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
/** Errors that come before a request can have reached the server. */
const NEVER_SENT = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN'];

/** HTTP over `got` on keep-alive connections. */
export function createProviderHttp(clock: Clock, { userAgent, lookup }: Outbound): ProviderHttp {
  const agent = { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true }) };
  return async (call) => {
    try {
      return await withDeadline(clock, call.timeoutMs, call.signal, (signal) => exchange(call, { agent, userAgent, lookup, signal }));
    } catch (error) {
      if (call.signal.aborted) throw asError(call.signal.reason);
      throw toProviderError(asError(error), call);
    }
  };
}

async function exchange(
  { method, url, headers, json, form, family }: ProviderCall,
  { agent, userAgent, lookup, signal }: Outbound & { agent: { http: http.Agent; https: https.Agent }; signal: AbortSignal },
): Promise<ProviderAnswer> {
  const stop = new AbortController();
  signal.addEventListener('abort', () => stop.abort(signal.reason), { once: true });
  const request = got(url, {
    method,
    headers: { accept: 'application/json', 'user-agent': userAgent, ...headers },
    ...(json === undefined ? {} : { json }),
    ...(form === undefined ? {} : { form }),
    agent,
    dnsLookup: lookup,
    ...(family === undefined ? {} : { dnsLookupIpVersion: family }),
    signal: stop.signal,
    retry: { limit: 0 },
    followRedirect: false,
    throwHttpErrors: false,
  });
  void request.on('downloadProgress', ({ transferred }) => {
    if (transferred > ANSWER_BYTES_MAX) stop.abort(new Error(`the answer is larger than ${ANSWER_BYTES_MAX} bytes`));
  });
  try {
    const { statusCode, headers: answered, body } = await request;
    return { status: statusCode, headers: answered, body };
  } catch (error) {
    throw stop.signal.aborted ? asError(stop.signal.reason) : error;
  }
}

/** The library's own error is not kept as a cause: it carries the request with its headers. */
function toProviderError(error: Error, { method, url }: ProviderCall): ProviderError {
  const code = error instanceof RequestError ? error.code : '';
  const wasSent = error instanceof DeadlineExceeded || !NEVER_SENT.includes(code);
  const isUnknown = method !== 'GET' && wasSent;
  return new ProviderError(isUnknown ? 'unknown-outcome' : 'unavailable', `${method} ${url}: ${error.message || code}`, { wasSent });
}
