/**
 * What the page does in a browser: it follows the stream, lets ages grow, and says when nothing is heard any more.
 *
 * Guarantees: it asks its own origin for the stream and nothing else, and changes nothing. Times are told by the node's clock,
 * so that a browser whose clock is wrong shows them right.
 * It is a text because a browser runs it and this program does not; the tests run it in a browser.
 */
import { SILENCE_SHOWN_AFTER_MS } from './streams.ts';

/** How long something has lasted, in two units at the most. Stands alone: the page's script takes over its text. */
export function spanText(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s}\u00a0s`;
  if (s < 3600) return `${Math.floor(s / 60)}\u00a0min ${s % 60}\u00a0s`;
  if (s < 86400) return `${Math.floor(s / 3600)}\u00a0h ${Math.floor(s / 60) % 60}\u00a0min`;
  return `${Math.floor(s / 86400)}\u00a0d ${Math.floor(s / 3600) % 24}\u00a0h`;
}

/** How a share of the tenure that is left is to be seen: where renewals come in time, half of it is always left. Stands alone, too. */
export function levelOf(share: number): 'enough' | 'low' | 'least' {
  return share > 0.3 ? 'enough' : share > 0.1 ? 'low' : 'least';
}

export const SCRIPT = `
(() => {
  const spanText = ${spanText.toString()};
  const levelOf = ${levelOf.toString()};
  const SILENCE_MS = ${SILENCE_SHOWN_AFTER_MS}, TICK_MS = 250, REOPEN_MS = 3000;
  const root = document.documentElement;
  const icon = document.getElementById('icon');
  const connection = document.getElementById('connection');
  const isStill = matchMedia('(prefers-reduced-motion: reduce)');
  // By how much the node's clock is ahead of this browser's, and what was last heard.
  let aheadMs = Date.parse(root.dataset.at) - Date.now();
  let heardAtMs = Date.now();
  let last = { title: document.title, icon: icon.href };
  let source;
  const nowMs = () => Date.now() + aheadMs;
  const set = (element, text) => { if (element.textContent !== text) element.textContent = text; };

  // Ages grow by themselves; what is left of a tenure shrinks until a renewal fills it up.
  const tick = () => {
    if (Date.now() - heardAtMs > SILENCE_MS) lose();
    for (const age of document.querySelectorAll('[data-age]')) set(age, spanText(nowMs() - Number(age.dataset.age)));
    if (root.dataset.connection === 'lost') return;
    for (const bar of document.querySelectorAll('.bar')) {
      const wholeMs = Number(bar.getAttribute('aria-valuemax'));
      const leftMs = Math.max(0, Math.min(Number(bar.dataset.until) - nowMs(), wholeMs));
      const level = levelOf(leftMs / wholeMs);
      // For who wants nothing to move it shrinks only when that says something.
      if (isStill.matches && level === 'enough') continue;
      bar.dataset.level = level;
      bar.setAttribute('aria-valuenow', Math.round(leftMs));
      bar.firstElementChild.setAttribute('width', Math.round(leftMs / wholeMs * 100) + '%');
    }
  };

  const lose = () => {
    if (root.dataset.connection === 'lost') return;
    root.dataset.connection = 'lost';
    const since = new Date(heardAtMs + aheadMs).toISOString().slice(11, 19);
    connection.textContent = 'No answer since ' + since + ' UTC. What you see is old. The connection is tried again.';
    document.title = 'no answer · ' + root.dataset.node + ' · Leasehold';
    icon.href = icon.dataset.lost;
  };

  const hear = ({ data }) => {
    const { at, edition, tone, title, icon: image, sections } = JSON.parse(data);
    // Another version of the agent answers now: its page fits its words.
    if (edition !== undefined && edition !== root.dataset.edition) return location.reload();
    heardAtMs = Date.now();
    aheadMs = at - heardAtMs;
    if (title !== undefined) {
      last = { title, icon: image };
      root.dataset.tone = tone;
    }
    for (const [id, html] of Object.entries(sections)) document.getElementById(id).innerHTML = html;
    if (root.dataset.connection !== 'live') connection.textContent = 'Live';
    root.dataset.connection = 'live';
    if (document.title !== last.title) document.title = last.title;
    if (icon.href !== last.icon) icon.href = last.icon;
    tick();
  };

  const open = () => {
    source = new EventSource('status/stream');
    source.onmessage = hear;
    // The browser tries again by itself, except after an answer that it takes for final.
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) setTimeout(open, REOPEN_MS); };
  };
  open();
  setInterval(tick, TICK_MS);
})();
`;
