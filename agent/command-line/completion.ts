/**
 * Completion for shells, made from the table of commands.
 *
 * Guarantees: the scripts need nothing but the shell itself, and ask nobody, so that completing costs nothing.
 */
import { COMMANDS, GLOBAL_OPTIONS } from './table.ts';
import type { CommandSpec, OptionSpec } from './table.ts';

/** For bash from 4 on, with or without the package bash-completion. */
export function bashCompletion(): string {
  const words = [...COMMANDS.map(({ name }) => name), 'help', ...GLOBAL_OPTIONS.flatMap(flagsOf)].join(' ');
  const cases = COMMANDS.map((command) => {
    const choices = [...command.options.flatMap(flagsOf), ...(command.operand?.choices ?? [])].join(' ');
    return `    ${command.name}) choices='${choices}' ;;`;
  });
  return `# Completion of leasehold for bash: source <(leasehold completion bash)
_leasehold() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} command=\${COMP_WORDS[1]} choices=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${words}' -- "$word"))
    return
  fi
  case "$command $before" in
${[...COMMANDS.flatMap(bashValues), `    'help help') COMPREPLY=($(compgen -W '${COMMANDS.map(({ name }) => name).join(' ')}' -- "$word")); return ;;`].join('\n')}
  esac
  case "$command" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$choices" -- "$word"))
}
complete -F _leasehold leasehold
`;
}

/** What may follow each option of a command that takes something. */
function bashValues({ name, options }: CommandSpec): string[] {
  return options.flatMap((option) => {
    const { argument } = option;
    if (argument === undefined) return [];
    const patterns = flagsOf(option)
      .map((flag) => `'${name} ${flag}'`)
      .join('|');
    const words = argument.choices?.join(' ');
    const reply =
      words !== undefined
        ? `COMPREPLY=($(compgen -W '${words}' -- "$word")); `
        : argument.isFile === true
          ? 'COMPREPLY=($(compgen -f -- "$word")); '
          : '';
    return [`    ${patterns}) ${reply}return ;;`];
  });
}

/** For zsh, as a file of the name _leasehold in the fpath, or to be sourced. */
export function zshCompletion(): string {
  const commands = [...COMMANDS, { name: 'help', summary: 'Show the help of a command' }].map(
    ({ name, summary }) => `    '${name}:${quoted(summary)}'`,
  );
  const cases = COMMANDS.map((command) => {
    const specs = [
      ...command.options.map(zshOption),
      ...(command.operand === undefined ? [] : [`'1:${command.operand.name.toLowerCase()}:(${command.operand.choices.join(' ')})'`]),
    ];
    return `    ${command.name}) _arguments ${specs.join(' ')} ;;`;
  });
  return `#compdef leasehold
# Completion of leasehold for zsh: leasehold completion zsh > "\${fpath[1]}/_leasehold"
_leasehold() {
  local -a commands
  commands=(
${commands.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe -t commands 'command' commands
    _arguments ${GLOBAL_OPTIONS.map(zshOption).join(' ')}
    return
  fi
  local command=\${words[2]}
  shift words
  (( CURRENT-- ))
  case "$command" in
${cases.join('\n')}
    help) _arguments '1:command:(${COMMANDS.map(({ name }) => name).join(' ')})' ;;
  esac
}
if [ "\${funcstack[1]}" = _leasehold ]; then _leasehold "$@"; else compdef _leasehold leasehold; fi
`;
}

function zshOption({ name, short, argument, doc }: OptionSpec): string {
  const text = `[${quoted(doc).replaceAll('[', '\\[').replaceAll(']', '\\]')}]`;
  const value =
    argument === undefined
      ? ''
      : `:${argument.name.toLowerCase()}:${argument.choices !== undefined ? `(${argument.choices.join(' ')})` : argument.isFile === true ? '_files' : ' '}`;
  if (short === undefined) return `'--${name}${text}${value}'`;
  return `'(-${short} --${name})'{-${short},--${name}}'${text}${value}'`;
}

/** Inside single quotes, and where a colon means something. */
function quoted(text: string): string {
  return text.replaceAll("'", "'\\''").replaceAll(':', '\\:');
}

function flagsOf({ name, short }: OptionSpec): string[] {
  return short === undefined ? [`--${name}`] : [`-${short}`, `--${name}`];
}
