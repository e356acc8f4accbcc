#!/nodejs/bin/node
// A reserved IP of DigitalOcean, for PROVIDER=exec. It is meant to be read and changed: docs/exec.md is the protocol.
//
//   digitalocean.mjs [OPTION…] locate ADDRESS   writes the name of the Droplet that has it, or nothing
//   digitalocean.mjs [OPTION…] claim ADDRESS    assigns it to this Droplet, and waits until that is done
//
// EXEC_SECRET is an API token with the scopes reserved_ip:read and reserved_ip:update, EXEC_SERVER what to call this Droplet.
// --droplet=ID        this Droplet's number, which its metadata service tells otherwise
// --api=URL           https://api.digitalocean.com/v2
// --metadata=URL      http://169.254.169.254/metadata/v1
import { isIPv6 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const EXIT = { invalid: 64, notFound: 68, unavailable: 69, busy: 75, forbidden: 77, unauthorized: 79, rateLimited: 80, unknownOutcome: 81 };
const REQUEST_MS = 4_000;
// An assignment takes some seconds; one that takes longer than this has to be looked at anew.
const ACTION_MS = 45_000;
const POLL_FIRST_MS = 100;
const POLL_MAX_MS = 2_000;

class Failure extends Error {
  constructor(code, message, retryAfter = null) {
    super(message);
    Object.assign(this, { code, retryAfter });
  }
}

const words = process.argv.slice(2);
const options = Object.fromEntries(words.filter((word) => word.startsWith('--')).map((word) => word.slice(2).split(/=(.*)/s)));
const [verb, address = ''] = words.filter((word) => !word.startsWith('--'));
const api = options.api ?? 'https://api.digitalocean.com/v2';
const metadata = options.metadata ?? 'http://169.254.169.254/metadata/v1';
const { EXEC_SECRET: token = '', EXEC_SERVER: self = 'this-droplet' } = process.env;
const [kind, field] = isIPv6(address) ? ['reserved_ipv6', 'reserved_ipv6'] : ['reserved_ips', 'reserved_ip'];
const path = `/${kind}/${address}`;

try {
  if (verb === 'locate') await locate();
  else if (verb === 'claim') await claim();
  else throw new Failure(EXIT.invalid, `${verb ?? 'nothing'} is neither locate nor claim`);
} catch (error) {
  console.error(error instanceof Failure ? error.message : (error.stack ?? String(error)));
  if (error.retryAfter) console.error(`retry-after: ${error.retryAfter}`);
  // Everything is said before the process ends: what it writes to a pipe, it writes at once.
  process.exit(error instanceof Failure ? error.code : 1);
}

async function locate() {
  const [droplet, reserved] = await Promise.all([ownDroplet(), read()]);
  // What has been begun is about to change the answer.
  if (reserved.locked) throw new Failure(EXIT.busy, `${address} is locked: something is being done to it`);
  if (reserved.droplet === null) return;
  console.log(reserved.droplet.id === droplet ? self : `${reserved.droplet.name}/${reserved.droplet.id}`);
}

async function claim() {
  const droplet = await ownDroplet();
  const begun = await assign(droplet);
  if (begun === null) return;
  // The actions of an IPv6 address cannot be asked for below it; Leasehold reads the owner back either way.
  const action = isIPv6(address) ? `/actions/${begun.id}` : `${path}/actions/${begun.id}`;
  let status = begun.status;
  for (
    let pause = POLL_FIRST_MS, until = performance.now() + ACTION_MS;
    status === 'in-progress';
    pause = Math.min(POLL_MAX_MS, pause * 2)
  ) {
    if (performance.now() > until) throw new Failure(EXIT.unknownOutcome, `the action ${begun.id} still runs after ${ACTION_MS / 1_000} s`);
    await sleep(pause);
    status = (await call('GET', action)).action.status;
  }
  if (status !== 'completed') throw new Failure(EXIT.unavailable, `the action ${begun.id} has ended as ${status}`);
}

/** The action that was begun, or null where there is nothing to do. */
async function assign(droplet) {
  try {
    return (await call('POST', `${path}/actions`, { type: 'assign', droplet_id: droplet })).action;
  } catch (error) {
    if (error.status !== 422) throw error;
    // It says so of an address that is here already, too, and of one that something else is being done to.
    const reserved = await read();
    if (reserved.locked || /pending/i.test(error.message)) throw new Failure(EXIT.busy, error.message);
    if (reserved.droplet?.id === droplet) return null;
    throw error;
  }
}

async function read() {
  const reserved = (await call('GET', path))[field];
  if (reserved === undefined) throw new Failure(EXIT.unavailable, `GET ${path}: the answer is no reserved IP`);
  return reserved;
}

async function ownDroplet() {
  const text = options.droplet ?? (await exchange(`${metadata}/id`, {})).body.trim();
  if (/^\d+$/.test(text)) return Number(text);
  throw new Failure(EXIT.unavailable, `${metadata}/id does not tell which Droplet this is: name it with --droplet=ID`);
}

async function call(method, below, json) {
  const request = { method, headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: JSON.stringify(json) };
  const { status, headers, body } = await exchange(api + below, request);
  const answer = parse(body);
  if (status >= 200 && status < 300 && answer !== null) return answer;
  const said = `${method} ${below}: ${status} ${answer?.message ?? answer?.id ?? ''}`.trim();
  throw Object.assign(new Failure(codeOf(status, method), said, headers.get('retry-after')), { status });
}

async function exchange(url, request) {
  const isWrite = request.method === 'POST';
  try {
    const response = await fetch(url, { ...request, redirect: 'manual', signal: AbortSignal.timeout(REQUEST_MS) });
    return { status: response.status, headers: response.headers, body: await response.text() };
  } catch (error) {
    throw new Failure(isWrite ? EXIT.unknownOutcome : EXIT.unavailable, `${url}: ${error.cause?.code ?? error.message}`);
  }
}

function codeOf(status, method) {
  if (status === 401) return EXIT.unauthorized;
  if (status === 403) return EXIT.forbidden;
  if (status === 404) return EXIT.notFound;
  if (status === 429) return EXIT.rateLimited;
  if (status === 400 || status === 422) return EXIT.invalid;
  return method === 'POST' ? EXIT.unknownOutcome : EXIT.unavailable;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
