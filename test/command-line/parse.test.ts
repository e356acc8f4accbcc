import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseCommandLine } from '../../agent/command-line/parse.ts';
import { COMMANDS } from '../../agent/command-line/table.ts';

const helpOf = (...words: string[]): string => {
  const wanted = parseCommandLine(words);
  return wanted.is === 'help' ? wanted.text(80) : assert.fail(JSON.stringify(wanted));
};

const misuseOf = (...words: string[]): string => {
  const wanted = parseCommandLine(words);
  return wanted.is === 'misuse' ? wanted.message : assert.fail(JSON.stringify(wanted));
};

describe('the command line', () => {
  test('without a command runs the agent', () => {
    assert.deepEqual(parseCommandLine([]), { is: 'run' });
    assert.deepEqual(parseCommandLine(['run']), { is: 'run' });
  });

  test('takes options in their long and their short form, with the value behind them or attached', () => {
    const expected = { is: 'status', output: 'json', watch: true, namespace: 'edge', lease: null, kubeconfig: null, context: null };
    assert.deepEqual(parseCommandLine(['status', '--watch', '--output', 'json', '--namespace', 'edge']), expected);
    assert.deepEqual(parseCommandLine(['status', '-w', '-ojson', '--namespace=edge']), expected);
  });

  test('step-down waits for ten seconds unless told otherwise', () => {
    assert.deepEqual(parseCommandLine(['step-down']), { is: 'step-down', force: false, waitMs: 10_000, socket: null });
    assert.deepEqual(parseCommandLine(['step-down', '--force', '--timeout', '2m', '--socket', '/x']), {
      is: 'step-down',
      force: true,
      waitMs: 120_000,
      socket: '/x',
    });
  });

  for (const [words, problem] of [
    [['stauts'], /no command "stauts"; there are run, check, status, step-down, netcup-login, completion/],
    [['--wach'], /no option --wach; there are --help, --version/],
    [['--'], /"--" is no command/],
    [['status', '--wach'], /no option --wach; there are --watch/],
    [['status', '-x'], /no option -x/],
    [['status', 'now'], /"now" is one word too many/],
    [['status', '--output'], /--output needs a value: --output FORMAT/],
    [['status', '--output', 'yaml'], /--output takes table or json, and not "yaml"/],
    [['status', '--namespace', ''], /--namespace needs a name/],
    [['status', '--watch=yes'], /--watch takes nothing behind it/],
    [['run', '--verbose'], /no option --verbose; there is --help/],
    [['step-down', '--timeout', 'soon'], /--timeout takes a duration up to 10m, such as 30s, and not "soon"/],
    [['step-down', '--timeout', '11m'], /--timeout takes a duration up to 10m/],
    [['completion'], /it takes bash or zsh/],
    [['completion', 'fish'], /it takes bash or zsh, and not "fish"/],
    [['help', 'stauts'], /no command "stauts"/],
  ] as const) {
    test(`"${words.join(' ')}" is refused, and it is said why`, () => {
      assert.match(misuseOf(...words), problem);
      assert.match(misuseOf(...words), /"leasehold .*--help" tells more\.$/);
    });
  }
});

describe('the help', () => {
  test('is the same however it is asked for', () => {
    assert.equal(helpOf('--help'), helpOf('help'));
    assert.equal(helpOf('-h'), helpOf('help'));
    assert.equal(helpOf('status', '--help'), helpOf('help', 'status'));
  });

  for (const { name, options, examples, exits } of COMMANDS) {
    test(`of ${name} has every option, an example of its use, and what its exit codes mean`, () => {
      const text = helpOf(name, '--help');
      for (const option of options) assert.ok(text.includes(`--${option.name}`), option.name);
      for (const [command] of examples) assert.ok(text.includes(command), command);
      for (const [code, meaning] of exits) assert.match(text, new RegExp(`^  ${code} +${meaning.slice(0, 20)}`, 'm'));
      assert.ok(examples.length > 0);
    });
  }

  for (const width of [40, 60, 80]) {
    test(`fits into ${width} columns, but for what is there to be copied`, () => {
      for (const words of [['--help'], ...COMMANDS.map(({ name }) => [name, '--help'])]) {
        const wanted = parseCommandLine(words);
        const commands = new Set(COMMANDS.flatMap(({ examples }) => examples.map(([command]) => `  ${command}`)));
        const text = wanted.is === 'help' ? wanted.text(width) : '';
        const long = text.split('\n').filter((line) => line.length > width && !commands.has(line) && !line.startsWith('Usage:'));
        assert.deepEqual(long, []);
      }
    });
  }
});
