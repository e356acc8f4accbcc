/**
 * The Events of whole agents: what a real process tells, where, and that telling never gets in the way of keeping the address.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { listAt, stringAt } from '../../agent/json.ts';
import { eventsPath } from '../../agent/kube/events.ts';
import { findAssets } from '../../e2e/control-plane/assets.ts';
import { ControlPlane, kubeconfigFor } from '../../e2e/control-plane/control-plane.ts';
import { LEASE_PATH, NAMESPACE, SERVICE_ACCOUNT } from '../../e2e/control-plane/our-manifests.ts';
import { buildAgent } from '../../scripts/build.ts';
import { AgentWorld, IP, OTHER_SERVER, TOKEN } from '../support/agent-world.ts';
import { eventually } from '../support/eventually.ts';
import { cannotRender } from '../support/manifests.ts';
import { needsNamespaces } from '../support/namespace-test.ts';

const POD = { POD_NAME: 'leasehold-x7k2p', POD_NAMESPACE: 'default', POD_UID: '5f0c0a4e-0000-4000-8000-0000000000aa' };
const L2 = { PROVIDER: 'l2' };

let folder: string;
let bundle: string;
let world: AgentWorld;

const untilRole = (role: string): Promise<void> => eventually(`it is ${role}`, async () => (await world.status())?.role === role);
const told = (kind: string): string[] =>
  world.kube.events.all.filter(({ regarding }) => regarding['kind'] === kind).map(({ type, reason, note }) => `${type} ${reason}: ${note}`);
const isForEvents = ({ path }: { path: string }): boolean => path.startsWith(eventsPath('default'));

describe('the Events of an agent', needsNamespaces(), () => {
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
    bundle = await buildAgent(join(folder, 'dist'));
  });
  after(() => rmSync(folder, { recursive: true }));
  beforeEach(async () => {
    world = await AgentWorld.open();
  });
  afterEach(() => world.close());

  test('tell the story of a term on the Lease and on the pod', async () => {
    const agent = world.start(bundle, POD);
    await untilRole('serving');
    await eventually('it has told of the first half', () => told('Pod').some((text) => text.startsWith('Normal Serving')));
    agent.signal('SIGTERM');
    await untilRole('leaving');
    world.hcloud.move(IP, OTHER_SERVER);
    assert.equal(await agent.ended, 0);
    const story = [
      'Normal BecameHolder: node-a became the holder: node-z released the Lease',
      `Normal Serving: node-a serves ${IP}: every address is bound and routed here`,
      'Normal SteppedDown: node-a steps down: asked to end by SIGTERM',
    ];
    assert.deepEqual(told('Lease'), story);
    // On a busy machine it may also have been told that the agent stood still for a moment.
    assert.deepEqual(
      told('Pod').filter((text) => !text.startsWith('Warning Stalled')),
      story,
    );
    const [first] = world.kube.events.all;
    assert.equal(first?.regarding['uid'], world.kube.lease()?.metadata.uid);
    assert.equal(first?.related?.['name'], POD.POD_NAME);
    assert.match(first?.reportingInstance ?? '', /^node-a_/);
  });

  test('tell why a claim failed, and count what goes on failing', async () => {
    world.hcloud.tokens.set(TOKEN, 'read-only');
    world.start(bundle);
    await eventually('it is told', () =>
      told('Lease').some((text) => /^Warning ClaimFailed: node-a: .*token_readonly.*read & write/.test(text)),
    );
    await eventually('and that it wants relief', () =>
      told('Lease').some((text) => text.startsWith('Warning ReliefWanted: node-a: asking')),
    );
    assert.deepEqual(told('Pod'), []);
  });

  test('tell that an address was put back', async () => {
    world.start(bundle);
    await untilRole('serving');
    spawnSync('ip', ['addr', 'del', `${IP}/32`, 'dev', world.interfaceName]);
    await eventually('it is told', () =>
      told('Lease').includes(`Warning AddressRepaired: node-a: ${IP}: somebody removed it from the interface: bound again`),
    );
  });

  test('that may not be written are said to be so once, with what to grant, and change nothing else', async () => {
    world.kube.tokens.set('agent-token', { may: (_, resource) => resource !== 'events' });
    const agent = world.start(bundle, { ...L2, ...POD });
    await untilRole('serving');
    await eventually('it is said', () =>
      agent.log.some(({ msg }) => /Events cannot be written: 403 .*grant the verbs "create" and "patch"/.test(msg)),
    );
    agent.signal('SIGTERM');
    assert.equal(await agent.ended, 0);
    assert.equal(agent.log.filter(({ event }) => event === 'events').length, 1);
    assert.ok(agent.log.every(({ event }) => event !== 'lease-trouble'));
  });

  test('that nobody takes hold up neither a renewal nor, for more than a moment, the end', async () => {
    world.kube.http.faultFor = (exchange) => (isForEvents(exchange) ? { is: 'hang', when: 'before' } : null);
    const agent = world.start(bundle, { ...L2, ...POD });
    await untilRole('serving');
    const since = world.kube.http.exchanges.length;
    const renewals = (): number[] =>
      world.kube.http.exchanges
        .slice(since)
        .flatMap(({ method, path, atMs }) => (method === 'PATCH' && path.includes('/leases/') ? [atMs] : []));
    // Long enough for several requests about Events to be given up.
    await eventually('it has renewed ten times', () => renewals().length >= 10);
    assert.ok(world.kube.http.exchanges.filter(isForEvents).length >= 2);
    const gaps = renewals().map((atMs, index, all) => (index === 0 ? 0 : atMs - (all[index - 1] ?? 0)));
    assert.ok(Math.max(...gaps) < 1_000, `renewals ${gaps.map(Math.round).join(', ')}ms apart`);
    agent.signal('SIGTERM');
    await eventually('the Lease is free', () => (world.kube.lease()?.spec.holderIdentity ?? '') === '', 500);
    const freeAtMs = performance.now();
    assert.equal(await agent.ended, 0);
    assert.ok(performance.now() - freeAtMs < 1_800);
    assert.equal(world.rows().length, 0);
  });

  const assets = findAssets(process.env);
  const skip = assets.is === 'unavailable' ? assets.why : cannotRender();
  describe('in a real API server, read with kubectl', { skip }, () => {
    let plane: ControlPlane;
    let config: string;
    before(async () => {
      assert.ok(assets.is === 'available');
      plane = await ControlPlane.start({ assets, folder: join(folder, 'plane') });
      config = join(folder, 'admin');
      writeFileSync(config, kubeconfigFor(plane, plane.adminToken));
    });
    after(() => plane.close());

    const kubectl = (...args: string[]): string => {
      const { status, stdout, stderr } = spawnSync('kubectl', ['--kubeconfig', config, '--namespace', NAMESPACE, ...args], {
        encoding: 'utf8',
      });
      assert.equal(status, 0, stderr);
      return stdout;
    };
    const eventLines = (description: string): string[] =>
      description
        .slice(description.indexOf('Events:'))
        .split('\n')
        .slice(3)
        .filter((line) => line.trim() !== '')
        .map((line) => line.trim().replace(/\s{2,}/g, ' | '));

    test('a person sees who became holder and why it stepped down, at the Lease and at the pod', async (t) => {
      const pods = `/api/v1/namespaces/${NAMESPACE}/pods`;
      const name = 'leasehold-x7k2p';
      const spec = {
        serviceAccountName: SERVICE_ACCOUNT,
        automountServiceAccountToken: false,
        containers: [{ name: 'agent', image: 'none' }],
      };
      const pod = await plane.admin.create(pods, { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec });
      writeFileSync(join(folder, 'agent'), kubeconfigFor(plane, plane.token));
      const agent = world.start(bundle, {
        ...L2,
        KUBECONFIG: join(folder, 'agent'),
        POD_NAME: name,
        POD_NAMESPACE: NAMESPACE,
        POD_UID: stringAt(pod, 'metadata', 'uid') ?? '',
      });
      await untilRole('serving');
      agent.signal('SIGTERM');
      assert.equal(await agent.ended, 0);
      const story = [
        /^Normal \| BecameHolder \| \d+s \| leasehold\.dev\/agent \| node-a became the holder: nobody holds the Lease$/,
        /^Normal \| Serving \| \d+s \| leasehold\.dev\/agent \| node-a serves 203\.0\.113\.10: every address is bound$/,
        /^Normal \| SteppedDown \| \d+s \| leasehold\.dev\/agent \| node-a steps down: asked to end by SIGTERM$/,
      ];
      for (const what of [
        ['lease', 'leasehold'],
        ['pod', name],
      ]) {
        const lines = eventLines(kubectl('describe', ...what));
        t.diagnostic(lines.join('\n'));
        for (const [index, pattern] of story.entries()) assert.match(lines[index] ?? '', pattern);
        assert.equal(lines.length, story.length);
      }
      const listed = kubectl('get', 'events', '--field-selector', 'involvedObject.kind=Lease');
      t.diagnostic(listed);
      assert.match(listed, /lease\/leasehold\s+node-a steps down: asked to end by SIGTERM/);
    });

    test('a person sees how often something has happened, and since when', async (t) => {
      const uid = stringAt(await plane.admin.get(LEASE_PATH), 'metadata', 'uid') ?? '';
      assert.notEqual(uid, '');
      const stored = listAt(await plane.admin.get(eventsPath(NAMESPACE)), 'items') ?? [];
      const event = stored.find((each) => stringAt(each, 'reason') === 'Serving' && stringAt(each, 'regarding', 'uid') === uid);
      const series = { count: 12, lastObservedTime: new Date().toISOString().replace(/Z$/, '000Z') };
      await plane.admin.patch(`${eventsPath(NAMESPACE)}/${stringAt(event, 'metadata', 'name') ?? ''}`, { series });
      const lines = eventLines(kubectl('describe', 'lease', 'leasehold'));
      t.diagnostic(lines.join('\n'));
      assert.ok(
        lines.some((line) => /^Normal \| Serving \| \d+s \(x12 over \d+s\)/.test(line)),
        lines.join('\n'),
      );
    });
  });
});
