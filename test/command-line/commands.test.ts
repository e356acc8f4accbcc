import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildAgent } from '../../scripts/build.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { AgentWorld, IP, OTHER_SERVER, SERVER, TOKEN } from '../support/agent-world.ts';
import { eventually } from '../support/eventually.ts';
import { needsNamespaces } from '../support/namespace-test.ts';

/** Agents whose interface is in memory, so that several of them can be nodes of one machine. */
const MEMORY_AGENT = fileURLToPath(new URL('../../e2e/lab/memory-agent.ts', import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Node {
  readonly name: string;
  readonly port: number;
  readonly socket: string;
  readonly agent: AgentProcess;
}

let folder: string;
let bundle: string;
let memoryBundle: string;
let world: AgentWorld;
let ports = 0;

/** The settings of the real thing, as they are in the pod of an agent. */
const settings = (): Record<string, string> => ({
  NODE_NAME: 'node-a',
  KUBECONFIG: join(world.folder, 'kubeconfig'),
  ADDRESSES: IP,
  INTERFACE: world.interfaceName,
  PROVIDER: 'hcloud-floating-ip',
  HCLOUD_TOKEN: TOKEN,
  HCLOUD_ENDPOINT: world.hcloud.endpoint,
  HCLOUD_METADATA_ENDPOINT: world.hcloud.metadataEndpoint,
  LISTEN: '127.0.0.1:19990',
  CONTROL_SOCKET: join(world.folder, 'check.sock'),
});

/** An operator's workstation: a kubeconfig and nothing else. */
const workstation = (): Record<string, string> => ({ KUBECONFIG: join(world.folder, 'kubeconfig'), LISTEN: '127.0.0.1:19991' });

async function leasehold(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ended> {
  const child = spawn(process.execPath, [bundle, ...args], { env: { ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return await new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
}

function startNode(name: string, server: number, env: Readonly<Record<string, string>> = {}): Node {
  ports += 1;
  const port = 19_000 + ((process.pid * 13 + ports) % 900);
  const socket = join(world.folder, `${name}.sock`);
  world.kube.objects.putPod({
    name: `leasehold-${name}`,
    labels: { 'app.kubernetes.io/name': 'leasehold' },
    node: name,
    containers: [{ ports: [{ name: 'http', containerPort: port }], livenessProbe: { httpGet: { port: 'http' } } }],
  });
  const agent = world.start(memoryBundle, {
    NODE_NAME: name,
    LISTEN: `127.0.0.1:${port}`,
    HCLOUD_SERVER_ID: String(server),
    CONTROL_SOCKET: socket,
    LOG_LEVEL: 'info',
    ...env,
  });
  return { name, port, socket, agent };
}

const becomes = (node: Node, role: string): Promise<void> =>
  eventually(`${node.name} is ${role}`, () => node.agent.log.findLast(({ to }) => to !== undefined)?.to === role, 15_000);

async function serving(name = 'node-a', server = SERVER): Promise<Node> {
  const node = startNode(name, server);
  await becomes(node, 'serving');
  return node;
}

async function candidate(name = 'node-b', server = OTHER_SERVER, env: Readonly<Record<string, string>> = {}): Promise<Node> {
  const node = startNode(name, server, env);
  await becomes(node, 'standby');
  return node;
}

const holder = (): string => (world.kube.lease()?.spec.holderIdentity ?? '').split('_')[0] ?? '';

describe('the commands of a bundle', needsNamespaces(), () => {
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-commands-'));
    bundle = await buildAgent(join(folder, 'dist'));
    memoryBundle = await buildAgent(join(folder, 'memory'), MEMORY_AGENT);
  });
  after(() => rmSync(folder, { recursive: true }));
  beforeEach(async () => {
    world = await AgentWorld.open();
    writeFileSync(join(world.folder, 'kubeconfig'), world.kube.kubeconfig());
  });
  afterEach(() => world.close());

  test('run by themselves, without anybody naming Node', () => {
    const path = `${join(process.execPath, '..')}:/usr/bin:/bin`;
    assert.match(spawnSync(bundle, ['--version'], { encoding: 'utf8', env: { PATH: path } }).stdout, /^leasehold \d+\.\d+\.\d+\n$/);
  });

  test('end with 64 where there is no such command or option, and write nothing to standard output', async () => {
    for (const args of [['stauts'], ['status', '--wach'], ['--nothing']]) {
      const { code, stdout, stderr } = await leasehold(args, {});
      assert.deepEqual([code, stdout], [64, '']);
      assert.match(stderr, /^leasehold.*: there is no .*\n"leasehold .*--help" tells more\.\n$/);
    }
  });

  describe('check', () => {
    test('finds nothing to complain of where all is well, changes nothing, and ends with 0', async () => {
      const before = world.kube.lease()?.metadata.resourceVersion;
      const { code, stdout, stderr } = await leasehold(['check'], settings());
      assert.deepEqual([code, stderr], [0, '']);
      for (const line of [
        /^ok {4}kubernetes +https:\/\/127\.0\.0\.1:\d+ answers within \d+ ms, Kubernetes v1\.33\.0$/m,
        /^ok {4}rights +this agent may get, list, watch, patch leases\/leasehold; create leases/m,
        /^ok {4}lease +default\/leasehold is there, and nobody holds it$/m,
        /^ok {4}server +this is server 9100201, from the metadata service$/m,
        /whether\s+it\s+may\s+also\s+write\s+is\s+first\s+known\s+at\s+the\s+first\s+move/,
        /^ok {4}address 203\.0\.113\.10 +floating IP 1 .*, routed to server 9100202$/m,
        /^ok {4}interface 203\.0\.113\.10 +it belongs on fip/m,
        /^ok {4}port +127\.0\.0\.1:19990 is free$/m,
        /^warn {2}probes/m,
      ]) {
        assert.match(stdout, line);
      }
      assert.equal(world.kube.lease()?.metadata.resourceVersion, before);
      assert.deepEqual(world.rows(), []);
      assert.ok(world.hcloud.http.exchanges.every(({ method }) => method === 'GET'));
      assert.equal(existsSync(settings()['CONTROL_SOCKET'] ?? ''), false);
    });

    test('on a segment looks at the packet filter as well, and leaves none behind', async () => {
      const { code, stdout } = await leasehold(['check'], { ...settings(), PROVIDER: 'l2' });
      assert.equal(code, 0);
      assert.match(stdout, /keeps the packet filter/);
      assert.match(stdout, /NET_ADMIN and NET_RAW are there/);
    });

    test('says of each thing that is wrong what to do, and ends with 1', async () => {
      world.kube.tokens.set('limited', { may: (verb, resource) => resource === 'leases' && verb !== 'patch' });
      writeFileSync(join(world.folder, 'kubeconfig'), world.kube.kubeconfig('limited'));
      world.kube.edit((lease) => {
        lease.metadata.labels = {};
        lease.metadata.annotations = {};
        lease.spec = { holderIdentity: 'another-program', leaseTransitions: 3 };
      });
      const env = { ...settings(), HCLOUD_TOKEN: 'not-the-token', INTERFACE: 'nowhere0', PROBES: 'tcp://127.0.0.1:9' };
      const { code, stdout } = await leasehold(['check', '--output', 'json'], env);
      const { findings } = JSON.parse(stdout) as { findings: { name: string; level: string; message: string; advice: string | null }[] };
      const bad = Object.fromEntries(findings.filter(({ level }) => level !== 'ok').map(({ name, level }) => [name, level]));
      assert.equal(code, 1);
      assert.deepEqual(bad, {
        rights: 'fail',
        'rights: events': 'warn',
        lease: 'fail',
        token: 'fail',
        [`address ${IP}`]: 'warn',
        interface: 'fail',
        'probe tcp://127.0.0.1:9': 'warn',
      });
      assert.ok(findings.every(({ level, advice }) => level === 'ok' || (advice ?? '') !== ''));
      assert.match(
        findings.find(({ name }) => name === 'rights')?.message ?? '',
        /may not patch leases\/leasehold in the namespace default/,
      );
      assert.ok(!stdout.includes('not-the-token'));
    });

    test('finds an API server that is reached through one of the addresses themselves', async () => {
      const kubeconfig = world.kube.kubeconfig().replace('127.0.0.1', IP);
      writeFileSync(join(world.folder, 'kubeconfig'), kubeconfig);
      const { code, stdout } = await leasehold(['check'], settings());
      assert.equal(code, 1);
      assert.match(
        stdout.replace(/\s+/g, ' '),
        /fail way to the API the API server is asked at 203\.0\.113\.10, which is one of ADDRESSES/,
      );
    });

    test('ends with 78 where the settings cannot be used', async () => {
      const { code, stderr } = await leasehold(['check'], { ...settings(), ADDRESSES: 'localhost' });
      assert.equal(code, 78);
      assert.match(stderr, /ADDRESSES="localhost" is not accepted/);
    });

    test('without a capability says which', () => {
      const without = spawnSync(
        'setpriv',
        ['--bounding-set', '-net_admin', '--inh-caps', '-net_admin', process.execPath, bundle, 'check'],
        {
          env: settings(),
          encoding: 'utf8',
        },
      );
      assert.equal(without.status, 1);
      assert.match(
        without.stdout.replace(/\s+/g, ' '),
        /fail kernel this process may not change addresses: it needs the capability NET_ADMIN/,
      );
    });

    test('beside an agent that runs says that it runs, and disturbs it in nothing', async () => {
      const agent = world.start(bundle, { ...settings(), PROVIDER: 'l2', LOG_LEVEL: 'trace' });
      await eventually('it serves', () => agent.log.some(({ to }) => to === 'serving'), 15_000);
      const { code, stdout } = await leasehold(['check'], { ...settings(), PROVIDER: 'l2' });
      assert.equal(code, 0);
      assert.match(stdout, /an agent answers at 127\.0\.0\.1:19990, and says that it is serving/);
      assert.match(stdout, /it is bound on fip.*, by Leasehold/);
      assert.equal(world.rows().length, 1);
      assert.deepEqual(
        agent.log.filter(({ msg }) => msg.includes('packet filter')),
        [],
      );
    });
  });

  describe('an agent', () => {
    test('makes the same checks at start, shows them, and logs what fails', async () => {
      world.kube.tokens.set('agent-token', { may: (_, resource) => resource === 'leases' });
      world.hcloud.tokens.clear();
      const node = startNode('node-a', SERVER);
      await eventually('it has logged it', () => node.agent.log.some(({ event }) => event === 'preflight'));
      const logged = node.agent.log.filter(({ event }) => event === 'preflight');
      assert.deepEqual(
        logged.map(({ level, check }) => [level, check]),
        [['error', 'token']],
      );
      const status = (await (await fetch(`http://127.0.0.1:${node.port}/status`)).json()) as {
        preflight: { findings: { name: string; level: string }[] };
      };
      assert.equal(status.preflight.findings.find(({ name }) => name === 'rights: events')?.level, 'warn');
    });

    test('lets nobody change anything over its HTTP port', async () => {
      const node = await serving();
      for (const [method, path] of [
        ['POST', '/step-down'],
        ['POST', '/status'],
        ['PUT', '/status'],
        ['DELETE', '/'],
        ['PATCH', '/control'],
      ] as const) {
        const answer = await fetch(`http://127.0.0.1:${node.port}${path}`, {
          method,
          body: method === 'DELETE' ? null : '{"command":"step-down","force":true,"waitMs":0}',
        });
        assert.equal(answer.status, 405);
      }
      assert.equal((await fetch(`http://127.0.0.1:${node.port}/step-down`)).status, 404);
      await becomes(node, 'serving');
      assert.equal(holder(), 'node-a');
    });
  });

  describe('status', () => {
    test('shows who holds what since when, why, and what each node would say', async () => {
      await serving();
      await candidate();
      await candidate('node-c', 9_100_203, { PROBES: 'tcp://127.0.0.1:9#interval=100ms' });
      await eventually('node-c is unhealthy', async () =>
        (await leasehold(['status', '-n', 'default'], workstation())).stdout.includes('no: tcp'),
      );
      const { code, stdout, stderr } = await leasehold(['status', '--namespace', 'default'], workstation());
      assert.deepEqual([code, stderr], [0, '']);
      assert.match(stdout, /^Held by {4}node-a for .*, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(term 1\)$/m);
      assert.match(stdout, /^Renewed {4}0\.\ds ago$/m);
      assert.match(stdout, /^Last move {2}node-z released the Lease$/m);
      assert.match(stdout, /^NODE +ROLE +SINCE +WOULD TAKE OVER +INTERFACE +BOUND +VERSION$/m);
      assert.match(stdout, /^node-a +serving +\S+ +holds it +memory0 +203\.0\.113\.10 +\d+\.\d+\.\d+$/m);
      assert.match(stdout, /^node-b +standby +\S+ +yes +memory0 +– +\d/m);
      assert.match(stdout, /^node-c +standby +\S+ +no: tcp:\/\/127\.0\.0\.1:9: connection refused +memory0 +–/m);
    });

    test('as JSON has the whole status of each node', async () => {
      await serving();
      const { code, stdout } = await leasehold(['status', '-n', 'default', '-o', 'json'], workstation());
      const { lease, nodes, missing } = JSON.parse(stdout) as {
        lease: { holder: { node: string }; reason: string };
        nodes: { node: string; source: string; holds: boolean; status: { role: string } }[];
        missing: string[];
      };
      assert.equal(code, 0);
      assert.deepEqual([lease.holder.node, lease.reason, missing], ['node-a', 'node-z released the Lease', []]);
      assert.deepEqual(
        nodes.map(({ node, source, holds, status }) => [node, source, holds, status.role]),
        [['node-a', 'port-forward', true, 'serving']],
      );
    });

    test('with an agent’s own rights shows the Lease and the agent beside it, and names what would show the others', async () => {
      world.kube.tokens.set('limited', { may: (_, resource) => resource === 'leases' });
      await serving();
      const node = await candidate();
      writeFileSync(join(world.folder, 'kubeconfig'), world.kube.kubeconfig('limited'));
      const { code, stdout } = await leasehold(['status'], {
        ...workstation(),
        POD_NAMESPACE: 'default',
        LISTEN: `127.0.0.1:${node.port}`,
      });
      assert.equal(code, 0);
      assert.match(stdout, /^node-b +standby +\S+ +yes/m);
      assert.match(stdout, /^node-a +holder +– +\? it is known from the Lease alone/m);
      assert.match(stdout, /the right to list pods in default, and to get and create pods\/portforward there, would show them/);
    });

    test('where pods may be listed and not connected to, says so of each', async () => {
      world.kube.tokens.set('listing', { may: (_, resource) => resource !== 'pods/portforward' });
      await serving();
      writeFileSync(join(world.folder, 'kubeconfig'), world.kube.kubeconfig('listing'));
      const { code, stdout } = await leasehold(['status', '-n', 'default'], workstation());
      assert.equal(code, 0);
      assert.match(stdout, /^node-a +holder +– +\? its pod may not be connected to/m);
      assert.match(stdout, /the right to get and create pods\/portforward in default would show what they say/);
    });

    test('says why the Lease moved when its holder was killed', async () => {
      const first = await serving();
      const second = await candidate();
      first.agent.signal('SIGKILL');
      await becomes(second, 'serving');
      const { stdout } = await leasehold(['status', '-n', 'default'], workstation());
      assert.match(stdout, /^Last move {2}node-a has not renewed the Lease for its whole duration$/m);
      assert.match(stdout, /^node-a +\? +– +\? it cannot be asked: an error occurred forwarding/m);
    });

    test('watched, writes a line for each change where there is no terminal, and ends at a signal', async () => {
      const first = await serving();
      const second = await candidate();
      const child = spawn(process.execPath, [bundle, 'status', '--watch', '-n', 'default'], {
        env: workstation(),
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      const ended = new Promise((resolve) => child.on('close', resolve));
      await eventually('it shows the first', () => text.includes('node-a holds it, term 1; node-a serving; node-b standby\n'));
      first.agent.signal('SIGTERM');
      await becomes(second, 'serving');
      await eventually('it shows the second', () => /node-b holds it, term 2;.*node-b serving/.test(text));
      child.kill('SIGINT');
      assert.equal(await ended, 130);
      const lines = text.trimEnd().split('\n');
      assert.ok(
        lines.every((line) => /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC {2}default\/leasehold: /.test(line)),
        text,
      );
      assert.equal(new Set(lines.map((line) => line.slice(25))).size, lines.length);
      assert.match((await leasehold(['status', '-n', 'default'], workstation())).stdout, /^Last move {2}node-a: asked to end by SIGTERM$/m);
    });

    test('on a terminal redraws in its place, fits into it, and has no colours where they are not wanted', async () => {
      await serving();
      const command = `stty cols 60 rows 40; NO_COLOR=1 "${process.execPath}" "${bundle}" status --watch -n default`;
      const child = spawn('script', ['-qec', command, '/dev/null'], {
        env: { ...workstation(), PATH: process.env['PATH'] ?? '', TERM: 'xterm' },
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      const drawn = (): string[] => text.split('\u001b[H').filter((part) => part.includes('Ctrl-C ends it'));
      await eventually('it has been drawn twice', () => drawn().length >= 2, 15_000);
      child.kill('SIGTERM');
      const [screen = ''] = drawn();
      const lines = screen
        .replaceAll('\r', '')
        .split('\n')
        .map((line) => line.replace(/\u001b\[[KJ]/g, ''));
      assert.deepEqual(
        lines.filter((line) => line.length > 60),
        [],
      );
      assert.match(lines.join('\n'), /^node-a\n {2}Role +serving$/m);
      assert.doesNotMatch(screen, /\u001b\[\d*m/);
    });

    test('ends with 1 where there is no such Lease and with 69 where nobody answers, and says what to do', async () => {
      const absent = await leasehold(['status', '-n', 'elsewhere'], workstation());
      assert.equal(absent.code, 1);
      assert.match(absent.stderr, /there is no Lease elsewhere\/leasehold: name another one with --namespace and --lease/);
      const silent = await leasehold(['status', '--kubeconfig', '/nowhere'], workstation());
      assert.equal(silent.code, 69);
      const nothing = await leasehold(['status'], { HOME: world.folder });
      assert.equal(nothing.code, 69);
      assert.match(nothing.stderr, /name a kubeconfig with --kubeconfig/);
      const context = await leasehold(['status', '--context', 'nowhere'], workstation());
      assert.match(context.stderr, /it has no context "nowhere"; there is stand-in/);
    });
  });

  describe('step-down', () => {
    const stepDown = (node: Node, ...args: string[]): Promise<Ended> => leasehold(['step-down', '--socket', node.socket, ...args], {});

    test('hands the address to a healthy candidate, which serves before the command ends, and the agent stays a candidate', async () => {
      const first = await serving();
      const second = await candidate();
      const { code, stdout, stderr } = await stepDown(first);
      assert.deepEqual([code, stderr], [0, '']);
      assert.match(stdout, /^the Lease is marked: waiting up to 10 s for another healthy node to offer to take over$/m);
      assert.match(stdout, /^node-b holds the Lease now, in term 2$/m);
      assert.match(stdout, /^203\.0\.113\.10 moved from node-a to node-b$/m);
      assert.equal(holder(), 'node-b');
      assert.equal(world.hcloud.ownerOf(IP), OTHER_SERVER);
      assert.equal(first.agent.isRunning, true);
      await becomes(first, 'standby');
      await becomes(second, 'serving');
      const { stdout: shown } = await leasehold(['status', '-n', 'default'], workstation());
      assert.match(shown, /^Last move {2}node-a: node-b offered to take over, because an operator has asked for a step down$/m);
    });

    test('keeps the address where nobody else could serve it, says so, and ends with 1', async () => {
      const first = await serving();
      await candidate('node-b', OTHER_SERVER, { PROBES: 'tcp://127.0.0.1:9#interval=100ms' });
      const { code, stderr } = await stepDown(first, '--timeout', '1500ms');
      assert.equal(code, 1);
      assert.match(stderr, /^no other node has offered to take over within 1500 ms, so node-a goes on holding the Lease$/m);
      assert.match(stderr, /--force gives it up all the same/);
      assert.equal(holder(), 'node-a');
      await eventually('its mark is gone', () => world.kube.lease()?.metadata.annotations?.['leasehold.dev/relief'] === undefined);
    });

    test('forced, gives it up all the same, and takes it back when nobody takes it', async () => {
      const first = await serving();
      const { code, stderr } = await stepDown(first, '--force');
      assert.equal(code, 1);
      assert.match(stderr, /^nobody else has taken the Lease, so node-a has taken it back \(term 2\)$/m);
      await becomes(first, 'serving');
    });

    test('has nothing to do where the node does not hold', async () => {
      await serving();
      const { code, stdout } = await stepDown(await candidate());
      assert.equal(code, 0);
      assert.match(stdout, /^node-b does not hold the Lease \(node-a does\): there is nothing to give up$/m);
    });

    test('says that no agent is there, and ends with 69', async () => {
      const { code, stderr } = await leasehold(['step-down'], { CONTROL_SOCKET: join(world.folder, 'nobody.sock') });
      assert.equal(code, 69);
      assert.match(stderr, /no agent listens at .*nobody\.sock\. Run it on the node/);
    });

    test('is for root alone, and ends with 77 for others', async () => {
      const first = await serving();
      assert.equal((statSync(first.socket).mode & 0o777).toString(8), '600');
      // Others may look into the folder, and still not use the socket.
      spawnSync('chmod', ['755', world.folder, folder, join(folder, 'dist')]);
      const other = spawnSync(
        'setpriv',
        ['--reuid', '65534', '--clear-groups', '--regid', '65534', process.execPath, bundle, 'step-down', '--socket', first.socket],
        { env: {}, encoding: 'utf8' },
      );
      assert.deepEqual([other.status, other.stdout], [77, '']);
      assert.match(other.stderr, /only root, or the user that the agent runs as, may use .*: run it as root/);
      assert.equal(holder(), 'node-a');
    });

    test('leaves no socket behind when the agent has ended', async () => {
      const first = await serving();
      assert.ok(existsSync(first.socket));
      world.hcloud.move(IP, OTHER_SERVER);
      first.agent.signal('SIGTERM');
      await first.agent.ended;
      assert.equal(existsSync(first.socket), false);
    });
  });
});
