/**
 * Measures the fence: how exactly an address closes, and whether renewing it ever lets a connection fail.
 *
 * Arguments: `--renewals N` (1,000,000 by default), `--trials N` of each timeout (30 by default). Needs network namespaces.
 * A closing is seen by the last request that was answered and the first that was not, so each figure is an interval; what
 * is printed is its end, the later bound. Ends with 1 if an address closed late or a connection failed.
 */
import { fileURLToPath } from 'node:url';
import { Fence } from '../agent/link/fence.ts';
import { boottimeMs } from '../agent/link/libc.ts';
import { NetlinkSocket, openDatagrams } from '../agent/link/netlink-socket.ts';
import { positive, readOptions } from '../scripts/arguments.ts';
import { exitWith } from '../scripts/exit.ts';
import { findNamespaces, isInside, runInside } from '../test/support/namespaces.ts';
import { addressOf, SharedSegment } from '../test/support/shared-segment.ts';
import type { Ear, Machine } from '../test/support/shared-segment.ts';

const ADDRESS = '192.0.2.100';
const TIMEOUTS_MS = [300, 500, 1_200] as const;
const CONNECTIONS_AT_ONCE = 8;
const RENEWALS_AT_A_TIME = 1_000;
const OPEN_MS = 3_000;

const say = (text = ''): void => void process.stdout.write(`${text}\n`);

function fenceOn(node: Machine): Fence {
  const fence = node.inside(
    () =>
      new Fence(new NetlinkSocket(openDatagrams('netfilter'), 'netfilter'), {
        table: 'leasehold/default/measured',
        addresses: [addressOf(ADDRESS)],
        clock: { nowMs: boottimeMs },
        onNotice: (_, message) => say(message),
      }),
  );
  fence.stand({ [ADDRESS]: node.link() });
  node.ip(`addr add ${ADDRESS}/32 dev eth0`);
  return fence;
}

/** When an address was seen to answer last and not to answer first, less when it was to close, in milliseconds. */
async function closing(fence: Fence, ear: Ear, timeoutMs: number): Promise<{ readonly lastMs: number; readonly firstMs: number }> {
  const untilMs = boottimeMs() + timeoutMs;
  fence.open(ADDRESS, untilMs);
  let lastMs = Number.NaN;
  for (;;) {
    const askedAtMs = boottimeMs();
    const answered = (await ear.whoHas(ADDRESS, 2)) !== null;
    if (answered) lastMs = askedAtMs - untilMs;
    else if (askedAtMs > untilMs - 100) return { lastMs, firstMs: askedAtMs - untilMs };
  }
}

async function measureAccuracy(fence: Fence, ear: Ear, trials: number): Promise<boolean> {
  let isNeverLate = true;
  for (const timeoutMs of TIMEOUTS_MS) {
    const seen: { readonly lastMs: number; readonly firstMs: number }[] = [];
    for (let trial = 0; trial < trials; trial += 1) seen.push(await closing(fence, ear, timeoutMs));
    const firsts = seen.map(({ firstMs }) => firstMs).sort((a, b) => a - b);
    const latestAnswerMs = Math.max(...seen.map(({ lastMs }) => lastMs));
    isNeverLate &&= latestAnswerMs < 0;
    const shown = (ms: number | undefined): string => (ms ?? Number.NaN).toFixed(1);
    say(
      `${timeoutMs} ms: closed ${shown(firsts[0])} to ${shown(firsts.at(-1))} ms after its end (median ${shown(firsts[Math.floor(trials / 2)])}; ` +
        `below zero is early), the latest answer ${shown(latestAnswerMs)} ms after it, ${trials} trials`,
    );
  }
  return isNeverLate;
}

async function measureRenewals(fence: Fence, node: Machine, client: Machine, renewals: number): Promise<boolean> {
  await node.ask({ do: 'listen', port: 80 });
  fence.open(ADDRESS, boottimeMs() + OPEN_MS);
  await client.ask({ do: 'flood', host: ADDRESS, port: 80, atOnce: CONNECTIONS_AT_ONCE });
  const startedAtMs = boottimeMs();
  let refused = 0;
  for (let done = 0; done < renewals;) {
    for (const end = Math.min(renewals, done + RENEWALS_AT_A_TIME); done < end; done += 1)
      if (!fence.open(ADDRESS, boottimeMs() + OPEN_MS)) refused += 1;
    // The messages of the two programs have to get their turn, too.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const seconds = (boottimeMs() - startedAtMs) / 1_000;
  const toll = (await client.ask({ do: 'toll' })) as Record<string, number>;
  const { hello = 0, ...failed } = toll;
  say(
    `${renewals} renewals in ${seconds.toFixed(0)} s (${((seconds * 1e6) / renewals).toFixed(0)} µs each), beside ${hello} connections that were answered; ` +
      `not answered: ${Object.keys(failed).length === 0 ? 'none' : JSON.stringify(failed)}; held up too long: ${refused}`,
  );
  return Object.keys(failed).length === 0;
}

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  const values = readOptions(args, { renewals: { type: 'string', default: '1000000' }, trials: { type: 'string', default: '30' } });
  const [renewals, trials] = [positive('renewals', values.renewals), positive('trials', values.trials)];
  if (!isInside()) {
    const namespaces = findNamespaces();
    if (namespaces.is === 'available') return await runInside(namespaces.unshare, fileURLToPath(import.meta.url), args);
    say(`Nothing can be measured here, because no network namespaces can be had: ${namespaces.why}`);
    return 1;
  }
  const segment = new SharedSegment();
  const node = segment.machine('192.0.2.1/24');
  const client = segment.machine('192.0.2.50/24');
  const fence = fenceOn(node);
  const isNeverLate = await measureAccuracy(fence, client.ear(ADDRESS), trials);
  const isNeverClosed = await measureRenewals(fence, node, client, renewals);
  fence.remove();
  segment.close();
  return isNeverLate && isNeverClosed ? 0 : 1;
}

await exitWith(await main());
