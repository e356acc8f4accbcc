/**
 * Takes the pictures of the status page in docs/, of a real agent that has stood by, taken over and met trouble.
 *
 * Needs network namespaces and a browser (Debian: chromium). Arguments: `--folder FOLDER` (docs by default).
 */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContextOptions } from 'playwright-core';
import { AgentWorld } from '../test/support/agent-world.ts';
import { openBrowser } from '../test/support/browser.ts';
import { eventually } from '../test/support/eventually.ts';
import { findNamespaces, ip, isInside, runInside } from '../test/support/namespaces.ts';
import { OtherHolder } from '../test/support/other-holder.ts';
import { readOptions } from './arguments.ts';
import { buildAgent } from './build.ts';
import { exitWith } from './exit.ts';
import { shrunk } from './png.ts';

const DESK = { width: 1_080, height: 800 };
const PHONE = { viewport: { width: 390, height: 800 }, deviceScaleFactor: 2 };
const SERVICE_PORT = 8_080;
/** Long enough that ages are not all nought. */
const SETTLED_MS = 12_000;

async function main(args: readonly string[]): Promise<number> {
  const { folder } = readOptions(args, {
    folder: { type: 'string', default: join(fileURLToPath(new URL('..', import.meta.url)), 'docs') },
  });
  if (!isInside()) {
    const namespaces = findNamespaces();
    if (namespaces.is === 'unavailable') throw new Error(`This takes network namespaces: ${namespaces.why}.`);
    return await runInside(namespaces.unshare, fileURLToPath(import.meta.url), args);
  }
  mkdirSync(folder, { recursive: true });
  const scratch = mkdtempSync(join(tmpdir(), 'leasehold-'));
  const bundle = await buildAgent(join(scratch, 'dist'));
  const browser = await openBrowser();
  const world = await AgentWorld.open();
  const service = http.createServer((_, response) => response.end('ok')).listen(SERVICE_PORT, '127.0.0.1');
  await once(service, 'listening');
  try {
    await play(world, bundle, service, (name, options) => take(browser, world.page, join(resolve(folder), `${name}.png`), options));
  } finally {
    service.close();
    service.closeAllConnections();
    await world.close();
    await browser.close();
    rmSync(scratch, { recursive: true });
  }
  return 0;
}

type Take = (name: string, options: BrowserContextOptions) => Promise<void>;

/** A candidate that takes over when the holder dies, and whose service then fails. */
async function play(world: AgentWorld, bundle: string, service: http.Server, picture: Take): Promise<void> {
  ip('link add eth0 type veth peer name eth1');
  ip('link set eth1 up');
  ip('link set eth0 up');
  const isRole = async (role: string): Promise<boolean> => {
    const status = await world.status();
    return status?.role === role && status.ready && status.hindrance === null;
  };
  const other = new OtherHolder(world.kube, 'node-b_5d41402a_9c0f7e12');
  world.start(bundle, { INTERFACE: 'eth0', PROBES: `http://127.0.0.1:${SERVICE_PORT}/healthz#interval=1s` });
  await eventually('it stands by', () => isRole('standby'));
  await pause(SETTLED_MS);
  await picture('status-page-phone', PHONE);
  other.die();
  await eventually('it serves', () => isRole('serving'));
  await pause(SETTLED_MS);
  await picture('status-page', { viewport: DESK });
  await picture('status-page-dark', { viewport: DESK, colorScheme: 'dark' });
  service.removeAllListeners('request').on('request', (_, response: http.ServerResponse) => response.writeHead(503).end());
  await eventually('it is unfit', async () => (await world.status())?.['relief'] !== null);
  await pause(SETTLED_MS);
  await picture('status-page-trouble', { viewport: DESK });
}

async function take(browser: Browser, url: string, path: string, options: BrowserContextOptions): Promise<void> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  await page.goto(url);
  await page.locator('[data-connection=live]').waitFor({ state: 'attached' });
  // A phone shows what fits on it; a desk the whole page.
  const png = shrunk(await page.screenshot({ fullPage: options.deviceScaleFactor === undefined }));
  writeFileSync(path, png);
  process.stdout.write(`${path}: ${Math.round(png.length / 1_024)} kB\n`);
  await context.close();
}

await exitWith(await main(process.argv.slice(2)));
