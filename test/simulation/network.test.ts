import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { KubeTrouble } from '../../agent/kube/transport.ts';
import type { KubeAnswer } from '../../agent/kube/transport.ts';
import type { ProviderAnswer } from '../../agent/provider/http.ts';
import { networkOf } from './network.ts';
import { Random } from './random.ts';
import { drawScenario, settingsOf } from './scenario.ts';
import { SimProcess } from './sim-process.ts';
import { World } from './world.ts';

const LEASES = '/apis/coordination.k8s.io/v1/namespaces/default/leases';
const ASSIGN = 'https://api.hetzner.cloud/v1/floating_ips/1/actions/assign';
const ADDRESS = '203.0.113.10';

/** A world without agents, and one process that has not been started. */
function ground(): { world: World; process: SimProcess; pass: (ms: number) => Promise<void> } {
  const scenario = { ...drawScenario(new Random('ground'), 'routed'), addresses: [ADDRESS] };
  const world = new World('ground', scenario, false);
  const [machine] = world.machines;
  assert.ok(machine);
  const process = new SimProcess(world, machine, settingsOf(scenario, 0));
  return { world, process, pass: (ms) => world.time.run(world.time.nowMs + ms, () => false) };
}

/** Sends a write that creates the Lease. Gives how it ended so far. */
function create(world: World, process: SimProcess): { ended: string } {
  const body = JSON.stringify({ metadata: { name: 'leasehold' }, spec: { holderIdentity: process.identity, leaseTransitions: 1 } });
  const call = {
    method: 'POST',
    path: LEASES,
    contentType: 'application/json',
    body,
    timeoutMs: 600,
    signal: new AbortController().signal,
  } as const;
  const result = { ended: 'not yet' };
  networkOf(world, process)
    .kube.request(call)
    .then(
      ({ status }: KubeAnswer) => (result.ended = String(status)),
      (error: unknown) => (result.ended = error instanceof KubeTrouble ? error.kind : 'something else'),
    );
  return result;
}

/** Sends a write to the provider. */
function assign(world: World, process: SimProcess): { ended: string } {
  const headers = { authorization: 'Bearer hcloud-token' };
  const call = {
    method: 'POST',
    url: ASSIGN,
    operation: 'whatever',
    headers,
    json: { server: process.machine.server },
    timeoutMs: 5_000,
    signal: new AbortController().signal,
  } as const;
  const result = { ended: 'not yet' };
  networkOf(world, process)
    .provider(call)
    .then(
      ({ status }: ProviderAnswer) => (result.ended = String(status)),
      (error: unknown) => (result.ended = (error as { code?: string }).code ?? 'something else'),
    );
  return result;
}

describe('the modelled network', () => {
  test('carries a request there and its answer back, in time', async () => {
    const { world, process, pass } = ground();
    const result = create(world, process);
    assert.equal(world.kube.lease(), undefined, 'not at once');
    await pass(400);
    assert.equal(result.ended, '201');
    assert.equal(world.kube.lease()?.spec.holderIdentity, process.identity);
  });

  test('a request that is lost ends as unknown at its deadline, and nothing was done', async () => {
    const { world, process, pass } = ground();
    world.way(process, 'kube').requestLoss = 1;
    const result = create(world, process);
    await pass(590);
    assert.equal(result.ended, 'not yet');
    await pass(50);
    assert.equal(result.ended, 'unknown');
    assert.equal(world.kube.lease(), undefined);
  });

  test('an answer that is lost ends as unknown, too, and everything was done', async () => {
    const { world, process, pass } = ground();
    world.way(process, 'kube').answerLoss = 1;
    const result = create(world, process);
    await pass(700);
    assert.equal(result.ended, 'unknown');
    assert.notEqual(world.kube.lease(), undefined);
  });

  test('a connection that is refused says that nothing was done, and nothing was', async () => {
    const { world, process, pass } = ground();
    world.way(process, 'kube').cut = 'refused';
    const result = create(world, process);
    await pass(700);
    assert.equal(result.ended, 'unreachable');
    assert.equal(world.kube.lease(), undefined);
  });

  test('an error may come although everything was done', async () => {
    const { world, process, pass } = ground();
    world.conditions.kube.misbehaviours.push({ share: 1, status: 500, retryAfterS: null, isCarriedOut: true, onlyWrites: false });
    const result = create(world, process);
    await pass(400);
    assert.equal(result.ended, '500');
    assert.notEqual(world.kube.lease(), undefined);
  });

  test('what a process sent goes on when the process is killed, and no answer reaches it', async () => {
    const { world, process, pass } = ground();
    const result = create(world, process);
    process.kill();
    await pass(700);
    assert.equal(result.ended, 'not yet');
    assert.notEqual(world.kube.lease(), undefined);
  });

  test('a frozen process gets its answer after the thaw, before the timer that is due as well', async () => {
    const { world, process, pass } = ground();
    const result = create(world, process);
    process.freeze();
    await pass(5_000);
    assert.equal(result.ended, 'not yet');
    process.thaw('answer');
    await pass(1);
    assert.equal(result.ended, '201');
  });

  test('a write to the provider may land after its deadline, and after its sender has died', async () => {
    const { world, process, pass } = ground();
    world.conditions.provider.lateWritesMs = 60_000;
    const result = assign(world, process);
    await pass(5_100);
    assert.equal(result.ended, 'unknown-outcome');
    process.kill();
    await pass(70_000);
    assert.equal(world.provider.ownerOf(ADDRESS), process.machine.server);
  });

  test('a freeze before a call puts the call off, and the process stands still meanwhile', async () => {
    const { world, process, pass } = ground();
    process.armLeap('provider write', 3_000);
    const result = assign(world, process);
    assert.equal(process.isPaused, true);
    await pass(2_900);
    assert.equal(world.provider.ownerOf(ADDRESS), null);
    await pass(2_000);
    assert.equal(result.ended, '201');
    assert.equal(process.isPaused, false);
  });
});
