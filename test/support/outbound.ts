/**
 * How tests connect: under a name of their own, with the machine's own look-ups.
 */
import { lookup } from 'node:dns';
import type { Outbound } from '../../agent/outbound.ts';

export const OUTBOUND: Outbound = { userAgent: 'leasehold/test', lookup };
