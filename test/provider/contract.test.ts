/**
 * What every provider must do, whatever its API is like. A provider that is new is tried here as soon as it has a stand-in
 * (test/support/stand-ins).
 */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { loadSettings } from '../../agent/config/settings.ts';
import { secretsIn } from '../../agent/config/provider-settings.ts';
import type { ClaimOutcome } from '../../agent/contender/input.ts';
import type { Host } from '../../agent/host.ts';
import type { KubeHttp } from '../../agent/kube/transport.ts';
import type { Provider } from '../../agent/ports.ts';
import { createProviderHttp } from '../../agent/provider/http.ts';
import { createProvider } from '../../agent/providers.ts';
import { openChildren } from '../support/children.ts';
import { claimFrom } from '../support/claim.ts';
import type { ClaimOptions } from '../support/claim.ts';
import { eventually } from '../support/eventually.ts';
import { NO_HOST } from '../support/host.ts';
import { OUTBOUND } from '../support/outbound.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { ROUTED_PROVIDERS, STAND_INS } from '../support/stand-ins/all.ts';
import type { ProviderStandIn, StandInNode, Trouble } from '../support/stand-ins/stand-in.ts';

/** In a private network, because some providers route nothing else; to all others it makes no difference. */
const IP = '10.20.0.50';
const SECOND_IP = '10.20.0.51';
const MOVE_MS = 20;

const node = (name: string, host: number): StandInNode => ({ name, ip: `10.20.0.${host}`, mac: `86:00:00:aa:bb:${host}` });
/** This node's requests come from where the tests run. */
const ME: StandInNode = { ...node('node-a', 11), ip: '127.0.0.1' };
const OTHER = node('node-b', 12);

const never = new AbortController().signal;

/** No Kubernetes: what a provider could learn from it is set or not needed. */
const NO_KUBE: KubeHttp = {
  request: () => Promise.reject(new Error('there is no Kubernetes here')),
  stream: () => Promise.reject(new Error('there is no Kubernetes here')),
};

const HOST: Host = { ...NO_HOST, interfaces: () => [{ name: 'eth0', mac: ME.mac, addresses: [ME.ip] }], run: openChildren().run };

/** Claims as the loop does. */
async function claim(
  from: Provider,
  { address = IP, ...options }: ClaimOptions & { readonly address?: string } = {},
): Promise<ClaimOutcome> {
  return await claimFrom(from, address, options);
}

for (const name of ROUTED_PROVIDERS) {
  describe(`the provider ${name}`, () => {
    let api: ProviderStandIn;
    let secrets: readonly string[];

    beforeEach(async () => {
      api = await STAND_INS[name]({ addresses: [IP, SECOND_IP], nodes: [ME, OTHER], moveMs: MOVE_MS });
      api.move(IP, OTHER.name);
    });
    afterEach(() => api.close());

    function open(env: Readonly<Record<string, string>> = {}): Provider {
      const settings = loadSettings({
        env: { NODE_NAME: ME.name, KUBECONFIG: '/dev/null', ADDRESSES: IP, ...api.env(ME.name), ...env },
        hostname: ME.name,
        readFile: () => '',
        serviceAccountFolder: '/nowhere',
      });
      secrets = secretsIn(settings.provider).flatMap(({ everHeld }) => everHeld);
      return createProvider(settings, {
        clock: REAL_CLOCK,
        host: HOST,
        http: createProviderHttp(REAL_CLOCK, OUTBOUND),
        kube: NO_KUBE,
        tell: () => undefined,
      });
    }

    test('is ready once it has found this server and the addresses, and has only read for that', async () => {
      const readiness = await open().prepare(never);
      assert.equal(readiness.is, 'ready', readiness.reason);
      assert.equal(api.writes(), 0);
    });

    test('is not ready for an address that it does not have, and names it', async () => {
      const readiness = await open({ ADDRESSES: `${IP},10.99.0.77` }).prepare(never);
      assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
      assert.match(readiness.reason, /10\.99\.0\.77/);
    });

    test('checks by reading alone, and finds nothing wrong', async () => {
      const findings = await open().check(never);
      assert.deepEqual(
        findings.filter(({ level }) => level === 'fail'),
        [],
      );
      assert.ok(findings.some(({ message }) => message.includes('routed to')));
      assert.equal(api.writes(), 0);
    });

    test('tells each owner apart', async () => {
      const provider = open();
      assert.equal((await provider.owner(IP, never)).is, 'other');
      api.move(IP, ME.name);
      assert.deepEqual(await provider.owner(IP, never), { is: 'self' });
      api.move(IP, null);
      assert.deepEqual(await provider.owner(IP, never), { is: 'nobody' });
      api.trouble('unavailable');
      assert.equal((await provider.owner(IP, never)).is, 'unknown');
      assert.equal(api.writes(), 0);
    });

    for (const from of [OTHER.name, null]) {
      test(`moves an address from ${from === null ? 'nowhere' : 'another server'} and reads the owner back`, async () => {
        api.move(IP, from);
        assert.deepEqual(await claim(open()), { is: 'confirmed' });
        assert.equal(api.ownerOf(IP), ME.name);
      });
    }

    test('writes nothing for an address that is here already', async () => {
      api.move(IP, ME.name);
      assert.deepEqual(await claim(open()), { is: 'confirmed' });
      assert.equal(api.writes(), 0);
    });

    test('moves two addresses at once', async () => {
      api.move(SECOND_IP, OTHER.name);
      const provider = open({ ADDRESSES: `${IP},${SECOND_IP}` });
      const outcomes = await Promise.all([claim(provider), claim(provider, { address: SECOND_IP })]);
      assert.deepEqual(outcomes, [{ is: 'confirmed' }, { is: 'confirmed' }]);
      assert.deepEqual([api.ownerOf(IP), api.ownerOf(SECOND_IP)], [ME.name, ME.name]);
    });

    for (const trouble of ['busy', 'rate-limited', 'unavailable', 'move-fails'] as const satisfies readonly Trouble[]) {
      test(`gets over the trouble "${trouble}"`, async () => {
        const provider = open();
        await provider.prepare(never);
        api.trouble(trouble);
        const outcome = claim(provider, { deadlineMs: 30_000 });
        await eventually('the claim has met with it', () => api.troubled + api.acceptedCount > 0);
        api.trouble(null);
        assert.deepEqual(await outcome, { is: 'confirmed' });
        assert.equal(api.ownerOf(IP), ME.name);
      });
    }

    test('does not move an address a second time because an answer was lost', async () => {
      const provider = open();
      await provider.prepare(never);
      api.trouble('answer-lost', 1);
      assert.deepEqual(await claim(provider), { is: 'confirmed' });
      assert.equal(api.ownerOf(IP), ME.name);
      assert.equal(api.acceptedCount, api.writes(), 'each write that came was needed');
    });

    test('gives up at its deadline while nobody answers, and leaves open that it may succeed later', async () => {
      const provider = open();
      await provider.prepare(never);
      api.trouble('silent');
      const outcome = await claim(provider, { deadlineMs: 300 });
      assert.ok(outcome.is === 'failed' && !outcome.definitive);
      assert.match(outcome.message, /not confirmed in time/);
    });

    test('fails at once where the credentials are not accepted, and says which setting to look at', async () => {
      api.trouble('unauthorized');
      const outcome = await claim(open());
      assert.ok(outcome.is === 'failed' && outcome.definitive);
      assert.match(outcome.message, /[A-Z]+_[A-Z]+/);
      const readiness = await open().prepare(never);
      assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
    });

    test('writes nothing once it may not', async () => {
      assert.deepEqual(await claim(open(), { mayWrite: () => false }), { is: 'withdrawn' });
      assert.equal(api.writes(), 0);
      assert.equal(api.ownerOf(IP), OTHER.name);
    });

    test('ends when the claim is not wanted any more, and sends nothing after that', async () => {
      const provider = open();
      await provider.prepare(never);
      const end = new AbortController();
      api.trouble('unavailable');
      const outcome = claim(provider, { unwanted: end.signal });
      await eventually('the claim has asked', () => api.troubled > 0);
      end.abort();
      assert.deepEqual(await outcome, { is: 'withdrawn' });
      api.trouble(null);
      assert.equal((await provider.owner(IP, never)).is, 'other');
      assert.equal(api.writes(), 0);
    });

    test('says in no trouble what must stay secret', async () => {
      for (const trouble of ['busy', 'unavailable', 'silent', 'unauthorized'] as const satisfies readonly Trouble[]) {
        api.trouble(trouble);
        const provider = open();
        const said = JSON.stringify([
          await provider.prepare(AbortSignal.timeout(300)),
          await provider.owner(IP, AbortSignal.timeout(300)),
          await provider.check(AbortSignal.timeout(300)),
          await claim(provider, { deadlineMs: 300 }),
        ]);
        assert.ok(secrets.length > 0 && secrets.every((secret) => !said.includes(secret)), `in the trouble "${trouble}": ${said}`);
      }
    });
  });
}
