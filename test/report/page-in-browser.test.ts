import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { buildAgent } from '../../scripts/build.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import { AgentWorld, IP, OTHER_SERVER } from '../support/agent-world.ts';
import { needsBrowser, openBrowser } from '../support/browser.ts';
import { eventually } from '../support/eventually.ts';
import { OtherHolder } from '../support/other-holder.ts';

const HOSTILE = `<img src=x onerror="document.title='taken'">`;
const PHONE = { width: 360, height: 740 };
/** What the page is shown on, and the reader's text at twice its size, for which a browser gives a page half the room. */
const ROOMS = [
  PHONE,
  { width: 320, height: 568 },
  { width: 640, height: 400 },
  { width: 1_280, height: 800 },
  { width: 1_920, height: 1_080 },
];

let folder: string;
let bundle: string;
let browser: Browser;
let world: AgentWorld;
let other: OtherHolder | null;
let service: http.Server;
let context: BrowserContext;
let page: Page;
/** What should never have happened in the browser. */
let complaints: string[];
let requests: string[];

function start(env: Readonly<Record<string, string>> = {}): AgentProcess {
  const { port } = service.address() as AddressInfo;
  return world.start(bundle, { PROBES: `http://127.0.0.1:${port}/healthz#interval=200ms&rise=1&fall=2`, ...env });
}

/** Another node holds the Lease, and the agent stands by. */
async function standBy(): Promise<AgentProcess> {
  other?.die();
  other = new OtherHolder(world.kube, 'node-b_boot_0002');
  const agent = start();
  await eventually('it stands by', async () => {
    const status = await world.status();
    return status?.role === 'standby' && status.hindrance === null && status.ready;
  });
  return agent;
}

async function serve(): Promise<AgentProcess> {
  const agent = start();
  await eventually('it serves', async () => (await world.status())?.role === 'serving');
  return agent;
}

async function look(options: BrowserContextOptions = {}): Promise<void> {
  context = await browser.newContext(options);
  page = await context.newPage();
  page.on('request', (request) => requests.push(request.url()));
  page.on('console', (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(world.page);
}

const text = async (selector: string): Promise<string> => (await page.locator(selector).innerText()).replace(/\s+/g, ' ');
const shows = (selector: string, pattern: RegExp, timeoutMs?: number): Promise<void> =>
  eventually(`${selector} shows ${String(pattern)}`, async () => pattern.test(await text(selector)), timeoutMs);

describe('the page in a browser', needsBrowser(), () => {
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
    bundle = await buildAgent(join(folder, 'dist'));
    browser = await openBrowser();
  });
  after(async () => {
    await browser.close();
    rmSync(folder, { recursive: true });
  });
  beforeEach(async () => {
    world = await AgentWorld.open();
    other = null;
    complaints = [];
    requests = [];
    service = http.createServer((_, response) => response.end('ok'));
    await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  });
  afterEach(async () => {
    other?.die();
    await context.close();
    await world.close();
    service.close();
    service.closeAllConnections();
  });

  test('shows at once who holds what, and follows a failover without being loaded anew', async () => {
    await standBy();
    await look();
    await shows('h1', /^node-a Standby$/);
    await shows('#hero', /node-b holds 203\.0\.113\.10\. This node takes over when it has to\./);
    await shows('#addresses', /203\.0\.113\.10 not bound/);
    await shows('#lease', /Holder node-b .*Term 1 /);
    await shows(
      '#probes',
      /http:\/\/127\.0\.0\.1:\d+\/healthz: healthy Last answer good \(\d s ago\) Unhealthy after 2 bad in a row, 0 so far/,
    );
    await shows('#timeline', /starting→?( to )?standby/);
    await shows('#connection', /^Live$/);
    assert.match(await page.title(), /^standby · node-a · Leasehold$/);
    const iconBefore = await page.locator('#icon').getAttribute('href');
    await page.evaluate('window.isStillTheSame = true');
    other?.die();
    await shows('h1', /^node-a Serving$/);
    await shows('#hero', /This node holds 203\.0\.113\.10, and the provider routes it here\./);
    await shows('#addresses', /bound, confirmed .*Routed to this server/);
    await shows('#lease', /Holder node-a \(this agent\)/);
    await shows('#timeline', /claiming→?( to )?serving/);
    await eventually('the title says so', async () => (await page.title()).startsWith('serving · '));
    assert.notEqual(await page.locator('#icon').getAttribute('href'), iconBefore);
    assert.ok(Number(await page.locator('[role=meter]').getAttribute('aria-valuenow')) > 0, 'tenure is left');
    assert.equal(await page.evaluate('window.isStillTheSame'), true, 'it was not loaded anew');
    assert.deepEqual(complaints, []);
    for (const url of requests) assert.ok(url.startsWith(world.page) || url.startsWith('data:'), url);
    assert.deepEqual(requests.filter((url) => !url.startsWith('data:')).sort(), [world.page, `${world.page}status/stream`]);
  });

  test('says what is wrong and what to do, and that it is over', async () => {
    await serve();
    await look();
    await shows('h1', /Serving/);
    assert.equal((await page.locator('#problems').innerText()).trim(), '');
    service.removeAllListeners('request').on('request', (_, response: http.ServerResponse) => response.writeHead(503).end());
    await shows('#problems', /What is wrong, and what to do .*503.* To do: .*WHEN_ALL_UNHEALTHY=keep/);
    await eventually('the title says so', async () => (await page.title()).startsWith('serving, 1 problem · '));
    assert.equal(await page.locator('html').getAttribute('data-tone'), 'bad');
    service.removeAllListeners('request').on('request', (_, response: http.ServerResponse) => response.end('ok'));
    await eventually('it is over', async () => (await page.locator('#problems').innerText()).trim() === '');
    assert.deepEqual(complaints, []);
  });

  test('says that what it shows is old when the agent answers no more, and goes on by itself when another one does', async () => {
    const agent = await standBy();
    await look();
    await shows('#connection', /^Live$/);
    agent.signal('SIGKILL');
    await shows('#connection', /^No answer since \d\d:\d\d:\d\d UTC\. What you see is old\./);
    assert.equal(await page.title(), 'no answer · node-a · Leasehold');
    await standBy();
    await shows('#connection', /^Live$/);
    assert.match(await page.title(), /^standby · node-a/);
  });

  test('says how an agent ended that was told to', async () => {
    const agent = await standBy();
    await look();
    await shows('#connection', /^Live$/);
    agent.signal('SIGTERM');
    await shows('h1', /node-a (Leaving|Stopped)/);
    assert.equal(await agent.ended, 0);
    await shows('#connection', /^No answer since/);
  });

  test('shows markup in texts from outside as text', async () => {
    other = new OtherHolder(world.kube, `${HOSTILE}_boot_0002`);
    start();
    await eventually('it answers', async () => (await world.status()) !== null);
    await look();
    await shows('#lease', /<img src=x onerror="document\.title='taken'">/);
    await shows('#hero', /<img src=x/);
    assert.equal(await page.locator('img').count(), 0);
    assert.match(await page.title(), /node-a/);
    assert.deepEqual(complaints, []);
  });

  test('fits every room without being moved sideways, in light and in dark, and can be told apart in both', async () => {
    await standBy();
    await look();
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      for (const room of ROOMS) {
        await page.setViewportSize(room);
        const width = Number(await page.evaluate('document.documentElement.scrollWidth'));
        assert.ok(width <= room.width, `${width} in ${room.width}, ${colorScheme}`);
      }
      assert.deepEqual(await page.evaluate(POOR_CONTRASTS), [], colorScheme);
    }
    for (const tone of ['good', 'ready', 'moving', 'warn', 'bad', 'gone'])
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        await page.evaluate(`document.documentElement.dataset.tone = '${tone}'`);
        assert.deepEqual(await page.evaluate(POOR_CONTRASTS), [], `${tone}, ${colorScheme}`);
      }
  });

  test('can be walked by landmark, by heading and by key', async () => {
    await standBy();
    await look();
    await shows('#connection', /^Live$/);
    const tree = await page.locator('body').ariaSnapshot();
    for (const landmark of [
      'banner',
      'main',
      'contentinfo',
      'navigation "The same for programs"',
      'region "Role of this node"',
      'region "Lease"',
    ])
      assert.ok(tree.includes(`- ${landmark}`), `${landmark} in\n${tree}`);
    assert.match(tree, /- heading "node-a Standby" \[level=1\]/);
    for (const heading of ['Addresses', 'Lease', 'Probes of this node', 'Last changes of role', 'This agent'])
      assert.ok(tree.includes(`- heading "${heading}" [level=2]`), heading);
    assert.match(tree, /- status: Live/);
    assert.equal(await page.locator('#hero').getAttribute('aria-live'), 'polite');
    assert.equal(await page.locator('[aria-live] [data-age], [role=status] [data-age]').count(), 0, 'no age is read out each second');
    const walked: string[] = [];
    for (let count = 0; count < 4; count += 1) {
      await page.keyboard.press('Tab');
      walked.push(String(await page.evaluate('document.activeElement.textContent')));
    }
    assert.deepEqual(walked, ['/status', '/metrics', '/healthz', '/readyz']);
    for (const path of walked) assert.equal((await page.request.get(`${world.page}${path.slice(1)}`)).status(), 200, path);
  });

  test('is useful without JavaScript: it says the same, and loads itself anew', async () => {
    await standBy();
    await look({ javaScriptEnabled: false });
    assert.match(await text('#hero'), /node-a Standby node-b holds 203\.0\.113\.10/);
    assert.match(await text('#since'), /^For \d+ s, since .* UTC$/);
    assert.match(await text('#connection'), /^As of .* UTC$/);
    other?.die();
    await shows('h1', /Serving/, 15_000);
    assert.deepEqual(complaints, []);
  });

  test('shows where the provider routes the address, if not here', async () => {
    await serve();
    world.hcloud.tokens.set('hcloud-token', 'read-only');
    world.hcloud.move(IP, OTHER_SERVER);
    await look();
    await shows('#addresses', new RegExp(`Routed to .*${OTHER_SERVER}`), 15_000);
    await shows('#problems', /To do/);
  });
});

/** Every text in the page whose contrast to what is behind it is below what WCAG asks for at level AA. */
const POOR_CONTRASTS = `(() => {
  const parse = (colour) => { const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
  const channel = (value) => { const c = value / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const luminance = ({ r, g, b }) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (element) => {
    for (let each = element; each !== null; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.a === 1) return colour;
    }
    return { r: 255, g: 255, b: 255 };
  };
  const poor = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== '');
    const style = getComputedStyle(element);
    if (!own || style.display === 'none' || ['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(element.tagName)) continue;
    const [light, dark] = [luminance(parse(style.color)), luminance(ground(element))].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) poor.push(element.tagName + ' ' + element.textContent.trim().slice(0, 40) + ' ' + contrast.toFixed(2));
  }
  return poor;
})()`;
