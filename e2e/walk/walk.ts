/**
 * The walk: from an empty cluster to a moved address, by the commands of the documents and nothing else.
 *
 * Every block of shell in the README and in docs/ is run as a reader would type it, in a copy of this repository, against a
 * real kube-apiserver, with real agents as the pods of what was applied. Words in capitals that a reader fills in (NODE, POD)
 * are filled in. What cannot be tried here is named at the end, with who tries it or why nobody does. The last line counts
 * the blocks. `--only TEXT` takes the documents whose name contains the text; `--verbose` shows what the commands print.
 */
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { integerAt, stringAt } from '../../agent/json.ts';
import { nodeOfIdentity } from '../../agent/contender/lease.ts';
import { readOptions } from '../../scripts/arguments.ts';
import { buildAgent } from '../../scripts/build.ts';
import { exitWith } from '../../scripts/exit.ts';
import { findNamespaces, isInside, runInside } from '../../test/support/namespaces.ts';
import { toolPath } from '../../test/support/tools.ts';
import { findAssets } from '../control-plane/assets.ts';
import type { Assets } from '../control-plane/assets.ts';
import { findOutages, totalOutageMs } from '../lab/outage.ts';
import { until } from '../lab/stage.ts';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { Cluster } from './cluster.ts';
import { commandBlocks } from './documents.ts';
import type { CommandBlock } from './documents.ts';
import { isReady } from './pods.ts';
import type { Pod } from './pods.ts';
import { SCENES } from './scenes.ts';
import type { Scene, Surroundings } from './scenes.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FOLDER = '/run/leasehold-walk';
const BLOCK_MS = 150_000;
const SETTLE_MS = 60_000;
/** How long it takes at the most until it is known that an attempt got no answer. */
const ATTEMPT_KNOWN_MS = 600;
const AGENTS_SAY = 'kubectl -n leasehold logs -l app.kubernetes.io/name=leasehold --tail 5 --prefix';
const LEASE = '/apis/coordination.k8s.io/v1/namespaces/leasehold/leases/leasehold';

const say = (text = ''): void => void process.stdout.write(`${text}\n`);

/** What became of the blocks so far. */
interface Tally {
  passed: number;
  failed: number;
  readonly untried: string[];
}

async function main(args: readonly string[]): Promise<number> {
  const { only, verbose } = readOptions(args, { only: { type: 'string', default: '' }, verbose: { type: 'boolean', default: false } });
  const namespaces = findNamespaces();
  const assets = findAssets(process.env);
  const why =
    namespaces.is === 'unavailable'
      ? namespaces.why
      : assets.is === 'unavailable'
        ? assets.why
        : toolPath('kubectl') === null
          ? 'there is no kubectl'
          : null;
  if (why !== null) {
    say(`The walk cannot be gone here: ${why}.`);
    say('0 passed, 0 failed, 1 skipped');
    return 0;
  }
  if (!isInside() && namespaces.is === 'available') return await runInside(namespaces.unshare, fileURLToPath(import.meta.url), args);
  return await walk(assets as Assets & { is: 'available' }, only, verbose);
}

async function walk(assets: Assets & { is: 'available' }, only: string, isVerbose: boolean): Promise<number> {
  mkdirSync(FOLDER, { recursive: true });
  const bundle = await buildAgent(join(FOLDER, 'dist'));
  const tally: Tally = { passed: 0, failed: 0, untried: [] };
  for (const [index, scene] of SCENES.entries()) {
    const documents = scene.documents.filter((each) => each.includes(only));
    if (documents.length === 0) continue;
    say(
      `A cluster with three nodes, ${scene.provider === null ? 'on a shared segment' : `and an address that ${scene.provider} routes`}; nothing is installed.`,
    );
    const folder = join(FOLDER, String(index));
    const { provider, address, credentials = {} } = scene;
    const cluster = await Cluster.open({ bundle, assets, folder, provider, address });
    try {
      await play(scene, cluster, { checkout: copyOfRepository(folder), tools: tools(folder), credentials, isVerbose, only }, tally);
    } finally {
      await cluster.close();
    }
  }
  for (const line of tally.untried) say(line);
  say(`${tally.passed} passed, ${tally.failed} failed, 0 skipped`);
  return tally.failed === 0 ? 0 : 1;
}

interface Stage {
  readonly checkout: string;
  readonly tools: string;
  readonly credentials: Readonly<Record<string, string>>;
  readonly isVerbose: boolean;
  readonly only: string;
}

async function play(scene: Scene, cluster: Cluster, stage: Stage, tally: Tally): Promise<void> {
  for (const document of scene.documents) {
    // What an earlier document of the scene installs is needed by the later ones.
    const isWanted = document.includes(stage.only) || document === scene.documents[0];
    if (!isWanted) continue;
    say();
    say(document);
    rmSync(`${stage.checkout}.cwd`, { force: true });
    const startedAtMs = monotonicMs();
    await scene.before?.(document, surroundings(cluster, stage, startedAtMs));
    for (const block of commandBlocks(readFileSync(join(ROOT, document), 'utf8'))) {
      const place = `${document}:${block.line}`;
      if (block.triedBy.is === 'another') {
        tally.untried.push(`Tried by ${block.triedBy.file}: ${place}`);
        if (!existsSync(join(ROOT, block.triedBy.file))) fail(tally, place, 'there is no such file');
      } else if (block.triedBy.is === 'nobody') tally.untried.push(`Tried by nobody: ${place}: ${block.triedBy.why}`);
      else await tryBlock(block, place, cluster, stage, tally);
    }
    await scene
      .after?.(document, surroundings(cluster, stage, startedAtMs))
      .catch((error: unknown) => fail(tally, document, String(error)));
  }
}

async function tryBlock(block: CommandBlock, place: string, cluster: Cluster, stage: Stage, tally: Tally): Promise<void> {
  const script = await filledIn(block.script, cluster, stage);
  for (const line of script.split('\n')) say(`  $ ${line}`);
  const { code, output } = await run(script, cluster, stage);
  if (stage.isVerbose || code !== 0) for (const line of output.trimEnd().split('\n')) say(`    ${line}`);
  if (code !== 0) {
    const agents = await run(AGENTS_SAY, cluster, stage);
    for (const line of agents.output.trimEnd().split('\n')) say(`    ${line}`);
    fail(tally, place, `ended with ${code}`);
  } else tally.passed += 1;
}

function fail(tally: Tally, place: string, why: string): void {
  tally.failed += 1;
  say(`FAIL ${place}: ${why}`);
}

/** A line that names a NODE to be labelled is for every node; what else names one, or a POD, means the holder's. */
async function filledIn(script: string, cluster: Cluster, stage: Stage): Promise<string> {
  const lines = script.split('\n').flatMap((line) => {
    if (!/\bNODE\b/.test(line) || !line.includes('contender=true')) return [line];
    return cluster.nodes.map((node) => line.replace(/\bNODE\b/, node));
  });
  const text = withCredentials(lines.join('\n'), cluster, stage);
  if (!/\b(NODE|POD)\b/.test(text)) return text;
  // A reader takes longer to get here than the first agent to take the Lease, and a provider to route the address to it.
  await until('the holder of the Lease has the address', async () => await isRouted(cluster), SETTLE_MS);
  const node = await holder(cluster);
  const pods = await podsOf(cluster);
  const pod = pods.find(({ spec }) => spec.nodeName === node) ?? pods[0];
  return text.replaceAll(/\bNODE\b/g, node ?? cluster.nodes[0] ?? '').replaceAll(/\bPOD\b/g, pod?.metadata.name ?? 'none');
}

/** Whether somebody holds the Lease, and traffic goes there where a provider says so. */
async function isRouted(cluster: Cluster): Promise<boolean> {
  const node = await holder(cluster);
  return node !== null && (cluster.provider === null || cluster.owners.at(-1) === node);
}

/** With what the provider accepts in the place of each word that stands for it. */
function withCredentials(script: string, { provider, nodes }: Cluster, { credentials }: Stage): string {
  const env = provider?.env(nodes[0] ?? '') ?? {};
  return Object.entries(credentials).reduce((text, [word, setting]) => text.replaceAll(word, env[setting] ?? word), script);
}

/** Runs a script where the one before it has left off, as in one terminal. */
async function run(script: string, cluster: Cluster, { checkout, tools: path }: Stage): Promise<{ code: number; output: string }> {
  const env = {
    PATH: `${path}:${process.env['PATH'] ?? ''}`,
    HOME: checkout,
    KUBECONFIG: cluster.kubeconfig,
    ...cluster.endpoints(cluster.nodes[0] ?? ''),
    TERM: 'dumb',
    TMPDIR: '/run',
  };
  const left = `${checkout}.cwd`;
  const inPlace = `if [ -e ${left} ]; then cd "$(cat ${left})"; fi\n${script}\npwd > ${left}`;
  const child = spawn('bash', ['-eo', 'pipefail', '-c', inPlace], {
    cwd: checkout,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const timer = setTimeout(() => {
    output += `\nkilled after ${BLOCK_MS / 1_000} s`;
    process.kill(-(child.pid ?? 0), 'SIGKILL');
  }, BLOCK_MS);
  const code = await new Promise<number>((resolve) => child.on('close', (status) => resolve(status ?? 137)));
  clearTimeout(timer);
  return { code, output };
}

function surroundings(cluster: Cluster, stage: Stage, startedAtMs: number): Surroundings {
  return {
    cluster,
    holder: async () => await holder(cluster),
    run: async (script) => {
      const { code, output } = await run(script, cluster, stage);
      if (code !== 0) throw new Error(`${script}\n${output}`);
      return output;
    },
    settled: async () => {
      await until(
        'every agent is ready and clients are answered by the holder',
        async () => {
          const pods = await podsOf(cluster);
          return pods.length > 0 && pods.every(isReady) && (await isRouted(cluster)) && cluster.servedBy() === (await holder(cluster));
        },
        SETTLE_MS,
      );
      const servedAtMs = cluster.attempts.find(({ by }) => by !== null)?.atMs ?? startedAtMs;
      const outageMs = totalOutageMs(findOutages(cluster.attempts, Math.max(startedAtMs, servedAtMs), monotonicMs() - ATTEMPT_KNOWN_MS));
      say(`  (${(await holder(cluster)) ?? 'nobody'} holds the Lease, in term ${await term(cluster)}, and answers clients,`);
      say(`  who were without an answer for ${(outageMs / 1_000).toFixed(2)} s while this page was read)`);
    },
    moved: () => {
      if (new Set(cluster.owners).size < 2) throw new Error(`the address was routed to ${cluster.owners.join(', then to ') || 'nobody'}`);
    },
    say: (text) => say(`  (${text})`),
  };
}

async function holder(cluster: Cluster): Promise<string | null> {
  const { body } = await cluster.plane.admin.request('GET', LEASE);
  const identity = stringAt(body, 'spec', 'holderIdentity') ?? '';
  return identity === '' ? null : nodeOfIdentity(identity);
}

async function term(cluster: Cluster): Promise<number> {
  const { body } = await cluster.plane.admin.request('GET', LEASE);
  return integerAt(body, 'spec', 'leaseTransitions') ?? 0;
}

async function podsOf(cluster: Cluster): Promise<readonly Pod[]> {
  const { body } = await cluster.plane.admin.request('GET', '/api/v1/namespaces/leasehold/pods');
  return (body as { items?: Pod[] } | null)?.items ?? [];
}

/** What a reader has after a clone. */
function copyOfRepository(folder: string): string {
  const checkout = join(folder, 'leasehold');
  mkdirSync(checkout, { recursive: true });
  const { stdout } = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' });
  for (const file of stdout.split('\0').filter((name) => name !== '' && existsSync(join(ROOT, name))))
    cpSync(join(ROOT, file), join(checkout, file));
  symlinkSync(join(ROOT, 'node_modules'), join(checkout, 'node_modules'));
  spawnSync('sh', ['-c', 'git init -q . && git add -A'], { cwd: checkout });
  return checkout;
}

/** A folder for the PATH with the programs that a reader is expected to have. */
function tools(folder: string): string {
  const path = join(folder, 'bin');
  mkdirSync(path, { recursive: true });
  for (const tool of ['kubectl', 'helm'] as const) {
    const program = toolPath(tool);
    if (program !== null) symlinkSync(program, join(path, tool));
  }
  symlinkSync(process.execPath, join(path, 'node'));
  symlinkSync(join(FOLDER, 'dist', 'leasehold.mjs'), join(path, 'leasehold'));
  return path;
}

await exitWith(await main(process.argv.slice(2)));
