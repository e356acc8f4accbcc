/**
 * Asks a service over HTTP or HTTPS.
 *
 * Guarantees: a new connection for each question, because a service that accepts no new ones is not healthy; redirects
 * are answers like any other. The body is not read.
 */
import http from 'node:http';
import https from 'node:https';
import type { Outbound } from '../outbound.ts';
import type { Ask, ProbeQuestion } from './probe.ts';

/** Makes the question for an `http(s)://` probe. */
export function httpAsk(question: ProbeQuestion & { kind: 'http' }, { userAgent, lookup }: Outbound): Ask {
  const { url, host, ca, verifyTls, expect } = question;
  const headers = { 'user-agent': userAgent, ...(host === null ? {} : { host }) };
  const tls = {
    rejectUnauthorized: verifyTls,
    ...(ca === null ? {} : { ca }),
    ...(host === null ? {} : { servername: host.replace(/:\d+$/, '') }),
  };
  return (signal) =>
    new Promise((resolve, reject) => {
      const request =
        url.protocol === 'https:'
          ? https.request(url, { headers, signal, lookup, agent: false, ...tls })
          : http.request(url, { headers, signal, lookup, agent: false });
      request.on('error', reject);
      request.once('response', (response) => {
        const status = response.statusCode ?? 0;
        request.destroy();
        if (expect.some(([from, to]) => status >= from && status <= to)) resolve();
        else reject(new Error(`answered ${status}`));
      });
      request.end();
    });
}
