/**
 * Who takes part in the comparison on a shared segment, each set up in the same lab.
 */
import { KeepalivedStage } from '../lab/keepalived-stage.ts';
import type { KeepalivedOptions } from '../lab/keepalived-stage.ts';
import { StandInLeases } from '../lab/leases.ts';
import { NamespaceStage } from '../lab/namespace-stage.ts';
import type { Stage } from '../lab/stage.ts';

/** The client opens a connection this often. */
export const CLIENT_INTERVAL_MS = 10;

export type FaultName = 'process killed' | 'node cut off' | 'stopped politely' | 'health check fails';

/** A contestant on stage. */
export interface Performance {
  readonly stage: Stage;
  /** Starts a node's agent anew after it has ended, by itself or killed. */
  readonly restart: (node: string) => void;
  /** Lets a node whose service had failed be as good as any other again. */
  readonly recover: (node: string) => Promise<void>;
  /** The processes that run on a node. */
  readonly processesOf: (node: string) => readonly number[];
  /** How many requests to the Kubernetes API there have been; null for who knows of none. */
  readonly apiRequests: () => number | null;
}

export interface Contestant {
  readonly name: string;
  /** How it is set up. */
  readonly setup: string;
  /** What is aimed at: until another node serves and clients are without an answer, in milliseconds. */
  readonly targetsMs: { readonly [Name in FaultName]?: number };
  /** Two nodes of it that answer at once are a defect. */
  readonly mustBeAlone: boolean;
  readonly open: () => Promise<Performance>;
}

interface Profile {
  readonly name: string;
  readonly setup: string;
  readonly env: Readonly<Record<string, string>>;
  readonly targetsMs: Contestant['targetsMs'];
}

const DEFAULTS: Profile = {
  name: 'Leasehold',
  setup: 'default settings: lease duration 3 s, probe each second',
  env: {},
  targetsMs: { 'process killed': 3_100, 'node cut off': 3_100, 'stopped politely': 150, 'health check fails': 1_900 },
};

const FAST: Profile = {
  name: 'Leasehold, fast',
  setup: 'LEASE_DURATION=600ms RENEW_DEADLINE=300ms RENEW_INTERVAL=150ms PROBE_INTERVAL=200ms',
  env: { LEASE_DURATION: '600ms', RENEW_DEADLINE: '300ms', RENEW_INTERVAL: '150ms', PROBE_INTERVAL: '200ms' },
  targetsMs: { 'process killed': 800, 'node cut off': 800, 'stopped politely': 150 },
};

function keepalived(advertS: number, installed: { readonly program: string; readonly version: string }): Contestant {
  const options: KeepalivedOptions = { program: installed.program, advertS, clientIntervalMs: CLIENT_INTERVAL_MS };
  return {
    name: `keepalived, ${advertS} s`,
    setup: `keepalived ${installed.version}, advert_int ${advertS}, unicast, state BACKUP, nopreempt, priorities 100, 99, 98, chk each second, fall 2`,
    targetsMs: {},
    mustBeAlone: false,
    open: async () => {
      const stage = await KeepalivedStage.open(options);
      return {
        stage,
        restart: (node) => {
          stage.removeLeftover(node);
          stage.startAgent(node);
        },
        recover: (node) => stage.startService(node),
        processesOf: (node) => stage.processesOf(node),
        apiRequests: () => null,
      };
    },
  };
}

function leasehold({ name, setup, env, targetsMs }: Profile, bundle: string): Contestant {
  return {
    name,
    setup,
    targetsMs,
    mustBeAlone: true,
    open: async () => {
      const options = {
        bundle,
        moveMs: 0,
        topology: 'l2',
        clientIntervalMs: CLIENT_INTERVAL_MS,
        env,
      } as const;
      const stage = await NamespaceStage.open(options, (onLease) => StandInLeases.open(onLease));
      return {
        stage,
        restart: (node) => stage.startAgent(node),
        // A new agent, because one that has just failed stands back, longer each time.
        recover: async (node) => {
          await stage.startService(node);
          await stage.stopAgent(node);
          stage.startAgent(node);
        },
        processesOf: (node) => [stage.agent(node)?.pid ?? 0],
        apiRequests: () => stage.leases.kube.http.exchanges.length,
      };
    },
  };
}

/** Everybody who can take part here. */
export function findContestants(bundle: string, installed: { readonly program: string; readonly version: string } | null): Contestant[] {
  const peers = installed === null ? [] : [keepalived(1, installed), keepalived(0.1, installed)];
  return [...peers, leasehold(DEFAULTS, bundle), leasehold(FAST, bundle)];
}
