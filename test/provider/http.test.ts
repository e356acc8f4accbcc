import assert from 'node:assert/strict';
import type { LookupAddress, LookupOptions } from 'node:dns';
import { describe, test } from 'node:test';
import { rememberingLookup } from '../../agent/outbound.ts';
import { createProviderHttp } from '../../agent/provider/http.ts';
import type { ProviderCall } from '../../agent/provider/http.ts';
import { HttpStandIn } from '../support/http-stand-in.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';

describe('HTTP to a provider', () => {
  test('goes by IPv4 alone where that is wanted, whatever else the name stands for', async () => {
    const six: LookupAddress = { address: '::1', family: 6 };
    const servers = await Promise.all(
      ['127.0.0.1', '::1'].map((host) => new HttpStandIn(() => ({ status: 200, body: {} }), null).listen(host)),
    );
    const [four] = servers;
    try {
      const remembered = rememberingLookup(() => Promise.resolve([six, { address: '127.0.0.1', family: 4 }]), REAL_CLOCK);
      const asked: LookupOptions[] = [];
      const http = createProviderHttp(REAL_CLOCK, {
        userAgent: 'leasehold/test',
        lookup: (hostname, options, callback) => {
          asked.push(options);
          remembered(hostname, options, callback);
        },
      });
      const call: ProviderCall = {
        method: 'GET',
        url: `http://robot.example:${four?.port ?? 0}/failover`,
        operation: 'GET /failover',
        headers: {},
        family: 4,
        timeoutMs: 2_000,
        signal: new AbortController().signal,
      };
      assert.equal((await http(call)).status, 200);
      assert.equal(four?.exchanges.length, 1);
      assert.ok(asked.length > 0 && asked.every(({ family }) => family === 4));
    } finally {
      await Promise.all(servers.map((server) => server.close()));
    }
  });
});
