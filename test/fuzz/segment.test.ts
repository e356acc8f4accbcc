import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { announcements, claimFilter, ETH_P_ARP, ETH_P_IPV6, macBytes, probeFor, readClaimed } from '../../agent/link/neighbour-frames.ts';
import type { FilterInstruction } from '../../agent/link/libc.ts';
import { addressOf } from '../support/shared-segment.ts';
import { fuzz } from './cases.ts';

const ADDRESSES = ['192.0.2.100', '192.0.2.101', '2001:db8::100', '2001:db8::101'].map(addressOf);
const MAC = macBytes('02:00:00:00:00:01');

/** What a socket filter lets through, as the kernel runs it: only the instructions that ours are made of. */
function passes(filter: readonly FilterInstruction[], payload: Buffer): boolean {
  let accumulator = 0;
  for (let next = 0; next < filter.length; next += 1) {
    const [code, ifTrue, ifFalse, operand] = filter[next] ?? assert.fail();
    if (code === 0x06) return operand > 0;
    // A load beyond the end lets nothing through.
    if (code === 0x20) {
      if (operand + 4 > payload.length) return false;
      accumulator = payload.readUInt32BE(operand);
    } else if (code === 0x30) {
      if (operand >= payload.length) return false;
      accumulator = payload.readUInt8(operand);
    } else if (code === 0x15) next += accumulator === operand ? ifTrue : ifFalse;
    else assert.fail(`instruction ${code}`);
  }
  return assert.fail('the filter has no end');
}

describe('frames of others', () => {
  test('of whatever contents are read as a claim or as none, without a crash', async (context) => {
    await fuzz(
      context,
      fc.property(fc.constantFrom(ETH_P_ARP, ETH_P_IPV6, 0x0800), fc.uint8Array({ maxLength: 200 }), (protocol, bytes) => {
        const claimed = readClaimed(protocol, Buffer.from(bytes), MAC);
        assert.ok(claimed === null || [4, 16].includes(claimed.bytes.length));
      }),
      2_000,
    );
  });

  test('pass the filter when they claim one of the addresses, and only then', async (context) => {
    for (const protocol of [ETH_P_ARP, ETH_P_IPV6]) {
      const family = protocol === ETH_P_ARP ? 4 : 6;
      const filter = claimFilter(protocol, ADDRESSES.slice(0, -1));
      for (const address of ADDRESSES.filter((each) => each.family === family)) {
        const isOurs = address !== ADDRESSES.at(-1);
        for (const { payload } of announcements(address, MAC, true)) assert.equal(passes(filter, payload), isOurs, address.text);
        assert.equal(passes(filter, probeFor(address, MAC).payload), false);
      }
      await fuzz(
        context,
        fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
          const payload = Buffer.from(bytes);
          const claimed = readClaimed(protocol, payload, MAC);
          if (passes(filter, payload) && claimed !== null)
            assert.ok(ADDRESSES.some((each) => Buffer.from(each.bytes).equals(claimed.bytes)));
        }),
        2_000,
      );
    }
  });

  test('of our own making claim what they were made for', () => {
    for (const address of ADDRESSES) {
      for (const { protocol, payload } of announcements(address, MAC, false)) {
        const claimed = readClaimed(protocol, payload, MAC);
        assert.deepEqual([claimed?.mac, [...(claimed?.bytes ?? [])]], ['02:00:00:00:00:01', address.bytes]);
      }
    }
  });

  test('of an IPv6 router say that they are', () => {
    const [plain] = announcements(addressOf('2001:db8::100'), MAC, false);
    const [router] = announcements(addressOf('2001:db8::100'), MAC, true);
    assert.deepEqual([plain?.payload.readUInt8(44), router?.payload.readUInt8(44)], [0x20, 0xa0]);
  });
});
