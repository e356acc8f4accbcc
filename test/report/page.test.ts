import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { ROLES } from '../../agent/contender/command.ts';
import { spanText } from '../../agent/report/page-script.ts';
import { PAGE_POLICY, pageOf, viewOf } from '../../agent/report/page.ts';
import type { StatusDocument } from '../../agent/report/status.ts';
import { ADDRESS, Driver } from '../contender/driver.ts';
import { budgetWith, ROUTING, statusOf } from '../support/status-example.ts';

const HOSTILE = `</style></script><img src=x onerror="alert(1)">'&amp;\u202e`;

const serving = (): StatusDocument =>
  statusOf(new Driver().serve(), {
    owners: new Map([[ADDRESS, { owner: { is: 'self' }, atMs: 999_000 }]]),
    transitions: [
      {
        at: '2026-11-21T08:16:40.000Z',
        from: 'claiming',
        to: 'serving',
        cause: 'ready-to-serve',
        reason: 'confirmed',
        transitions: 8,
        elapsedMs: 623,
      },
    ],
  });

/** The same document with every text in it replaced by a hostile one. */
function hostile(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) return value.map((each) => hostile(each));
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, hostile(each, name)]));
  // Not from outside: they choose between words of the page's own.
  return typeof value !== 'string' || ['role', 'from', 'to', 'is', 'claim', 'level', 'kind'].includes(key) ? value : HOSTILE;
}

describe('the page', () => {
  test('begins its title with the state, and says how many problems there are', () => {
    assert.match(pageOf(serving()), /<title>serving · node-a · Leasehold<\/title>/);
    assert.match(pageOf(statusOf(new Driver().serve().unhealthy())), /<title>serving, 1 problem · node-a · Leasehold<\/title>/);
  });

  test('has a sentence for every role, for one address and for several', () => {
    for (const role of ROLES) {
      for (const addresses of [serving().addresses, [...serving().addresses, ...serving().addresses]]) {
        const { hero } = viewOf({ ...serving(), role, addresses }).sections;
        assert.match(hero ?? '', /<p class="sentence">.{20,}\.<\/p>/, role);
      }
    }
  });

  test('looks well only where nothing is wrong', () => {
    assert.equal(viewOf(serving()).tone, 'good');
    assert.equal(viewOf(statusOf(new Driver().standBy())).tone, 'ready');
    assert.equal(viewOf(statusOf(new Driver().standBy().unhealthy())).tone, 'warn');
    assert.equal(viewOf(statusOf(new Driver().serve().unhealthy())).tone, 'bad');
    assert.equal(viewOf(statusOf(new Driver().acquire())).tone, 'moving');
  });

  test('says of a planned step down that it waits for another node, and of an unfit holder that it is unfit', () => {
    const driver = new Driver().serve();
    const hero = (): string => viewOf(statusOf(driver)).sections['hero'] ?? '';
    driver.give({ type: 'step-down-requested', reason: 'an operator has asked for it', untilMs: driver.nowMs + 10_000 });
    assert.match(hero(), /hands it over as soon as another node offers to take it: <bdi>an operator has asked for it<\/bdi>\./);
    assert.doesNotMatch(hero(), /not fit/);
    assert.equal(statusOf(driver).reliefCause, 'planned');
    assert.equal(viewOf(statusOf(driver)).tone, 'good');
    driver.unhealthy();
    assert.match(hero(), /not fit to serve it/);
    assert.deepEqual([statusOf(driver).reliefCause, statusOf(new Driver().serve()).reliefCause], ['unhealthy', null]);
  });

  test('shows what a check at the start has found, and nothing of it where none was made', () => {
    const preflight = {
      at: '2026-11-21T08:16:40.000Z',
      findings: [{ name: 'token', level: 'warn', message: 'it may only read', advice: 'make another one' }],
    } as const;
    assert.match(viewOf({ ...serving(), preflight }).sections['preflight'] ?? '', /token.*\(warn\): .*it may only read.*make another one/s);
    assert.equal(viewOf(serving()).sections['preflight'], '');
  });

  test('shows how much of the provider’s budget is used', () => {
    const budget = { ...budgetWith(ROUTING), said: { limit: 3_600, remaining: 40, reserve: 100, atMs: 1 }, quietUntilMs: 2 };
    const status = statusOf(new Driver().serve(), { provider: { name: 'x', problem: null, budget } });
    assert.match(
      viewOf(status).sections['node'] ?? '',
      /Budget.*40 of 3600 requests left, as the provider says; routing requests: 2 of 20 within 60 min; nothing but claims is asked for now/s,
    );
    assert.doesNotMatch(viewOf(serving()).sections['node'] ?? '', /Budget/);
  });

  test('lets nothing from outside become markup', () => {
    const status = hostile({
      ...serving(),
      preflight: { at: '2026-11-21T08:16:40.000Z', findings: [{ name: 'a', level: 'fail', message: 'b', advice: 'c' }] },
      notReadyBecause: ['a'],
      ready: false,
      provider: {
        ...serving().provider,
        budget: statusOf(new Driver(), { provider: { name: 'x', problem: null, budget: budgetWith(ROUTING) } }).provider.budget,
      },
      problems: [{ name: 'a', level: 'fail', message: 'b', advice: 'c' }],
      addresses: serving().addresses.map((address) => ({ ...address, owner: { is: 'other', name: 'a', readAt: 'b' } })),
    }) as StatusDocument;
    for (const role of ROLES) {
      const page = pageOf({ ...status, role });
      assert.doesNotMatch(page, /<img|onerror="/, role);
      assert.equal(page.match(/<script/g)?.length, 1);
      assert.equal(page.match(/<\/style>/g)?.length, 1);
      assert.match(page, /&lt;img src=x onerror=&quot;alert\(1\)&quot;&gt;&#39;&amp;amp;/);
      for (const html of Object.values(viewOf({ ...status, role }).sections)) assert.doesNotMatch(html, /<img|onerror="/);
    }
  });

  test('carries exactly the style and the script that its policy allows, and asks nobody for anything', () => {
    const page = pageOf(serving());
    for (const element of ['style', 'script']) {
      const [, text = ''] = new RegExp(`<${element}>(.*)</${element}>`, 's').exec(page) ?? assert.fail(element);
      const sha256 = createHash('sha256').update(text).digest('base64');
      assert.ok(PAGE_POLICY.includes(`${element}-src 'sha256-${sha256}';`), element);
    }
    assert.doesNotMatch(page, / style=| on[a-z]+=/);
    const references = [...page.matchAll(/ (?:src|href)="([^"]*)"/g)].map(([, to = '']) => to.replace(/^(data:|#).*/s, '$1'));
    assert.deepEqual([...new Set(references)], ['data:', '#', 'status', 'metrics', 'healthz', 'readyz']);
  });

  test('is small', () => assert.ok(pageOf(serving()).length < 32 * 1024, `${pageOf(serving()).length} bytes`));

  test('streams the same text while nothing happens, however much time passes', () => {
    const driver = new Driver().standBy();
    const before = viewOf(statusOf(driver));
    const later = viewOf(statusOf(driver.freeze(5_000)));
    assert.deepEqual({ ...later, atMs: 0 }, { ...before, atMs: 0 });
    assert.equal(later.atMs - before.atMs, 5_000);
  });

  test('shows a renewal in one small part alone', () => {
    const driver = new Driver().serve();
    const before = viewOf(statusOf(driver)).sections;
    const after = viewOf(statusOf(driver.serveOn(700))).sections;
    assert.deepEqual(
      Object.keys(after).filter((id) => after[id] !== before[id]),
      ['pulse'],
    );
    assert.ok((after['pulse'] ?? '').length < 400);
  });
});

test('how long something lasted is said in two units at the most', () => {
  assert.deepEqual(
    [-5, 999, 59_999, 61_000, 3_599_000, 3_600_000, 90_061_000].map((ms) => spanText(ms).replaceAll('\u00a0', ' ')),
    ['0 s', '0 s', '59 s', '1 min 1 s', '59 min 59 s', '1 h 0 min', '1 d 1 h'],
  );
});
