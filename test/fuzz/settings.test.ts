import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { addressText, parseAddress } from '../../agent/address.ts';
import { withoutSecrets } from '../../agent/config/formats.ts';
import { SCHEMA } from '../../agent/config/schema.ts';
import { loadSettings, SettingsError } from '../../agent/config/settings.ts';
import { fuzz } from './cases.ts';

const SECRET = 'sEcReT-tOkEn';
const USABLE = {
  ADDRESSES: '203.0.113.10,2001:db8::10',
  PROVIDER: 'l2',
  KUBECONFIG: '/etc/kubeconfig',
  LEASE_DURATION: '5s',
};

const words = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ maxLength: 60 }),
  fc.constantFrom(
    '',
    ' ',
    'none',
    'hcloud-floating-ip',
    '3s',
    '0s',
    '1e9s',
    '99999999999m',
    '-1',
    '/(/',
    '/(a+)+$/',
    'mac:',
    'cidr:',
    'cidr:::/0',
    '203.0.113.10/0',
    '::ffff:1.2.3.4',
    'fe80::1%eth0',
    'http://[::1]:99999/#interval=',
    'http://x/#expect=200-100&rise=0&verify=maybe',
    'tcp://:1#host=x',
    `http://user:${SECRET}@x/`,
    '\0',
    '/'.repeat(5_000),
    '1:'.repeat(500),
    'x'.repeat(5_000),
  ),
);
const PROBE_PARTS = [
  'http://',
  'https://',
  'tcp://',
  '127.0.0.1',
  '[::1]',
  'x',
  ':80',
  '/p',
  '#',
  'interval=',
  'expect=',
  'ca=',
  '/f',
  '&',
  '%',
  '?',
  ',',
  '2s',
  '200',
];
const probes = fc.array(fc.constantFrom(...PROBE_PARTS), { maxLength: 12 }).map((parts) => parts.join(''));
const environments = fc.dictionary(fc.constantFrom(...Object.keys(SCHEMA)), fc.oneof(words, probes), { maxKeys: 6 });

describe('whatever the settings say', () => {
  test('they are usable, or every problem is told in a line of its own and no secret is in it', async (context) => {
    const property = fc.property(environments, (env) => {
      const world = {
        env: { ...USABLE, ...env, HCLOUD_TOKEN: `${SECRET} "` },
        hostname: 'node-a',
        readFile: () => 'text',
        serviceAccountFolder: '/none',
      };
      try {
        loadSettings(world);
      } catch (error) {
        assert.ok(error instanceof SettingsError, String(error));
        assert.ok(error.problems.length > 0);
        assert.ok(!error.message.includes(SECRET), error.message);
      }
    });
    await fuzz(context, property, 1_500);
  });

  test('an address that is read is written in one way and read back as the same', async (context) => {
    const property = fc.property(
      fc.oneof(
        words,
        fc.ipV4(),
        fc.ipV6(),
        fc.tuple(fc.ipV6(), fc.nat(140)).map(([ip, length]) => `${ip}/${length}`),
      ),
      (text) => {
        const address = parseAddress(text);
        if (address === null) return;
        assert.equal(addressText(address.bytes), address.text);
        assert.deepEqual(parseAddress(`${address.text}/${address.prefixLength}`), address);
      },
    );
    await fuzz(context, property, 2_000);
  });

  test('a text of slashes, however long, is shown without what may be a secret at once', () => {
    // It took seconds, growing with the square of the length; the bound leaves room for any machine.
    const startedAtMs = performance.now();
    assert.equal(withoutSecrets(`${'/'.repeat(200_000)}@x?y#z`), '//…@x?…#z');
    assert.equal(withoutSecrets('/'.repeat(200_000)).length, 200_000);
    assert.ok(performance.now() - startedAtMs < 1_000);
  });
});
