import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { blotOut, Secret } from '../agent/secret.ts';

const TOKEN = 'a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6';
const PASSWORD = 'p@ss "wörd"/+&=\\x';

describe('blotting out', () => {
  test('replaces a secret in the forms that it takes on its way', () => {
    for (const secret of [TOKEN, PASSWORD]) {
      const forms = {
        plain: secret,
        'in JSON': JSON.stringify({ secret }),
        'in a URL': `https://x/?a=${encodeURIComponent(secret)}&b`,
        'in a URL, with its escapes written small': '',
        'in a form': new URLSearchParams({ secret }).toString(),
        'in base64': Buffer.from(secret).toString('base64'),
        'in base64 for URLs': Buffer.from(secret).toString('base64url'),
        'in base64 behind a name': Buffer.from(`admin:${secret}`).toString('base64'),
        'in base64 behind another name': Buffer.from(`root:${secret}, and so on`).toString('base64'),
        'in hexadecimal digits': Buffer.from(secret).toString('hex'),
      };
      for (const [what, text] of Object.entries(forms)) {
        if (what.endsWith('small'))
          assert.match(
            blotOut(`https://x/?a=${encodeURIComponent(secret).replace(/%../g, (each) => each.toLowerCase())}`, [secret]),
            /=\[secret\]$/,
          );
        else assert.match(blotOut(text, [secret]), /\[secret\]/, what);
      }
    }
  });

  test('leaves no trace of one that was cut short', () => {
    for (let length = 12; length < TOKEN.length; length += 1) {
      assert.equal(blotOut(`it said ${TOKEN.slice(0, length)}… and so on`, [TOKEN]), 'it said [secret]… and so on');
    }
  });

  test('leaves no trace of one of two that begin alike, as tokens of one kind do, or of which one begins with the other', () => {
    const [one, other] = ['eyJhbGciOiJSUzI1NiJ9.eyJpZCI6MX0.first-signature', 'eyJhbGciOiJSUzI1NiJ9.eyJpZCI6MX0.second-signature'];
    for (const secrets of [
      [one, other],
      [other, one],
    ]) {
      for (const secret of secrets) {
        assert.equal(blotOut(`it said ${secret.slice(0, -3)}`, secrets), 'it said [secret]');
        assert.equal(blotOut(Buffer.from(secret.slice(0, -3)).toString('base64').slice(0, -4), secrets), '[secret]');
      }
      assert.equal(blotOut(`${TOKEN}${TOKEN}`, [TOKEN, `${TOKEN}${TOKEN}`]), '[secret]');
    }
  });

  test('blots out each line of a key, alone and together', () => {
    const key = `-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END PRIVATE KEY-----`;
    assert.equal(blotOut(key, [key]), '[secret]');
    assert.equal(blotOut(JSON.stringify(key), [key]), '"[secret]"');
    assert.equal(blotOut('see AQEFAASCBKcwggSjAgEAAoIB there', [key]), 'see [secret] there');
    assert.match(blotOut(Buffer.from(key).toString('base64'), [key]), /^\[secret\]=*$/);
  });

  test('leaves no rest of one that begins like another', () => {
    const [one, other] = ['p@ss "6c60c19e57174008', 'p@ss "fd676353a5c57684'];
    assert.equal(blotOut(encodeURIComponent(other), [one, other]), '[secret]');
  });

  test('leaves alone what is too short to be one, and everything else', () => {
    assert.equal(blotOut('a short one stays', ['one', '']), 'a short one stays');
    assert.equal(blotOut('nothing to see', [TOKEN]), 'nothing to see');
    assert.equal(blotOut(`${TOKEN} ${TOKEN}`, [TOKEN]), '[secret] [secret]');
  });
});

describe('a secret', () => {
  test('has held every value that it was read as, and what was obtained with it, of very much only the latest', () => {
    let value = TOKEN;
    const secret = new Secret(() => value);
    value = PASSWORD;
    assert.equal(secret.reload(), true);
    secret.remember('obtained-1');
    secret.remember('obtained-1');
    assert.deepEqual(secret.everHeld, [TOKEN, PASSWORD, 'obtained-1']);
    for (let index = 2; index <= 40; index += 1) secret.remember(`obtained-${index}`);
    assert.ok(secret.everHeld.includes('obtained-40') && !secret.everHeld.includes('obtained-1'));
    assert.ok([TOKEN, PASSWORD].every((each) => secret.everHeld.includes(each)));
  });

  test('that is replaced at each use does not grow for ever, and keeps its latest values', () => {
    let count = 0;
    const secret = new Secret(() => `token-${count}`);
    for (count = 1; count <= 1_000; count += 1) secret.reload();
    assert.ok(secret.everHeld.length < 100, String(secret.everHeld.length));
    assert.ok(['token-999', 'token-1000'].every((each) => secret.everHeld.includes(each)));
  });

  test('is replaced for everybody who was refused with the value before it', () => {
    let value = TOKEN;
    const secret = new Secret(() => value);
    assert.equal(secret.isReplaced(TOKEN), false);
    value = PASSWORD;
    assert.equal(secret.isReplaced(TOKEN), true);
    assert.equal(secret.isReplaced(TOKEN), true);
    assert.equal(secret.isReplaced(PASSWORD), false);
  });
});
