import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { HcloudServerId } from '../../agent/provider/hcloud-server-id.ts';
import type { HcloudServerIdSources } from '../../agent/provider/hcloud-server-id.ts';
import { createProviderHttp } from '../../agent/provider/http.ts';
import { HcloudStandIn } from '../support/hcloud-api.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { OUTBOUND } from '../support/outbound.ts';

const never = new AbortController().signal;

let hcloud: HcloudStandIn;

beforeEach(async () => {
  hcloud = await HcloudStandIn.start({ floatingIps: [], servers: [] });
});
afterEach(() => hcloud.close());

function serverId(sources: Partial<HcloudServerIdSources> = {}): HcloudServerId {
  return new HcloudServerId(createProviderHttp(REAL_CLOCK, OUTBOUND), {
    configured: null,
    metadataEndpoint: hcloud.metadataEndpoint,
    providerId: () => Promise.resolve({ is: 'unknown', reason: 'the Node node-a cannot be read: 403' }),
    ...sources,
  });
}

describe('which server this is', () => {
  test('is what HCLOUD_SERVER_ID says, and nobody else is asked', async () => {
    assert.equal(await serverId({ configured: 42 }).find(never), 42);
    assert.equal(hcloud.metadata.exchanges.length, 0);
  });

  test('is what the metadata service says, asked once', async () => {
    hcloud.serverBySource.set('127.0.0.1', 9_100_202);
    const found = serverId();
    assert.equal(await found.find(never), 9_100_202);
    assert.equal(await found.find(never), 9_100_202);
    assert.equal(hcloud.metadata.exchanges.length, 1);
  });

  test("is what the Node's spec.providerID says where there is no metadata service", async () => {
    assert.equal(await serverId({ providerId: () => Promise.resolve({ is: 'known', value: 'hcloud://77' }) }).find(never), 77);
  });

  test('is unknown when nobody knows, and the error says what each of them answered and what to set', async () => {
    await assert.rejects(serverId().find(never), /set HCLOUD_SERVER_ID \(.*instance-id answers 404; the Node node-a cannot be read: 403\)/);
  });

  test('is never guessed from a providerID of another cloud', async () => {
    for (const value of ['hrobot://5', 'hcloud://bm-5', 'aws:///i-5', 'hcloud://']) {
      await assert.rejects(serverId({ providerId: () => Promise.resolve({ is: 'known', value }) }).find(never));
    }
  });
});
