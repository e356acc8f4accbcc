/**
 * How the agent and the other commands end, for scripts. Those from 64 on are the ones of <sysexits.h>.
 */
export const EXIT = {
  done: 0,
  /** What was asked for was done, and the answer is no: a check fails, or the address has not moved. */
  no: 1,
  /** Of the agent: something went wrong that should not be able to. What it has bound, the kernel's address lifetime takes off. */
  defect: 1,
  /** A command or an option that there is not. */
  usage: 64,
  /** Nobody answers: no agent at the socket, no Kubernetes API. */
  unavailable: 69,
  /** This user or this process may not. */
  unable: 77,
  /** A setting cannot be used. */
  settings: 78,
  /** Ended by a signal: this and its number. */
  signal: 128,
} as const;
