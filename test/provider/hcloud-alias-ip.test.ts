import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { ClaimOutcome } from '../../agent/contender/input.ts';
import type { Provider } from '../../agent/ports.ts';
import { Budget } from '../../agent/provider/budget.ts';
import { Budgeted } from '../../agent/provider/budgeted.ts';
import { HCLOUD_ALIAS_IP, HcloudAliasIp } from '../../agent/provider/hcloud-alias-ip.ts';
import { HcloudApi } from '../../agent/provider/hcloud-api.ts';
import { HcloudServerId } from '../../agent/provider/hcloud-server-id.ts';
import { createProviderHttp } from '../../agent/provider/http.ts';
import { Secret } from '../../agent/secret.ts';
import { claimFrom } from '../support/claim.ts';
import type { ClaimOptions } from '../support/claim.ts';
import { eventually } from '../support/eventually.ts';
import { HcloudNetworkStandIn } from '../support/hcloud-api.ts';
import type { HcloudNetworkOptions, ServerSpec } from '../support/hcloud-network-model.ts';
import type { Exchange, Fault } from '../support/http-stand-in.ts';
import { OUTBOUND } from '../support/outbound.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';

const IP = '10.20.0.50';
const SECOND_IP = '10.20.0.51';
const [FOREIGN_HERE, FOREIGN_THERE] = ['10.20.0.60', '10.20.0.61'];
const ME = 9_100_202;
const OTHER = 9_100_201;
const THIRD = 9_100_203;
const NETWORK = 47_001;
const SAME_RANGE = 47_002;
const never = new AbortController().signal;

const network = { id: NETWORK, name: 'prod', range: '10.20.0.0/16', subnets: [{ range: '10.20.0.0/24', gateway: '10.20.0.1' }] };
/** Another network of the same project, with the same range. */
const twin = { ...network, id: SAME_RANGE, name: 'staging' };

const server = (id: number, host: number, aliases: readonly string[] = []): ServerSpec => ({
  id,
  name: `edge-${host}`,
  attachments: [{ network: NETWORK, ip: `10.20.0.${host}`, mac: `86:00:00:AA:BB:${host}`, aliases }],
});
const SERVERS = [server(OTHER, 11, [FOREIGN_THERE, IP]), server(ME, 12, [FOREIGN_HERE]), server(THIRD, 13)];

let hcloud: HcloudNetworkStandIn;

async function start(options: Partial<HcloudNetworkOptions> = {}): Promise<void> {
  hcloud = await HcloudNetworkStandIn.start({ networks: [network, twin], servers: SERVERS, actionMs: 20, ...options });
}

/** Starts anew with something else. */
async function restart(options: Partial<HcloudNetworkOptions>): Promise<void> {
  await hcloud.ports.close();
  await start(options);
}

beforeEach(() => start());
afterEach(() => hcloud.ports.close());

interface ProviderOptions {
  readonly addresses?: readonly string[];
  readonly own?: number;
  readonly network?: string | null;
}

function provider(
  { addresses = [IP], own = ME, network: named = null }: ProviderOptions = {},
  http = createProviderHttp(REAL_CLOCK, OUTBOUND),
): HcloudAliasIp {
  const serverId = new HcloudServerId(http, {
    configured: own,
    metadataEndpoint: hcloud.ports.metadataEndpoint,
    providerId: () => Promise.resolve({ is: 'unknown', reason: 'not asked' }),
  });
  const api = new HcloudApi(http, hcloud.ports.endpoint, new Secret(() => 'hcloud-token'), REAL_CLOCK);
  return new HcloudAliasIp(api, serverId, named, addresses, REAL_CLOCK);
}

/** Claims as the loop does. */
async function claim(
  from: Provider,
  { address = IP, ...options }: ClaimOptions & { readonly address?: string } = {},
): Promise<ClaimOutcome> {
  return await claimFrom(from, address, options);
}

const isWrite = ({ method }: Exchange): boolean => method === 'POST';
const isGive = ({ path, method }: Exchange): boolean => method === 'POST' && path.startsWith(`/v1/servers/${ME}/`);
const aliasesOf = (id: number): string[] => [...hcloud.aliasesOf(id)].sort();
const written = (): object[] => hcloud.accepted.map(({ server: id, aliases }) => ({ server: id, aliases }));

/** Does something once, right before the request that matches is answered. */
function before(matches: (exchange: Exchange) => boolean, work: () => void): void {
  let isDone = false;
  hcloud.ports.http.faultFor = (exchange): Fault | null => {
    if (!isDone && matches(exchange)) {
      isDone = true;
      work();
    }
    return null;
  };
}

describe('a claim', () => {
  test('takes the address from its holder, gives it to this server, and leaves all others on both where they are', async () => {
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.deepEqual(written(), [
      { server: OTHER, aliases: [FOREIGN_THERE] },
      { server: ME, aliases: [FOREIGN_HERE, IP] },
    ]);
    assert.equal(hcloud.ownerOf(IP), ME);
  });

  test('reads both servers back at its end', async () => {
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.match(hcloud.ports.http.exchanges.at(-1)?.path ?? '', /^\/v1\/servers\?/);
  });

  test('goes on where a holder has stopped that had taken it away and not given it yet', async () => {
    const dead = provider({ own: THIRD });
    const end = new AbortController();
    before(
      ({ path }) => path.startsWith(`/v1/servers/${THIRD}/`),
      () => end.abort(),
    );
    assert.deepEqual(await claim(dead, { unwanted: end.signal }), { is: 'withdrawn' });
    assert.equal(hcloud.ownerOf(IP), null, 'it is on no server');
    assert.deepEqual(await provider().owner(IP, never), { is: 'nobody' });
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.deepEqual(written(), [
      { server: OTHER, aliases: [FOREIGN_THERE] },
      { server: ME, aliases: [FOREIGN_HERE, IP] },
    ]);
  });

  test('asks whether it may still write between the two steps', async () => {
    let asked = 0;
    assert.deepEqual(await claim(provider(), { mayWrite: () => (asked += 1) === 1 }), { is: 'withdrawn' });
    assert.deepEqual(written(), [{ server: OTHER, aliases: [FOREIGN_THERE] }]);
  });

  test('of an address that is here already writes nothing', async () => {
    hcloud.move(IP, ME);
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.equal(hcloud.accepted.length, 0);
  });

  for (const isFirst of [true, false]) {
    test(`${isFirst ? 'that is a term’s first' : 'that is a later one'} does not believe "already here" while somebody takes it away`, async () => {
      hcloud.move(IP, ME);
      hcloud.actionMs = 200;
      hcloud.beginChange(ME, [FOREIGN_HERE]);
      assert.deepEqual(await claim(provider(), { isFirst }), { is: 'confirmed' });
      assert.equal(hcloud.ownerOf(IP), ME);
      assert.equal(hcloud.accepted.length, 1, 'it was given back');
    });
  }

  test('waits for no snapshot', async () => {
    hcloud.move(IP, ME);
    hcloud.actionMs = 60_000;
    hcloud.beginOther(ME, 'create_image');
    assert.deepEqual(await claim(provider(), { deadlineMs: 5_000 }), { is: 'confirmed' });
  });

  test('waits for a change that a dead holder had begun on its own server, and takes the address away after it', async () => {
    await restart({ servers: [server(OTHER, 11), server(ME, 12)] });
    hcloud.actionMs = 300;
    hcloud.beginChange(OTHER, [IP]);
    hcloud.actionMs = 20;
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.equal(hcloud.ownerOf(IP), ME);
  });

  test('counts an entry of the list only once its change has ended', async () => {
    await restart({ listChangesAt: 'start', actionMs: 300 });
    let isOver = false;
    const outcome = claim(provider()).finally(() => (isOver = true));
    await eventually('the list shows it', () => hcloud.ownerOf(IP) === ME);
    assert.equal(isOver, false);
    assert.deepEqual(await outcome, { is: 'confirmed' });
  });

  for (const notReleased of ['ip_not_available', 'invalid_input', 'conflict', 'service_error'] as const) {
    test(`begins again when the address turns out not to be released yet, which the provider calls ${notReleased}`, async () => {
      await restart({ notReleased });
      // Somebody else is faster between the two steps.
      before(isGive, () => hcloud.move(IP, THIRD));
      assert.deepEqual(await claim(provider()), { is: 'confirmed' });
      assert.equal(hcloud.ownerOf(IP), ME);
      assert.deepEqual(aliasesOf(THIRD), []);
    });
  }

  test('believes the lists read back and not the action that succeeded', async () => {
    let isFirst = true;
    await restart({
      onOwner: (ip, owner) => {
        if (ip !== IP || owner !== ME || !isFirst) return;
        isFirst = false;
        hcloud.move(IP, THIRD);
      },
    });
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.equal(hcloud.ownerOf(IP), ME);
  });

  test('gets over a holder that is deleted meanwhile', async () => {
    before(isWrite, () => hcloud.deleteServer(OTHER));
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.equal(hcloud.ownerOf(IP), ME);
  });

  test('finds the holder on whichever page it is', async () => {
    const many = Array.from({ length: 120 }, (_, index) => ({ id: index + 1, name: `s${index}`, attachments: [] }));
    await restart({ servers: [server(ME, 12), ...many, server(OTHER, 11, [IP])] });
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.deepEqual([hcloud.ownerOf(IP), aliasesOf(OTHER)], [ME, []]);
  });

  test('touches the entries of its own network alone', async () => {
    const elsewhere = { network: SAME_RANGE, ip: '10.20.0.11', mac: '86:00:00:aa:bb:99', aliases: [IP] };
    await restart({
      servers: [{ ...server(OTHER, 11, [IP]), attachments: [elsewhere, ...server(OTHER, 11, [IP]).attachments] }, server(ME, 12)],
    });
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.deepEqual([hcloud.ownerOf(IP, NETWORK), hcloud.ownerOf(IP, SAME_RANGE)], [ME, OTHER]);
  });

  test('of an action that never ends is given up at its deadline', async () => {
    hcloud.actionsEnd = 'never';
    const outcome = await claim(provider(), { deadlineMs: 400 });
    assert.ok(outcome.is === 'failed' && !outcome.definitive);
    assert.match(outcome.message, /not confirmed in time/);
  });

  for (const step of ['taking away', 'giving'] as const) {
    test(`tries again when the action of ${step} fails`, async () => {
      const provoked = step === 'giving' ? isGive : isWrite;
      before(provoked, () => (hcloud.actionsEnd = 'error'));
      const outcome = claim(provider());
      const count = step === 'giving' ? 2 : 1;
      await eventually('it has been accepted', () => hcloud.accepted.length === count);
      hcloud.actionsEnd = 'success';
      assert.deepEqual(await outcome, { is: 'confirmed' });
      assert.deepEqual([aliasesOf(ME), aliasesOf(OTHER)], [[FOREIGN_HERE, IP].sort(), [FOREIGN_THERE]]);
    });
  }

  test('says at its deadline what the provider said last', async () => {
    hcloud.ports.http.faultFor = (exchange) =>
      isGive(exchange)
        ? { is: 'answer', status: 422, body: { error: { code: 'ip_not_available', message: 'IP is not available' } } }
        : null;
    const outcome = await claim(provider(), { deadlineMs: 800 });
    assert.ok(outcome.is === 'failed' && !outcome.definitive);
    assert.match(
      outcome.message,
      /not confirmed in time: the provider cannot give 10\.20\.0\.50 yet: .*ip_not_available; IP is not available/,
    );
  });
});

describe('two at once', () => {
  test('two addresses of one agent are moved from one server to another, and none is lost', async () => {
    await restart({ servers: [server(OTHER, 11, [IP, FOREIGN_THERE, SECOND_IP]), server(ME, 12, [FOREIGN_HERE])] });
    const both = provider({ addresses: [IP, SECOND_IP] });
    const outcomes = await Promise.all([claim(both), claim(both, { address: SECOND_IP })]);
    assert.deepEqual(outcomes, [{ is: 'confirmed' }, { is: 'confirmed' }]);
    assert.deepEqual([aliasesOf(ME), aliasesOf(OTHER)], [[FOREIGN_HERE, IP, SECOND_IP].sort(), [FOREIGN_THERE]]);
    assert.equal(hcloud.ports.writes().length, 4, 'no write was in vain');
  });

  test('two addresses that nobody has are given to a server one after the other', async () => {
    await restart({ servers: [server(ME, 12, [FOREIGN_HERE])], actionMs: 100 });
    // So that both would have read the list before either has changed it.
    hcloud.ports.http.faultFor = (exchange) => (isWrite(exchange) ? { is: 'delay', ms: 100, when: 'before' } : null);
    const both = provider({ addresses: [IP, SECOND_IP] });
    const outcomes = await Promise.all([claim(both), claim(both, { address: SECOND_IP })]);
    assert.deepEqual(outcomes, [{ is: 'confirmed' }, { is: 'confirmed' }]);
    assert.deepEqual(aliasesOf(ME), [FOREIGN_HERE, IP, SECOND_IP].sort());
    assert.equal(hcloud.ports.writes().length, 2, 'neither was turned away');
  });

  test('two servers that both believe to hold it end with it on one of them, and keep the others’ addresses', async () => {
    const outcomes = await Promise.all([claim(provider({ own: ME })), claim(provider({ own: THIRD }))]);
    assert.ok(outcomes.some(({ is }) => is === 'confirmed'));
    assert.ok([ME, THIRD].includes(hcloud.ownerOf(IP) ?? 0));
    assert.deepEqual([ME, THIRD, OTHER].filter((id) => hcloud.aliasesOf(id).includes(IP)).length, 1);
    assert.ok(hcloud.aliasesOf(ME).includes(FOREIGN_HERE) && hcloud.aliasesOf(OTHER).includes(FOREIGN_THERE));
  });

  test('agents of two installations on one server, each with an address of its own, both have them in the end', async () => {
    await restart({ servers: [server(OTHER, 11, [IP, SECOND_IP]), server(ME, 12)], actionMs: 30 });
    const outcomes = await Promise.all([claim(provider()), claim(provider({ addresses: [SECOND_IP] }), { address: SECOND_IP })]);
    assert.deepEqual(outcomes, [{ is: 'confirmed' }, { is: 'confirmed' }]);
    assert.deepEqual(aliasesOf(ME), [IP, SECOND_IP]);
  });
});

describe('what another program changes between the read of a list and its replacement', () => {
  // Long enough for a read while it runs, on a busy machine, too.
  beforeEach(() => (hcloud.actionMs = 500));

  for (const [where, id, matches] of [
    ['this server', ME, isGive],
    ['the server that had the address', OTHER, ({ path, method }: Exchange): boolean => method === 'POST' && path.includes(String(OTHER))],
  ] as const) {
    test(`is not lost on ${where}: an address that came in is put back`, async () => {
      before(matches, () => hcloud.setAliases(id, [...hcloud.aliasesOf(id), '10.20.0.70']));
      assert.deepEqual(await claim(provider()), { is: 'confirmed' });
      assert.ok(hcloud.aliasesOf(id).includes('10.20.0.70'), String(hcloud.aliasesOf(id)));
      assert.equal(hcloud.ownerOf(IP), ME);
    });

    test(`is not undone on ${where}: an address that was taken away does not come back`, async () => {
      const gone = id === ME ? FOREIGN_HERE : FOREIGN_THERE;
      before(matches, () =>
        hcloud.setAliases(
          id,
          hcloud.aliasesOf(id).filter((each) => each !== gone),
        ),
      );
      assert.deepEqual(await claim(provider()), { is: 'confirmed' });
      assert.ok(!hcloud.aliasesOf(id).includes(gone), String(hcloud.aliasesOf(id)));
    });
  }

  test('is put right only while it may write', async () => {
    let asked = 0;
    before(isGive, () => hcloud.setAliases(ME, [...hcloud.aliasesOf(ME), '10.20.0.70']));
    assert.deepEqual(await claim(provider(), { mayWrite: () => (asked += 1) <= 2 }), { is: 'withdrawn' });
    assert.equal(hcloud.accepted.length, 2);
  });

  test('is left to whoever has the address by now', async () => {
    let given = 0;
    hcloud.ports.http.faultFor = (exchange) => {
      if (isGive(exchange)) given += 1;
      if (isGive(exchange) && given === 1) hcloud.setAliases(ME, [...hcloud.aliasesOf(ME), '10.20.0.70']);
      if (isGive(exchange) && given === 2) hcloud.setAliases(THIRD, ['10.20.0.70']);
      return null;
    };
    assert.deepEqual(await claim(provider()), { is: 'confirmed' });
    assert.equal(given, 2);
    assert.equal(hcloud.ownerOf('10.20.0.70'), THIRD);
  });
});

describe('refused, with nothing written,', () => {
  for (const [what, address, message] of [
    [
      'is an address that is some server’s own',
      '10.20.0.13',
      /10\.20\.0\.13 is the own address of the server edge-13 \(9100203\) in the network prod/,
    ],
    [
      'is an address outside every subnet',
      '10.20.7.5',
      /10\.20\.7\.5 is in no subnet of the network prod \(47001\): its subnets are 10\.20\.0\.0\/24/,
    ],
    ['is the gateway', '10.20.0.1', /10\.20\.0\.1 is a gateway of the network prod/],
    ['is an IPv6 address', '2001:db8::50', /2001:db8::50 is no IPv4 address/],
  ] as const) {
    test(what, async () => {
      const refusing = provider({ addresses: [address] });
      const outcome = await claim(refusing, { address });
      assert.ok(outcome.is === 'failed' && outcome.definitive, JSON.stringify(outcome));
      assert.match(outcome.message, message);
      const readiness = await refusing.prepare(never);
      assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
      assert.match(readiness.reason, message);
      const finding = (await refusing.check(never)).find(({ name }) => name === `address ${address}`);
      assert.equal(finding?.level, 'fail');
      assert.equal(hcloud.ports.writes().length, 0);
    });
  }

  test('is the address that Hetzner reserves, whatever the subnets are', async () => {
    const wide = { ...network, range: '172.16.0.0/12', subnets: [{ range: '172.31.0.0/16', gateway: '172.31.0.1' }] };
    await restart({ networks: [wide] });
    const outcome = await claim(provider({ addresses: ['172.31.1.1'] }), { address: '172.31.1.1' });
    assert.ok(outcome.is === 'failed' && outcome.definitive);
    assert.match(outcome.message, /reserved by Hetzner/);
  });

  test('is a server that has five others already', async () => {
    const five = [1, 2, 3, 4, 5].map((host) => `10.20.0.10${host}`);
    await restart({ servers: [server(OTHER, 11, [IP]), server(ME, 12, five)] });
    const outcome = await claim(provider());
    assert.ok(outcome.is === 'failed' && outcome.definitive);
    assert.match(outcome.message, /server edge-12 \(9100202\) cannot have 10\.20\.0\.50 .* 5 alias IPs are the most/);
    const readiness = await provider().prepare(never);
    assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
    assert.ok((await provider().check(never)).some(({ name, level }) => name === 'network' && level === 'fail'));
    assert.equal(hcloud.ports.writes().length, 0, 'nor was it taken away from its holder');
  });

  test('is a server that is not in the network', async () => {
    const ready = provider();
    assert.equal((await ready.prepare(never)).is, 'ready');
    hcloud.detach(ME);
    const outcome = await claim(ready);
    assert.ok(outcome.is === 'failed' && outcome.definitive, JSON.stringify(outcome));
    assert.match(outcome.message, /not in the network prod \(47001\) any more/);
    assert.equal(hcloud.ports.writes().length, 0, 'nor was it taken away from its holder');
    const again = await claim(ready);
    assert.ok(again.is === 'failed' && again.definitive);
    assert.match(again.message, /is in no private network/);
  });
});

describe('the network', () => {
  const inBoth: ServerSpec = {
    ...server(ME, 12),
    attachments: [...server(ME, 12).attachments, { network: SAME_RANGE, ip: '10.20.0.12', mac: '86:00:00:aa:bb:77' }],
  };

  test('is found by itself where the server is in one', async () => {
    assert.deepEqual(await provider().prepare(never), {
      is: 'ready',
      reason: 'this is server edge-12 (9100202), with 10.20.0.12 in the network prod (47001)',
      mac: '86:00:00:aa:bb:12',
    });
  });

  test('has to be named where the server is in several, which the error lists', async () => {
    await restart({ servers: [inBoth] });
    const readiness = await provider().prepare(never);
    assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
    assert.match(readiness.reason, /set HCLOUD_NETWORK to the one .* of prod \(47001\), staging \(47002\)/);
  });

  for (const named of ['staging', String(SAME_RANGE)]) {
    test(`is the one that HCLOUD_NETWORK=${named} names, and so is the interface`, async () => {
      await restart({ servers: [inBoth] });
      const readiness = await provider({ network: named }).prepare(never);
      assert.ok(readiness.is === 'ready', readiness.reason);
      assert.equal(readiness.mac, '86:00:00:aa:bb:77');
    });
  }

  test('that does not exist is an error that names those that do', async () => {
    const readiness = await provider({ network: 'production' }).prepare(never);
    assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
    assert.match(readiness.reason, /HCLOUD_NETWORK="production" is no network .* it has prod \(47001\), staging \(47002\)/);
  });

  test('that the server is not in is an error that names both', async () => {
    const readiness = await provider({ network: 'staging' }).prepare(never);
    assert.ok(readiness.is === 'not-ready');
    assert.match(readiness.reason, /this server edge-12 \(9100202\) is not in the network staging \(47002\)/);
  });

  test('of a server of another project is not looked for', async () => {
    const readiness = await provider({ own: 5 }).prepare(never);
    assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
    assert.match(readiness.reason, /this server \(5\) is none of the project that HCLOUD_TOKEN belongs to/);
  });
});

test('the owner is this server, another, nobody, or unknown', async () => {
  const reading = provider();
  assert.deepEqual(await reading.owner(IP, never), { is: 'other', name: 'server edge-11 (9100201)' });
  hcloud.move(IP, ME);
  assert.deepEqual(await reading.owner(IP, never), { is: 'self' });
  hcloud.move(IP, null);
  assert.deepEqual(await reading.owner(IP, never), { is: 'nobody' });
  hcloud.ports.http.failNext({ is: 'answer', status: 500, body: {} });
  assert.equal((await reading.owner(IP, never)).is, 'unknown');
});

test('a holder reads its own server alone', async () => {
  hcloud.move(IP, ME);
  const reading = provider();
  await reading.prepare(never);
  const { exchanges } = hcloud.ports.http;
  const count = exchanges.length;
  await reading.owner(IP, never);
  assert.deepEqual(
    exchanges.slice(count).map(({ path }) => path),
    [`/v1/servers/${ME}`],
  );
});

test('a list that cannot be read is never replaced', async () => {
  const isRead = ({ path, method }: Exchange): boolean => method === 'GET' && path === `/v1/servers/${ME}`;
  for (const aliases of ['10.20.0.60', [42], [FOREIGN_HERE, 'nonsense']]) {
    const body = { server: { id: ME, name: 'edge-12', private_net: [{ network: NETWORK, ip: '10.20.0.12', alias_ips: aliases }] } };
    hcloud.ports.http.faultFor = (exchange) => (isRead(exchange) ? { is: 'answer', status: 200, body } : null);
    const outcome = await claim(provider(), { deadlineMs: 200 });
    assert.ok(outcome.is === 'failed' && !outcome.definitive);
    assert.match(outcome.message, /in a form that cannot be read/);
  }
  assert.ok(hcloud.accepted.every(({ server: id }) => id !== ME));
});

test('a network in which an interface is not named leaves the choice to a person, and the preflight says so', async () => {
  hcloud.ports.http.faultFor = ({ path }) => {
    if (!path.startsWith('/v1/servers?')) return null;
    const servers = [{ id: ME, name: 'edge-12', private_net: [{ network: NETWORK, ip: '10.20.0.12', alias_ips: [] }] }];
    return { is: 'answer', status: 200, body: { servers, meta: { pagination: { next_page: null } } } };
  };
  const readiness = await provider().prepare(never);
  assert.ok(readiness.is === 'ready' && readiness.mac === undefined);
  const finding = (await provider().check(never)).find(({ name }) => name === 'network');
  assert.deepEqual([finding?.level, finding?.advice], ['warn', 'name the interface in INTERFACE']);
});

test('the preflight says where this server is in the network, and where each address is routed', async () => {
  const findings = await provider({ addresses: [IP, SECOND_IP] }).check(never);
  const messages = Object.fromEntries(findings.map(({ name, message }) => [name, message]));
  assert.match(
    messages['network'] ?? '',
    /10\.20\.0\.12 in the network prod \(47001\), on the interface with the hardware address 86:00:00:aa:bb:12/,
  );
  assert.match(messages['token'] ?? '', /3 servers and 2 networks/);
  assert.match(messages[`address ${IP}`] ?? '', /routed to server edge-11 \(9100201\)/);
  assert.match(messages[`address ${SECOND_IP}`] ?? '', /routed to no server/);
  assert.equal(hcloud.ports.writes().length, 0);
});

/** As an agent has it, behind the ledger. */
function withLedger(movesPerHour: number): Provider {
  const budgeted = new Budgeted(new Budget(HCLOUD_ALIAS_IP, { addresses: [IP], movesPerHour }, REAL_CLOCK, () => undefined), REAL_CLOCK);
  return budgeted.provider(provider({}, budgeted.http(createProviderHttp(REAL_CLOCK, OUTBOUND))));
}

describe('a move that has begun is ended, because the address is on no server in between', () => {
  test('also where MOVES_PER_HOUR allows no other request; the next one is not begun', async () => {
    const holder = withLedger(1);
    assert.deepEqual(await claim(holder, { isFirst: false }), { is: 'confirmed' });
    assert.equal(hcloud.ownerOf(IP), ME);
    hcloud.setAliases(ME, []);
    hcloud.setAliases(OTHER, [IP]);
    assert.equal((await claim(holder, { isFirst: false, deadlineMs: 300 })).is, 'failed');
    assert.equal(hcloud.ownerOf(IP), OTHER);
  });

  test('also where the provider says meanwhile that few requests are left', async () => {
    const holder = withLedger(30);
    hcloud.ports.http.faultFor = (exchange) => {
      if (isWrite(exchange)) hcloud.remaining = 60;
      return null;
    };
    assert.deepEqual(await claim(holder, { isFirst: false, deadlineMs: 3_000 }), { is: 'confirmed' });
  });
});
