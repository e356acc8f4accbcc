/**
 * The page for people, at `/`: what one look should tell somebody who was woken by it.
 *
 * Guarantees: drawn from the status document alone, so that it shows nothing that `/status` does not say, without credentials.
 * What comes from outside stays text. Useful without JavaScript, too: it then loads itself anew every few seconds.
 * Everything that it needs is in it. It has no build step: style and script are texts of this program.
 */
import { createHash } from 'node:crypto';
import type { Role } from '../contender/command.ts';
import { markup, trusted } from './markup.ts';
import type { Markup } from './markup.ts';
import { facts, foreign, glyph, iconOf, SPRITE, Times } from './page-parts.ts';
import type { Tone } from './page-parts.ts';
import { levelOf, SCRIPT } from './page-script.ts';
import { STYLE } from './page-style.ts';
import type { StatusAddress, StatusDocument, StatusProbe } from './status.ts';
import type { View } from './streams.ts';

const RELOAD_WITHOUT_SCRIPT_S = 5;

/** Which version of the page this is: another one may not understand what this one's streams send. */
const EDITION = hash(STYLE + SCRIPT).slice(0, 12);

/** For the page alone: only its own style and script, and only its own origin to ask. Nobody may put it into a frame. */
export const PAGE_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${hash(STYLE)}'`,
  `script-src 'sha256-${hash(SCRIPT)}'`,
  'img-src data:',
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64');
}

/** The parts of the page that change, without ages. */
export function viewOf(status: StatusDocument): View {
  const { sections, ...head } = draw(status, new Times(null));
  return { ...head, sections: Object.fromEntries(Object.entries(sections).map(([id, { html }]) => [id, html])) };
}

/** The whole page as it is first shown. */
export function pageOf(status: StatusDocument): string {
  const times = new Times(Date.parse(status.at));
  const { tone, title, icon, sections } = draw(status, times);
  const panel = (id: Section, heading: string): Markup =>
    markup`<section class="panel" aria-labelledby="${id}-heading"><h2 id="${id}-heading">${heading}</h2><div id="${id}">${sections[id]}</div></section>`;
  return markup`<!doctype html>
<html lang="en" data-tone="${tone}" data-at="${status.at}" data-node="${status.node}" data-edition="${EDITION}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" id="icon" href="${icon}" data-lost="${iconOf('gone')}">
<noscript><meta http-equiv="refresh" content="${RELOAD_WITHOUT_SCRIPT_S}"></noscript>
<style>${trusted(STYLE)}</style>
</head>
<body>
${SPRITE}
<header class="top">
<p class="brand">Leasehold <span class="quiet">${status.version}</span></p>
<p id="connection" role="status">As of ${times.instant(status.at)}</p>
</header>
<main class="stack">
<section class="hero" aria-label="Role of this node">
<div id="hero" aria-live="polite" aria-atomic="true">${sections.hero}</div>
<p id="since" class="since">${sections.since}</p>
</section>
<div id="problems">${sections.problems}</div>
<div class="grid">
<div class="stack">
${panel('addresses', 'Addresses')}
<section class="panel" aria-labelledby="lease-heading"><h2 id="lease-heading">Lease</h2><div id="lease">${sections.lease}</div><div id="pulse" class="pulse">${sections.pulse}</div></section>
${panel('probes', 'Probes of this node')}
</div>
<div class="stack">
${panel('timeline', 'Last changes of role')}
${panel('node', 'This agent')}
</div>
</div>
<div id="preflight">${sections.preflight}</div>
</main>
<footer>
<nav aria-label="The same for programs"><ul><li><a href="status">/status</a></li><li><a href="metrics">/metrics</a></li><li><a href="healthz">/healthz</a></li><li><a href="readyz">/readyz</a></li></ul></nav>
<p>Nothing here changes anything. Times are by the node's clock.<noscript> Without JavaScript the page loads itself anew every ${RELOAD_WITHOUT_SCRIPT_S} s.</noscript></p>
</footer>
<script>${trusted(SCRIPT)}</script>
</body>
</html>
`.html;
}

/** The parts that change apart from each other, by the id of the element that holds each. */
type Section = 'hero' | 'since' | 'problems' | 'addresses' | 'lease' | 'pulse' | 'probes' | 'node' | 'preflight' | 'timeline';

/** The page as a stream's view, its sections not yet written out. */
type Drawing = Omit<View, 'sections'> & { readonly sections: Readonly<Record<Section, Markup>> };

function draw(status: StatusDocument, times: Times): Drawing {
  const { node, role, problems } = status;
  const tone = toneOf(status);
  const word = role.replaceAll('-', ' ');
  const count = problems.length === 0 ? '' : `, ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`;
  return {
    edition: EDITION,
    atMs: Date.parse(status.at),
    tone,
    title: `${word}${count} · ${node} · Leasehold`,
    icon: iconOf(tone),
    sections: {
      hero: markup`<h1><span class="node">${foreign(node)}</span> <span class="word">${glyph(tone)} ${word.charAt(0).toUpperCase() + word.slice(1)}</span></h1><p class="sentence">${sentenceOf(status)}</p>`,
      since: markup`For ${times.age(status.since)}, since ${times.instant(status.since)}`,
      problems: problemsPanel(status),
      addresses: markup`<ul class="rows">${status.addresses.map((address) => addressRow(address, status, times))}</ul>`,
      lease: leaseFacts(status, times),
      pulse: pulseOf(status, times),
      probes: probeRows(status, times),
      node: agentFacts(status),
      preflight: preflightPanel(status),
      timeline: timelineOf(status, times),
    },
  };
}

const ROLE_TONES: { readonly [Name in Role]: Tone } = {
  starting: 'moving',
  standby: 'ready',
  acquiring: 'moving',
  claiming: 'moving',
  serving: 'good',
  'holding-over': 'bad',
  'stepping-down': 'moving',
  leaving: 'moving',
  stopped: 'gone',
};

function toneOf({ role, problems }: StatusDocument): Tone {
  if (problems.some(({ level }) => level === 'fail')) return 'bad';
  return problems.length > 0 ? 'warn' : ROLE_TONES[role];
}

function sentenceOf({ role, lease, hindrance, relief, reliefCause, provider, addresses }: StatusDocument): Markup {
  const all = markup`${listed(addresses.map(({ address }) => markup`<span class="mono">${address}</span>`))}`;
  const isOne = addresses.length === 1;
  const them = isOne ? 'it' : 'them';
  const isRouted = provider.kind === 'routed';
  switch (role) {
    case 'starting':
      return markup`This agent has just started and has not seen the Lease yet.`;
    case 'standby': {
      if (lease.holder === null)
        return hindrance === null
          ? markup`Nobody holds ${all}. This node takes ${them} as soon as the Lease is free.`
          : markup`Nobody holds ${all}, and this node cannot take ${them}.`;
      const holder = markup`${foreign(lease.holder.node)} holds ${all}.`;
      return hindrance === null ? markup`${holder} This node takes over when it has to.` : markup`${holder} This node could not take over.`;
    }
    case 'acquiring':
      return markup`This node asks for the Lease, to take ${all}.`;
    case 'claiming':
      return isRouted
        ? markup`This node holds the Lease and has the provider route ${all} here.`
        : markup`This node holds the Lease and takes ${all}.`;
    case 'serving':
      if (relief !== null && reliefCause === 'planned')
        return markup`This node holds ${all} and hands ${them} over as soon as another node offers to take ${them}: ${foreign(relief)}.`;
      if (relief !== null) return markup`This node holds ${all}, but is not fit to serve ${them}, and no other node has taken over.`;
      return isRouted
        ? markup`This node holds ${all}, and the provider routes ${them} here.`
        : markup`This node holds ${all} and answers for ${them} on its segment.`;
    case 'holding-over':
      return markup`The Kubernetes API is silent. ${all} ${isOne ? 'stays' : 'stay'} here while the provider routes ${them} here.`;
    case 'stepping-down':
      return markup`This node gives ${all} up.`;
    case 'leaving':
      return isRouted
        ? markup`This node has let go of the Lease and serves on until ${all} ${isOne ? 'has' : 'have'} moved.`
        : markup`This node has let go of the Lease and ends.`;
    case 'stopped':
      return markup`This agent has ended.`;
  }
}

function listed(parts: readonly Markup[]): Markup[] {
  return parts.map((part, index) => (index === 0 ? part : markup`${index === parts.length - 1 ? ' and ' : ', '}${part}`));
}

function problemsPanel({ problems }: StatusDocument): Markup {
  if (problems.length === 0) return markup``;
  const rows = problems.map(({ name, level, message, advice }) => {
    const tone = level === 'fail' ? 'bad' : 'warn';
    const prefix = message.startsWith(name) ? markup`` : markup`<span class="name">${foreign(name)}:</span> `;
    return findingRow(tone, markup`${prefix}${foreign(message)}`, markup`${advice}`);
  });
  return findingsPanel('problems', 'What is wrong, and what to do', problems.some(({ level }) => level === 'fail') ? 'bad' : 'warn', rows);
}

function preflightPanel({ preflight }: StatusDocument): Markup {
  if (preflight === null || preflight.findings.length === 0) return markup``;
  const tones = { ok: 'good', warn: 'warn', fail: 'bad' } as const;
  const rows = preflight.findings.map(({ name, level, message, advice }) => {
    const sentence = markup`<span class="name">${foreign(name)}</span> (${level}): ${foreign(message)}`;
    return findingRow(tones[level], sentence, advice === null ? null : foreign(advice));
  });
  return findingsPanel('preflight', 'Checked at the start', null, rows);
}

function findingRow(tone: Tone, sentence: Markup, advice: Markup | null): Markup {
  const todo = advice === null ? null : markup`<p class="advice"><b>To do:</b> ${advice}</p>`;
  return markup`<li class="line" data-tone="${tone}">${glyph(tone)}<div><p>${sentence}</p>${todo}</div></li>`;
}

function findingsPanel(id: string, heading: string, tone: Tone | null, rows: readonly Markup[]): Markup {
  const frame = tone === null ? markup`class="panel"` : markup`class="panel trouble" data-tone="${tone}"`;
  return markup`<section ${frame} aria-labelledby="${id}-heading"><h2 id="${id}-heading">${heading}</h2><ul class="rows">${rows}</ul></section>`;
}

function addressRow(address: StatusAddress, status: StatusDocument, times: Times): Markup {
  const tone = addressTone(address, status);
  return markup`<li data-tone="${tone}"><div class="line big">${glyph(tone)}<div><p class="address mono">${address.address}</p><p>${foreign(address.state)}</p></div></div>${facts(
    [
      ['Interface', address.interface === null ? 'none found' : markup`<span class="mono">${foreign(address.interface)}</span>`],
      ['Routed to', ownerText(address, status, times)],
    ],
  )}</li>`;
}

function addressTone({ is, claim, problem, owner }: StatusAddress, { problems }: StatusDocument): Tone {
  if (problem !== null) return problems.some(({ level }) => level === 'fail') ? 'bad' : 'warn';
  if (is === 'bound' && owner?.is === 'other' && claim === 'confirmed') return 'bad';
  if (is === 'bound') return claim === 'confirmed' || claim === 'not-needed' ? 'good' : 'moving';
  if (is === 'held-over') return 'warn';
  return is === 'absent' ? 'gone' : 'moving';
}

function ownerText({ owner }: StatusAddress, { provider }: StatusDocument, times: Times): Markup {
  if (provider.kind === 'l2') return markup`whoever answers: nobody else decides on a shared segment`;
  if (owner === null) return markup`not read: as a rule only the holder asks`;
  const read = markup` <span class="quiet">(read ${times.age(owner.readAt)} ago)</span>`;
  switch (owner.is) {
    case 'self':
      return markup`this server${read}`;
    case 'other':
      return markup`${foreign(owner.name)}${read}`;
    case 'nobody':
      return markup`nobody${read}`;
    case 'unknown':
      return markup`not known: ${foreign(owner.message)}${read}`;
  }
}

function leaseFacts({ lease, identity }: StatusDocument, times: Times): Markup {
  const { holder } = lease;
  const isOwn = holder?.identity === identity;
  const who =
    lease.exists === null
      ? markup`not seen yet`
      : holder === null
        ? markup`${lease.exists ? 'nobody' : 'there is no Lease'}`
        : markup`<span class="name">${foreign(holder.node)}</span>${isOwn ? ' (this agent)' : ''}`;
  const since = holder === null ? lease.seen : lease.acquired;
  return facts([
    ['Holder', who],
    ...(since === null ? [] : [['Since', markup`${times.instant(since)} <span class="quiet">(${times.age(since)} ago)</span>`] as const]),
    ['Term', lease.transitions === null ? 'none yet' : String(lease.transitions)],
    ['Lease', markup`<span class="mono">${foreign(`${lease.namespace}/${lease.name}`)}</span>`],
    ...(holder === null ? [] : [['Identity', markup`<span class="mono">${foreign(holder.identity)}</span>`] as const]),
  ]);
}

function pulseOf({ deadline, lease, timings, hindrance, at }: StatusDocument, times: Times): Markup {
  const { renewDeadlineMs, leaseDurationMs } = timings;
  const renewed = lease.seen === null ? markup`` : markup`${times.age(lease.seen)} ago`;
  if (deadline !== null) {
    const untilMs = Date.parse(deadline.tenureEnds);
    // A stream leaves it to the page's script how much is left by now.
    const leftMs = times.isLive ? renewDeadlineMs : Math.max(0, Math.min(untilMs - Date.parse(at), renewDeadlineMs));
    const share = leftMs / renewDeadlineMs;
    return markup`<p>Renewed ${renewed}. Without a renewal the tenure ends after ${inSeconds(renewDeadlineMs)}.</p><svg class="bar" role="meter" aria-label="Tenure left, in milliseconds" aria-valuemin="0" aria-valuemax="${renewDeadlineMs}" aria-valuenow="${leftMs}" data-until="${untilMs}" data-level="${levelOf(share)}"><rect width="${Math.round(share * 100)}%"></rect></svg>`;
  }
  if (lease.holder === null) return markup``;
  const then = hindrance === null ? 'this node may take over' : 'a healthy node takes over';
  return markup`<p>Last sign of life ${renewed}. When none has come for ${inSeconds(leaseDurationMs)}, ${then}.</p>`;
}

function inSeconds(ms: number): string {
  return `${Number((ms / 1_000).toFixed(1))}\u00a0s`;
}

function probeRows({ probes }: StatusDocument, times: Times): Markup {
  if (probes.length === 0)
    return markup`<p class="quiet">None is configured: this node counts as healthy as long as its interface is up. <code>PROBES</code> names what must answer.</p>`;
  return markup`<ul class="rows">${probes.map((probe) => probeRow(probe, times))}</ul>`;
}

function probeRow({ probe, healthy, reason, goods, bads, rise, fall, answered }: StatusProbe, times: Times): Markup {
  const tone = healthy === null ? 'moving' : healthy ? (bads > 0 ? 'warn' : 'good') : 'bad';
  const word = healthy === null ? 'not decided yet' : healthy ? 'healthy' : 'unhealthy';
  const answer =
    answered === null
      ? markup`not asked yet`
      : markup`${bads > 0 ? markup`bad: ${foreign(reason ?? 'no reason given')}` : 'good'} <span class="quiet">(${times.age(answered)} ago)</span>`;
  // What it takes to change the verdict, and how far that has come.
  const rising = ['Healthy after', `${rise} good in a row, ${Math.min(goods, rise)} so far`] as const;
  const falling = ['Unhealthy after', `${fall} bad in a row, ${Math.min(bads, fall)} so far`] as const;
  return markup`<li data-tone="${tone}"><div class="line">${glyph(tone)}<p><span class="name">${foreign(probe)}</span>: ${word}</p></div>${facts(
    [['Last answer', answer], ...(healthy === true ? [] : [rising]), ...(healthy === false ? [] : [falling])],
  )}</li>`;
}

function agentFacts(status: StatusDocument): Markup {
  const { ready, provider, watch, residence, interface: link, identity } = status;
  return facts([
    ['Ready', ready ? 'yes' : markup`no: ${foreign(status.notReadyBecause.join('; '))}`],
    ['Provider', markup`<span class="name">${provider.name}</span>: ${foreign(provider.reason)}`],
    ...(provider.budget === null ? [] : [['Budget', budgetText(provider.budget)] as const]),
    ['Interface', link.problem === null ? 'well' : foreign(link.problem)],
    ['Watch', watch.stands ? 'stands' : markup`does not stand${watch.problem === null ? '' : markup`: ${foreign(watch.problem)}`}`],
    ['On this node', residence === null ? 'not known yet' : foreign(residence.reason)],
    ['Identity', markup`<span class="mono">${foreign(identity)}</span>`],
    ...(status.droppedLogLines === 0 ? [] : [['Log', `${status.droppedLogLines} lines dropped`] as const]),
  ]);
}

/** What is used of what the provider grants: of each limit, and of what its answers say. */
function budgetText({ limits, said, quietUntil }: NonNullable<StatusDocument['provider']['budget']>): Markup {
  const parts = [
    ...(said === null ? [] : [`${said.remaining} of ${said.limit} requests left, as the provider says`]),
    ...limits.map(({ name, used, max, withinMs }) => `${name}: ${used} of ${max} within ${withinMs / 60_000} min`),
    ...(quietUntil === null ? [] : ['nothing but claims is asked for now']),
  ];
  return markup`${foreign(parts.length === 0 ? 'nothing is limited' : parts.join('; '))}`;
}

function timelineOf({ transitions, node }: StatusDocument, times: Times): Markup {
  if (transitions.length === 0) return markup`<p class="quiet">None since ${foreign(node)}'s agent started.</p>`;
  const rows = transitions.map(({ at, from, to, reason, elapsedMs }) => {
    const tone = ROLE_TONES[to];
    return markup`<li class="line" data-tone="${tone}">${glyph(tone)}<div><p class="route">${from.replaceAll('-', ' ')}<span class="to"><span class="sr"> to </span>${to.replaceAll('-', ' ')}</span></p><p>${foreign(reason)}</p><p class="when quiet"><span>${times.age(at)} ago, ${times.instant(at)}</span> <span>after ${times.span(elapsedMs)} ${from.replaceAll('-', ' ')}</span></p></div></li>`;
  });
  return markup`<ol class="rows">${rows}</ol>`;
}
