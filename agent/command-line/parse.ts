/**
 * From words to what is wanted.
 *
 * Guarantees: pure. What cannot be understood says what was meant to be understood and where help is; nothing is guessed.
 */
import { parseArgs } from 'node:util';
import { duration, kubernetesName } from '../config/formats.ts';
import { WAIT_MAX_MS } from '../control/protocol.ts';
import { commandHelp, generalHelp } from './help.ts';
import { COMMANDS, GLOBAL_OPTIONS, USUAL_NAMESPACE } from './table.ts';
import type { CommandSpec, OptionSpec } from './table.ts';

export type OutputFormat = 'table' | 'json';

export type Wanted =
  | { readonly is: 'run' }
  | { readonly is: 'check'; readonly output: OutputFormat }
  | {
      readonly is: 'status';
      readonly output: OutputFormat;
      readonly watch: boolean;
      readonly namespace: string | null;
      readonly lease: string | null;
      readonly kubeconfig: string | null;
      readonly context: string | null;
    }
  | { readonly is: 'step-down'; readonly force: boolean; readonly waitMs: number; readonly socket: string | null }
  | { readonly is: 'netcup-login'; readonly output: 'manifest' | 'token'; readonly namespace: string }
  | { readonly is: 'completion'; readonly shell: 'bash' | 'zsh' }
  | { readonly is: 'version' }
  | { readonly is: 'help'; readonly text: (width: number) => string }
  | { readonly is: 'misuse'; readonly message: string };

const DEFAULT_WAIT_MS = 10_000;

/** Understands what stands after the name of the program. */
export function parseCommandLine(words: readonly string[]): Wanted {
  const [first, ...rest] = words;
  if (first === undefined) return { is: 'run' };
  if (first === 'help') return helpFor(rest);
  const command = COMMANDS.find(({ name }) => name === first);
  if (command !== undefined) return parseCommand(command, rest);
  if (!first.startsWith('-')) return misuse(`there is no command "${first}"${listed(COMMANDS.map(({ name }) => name))}`, null);
  const parsed = read(words, GLOBAL_OPTIONS);
  if ('problem' in parsed) return misuse(parsed.problem, null);
  if (parsed.switches.has('help')) return { is: 'help', text: generalHelp };
  if (parsed.switches.has('version')) return { is: 'version' };
  return misuse(`"${words.join(' ')}" is no command${listed(COMMANDS.map(({ name }) => name))}`, null);
}

function helpFor([name]: readonly string[]): Wanted {
  if (name === undefined) return { is: 'help', text: generalHelp };
  const command = COMMANDS.find((each) => each.name === name);
  if (command === undefined) return misuse(`there is no command "${name}"${listed(COMMANDS.map((each) => each.name))}`, null);
  return { is: 'help', text: (width) => commandHelp(command, width) };
}

function parseCommand(command: CommandSpec, words: readonly string[]): Wanted {
  const { name, operand } = command;
  const parsed = read(words, command.options);
  if ('problem' in parsed) return misuse(parsed.problem, name);
  const { switches, values, operands } = parsed;
  if (switches.has('help')) return { is: 'help', text: (width) => commandHelp(command, width) };
  for (const option of command.options) {
    const value = values.get(option.name);
    const choices = option.argument?.choices;
    if (value !== undefined && choices !== undefined && !choices.includes(value))
      return misuse(`--${option.name} takes ${choices.join(' or ')}, and not "${value}"`, name);
    if (value === '') return misuse(`--${option.name} needs a ${option.argument?.name.toLowerCase() ?? 'value'}`, name);
  }
  const [first, ...more] = operands;
  if (operand === undefined && first !== undefined) return misuse(`"${first}" is one word too many`, name);
  if (operand !== undefined && (first === undefined || more.length > 0 || !operand.choices.includes(first)))
    return misuse(`it takes ${operand.choices.join(' or ')}${first === undefined ? '' : `, and not "${operands.join(' ')}"`}`, name);
  return assemble(name, { switches, values, first });
}

function assemble(
  name: string,
  { switches, values, first }: { switches: ReadonlySet<string>; values: ReadonlyMap<string, string>; first: string | undefined },
): Wanted {
  const output = values.get('output') === 'json' ? 'json' : 'table';
  const value = (option: string): string | null => values.get(option) ?? null;
  switch (name) {
    case 'check':
      return { is: 'check', output };
    case 'status':
      return {
        is: 'status',
        output,
        watch: switches.has('watch'),
        namespace: value('namespace'),
        lease: value('lease'),
        kubeconfig: value('kubeconfig'),
        context: value('context'),
      };
    case 'step-down': {
      const timeout = value('timeout');
      const parsed = timeout === null ? { value: DEFAULT_WAIT_MS } : duration.parse(timeout);
      if (parsed === null || 'problem' in parsed || parsed.value > WAIT_MAX_MS)
        return misuse(`--timeout takes a duration up to ${WAIT_MAX_MS / 60_000}m, such as 30s, and not "${timeout ?? ''}"`, name);
      return { is: 'step-down', force: switches.has('force'), waitMs: parsed.value, socket: value('socket') };
    }
    case 'netcup-login': {
      const namespace = value('namespace') ?? USUAL_NAMESPACE;
      if (kubernetesName.parse(namespace) === null)
        return misuse(`--namespace takes ${kubernetesName.accepts}, and not "${namespace}"`, name);
      return { is: 'netcup-login', output: value('output') === 'token' ? 'token' : 'manifest', namespace };
    }
    case 'completion':
      return { is: 'completion', shell: first === 'zsh' ? 'zsh' : 'bash' };
    default:
      return { is: 'run' };
  }
}

interface Words {
  readonly switches: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
  readonly operands: readonly string[];
}

function read(words: readonly string[], options: readonly OptionSpec[]): Words | { readonly problem: string } {
  const known = Object.fromEntries(
    options.map(({ name, short, argument }) => [
      name,
      { type: argument === undefined ? ('boolean' as const) : ('string' as const), ...(short === undefined ? {} : { short }) },
    ]),
  );
  try {
    const { values, positionals } = parseArgs({ args: [...words], options: known, allowPositionals: true, strict: true });
    const entries = Object.entries(values);
    return {
      switches: new Set(entries.filter(([, value]) => value === true).map(([name]) => name)),
      values: new Map(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string')),
      operands: positionals,
    };
  } catch (error) {
    return { problem: problemOf(error, options) };
  }
}

/** What Node says of it is for programmers; the option that it names is what people need. */
function problemOf(error: unknown, options: readonly OptionSpec[]): string {
  const { code, message } = error as { code?: string; message: string };
  const [, named = ''] = /'(?:-\w, )?(-{1,2}[^' ]+)/.exec(message) ?? [];
  switch (code) {
    case 'ERR_PARSE_ARGS_UNKNOWN_OPTION':
      return `there is no option ${named}${listed(options.map(({ name }) => `--${name}`))}`;
    case 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE': {
      const option = options.find(({ name }) => `--${name}` === named);
      return option?.argument === undefined
        ? `${named} takes nothing behind it`
        : `${named} needs a value: ${named} ${option.argument.name}`;
    }
    default:
      return message;
  }
}

function listed(names: readonly string[]): string {
  return `; there ${names.length === 1 ? 'is' : 'are'} ${names.join(', ')}`;
}

function misuse(problem: string, command: string | null): Wanted {
  const [where, help] = command === null ? ['leasehold', 'leasehold --help'] : [`leasehold ${command}`, `leasehold ${command} --help`];
  return { is: 'misuse', message: `${where}: ${problem}.\n"${help}" tells more.` };
}
