/**
 * The faults of the provider that routes an address, and of the way to it.
 *
 * What any provider can meet with is done through its stand-in, in words that fit each of them; the rest is said to be of one
 * provider by what is expected of it.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Exchange, Fault as HttpFault } from '../../test/support/http-stand-in.ts';
import type { Trouble } from '../../test/support/stand-ins/stand-in.ts';
import {
  betweenChanges,
  cutPathsFor,
  everybody,
  foundOut,
  handedOver,
  MOVE_MS,
  movedAtSecondTry,
  movedLate,
  nextHolder,
  NOTHING_MS,
  others,
  reconnect,
  routed,
  startAgent,
  stopPolitely,
  trustedAgain,
  unmoved,
} from './fault.ts';
import type { Fault, LabStage } from './fault.ts';
import { placeOf } from './network.ts';
import { servedBy, until } from './stage.ts';

/** After what a provider says of itself it is asked again within so long. */
const ASKED_AGAIN_MS = { busy: 2_000, 'rate-limited': 4_000, unavailable: 2_000 } as const;
/** Long enough for something to be done while a change is under way. */
const LONG_STEP_MS = 1_000;
/** Until a third agent may follow, whose predecessor is dead. */
const SUCCEEDED_MS = 5_000;

async function troubleFor(stage: LabStage, trouble: Trouble, ms: number): Promise<void> {
  stage.provider.trouble(trouble);
  await pause(ms);
  stage.provider.trouble(null);
}

/** Takes the holder's node off the network while the provider is in trouble, which lasts for some time of the successor's. */
function cutOffWhile(trouble: keyof typeof ASKED_AGAIN_MS, what: string, ms: number): Fault {
  return {
    name: `node cut off, provider ${what} for ${ms / 1_000} s`,
    expected: movedAtSecondTry(MOVE_MS + ms + ASKED_AGAIN_MS[trouble], 'another node'),
    strike: async (stage, holder) => {
      stage.provider.trouble(trouble);
      stage.cutOff(holder);
      await nextHolder(stage, holder);
      await pause(ms);
      stage.provider.trouble(null);
    },
    mend: reconnect,
  };
}

/** Lets a provider do what only it does, while something is done. */
async function whileProvider(stage: LabStage, quirk: string, work: () => Promise<void>): Promise<void> {
  const set = stage.provider.quirks?.[quirk];
  if (set === undefined) throw new Error(`${stage.provider.name} never ${quirk}`);
  set(true);
  await work();
  set(false);
}

/** Runs something while each read takes the provider 1 s. */
async function whileReadsAreSlow(stage: LabStage, work: () => Promise<void>): Promise<void> {
  stage.provider.http.faultFor = ({ method }) => (method === 'GET' ? { is: 'delay', ms: 1_000, when: 'after' } : null);
  await work();
  stage.provider.trouble(null);
}

/**
 * Kills the holder, freezes its successor after it has acquired the Lease and before it writes to the provider, and thaws it
 * when a third agent serves: by then it may write nothing.
 */
async function freezeSuccessorBeforeWrite(stage: LabStage, holder: string): Promise<void> {
  const { http } = stage.provider;
  const before = http.exchanges.length;
  let successor = '';
  await whileReadsAreSlow(stage, async () => {
    await stage.killAgent(holder);
    successor = await nextHolder(stage, holder);
    const isReading = (): boolean => http.exchanges.slice(before).some(({ from }) => from === placeOf(successor).ip);
    await until('its claim has begun with a read', isReading);
    stage.freezeAgent(successor);
    await nextHolder(stage, holder, successor);
  });
  await thawWhenAnotherServes(stage, successor);
}

/** Kills the holder, and does something to its successor between its first change, which has been accepted, and the next. */
async function betweenTheChanges(stage: LabStage, holder: string, strike: (successor: string) => Promise<void> | void): Promise<string> {
  const { moveMs, acceptedCount } = stage.provider;
  stage.provider.moveMs = LONG_STEP_MS;
  await stage.killAgent(holder);
  const successor = await nextHolder(stage, holder);
  await until('its first change is accepted', () => stage.provider.acceptedCount > acceptedCount);
  await strike(successor);
  await nextHolder(stage, holder, successor);
  stage.provider.moveMs = moveMs;
  return successor;
}

/** Starts an agent wherever none runs. */
function startMissing(stage: LabStage): void {
  for (const node of stage.nodes) if (stage.agent(node)?.isRunning !== true) stage.startAgent(node);
}

/** Thaws an agent whose tenure is over, which may write nothing any more. */
async function thawWhenAnotherServes(stage: LabStage, node: string): Promise<void> {
  const sent = stage.provider.writes(node);
  await until('a third agent serves', () => servedBy(stage) === stage.holder() && stage.owner() === stage.holder());
  stage.thawAgent(node);
  await until('the thawed agent stands by', async () => (await stage.role(node)) === 'standby');
  await pause(1_000);
  const more = stage.provider.writes(node) - sent;
  if (more > 0) throw new Error(`the agent whose tenure is over has sent ${more} writes to the provider`);
}

/** Answers that the floating IP is somewhere else. */
function wrongOwnerFault(ip: string, server: number): (exchange: Exchange) => HttpFault | null {
  return ({ method, path }) => {
    const [, id] = /^\/v1\/floating_ips\/(\d+)$/.exec(path) ?? [];
    if (method !== 'GET' || id === undefined) return null;
    return { is: 'answer', status: 200, body: { floating_ip: { id: Number(id), ip, name: 'wrong', blocked: false, server } } };
  };
}

export const PROVIDER_FAULTS: readonly Fault[] = [
  {
    name: 'agent killed, its successor frozen between acquisition and its write',
    restarts: true,
    expected: handedOver(NOTHING_MS, 'another node', 3),
    strike: freezeSuccessorBeforeWrite,
    mend: startAgent,
  },
  {
    name: 'agent killed, its successor killed between the two changes of a move',
    restarts: true,
    expected: betweenChanges(SUCCEEDED_MS, 'another node'),
    strike: async (stage, holder) => {
      await betweenTheChanges(stage, holder, (successor) => stage.killAgent(successor));
    },
    mend: startMissing,
  },
  {
    name: 'agent killed, its successor frozen between the two changes of a move',
    restarts: true,
    expected: betweenChanges(SUCCEEDED_MS, 'another node'),
    strike: async (stage, holder) => {
      const successor = await betweenTheChanges(stage, holder, (node) => stage.freezeAgent(node));
      await thawWhenAnotherServes(stage, successor);
    },
    mend: startAgent,
  },
  {
    name: 'node cut off from the provider only, for 6 s',
    expected: unmoved('same term'),
    strike: (stage, holder) => cutPathsFor(stage, [holder], 'provider', 6_000),
  },
  {
    name: 'agent stopped politely, provider takes 10 s',
    restarts: true,
    expected: { routed: routed(NOTHING_MS, 'another node') },
    strike: async (stage, holder) => {
      const { moveMs } = stage.provider;
      stage.provider.moveMs = 10_000;
      await stopPolitely(stage, holder);
      await until('it is routed elsewhere', () => stage.owner() !== holder);
      stage.provider.moveMs = moveMs;
    },
    mend: startAgent,
  },
  cutOffWhile('busy', 'does something else to the address', 2_000),
  cutOffWhile('rate-limited', 'limits the rate', 3_000),
  cutOffWhile('unavailable', 'is unavailable', 2_000),
  {
    name: 'node cut off, answer to the first change lost',
    expected: movedLate(MOVE_MS + 1_000, 'another node'),
    strike: (stage, holder) => {
      stage.provider.trouble('answer-lost', 1);
      stage.cutOff(holder);
    },
    mend: (stage, holder) => {
      stage.provider.trouble(null);
      stage.reconnect(holder);
    },
  },
  {
    name: 'node cut off, provider answers 504 after it has accepted',
    expected: { routed: routed(MOVE_MS + 1_000, 'another node') },
    strike: (stage, holder) => {
      stage.provider.http.failNext({ is: 'answer', status: 504, when: 'after' }, ({ method }) => method === 'POST');
      stage.cutOff(holder);
    },
    mend: (stage, holder) => {
      stage.provider.trouble(null);
      stage.reconnect(holder);
    },
  },
  {
    name: 'node cut off, first move of the provider fails',
    expected: movedAtSecondTry(MOVE_MS + 2_000, 'another node'),
    strike: async (stage, holder) => {
      const accepted = stage.provider.acceptedCount;
      stage.provider.trouble('move-fails');
      stage.cutOff(holder);
      await until('a move has begun', () => stage.provider.acceptedCount > accepted);
      stage.provider.trouble(null);
    },
    mend: reconnect,
  },
  {
    name: 'agent killed, its successor killed while the provider moves the address, which takes 6 s',
    restarts: true,
    expected: { 'hetzner-robot': routed(NOTHING_MS, 'another node', 3) },
    strike: async (stage, holder) => {
      const { moveMs, acceptedCount } = stage.provider;
      stage.provider.moveMs = 6_000;
      await stage.killAgent(holder);
      const successor = await nextHolder(stage, holder);
      await until('its move has begun', () => stage.provider.acceptedCount > acceptedCount);
      await stage.killAgent(successor);
      await nextHolder(stage, holder, successor);
      stage.provider.moveMs = moveMs;
    },
    mend: startMissing,
  },
  {
    name: 'agent stopped politely, while the provider replaces refresh tokens at each use',
    restarts: true,
    expected: { netcup: routed(NOTHING_MS, 'another node') },
    strike: (stage, holder) =>
      whileProvider(stage, 'replaces refresh tokens', async () => {
        await stopPolitely(stage, holder);
        const successor = await nextHolder(stage, holder);
        await until('it is routed there', () => stage.owner() === successor);
      }),
    mend: startAgent,
  },
  {
    name: 'provider takes back refresh tokens that it replaces, for 8 s',
    expected: { netcup: routed(NOTHING_MS, 'same term', 1) },
    strike: (stage) => whileProvider(stage, 'takes back refresh tokens that it replaces', () => pause(8_000)),
    leavesMarks: true,
  },
  {
    name: 'provider names a wrong owner, for 6 s',
    expected: { routed: routed(NOTHING_MS, 'same term', 1) },
    strike: async (stage, holder) => {
      const [other = ''] = others(stage, holder);
      stage.provider.http.faultFor = wrongOwnerFault(stage.address, placeOf(other).server);
      await pause(6_000);
      stage.provider.trouble(null);
    },
  },
  {
    name: 'address routed elsewhere by hand',
    expected: foundOut('same term'),
    strike: async (stage, holder) => {
      const [other = ''] = others(stage, holder);
      stage.provider.move(stage.address, other);
      await until('it is routed back', () => stage.owner() === holder);
    },
    // Its holder is patient with whoever takes it away again soon.
    leavesMarks: true,
  },
  {
    name: 'credentials revoked, for 6 s',
    expected: unmoved('same term'),
    strike: (stage) => troubleFor(stage, 'unauthorized', 6_000),
    leavesMarks: true,
  },
  {
    name: 'agent stopped politely while the credentials are revoked, for 3 s',
    restarts: true,
    expected: trustedAgain(NOTHING_MS, 'another node', 3),
    strike: async (stage, holder) => {
      const stopped = stopPolitely(stage, holder);
      await troubleFor(stage, 'unauthorized', 3_000);
      await stopped;
    },
    mend: startAgent,
    leavesMarks: true,
  },
  {
    name: 'provider silent towards everybody, for 6 s',
    expected: unmoved('same term'),
    strike: (stage) => cutPathsFor(stage, everybody(stage), 'provider', 6_000),
  },
];
