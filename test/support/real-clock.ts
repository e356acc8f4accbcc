/**
 * The clock of the machine, for tests on real sockets.
 */
import type { Clock } from '../../agent/clock.ts';
import { systemClock } from '../../agent/runtime/clock.ts';

export const REAL_CLOCK: Clock = systemClock(() => performance.now());
