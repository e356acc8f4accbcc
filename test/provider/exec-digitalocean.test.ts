/**
 * The command of the overlay, as a person would run it by hand: against a stand-in for DigitalOcean.
 */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { CommandEnd } from '../../agent/host.ts';
import { openChildren } from '../support/children.ts';
import { DigitalOceanModel } from '../support/digitalocean-model.ts';
import { HttpStandIn } from '../support/http-stand-in.ts';
import { REAL_CLOCK } from '../support/real-clock.ts';
import { DIGITALOCEAN, TOKEN } from '../support/stand-ins/exec.ts';

const IP = '203.0.113.10';
const SIX = '2001:db8::10';
const ME = { id: 3_164_494, name: 'web-1' };
const OTHER = { id: 3_164_495, name: 'web-2' };

let model: DigitalOceanModel;
let api: HttpStandIn;
let metadata: HttpStandIn;

beforeEach(async () => {
  model = new DigitalOceanModel({ addresses: [IP, SIX], droplets: [ME, OTHER], actionMs: 50 }, REAL_CLOCK);
  model.dropletBySource.set('127.0.0.1', ME.id);
  api = await new HttpStandIn((exchange) => model.handle(exchange), null).listen();
  metadata = await new HttpStandIn((exchange) => model.handleMetadata(exchange), null).listen();
});
afterEach(async () => {
  model.stopActions();
  await Promise.all([api.close(), metadata.close()]);
});

async function run(...words: readonly string[]): Promise<CommandEnd> {
  return await openChildren().run({
    program: process.execPath,
    args: [DIGITALOCEAN, `--api=${api.url}/v2`, `--metadata=${metadata.url}/metadata/v1`, ...words],
    env: { EXEC_SERVER: 'node-a', EXEC_SECRET: TOKEN },
    operation: 'locate',
    signal: new AbortController().signal,
  });
}

const writes = (): number => api.exchanges.filter(({ method }) => method === 'POST').length;

describe('digitalocean.mjs', () => {
  for (const address of [IP, SIX]) {
    test(`tells where ${address} is, and calls its own Droplet what the node is called`, async () => {
      assert.deepEqual(await run('locate', address), { exitCode: 0, endedBy: null, output: '', complaint: '' });
      model.move(address, OTHER.id);
      assert.equal((await run('locate', address)).output, `web-2/${OTHER.id}\n`);
      model.move(address, ME.id);
      assert.equal((await run('locate', address)).output, 'node-a\n');
    });

    test(`assigns ${address} to its own Droplet, and waits for the action`, async () => {
      model.move(address, OTHER.id);
      assert.equal((await run('claim', address)).exitCode, 0);
      assert.equal(model.ownerOf(address), ME.id);
    });
  }

  test('asked again it does no harm: what is here already is done', async () => {
    model.move(IP, ME.id);
    assert.equal((await run('claim', IP)).exitCode, 0);
    assert.deepEqual([writes(), model.acceptedCount], [1, 0]);
  });

  test('says "busy" while an action runs that somebody else has begun, and begins none', async () => {
    model.actionMs = 60_000;
    model.move(IP, ME.id);
    model.beginAssign(IP, OTHER.id);
    for (const verb of ['locate', 'claim']) assert.equal((await run(verb, IP)).exitCode, 75, verb);
    assert.equal(model.acceptedCount, 0);
  });

  test('says "unavailable" where the action fails', async () => {
    model.actionsEnd = 'errored';
    const { exitCode, complaint } = await run('claim', IP);
    assert.equal(exitCode, 69);
    assert.match(complaint, /has ended as errored/);
  });

  for (const [status, exitCode] of [
    [401, 79],
    [403, 77],
    [404, 68],
    [422, 64],
    [429, 80],
    [500, 81],
  ] as const) {
    test(`ends with ${exitCode} where the API answers ${status}`, async () => {
      const headers = { 'retry-after': '7' };
      api.failNext({ is: 'answer', status, body: { id: 'x', message: 'it says why' }, headers }, ({ method }) => method === 'POST');
      const end = await run('claim', IP);
      assert.equal(end.exitCode, exitCode);
      assert.match(end.complaint, new RegExp(`^POST /reserved_ips/${IP}/actions: ${status} it says why\nretry-after: 7\n$`));
    });
  }

  test('cannot know what became of a claim whose answer was lost', async () => {
    api.failNext({ is: 'cut', when: 'after' }, ({ method }) => method === 'POST');
    assert.equal((await run('claim', IP)).exitCode, 81);
  });

  test('needs the metadata service only where it is not told which Droplet this is', async () => {
    model.dropletBySource.clear();
    const { exitCode, complaint } = await run('locate', IP);
    assert.equal(exitCode, 69);
    assert.match(complaint, /name it with --droplet=ID/);
    assert.equal((await run(`--droplet=${ME.id}`, 'locate', IP)).exitCode, 0);
  });

  test('does not know any other verb', async () => {
    assert.equal((await run('release', IP)).exitCode, 64);
  });
});
