/**
 * One agent as a real process, started the way the image starts it.
 */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A line of an agent's log. */
export interface LogLine {
  readonly time: string;
  readonly level: string;
  readonly msg: string;
  readonly event?: string;
  readonly to?: string;
  readonly [field: string]: unknown;
}

/** The image's entry point, with this machine's Node and the built bundle in their places. */
export function entryPoint(bundle: string): string[] {
  const [, json = ''] = /^ENTRYPOINT (\[.*\])$/m.exec(readFileSync(join(ROOT, 'Dockerfile'), 'utf8')) ?? [];
  const words = JSON.parse(json) as string[];
  return words.map((word) => (word.endsWith('/bin/node') ? process.execPath : word.endsWith('leasehold.mjs') ? bundle : word));
}

export class AgentProcess {
  readonly node: string;
  readonly log: LogLine[] = [];
  /** The exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>;
  readonly #child: ChildProcess;
  isRunning = true;

  constructor(node: string, child: ChildProcess) {
    this.node = node;
    this.#child = child;
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on('line', (text) => this.log.push(parseLine(text)));
    }
    this.ended = new Promise((resolve) => {
      child.on('exit', (code, signal) => {
        this.isRunning = false;
        resolve(code ?? signal ?? 'unknown');
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

function parseLine(text: string): LogLine {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return { time: '', level: 'error', msg: text };
  }
}
