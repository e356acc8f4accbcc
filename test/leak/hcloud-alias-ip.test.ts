/**
 * No secret comes out of an agent that moves alias IPs, whatever the provider says back.
 *
 * Real agents, told by the API on which interface to bind, among servers that echo what they are sent.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { buildAgent } from '../../scripts/build.ts';
import { eventually } from '../support/eventually.ts';
import { HcloudNetworkStandIn } from '../support/hcloud-api.ts';
import type { Exchange, Fault } from '../support/http-stand-in.ts';
import { ip } from '../support/namespaces.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { echoAtTheCut, echoOf, LeakRun } from './leak-run.ts';
import { apiToken, serviceAccountToken } from './secrets.ts';
import { describeTraces, tracesOf } from './traces.ts';
import type { Harvested } from './traces.ts';

const IP = '10.20.0.50';
const [ME, OTHER, NETWORK] = [9_100_202, 9_100_201, 47_001];
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;

const isRead = ({ method }: Exchange): boolean => method === 'GET';

/** One answer after the other that says back what was sent, in whatever an answer has, then none any more. */
function echoing(statuses: readonly number[], isMeant: (exchange: Exchange) => boolean): (exchange: Exchange) => Fault | null {
  let index = 0;
  return (exchange) => {
    const status = isMeant(exchange) ? statuses[index] : undefined;
    if (status === undefined) return null;
    index += 1;
    const said = echoAtTheCut(exchange, index + 3);
    const networks = [{ id: 1, name: said, ip_range: said, subnets: [{ ip_range: said, gateway: said }] }];
    const servers = [{ id: ME, name: echoOf(exchange), private_net: [{ network: NETWORK, ip: said, alias_ips: [], mac_address: said }] }];
    const error = { code: ['invalid_input', said, 'service_error'][index % 3], message: said, details: { fields: [{ name: said }] } };
    const body = status === 200 ? { networks, servers, server: servers[0], actions: [], meta: {} } : { error };
    return { is: 'answer', status, body };
  };
}

describe('no secret comes out of an agent that moves alias IPs', needsNamespaces(), () => {
  let folder: string;
  let bundle: string;
  let run: LeakRun;
  let hcloud: HcloudNetworkStandIn;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-leak-'));
    bundle = await buildAgent(join(folder, 'dist'));
  });
  after(() => rmSync(folder, { recursive: true }));
  beforeEach(async () => {
    const token = apiToken();
    const kubeToken = serviceAccountToken();
    run = await LeakRun.open(bundle, { 'the API token': token, 'the Kubernetes token': kubeToken });
    run.world.kube.tokens.clear();
    run.world.kube.tokens.set(kubeToken, { may: () => true });
    const [mac = ''] = /(?<=link\/ether )\S+/.exec(ip(`link show dev ${run.world.interfaceName}`)) ?? [];
    hcloud = await HcloudNetworkStandIn.start({
      networks: [{ id: NETWORK, name: 'prod', range: '10.20.0.0/16', subnets: [{ range: '10.20.0.0/24', gateway: '10.20.0.1' }] }],
      servers: [
        { id: ME, name: 'edge-b', attachments: [{ network: NETWORK, ip: '10.20.0.12', mac }] },
        { id: OTHER, name: 'edge-a', attachments: [{ network: NETWORK, ip: '10.20.0.11', mac: '86:00:00:aa:bb:11', aliases: [IP] }] },
      ],
      actionMs: 50,
    });
    hcloud.tokens.clear();
    hcloud.tokens.set(token, 'read-write');
    hcloud.serverBySource.set('127.0.0.1', ME);
  });
  afterEach(async () => {
    await run.close();
    await hcloud.ports.close();
  });

  function settings(): Record<string, string | undefined> {
    return {
      PROVIDER: 'hcloud-alias-ip',
      ADDRESSES: IP,
      INTERFACE: undefined,
      HCLOUD_TOKEN: run.planted['the API token'],
      HCLOUD_ENDPOINT: hcloud.ports.endpoint,
      HCLOUD_METADATA_ENDPOINT: hcloud.ports.metadataEndpoint,
      KUBECONFIG: run.kubeconfig({ token: run.planted['the Kubernetes token'] }),
    };
  }

  function harvest(): Harvested[] {
    const sent = hcloud.ports.http.exchanges.map(({ method, path, body, headers }) => {
      const others = Object.entries(headers).filter(([name]) => name !== 'authorization');
      return { from: 'a request to the provider', text: `${method} ${path} ${JSON.stringify(others)} ${body}` };
    });
    return [...run.harvest(), ...sent];
  }

  function assertClean(): void {
    const traces = tracesOf(run.planted, harvest());
    assert.equal(traces.length, 0, `\n${describeTraces(traces)}`);
  }

  for (const level of LEVELS) {
    test(`at the level ${level}`, async () => {
      hcloud.ports.http.faultFor = echoing([401, 200], isRead);
      const { child, ended } = run.start('run', [], { ...settings(), LOG_LEVEL: level });
      await eventually('it has asked', () => hcloud.ports.http.exchanges.length > 1);
      await run.ask();
      hcloud.ports.http.faultFor = echoing([503, 422], (exchange) => !isRead(exchange));
      await run.untilRole('serving');
      await eventually('it is here', () => hcloud.ownerOf(IP) === ME);
      assert.match(ip(`address show dev ${run.world.interfaceName}`), /10\.20\.0\.50/, 'on the interface that the API names');
      hcloud.ports.http.faultFor = echoing([500, 404, 200], isRead);
      const count = hcloud.ports.http.exchanges.length;
      hcloud.move(IP, OTHER);
      for (const args of [['check'], ['check', '--output', 'json'], ['status']]) await run.start(args.join(' '), args, settings()).ended;
      await eventually('it has met with them', () => hcloud.ports.http.exchanges.length > count + 2);
      await run.ask();
      hcloud.ports.http.faultFor = () => null;
      child.kill('SIGTERM');
      await run.untilRole('leaving');
      hcloud.move(IP, OTHER);
      assert.equal(await ended, 0);
      assertClean();
      const came = (from: RegExp, what: RegExp): boolean => harvest().some((each) => from.test(each.from) && what.test(each.text));
      assert.ok(came(/^a request to the provider$/, /POST .*"alias_ips":\["10\.20\.0\.50"\]/));
      assert.ok(came(/^http \/status$/, /"interfaceReason":\s*"the provider names its hardware address/));
      assert.ok(came(/^stdout of check$/, /\[secret\]|network/));
      if (level !== 'fatal') assert.ok(came(/^stdout of run$/, /\[secret\]/), run.output.slice(-2_000));
    });
  }
});
