/**
 * Whether the control socket can be used, for the preflight.
 *
 * Guarantees: nothing is created, changed or removed; who listens there is connected to and told nothing.
 */
import { accessSync, constants, lstatSync } from 'node:fs';
import { dirname } from 'node:path';
import { asError } from '../clock.ts';
import { ok, warn } from '../finding.ts';
import type { Check, Finding } from '../finding.ts';
import { isSomebodyAt } from './server.ts';

export function controlCheck(path: string): Check {
  return { name: 'control socket', run: async () => [await look(path)] };
}

async function look(path: string): Promise<Finding> {
  const name = 'control socket';
  const advice = 'name another path in CONTROL_SOCKET, or mount a folder there that can be written to';
  try {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found !== undefined && !found.isSocket())
      return warn(name, `${path} is no socket`, 'remove it, or name another path in CONTROL_SOCKET');
    if (found !== undefined && (await isSomebodyAt(path))) return ok(name, `an agent listens at ${path}`);
    accessSync(nearestFolder(path), constants.W_OK | constants.X_OK);
    return ok(name, `${path} can be made`);
  } catch (error) {
    const why = asError(error).message;
    return warn(name, `"leasehold step-down" would not work on this node: ${why}`, advice);
  }
}

/** The folder of a path, or the nearest one above it that is there already. */
function nearestFolder(path: string): string {
  let folder = dirname(path);
  while (folder !== '/' && lstatSync(folder, { throwIfNoEntry: false }) === undefined) folder = dirname(folder);
  return folder;
}
