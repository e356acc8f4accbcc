/**
 * An agent as a real process whose interface is in memory: for machines where no network namespace can be had.
 *
 * What it binds is told to its parent, which goes on counting the lifetimes when this process dies, as a kernel would.
 */
import { systemClock } from '../../agent/runtime/clock.ts';
import { boottimeMs } from '../../agent/link/libc.ts';
import { runProcess } from '../../agent/process.ts';
import { MemoryLink, MemoryNode } from '../../test/support/memory-link.ts';

/** What is bound, and until when by CLOCK_BOOTTIME. */
export interface BoundMessage {
  readonly untilMs: number;
}

// Nobody is left to count the lifetimes.
process.on('disconnect', () => process.exit());

runProcess({
  openLink: ({ addresses: [address] }) => {
    const clock = systemClock(boottimeMs);
    const node = new MemoryNode(clock);
    const text = address?.text ?? '';
    node.onChange = () => process.send?.({ untilMs: clock.nowMs() + node.remainingMs(text) } satisfies BoundMessage);
    // What an earlier agent on this node bound is still there.
    const leftMs = Number(process.env['LEFT_BOUND_UNTIL_MS'] ?? 0) - clock.nowMs();
    if (leftMs > 0) node.set(text, leftMs);
    return new MemoryLink(node, [text]);
  },
  // The nodes share a machine here, and each of them counts as one of its own.
  processNames: { take: () => Promise.resolve(true), release: () => undefined, holderOf: () => null },
});
