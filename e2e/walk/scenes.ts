/**
 * Which document is read in which surroundings, and what must be so before and after it.
 */
import type { RoutedProviderName } from '../../test/support/stand-ins/all.ts';
import { FLOATING_IP } from '../lab/stage.ts';
import type { Cluster } from './cluster.ts';

/** What a scene may see and do. */
export interface Surroundings {
  readonly cluster: Cluster;
  readonly holder: () => Promise<string | null>;
  /** Runs a script as a reader would. Throws when it fails. */
  readonly run: (script: string) => Promise<string>;
  /** Waits until every agent is ready, one holds the Lease, and clients are answered by it. */
  readonly settled: () => Promise<void>;
  /** Fails unless the provider has routed the address to one node and later to another. */
  readonly moved: () => void;
  readonly say: (text: string) => void;
}

export interface Scene {
  /** Whose account the reader has; null where the nodes share a segment. */
  readonly provider: RoutedProviderName | null;
  /** The address that the documents install, and that clients try. */
  readonly address: string;
  /** The setting that each word in capitals which a reader fills in is the value of, as the provider's stand-in has it. */
  readonly credentials?: Readonly<Record<string, string>>;
  /** In the order in which they are read. The first one installs. */
  readonly documents: readonly string[];
  readonly before?: (document: string, surroundings: Surroundings) => Promise<void>;
  readonly after?: (document: string, surroundings: Surroundings) => Promise<void>;
}

/** Pages whose commands a test of their own tries. */
export const TRIED_BY_TESTS: Readonly<Record<string, string>> = {
  'docs/install.md': 'test/manifests/documentation.test.ts',
  'docs/services.md': 'test/manifests/documentation.test.ts',
  'docs/outside-a-cluster.md': 'test/outside-a-cluster.test.ts',
};

/** What hcloud-fip-controller would be in a cluster that has it. */
const OTHER_CONTROLLER = `kubectl create namespace fip-controller
kubectl -n fip-controller create deployment fip-controller --image example --replicas 3`;

/** A page that leads from an account with one failover IP to an address that has moved. */
function pageOf(provider: RoutedProviderName, rest: Partial<Scene> = {}): Scene {
  return {
    provider,
    address: FLOATING_IP,
    ...rest,
    documents: [`docs/${provider}.md`],
    after: async (_, { settled, moved }) => {
      await settled();
      moved();
    },
  };
}

export const SCENES: readonly Scene[] = [
  {
    provider: 'hcloud-floating-ip',
    address: FLOATING_IP,
    credentials: { 'YOUR-API-TOKEN': 'HCLOUD_TOKEN' },
    documents: [
      'README.md',
      'docs/command-line.md',
      'docs/troubleshooting.md',
      'docs/security.md',
      'docs/metrics.md',
      'docs/events.md',
      'docs/moving.md',
      'docs/upgrade-and-removal.md',
    ],
    before: async (document, { run }) => {
      if (document === 'docs/moving.md') await run(OTHER_CONTROLLER);
    },
    after: async (document, { settled, moved }) => {
      if (document !== 'docs/upgrade-and-removal.md') await settled();
      if (document === 'README.md') moved();
    },
  },
  {
    provider: null,
    address: FLOATING_IP,
    documents: ['docs/l2.md'],
    before: async (_, { run }) => {
      await run(`sed -i 's|^ADDRESSES=.*|ADDRESSES=${FLOATING_IP}|' manifests/overlays/l2/settings.env`);
    },
    after: async (_, { settled }) => await settled(),
  },
  pageOf('hcloud-alias-ip', { address: '10.20.0.50', credentials: { 'YOUR-API-TOKEN': 'HCLOUD_TOKEN' } }),
  pageOf('hetzner-robot', { credentials: { '#ws+a1b2c3': 'ROBOT_USER', 'YOUR-PASSWORD': 'ROBOT_PASSWORD' } }),
  pageOf('exec', {
    credentials: { 'YOUR-API-TOKEN': 'EXEC_SECRET' },
    // Where the example's API is, only the command can be told.
    before: async (_, { cluster, run }) => {
      const words = cluster.provider?.env(cluster.nodes[0] ?? '')['EXEC_COMMAND']?.split(' ') ?? [];
      const endpoints = words.filter((word) => /^--(api|metadata)=/.test(word)).join(' ');
      await run(`sed -i 's|^EXEC_COMMAND=.*|& ${endpoints}|' manifests/overlays/exec/settings.env`);
    },
  }),
];
