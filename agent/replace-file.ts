/**
 * Putting something else into a file that others may be reading.
 *
 * Guarantees: whoever reads it finds the old text or the new one, whole; mode and owner stay as they were, and the text is on the
 * disk before it takes the place of the old one. Where something fails the file is as it was, and nothing is left beside it.
 */
import { closeSync, fchmodSync, fchownSync, fsyncSync, openSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';

const MODE_BITS = 0o7777;

/** Replaces what a file holds, or the one that it links to. `unique` is part of no other file's name. Throws what the file system says. */
export function replaceFile(path: string, text: string, unique: string): void {
  const file = realpathSync(path);
  const { mode, uid, gid } = statSync(file);
  const beside = `${file}.${unique}`;
  const descriptor = openSync(beside, 'wx', 0o600);
  try {
    try {
      fchownSync(descriptor, uid, gid);
      fchmodSync(descriptor, mode & MODE_BITS);
      // All of it, or an error: one write may take only what there is room for.
      writeFileSync(descriptor, text);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(beside, file);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
}
