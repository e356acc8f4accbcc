import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { Clock } from '../../agent/clock.ts';
import type { ClaimOutcome } from '../../agent/contender/input.ts';
import type { Finding } from '../../agent/finding.ts';
import type { HostInterface } from '../../agent/host.ts';
import type { Provider } from '../../agent/ports.ts';
import { createProviderHttp } from '../../agent/provider/http.ts';
import { operationOf } from '../../agent/provider/netcup-api.ts';
import { claimFrom } from '../support/claim.ts';
import type { ClaimOptions } from '../support/claim.ts';
import { eventually } from '../support/eventually.ts';
import type { Exchange } from '../support/http-stand-in.ts';
import { isAboutTokens, NetcupStandIn } from '../support/netcup-api.ts';
import type { NetcupOptions } from '../support/netcup-model.ts';
import { netcupProvider } from '../support/netcup-provider.ts';
import { OUTBOUND } from '../support/outbound.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';

const IP = '203.0.113.10';
const SIX = '2001:db8:f00:1::1';
const ME = 111_004;
const OTHER = 111_003;
const VIENNA = { id: 5, city: 'Vienna' };
const MAC = '02:00:00:00:00:0b';
const never = new AbortController().signal;

let netcup: NetcupStandIn;

const servers = [
  { id: OTHER, name: 'v2202601000000000010', ip: '198.51.100.11', mac: '02:00:00:00:00:0a' },
  { id: ME, name: 'v2202601000000000011', ip: '198.51.100.12', mac: MAC, network: '2001:db8:5::' },
];

async function start(options: Partial<NetcupOptions> = {}): Promise<void> {
  const failoverIps = [
    { id: 7_781, ip: IP, server: OTHER },
    { id: 9_001, ip: '2001:db8:f00:1::/64', server: OTHER },
  ];
  netcup = await NetcupStandIn.start({ failoverIps, servers, moveMs: 20, ...options });
}

beforeEach(() => start());
afterEach(() => netcup.close());

interface Opened {
  readonly addresses?: string;
  readonly interfaces?: readonly HostInterface[];
  readonly told?: Finding[];
  readonly clock?: Clock;
}

/** Time that passes so many times faster for the provider. */
function hurried(times: number): Clock {
  return {
    nowMs: () => REAL_CLOCK.nowMs() * times,
    wallMs: () => REAL_CLOCK.wallMs(),
    setTimer: (delayMs, callback) => REAL_CLOCK.setTimer(delayMs / times, callback),
  };
}

function open({ addresses = IP, interfaces = [], told = [], clock = REAL_CLOCK }: Opened = {}): Provider {
  return netcupProvider({
    clock,
    http: createProviderHttp(REAL_CLOCK, OUTBOUND),
    env: {
      ADDRESSES: addresses,
      NETCUP_ENDPOINT: netcup.endpoint,
      NETCUP_AUTH_ENDPOINT: netcup.authEndpoint,
      NETCUP_SERVER_ID: String(ME),
    },
    host: { interfaces: () => interfaces },
    told,
  });
}

/** Claims as the loop does. */
async function claim(
  from: Provider,
  { address = IP, ...options }: ClaimOptions & { readonly address?: string } = {},
): Promise<ClaimOutcome> {
  return await claimFrom(from, address, options);
}

const isWrite = ({ method }: Exchange): boolean => method === 'PATCH';
const messageOf = (outcome: ClaimOutcome): string => (outcome.is === 'failed' ? outcome.message : `it is ${outcome.is}`);

describe('a claim', () => {
  test('is not held up for ever by a task that never ends', async () => {
    const another = '2001:db8:f00:1::/64';
    netcup.tasksEnd = 'never';
    netcup.beginRoute(another, OTHER, 1);
    netcup.tasksEnd = 'FINISHED';
    assert.deepEqual(await claim(open({ clock: hurried(20) })), { is: 'confirmed' });
    assert.equal(netcup.ownerOf(IP), ME);
  });

  test('routes once, waits for the task and reads the owner back', async () => {
    assert.deepEqual(await claim(open()), { is: 'confirmed' });
    assert.equal(netcup.ownerOf(IP), ME);
    const asked = netcup.http.exchanges.map(({ method, path }) => `${method} ${path.replace(/\?.*/, '')}`);
    assert.equal(asked.filter((each) => each.startsWith('PATCH')).length, 1);
    assert.ok(asked.includes('GET /scp-core/api/v1/tasks/5b0e8b3e-0000-4000-8000-000000000001'));
    assert.equal(asked.at(-1), 'GET /scp-core/api/v1/users/555001/failoverips/v4');
    assert.deepEqual(JSON.parse(netcup.writes()[0]?.body ?? ''), { serverId: ME });
  });

  test('that is a term’s first waits for a task that somebody else began, and then moves the address after all', async () => {
    netcup.move(IP, ME);
    netcup.beginRoute(IP, OTHER, 250);
    assert.deepEqual(await claim(open()), { is: 'confirmed' });
    assert.equal(netcup.ownerOf(IP), ME);
    assert.equal(netcup.accepted.length, 1);
  });

  test('waits for tasks of every state that is under way, over all their pages', async () => {
    await netcup.close();
    await start({ pageMax: 1 });
    netcup.move(IP, ME);
    // The second waits until the first has ended.
    netcup.beginRoute(IP, OTHER, 100);
    netcup.beginRoute(IP, OTHER, 100);
    assert.deepEqual(await claim(open()), { is: 'confirmed' });
    assert.equal(netcup.ownerOf(IP), ME);
    assert.equal(netcup.accepted.length, 1);
  });

  test('does not believe that an earlier task has ended because it could not be asked about once', async () => {
    netcup.move(IP, ME);
    netcup.beginRoute(IP, OTHER, 400);
    netcup.http.failNext({ is: 'answer', status: 404, body: { message: 'gone' } }, ({ path }) => path.includes('/tasks/'));
    assert.deepEqual(await claim(open()), { is: 'confirmed' });
    assert.equal(netcup.accepted.length, 1, 'the earlier one has taken the address away, and it was claimed back');
  });

  test('is not over before its task is, and does not end well where that does not', async () => {
    netcup.tasksEnd = 'never';
    const outcome = await claim(open(), { deadlineMs: 500 });
    assert.ok(outcome.is === 'failed' && !outcome.definitive);
    assert.equal(netcup.accepted.length, 1);
  });

  for (const state of ['ERROR', 'CANCELED', 'ROLLBACK'] as const) {
    test(`whose task ends as ${state} is tried again, though not at once, as there are few moves`, async () => {
      netcup.tasksEnd = state;
      const outcome = await claim(open(), { deadlineMs: 1_500 });
      assert.ok(outcome.is === 'failed' && !outcome.definitive);
      assert.match(outcome.message, new RegExp(`RouteFailoverIpTask \\(5b0e.*\\) ended as ${state}`));
      if (state === 'ERROR') assert.match(outcome.message, /task\.failed: The node could not be reached/);
      assert.equal(netcup.accepted.length, 1);
    });
  }

  test('whose accepted task is not in the answer is followed by reading', async () => {
    netcup.http.failNext({ is: 'answer', status: 202, when: 'after' }, isWrite);
    assert.deepEqual(await claim(open()), { is: 'confirmed' });
    assert.equal(netcup.accepted.length, 1);
  });

  test('that met the limit leaves netcup alone for half a minute', async () => {
    netcup.isLimited = true;
    const outcome = await claim(open(), { deadlineMs: 3_000 });
    assert.ok(outcome.is === 'failed' && !outcome.definitive);
    assert.match(outcome.message, /429 too\.many\.requests.*10 moves in 5 minutes and 20 in an hour/);
    assert.equal(netcup.writes().length, 1);
  });

  test('says which sites do not go together, and sends nothing', async () => {
    await netcup.close();
    await start({ failoverIps: [{ id: 1, ip: IP, site: VIENNA }] });
    const outcome = await claim(open());
    assert.ok(outcome.is === 'failed' && outcome.definitive);
    assert.match(
      outcome.message,
      /203\.0\.113\.10 belongs to the site Vienna and this server, v2202601000000000011, to the site Nuremberg/,
    );
    assert.equal(netcup.writes().length, 0);
  });

  test('says so, too, where only netcup knows', async () => {
    netcup.http.failNext({ is: 'answer', status: 400, body: { code: 'site', message: 'not within the same site' } }, isWrite);
    const outcome = await claim(open());
    assert.ok(outcome.is === 'failed' && outcome.definitive);
    assert.match(outcome.message, /400 site; not within the same site; 203\.0\.113\.10 belongs to the site Nuremberg and this server/);
    assert.equal(netcup.writes().length, 1);
  });

  test('for an address that may not be routed is refused before anything is sent', async () => {
    await netcup.close();
    await start({ failoverIps: [{ id: 1, ip: IP, editable: false }] });
    const outcome = await claim(open());
    assert.ok(outcome.is === 'failed' && outcome.definitive);
    assert.match(outcome.message, /see 203\.0\.113\.10 and not route it \(editable is false\)/);
    assert.equal(netcup.writes().length, 0);
    const readiness = await open().prepare(never);
    assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
  });

  test('looks for this server anew after netcup did not know it any more', async () => {
    const provider = open();
    await provider.prepare(never);
    netcup.http.failNext({ is: 'answer', status: 404, body: { message: 'Server not found.' } }, isWrite);
    assert.match(messageOf(await claim(provider)), /404.*Server not found/);
    const before = netcup.http.exchanges.length;
    await provider.owner(IP, never);
    assert.ok(netcup.http.exchanges.slice(before).some(({ path }) => path.startsWith(`/scp-core/api/v1/servers/${ME}`)));
  });

  test('whose access token was refused gets another one, and asks again whether it may write', async () => {
    const provider = open();
    await provider.prepare(never);
    netcup.identity.endAccess();
    assert.deepEqual(await claim(provider), { is: 'confirmed' });
    assert.equal(netcup.logins().length, 2);

    netcup.move(IP, OTHER);
    let mayWrite = true;
    netcup.http.faultFor = (exchange) => {
      if (!isWrite(exchange)) return null;
      mayWrite = false;
      return { is: 'answer', status: 401, body: { message: 'no' } };
    };
    assert.deepEqual(await claim(provider, { mayWrite: () => mayWrite }), { is: 'withdrawn' });
    assert.equal(netcup.writes().length, 2, 'one of each claim');
  });

  test('takes few requests beside those that look whether the task has ended', async () => {
    const provider = open();
    await provider.prepare(never);
    const before = netcup.http.exchanges.length;
    assert.deepEqual(await claim(provider), { is: 'confirmed' });
    const asked = netcup.http.exchanges.slice(before).filter(({ path }) => !path.includes('/tasks/'));
    // The tasks of three states, the owner before and after, and the move itself.
    assert.equal(asked.length, 6, asked.map(({ method, path }) => `${method} ${path}`).join('\n'));
  });
});

describe('IPv6', () => {
  for (const networksBy of ['text', 'address'] as const) {
    test(`moves the whole network that an address lies in, where it is found by ${networksBy}`, async () => {
      await netcup.close();
      await start({ networksBy });
      const both = open({ addresses: `${SIX},2001:db8:f00:1::2` });
      const outcomes = await Promise.all([claim(both, { address: SIX }), claim(both, { address: '2001:db8:f00:1::2' })]);
      assert.deepEqual(outcomes, [{ is: 'confirmed' }, { is: 'confirmed' }]);
      assert.equal(netcup.writes().length, 1);
      assert.match(netcup.writes()[0]?.path ?? '', /\/failoverips\/v6\/9001$/);
      assert.equal(netcup.ownerOf(SIX), ME);
    });
  }

  const eth0 = (addresses: readonly string[]): HostInterface[] => [
    { name: 'cni0', mac: '0a:58:0a:00:00:01', addresses: ['10.42.0.1'] },
    { name: 'eth0', mac: MAC, addresses },
  ];
  const nextHop = async (addresses: readonly string[], kept = SIX): Promise<Finding | undefined> =>
    (await open({ addresses: kept, interfaces: eth0(addresses) }).check(never)).find(({ name }) => name === 'IPv6 next hop');

  test('needs the address that the routers look for, and a check says which is missing', async () => {
    const missing = await nextHop(['198.51.100.12', '2001:db8:5::77']);
    assert.equal(missing?.level, 'warn');
    assert.match(missing.message, /^2001:db8:5::ff:fe00:b is missing on eth0/);
    assert.match(missing.advice ?? '', /ip address add 2001:db8:5::ff:fe00:b\/64 dev eth0/);
    assert.equal((await nextHop(['198.51.100.12', '2001:db8:5:0:0:ff:fe00:b']))?.level, 'ok');
    assert.equal(await nextHop(['198.51.100.12'], IP), undefined, 'nobody needs it for IPv4');
    assert.equal(await nextHop([]), undefined, 'where the interface cannot be told apart');
  });
});

describe('preparing', () => {
  test('says who this server is and where', async () => {
    assert.deepEqual(await open().prepare(never), {
      is: 'ready',
      reason: `this is server v2202601000000000011 (${ME}) at the site Nuremberg`,
    });
  });

  test('again and again takes a new access token only when the old one ends', async () => {
    const provider = open();
    for (let round = 0; round < 5; round += 1) assert.equal((await provider.prepare(never)).is, 'ready');
    assert.equal(netcup.logins().length, 1);
  });

  test('names what is missing, and what there is', async () => {
    const readiness = await open({ addresses: `${IP},192.0.2.1` }).prepare(never);
    assert.match(readiness.reason, /^192\.0\.2\.1: no failover IP of the account .* its failover IPs are 203\.0\.113\.10$/);
  });

  test('says what is to be done about a refresh token that was replaced and could not be kept', async () => {
    netcup.identity.atUse = 'replaced';
    const told: Finding[] = [];
    const provider = open({ told });
    const readiness = await provider.prepare(never);
    assert.equal(readiness.is, 'ready');
    assert.match(readiness.reason, /netcup has replaced the refresh token, and the new one could not be written.*leasehold netcup-login/);
    assert.equal(told.length, 1);
    assert.ok((await provider.check(never)).some(({ name, level }) => name === 'refresh token' && level === 'warn'));
  });

  test('that is called off is an answer like any other, and no defect', async () => {
    netcup.http.faultFor = () => ({ is: 'hang', when: 'before' });
    const ending = new AbortController();
    const readiness = open().prepare(ending.signal);
    ending.abort(new Error('the agent ends'));
    assert.deepEqual(await readiness, { is: 'not-ready', isPassing: true, reason: 'the agent ends' });
  });

  test('says what to look at where the account may not be used from here', async () => {
    netcup.allowedFrom = ['192.0.2.1'];
    const readiness = await open().prepare(never);
    assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
    assert.match(readiness.reason, /403.*allow-list/);
  });

  test('waits for a maintenance to be over', async () => {
    netcup.http.faultFor = (exchange) =>
      isAboutTokens(exchange)
        ? null
        : { is: 'answer', status: 503, body: { code: 'maintenance', message: 'Node is in maintenance mode.' } };
    const readiness = await open().prepare(never);
    assert.ok(readiness.is === 'not-ready' && readiness.isPassing);
  });

  test('takes lists as HAL, too', async () => {
    await netcup.close();
    await start({ contentType: 'application/hal+json' });
    assert.equal((await open().prepare(never)).is, 'ready');
    assert.match(String(netcup.http.exchanges.at(-1)?.headers.accept), /application\/hal\+json/);
  });
});

describe('a check', () => {
  const findings = async (opened: Opened = {}): Promise<Record<string, Finding>> =>
    Object.fromEntries((await open(opened).check(never)).map((finding) => [finding.name, finding]));

  test('says whose account it is, which server this is, and where each address is routed to', async () => {
    netcup.move(SIX, ME);
    const found = await findings({ addresses: `${IP},${SIX}` });
    assert.match(found['token']?.message ?? '', /opens the account of user 555001, which has 2 failover IPs of IPv4 and IPv6/);
    assert.match(
      found['server']?.message ?? '',
      /this is server v2202601000000000011 \(111004\) at the site Nuremberg, from NETCUP_SERVER_ID/,
    );
    assert.match(
      found[`address ${IP}`]?.message ?? '',
      /failover IP 7781 .* at the site Nuremberg, routed to server v2202601000000000010 \(111003\)$/,
    );
    assert.match(found[`address ${SIX}`]?.message ?? '', /\(2001:db8:f00:1::\/64\).*routed to server .* which is this one$/);
  });

  test('says in netcup’s words what would be refused', async () => {
    await netcup.close();
    await start({
      failoverIps: [
        { id: 1, ip: IP, site: VIENNA },
        { id: 2, ip: '203.0.113.11', editable: false },
      ],
    });
    const found = await findings({ addresses: `${IP},203.0.113.11,203.0.113.12` });
    assert.equal(found[`address ${IP}`]?.level, 'fail');
    assert.match(found[`address ${IP}`]?.message ?? '', /Vienna .*Nuremberg.* only within its site/);
    assert.match(found['address 203.0.113.11']?.message ?? '', /editable is false/);
    assert.match(found['address 203.0.113.12']?.advice ?? '', /its failover IPs are 203\.0\.113\.10, 203\.0\.113\.11/);
  });

  test('of a refresh token that is not accepted says what to run', async () => {
    netcup.identity.refreshTokens.clear();
    const found = await findings();
    assert.equal(found['token']?.level, 'fail');
    assert.match(found['token'].advice ?? '', /leasehold netcup-login/);
    assert.equal(found['server']?.level, 'warn');
  });

  test('of a server that is not found says what to set', async () => {
    await netcup.close();
    await start({ servers: servers.slice(0, 1) });
    const { server } = await findings();
    assert.equal(server?.level, 'fail');
    assert.match(server.advice ?? '', /NETCUP_SERVER_NAME.*netcup\.noshoes\.xyz\/server-name/);
  });
});

test('an owner that cannot be read is unknown, and never nobody', async () => {
  netcup.http.faultFor = (exchange) =>
    exchange.path.includes('failoverips') ? { is: 'answer', status: 200, body: [{ id: 1, ip: IP, editable: true, server: 'v22' }] } : null;
  assert.equal((await open().owner(IP, never)).is, 'unknown');
});

test('several addresses are claimed at the same time', async () => {
  await netcup.close();
  const ips = ['198.51.100.1', '198.51.100.2', '198.51.100.3'];
  await start({ failoverIps: ips.map((ip, index) => ({ id: index + 1, ip })) });
  netcup.tasksEnd = 'never';
  const all = open({ addresses: ips.join() });
  const claims = ips.map((address) => claim(all, { address, deadlineMs: 2_000 }));
  await eventually('each is asked for, though none has ended', () => netcup.accepted.length === ips.length);
  await Promise.all(claims);
});

test('requests are counted in the words of the documentation', () => {
  assert.equal(operationOf('PATCH', '/users/555001/failoverips/v6/9001'), 'PATCH /api/v1/users/{userId}/failoverips/v6/{id}');
  assert.equal(operationOf('GET', '/servers/111004/interfaces?loadRdns=false'), 'GET /api/v1/servers/{serverId}/interfaces');
  assert.equal(operationOf('GET', '/tasks/5b0e8b3e-0000'), 'GET /api/v1/tasks/{uuid}');
  assert.equal(operationOf('GET', '/tasks?q=x&state=PENDING'), 'GET /api/v1/tasks');
});
