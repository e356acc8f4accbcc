import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { apiToken, password, serviceAccountToken } from './secrets.ts';
import { tracesOf } from './traces.ts';

describe('the search for secrets', () => {
  for (const [what, secret] of Object.entries({
    'an API token': apiToken(),
    'a service account token': serviceAccountToken(),
    'a password': password(),
  })) {
    const forms: Record<string, string> = {
      plain: secret,
      'cut short': secret.slice(0, 20),
      'the end of one': secret.slice(-20),
      'in JSON': JSON.stringify({ a: { b: secret } }),
      'in JSON in JSON': JSON.stringify({ a: JSON.stringify({ secret }) }),
      'in a URL': `https://x/?t=${encodeURIComponent(secret)}`,
      'in a form': new URLSearchParams({ secret }).toString(),
      'in base64': Buffer.from(secret).toString('base64'),
      'in base64, inside something': Buffer.from(`Bearer ${secret}!`).toString('base64'),
      'in base64, inside something else': Buffer.from(`user:${secret}`).toString('base64url'),
      'in hexadecimal digits': Buffer.from(secret).toString('hex'),
    };
    for (const [form, text] of Object.entries(forms)) {
      test(`finds ${what} ${form}`, () => {
        const traces = tracesOf({ it: secret }, [{ from: 'there', text: `{"msg":"before ${text} after"}` }]);
        assert.ok(traces.some(({ from, secret: name }) => from === 'there' && name === 'it'));
      });
    }
  }

  test('finds nothing where nothing is', () => {
    const traces = tracesOf({ it: apiToken(), other: password() }, [{ from: 'there', text: `${apiToken()} [secret] …` }]);
    assert.deepEqual(traces, []);
  });
});
