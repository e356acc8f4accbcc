/**
 * The one table of every command: help, completion and parsing are made from it, so none of them can differ.
 */

export interface OptionSpec {
  readonly name: string;
  readonly short?: string;
  /** What follows it; a switch has nothing. */
  readonly argument?: { readonly name: string; readonly choices?: readonly string[]; readonly isFile?: true };
  readonly doc: string;
}

export interface CommandSpec {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** What stands after the command. */
  readonly operand?: { readonly name: string; readonly choices: readonly string[] };
  /** Paragraphs. */
  readonly description: readonly string[];
  readonly options: readonly OptionSpec[];
  readonly examples: readonly (readonly [command: string, doc: string])[];
  readonly exits: readonly (readonly [code: number, meaning: string])[];
}

/** The namespace that the manifests put everything into. */
export const USUAL_NAMESPACE = 'leasehold';

const HELP: OptionSpec = { name: 'help', short: 'h', doc: 'Show this.' };
const USAGE = [64, 'there is no such command or option'] as const;
const OUTPUT: OptionSpec = {
  name: 'output',
  short: 'o',
  argument: { name: 'FORMAT', choices: ['table', 'json'] },
  doc: 'For people (table) or for programs (json).',
};

export const COMMANDS: readonly CommandSpec[] = [
  {
    name: 'run',
    summary: 'Keep the addresses: the agent itself (this is what is done without a command)',
    description: [
      'Runs the agent until it is asked to end by SIGTERM or SIGINT; it then gives up the addresses in order. A second signal ends it at once.',
      'It takes no options: every setting is an environment variable. ADDRESSES and PROVIDER are required.',
    ],
    options: [HELP],
    examples: [
      [
        'ADDRESSES=203.0.113.10 PROVIDER=l2 KUBECONFIG=/etc/rancher/k3s/k3s.yaml leasehold',
        'Keep one address on a segment that the nodes share.',
      ],
    ],
    exits: [
      [0, 'stepped down in order'],
      [1, 'a defect; the kernel removes the addresses when their lifetime ends'],
      [77, 'this process or this kernel cannot do what is needed'],
      [78, 'settings that cannot be used'],
    ],
  },
  {
    name: 'check',
    summary: 'Look whether an agent with these settings could do its work here, and say what to do',
    description: [
      'Reads the same settings as "run" and looks at everything that it needs: settings and timings, the Kubernetes API and the rights there, the Lease, the provider with its token, this server and each address, the interface, the kernel and its packet filter, each probe once, the port and the control socket.',
      'It changes nothing, here or elsewhere, so it can be run beside an agent at any time. What only writing would show, it says it does not know.',
    ],
    options: [OUTPUT, HELP],
    examples: [
      ['leasehold check', 'With the settings in the environment.'],
      ['kubectl -n leasehold exec POD -- leasehold check', 'In the pod of an agent, with its own settings.'],
      ['leasehold check --output json | jq \'.findings[] | select(.level != "ok")\'', 'What is not as it should be.'],
    ],
    exits: [[0, 'nothing fails; there may be warnings'], [1, 'something fails'], USAGE, [78, 'settings that cannot be used']],
  },
  {
    name: 'status',
    summary: 'Show who holds what since when, why it moved last, and what each node would say if asked to take over',
    description: [
      'Reads the Lease, and asks each agent what it is doing: the one of this machine directly, the others through the Kubernetes API as "kubectl port-forward" does. What it may not see it names, with the right that is missing.',
      'It needs none of the settings of an agent, so it runs on a workstation with a kubeconfig as well as in the pod of an agent.',
      'Where the Lease is looked for: --namespace, else LEASE_NAMESPACE, POD_NAMESPACE or the namespace of the pod, else "leasehold".',
    ],
    options: [
      { name: 'watch', short: 'w', doc: 'Go on: redraw on a terminal, else write a line for each change. Ctrl-C ends it.' },
      OUTPUT,
      { name: 'namespace', short: 'n', argument: { name: 'NAME' }, doc: 'The namespace of the Lease and of the agents.' },
      { name: 'lease', argument: { name: 'NAME' }, doc: 'The Lease; else LEASE_NAME, else "leasehold".' },
      {
        name: 'kubeconfig',
        argument: { name: 'FILE', isFile: true },
        doc: "Else KUBECONFIG, else the pod's service account, else ~/.kube/config.",
      },
      { name: 'context', argument: { name: 'NAME' }, doc: 'A context of the kubeconfig, in the place of its own choice.' },
      HELP,
    ],
    examples: [
      ['leasehold status', 'One table.'],
      ['leasehold status --watch', 'Look on while something moves.'],
      ['leasehold status --context production --output json | jq -r .lease.holder.node', 'The node that holds the Lease.'],
      ['kubectl -n leasehold exec POD -- leasehold status', 'In the pod of an agent, where only that one and the Lease are seen.'],
    ],
    exits: [[0, 'it was shown'], [1, 'there is no such Lease'], USAGE, [69, 'the Kubernetes API cannot be read']],
  },
  {
    name: 'step-down',
    summary: 'Have the agent of this node hand its addresses to another node, politely',
    description: [
      'Asks the agent of this node, through its control socket, to give up the Lease: root only. The agent marks the Lease and goes on serving until another healthy node has offered to take over; then it lets go in the order of a shutdown, stays a candidate, and stands back for the other one.',
      'Where nobody offers in time nothing happens: an address that nobody would serve is not given up. --force gives it up all the same; if nobody takes it within the lease duration, this node takes it back. To keep the address off this node, stop its agent.',
    ],
    options: [
      { name: 'force', doc: 'Give it up at once, whether or not anybody takes over.' },
      {
        name: 'timeout',
        argument: { name: 'DURATION' },
        doc: 'How long to wait for another node to offer, such as 30s or 2m. Default: 10s.',
      },
      { name: 'socket', argument: { name: 'PATH', isFile: true }, doc: 'Else CONTROL_SOCKET, else /run/leasehold/control.sock.' },
      HELP,
    ],
    examples: [
      ['leasehold step-down', 'On the node that holds, before it is rebooted.'],
      ['kubectl -n leasehold exec POD -- leasehold step-down', 'From anywhere, in the pod of the agent that holds.'],
      ['leasehold step-down --timeout 2m && systemctl reboot', 'Reboot only once another node serves.'],
    ],
    exits: [
      [0, 'another node holds the Lease, or this one did not hold it'],
      [1, 'it has not moved; what is written says why'],
      USAGE,
      [69, 'no agent listens, or it ended before it had answered'],
      [77, 'this user may not'],
    ],
  },
  {
    name: 'netcup-login',
    summary: 'Log in at netcup with a browser, and write the Secret that agents with PROVIDER=netcup need',
    description: [
      'Shows a page to open and a code, waits until somebody has logged in there, and writes a Secret with the refresh token to standard output. All else is said on standard error, and nothing is kept anywhere.',
      'It needs no settings, no agent and no cluster; NETCUP_AUTH_ENDPOINT counts where it is set.',
    ],
    options: [
      {
        name: 'output',
        short: 'o',
        argument: { name: 'FORMAT', choices: ['manifest', 'token'] },
        doc: 'A Secret for kubectl (manifest), or the token alone (token).',
      },
      { name: 'namespace', short: 'n', argument: { name: 'NAME' }, doc: `The namespace of the Secret. Default: ${USUAL_NAMESPACE}.` },
      HELP,
    ],
    examples: [
      ['leasehold netcup-login | kubectl apply -f -', 'Create the Secret, or put another token into it.'],
      [
        '(umask 077; leasehold netcup-login --output token > netcup-token)',
        'For a machine without manifests: a file that only you can read.',
      ],
    ],
    exits: [
      [0, 'it was written'],
      [1, 'nobody has logged in in time, or the access was not allowed'],
      USAGE,
      [69, 'netcup cannot be reached, or does not understand'],
      [78, 'NETCUP_AUTH_ENDPOINT is no URL'],
    ],
  },
  {
    name: 'completion',
    summary: 'Write what a shell needs to complete these commands',
    operand: { name: 'SHELL', choices: ['bash', 'zsh'] },
    description: ['Writes a script for the shell that is named.'],
    options: [HELP],
    examples: [
      ['source <(leasehold completion bash)', 'In this shell; the same line in ~/.bashrc for each one.'],
      ['leasehold completion zsh > "${fpath[1]}/_leasehold"', 'For zsh, once.'],
    ],
    exits: [[0, 'it was written'], USAGE],
  },
];

/** What can be said in the place of a command. */
export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  { name: 'help', short: 'h', doc: 'Show this, or the help of a command: leasehold COMMAND --help.' },
  { name: 'version', short: 'V', doc: 'Show the version.' },
];
