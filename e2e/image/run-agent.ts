/**
 * One agent in its image, from start to end: in a cluster of a real kube-apiserver, with a stand-in for the provider.
 */
import { mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringAt } from '../../agent/json.ts';
import { eventually } from '../../test/support/eventually.ts';
import { HcloudStandIn } from '../../test/support/hcloud-api.ts';
import { ip } from '../../test/support/namespaces.ts';
import type { Assets } from '../control-plane/assets.ts';
import { ControlPlane } from '../control-plane/control-plane.ts';
import { LEASE_PATH, NAMESPACE } from '../control-plane/our-manifests.ts';
import { fail } from './checks.ts';
import type { Checks } from './checks.ts';
import { Container, hideControlGroups } from './container.ts';
import type { ImageConfig } from './layout.ts';

const FOLDER = '/run/leasehold-image';
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const IP = '203.0.113.10';
const SERVER = 9_100_201;
const OTHER_SERVER = 9_100_202;
const LISTEN = '127.0.0.1:9808';
const INTERFACE = 'image0';
/** How long it is left alone before its memory is read. */
const SETTLED_MS = 20_000;

/** The bit of each capability, as the kernel counts them. */
const BIT = { NET_ADMIN: 12n, NET_RAW: 13n } as const;

export interface Unpacked {
  readonly root: string;
  readonly config: ImageConfig;
}

export async function runAgent(checks: Checks, assets: Assets & { is: 'available' }, image: Unpacked): Promise<void> {
  hideControlGroups();
  mkdirSync(FOLDER);
  ip(`link add ${INTERFACE} type veth peer name peer0`);
  ip('link set peer0 up');
  ip(`link set ${INTERFACE} up`);
  const plane = await ControlPlane.start({ assets, folder: join(FOLDER, 'control-plane') });
  const hcloud = await HcloudStandIn.start({
    floatingIps: [{ id: 1, ip: IP, server: OTHER_SERVER }],
    servers: [SERVER, OTHER_SERVER],
    actionMs: 50,
  });
  hcloud.serverBySource.set('127.0.0.1', SERVER);
  try {
    await routed(checks, image, plane, hcloud);
    await onSegment(checks, image, plane);
  } finally {
    await Promise.all([plane.close(), hcloud.close()]);
  }
}

async function routed(checks: Checks, image: Unpacked, plane: ControlPlane, hcloud: HcloudStandIn): Promise<void> {
  console.log('The agent in it, with an address that a provider routes:');
  const token = file('token', 'hcloud-token\n');
  const container = start(
    image,
    plane,
    ['NET_ADMIN'],
    {
      PROVIDER: 'hcloud-floating-ip',
      HCLOUD_TOKEN_FILE: '/etc/leasehold/hcloud/token',
      HCLOUD_ENDPOINT: hcloud.endpoint,
      HCLOUD_METADATA_ENDPOINT: hcloud.metadataEndpoint,
    },
    [{ from: token, to: '/etc/leasehold/hcloud/token' }],
  );
  await checks.that('takes the Lease, binds the address and has it routed here', async () => {
    await eventually('it serves', async () => (await role()) === 'serving', 30_000);
    return hcloud.ownerOf(IP) === SERVER && ip(`address show dev ${INTERFACE}`).includes(IP);
  });
  await checks.that('has NET_ADMIN and no other capability, gains no privilege, and is behind the runtime’s seccomp profile', () =>
    isConfined(container.pid, BIT.NET_ADMIN),
  );
  await checks.that(
    'uses the network of its node',
    () => readlinkSync(`/proc/${container.pid}/ns/net`) === readlinkSync('/proc/self/ns/net'),
  );
  await checks.that('answers to the name leasehold, without a shell', () => {
    // With a setting that nobody can use it says so and ends, whatever it is asked for.
    const { status, stderr } = container.exec(['LEASE_DURATION=soon'], 'leasehold');
    return (status === 78 && stderr.includes('LEASE_DURATION="soon"')) || fail(`${status} ${stderr}`);
  });
  await checks.that('cannot be entered by a shell', () =>
    ['sh', 'bash', '/bin/sh', '/busybox/sh'].every((shell) => container.exec([], shell, '-c', 'true').status !== 0),
  );
  await checks.that('cannot write to its own files', () => {
    const write = "try { fs.writeFileSync('/leasehold/x', ''); } catch (error) { console.log(error.code); }";
    return container.exec([], '/nodejs/bin/node', '-e', write).stdout.trim() === 'EROFS';
  });
  await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
  describeMemory(container.pid);
  await checks.that('at SIGTERM frees the Lease, lingers until the address has moved, takes it off, and ends with 0', async () => {
    container.signal('SIGTERM');
    await eventually('the Lease is free', async () => (await holder(plane)) === '');
    if (!ip(`address show dev ${INTERFACE}`).includes(IP)) return fail('it did not linger');
    hcloud.move(IP, OTHER_SERVER);
    const code = await container.agent.ended;
    return code === 0 && !ip(`address show dev ${INTERFACE}`).includes(IP);
  });
}

async function onSegment(checks: Checks, image: Unpacked, plane: ControlPlane): Promise<void> {
  console.log('The agent in it, with an address on a shared segment:');
  const container = start(image, plane, ['NET_ADMIN', 'NET_RAW'], { PROVIDER: 'l2', NODE_NAME: 'node-b' }, []);
  await checks.that('takes the Lease and binds the address', async () => {
    await eventually('it serves', async () => (await role()) === 'serving', 30_000);
    return ip(`address show dev ${INTERFACE}`).includes(IP);
  });
  await checks.that('has NET_ADMIN and NET_RAW and no other capability', () => isConfined(container.pid, BIT.NET_ADMIN, BIT.NET_RAW));
  await checks.that('at SIGTERM takes the address off, frees the Lease, and ends with 0', async () => {
    container.signal('SIGTERM');
    const code = await container.agent.ended;
    return code === 0 && (await holder(plane)) === '' && !ip(`address show dev ${INTERFACE}`).includes(IP);
  });
}

function start(
  image: Unpacked,
  plane: ControlPlane,
  capabilities: readonly string[],
  env: Readonly<Record<string, string>>,
  mounts: readonly { from: string; to: string }[],
): Container {
  const { hostname, port } = new URL(plane.url);
  return Container.start({
    root: image.root,
    image: image.config,
    folder: join(FOLDER, 'containers'),
    node: env['NODE_NAME'] ?? 'node-a',
    capabilities,
    env: {
      NODE_NAME: 'node-a',
      POD_NAMESPACE: NAMESPACE,
      KUBERNETES_SERVICE_HOST: hostname,
      KUBERNETES_SERVICE_PORT: port,
      ADDRESSES: IP,
      INTERFACE,
      LISTEN,
      ...env,
    },
    mounts: [
      { from: file('ca.crt', plane.ca), to: `${SERVICE_ACCOUNT}/ca.crt` },
      { from: file('service-account-token', plane.token), to: `${SERVICE_ACCOUNT}/token` },
      { from: file('namespace', NAMESPACE), to: `${SERVICE_ACCOUNT}/namespace` },
      ...mounts,
    ],
  });
}

function file(name: string, text: string): string {
  writeFileSync(join(FOLDER, name), text);
  return join(FOLDER, name);
}

async function role(): Promise<string | undefined> {
  try {
    return stringAt(await (await fetch(`http://${LISTEN}/status`)).json(), 'role');
  } catch {
    return undefined;
  }
}

async function holder(plane: ControlPlane): Promise<string> {
  return stringAt(await plane.admin.get(LEASE_PATH), 'spec', 'holderIdentity') ?? '';
}

/** Whether a process has just these capabilities, may gain none, and has its system calls filtered. */
function isConfined(pid: number, ...bits: readonly bigint[]): boolean {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string): string => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(status)?.[1] ?? '';
  const expected = bits.reduce((sum, bit) => sum | (1n << bit), 0n);
  const isExact = ['CapPrm', 'CapEff', 'CapBnd'].every((set) => BigInt(`0x${field(set)}`) === expected);
  return (isExact && field('NoNewPrivs') === '1' && field('Seccomp') === '2') || fail(status);
}

function describeMemory(pid: number): void {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mb = (name: string): string => `${(Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(status)?.[1] ?? 0) / 1_024).toFixed(1)} MiB`;
  console.log(
    `        Memory as the holder, ${SETTLED_MS / 1_000} s on: ${mb('VmRSS')} resident, ${mb('RssAnon')} of it its own, ${mb('VmHWM')} at most.`,
  );
}
