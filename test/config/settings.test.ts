import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { secretsIn } from '../../agent/config/provider-settings.ts';
import { loadSettings, SettingsError, unknownSettings } from '../../agent/config/settings.ts';
import type { Settings } from '../../agent/config/settings.ts';
import { SCHEMA } from '../../agent/config/schema.ts';
import { PROVIDER_NAMES } from '../../agent/provider/profiles.ts';

const WORKING = {
  ADDRESSES: '203.0.113.10',
  PROVIDER: 'hcloud-floating-ip',
  HCLOUD_TOKEN: 'very-secret-token',
  KUBERNETES_SERVICE_HOST: '10.96.0.1',
};
type Env = Readonly<Record<string, string | undefined>>;

function load(env: Env, files: Readonly<Record<string, string>> = {}): Settings {
  const readFile = (path: string): string => files[path] ?? missing(path);
  return loadSettings({ env, hostname: 'my-host', readFile, serviceAccountFolder: '/sa' });
}

function missing(path: string): never {
  throw Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), { code: 'ENOENT' });
}

function problems(env: Env, files: Readonly<Record<string, string>> = {}): readonly string[] {
  try {
    load(env, files);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}

describe('settings', () => {
  test('have the defaults that the documentation names', () => {
    const settings = load(WORKING);
    assert.equal(settings.nodeName, 'my-host');
    assert.deepEqual(settings.lease, {
      name: 'leasehold',
      namespace: 'default',
      durationMs: 3_000,
      renewDeadlineMs: 2_000,
      renewIntervalMs: 500,
    });
    assert.deepEqual(settings.listen, { host: '127.0.0.1', port: 9808 });
    assert.deepEqual(settings.kubernetes, { kind: 'service-account', host: '10.96.0.1', port: '443', folder: '/sa' });
    assert.deepEqual([settings.providerTimeoutMs, settings.verifyIntervalMs, settings.whenAllUnhealthy], [30_000, 30_000, 'keep']);
    assert.deepEqual(settings.probes, []);
  });

  test('cannot be changed once read', () => {
    const settings = load(WORKING);
    assert.ok(Object.isFrozen(settings) && Object.isFrozen(settings.lease) && Object.isFrozen(settings.addresses[0]));
  });

  test('an empty variable counts as unset, and blanks around a value do not matter', () => {
    assert.equal(load({ ...WORKING, LEASE_NAME: '', LEASE_DURATION: ' ' }).lease.name, 'leasehold');
    assert.equal(load({ ...WORKING, LEASE_NAME: ' edge ' }).lease.name, 'edge');
  });

  test('the namespace is the named one, else the pod’s, else the service account’s, else default', () => {
    const files = { '/sa/namespace': 'from-account\n' };
    assert.equal(load({ ...WORKING, LEASE_NAMESPACE: 'named', POD_NAMESPACE: 'pod' }, files).lease.namespace, 'named');
    assert.equal(load({ ...WORKING, POD_NAMESPACE: 'pod' }, files).lease.namespace, 'pod');
    assert.equal(load(WORKING, files).lease.namespace, 'from-account');
  });

  test('what a probe expects may be several answers and ranges', () => {
    const [probe] = load({ ...WORKING, PROBES: 'http://x/#expect=200+401+500-503' }).probes;
    assert.deepEqual(probe?.question.kind === 'http' && probe.question.expect, [
      [200, 200],
      [401, 401],
      [500, 503],
    ]);
  });

  test('the address of the Kubernetes API itself has to be reached some other way', () => {
    const api = (host: string): readonly string[] =>
      problems({ ...WORKING, ADDRESSES: '203.0.113.10/24,2001:db8::1', KUBERNETES_SERVICE_HOST: host });
    for (const host of ['203.0.113.10', '2001:DB8:0::1']) {
      const [problem = '', ...others] = api(host);
      assert.deepEqual(others, []);
      assert.match(
        problem,
        new RegExp(`^KUBERNETES_SERVICE_HOST="${host}" is one of ADDRESSES, .*: name an API server that .*status\\.hostIP`),
      );
    }
    assert.deepEqual([...api('203.0.113.11'), ...api('api.example')], []);
    assert.deepEqual(problems({ ...WORKING, KUBERNETES_SERVICE_HOST: '203.0.113.10', KUBECONFIG: '/k' }, { '/k': '{}' }), []);
  });

  test('the own pod is known where all of it is told', () => {
    const pod = { POD_NAME: 'leasehold-x7k2p', POD_NAMESPACE: 'agents', POD_UID: '5f0c0a4e-0000-4000-8000-000000000001' };
    assert.deepEqual(load({ ...WORKING, ...pod }).pod, { name: pod.POD_NAME, namespace: pod.POD_NAMESPACE, uid: pod.POD_UID });
    for (const name of Object.keys(pod)) assert.equal(load({ ...WORKING, ...pod, [name]: '' }).pod, null, name);
  });

  test('addresses are read in any spelling and kept in one', () => {
    const { addresses } = load({ ...WORKING, ADDRESSES: '203.0.113.10/24, 2001:DB8:0::0001' });
    assert.deepEqual(
      addresses.map(({ text, prefixLength, family }) => [text, prefixLength, family]),
      [
        ['203.0.113.10', 24, 4],
        ['2001:db8::1', 128, 6],
      ],
    );
  });

  test('a probe takes what it leaves out from the settings for all probes', () => {
    const [own, plain] = load({
      ...WORKING,
      PROBES: 'http://127.0.0.1:10254/healthz#interval=2s&fall=5,tcp://127.0.0.1:443',
      PROBE_FALL: '3',
      PROBE_TIMEOUT: '700ms',
    }).probes;
    assert.deepEqual([own?.intervalMs, own?.fall, own?.timeoutMs, own?.name], [2_000, 5, 700, 'http://127.0.0.1:10254/healthz']);
    assert.deepEqual([plain?.intervalMs, plain?.fall, plain?.rise], [1_000, 3, 1]);
  });

  test('TLS is verified except on loopback, unless the probe says otherwise', () => {
    const verify = (probe: string, files = {}): boolean | undefined => {
      const question = load({ ...WORKING, PROBES: probe }, files).probes[0]?.question;
      return question?.kind === 'http' ? question.verifyTls : undefined;
    };
    assert.deepEqual(
      [verify('https://127.0.0.1/'), verify('https://localhost/'), verify('https://[::1]/'), verify('https://10.0.0.1/')],
      [false, false, false, true],
    );
    assert.deepEqual([verify('https://127.0.0.1/#verify=true'), verify('https://10.0.0.1/#verify=false')], [true, false]);
    assert.equal(verify('https://127.0.0.1/#ca=/ca.pem', { '/ca.pem': 'PEM' }), true);
  });

  test('a secret may live in a file, is trimmed, and can be read again', () => {
    const files: Record<string, string> = { '/token': 'first-token\n' };
    const { provider } = load({ ...WORKING, HCLOUD_TOKEN: undefined, HCLOUD_TOKEN_FILE: '/token' }, files);
    assert.ok(provider.name === 'hcloud-floating-ip');
    assert.equal(provider.token.reveal(), 'first-token');
    files['/token'] = 'second-token\n';
    assert.equal(provider.token.reload(), true);
    assert.equal(provider.token.reveal(), 'second-token');
  });

  test('the choice of the interface is left to a provider that tells it, unless INTERFACE names one', () => {
    const alias = { ...WORKING, PROVIDER: 'hcloud-alias-ip' };
    assert.deepEqual(load(alias).interfaceChoice, { is: 'told', mac: null });
    assert.deepEqual(load({ ...alias, INTERFACE: 'enp7s0' }).interfaceChoice, { is: 'name', name: 'enp7s0' });
    assert.deepEqual(load(WORKING).interfaceChoice, { is: 'auto' });
  });

  test('the private network is named by whoever has to, and for others it is found', () => {
    const networkOf = (env: Readonly<Record<string, string>>): unknown => {
      const { provider } = load({ ...WORKING, PROVIDER: 'hcloud-alias-ip', ...env });
      return provider.name === 'hcloud-alias-ip' && provider.network;
    };
    assert.equal(networkOf({ HCLOUD_NETWORK: 'prod' }), 'prod');
    assert.equal(networkOf({}), null);
  });

  test('a user and a password make one login, which is read again from both files', () => {
    const files: Record<string, string> = { '/user': '#ws+example\n', '/password': 'pass:word "1"\n' };
    const env = { ...WORKING, PROVIDER: 'hetzner-robot', ROBOT_USER_FILE: '/user', ROBOT_PASSWORD_FILE: '/password' };
    const { provider, providerTimeoutMs, verifyIntervalMs } = load(env, files);
    assert.ok(provider.name === 'hetzner-robot');
    const sent = (login: string): string => Buffer.from(login).toString('base64');
    assert.equal(provider.login.reveal(), sent('#ws+example:pass:word "1"'));
    files['/password'] = 'the-next-one\n';
    assert.equal(provider.login.reload(), true);
    assert.equal(provider.login.reveal(), sent('#ws+example:the-next-one'));
    assert.ok(
      secretsIn(provider).some(({ everHeld }) => everHeld.includes(sent('#ws+example:pass:word "1"'))),
      'what was sent before stays secret',
    );
    assert.deepEqual([providerTimeoutMs, verifyIntervalMs], [180_000, 300_000]);
  });

  test('a secret does not show, however the settings are printed', () => {
    const settings = load(WORKING);
    for (const text of [JSON.stringify(settings), inspect(settings, { depth: 9 }), secretsIn(settings.provider).join()]) {
      assert.doesNotMatch(text, /very-secret/);
    }
  });
});

describe('what is wrong with settings', () => {
  test('is all said at once, each with the variable, its value and what is accepted', () => {
    const found = problems({
      ...WORKING,
      LEASE_DURATION: '3 seconds',
      ADDRESSES: '203.0.113.300',
      PROVIDER: 'aws',
      LISTEN: '9808',
      PROBE_FALL: '0',
      LOG_LEVEL: 'loud',
    });
    assert.deepEqual(found.map((problem) => problem.split(' ')[0]).sort(), [
      'ADDRESSES="203.0.113.300"',
      'LEASE_DURATION="3',
      'LISTEN="9808"',
      'LOG_LEVEL="loud"',
      'PROBE_FALL="0"',
      'PROVIDER="aws"',
    ]);
    assert.ok(found.includes('LEASE_DURATION="3 seconds" is not accepted: write a duration from 1ms to 1440m, such as 500ms, 3s or 1m'));
    assert.ok(found.includes(`PROVIDER="aws" is not accepted: write ${PROVIDER_NAMES.join(' or ')}`));
  });

  /** A value that is refused, for every setting that can refuse one. */
  const MALFORMED: Readonly<Record<string, readonly string[]>> = {
    NODE_NAME: ['Node A', 'node_a'],
    POD_NAME: ['Upper', 'a_b'],
    POD_NAMESPACE: ['Upper', 'a_b'],
    POD_UID: ['a b', '-x', 'x'.repeat(65)],
    KUBERNETES_SERVICE_HOST: ['https://10.96.0.1', '10.96.0.1:443'],
    KUBERNETES_SERVICE_PORT: ['0', '65536', 'https'],
    LEASE_NAME: ['My Lease', '-x'],
    LEASE_NAMESPACE: ['UPPER'],
    LEASE_DURATION: ['3', '0s', '-1s', '1h', '1.5ms', '25h', 'forever'],
    RENEW_DEADLINE: ['2'],
    RENEW_INTERVAL: ['x'],
    ADDRESSES: [
      '203.0.113.10/33',
      '10.1',
      '::ffff:1.2.3.4',
      'fe80::1',
      '127.0.0.1',
      '224.0.0.1',
      '203.0.113.10,203.0.113.10',
      'example.org',
      '2001:db8::1/0',
      '2001:db8::/64',
      '2001:db8:1:ff00::/56',
      ',',
    ],
    INTERFACE: ['eth0 eth1', 'mac:zz', '/(/'],
    PROVIDER: ['hcloud'],
    PROVIDER_TIMEOUT: ['soon', '4s'],
    VERIFY_INTERVAL: ['often', '1s'],
    HCLOUD_ENDPOINT: ['api.hetzner.cloud', 'ftp://x', 'https://x/?a=b', 'https://x/#y'],
    HCLOUD_METADATA_ENDPOINT: ['169.254.169.254'],
    HCLOUD_SERVER_ID: ['edge-b', '-1', '1e3'],
    NETCUP_ENDPOINT: ['www.servercontrolpanel.de', 'https://x/?a=b'],
    NETCUP_AUTH_ENDPOINT: ['servercontrolpanel'],
    NETCUP_SERVER_ID: ['v22', '0'],
    NETCUP_SERVER_NAME: ['my server', '-v22', 'v22,v23'],
    ROBOT_ENDPOINT: ['robot-ws.your-server.de', 'ftp://robot-ws.your-server.de'],
    ROBOT_SERVER_IP: ['node-a', '2001:db8::1', '203.0.113.31/32'],
    ROBOT_SERVER_IPV6_NET: ['2001:db8:31::2', '203.0.113.31', '2001:db8:31::/48'],
    EXEC_COMMAND: ['move-it', './move-it', "/bin/sh -c 'move it'", '/bin/cat | /bin/cat', '/opt/move $HOME'],
    EXEC_SERVER: ['web 1', 'x'.repeat(257)],
    PROBES: [
      ',,',
      '127.0.0.1:80',
      'icmp://x',
      'tcp://host',
      'tcp://host:1/path',
      'http://x/#fall=none',
      'http://x/#colour=red',
      'tcp://h:1#expect=200',
      'http://x/#expect=2xx',
      'http://x/#verify=maybe',
    ],
    MOVES_PER_HOUR: ['0', '-1', 'none', '1.5'],
    PROBE_INTERVAL: ['1'],
    PROBE_TIMEOUT: ['1 s'],
    PROBE_RISE: ['many'],
    PROBE_FALL: ['1.5'],
    APPLICATION_SELECTOR: [',', 'a=b,', 'a=b c', 'a in b', 'a in ()x', '-a=b', 'a=b=c', 'a/b/c=d', 'a=b;c', 'app:web', '$(X)=y', 'a>1'],
    APPLICATION_SERVICE: ['my service', 'default/web'],
    APPLICATION_NAMESPACE: ['My'],
    APPLICATION_EVICTION: ['yes'],
    APPLICATION_ABSENCE_MAX: ['10', '500ms'],
    LISTEN: ['localhost:9808', '127.0.0.1', '127.0.0.1:0', '127.0.0.1:65536', '::1:9808'],
    CONTROL_SOCKET: ['control.sock', '/run/leasehold/', `/${'x'.repeat(100)}`],
    WHEN_ALL_UNHEALTHY: ['panic'],
    ON_API_LOSS: ['keep'],
    LOG_LEVEL: ['INFO'],
    LOG_FORMAT: ['xml'],
  };
  /** Any text will do for these. */
  const FREE_TEXT = ['KUBECONFIG', 'HCLOUD_NETWORK'];
  /** Refused without being shown. */
  const SECRETS = ['HCLOUD_TOKEN', 'NETCUP_REFRESH_TOKEN', 'ROBOT_USER', 'ROBOT_PASSWORD', 'EXEC_SECRET'];

  test('covers every setting there is', () => {
    assert.deepEqual([...Object.keys(MALFORMED), ...FREE_TEXT, ...SECRETS].sort(), Object.keys(SCHEMA).sort());
  });

  for (const [name, values] of Object.entries(MALFORMED)) {
    for (const value of values) {
      test(`${name}="${value}" is refused with its name, its value and what is accepted`, () => {
        const found = problems({ ...WORKING, [name]: value });
        const shown = value.replace(/\?[^#]*/, '?…');
        const [problem = ''] = found.filter((each) => each.startsWith(`${name}="${shown}" is not accepted`));
        assert.match(problem, /: write .+/, found.join('\n'));
      });
    }
  }

  test('names what is required', () => {
    const found = problems({});
    assert.deepEqual(
      found.map((problem) => problem.split(' ')[0]),
      ['ADDRESSES', 'PROVIDER', 'KUBECONFIG'],
    );
    assert.match(
      problems({ ...WORKING, HCLOUD_TOKEN: undefined })[0] ?? '',
      /^HCLOUD_TOKEN is not set: .* or name a file in HCLOUD_TOKEN_FILE$/,
    );
    assert.deepEqual(problems({ ...WORKING, HCLOUD_TOKEN: undefined, PROVIDER: 'l2' }), []);
    assert.match(problems({ ...WORKING, PROVIDER: 'exec' })[0] ?? '', /^EXEC_COMMAND is not set: .* write the absolute path of a program/);
    assert.deepEqual(problems({ ...WORKING, PROVIDER: 'exec', EXEC_COMMAND: '/opt/move --region=fra1' }), [], 'a secret it need not have');
  });

  test('what netcup needs, and where its refresh token is kept', () => {
    const netcup = { ...WORKING, PROVIDER: 'netcup', HCLOUD_TOKEN: undefined };
    assert.match(problems(netcup).join(), /^NETCUP_REFRESH_TOKEN is not set: .*"leasehold netcup-login".*NETCUP_REFRESH_TOKEN_FILE$/);
    const { provider } = load({ ...netcup, NETCUP_REFRESH_TOKEN_FILE: '/token', NETCUP_SERVER_NAME: 'v22' }, { '/token': 'a.b.c\n' });
    assert.ok(provider.name === 'netcup');
    assert.deepEqual([provider.refreshToken.reveal(), provider.refreshTokenPath, provider.serverName], ['a.b.c', '/token', 'v22']);
    const other = load({ ...netcup, NETCUP_REFRESH_TOKEN: 'a.b.c' }).provider;
    assert.ok(other.name === 'netcup' && other.refreshTokenPath === null);
  });

  test('timings that are not safe together, with the numbers to change', () => {
    const [problem = ''] = problems({ ...WORKING, RENEW_DEADLINE: '3s' });
    assert.match(
      problem,
      /^RENEW_DEADLINE=3000ms, LEASE_DURATION=3000ms cannot be used: .* lower the deadline to 2689ms or raise the duration to 3317ms$/,
    );
    assert.match(problems({ ...WORKING, RENEW_INTERVAL: '1500ms' })[0] ?? '', /RENEW_INTERVAL=1500ms/);
    const fast = { LEASE_DURATION: '600ms', RENEW_DEADLINE: '300ms', RENEW_INTERVAL: '100ms' };
    assert.deepEqual(problems({ ...WORKING, ...fast }), []);
    assert.deepEqual(problems({ ...WORKING, ...fast, HCLOUD_TOKEN: undefined, PROVIDER: 'l2' }), []);
  });

  test('a secret’s file that is missing, empty or named beside the secret itself', () => {
    const withFile = { ...WORKING, HCLOUD_TOKEN: undefined, HCLOUD_TOKEN_FILE: '/token' };
    assert.match(problems(withFile)[0] ?? '', /^HCLOUD_TOKEN_FILE="\/token" cannot be read \(ENOENT\): write the path of a file/);
    assert.match(problems(withFile, { '/token': '\n' })[0] ?? '', /names an empty file: write the token itself/);
    assert.match(problems(withFile, { '/token': 'token: abc' })[0] ?? '', /holds something else: write the token itself/);
    assert.match(problems({ ...withFile, HCLOUD_TOKEN: 'x' }, { '/token': 'y' })[0] ?? '', /both set/);
  });

  test('a user that cannot be one, and a password of two lines, without showing them', () => {
    const env = { ...WORKING, PROVIDER: 'hetzner-robot' };
    assert.deepEqual(problems({ ...env, ROBOT_USER: '#ws+example:hunter2', ROBOT_PASSWORD: 'one\ntwo' }), [
      'ROBOT_USER is not accepted: write the name alone, on one line and without a colon',
      'ROBOT_PASSWORD is not accepted: write the password alone, on one line',
    ]);
    assert.match(
      problems({ ...env, ROBOT_USER: '#ws+example' })[0] ?? '',
      /^ROBOT_PASSWORD is not set: .* or name a file in ROBOT_PASSWORD_FILE$/,
    );
  });

  test('a token that was copied wrongly, without showing it', () => {
    for (const wrong of ['Bearer hunter2', '"hunter2"', 'hunter2…']) {
      assert.deepEqual(problems({ ...WORKING, HCLOUD_TOKEN: wrong }), [
        'HCLOUD_TOKEN is not accepted: write the token itself, in one piece without spaces or quotes',
      ]);
    }
  });

  test('a kubeconfig or a CA bundle that cannot be read', () => {
    assert.match(problems({ ...WORKING, KUBECONFIG: '/nowhere' })[0] ?? '', /^KUBECONFIG="\/nowhere" cannot be read/);
    assert.match(
      problems({ ...WORKING, PROBES: 'https://10.0.0.1/#ca=/nowhere' })[0] ?? '',
      /^PROBES: https:\/\/10\.0\.0\.1\/: ca=\/nowhere cannot be read/,
    );
  });

  test('never shows a secret or what a probe’s URL carried', () => {
    const text = problems({ ...WORKING, HCLOUD_TOKEN_FILE: '/x', PROBES: 'http://user:hunter2@x/' }).join('\n');
    assert.match(text, /PROBES="http:\/\/…@x\/"/);
    assert.doesNotMatch(text, /very-secret|hunter2/);
    for (const url of ['http://a:b@hunter2@x/', 'http://a:hunter2/c@x/', 'icmp://x/?token=hunter2', 'http://x/?token=hunter2#fall=0'])
      assert.doesNotMatch(problems({ ...WORKING, PROBES: url }).join('\n'), /hunter2/, url);
    const misplaced = problems({ ...WORKING, HCLOUD_TOKEN: undefined, HCLOUD_TOKEN_FILE: 'very-secret-token' });
    assert.match(misplaced.join(), /^HCLOUD_TOKEN_FILE cannot be read \(ENOENT\): write the path of a file/);
    assert.doesNotMatch(misplaced.join(), /very-secret/);
  });

  test('is found in any text without a crash', () => {
    const names = Object.keys(SCHEMA);
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.constantFrom(...names),
          fc.oneof(fc.string(), fc.constantFrom('1s', 'none', '203.0.113.1', 'tcp://a:1#', 'http://[', '/a/')),
        ),
        (env) => {
          problems(env);
        },
      ),
      { numRuns: 500 },
    );
  });
});

test('a variable that is probably misspelt is pointed out, and what Kubernetes injects is not', () => {
  const env = {
    ...WORKING,
    LEASE_DURATON: '3s',
    HCLOUD_TOKEN_FILE: 'x',
    PROBE_SERVICE_HOST: '1',
    PROBE_PORT_80_TCP: 'x',
    PATH: '/bin',
    RENEW_INTERVALL: '1',
  };
  assert.deepEqual(unknownSettings(env), ['LEASE_DURATON', 'RENEW_INTERVALL']);
});

describe('an application to stay beside', () => {
  const POD = { POD_NAME: 'leasehold-1', POD_NAMESPACE: 'leasehold', POD_UID: 'u-1' };

  test('is none unless it is named', () => {
    assert.equal(load(WORKING).application, null);
    assert.equal(load({ ...WORKING, APPLICATION_NAMESPACE: 'shop' }).application, null);
  });

  test('is named by labels or by its Service, in the agent’s own namespace unless told otherwise', () => {
    const named = (env: Env): unknown => load({ ...WORKING, ...env }).application?.name;
    assert.deepEqual(named({ APPLICATION_SELECTOR: 'app=web' }), { namespace: 'default', by: { selector: 'app=web' } });
    assert.deepEqual(named({ APPLICATION_SERVICE: 'web', POD_NAMESPACE: 'leasehold' }), { namespace: 'leasehold', by: { service: 'web' } });
    assert.deepEqual(named({ APPLICATION_SERVICE: 'web', LEASE_NAMESPACE: 'other', APPLICATION_NAMESPACE: 'shop' }), {
      namespace: 'shop',
      by: { service: 'web' },
    });
    const both = { APPLICATION_SELECTOR: 'app=web', APPLICATION_SERVICE: 'web' };
    assert.deepEqual(problems({ ...WORKING, ...both }), ['APPLICATION_SELECTOR and APPLICATION_SERVICE are both set: keep one of them']);
  });

  test('is judged as probes are', () => {
    const probe = load({ ...WORKING, APPLICATION_SERVICE: 'web', PROBE_FALL: '5', PROBE_INTERVAL: '2s' }).application?.probe;
    assert.deepEqual(probe, { intervalMs: 2_000, timeoutMs: 1_000, rise: 1, fall: 5 });
  });

  test('leads to an eviction only where that is wanted, and where the agent knows its own pod', () => {
    const named = { ...WORKING, APPLICATION_SERVICE: 'web' };
    assert.equal(load(named).application?.eviction, null);
    assert.equal(load({ ...named, ...POD, APPLICATION_EVICTION: 'false' }).application?.eviction, null);
    assert.deepEqual(load({ ...named, ...POD, APPLICATION_EVICTION: 'true' }).application?.eviction, {
      own: { namespace: 'leasehold', name: 'leasehold-1', uid: 'u-1' },
      delayMs: 10_000,
    });
    assert.equal(
      load({ ...named, ...POD, APPLICATION_EVICTION: 'true', APPLICATION_ABSENCE_MAX: '1m' }).application?.eviction?.delayMs,
      60_000,
    );
    const found = problems({ ...named, APPLICATION_EVICTION: 'true' });
    assert.equal(found.length, 2);
    assert.match(
      found[0] ?? '',
      /^POD_NAME is not set: with APPLICATION_EVICTION=true the agent has to know its own pod, by the downward API/,
    );
    assert.match(
      problems({ ...WORKING, ...POD, APPLICATION_EVICTION: 'true' })[0] ?? '',
      /says nothing without an application: name it in/,
    );
    assert.match(
      problems({ ...named, APPLICATION_EVICTION: 'yes' })[0] ?? '',
      /APPLICATION_EVICTION="yes" is not accepted: write true or false/,
    );
    assert.match(problems({ ...named, APPLICATION_ABSENCE_MAX: '500ms' })[0] ?? '', /write a duration from 1s/);
  });

  test('is found by any labels that kubectl takes', () => {
    for (const selector of [
      'app=web',
      'app==web',
      'app!=web',
      'app=',
      'app',
      '!app',
      'app.kubernetes.io/name=web,app.kubernetes.io/component=controller',
      'tier in (a, b),app notin (c)',
      'tier in (a,b) , x=1',
    ])
      assert.deepEqual(problems({ ...WORKING, APPLICATION_SELECTOR: selector }), [], selector);
  });

  test('whose settings are misspelt is pointed out', () => {
    assert.deepEqual(unknownSettings({ ...WORKING, APPLICATION_SELEKTOR: 'x', APPLICATION_WEB_SERVICE_HOST: 'x' }), [
      'APPLICATION_SELEKTOR',
    ]);
  });
});
