import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { parseAddress } from '../../agent/address.ts';
import type { Address } from '../../agent/address.ts';
import { announcements, macBytes } from '../../agent/link/neighbour-frames.ts';
import { openFrames } from '../../agent/link/segment.ts';
import type { Frames } from '../../agent/link/segment.ts';
import { until } from '../../e2e/lab/stage.ts';
import { speechIn } from '../../e2e/lab/wire-frames.ts';
import { WireJudge } from '../../e2e/lab/wire-judge.ts';
import type { Spoken } from '../../e2e/lab/wire-judge.ts';
import { Wire } from '../../e2e/lab/wire.ts';
import { inNamespace } from '../support/inside-namespace.ts';
import { monotonicMs } from '../support/monotonic.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { ip } from '../support/namespaces.ts';

const V4 = address('203.0.113.10');
const V6 = address('2001:db8:79::10');

function address(text: string): Address {
  const parsed = parseAddress(text);
  assert.ok(parsed !== null);
  return parsed;
}

describe('a frame speaks for an address', () => {
  const ethernet = (protocol: number, payload: string): Buffer =>
    Buffer.concat([Buffer.alloc(12), Buffer.from([protocol >> 8, protocol & 0xff]), Buffer.from(payload.replaceAll(' ', ''), 'hex')]);
  const arp = (operation: number, sender: string, target: string): Buffer =>
    ethernet(0x0806, `0001 0800 0604 000${operation} 020000000001 ${sender} 000000000000 ${target}`);
  const OURS = 'cb00710a';
  const OTHER = '0a4d0064';
  const ipv4 = (source: string, protocol: string, payload: string): Buffer =>
    ethernet(0x0800, `45000028 00004000 40${protocol}0000 ${source} ${OTHER} ${payload}`);
  const tcp = (flags: string): string => `0050 8000 00000000 00000000 50${flags} 0000 0000 0000`;
  const ipv6 = (source: string, next: string, payload: string): Buffer =>
    ethernet(0x86dd, `60000000 0020 ${next}ff ${source} ff020000000000000000000000000001 ${payload}`);
  const OURS6 = '20010db8007900000000000000000010';
  const OTHER6 = 'fe800000000000000000000000000001';
  const advertisement = (target: string): string => `88000000 20000000 ${target} 0201020000000001`;

  for (const [what, frame, expected] of [
    ['an ARP answer', arp(2, OURS, OTHER), 'ARP answer'],
    ['an announcement as a request', arp(1, OURS, OURS), 'ARP announcement'],
    ['an announcement as an answer', arp(2, OURS, OURS), 'ARP announcement'],
    ['a question of its own', arp(1, OURS, OTHER), 'ARP question'],
    ['a question for it', arp(1, OTHER, OURS), null],
    ['a probe for it', arp(1, '00000000', OURS), null],
    ['an accepted connection', ipv4(OURS, '06', tcp('12')), 'accepted connection'],
    ['a reset', ipv4(OURS, '06', tcp('04')), 'packet'],
    ['an answer to a ping', ipv4(OURS, '01', '0000'), 'packet'],
    ['a connection that somebody else accepts', ipv4(OTHER, '06', tcp('12')), null],
    ['a truncated packet', ipv4(OURS, '06', '0050'), 'packet'],
  ] as const) {
    test(`${what}: ${expected ?? 'no'}`, () => assert.equal(speechIn(frame, V4), expected));
  }
  for (const [what, frame, expected] of [
    ['a neighbour advertisement', ipv6(OTHER6, '3a', advertisement(OURS6)), 'neighbour advertisement'],
    ['one for another address', ipv6(OTHER6, '3a', advertisement(OTHER6)), null],
    ['an accepted connection over IPv6', ipv6(OURS6, '06', tcp('12')), 'accepted connection'],
    ['any other packet over IPv6', ipv6(OURS6, '3a', '8100 0000'), 'packet'],
  ] as const) {
    test(`${what}: ${expected ?? 'no'}`, () => assert.equal(speechIn(frame, V6), expected));
  }

  test('nothing in what is no frame at all', () => {
    assert.equal(speechIn(Buffer.alloc(0), V4), null);
    assert.equal(speechIn(arp(2, OURS, OTHER).subarray(0, 20), V4), null);
    assert.equal(speechIn(ethernet(0x86dd, ''), V6), null);
  });
});

describe('the wire, with two nodes on a bridge that both have the address', needsNamespaces(), () => {
  const bridge = `wb${process.pid}`;
  const nodes = ['one', 'two'].map((name) => ({ node: name, namespace: `w-${name}-${process.pid}`, port: `wp${name}${process.pid}` }));
  let wire: Wire;
  /** What can be said on the segment from the first node. */
  let frames: Frames;

  before(() => {
    ip(`link add ${bridge} address 02:00:00:00:79:01 type bridge`);
    ip(`addr add 10.79.0.1/24 dev ${bridge}`);
    ip(`addr add 2001:db8:79::1/64 dev ${bridge} nodad`);
    ip(`link set ${bridge} up`);
    for (const [index, { namespace, port }] of nodes.entries()) {
      ip(`netns add ${namespace}`);
      ip(`link add ${port} type veth peer name eth0 netns ${namespace}`);
      ip(`link set ${port} master ${bridge}`);
      ip(`link set ${port} up`);
      ip(`-n ${namespace} link set lo up`);
      ip(`-n ${namespace} addr add 10.79.0.${11 + index}/24 dev eth0`);
      ip(`-n ${namespace} addr add ${V4.text}/32 dev eth0`);
      ip(`-n ${namespace} addr add ${V6.text}/64 dev eth0 nodad`);
      ip(`-n ${namespace} link set eth0 up`);
    }
    ip(`route add ${V4.text}/32 dev ${bridge}`);
    wire = new Wire(
      nodes.map(({ node, port }) => ({ node, interfaceName: port })),
      [V4, V6],
    );
    frames = inNamespace(nodes[0]?.namespace ?? '', () => openFrames([V4]));
  });

  after(() => {
    wire.close();
    frames.close();
    for (const { namespace, port } of nodes) {
      ip(`link del ${port}`);
      ip(`netns del ${namespace}`);
    }
    ip(`link del ${bridge}`);
  });

  /** Lets the first node say that the address is its own. */
  function announce(): void {
    const [announcement] = announcements(V4, macBytes('02:00:00:00:79:02'), false);
    const index = Number(/^(\d+):/.exec(ip(`-n ${nodes[0]?.namespace ?? ''} link show dev eth0`))?.[1]);
    if (announcement !== undefined) frames.send(index, announcement);
  }

  /** Tries to open a connection, whatever comes of it. */
  async function knock(host: string): Promise<void> {
    const socket = net.connect({ host, port: 80 });
    await new Promise((resolve) => socket.once('error', resolve).once('connect', resolve));
    socket.destroy();
  }

  for (const [{ text, family }, speech] of [
    [V4, 'ARP answer'],
    [V6, 'neighbour advertisement'],
  ] as const) {
    test(`hears both over IPv${family}, and the judge says so`, async () => {
      wire.heard();
      const heard: Spoken[] = [];
      await until('both have answered', async () => {
        ip(`neigh flush dev ${bridge}`);
        await knock(text);
        heard.push(...wire.heard());
        return new Set(heard.filter((each) => each.speech === speech).map(({ node }) => node)).size === 2;
      });
      const nowMs = monotonicMs();
      const judge = new WireJudge(3_000);
      const findings = judge.judge(heard, [{ node: 'one', renewedAtMs: [nowMs - 60_000, nowMs], endedAtMs: null }]);
      assert.match(findings.map(({ what }) => what).join(), new RegExp(`two spoke for ${text}.* without ever having held the Lease`));
      assert.equal(wire.lost, 0);
    });
  }

  test('knows when something was said, however late it is read', () => {
    wire.heard();
    const sentAtMs = monotonicMs();
    announce();
    const afterMs = monotonicMs();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    const [heard] = wire.heard().filter(({ speech }) => speech === 'ARP announcement');
    assert.equal(heard?.node, 'one');
    assert.ok(heard.atMs > sentAtMs - 5 && heard.atMs < afterMs + 100, `${heard.atMs} is not within ${sentAtMs} and ${afterMs}`);
    assert.equal(wire.speaker, 'one');
  });

  test('hears a node also when its cable is cut behind the port', () => {
    ip(`link set ${nodes[0]?.port ?? ''} nomaster`);
    wire.heard();
    announce();
    assert.deepEqual(
      wire.heard().map(({ node, speech }) => [node, speech]),
      [['one', 'ARP announcement']],
    );
  });
});
