/**
 * Gives the process that imports this a network namespace of its own, before it does anything else.
 *
 * For the processes of test files, which run side by side: what one of them binds, listens on or names must not be met by
 * another. What it starts is in the same namespace. Only inside the namespaces of the whole run, see namespaces.ts.
 */
import koffi from 'koffi';
import { ip, isInside } from './namespaces.ts';

const CLONE_NEWNET = 0x40000000;

if (isInside()) {
  // The calling thread is the first one, and every other one inherits from it.
  const unshare = koffi.load('libc.so.6').func('int unshare(int)') as (kinds: number) => number;
  if (unshare(CLONE_NEWNET) !== 0) throw new Error('this process could not be given a network namespace of its own');
  ip('link set lo up');
}
