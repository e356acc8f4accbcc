import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressText, contains, parseAddress } from '../agent/address.ts';

test('an address is read with and without a prefix length, and kept in one spelling', () => {
  assert.deepEqual(parseAddress('203.0.113.10'), { text: '203.0.113.10', family: 4, prefixLength: 32, bytes: [203, 0, 113, 10] });
  assert.equal(parseAddress('2001:DB8:0:0:1:0:0:1')?.text, '2001:db8::1:0:0:1');
  assert.equal(parseAddress('2001:db8::1/64')?.prefixLength, 64);
});

test('what is no plain address is none', () => {
  for (const text of [
    '',
    'x',
    '10.1',
    '0x7f.0.0.1',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.4/33',
    '1.2.3.4/0',
    '1.2.3.4/',
    '::1/129',
    'fe80::1%eth0',
    '::ffff:1.2.3.4',
    '01.2.3.4/ 8',
  ]) {
    assert.equal(parseAddress(text), null, text);
  }
});

test('a network contains its addresses and no others, nor those of the other family', () => {
  assert.equal(contains([10, 0, 0, 1], 8, [10, 255, 0, 1]), true);
  assert.equal(contains([10, 0, 0, 1], 24, [10, 0, 1, 1]), false);
  assert.equal(contains([10, 0, 0, 1], 8, new Array<number>(16).fill(0)), false);
});

test('bytes are written as people write addresses', () => {
  assert.equal(addressText([203, 0, 113, 10]), '203.0.113.10');
  assert.equal(addressText([0x20, 1, 0xd, 0xb8, ...new Array<number>(11).fill(0), 1]), '2001:db8::1');
});
