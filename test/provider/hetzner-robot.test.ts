import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HETZNER_ROBOT } from '../../agent/provider/hetzner-robot.ts';
import { IP, ME, never, OTHER, problem, RobotWorld, SWITCH_MS } from '../support/robot-world.ts';

const SIX = '2001:db8:ff31::1';
const SIX_NET = '2001:db8:ff31::';
const IPV4 = { ADDRESSES: IP };

const reason = (readiness: { readonly reason: string }): string => readiness.reason;

describe('a claim', () => {
  test('is one read, one switch that takes a minute, and one read', async () => {
    const world = new RobotWorld();
    const provider = world.provider();
    await world.result(provider.prepare(never));
    const before = world.calls.length;
    const beganAtMs = world.clock.nowMs();
    assert.deepEqual(await world.claim(provider), { is: 'confirmed' });
    assert.deepEqual(
      world.calls.slice(before).map(({ operation }) => operation),
      ['GET /failover/{ip}', 'POST /failover/{ip}', 'GET /failover/{ip}'],
    );
    assert.ok(world.clock.nowMs() - beganAtMs < SWITCH_MS + 200, 'nothing is added to what Robot takes');
    assert.equal(world.robot.activeOf(IP), ME.ip);
  });

  test('sends a form, by IPv4, and the login in no other place than its header', async () => {
    const world = new RobotWorld();
    await world.claim(world.provider());
    const post = world.calls.find(({ method }) => method === 'POST') ?? assert.fail();
    assert.deepEqual(
      [post.url, post.form, post.json],
      [`https://robot-ws.your-server.de/failover/${IP}`, { active_server_ip: ME.ip }, undefined],
    );
    assert.ok(world.calls.every(({ family }) => family === 4));
    assert.equal(post.headers['authorization'], `Basic ${Buffer.from('#ws+leasehold:robot-password').toString('base64')}`);
  });

  test('of one that is routed nowhere moves it here', async () => {
    const world = new RobotWorld({ failovers: [{ ip: IP, active: null }] });
    const provider = world.provider();
    assert.deepEqual(await world.result(provider.owner(IP, never)), { is: 'nobody' });
    assert.deepEqual(await world.claim(provider), { is: 'confirmed' });
  });

  test('takes "already routed" for success, and reads that back, too', async () => {
    const world = new RobotWorld();
    const provider = world.provider();
    // It was moved between the read and the write.
    world.faultFor = ({ method }) => {
      if (method === 'POST') world.robot.move(IP, ME.ip);
      return null;
    };
    const beganAtMs = world.clock.nowMs();
    assert.deepEqual(await world.claim(provider), { is: 'confirmed' });
    assert.ok(world.clock.nowMs() - beganAtMs < 1_000, 'nothing has to be waited for');
    assert.equal(world.robot.acceptedCount, 0);
    assert.equal(world.calls.at(-1)?.operation, 'GET /failover/{ip}');
  });

  test('waits while another switch is under way, looks again before each try, and then moves it', async () => {
    const world = new RobotWorld();
    const provider = world.provider();
    await world.result(provider.prepare(never));
    world.robot.beginSwitch(IP, OTHER.ip);
    const atMs: number[] = [];
    world.faultFor = ({ method }) => {
      if (method === 'POST') atMs.push(world.clock.nowMs());
      return null;
    };
    assert.deepEqual(await world.claim(provider), { is: 'confirmed' });
    assert.equal(world.robot.activeOf(IP), ME.ip);
    const pausesMs = atMs.slice(1).map((each, index) => each - (atMs[index] ?? 0));
    assert.ok(pausesMs.length > 3 && pausesMs.every((pauseMs) => pauseMs >= 5_000 && pauseMs <= 10_000), pausesMs.join());
    assert.ok(world.robot.countOf('POST /failover/{ip}') <= 12, 'half of what the hour grants is left');
    assert.equal(world.sent('GET /failover/{ip}'), world.sent('POST /failover/{ip}') + 1);
  });

  test('whose switch is not answered in time does not begin another one, but waits for its end', async () => {
    const world = new RobotWorld({ switchMs: 130_000 });
    assert.deepEqual(await world.claim(world.provider()), { is: 'confirmed' });
    assert.equal(world.robot.acceptedCount, 1);
  });

  for (const end of ['FAILOVER_FAILED', 'FAILOVER_NOT_COMPLETE'] as const) {
    test(`is tried again after a while when it ends with ${end}`, async () => {
      const world = new RobotWorld();
      world.robot.switchesEnd = end;
      let failedAtMs = 0;
      world.faultFor = ({ method }) => {
        if (method === 'POST' && failedAtMs === 0) failedAtMs = world.clock.nowMs() + SWITCH_MS;
        else if (method === 'POST') {
          world.robot.switchesEnd = 'success';
          assert.ok(world.clock.nowMs() - failedAtMs >= 5_000);
        }
        return null;
      };
      assert.deepEqual(await world.claim(world.provider()), { is: 'confirmed' });
    });
  }

  test('writes nothing any more once it may not, however long it has waited for another switch', async () => {
    const world = new RobotWorld();
    const provider = world.provider();
    await world.result(provider.prepare(never));
    world.robot.beginSwitch(IP, OTHER.ip);
    let mayWrite = true;
    world.clock.setTimer(20_000, () => (mayWrite = false));
    assert.deepEqual(await world.claim(provider, { mayWrite: () => mayWrite }), { is: 'withdrawn' });
    assert.equal(world.robot.acceptedCount, 0);
  });

  test('fails for good where the target is no main address of the account, and says which setting that is', async () => {
    const world = new RobotWorld();
    world.faultFor = ({ method }) => (method === 'POST' ? problem(404, 'FAILOVER_NEW_SERVER_NOT_FOUND') : null);
    const outcome = await world.claim(world.provider());
    assert.ok(outcome.is === 'failed' && outcome.definitive);
    assert.match(outcome.message, /FAILOVER_NEW_SERVER_NOT_FOUND.*ROBOT_SERVER_IP/);
  });

  test('fails for good where Robot does not understand what it is sent, and names the fields', async () => {
    const world = new RobotWorld();
    world.faultFor = ({ method }) =>
      method === 'POST' ? problem(400, 'INVALID_INPUT', { missing: ['active_server_ip'], invalid: null }) : null;
    const outcome = await world.claim(world.provider());
    assert.ok(outcome.is === 'failed' && outcome.definitive);
    assert.match(outcome.message, /INVALID_INPUT.*missing: active_server_ip/);
  });
});

describe('a subnet', () => {
  const SUBNET = { ip: '198.51.100.192', netmask: '255.255.255.248', active: OTHER.ip };
  const ADDRESSES = '198.51.100.193,198.51.100.197';

  test('is found by each of its addresses and moves as a whole, by one switch', async () => {
    const world = new RobotWorld({ failovers: [SUBNET, { ip: IP }] });
    const provider = world.provider({ ADDRESSES });
    assert.equal((await world.result(provider.prepare(never))).is, 'ready');
    const claims = ADDRESSES.split(',').map((address) => world.claim(provider, { address }));
    assert.deepEqual(await Promise.all(claims), [{ is: 'confirmed' }, { is: 'confirmed' }]);
    assert.equal(world.robot.acceptedCount, 1);
    assert.equal(world.sent('POST /failover/{ip}'), 1);
    assert.ok(world.calls.some(({ url }) => url.endsWith('/failover/198.51.100.192')));
  });

  test('is read once for all its addresses that are verified together', async () => {
    const world = new RobotWorld({ failovers: [SUBNET] });
    const provider = world.provider({ ADDRESSES });
    await world.result(provider.prepare(never));
    const owners = await world.result(Promise.all(ADDRESSES.split(',').map((address) => provider.owner(address, never))));
    assert.deepEqual(owners, Array(2).fill({ is: 'other', name: 'server 4410032 "node-b" (203.0.113.32)' }));
    assert.equal(world.sent('GET /failover/{ip}'), 1);
  });

  test('does not cover the address after its end', async () => {
    const world = new RobotWorld({ failovers: [SUBNET] });
    const readiness = await world.result(world.provider({ ADDRESSES: '198.51.100.200' }).prepare(never));
    assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
    assert.match(readiness.reason, /198\.51\.100\.200: no failover IP.*there are 198\.51\.100\.192\/29/);
  });
});

describe('an IPv6 net', () => {
  const FAILOVERS = [{ ip: SIX_NET, active: OTHER.ipv6Net }];

  test('moves to the main net of this server, however Robot writes the addresses in it', async () => {
    const world = new RobotWorld({ failovers: FAILOVERS });
    const provider = world.provider({ ADDRESSES: SIX });
    assert.deepEqual(await world.claim(provider, { address: SIX }), { is: 'confirmed' });
    assert.equal(world.robot.activeOf(SIX_NET), ME.ipv6Net);
    assert.equal(world.calls.find(({ method }) => method === 'POST')?.form?.['active_server_ip'], ME.ipv6Net);
    world.faultFor = ({ operation }) =>
      operation === 'GET /failover/{ip}'
        ? {
            status: 200,
            body: { failover: { ip: '2001:0db8:ff31::', netmask: 'ffff:ffff:ffff:ffff::', active_server_ip: '2001:0db8:0031::' } },
          }
        : null;
    assert.deepEqual(await world.result(provider.owner(SIX, never)), { is: 'self' });
  });

  test('needs no list of servers where its target is set', async () => {
    const world = new RobotWorld({ failovers: FAILOVERS });
    world.faultFor = ({ operation }) => (operation === 'GET /server' ? problem(403, 'FORBIDDEN') : null);
    const env = { ADDRESSES: SIX, ROBOT_SERVER_IP: ME.ip, ROBOT_SERVER_IPV6_NET: `${ME.ipv6Net}/64` };
    assert.deepEqual(await world.claim(world.provider(env), { address: SIX }), { is: 'confirmed' });
  });

  test('is not contended for where the main net of this server is not known', async () => {
    const world = new RobotWorld({ failovers: FAILOVERS });
    world.faultFor = ({ operation }) => (operation === 'GET /server' ? problem(403, 'FORBIDDEN') : null);
    const readiness = await world.result(world.provider({ ADDRESSES: SIX, ROBOT_SERVER_IP: ME.ip }).prepare(never));
    assert.ok(readiness.is === 'not-ready');
    assert.match(readiness.reason, /set ROBOT_SERVER_IPV6_NET/);
  });
});

describe('which server this is', () => {
  test('is what the Node says, by number', async () => {
    for (const providerId of ['hrobot://4410031', 'hcloud://bm-4410031']) {
      const world = new RobotWorld();
      world.localAddresses = ['127.0.0.1', '10.0.0.4'];
      world.providerId = providerId;
      const readiness = await world.result(world.provider().prepare(never));
      assert.equal(readiness.is, 'ready', readiness.reason);
      assert.match(readiness.reason, /server 4410031 "node-a" \(203\.0\.113\.31\), from the Node's spec\.providerID/);
    }
  });

  test('is found by the main address on its interface where the Node cannot be read', async () => {
    const world = new RobotWorld();
    assert.match(reason(await world.result(world.provider().prepare(never))), /server 4410031.*from a main address on this machine/);
  });

  test('is found by an address in the main IPv6 net', async () => {
    const world = new RobotWorld();
    world.localAddresses = ['fe80::1', '2001:db8:31::2'];
    assert.match(reason(await world.result(world.provider().prepare(never))), /server 4410031/);
  });

  test('is never told by a failover IP, though that is the main address of a server', async () => {
    const world = new RobotWorld({ servers: [OTHER, { ...ME, ip: IP }] });
    world.localAddresses = [IP, '10.0.0.4'];
    const readiness = await world.result(world.provider().prepare(never));
    assert.equal(readiness.is, 'not-ready');
    assert.match(readiness.reason, /set ROBOT_SERVER_IP/);
  });

  for (const [what, localAddresses] of [
    ['no address is a main address', ['10.0.0.4', '198.51.100.9']],
    ['two addresses are those of two servers', [ME.ip, OTHER.ip]],
  ] as const) {
    test(`is nobody where ${what}: such a server is not ready, and says what to set`, async () => {
      const world = new RobotWorld();
      world.localAddresses = localAddresses;
      const readiness = await world.result(world.provider().prepare(never));
      assert.equal(readiness.is, 'not-ready');
      assert.match(readiness.reason, /cannot tell which server this is: set ROBOT_SERVER_IP \(the Node .* cannot be read/);
      assert.equal((await world.result(world.provider().owner(IP, never))).is, 'unknown');
    });
  }

  test('is nobody where the Node and the addresses contradict each other', async () => {
    const world = new RobotWorld();
    world.providerId = 'hrobot://4410032';
    const readiness = await world.result(world.provider().prepare(never));
    assert.ok(readiness.is === 'not-ready');
    assert.match(readiness.reason, /the Node says.*4410032.*yet this machine has the main address of server 4410031/);
  });

  test('is what ROBOT_SERVER_IP says, and Robot confirms it', async () => {
    const world = new RobotWorld();
    world.localAddresses = ['10.0.0.4'];
    const readiness = await world.result(world.provider({ ROBOT_SERVER_IP: ME.ip }).prepare(never));
    assert.equal(readiness.is, 'ready');
    assert.match(readiness.reason, /server 4410031 "node-a" \(203\.0\.113\.31\), from ROBOT_SERVER_IP/);
  });

  test('is nobody where ROBOT_SERVER_IP is none of the account', async () => {
    const world = new RobotWorld();
    const readiness = await world.result(world.provider({ ROBOT_SERVER_IP: '203.0.113.99' }).prepare(never));
    assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
    assert.match(readiness.reason, /ROBOT_SERVER_IP=203\.0\.113\.99 is the main address of none.*node-a/);
  });

  test('is nobody where nodes share one ROBOT_SERVER_IP and this one is another', async () => {
    const world = new RobotWorld();
    const provider = world.provider({ ROBOT_SERVER_IP: OTHER.ip });
    const readiness = await world.result(provider.prepare(never));
    assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
    assert.match(readiness.reason, /ROBOT_SERVER_IP=203\.0\.113\.32.*yet this machine has that of server 4410031.*leave it unset/);
    assert.equal((await world.claim(provider)).is, 'failed');
    assert.equal(world.sent('POST /failover/{ip}'), 0);
  });

  test('is believed of ROBOT_SERVER_IP where the servers may not be seen, and confirmed as soon as they may', async () => {
    const world = new RobotWorld();
    const provider = world.provider({ ROBOT_SERVER_IP: OTHER.ip });
    world.faultFor = ({ operation }) => (operation === 'GET /server' ? problem(503, 'MAINTENANCE') : null);
    assert.match(reason(await world.result(provider.prepare(never))), /which Robot was not able to confirm/);
    world.faultFor = () => null;
    await world.clock.advance(60_000);
    assert.equal((await world.result(provider.prepare(never))).is, 'not-ready');
  });
});

describe('a login that is not accepted', () => {
  test('is sent once and never again, whoever asks and for however long', async () => {
    const world = new RobotWorld();
    world.robot.logins.clear();
    const provider = world.provider();
    const outcomes = Promise.all([
      provider.prepare(never),
      provider.owner(IP, never),
      provider.check(never),
      world.claim(provider),
      world.claim(provider, { isFirst: false }),
    ]);
    const [readiness, owner, findings, claim] = await world.result(outcomes);
    assert.equal(world.calls.length, 1);
    assert.ok(readiness.is === 'not-ready' && !readiness.isPassing);
    assert.match(readiness.reason, /web-service user.*not the login to Robot itself.*three wrong logins block this machine for 10 minutes/);
    assert.ok(owner.is === 'unknown' && claim.is === 'failed' && claim.definitive);
    assert.ok(findings.some(({ name, level }) => name === 'login' && level === 'fail'));
    for (let hour = 0; hour < 3; hour += 1) {
      await world.clock.advance(3_600_000);
      await world.result(Promise.all([provider.prepare(never), provider.owner(IP, never), provider.check(never), world.claim(provider)]));
    }
    assert.equal(world.calls.length, 1);
    assert.ok(!world.robot.isBlocked(ME.ip));
  });

  test('is sent once by all that asked at the same time as one that had been accepted for long', async () => {
    const world = new RobotWorld({ failovers: [{ ip: IP }, { ip: '198.51.100.201' }, { ip: '198.51.100.202' }, { ip: '198.51.100.203' }] });
    const addresses = [IP, '198.51.100.201', '198.51.100.202', '198.51.100.203'];
    const provider = world.provider({ ADDRESSES: addresses.join() });
    await world.result(provider.prepare(never));
    const before = world.calls.length;
    world.robot.logins.set('#ws+leasehold', 'another');
    await world.result(Promise.all(addresses.map((address) => provider.owner(address, never))));
    assert.equal(world.calls.length - before, 1);
    const readiness = await world.result(provider.prepare(never));
    assert.equal(readiness.is, 'not-ready', 'though what is known is still fresh');
  });

  test('is tried again once the file holds another, at once', async () => {
    const world = new RobotWorld();
    world.robot.logins.set('#ws+leasehold', 'the-second-one');
    const provider = world.provider();
    assert.equal((await world.result(provider.prepare(never))).is, 'not-ready');
    world.files.set('/secret/password', 'the-second-one\n');
    assert.equal((await world.result(provider.prepare(never))).is, 'ready');
    assert.deepEqual(await world.claim(provider), { is: 'confirmed' });
  });

  test('that comes after a rotation is replaced within the same request', async () => {
    const world = new RobotWorld();
    const provider = world.provider();
    await world.result(provider.prepare(never));
    world.robot.logins.set('#ws+leasehold', 'the-second-one');
    world.files.set('/secret/password', 'the-second-one\n');
    assert.deepEqual(await world.claim(provider), { is: 'confirmed' });
  });
});

describe('the hourly limits', () => {
  test('are not used up by agents that only stand by: the list is asked for once an hour', async () => {
    const world = new RobotWorld();
    const provider = world.provider();
    for (let minute = 0; minute < 60; minute += 1) {
      assert.equal((await world.result(provider.prepare(never))).is, 'ready');
      await world.clock.advance(60_000);
    }
    assert.deepEqual([world.sent('GET /failover'), world.sent('GET /server'), world.sent('GET /failover/{ip}')], [1, 1, 0]);
  });

  test('are not used up by asking in vain', async () => {
    const world = new RobotWorld();
    world.faultFor = () => problem(503, 'MAINTENANCE');
    const provider = world.provider();
    for (let halfMinute = 0; halfMinute < 120; halfMinute += 1) {
      await world.result(provider.prepare(never));
      await world.clock.advance(30_000);
    }
    assert.ok(world.calls.length <= 20, `${world.calls.length} requests in an hour`);
  });

  test('are not used up by an address that is missing, and one that was ordered is found within minutes', async () => {
    const world = new RobotWorld({ failovers: [] });
    const provider = world.provider();
    for (let halfMinute = 0; halfMinute < 120; halfMinute += 1) {
      const readiness = await world.result(provider.prepare(never));
      assert.match(readiness.reason, /there are none/);
      await world.clock.advance(30_000);
    }
    assert.ok(world.sent('GET /failover') <= 13, String(world.sent('GET /failover')));
    world.faultFor = ({ operation }) =>
      operation === 'GET /failover'
        ? { status: 200, body: [{ failover: { ip: IP, netmask: '255.255.255.255', active_server_ip: null } }] }
        : null;
    await world.clock.advance(300_000);
    assert.equal((await world.result(provider.prepare(never))).is, 'ready');
  });

  test('leave a claim its reads: where those of one failover are used up, it reads the list', async () => {
    const world = new RobotWorld();
    const provider = world.provider();
    await world.result(provider.prepare(never));
    world.robot.exhaust('GET /failover/{ip}');
    assert.deepEqual(await world.claim(provider), { is: 'confirmed' });
    const owner = await world.result(provider.owner(IP, never));
    assert.ok(owner.is === 'unknown', 'a verification leaves the list alone');
    assert.match(owner.message, /RATE_LIMIT_EXCEEDED.*100 requests are granted in 3600s/);
  });

  test('that are used up are waited for, five minutes at the longest, and a switch is not asked for meanwhile', async () => {
    const world = new RobotWorld();
    const provider = world.provider();
    await world.result(provider.prepare(never));
    world.robot.exhaust('POST /failover/{ip}');
    const outcome = await world.claim(provider);
    assert.ok(outcome.is === 'failed' && !outcome.definitive);
    assert.match(outcome.message, /not confirmed in time: POST .* 50 requests are granted in 3600s/);
    assert.equal(world.sent('POST /failover/{ip}'), 1);
  });

  test('are declared as Robot documents them, each with a part kept for a failover', () => {
    const max = Object.fromEntries(HETZNER_ROBOT.limits.map(({ name, max: granted }) => [name, granted]));
    assert.deepEqual(max, { 'GET /failover/{ip}': 100, 'GET /failover': 100, 'POST /failover/{ip}': 50, 'GET /server': 200 });
    assert.ok(
      HETZNER_ROBOT.limits.every(
        ({ withinMs, reserve, operations, name }) => withinMs === 3_600_000 && reserve > 0 && operations[0] === name,
      ),
    );
    assert.deepEqual(
      HETZNER_ROBOT.limits.flatMap(({ operations }) => operations).sort(),
      Object.keys(HETZNER_ROBOT.operations).sort(),
      'every request counts',
    );
  });
});

describe('a check', () => {
  test('says who this is and how that was found, that the login is accepted, and where each failover is routed and whose it is', async () => {
    const world = new RobotWorld({
      failovers: [
        { ip: IP, active: ME.ip },
        { ip: SIX_NET, active: null },
      ],
    });
    const findings = await world.result(world.provider({ ADDRESSES: `${IP},${SIX}` }).check(never));
    assert.deepEqual(
      findings.map(({ name, level, message }) => `${level} ${name}: ${message}`),
      [
        'ok server: this is server 4410031 "node-a" (203.0.113.31), from a main address on this machine',
        `ok login: Robot accepts ROBOT_USER and ROBOT_PASSWORD; there are ${IP}, ${SIX_NET}/64`,
        `ok address ${IP}: failover ${IP} of server 4410032, routed to server 4410031 "node-a" (203.0.113.31), which is this one; whoever holds the Lease binds it`,
        `ok address ${SIX}: failover ${SIX_NET}/64 of server 4410032, routed to no server; whoever holds the Lease binds it`,
      ],
    );
  });

  test('says of an address that is no failover IP which there are', async () => {
    const world = new RobotWorld();
    const findings = await world.result(world.provider({ ADDRESSES: '198.51.100.7' }).check(never));
    assert.deepEqual(
      findings.filter(({ level }) => level === 'fail').map(({ name, advice }) => `${name}: ${advice ?? ''}`),
      [`address 198.51.100.7: order it, or correct ADDRESSES or ROBOT_USER: there are ${IP}`],
    );
  });

  test('says of an IPv6 net that it cannot be routed here while the main net of this server is not known', async () => {
    const world = new RobotWorld({ failovers: [{ ip: SIX_NET }], servers: [{ number: ME.number, ip: ME.ip }] });
    const findings = await world.result(world.provider({ ADDRESSES: SIX }).check(never));
    assert.match(
      findings.find(({ level }) => level === 'fail')?.message ?? '',
      /main IPv6 net of server 4410031.*set ROBOT_SERVER_IPV6_NET/,
    );
  });
});

describe('what Robot answers', () => {
  test('is not believed where it is no failover, another one, or one whose target cannot be read', async () => {
    const world = new RobotWorld();
    const provider = world.provider(IPV4);
    await world.result(provider.prepare(never));
    const fields = { ip: IP, netmask: '255.255.255.255', active_server_ip: null };
    for (const body of [
      [],
      'well',
      { failover: null },
      { failover: { ...fields, ip: '198.51.100.201' } },
      { failover: { ...fields, netmask: '255.0.255.0' } },
      { failover: { ...fields, active_server_ip: 7 } },
      { failover: { ip: IP, netmask: '255.255.255.255' } },
    ]) {
      world.faultFor = ({ operation }) => (operation === 'GET /failover/{ip}' ? { status: 200, body } : null);
      assert.equal((await world.result(provider.owner(IP, never))).is, 'unknown', JSON.stringify(body));
    }
  });

  test('with 404 is "there are none" only where Robot itself says so', async () => {
    const world = new RobotWorld();
    world.faultFor = () => ({ status: 404, body: '<html>not here</html>' });
    assert.match(reason(await world.result(world.provider().prepare(never))), /GET \/failover: 404/);
  });
});
