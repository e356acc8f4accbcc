/**
 * Prometheus' own programs, where they are installed (Debian's package `prometheus`): promtool, and Prometheus itself with its
 * data in a folder of the test.
 */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load } from 'js-yaml';
import { eventually } from './eventually.ts';

export const RULES = fileURLToPath(new URL('../../manifests/monitoring/rules.yaml', import.meta.url));

/** One alert as it is written. */
export interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A series that a query has returned, with its latest value. */
export interface Result {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Why a program of Prometheus cannot be used, or false when it can. */
export function lacks(program: 'promtool' | 'prometheus'): string | false {
  return spawnSync(program, ['--version']).error === undefined ? false : `there is no ${program}: install the package prometheus`;
}

/** Runs promtool and returns everything that it said. */
export function promtool(args: readonly string[], input = ''): { readonly status: number | null; readonly said: string } {
  const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8', input });
  return { status, said: stdout + stderr };
}

/** Every alert of a file of rules. */
export function alertsIn(text: string): Alert[] {
  const { groups } = load(text) as { readonly groups: readonly { readonly rules: readonly Alert[] }[] };
  return groups.flatMap(({ rules }) => rules);
}

/** A running Prometheus that collects each second and evaluates our rules. */
export class Prometheus {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #url: string;
  #said = '';

  private constructor(folder: string, port: number, args: readonly string[]) {
    this.#folder = folder;
    this.#url = `http://127.0.0.1:${port}`;
    this.#child = spawn('prometheus', args, { env: {}, stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#said += text));
  }

  /** Starts one that collects from these targets, and waits until it is ready. */
  static async start(targets: readonly string[], port: number): Promise<Prometheus> {
    const folder = mkdtempSync(join(tmpdir(), 'prometheus-'));
    const config = {
      global: { scrape_interval: '1s', scrape_timeout: '900ms', evaluation_interval: '1s' },
      rule_files: [RULES],
      scrape_configs: [{ job_name: 'leasehold', static_configs: [{ targets }] }],
    };
    writeFileSync(join(folder, 'prometheus.json'), JSON.stringify(config));
    const prometheus = new Prometheus(folder, port, [
      `--config.file=${join(folder, 'prometheus.json')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]);
    await eventually('Prometheus is ready', async () => await prometheus.#isReady(), 20_000).catch((error: unknown) => {
      throw new Error(prometheus.#said, { cause: error });
    });
    return prometheus;
  }

  /** What a query gives now. Throws with what Prometheus says is wrong with it. */
  async query(query: string): Promise<Result[]> {
    const { result } = await this.#ask<{ result: { metric: Record<string, string>; value: [number, string] }[] }>('query', { query });
    return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  /** How many series a query gives over the time up to now, a point each second. */
  async seriesOver(query: string, seconds: number): Promise<number> {
    const end = Date.now() / 1_000;
    const range = { query, start: String(end - seconds), end: String(end), step: '1' };
    return (await this.#ask<{ result: unknown[] }>('query_range', range)).result.length;
  }

  /** Each alert with its state and what went wrong with its last evaluation, or ''. */
  async rules(): Promise<{ readonly name: string; readonly state: string; readonly health: string; readonly lastError?: string }[]> {
    const { groups } = await this.#ask<{ groups: { rules: { name: string; state: string; health: string; lastError?: string }[] }[] }>(
      'rules',
      {},
    );
    return groups.flatMap(({ rules }) => rules);
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
    rmSync(this.#folder, { recursive: true });
  }

  async #isReady(): Promise<boolean> {
    if (this.#child.exitCode !== null) throw new Error(`Prometheus has ended with ${this.#child.exitCode}`);
    return await fetch(`${this.#url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
  }

  async #ask<Data>(path: string, parameters: Readonly<Record<string, string>>): Promise<Data> {
    const response = await fetch(`${this.#url}/api/v1/${path}?${new URLSearchParams(parameters).toString()}`);
    const answer = (await response.json()) as { status: string; error?: string; data: Data };
    if (answer.status !== 'success') throw new Error(`${parameters['query'] ?? path}: ${answer.error ?? 'no explanation'}`);
    return answer.data;
  }
}
