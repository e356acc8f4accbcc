import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run, UNRESTRICTED } from '../simulation/run.ts';

const PAGE = fileURLToPath(new URL('../../docs/how-it-decides.md', import.meta.url));
const RUNS = 12;

/** Where each arrow of the diagram leads from and to. */
function arrows(): Set<string> {
  return new Set([...readFileSync(PAGE, 'utf8').matchAll(/^ {2}([a-z-]+ --> [a-z-]+): .+$/gm)].map(([, arrow = '']) => arrow));
}

test('the diagram of the roles has every change of role that the simulation sees', async () => {
  const drawn = arrows();
  for (let index = 0; index < RUNS; index += 1) {
    const { history } = await run(`diagram.${index}`, UNRESTRICTED, { keepsHistory: true });
    for (const { text } of history) {
      const [, from, to] = /([a-z-]+) → ([a-z-]+):/.exec(text) ?? [];
      if (from === undefined || to === undefined) continue;
      // What takes no time in between is not seen.
      const via = to === 'stopped' ? 'leaving' : to;
      assert.ok(drawn.has(`${from} --> ${via}`) || from === via, `${from} --> ${to}: ${text}`);
    }
  }
});
