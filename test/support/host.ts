/**
 * A machine that has nothing, for worlds whose provider wants nothing of it.
 */
import type { Host } from '../../agent/host.ts';

export const NO_HOST: Host = {
  interfaces: () => [],
  run: () => Promise.reject(new Error('no command is run here')),
  writeFile: () => {
    throw new Error('no file is written here');
  },
};
