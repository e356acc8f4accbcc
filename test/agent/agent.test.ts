import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, constants, copyFileSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { at } from '../../agent/json.ts';
import { buildAgent } from '../../scripts/build.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { NetlinkSocket, openDatagrams } from '../../agent/link/netlink-socket.ts';
import { getTable } from '../../agent/link/nftables.ts';
import { fenceTable } from '../../agent/link/open-link.ts';
import { AgentWorld, IP, OTHER_SERVER, SERVER, TOKEN } from '../support/agent-world.ts';
import type { Status } from '../support/agent-world.ts';
import { eventually } from '../support/eventually.ts';
import { permissionsOfTheRole } from '../support/manifests.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { ip } from '../support/namespaces.ts';
import { OtherHolder } from '../support/other-holder.ts';

const OTHER = 'node-b_boot_0002';
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

let folder: string;
let bundle: string;
let world: AgentWorld;

async function until(what: string, condition: () => Promise<boolean>, timeoutMs = 15_000): Promise<void> {
  const giveUpAtMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > giveUpAtMs) throw new Error(`waited in vain until ${what}\n${world.output()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const untilRole = (role: string, timeoutMs?: number): Promise<void> =>
  until(`it is ${role}`, async () => (await world.status())?.role === role, timeoutMs);

/** A pipe that is full and that nobody will read, opened for writing as a shell would. */
function fullPipe(path: string): number {
  spawnSync('mkfifo', [path]);
  // Held open on both sides, so that it neither waits for a reader nor loses one.
  const both = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  try {
    for (;;) writeSync(both, 'x'.repeat(4_096));
  } catch {
    // It is full.
  }
  return openSync(path, constants.O_WRONLY);
}

async function served(env: Readonly<Record<string, string>> = {}): Promise<AgentProcess> {
  const agent = world.start(bundle, env);
  await untilRole('serving');
  return agent;
}

/** Waits for a log line: what the agent writes arrives later than what can be seen of it elsewhere. */
const says = (agent: AgentProcess, level: string, pattern: RegExp): Promise<void> =>
  eventually(`it says ${String(pattern)}`, () => agent.log.some((line) => line.level === level && pattern.test(line.msg)));

/** The families in which the agent's packet filter stands in this namespace. */
function filters(): string[] {
  const socket = new NetlinkSocket(openDatagrams('netfilter'), 'netfilter');
  try {
    return (['arp', 'inet'] as const).filter((family) => {
      const { type, body } = getTable(family, fenceTable({ namespace: 'default', name: 'leasehold' }));
      try {
        return socket.get(type, body).length > 0;
      } catch {
        return false;
      }
    });
  } finally {
    socket.close();
  }
}

describe('an agent', needsNamespaces(), () => {
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
    bundle = await buildAgent(join(folder, 'dist'));
  });
  after(() => rmSync(folder, { recursive: true }));
  beforeEach(async () => {
    world = await AgentWorld.open();
  });
  afterEach(() => world.close());

  describe('in ordinary times', () => {
    test('takes the Lease, binds the address, claims it and serves; asked to end, it frees the Lease, lingers until the address has moved, and ends with 0', async () => {
      const agent = await served();
      assert.equal(world.hcloud.ownerOf(IP), SERVER);
      assert.deepEqual([world.rows().length, world.rows()[0]?.protocol], [1, 0x4c]);
      agent.signal('SIGTERM');
      await eventually(
        'the Lease is free',
        () => world.kube.lease()?.spec.holderIdentity === undefined || world.kube.lease()?.spec.holderIdentity === '',
      );
      assert.equal(world.rows().length, 1, 'it lingers');
      assert.equal(agent.isRunning, true);
      world.hcloud.move(IP, OTHER_SERVER);
      assert.equal(await agent.ended, 0);
      assert.equal(world.rows().length, 0);
      assert.deepEqual(
        agent.log.filter(({ event }) => event === 'transition').map(({ to }) => to),
        ['standby', 'acquiring', 'claiming', 'serving', 'stepping-down', 'leaving', 'stopped'].slice(
          agent.log.some(({ to }) => to === 'standby') ? 0 : 1,
        ),
        'each transition is logged once',
      );
    });

    test('counts its own moves, those of whoever takes the address away, and those of other holders', async () => {
      const agent = await served();
      const moves = async (): Promise<unknown> => at((await world.status())?.['provider'], 'budget', 'moves');
      assert.deepEqual(await moves(), { own: 1, others: 0 });
      world.hcloud.move(IP, OTHER_SERVER);
      await eventually('it is routed back', () => world.hcloud.ownerOf(IP) === SERVER, 15_000);
      await until('both are counted', async () => isDeepStrictEqual(await moves(), { own: 2, others: 1 }));
      const other = new OtherHolder(world.kube, 'node-b_boot_0002');
      await until('the move of the other holder is counted', async () => isDeepStrictEqual(await moves(), { own: 2, others: 2 }));
      other.die();
      assert.equal(agent.isRunning, true);
    });

    test('is the same agent when its folder is copied elsewhere', async () => {
      const elsewhere = join(folder, 'elsewhere');
      mkdirSync(elsewhere);
      for (const file of ['leasehold.mjs', 'koffi.node']) copyFileSync(join(folder, 'dist', file), join(elsewhere, file));
      world.start(join(elsewhere, 'leasehold.mjs'));
      await untilRole('serving');
    });

    test('where nothing lingers it is gone at once when asked', async () => {
      const agent = world.start(bundle, { PROVIDER: 'l2' });
      await untilRole('serving');
      agent.signal('SIGINT');
      assert.equal(await agent.ended, 0);
      assert.equal(world.rows().length, 0);
      assert.equal(world.kube.lease()?.spec.holderIdentity ?? '', '');
    });

    test('on a shared segment it answers behind a packet filter, of which nothing is left when it has ended', async () => {
      const agent = world.start(bundle, { PROVIDER: 'l2' });
      await untilRole('serving');
      assert.deepEqual(filters(), ['arp', 'inet']);
      assert.match(
        (await world.probe('/metrics'))?.text ?? '',
        /^leasehold_address_conflicts_total\{address="203\.0\.113\.10",mac="",lease="default\/leasehold"\} 0$/m,
      );
      agent.signal('SIGTERM');
      assert.equal(await agent.ended, 0);
      assert.deepEqual(filters(), []);
    });

    test('killed on a shared segment, it leaves the packet filter behind, and its successor goes on with it', async () => {
      const agent = world.start(bundle, { PROVIDER: 'l2' });
      await untilRole('serving');
      agent.signal('SIGKILL');
      await agent.ended;
      assert.deepEqual(filters(), ['arp', 'inet']);
      const successor = world.start(bundle, { PROVIDER: 'l2' });
      await eventually('it serves', () => successor.log.some(({ to }) => to === 'serving'), 15_000);
      assert.deepEqual(filters(), ['arp', 'inet']);
      successor.signal('SIGTERM');
      assert.equal(await successor.ended, 0);
      assert.deepEqual(filters(), []);
    });

    test('ends at once at a second signal, and the kernel keeps the address for its lifetime', async () => {
      const agent = await served();
      agent.signal('SIGTERM');
      await untilRole('leaving');
      agent.signal('SIGINT');
      assert.equal(await agent.ended, 130);
      assert.equal(world.rows().length, 1);
    });

    test('ends in order at once while the provider does not answer', async () => {
      world.hcloud.http.faultFor = () => ({ is: 'hang', when: 'before' });
      const agent = world.start(bundle);
      await untilRole('standby');
      agent.signal('SIGTERM');
      assert.equal(await agent.ended, 0);
    });

    for (const [what, open] of [
      ['nobody reads its log any more', (): number => fullPipe(join(world.folder, 'pipe'))],
      ['the disk of its log is full', (): number => openSync('/dev/full', 'w')],
    ] as const) {
      test(`ends when asked, and at once when asked twice, though ${what}`, async () => {
        const fd = open();
        const agent = world.start(bundle, {}, fd);
        await untilRole('serving');
        agent.signal('SIGTERM');
        await untilRole('leaving');
        agent.signal('SIGTERM');
        assert.equal(await agent.ended, 143);
        const another = world.start(bundle, { PROVIDER: 'l2' }, fd);
        await untilRole('serving');
        another.signal('SIGTERM');
        assert.equal(await another.ended, 0);
        closeSync(fd);
      });
    }

    test('works in a cluster with a service account, also when its token is rotated', async () => {
      mkdirSync(SERVICE_ACCOUNT, { recursive: true });
      writeFileSync(join(SERVICE_ACCOUNT, 'ca.crt'), world.kube.ca);
      writeFileSync(join(SERVICE_ACCOUNT, 'token'), 'agent-token');
      writeFileSync(join(SERVICE_ACCOUNT, 'namespace'), 'default');
      const { hostname, port } = new URL(world.kube.http.url);
      const agent = world.start(bundle, { KUBECONFIG: '', KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port });
      await untilRole('serving');
      world.kube.tokens.set('rotated', { may: () => true });
      world.kube.tokens.delete('agent-token');
      writeFileSync(join(SERVICE_ACCOUNT, 'token'), 'rotated');
      const before = world.kube.lease()?.spec.renewTime;
      await eventually('it has renewed with the new token', () => world.kube.lease()?.spec.renewTime !== before);
      assert.equal((await world.status())?.role, 'serving');
      assert.ok(agent.log.every(({ to }) => to !== 'stepping-down'));
      rmSync(SERVICE_ACCOUNT, { recursive: true });
    });

    test('needs no more rights than the Role in the manifests grants', async () => {
      world.kube.tokens.set('agent-token', permissionsOfTheRole());
      await served();
      world.kube.delete();
      await untilRole('standby');
      await untilRole('serving');
      const refused = world.kube.http.exchanges.filter(({ status }) => status === 403);
      assert.deepEqual(refused, []);
    });

    test('tells in one document who holds what, since when and why', async () => {
      await served();
      const status = (await world.status()) ?? assert.fail();
      const { lease, term, provider, addresses, transitions, deadline } = status as Status & Record<string, Record<string, unknown>>;
      assert.deepEqual((lease?.['holder'] as { node: string }).node, 'node-a');
      assert.equal(term?.['transitions'], 1);
      assert.equal(provider?.['reason'], `this is server ${SERVER}`);
      assert.deepEqual([addresses[0]?.state, addresses[0]?.owner?.is], ['bound, confirmed', 'self']);
      assert.equal(transitions[0]?.to, 'serving');
      assert.ok(Number(deadline?.['inMs']) > 0 && Number(deadline?.['inMs']) <= 2_000);
    });

    test('an unhandled error is logged and ends it like a kill: with 1, and the kernel finishes the job', async () => {
      const boom = "data:text/javascript,setTimeout(() => { throw new Error('boom') }, 2500)";
      const agent = world.start(bundle, { NODE_OPTIONS: `--import=${encodeURI(boom)}` });
      await untilRole('serving');
      assert.equal(await agent.ended, 1);
      await says(agent, 'fatal', /boom/);
      assert.equal(world.rows().length, 1);
      assert.ok((world.rows()[0]?.validS ?? Infinity) <= 38);
    });
  });

  describe('given settings that cannot be used', () => {
    test('says everything that is wrong and ends with 78, with nothing touched', async () => {
      const agent = world.start(bundle, { LEASE_DURATION: 'soon', ADDRESSES: 'everywhere', HCLOUD_TOKEN: '' });
      assert.equal(await agent.ended, 78);
      assert.match(
        world.stderr,
        /^leasehold: 3 settings are not usable:\n {2}LEASE_DURATION="soon" .*\n {2}ADDRESSES="everywhere" .*\n {2}HCLOUD_TOKEN is not set/,
      );
      assert.equal(world.kube.http.exchanges.length + world.hcloud.http.exchanges.length, 0);
    });
  });

  test('on a shared segment without the right to announce, it says which and ends with 77', async () => {
    const agent = world.start(bundle, { PROVIDER: 'l2' }, 'pipe', ['setpriv', '--bounding-set=-net_raw', '--inh-caps=-net_raw']);
    assert.equal(await agent.ended, 77);
    assert.match(agent.log.at(-1)?.msg ?? '', /PROVIDER=l2 needs the capability NET_RAW besides NET_ADMIN/);
  });

  describe('when the provider is not as it should be', () => {
    test('an address that is none of the project’s: it says which ones are, is not ready and does not contend', async () => {
      const agent = world.start(bundle, { ADDRESSES: '192.0.2.77' });
      await until('it is not ready for that reason', async () =>
        /192\.0\.2\.77: no floating IP .*its floating IPs are 203\.0\.113\.10/.test((await world.probe('/readyz'))?.text ?? ''),
      );
      assert.equal((await world.probe('/healthz'))?.status, 200);
      await says(agent, 'error', /192\.0\.2\.77/);
      assert.equal(world.kube.lease()?.spec.holderIdentity, undefined);
    });

    test('a wrong token: it says so, is not ready and does not contend, and does as soon as the token is right', async () => {
      const tokenFile = join(world.folder, 'token');
      writeFileSync(tokenFile, 'wrong-token');
      const agent = world.start(bundle, { HCLOUD_TOKEN: undefined as never, HCLOUD_TOKEN_FILE: tokenFile });
      await until('it is not ready for that reason', async () =>
        /unauthorized.*HCLOUD_TOKEN/.test((await world.probe('/readyz'))?.text ?? ''),
      );
      await says(agent, 'error', /create a new one/);
      assert.equal(world.rows().length, 0);
      writeFileSync(tokenFile, TOKEN);
      await untilRole('serving');
      assert.equal((await world.probe('/readyz'))?.status, 200);
    });

    test('a token that may only read: it holds on, says so, and lets another try', async () => {
      world.hcloud.tokens.set(TOKEN, 'read-only');
      const agent = world.start(bundle);
      await eventually('it wants relief', () => world.kube.lease()?.metadata.annotations?.['leasehold.dev/relief'] !== undefined);
      assert.deepEqual(JSON.parse(world.kube.lease()?.metadata.annotations?.['leasehold.dev/claim-failed'] ?? ''), ['node-a']);
      assert.match((await world.probe('/readyz'))?.text ?? '', /token_readonly/);
      await says(agent, 'error', /may only read: create one with read & write permission/);
      assert.equal((await world.status())?.role, 'claiming');
    });

    test('a provider that cannot be reached: it waits, not ready, without ending', async () => {
      world.hcloud.http.faultFor = () => ({ is: 'cut', when: 'before' });
      const agent = world.start(bundle);
      await until('it is not ready for that reason', async () =>
        /provider: GET .*floating_ips/.test((await world.probe('/readyz'))?.text ?? ''),
      );
      assert.equal(agent.isRunning, true);
      world.hcloud.http.faultFor = () => null;
      await untilRole('serving');
    });

    test('a floating IP that somebody moves in the console is claimed back', async () => {
      await served();
      world.hcloud.move(IP, OTHER_SERVER);
      await eventually('it is back', () => world.hcloud.ownerOf(IP) === SERVER);
    });
  });

  describe('when the Lease is not as it should be', () => {
    test('held by another program: it waits, says so, is not ready, and never touches it', async () => {
      world.kube.delete();
      world.kube.create({
        holderIdentity: 'kube-scheduler',
        leaseDurationSeconds: 1,
        renewTime: '2020-01-01T00:00:00.000000Z',
        leaseTransitions: 3,
      });
      const before = JSON.stringify(world.kube.lease());
      const agent = world.start(bundle);
      await until('it is not ready for that reason', async () =>
        ((await world.probe('/readyz'))?.text ?? '').includes('the Lease is held by another program, "kube-scheduler": delete it'),
      );
      await says(agent, 'warn', /name another one in LEASE_NAME/);
      assert.equal(JSON.stringify(world.kube.lease()), before);
      assert.equal(world.rows().length, 0);
    });

    test('deleted by hand while held: it goes on serving clients, waits a whole duration, and makes it anew', async () => {
      const agent = await served();
      world.kube.delete();
      await eventually('it has noticed', () => agent.log.some(({ reason }) => reason === 'the Lease was deleted'));
      let mostMissing = 0;
      await eventually('the Lease is back', () => {
        mostMissing = Math.max(mostMissing, 1 - world.rows().length);
        return world.kube.lease()?.spec.holderIdentity?.startsWith('node-a') === true;
      });
      assert.equal(mostMissing, 0, 'the address stayed all the while');
      await untilRole('serving');
      const { transitions } = (await world.status()) ?? assert.fail();
      const wait = transitions.find(({ from, to }) => from === 'standby' && to === 'acquiring');
      assert.ok((wait?.elapsedMs ?? 0) >= 3_000, `${wait?.elapsedMs}ms`);
    });

    test('given to somebody else by hand while held: it lets go at once, and takes it again when that one is silent', async () => {
      const agent = await served();
      world.kube.edit(({ spec }) => (spec.holderIdentity = OTHER));
      await eventually('it has let go', () => agent.log.some(({ from, to }) => from === 'serving' && to === 'standby'));
      assert.equal(world.rows().length, 1, 'it lingers');
      assert.equal(world.kube.lease()?.spec.holderIdentity, OTHER);
      await untilRole('serving');
      assert.ok((world.kube.lease()?.spec.leaseTransitions ?? 0) > 1);
    });

    test('labelled by hand while held: nothing happens', async () => {
      const agent = await served();
      world.kube.edit(({ metadata }) => (metadata.labels = { ...metadata.labels, note: 'hello' }));
      const before = world.kube.lease()?.spec.renewTime;
      await eventually('it has renewed', () => world.kube.lease()?.spec.renewTime !== before);
      assert.equal(world.kube.lease()?.metadata.labels?.['note'], 'hello');
      assert.ok(agent.log.every(({ from }) => from !== 'serving'));
    });

    test('missing, and no right to create it: it says what to do', async () => {
      world.kube.delete();
      world.kube.tokens.set('agent-token', { may: (verb) => verb !== 'create' });
      const agent = world.start(bundle);
      await says(agent, 'warn', /cannot create the Lease .*403 .*grant the verb "create"/);
      assert.equal(agent.isRunning, true);
    });
  });

  describe('when the Kubernetes API is not as it should be', () => {
    test('it rejects everything: the tenure ends, the address is held over, and the Lease is taken again afterwards', async () => {
      const agent = await served();
      world.kube.http.faultFor = () => ({ is: 'answer', status: 500, body: { message: 'etcd is sick' } });
      await eventually('the tenure has ended', () => agent.log.some(({ from, to }) => from === 'serving' && to === 'holding-over'));
      assert.equal(world.rows().length, 1);
      await until('it is not ready', async () => (await world.probe('/readyz'))?.status === 503);
      await says(agent, 'warn', /etcd is sick/);
      world.kube.http.faultFor = () => null;
      await untilRole('serving');
      assert.equal(world.hcloud.writes().length, 1, 'the address never moved');
    });

    test('it is slow: renewals time out one by one, clients are served on, and the Lease is taken again afterwards', async () => {
      const agent = await served();
      world.kube.http.faultFor = () => ({ is: 'delay', ms: 700, when: 'before' });
      await eventually('the tenure has ended', () => agent.log.some(({ from, to }) => from === 'serving' && to === 'holding-over'));
      assert.equal(world.rows().length, 1, 'clients are served on');
      world.kube.http.faultFor = () => null;
      await untilRole('serving');
      assert.equal(agent.isRunning, true);
      assert.equal(world.hcloud.writes().length, 1, 'the address never moved');
    });

    test('it goes away: the address is held over for as long as the provider routes it here, and not a moment longer', async () => {
      const agent = await served();
      world.kube.http.faultFor = () => ({ is: 'cut', when: 'before' });
      await untilRole('holding-over');
      assert.equal(world.rows().length, 1);
      world.hcloud.move(IP, OTHER_SERVER);
      await eventually('it is taken off', () => world.rows().length === 0);
      await eventually('it says so', () => agent.log.some(({ event }) => event === 'holdover-ended'));
      assert.equal(world.hcloud.writes().length, 1, 'and nothing was written to the provider');
    });

    test('it goes away, and nothing is to be held over: the address goes when a linger is over', async () => {
      const agent = await served({ ON_API_LOSS: 'release', PROVIDER_TIMEOUT: '5s' });
      world.kube.http.faultFor = () => ({ is: 'cut', when: 'before' });
      await eventually('it is taken off', () => world.rows().length === 0, 15_000);
      await eventually('it says so', () => agent.log.some(({ event }) => event === 'linger-expired'));
    });

    test('it goes away before the agent starts: the agent waits, not ready', async () => {
      world.kube.http.faultFor = () => ({ is: 'cut', when: 'before' });
      const agent = world.start(bundle);
      await until('it is not ready for that reason', async () => ((await world.probe('/readyz'))?.text ?? '').includes('Kubernetes API: '));
      assert.equal(agent.isRunning, true);
      world.kube.http.faultFor = () => null;
      await untilRole('serving');
    });

    test('it loses an answer after carrying out the write: the agent finds out and goes on', async () => {
      const agent = await served();
      world.kube.http.failNext({ is: 'cut', when: 'after' }, ({ method }) => method === 'PATCH');
      const before = world.kube.http.exchanges.length;
      await eventually('it has gone on', () => world.kube.http.exchanges.length > before + 4);
      assert.ok(agent.log.every(({ from }) => from !== 'serving'));
    });
  });

  describe('on the interface', () => {
    test('an address that the administrator configured is used and stays', async () => {
      world.configure(IP);
      const agent = await served();
      await says(agent, 'warn', /never changed/);
      agent.signal('SIGTERM');
      await untilRole('leaving');
      world.hcloud.move(IP, OTHER_SERVER);
      assert.equal(await agent.ended, 0);
      assert.deepEqual([world.rows().length, world.rows()[0]?.validS], [1, Infinity]);
    });

    test('an interface that is not there yet is waited for', async () => {
      world.start(bundle, { INTERFACE: 'later0' });
      await until('it is not ready for that reason', async () =>
        ((await world.probe('/readyz'))?.text ?? '').includes('interface: there is no interface later0'),
      );
      assert.equal(world.kube.lease()?.spec.holderIdentity, undefined);
      ip('link add later0 type veth peer name later1');
      try {
        ip('link set later1 up');
        ip('link set later0 up');
        await untilRole('serving');
        assert.equal((await world.probe('/readyz'))?.status, 200);
      } finally {
        ip('link del later0');
      }
    });

    test('what a killed agent left is taken over by the next one on this node, without waiting for the Lease to run out', async () => {
      const agent = await served();
      agent.signal('SIGKILL');
      await agent.ended;
      assert.equal(world.rows().length, 1);
      const successor = await served();
      assert.equal(world.rows().length, 1);
      assert.equal(world.hcloud.writes().length, 1);
      await eventually('it says why', () =>
        successor.log.some(({ to, reason }) => to === 'acquiring' && String(reason).includes('on this node has died')),
      );
    });

    for (const PROVIDER of ['hcloud-floating-ip', 'l2']) {
      test(`a second agent on one node waits, says so and touches nothing, until the first has ended (${PROVIDER})`, async () => {
        const first = await served({ PROVIDER });
        const second = world.start(bundle, { PROVIDER, NODE_NAME: 'node-b', LISTEN: '127.0.0.1:9999' });
        await says(second, 'warn', new RegExp(`process ${first.pid}\\)`));
        const before = world.kube.http.exchanges.length;
        await eventually('the first has gone on', () => world.kube.http.exchanges.length > before + 6, 15_000);
        assert.ok(first.log.every(({ from }) => from !== 'serving'));
        assert.equal(world.rows().length, 1);
        first.signal('SIGKILL');
        await first.ended;
        await eventually('the second serves', () => second.log.some(({ to }) => to === 'serving'), 15_000);
      });
    }
  });

  test('no secret comes out, whatever happens', async () => {
    const agent = world.start(bundle);
    await untilRole('serving');
    const refused = (what: RegExp): boolean => agent.log.some(({ msg }) => what.test(msg));
    world.hcloud.tokens.clear();
    await eventually('the provider has refused', () => refused(/401 unauthorized/));
    world.kube.tokens.clear();
    await eventually('the Kubernetes API has refused', () => refused(/Lease default\/leasehold: 401/));
    const shown = [world.output(), JSON.stringify(await world.status()), (await world.probe('/readyz'))?.text].join('\n');
    assert.doesNotMatch(shown, new RegExp(`${TOKEN}|agent-token`));
  });
});
