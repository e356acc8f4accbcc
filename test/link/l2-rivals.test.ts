import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { parseAddress } from '../../agent/address.ts';
import type { Address } from '../../agent/address.ts';
import type { Connections } from '../../agent/link/connections.ts';
import type { KernelLink } from '../../agent/link/kernel-link.ts';
import { L2Link } from '../../agent/link/l2-link.ts';
import { announcements, macBytes } from '../../agent/link/neighbour-frames.ts';
import type { Frame } from '../../agent/link/neighbour-frames.ts';
import type { LinkRow } from '../../agent/link/rtnetlink.ts';
import { Segment } from '../../agent/link/segment.ts';

const ETH0 = { index: 2, name: 'eth0', mac: '02:00:00:00:00:01', hasArp: true, carrierChanges: 1 } as LinkRow;
const STRANGER = '02:00:00:00:00:99';
const V4 = addressOf('203.0.113.10');
const V6 = addressOf('2001:db8::10');

/** Frames that wait to be read. */
let waiting: Frame[];
/** What somebody says as soon as we ask. */
let answers: Frame[];
let link: L2Link;

function addressOf(text: string): Address {
  const address = parseAddress(text);
  assert.ok(address !== null);
  return address;
}

/** What a stranger sends who has an address. */
const said = (address: Address): Frame[] => announcements(address, macBytes(STRANGER), false).slice(0, 1);

beforeEach(() => {
  [waiting, answers] = [[], []];
  const frames = {
    send: () => waiting.push(...answers.splice(0)),
    receive: () => {
      const frame = waiting.shift();
      if (frame === undefined) return null;
      return { from: { interfaceIndex: ETH0.index, protocol: frame.protocol, mac: macBytes(STRANGER) }, payload: frame.payload };
    },
    close: () => undefined,
  };
  const view = { problem: null, interfaces: {}, addresses: {}, carrierChanges: {}, rivals: {} };
  link = new L2Link({
    kernel: { look: () => view, interfaceOf: () => ETH0 } as unknown as KernelLink,
    fence: null,
    segment: new Segment(frames),
    connections: {} as unknown as Connections,
    addresses: [V4, V6],
    clock: { nowMs: () => 0 },
    onNotice: () => undefined,
  });
});

describe('who else has an address, asked of a segment', () => {
  test('is found for each address when both are asked for at once', () => {
    answers = said(V4);
    link.probe(V4.text);
    link.probe(V6.text);
    assert.deepEqual(link.look().rivals, { [V4.text]: STRANGER });
  });

  test('is not what was said before the question', () => {
    waiting = said(V4);
    link.probe(V4.text);
    assert.deepEqual(link.look().rivals, {});
  });

  test('is found once', () => {
    waiting = [...said(V4), ...said(V6)];
    link.probe(V6.text);
    assert.deepEqual(link.look().rivals, { [V4.text]: STRANGER });
    assert.deepEqual(link.look().rivals, {});
  });
});
