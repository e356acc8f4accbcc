/**
 * A provider that takes several lease durations to answer a move, as Hetzner Robot does: nothing else waits for it.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import pino from 'pino';
import { startAgent } from '../../agent/assemble.ts';
import type { Agent } from '../../agent/assemble.ts';
import { loadSettings } from '../../agent/config/settings.ts';
import { Credentials } from '../../agent/kube/credentials.ts';
import { KubeTransport } from '../../agent/kube/transport.ts';
import { askFor } from '../../agent/probe/prober.ts';
import { createProviderHttp } from '../../agent/provider/http.ts';
import { buildAgent } from '../../scripts/build.ts';
import { AgentWorld, IP } from '../support/agent-world.ts';
import { eventually } from '../support/eventually.ts';
import { NO_HOST } from '../support/host.ts';
import { MemoryLink, MemoryNode } from '../support/memory-link.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { OUTBOUND } from '../support/outbound.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { openHetznerRobot } from '../support/stand-ins/hetzner-robot.ts';
import type { ProviderStandIn } from '../support/stand-ins/stand-in.ts';

const DURATION_MS = 1_500;
const TIMINGS = { LEASE_DURATION: `${DURATION_MS}ms`, RENEW_DEADLINE: '1s', RENEW_INTERVAL: '250ms' };
const MOVE_MS = 4 * DURATION_MS;
const UNSET = { HCLOUD_TOKEN: undefined, HCLOUD_ENDPOINT: undefined, HCLOUD_METADATA_ENDPOINT: undefined };

/** Another node's agent, within this process, that would take over as soon as it may. */
function startRival(world: AgentWorld, robot: ProviderStandIn): Agent {
  const settings = loadSettings({
    env: {
      NODE_NAME: 'node-b',
      KUBECONFIG: join(world.folder, 'kubeconfig'),
      ADDRESSES: IP,
      PROVIDER_TIMEOUT: '10s',
      ...TIMINGS,
      ...robot.env('node-b'),
    },
    hostname: 'node-b',
    readFile: () => '',
    serviceAccountFolder: '/none',
  });
  const clock = REAL_CLOCK;
  const kube = new KubeTransport(new Credentials(settings.kubernetes, clock), clock, OUTBOUND);
  return startAgent(settings, {
    clock,
    random: Math.random,
    identity: 'node-b_boot_0002',
    version: 'test',
    network: {
      kube,
      kubeAside: kube,
      provider: createProviderHttp(clock, OUTBOUND),
      ask: (question) => askFor(question, OUTBOUND),
      serve: () => ({ changed: () => undefined, close: () => undefined }),
      close: () => kube.close(),
    },
    host: NO_HOST,
    link: new MemoryLink(new MemoryNode(clock), [IP]),
    establishResidence: (_signal, onReport) => {
      onReport({ residence: 'alone', reason: 'no other agent runs on this node' });
      return Promise.resolve();
    },
    log: { logger: pino({ level: 'silent' }), dropped: () => 0, lastWords: (say) => say() },
    usage: () => ({ cpuSeconds: 0, residentBytes: 0, heapUsedBytes: 0, openFileDescriptors: 0, startedAtSeconds: 0 }),
    conceal: (text) => text,
    onDefect: (error) => {
      throw error;
    },
  });
}

describe('a move that the provider answers after several lease durations', needsNamespaces(), () => {
  let folder: string;
  let bundle: string;
  let world: AgentWorld;
  let robot: ProviderStandIn;
  let rival: Agent | null = null;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-slow-'));
    bundle = await buildAgent(join(folder, 'dist'));
  });
  after(() => rmSync(folder, { recursive: true }));
  beforeEach(async () => {
    world = await AgentWorld.open();
    const node = (name: string, ip: string): { name: string; ip: string; mac: string } => ({ name, ip, mac: '86:00:00:aa:bb:01' });
    const nodes = [node('node-a', '127.0.0.1'), node('node-b', '192.0.2.12')];
    robot = await openHetznerRobot({ addresses: [IP], nodes, moveMs: MOVE_MS });
    robot.move(IP, 'node-b');
  });
  afterEach(async () => {
    rival?.shutdown('the test ends');
    // So that it need not linger.
    robot.move(IP, 'node-a');
    await rival?.stopped;
    rival = null;
    await world.close();
    await robot.close();
  });

  test('holds up no renewal, and nobody takes over meanwhile', async () => {
    const stored: { readonly atMs: number; readonly holder: string; readonly transitions: number }[] = [];
    world.kube.onStored = ({ spec }) =>
      stored.push({ atMs: performance.now(), holder: spec.holderIdentity ?? '', transitions: spec.leaseTransitions ?? 0 });
    world.start(bundle, { ...UNSET, ...robot.env('node-a'), ...TIMINGS });
    await eventually('the move is under way', () => robot.acceptedCount === 1);
    const begun = stored.length;
    const other = startRival(world, robot);
    rival = other;
    await eventually('the rival stands by', () => other.contender.life.is === 'standby' && other.contender.observation !== null);
    await eventually('it serves', async () => (await world.status())?.role === 'serving', MOVE_MS + 10_000);
    const during = stored.slice(begun);
    assert.ok(during.length >= MOVE_MS / DURATION_MS, `${during.length} renewals`);
    const terms = new Set(stored.slice(begun - 1).map(({ holder, transitions }) => `${holder} ${transitions}`));
    assert.equal(terms.size, 1, [...terms].join());
    assert.match([...terms][0] ?? '', /^node-a_/);
    assert.equal(other.contender.life.is, 'standby');
    assert.equal(robot.ownerOf(IP), 'node-a');
    assert.equal(robot.writes(), 1);
  });

  test('is left to itself by a holder that is asked to end, which goes on serving until it has ended', async () => {
    const agent = world.start(bundle, { ...UNSET, ...robot.env('node-a'), ...TIMINGS });
    await eventually('the move is under way', () => robot.acceptedCount === 1);
    agent.signal('SIGTERM');
    await eventually('the Lease is released', () => (world.kube.lease()?.spec.holderIdentity ?? '') === '');
    assert.equal(world.rows().length, 1, 'it lingers: Robot goes on with what it was asked for');
    await eventually('the move has ended', () => robot.ownerOf(IP) === 'node-a', MOVE_MS + 10_000);
    robot.move(IP, 'node-b');
    assert.equal(await agent.ended, 0);
    assert.equal(world.rows().length, 0);
    assert.equal(robot.writes(), 1);
  });
});
