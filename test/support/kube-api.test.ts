import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import https from 'node:https';
import { KubeApi } from './kube-api.ts';

/**
 * The stand-in answers as a real kube-apiserver was measured to: the table of what was asked and answered.
 */

let api: KubeApi;

before(async () => {
  api = await KubeApi.start();
});
after(async () => {
  await api.close();
});

interface Answered {
  readonly status: number;
  readonly body: { readonly reason?: string; readonly message?: string; readonly metadata?: { readonly resourceVersion?: string } };
}

function ask(method: string, path: string, body?: object, contentType = 'application/json', token = 'agent-token'): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const headers = {
      'content-type': contentType,
      'content-length': text.length,
      ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
    };
    const request = https.request(`${api.http.url}${path}`, { method, headers, ca: api.ca }, (response) => {
      let answer = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (answer += chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: JSON.parse(answer === '' ? '{}' : answer) as Answered['body'] }),
      );
    });
    request.on('error', reject);
    request.end(text);
  });
}

const LEASES = '/apis/coordination.k8s.io/v1/namespaces/default/leases';
const MERGE = 'application/merge-patch+json';

function leaseBody(name: string, metadata: object = {}, spec: object = {}): object {
  return { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name, ...metadata }, spec };
}

describe('the stand-in for the Kubernetes API', () => {
  test('PUT and merge PATCH with a stale resourceVersion, and PUT with another uid, are conflicts', async () => {
    const { metadata } = api.create({}, { name: 'a' });
    api.edit(({ spec }) => (spec.holderIdentity = 'x'), 'a');
    const stale = { resourceVersion: metadata.resourceVersion };
    const fresh = { resourceVersion: api.lease('a')?.metadata.resourceVersion };
    assert.equal((await ask('PUT', `${LEASES}/a`, leaseBody('a', stale))).status, 409);
    assert.equal((await ask('PATCH', `${LEASES}/a`, { metadata: stale }, MERGE)).status, 409);
    assert.equal((await ask('PUT', `${LEASES}/a`, leaseBody('a', { ...fresh, uid: 'other' }))).status, 409);
  });

  test('PUT without a resourceVersion on one that exists is 422', async () => {
    api.create({}, { name: 'b' });
    assert.equal((await ask('PUT', `${LEASES}/b`, leaseBody('b'))).status, 422);
  });

  test('PUT to a missing one creates it, unless it names a uid', async () => {
    assert.equal((await ask('PUT', `${LEASES}/c`, leaseBody('c', { resourceVersion: '5' }))).status, 201);
    assert.equal((await ask('PUT', `${LEASES}/d`, leaseBody('d', { uid: 'x' }))).status, 409);
    assert.equal(api.lease('d'), undefined);
  });

  test('merge PATCH to a missing one is 404 and creates nothing; with a wrong uid 422; with the old uid and version of one made anew 409', async () => {
    assert.equal((await ask('PATCH', `${LEASES}/e`, { spec: {} }, MERGE)).status, 404);
    const { metadata } = api.create({}, { name: 'e' });
    assert.equal((await ask('PATCH', `${LEASES}/e`, { metadata: { uid: 'other' } }, MERGE)).status, 422);
    api.delete('e');
    api.create({}, { name: 'e' });
    assert.equal(
      (await ask('PATCH', `${LEASES}/e`, { metadata: { uid: metadata.uid, resourceVersion: metadata.resourceVersion } }, MERGE)).status,
      409,
    );
  });

  test('POST of one that exists is 409 AlreadyExists, and POST with a resourceVersion 500', async () => {
    api.create({}, { name: 'f' });
    const again = await ask('POST', LEASES, leaseBody('f'));
    assert.deepEqual([again.status, again.body.reason], [409, 'AlreadyExists']);
    assert.equal((await ask('POST', LEASES, leaseBody('g', { resourceVersion: '5' }))).status, 500);
    assert.equal((await ask('PUT', `${LEASES}/f`, leaseBody('f', { resourceVersion: 'x' }))).status, 500);
  });

  test('times must have exactly six fraction digits and a zone; null clears them and an offset becomes Z', async () => {
    const { metadata } = api.create({}, { name: 'h' });
    for (const renewTime of [
      '2026-11-21T08:00:00Z',
      '2026-11-21T08:00:00.123Z',
      '2026-11-21T08:00:00.123456789Z',
      '2026-11-21T08:00:00.123456',
      '2026-11-21T08:00:00.123456z',
      5,
      '',
    ]) {
      assert.equal((await ask('PATCH', `${LEASES}/h`, { spec: { renewTime } }, MERGE)).status, 422, String(renewTime));
      assert.equal(
        (await ask('PUT', `${LEASES}/h`, leaseBody('h', { resourceVersion: metadata.resourceVersion }, { renewTime }))).status,
        400,
        String(renewTime),
      );
    }
    assert.equal((await ask('PATCH', `${LEASES}/h`, { spec: { renewTime: '2026-11-21T09:00:00.123456+01:00' } }, MERGE)).status, 200);
    assert.equal(api.lease('h')?.spec.renewTime, '2026-11-21T08:00:00.123456Z');
    assert.equal((await ask('PATCH', `${LEASES}/h`, { spec: { renewTime: null } }, MERGE)).status, 200);
    assert.equal(api.lease('h')?.spec.renewTime, undefined);
  });

  test('a duration must be a positive whole number and transitions must not be negative', async () => {
    api.create({}, { name: 'i' });
    const { resourceVersion } = api.lease('i')?.metadata ?? assert.fail();
    for (const leaseDurationSeconds of [0, -1, 1.5, '15']) {
      assert.equal((await ask('PATCH', `${LEASES}/i`, { spec: { leaseDurationSeconds } }, MERGE)).status, 422);
      const put = await ask('PUT', `${LEASES}/i`, leaseBody('i', { resourceVersion }, { leaseDurationSeconds }));
      assert.equal(put.status, Number.isInteger(leaseDurationSeconds) ? 422 : 400);
    }
    assert.equal((await ask('PATCH', `${LEASES}/i`, { spec: { leaseTransitions: -1 } }, MERGE)).status, 422);
  });

  test('an unknown field is dropped, and a write that changes nothing raises no version', async () => {
    api.create({ holderIdentity: 'x' }, { name: 'j' });
    const before = api.lease('j')?.metadata.resourceVersion;
    const answer = await ask('PATCH', `${LEASES}/j`, { spec: { holderIdentity: 'x', surprise: 1 } }, MERGE);
    assert.deepEqual([answer.status, answer.body.metadata?.resourceVersion], [200, before]);
  });

  test('DELETE with a stale precondition is 409', async () => {
    api.create({}, { name: 'k' });
    assert.equal((await ask('DELETE', `${LEASES}/k`, { preconditions: { resourceVersion: '1' } })).status, 409);
    assert.equal((await ask('DELETE', `${LEASES}/k`)).status, 200);
  });

  test('a wrong token is 401, none is 403, and what is not granted is 403', async () => {
    api.tokens.set('reader', { may: (verb) => verb === 'get' });
    api.create({}, { name: 'l' });
    assert.equal((await ask('GET', `${LEASES}/l`, undefined, undefined, 'wrong')).status, 401);
    assert.equal((await ask('GET', `${LEASES}/l`, undefined, undefined, '')).status, 403);
    assert.equal((await ask('PATCH', `${LEASES}/l`, { spec: {} }, MERGE, 'reader')).status, 403);
    assert.equal((await ask('GET', `${LEASES}/l`, undefined, undefined, 'reader')).status, 200);
  });

  test('a watch from a version too far ahead is 504', async () => {
    assert.equal((await ask('GET', `${LEASES}?watch=1&resourceVersion=999999`)).status, 504);
  });
});
