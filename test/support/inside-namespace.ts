/**
 * Enters a named network namespace for the length of a synchronous call.
 */
import koffi from 'koffi';
import { closeSync, openSync } from 'node:fs';

const CLONE_NEWNET = 0x40000000;
const setns = koffi.load('libc.so.6').func('int setns(int, int)') as (fd: number, kind: number) => number;

/** Runs `work` with the calling thread in a namespace of `ip netns`. A socket that it opens stays there. */
export function inNamespace<Result>(name: string, work: () => Result): Result {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  const there = openSync(`/run/netns/${name}`, 'r');
  try {
    enter(there);
    return work();
  } finally {
    enter(home);
    closeSync(there);
    closeSync(home);
  }
}

function enter(fd: number): void {
  if (setns(fd, CLONE_NEWNET) !== 0) throw new Error('setns failed');
}
