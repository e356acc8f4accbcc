import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { evict, listAgents } from '../../agent/kube/evictions.ts';
import { adviceOn } from '../../agent/kube/advice.ts';
import { advice } from '../../agent/kube/lease-store.ts';
import type { KubeHttp } from '../../agent/kube/transport.ts';

const never = new AbortController().signal;
const LOOK_AT_CREDENTIALS = /; the credentials are not accepted: check the service account or the kubeconfig$/;

/** Answers everything with one status. */
function answering(status: number): KubeHttp {
  const answer = { status, retryAfterMs: null, body: '{"message":"Unauthorized"}' };
  return { request: () => Promise.resolve(answer), stream: () => Promise.resolve(answer) };
}

describe('what is refused', () => {
  test('for a missing right says what to grant, and for anything else nothing', () => {
    assert.equal(adviceOn(403, 'grant it'), '; grant it');
    assert.equal(adviceOn(500, 'grant it'), '');
  });

  test('for credentials that are not accepted sends nobody to the Role: of a Lease, of pods, of an eviction', async () => {
    assert.match(advice(401, 'get'), LOOK_AT_CREDENTIALS);
    await assert.rejects(listAgents(answering(401), 'default', never), LOOK_AT_CREDENTIALS);
    const outcome = await evict(answering(401), { namespace: 'default', name: 'leasehold-1', uid: 'u' }, never);
    assert.ok(outcome.is === 'failed' && outcome.isRefusal);
    assert.match(outcome.message, LOOK_AT_CREDENTIALS);
  });
});
