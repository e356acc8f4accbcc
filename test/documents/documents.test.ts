import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { commandBlocks } from '../../e2e/walk/documents.ts';
import { SCENES, TRIED_BY_TESTS } from '../../e2e/walk/scenes.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DOCUMENTS = ['README.md', ...globSync('docs/*.md', { cwd: ROOT }).sort()];

const read = (document: string): string => readFileSync(join(ROOT, document), 'utf8');

/** A heading's anchor as GitHub makes it. */
function anchorOf(heading: string): string {
  const text = heading.replaceAll(/`|\*/g, '').trim().toLowerCase();
  return text.replaceAll(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(/\s/g, '-');
}

function anchorsOf(document: string): Set<string> {
  const withoutCode = read(document).replaceAll(/```[\s\S]*?```/g, '');
  const headings = [...withoutCode.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) => anchorOf(heading));
  const named = [...withoutCode.matchAll(/<a (?:id|name)="([^"]+)"/g)].map(([, id = '']) => id);
  return new Set([...headings, ...named]);
}

/** Links to other places of this repository, in Markdown or HTML. */
function linksOf(document: string): string[] {
  const text = read(document)
    .replaceAll(/```[\s\S]*?```/g, '')
    .replaceAll(/`[^`\n]*`/g, '');
  const markdown = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
  const html = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, target = '']) => target);
  return [...markdown, ...html].filter((target) => !/^[a-z]+:/.test(target));
}

describe('The documents', () => {
  for (const document of DOCUMENTS) {
    test(`${document} links to nothing that is not there`, () => {
      for (const link of linksOf(document)) {
        const [path = '', anchor] = link.split('#');
        const target = path === '' ? document : normalize(join(dirname(document), path));
        assert.ok(existsSync(join(ROOT, target)), `${link}: no such file`);
        if (anchor !== undefined) assert.ok(anchorsOf(target).has(anchor), `${link}: no such heading`);
      }
    });
  }

  test('each command in them is tried by somebody, or says why nobody can', () => {
    const walked = SCENES.flatMap(({ documents }) => documents);
    for (const document of DOCUMENTS) {
      const test = TRIED_BY_TESTS[document];
      if (test !== undefined) assert.ok(read(test).includes(document.replace('docs/', '')), `${test} does not read ${document}`);
      for (const { line, triedBy } of commandBlocks(read(document))) {
        const place = `${document}:${line}`;
        if (triedBy.is === 'the walk' && test === undefined)
          assert.ok(walked.includes(document), `${place}: the walk does not read ${document}`);
        if (triedBy.is === 'another') assert.ok(existsSync(join(ROOT, triedBy.file)), `${place}: there is no ${triedBy.file}`);
      }
    }
  });

  test('a command that is said to be tried by a script is written there', () => {
    for (const document of DOCUMENTS) {
      for (const { line, script, triedBy } of commandBlocks(read(document))) {
        // A test writes its commands as lists of words, so only scripts are searched.
        if (triedBy.is !== 'another' || triedBy.file.endsWith('.test.ts')) continue;
        const by = readFileSync(join(ROOT, triedBy.file), 'utf8').replaceAll(/--silent /g, '');
        // The file names the program and its first words; how it fills in the rest is its own matter.
        for (const command of script.split('\n').filter((each) => each.trim() !== '' && !each.startsWith(' '))) {
          const [program = '', verb = '', what = ''] = command.split(/\s+/);
          const words = program === 'npm' && verb === 'run' ? `run ${what}` : `${program} ${verb}`.trim();
          assert.ok(by.includes(words), `${document}:${line}: ${triedBy.file} does not try "${words}"`);
        }
      }
    }
  });

  test('every page in docs can be found from the README', () => {
    const reachable = new Set<string>();
    const visit = (document: string): void => {
      if (reachable.has(document)) return;
      reachable.add(document);
      for (const link of linksOf(document)) {
        const [path = ''] = link.split('#');
        if (path.endsWith('.md')) visit(normalize(join(dirname(document), path)));
      }
    };
    visit('README.md');
    assert.deepEqual(
      DOCUMENTS.filter((document) => !reachable.has(document)),
      [],
    );
  });
});

describe('What is a command in a document', () => {
  const FENCE = '```';

  test('is each block of shell, without the indent of its list', () => {
    const blocks = commandBlocks(
      `Do:\n\n1. This:\n\n   ${FENCE}sh\n   one\n     two\n   ${FENCE}\n\n${FENCE}yaml\nno: command\n${FENCE}\n`,
    );
    assert.deepEqual(blocks, [{ line: 6, script: 'one\n  two', triedBy: { is: 'the walk' } }]);
  });

  test('is what stands after a prompt where output is shown, too', () => {
    const blocks = commandBlocks(`${FENCE}\n$ one\nits output\n$ two\n${FENCE}\n\n${FENCE}\nno command\n${FENCE}\n`);
    assert.deepEqual(blocks, [{ line: 2, script: 'one\ntwo', triedBy: { is: 'the walk' } }]);
  });

  test('is tried by whom the comment above it says', () => {
    const [first, second] = commandBlocks(
      `<!-- tried by: .ci/run -->\n\n${FENCE}sh\nnpm test\n${FENCE}\n\n<!-- tried by nobody: it takes a registry -->\n${FENCE}sh\npush\n${FENCE}\n`,
    );
    assert.deepEqual(first?.triedBy, { is: 'another', file: '.ci/run' });
    assert.deepEqual(second?.triedBy, { is: 'nobody', why: 'it takes a registry' });
  });

  test('without an end is an error', () => {
    assert.throws(() => commandBlocks(`${FENCE}sh\nnpm test\n`), /line 1 has no end/);
  });
});
