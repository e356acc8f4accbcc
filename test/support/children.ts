/**
 * What runs commands as the agent does, for tests.
 */
import { Children } from '../../agent/children.ts';
import { reapGroup } from '../../agent/link/libc.ts';
import { REAL_CLOCK } from './real-clock.ts';

/** It passes on what it finds in an environment, that of the tests unless another is given. */
export function openChildren(env: Readonly<Record<string, string | undefined>> = process.env): Children {
  return new Children({ clock: REAL_CLOCK, env, kill: (pid, signal) => process.kill(pid, signal), reap: reapGroup });
}
