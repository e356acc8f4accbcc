/**
 * Gives the process that imports this a network namespace of its own, before it does anything else.
 *
 * For the processes of test files, which run side by side: what one of them binds, listens on or names must not be met by
 * another. What it starts is in the same namespace.
 */
import { enterOwnNetwork } from './inside-namespace.ts';

enterOwnNetwork();
