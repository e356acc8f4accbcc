/**
 * How the page looks: light and dark, from a phone of 320 pixels to a screen on a wall.
 *
 * Guarantees: every pair of text and ground has a contrast of at least 4.5 to 1 in both schemes; no meaning is carried by
 * colour alone; nothing moves. Sizes follow the reader's font size.
 */

/** A tone sets three colours: of the ground, of what stands on it, and of marks on the page's own ground. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f4f5f7; --card: #ffffff; --text: #1b2028; --quiet: #57606b; --line: #dcdfe4; --link: #0b57c2;
  --good: #18743a; --ready: #18743a; --moving: #1d5fb8; --warn: #8f5600; --bad: #bd2130; --gone: #57606b;
  --ground: var(--card); --on: var(--text); --mark: var(--gone);
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0e1116; --card: #171b22; --text: #e4e8ee; --quiet: #99a3b0; --line: #2c323b; --link: #7fb3ff;
    --good: #56d083; --ready: #56d083; --moving: #79b4ff; --warn: #f0b14a; --bad: #ff8a8f; --gone: #99a3b0;
  }
}
[data-tone=good] { --ground: #18743a; --on: #ffffff; --mark: var(--good); }
[data-tone=ready] { --ground: #e2f3e8; --on: #0e4f27; --mark: var(--ready); }
[data-tone=moving] { --ground: #e2edfb; --on: #123f7d; --mark: var(--moving); }
[data-tone=warn] { --ground: #ffd56b; --on: #3d2a00; --mark: var(--warn); }
[data-tone=bad] { --ground: #bd2130; --on: #ffffff; --mark: var(--bad); }
[data-tone=gone] { --ground: #dfe2e7; --on: #2b323b; --mark: var(--gone); }
@media (prefers-color-scheme: dark) {
  [data-tone=good] { --ground: #12502a; --on: #d8ffe4; }
  [data-tone=ready] { --ground: #13231a; --on: #9fe6b8; }
  [data-tone=moving] { --ground: #14233a; --on: #b4d4ff; }
  [data-tone=warn] { --ground: #5c3d00; --on: #ffe3ad; }
  [data-tone=bad] { --ground: #7c1620; --on: #ffe3e4; }
  [data-tone=gone] { --ground: #23282f; --on: #c3cad3; }
}
* { box-sizing: border-box; }
html { background: var(--page); -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 78rem; padding: 0 1rem 2rem; color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
h1, h2, p, dl, dd, ul, ol { margin: 0; padding: 0; }
ul, ol { list-style: none; }
a { color: var(--link); text-underline-offset: 0.15em; }
a:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 2px; }
code, .mono { font-family: ui-monospace, 'SF Mono', 'Cascadia Mono', 'DejaVu Sans Mono', monospace; font-size: 0.94em; }
.quiet { color: var(--quiet); }
.glyph { width: 1em; height: 1em; flex: none; color: var(--mark); --cut: var(--card); }
.sprite { display: none; }
.sr { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

.top { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1.5rem; padding: 0.9rem 0.25rem 0.7rem; }
.brand { font-weight: 650; }
.brand .quiet { font-weight: 400; }
#connection { color: var(--quiet); }
[data-connection=live] #connection::before {
  content: ''; display: inline-block; width: 0.55em; height: 0.55em; margin-right: 0.45em; border-radius: 50%; background: var(--good);
}
[data-connection=lost] #connection {
  flex-basis: 100%; margin-top: 0.5rem; padding: 0.7rem 1rem; border-radius: 0.6rem; background: #bd2130; color: #fff; font-weight: 600;
}

.hero { background: var(--ground); color: var(--on); border-radius: 0.9rem; padding: 1.4rem 1.5rem 1.5rem; }
[data-tone=ready] .hero, [data-tone=moving] .hero, [data-tone=gone] .hero { box-shadow: inset 0 0 0 2px var(--mark); }
.hero .node { display: block; font-size: 1.15rem; font-weight: 600; letter-spacing: 0; line-height: 1.3; margin-bottom: 0.35rem; }
.hero h1 {
  font-size: clamp(2.5rem, 1.4rem + 5.2vw, 5.5rem); line-height: 1.05; font-weight: 700; letter-spacing: -0.025em; overflow-wrap: anywhere;
}
.hero .word { display: flex; align-items: center; gap: 0.28em; }
.hero .glyph { width: 0.72em; height: 0.72em; color: inherit; --cut: var(--ground); }
.hero .sentence { margin-top: 0.7rem; font-size: clamp(1.1rem, 1rem + 0.7vw, 1.6rem); line-height: 1.4; max-width: 70ch; text-wrap: pretty; }
.hero .since { margin-top: 0.5rem; font-size: clamp(1rem, 0.95rem + 0.3vw, 1.25rem); }
[data-connection=lost] .hero { --ground: repeating-linear-gradient(135deg, #80808026 0 12px, transparent 12px 24px); --on: var(--text); --mark: var(--gone); box-shadow: inset 0 0 0 2px var(--gone); }
[data-connection=lost] .hero .glyph { --cut: var(--page); }

.panel { background: var(--card); border: 1px solid var(--line); border-radius: 0.9rem; padding: 1.1rem 1.25rem 1.25rem; }
.panel h2 { font-size: 1.1rem; font-weight: 650; line-height: 1.3; margin-bottom: 0.7rem; }
main > div:empty { display: none; }
.stack, .grid { display: grid; gap: 1rem; }
.grid { grid-template-columns: minmax(0, 1fr); align-items: start; }
@media (min-width: 52rem) { .grid { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); } }

.rows > li + li { border-top: 1px solid var(--line); margin-top: 0.85rem; padding-top: 0.85rem; }
.line { display: flex; align-items: flex-start; gap: 0.6rem; }
.line > .glyph { margin-top: 0.25em; }
.name { font-weight: 600; }
.address { font-size: clamp(1.2rem, 1.1rem + 0.6vw, 1.6rem); font-weight: 650; line-height: 1.3; }
.address + .glyph, .line.big > .glyph { width: 1.3em; height: 1.3em; margin-top: 0.2em; }
dl { display: grid; grid-template-columns: minmax(5.5rem, auto) minmax(0, 1fr); gap: 0.3rem 1rem; }
dt { color: var(--quiet); }
.line + dl, .pulse { margin-top: 0.6rem; }
.advice { margin-top: 0.15rem; }
.advice b { font-weight: 650; }
.trouble { border-color: var(--mark); border-width: 2px; }
.trouble[data-tone=warn], .trouble[data-tone=bad] { --ground: var(--card); }
.route { font-weight: 600; }
.route .to::before { content: '→'; content: '→' / ''; padding: 0 0.4em; color: var(--quiet); font-weight: 400; }
.when { font-size: 0.94rem; display: flex; flex-wrap: wrap; gap: 0 1.2em; }
@media (min-width: 30rem) { time { white-space: nowrap; } }
.bar { display: block; width: 100%; height: 0.6rem; margin: 0.5rem 0 0.15rem; border-radius: 0.3rem; background: var(--line); }
.bar rect { height: 100%; fill: var(--good); }
.bar[data-level=low] rect { fill: var(--warn); }
.bar[data-level=least] rect { fill: var(--bad); }
@media (forced-colors: active) { .bar { border: 1px solid CanvasText; } .bar rect { fill: CanvasText; } }
footer { margin-top: 1.25rem; padding: 0 0.25rem; display: flex; flex-wrap: wrap; gap: 0.4rem 2rem; justify-content: space-between; color: var(--quiet); }
footer ul { display: flex; flex-wrap: wrap; gap: 0.4rem 1.25rem; }
@media (max-width: 30rem) {
  .hero, .panel { padding-left: 1rem; padding-right: 1rem; }
  footer a { display: inline-block; padding: 0.35rem 0; }
}
`;
