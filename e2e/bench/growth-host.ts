/**
 * One process that runs many contenders, each with a Lease and a watch of its own, over one transport: for measuring what a
 * further one costs. The product does not offer it yet.
 *
 * Real here: the contenders, their loops, stores and watches, and the HTTP. Imitated: the interface is in memory, there is
 * nothing to ask for the way of an address, and no probe is run. They are started one after the other, 20 ms apart.
 * Arguments: a kubeconfig, the names of the Leases. Tells its parent how many hold.
 */
import { lookup } from 'node:dns/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { roleOf } from '../../agent/contender/state.ts';
import { Credentials } from '../../agent/kube/credentials.ts';
import { KubeLeaseStore } from '../../agent/kube/lease-store.ts';
import { KubeLeaseWatch } from '../../agent/kube/lease-watch.ts';
import { KubeTransport } from '../../agent/kube/transport.ts';
import { boottimeMs } from '../../agent/link/libc.ts';
import { rememberingLookup } from '../../agent/outbound.ts';
import { systemClock } from '../../agent/runtime/clock.ts';
import { ContenderLoop } from '../../agent/runtime/loop.ts';
import { MemoryLink, MemoryNode } from '../../test/support/memory-link.ts';

export interface HostMessage {
  readonly held: number;
}

const APART_MS = 20;
const TELL_MS = 100;
const ADDRESS = '203.0.113.10';

const [, , kubeconfig = '', ...leases] = process.argv;
const clock = systemClock(boottimeMs);
const outbound = { userAgent: 'leasehold-bench', lookup: rememberingLookup((name) => lookup(name, { all: true }), clock) };
const transport = new KubeTransport(new Credentials({ kind: 'kubeconfig', path: kubeconfig }, clock), clock, outbound);

function startContender(name: string, index: number): ContenderLoop {
  const lease = { namespace: 'default', name };
  const identity = `node-a_00000000_${index.toString(16).padStart(8, '0')}`;
  const watch = new KubeLeaseWatch(transport, lease, clock, Math.random, {
    onSight: (sight) => loop.post({ type: 'lease-seen', sight }),
    onState: () => undefined,
  });
  const settings = {
    identity,
    node: 'node-a',
    leaseDurationMs: 3_000,
    renewDeadlineMs: 2_000,
    renewIntervalMs: 500,
    addresses: [ADDRESS],
    kind: 'l2',
    isFenced: false,
    worstMoveMs: 0,
    claimTimeoutMs: 30_000,
    verifyIntervalMs: 30_000,
    ownerReadPace: 1,
    whenAllUnhealthy: 'keep',
    onApiLoss: 'release',
  } as const;
  const loop: ContenderLoop = new ContenderLoop(settings, {
    clock,
    lease: new KubeLeaseStore(transport, lease, identity, clock, () => undefined),
    watch,
    link: new MemoryLink(new MemoryNode(clock), [ADDRESS]),
    provider: { owner: () => Promise.resolve({ is: 'self' }), claim: () => Promise.resolve({ is: 'confirmed' }) },
    report: () => undefined,
    onDefect: (error) => {
      throw error;
    },
  });
  loop.post({ type: 'residence', residence: 'alone', reason: 'measured' });
  loop.post({ type: 'verdict', healthy: true, reason: 'measured' });
  loop.post({ type: 'provider-readiness', ready: true, reason: 'measured' });
  void watch.run(new AbortController().signal);
  loop.start();
  return loop;
}

// Nobody is left to measure it.
process.on('disconnect', () => process.exit());
const loops: ContenderLoop[] = [];
setInterval(() => {
  const held = loops.filter(({ contender }) => roleOf(contender) === 'serving').length;
  process.send?.({ held } satisfies HostMessage);
}, TELL_MS);
for (const [index, name] of leases.entries()) {
  loops.push(startContender(name, index));
  await pause(APART_MS);
}
