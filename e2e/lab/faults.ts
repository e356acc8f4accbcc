/**
 * Every fault that the lab knows, with what is expected of it: one table.
 *
 * The bounds come from the rules (fault.ts). On L2 nothing lingers, so a gap is the price of never having two nodes that
 * answer: there the address is gone for as long as the API is silent beyond a tenure, and for a takeover. An API that is
 * only slow costs nothing while renewals arrive within their deadline. Routed, a silent API moves nothing: the same node
 * serves at the end. Whatever is done, the invariants of the watcher and of the wire hold, and undoing a fault moves
 * nothing.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { ip } from '../../test/support/namespaces.ts';
import type { Weather } from './api-proxy.ts';
import { Elector } from './elector.ts';
import {
  everybody,
  handedOver,
  isReady,
  l2,
  MOVE_MS,
  movedLate,
  NOTHING_MS,
  reconnect,
  routed,
  startAgent,
  stopPolitely,
} from './fault.ts';
import type { Fault, LabStage, Untried } from './fault.ts';
import { holderOf } from './leases.ts';
import {
  addStranger,
  flushPacketFilter,
  hasPacketFilter,
  plugIn,
  removeStranger,
  restartInterface,
  STRANGER_MAC,
  unplug,
} from './network.ts';
import { PROVIDER_FAULTS } from './provider-faults.ts';
import { servedBy, until } from './stage.ts';

/**
 * On L2 a dead agent's address answers until its fence closes, 0.11 s before another may begin; the rest is for a busy
 * machine.
 */
const FENCE_GAP_MS = 1_500;
/** On L2 a holder that hears nothing of the API lets go when its tenure ends, a second before another may begin. */
const GIVEN_UP_MS = 3_000;
/** On L2 a successor has to hear of the release, to acquire the Lease, and to ask the segment for 25 ms. */
const POLITE_MS = 1_000;
/** What a cut cable may cost with a lease duration of 0.6 s. */
const FAST_MOVE_MS = 2_000;
/** When the API is back after a silence, the Lease has long run out; until then a tenure of 2 s went on. */
const AFTER_SILENCE_MS = 1_500;
/** Renewals put back what is gone, each half a second. */
const PUT_BACK_MS = 1_000;
/** A holder that was refused the address tries again each second. */
const STRANGER_GONE_MS = 2_500;
/** Until a client is told that the node it is connected to has stopped. */
const RESET_MS = 500;
/** What a kube-apiserver takes from its start to its first answer, on a machine that is busy. */
const API_START_MS = 6_000;

/** Lets agents meet bad weather on their way to the API server for a while. */
async function weatherFor(stage: LabStage, nodes: readonly string[], weather: Weather, ms: number): Promise<void> {
  stage.leases.setWeather(nodes, weather);
  await pause(ms);
  stage.leases.setWeather(nodes, { is: 'fair' });
}

async function apiServerAwayFor(stage: LabStage, ms: number): Promise<void> {
  await stage.leases.plane.killApiserver();
  await pause(ms);
  await stage.leases.plane.startApiserver();
}

/** Another node serves while the address is still bound on this one and says nothing; it goes by itself in the end. */
async function movedBehindFence(stage: LabStage, holder: string): Promise<void> {
  await until('another node serves', () => servedBy(stage) === stage.holder() && stage.holder() !== holder);
  if (!stage.boundOn().includes(holder)) throw new Error('the address was gone before another node served: nothing is shown by that');
  await until('the kernel has taken the address off', () => !stage.boundOn().includes(holder));
}

async function stopWhileListenedTo(stage: LabStage, holder: string): Promise<void> {
  const listener = await stage.startListener();
  const stoppedAtMs = monotonicMs();
  await stopPolitely(stage, holder);
  const { atMs, how } = await listener.ended();
  if (how !== 'ECONNRESET') throw new Error(`the connection of the client that only listened ended otherwise than by a reset: ${how}`);
  if (atMs - stoppedAtMs > RESET_MS)
    throw new Error(`the client that only listened was reset only after ${Math.round(atMs - stoppedAtMs)}ms`);
}

/**
 * Lets a machine of somebody else's say that the address is its own, and demands that whoever looks at our agents learns
 * which it is.
 */
async function letStrangerAnnounce(stage: LabStage): Promise<void> {
  const beganAt = new Date().toISOString();
  addStranger();
  try {
    const names = (text: string): boolean => text.includes(STRANGER_MAC);
    const hasLogged = (node: string): boolean =>
      stage.agent(node)?.log.some(({ time, event, msg }) => time >= beganAt && event === 'conflict' && names(msg)) === true;
    await until('an agent has logged the conflict and the hardware address', () => stage.nodes.some(hasLogged), 5_000);
    const isShown = async (): Promise<boolean> => (await Promise.all(stage.nodes.map((node) => stage.status(node)))).some(names);
    await until('a status names the hardware address', isShown, 5_000);
    const namedAtMs = monotonicMs();
    await pause(3_000);
    const beside = stage.attempts.filter(({ atMs, by }) => atMs > namedAtMs && by !== null).length;
    if (beside > 0) throw new Error(`one of ours answered ${beside} times beside the stranger`);
  } finally {
    removeStranger();
  }
}

/** Lets the prober of some nodes see bad and good answers in turn, while their services go on serving. */
async function flap(stage: LabStage, nodes: readonly string[]): Promise<void> {
  for (const health of ['ill', 'well', 'ill', 'well', 'ill', 'well'] as const) {
    for (const node of nodes) stage.feign(node, health);
    await pause(health === 'ill' ? 2_200 : 400);
  }
}

async function restartAll(stage: LabStage): Promise<void> {
  for (const node of stage.nodes) {
    await stopPolitely(stage, node);
    stage.startAgent(node);
    await isReady(stage, node);
  }
}

/** Addresses that have nothing to do with ours come and go. */
async function addUnrelatedAddresses(stage: LabStage): Promise<void> {
  for (let round = 0; round < 12; round += 1) {
    const address = `198.51.100.${round + 1}/32`;
    for (const node of stage.nodes) ip(`-n ${node} addr add ${address} dev eth0`);
    await pause(Math.random() * 400);
    for (const node of stage.nodes) ip(`-n ${node} addr del ${address} dev eth0`);
  }
}

/** An elector of another program comes to hold the Lease, and gives it up some time after our agents have seen that. */
async function letElectorLead(
  stage: LabStage,
  begin: (elector: Elector) => Promise<void>,
  end: (elector: Elector) => Promise<void>,
): Promise<void> {
  const elector = new Elector(stage.leases.plane.admin);
  try {
    await begin(elector);
    await until('the elector leads', () => elector.isLeading);
    await pause(4_000);
    if (holderOf(stage.leases.lease()) !== elector.identity)
      throw new Error('one of ours has taken the Lease from an elector that renewed it');
    await end(elector);
  } finally {
    await elector.kill();
  }
}

export const FAULTS: readonly (Fault | Untried)[] = [
  // The agent's process.
  {
    name: 'agent stopped politely (SIGTERM)',
    restarts: true,
    expected: {
      ...handedOver(NOTHING_MS, 'another node'),
      l2: l2(POLITE_MS, 'another node'),
      'l2-fast': l2(POLITE_MS, 'another node'),
    },
    strike: stopPolitely,
    mend: startAgent,
  },
  {
    name: 'agent killed (SIGKILL)',
    restarts: true,
    expected: {
      ...handedOver(NOTHING_MS, 'another node'),
      l2: l2(FENCE_GAP_MS, 'another node'),
      'l2-fast': l2(FAST_MOVE_MS, 'another node'),
    },
    strike: (stage, holder) => stage.killAgent(holder),
    mend: startAgent,
  },
  {
    name: 'agent frozen for 6 s (SIGSTOP, SIGCONT)',
    expected: {
      routed: routed(NOTHING_MS, 'another node'),
      l2: l2(FENCE_GAP_MS, 'another node'),
      'l2-fast': l2(FAST_MOVE_MS, 'another node'),
    },
    strike: async (stage, holder) => {
      stage.freezeAgent(holder);
      await pause(6_000);
      stage.thawAgent(holder);
    },
  },
  {
    name: 'agent killed, its node left alone',
    restarts: true,
    expected: { l2: l2(FENCE_GAP_MS, 'another node'), 'l2-fast': l2(FAST_MOVE_MS, 'another node') },
    strike: async (stage, holder) => {
      await stage.killAgent(holder);
      await movedBehindFence(stage, holder);
    },
    mend: startAgent,
  },
  {
    // Each change of an address lets the kernel look later for the lifetimes that are over.
    name: 'agent frozen for 6 s, while unrelated addresses come and go',
    expected: { l2: l2(FENCE_GAP_MS, 'another node'), 'l2-fast': l2(FAST_MOVE_MS, 'another node') },
    strike: async (stage, holder) => {
      stage.freezeAgent(holder);
      for (const untilMs = monotonicMs() + 6_000; monotonicMs() < untilMs;) await addUnrelatedAddresses(stage);
      stage.thawAgent(holder);
    },
  },
  {
    name: 'agent frozen until nothing is left of the address, and thawed late',
    expected: { l2: l2(FENCE_GAP_MS, 'another node'), 'l2-fast': l2(FAST_MOVE_MS, 'another node') },
    strike: async (stage, holder) => {
      stage.freezeAgent(holder);
      await movedBehindFence(stage, holder);
      await pause(2_000);
      stage.thawAgent(holder);
      await until('the thawed agent stands by', async () => (await stage.role(holder)) === 'standby');
    },
  },
  {
    name: 'agent stopped politely, while a client only listens',
    restarts: true,
    expected: { l2: l2(POLITE_MS, 'another node') },
    strike: stopWhileListenedTo,
    mend: startAgent,
  },
  {
    name: 'agent killed and started again at once',
    restarts: true,
    expected: { routed: routed(NOTHING_MS, 'same node', 1), l2: l2(1_500, 'same node') },
    strike: async (stage, holder) => {
      const transitions = stage.transitions();
      await stage.killAgent(holder);
      stage.startAgent(holder);
      await until('a new term has begun', () => stage.transitions() > transitions);
    },
  },
  {
    name: 'second agent started on the same node',
    expected: { routed: routed(NOTHING_MS, 'same term', 1), l2: l2(NOTHING_MS, 'same term') },
    strike: async (stage, holder) => {
      const second = stage.startSecondAgent(holder);
      await pause(4_000);
      second.signal('SIGTERM');
      const code = await second.ended;
      if (code !== 0) throw new Error(`the second agent ended with ${code} instead of 0`);
    },
  },
  {
    name: 'rolling restart of all agents',
    restarts: true,
    // Each of the three may be the one that has it when its turn comes.
    expected: { ...handedOver(NOTHING_MS, 'any node', 3, 3), l2: l2(3_000, 'any node') },
    strike: restartAll,
  },
  {
    name: 'all agents killed and started again at once',
    restarts: true,
    expected: { routed: routed(4_000, 'any node', 3), l2: l2(4_000, 'any node') },
    strike: async (stage) => {
      const transitions = stage.transitions();
      await Promise.all(stage.nodes.map((node) => stage.killAgent(node)));
      for (const node of stage.nodes) stage.startAgent(node);
      await until('a new term has begun', () => stage.transitions() > transitions);
    },
  },

  // The node and its network.
  {
    name: 'node cut off from everything, and back',
    expected: {
      ...movedLate(MOVE_MS, 'another node'),
      l2: l2(MOVE_MS, 'another node'),
      'l2-fast': l2(FAST_MOVE_MS, 'another node'),
    },
    strike: (stage, holder) => stage.cutOff(holder),
    mend: reconnect,
  },
  {
    name: 'node cut off from the Kubernetes API only, and back',
    expected: {
      routed: routed(NOTHING_MS, 'another node'),
      l2: l2(GIVEN_UP_MS, 'another node'),
      'l2-fast': l2(FAST_MOVE_MS, 'another node'),
    },
    strike: (stage, holder) => stage.cutPath(holder, 'kubernetes'),
    mend: (stage, holder) => stage.mendPath(holder, 'kubernetes'),
  },
  {
    name: 'cable pulled for 1 s',
    expected: { routed: routed(MOVE_MS, 'any node'), l2: l2(MOVE_MS, 'any node') },
    strike: async (_, holder) => {
      unplug(holder);
      await pause(1_000);
      plugIn(holder);
    },
  },
  {
    name: 'interface taken down and up',
    expected: { routed: routed(MOVE_MS, 'any node'), l2: l2(MOVE_MS, 'any node') },
    strike: (_, holder) => restartInterface(holder),
  },
  {
    name: 'address removed by hand',
    expected: { routed: routed(1_000, 'same term', 1), l2: l2(1_000, 'same term') },
    strike: async (stage, holder) => {
      ip(`-n ${holder} addr del ${stage.address}/32 dev eth0`);
      await until('it is bound again', () => stage.boundOn(stage.address).includes(holder));
    },
  },
  {
    name: 'packet filter of the holder flushed',
    expected: { l2: l2(NOTHING_MS, 'same term') },
    strike: async (stage, holder) => {
      flushPacketFilter(holder, stage.fenceTable);
      await until('it is put back', () => hasPacketFilter(holder, stage.fenceTable), PUT_BACK_MS);
    },
  },
  {
    name: 'stranger on the segment announces the address, for 3 s',
    restarts: true,
    expected: { l2: l2(3_000 + STRANGER_GONE_MS, 'any node') },
    strike: letStrangerAnnounce,
    leavesMarks: true,
  },
  {
    name: 'unrelated addresses added and removed on every node',
    expected: { routed: routed(NOTHING_MS, 'same term', 1), l2: l2(NOTHING_MS, 'same term') },
    strike: addUnrelatedAddresses,
  },
  {
    name: 'probes of the holder flap',
    restarts: true,
    expected: { routed: routed(NOTHING_MS, 'another node'), l2: l2(2_000, 'another node') },
    strike: (stage, holder) => flap(stage, [holder]),
    leavesMarks: true,
  },
  {
    name: 'probes of every node flap at once',
    restarts: true,
    expected: { routed: routed(NOTHING_MS, 'any node') },
    strike: (stage) => flap(stage, everybody(stage)),
    leavesMarks: true,
  },
  {
    name: 'clock of the node stepped',
    cannot: 'a network namespace has no wall clock of its own, and this machine keeps its own',
    expected: { routed: routed(NOTHING_MS, 'same term', 1) },
  },

  // The Kubernetes API.
  {
    name: 'API server killed, and back after 6 s',
    expected: { routed: routed(NOTHING_MS, 'same node', 1) },
    strike: (stage) => apiServerAwayFor(stage, 6_000),
  },
  {
    name: 'API server away for 45 s',
    expected: { routed: routed(NOTHING_MS, 'same node', 1), l2: l2(45_000 + API_START_MS + AFTER_SILENCE_MS, 'any node') },
    strike: (stage) => apiServerAwayFor(stage, 45_000),
  },
  {
    name: 'API server frozen for 6 s',
    // When it goes on, it carries out renewals that were given up long before.
    expected: { routed: routed(NOTHING_MS, 'same node', 1), l2: l2(6_000 + AFTER_SILENCE_MS, 'any node') },
    strike: async (stage) => {
      stage.leases.plane.freezeApiserver();
      await pause(6_000);
      stage.leases.plane.thawApiserver();
    },
  },
  ...[500, 2_000, 5_000].map((ms): Fault => ({
    name: `API ${ms / 1_000} s slow, for 6 s`,
    expected: {
      routed: routed(NOTHING_MS, 'same node', 1),
      // Half a second is still within the deadline of each renewal. Of longer ones an acquisition that was given up may be
      // carried out at the very end, after which everybody waits for a whole duration.
      l2: ms === 500 ? l2(NOTHING_MS, 'same term') : l2(6_000 + MOVE_MS, 'any node'),
    },
    strike: (stage) => weatherFor(stage, everybody(stage), { is: 'slow', ms }, 6_000),
  })),
  {
    name: 'API answers 429 (Retry-After 1 s), for 6 s',
    expected: { routed: routed(NOTHING_MS, 'same node', 1), l2: l2(6_000 + AFTER_SILENCE_MS, 'any node') },
    strike: (stage) => weatherFor(stage, everybody(stage), { is: 'storm', status: 429, retryAfterS: 1 }, 6_000),
  },
  {
    name: 'API answers 500, for 6 s',
    expected: { routed: routed(NOTHING_MS, 'same node', 1), l2: l2(6_000 + AFTER_SILENCE_MS, 'any node') },
    strike: (stage) => weatherFor(stage, everybody(stage), { is: 'storm', status: 500 }, 6_000),
  },
  {
    name: 'connections of the holder to the API half-open and silent',
    expected: { routed: routed(NOTHING_MS, 'another node'), l2: l2(GIVEN_UP_MS, 'another node') },
    strike: (stage, holder) => stage.leases.setWeather([holder], { is: 'silent' }),
    mend: (stage, holder) => stage.leases.setWeather([holder], { is: 'fair' }),
  },
  {
    name: 'every connection to the API cut, for 1 s',
    expected: { routed: routed(NOTHING_MS, 'same term', 1), l2: l2(NOTHING_MS, 'same term') },
    strike: (stage) => weatherFor(stage, everybody(stage), { is: 'cut' }, 1_000),
  },

  // The Lease.
  {
    name: 'Lease deleted',
    expected: { routed: routed(NOTHING_MS, 'any node'), l2: l2(MOVE_MS, 'any node') },
    strike: async (stage) => {
      await stage.leases.delete();
      await until('it is there again', () => stage.holder() !== null);
    },
  },
  {
    name: 'Lease deleted and made anew by its manifest',
    expected: { routed: routed(NOTHING_MS, 'any node'), l2: l2(MOVE_MS, 'any node') },
    strike: async (stage) => {
      await stage.leases.delete();
      await stage.leases.recreate();
      await until('it is held again', () => stage.holder() !== null);
    },
  },
  {
    name: 'Lease emptied by hand',
    expected: { routed: routed(NOTHING_MS, 'any node'), l2: l2(MOVE_MS, 'any node') },
    strike: async (stage) => {
      await stage.leases.edit({ spec: { holderIdentity: '' } });
      await until('it is held again', () => stage.holder() !== null);
    },
  },
  {
    name: 'Lease given to nobody known by hand',
    expected: { routed: routed(NOTHING_MS, 'any node'), l2: l2(MOVE_MS + 1_000, 'any node') },
    strike: async (stage) => {
      await stage.leases.edit({ spec: { holderIdentity: 'somebody' } });
      await until('one of ours holds it again', () => stage.nodes.includes(stage.holder() ?? ''));
    },
  },
  {
    name: 'agent stopped politely beside a client-go candidate',
    restarts: true,
    expected: { routed: routed(NOTHING_MS, 'another node') },
    strike: async (stage, holder) => {
      const elector = new Elector(stage.leases.plane.admin);
      elector.start();
      await stopPolitely(stage, holder);
      await until('one of ours serves', () => servedBy(stage) === stage.holder());
      await elector.kill();
    },
    mend: startAgent,
  },
  {
    name: 'client-go candidate takes the Lease while our agents cannot reach the API',
    expected: { routed: routed(NOTHING_MS, 'any node') },
    strike: (stage) =>
      letElectorLead(
        stage,
        async (elector) => {
          stage.leases.setWeather(everybody(stage), { is: 'cut' });
          elector.start();
          await until('the elector leads', () => elector.isLeading);
          stage.leases.setWeather(everybody(stage), { is: 'fair' });
        },
        (elector) => elector.stop(),
      ),
  },
  {
    name: 'Lease deleted and made by a client-go candidate, which is not ours to take',
    expected: { routed: routed(NOTHING_MS, 'any node') },
    strike: (stage) =>
      letElectorLead(
        stage,
        async (elector) => {
          await stage.leases.delete();
          elector.start();
        },
        async (elector) => {
          await elector.kill();
          // Longer than its lease duration: what another program has made is not taken even when it has run out.
          await pause(4_000);
          if (holderOf(stage.leases.lease()) !== elector.identity) throw new Error('a Lease of another program was taken');
          await stage.leases.delete();
        },
      ),
  },
  ...PROVIDER_FAULTS,
];
