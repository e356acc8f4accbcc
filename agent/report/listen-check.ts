/**
 * Whether the HTTP port can be had, for the preflight.
 *
 * Guarantees: where somebody listens already it is asked who that is; otherwise the port is taken for a moment and given back.
 */
import net from 'node:net';
import { asError } from '../clock.ts';
import { ok, warn } from '../finding.ts';
import type { Check, Finding } from '../finding.ts';
import { getText } from '../get-text.ts';
import { parseJson, stringAt } from '../json.ts';
import { explainListen } from './server.ts';

export function listenCheck({ host, port }: { readonly host: string; readonly port: number }): Check {
  return {
    name: 'port',
    run: async (signal) => {
      try {
        const status = parseJson(await ask(host, port, signal));
        const role = stringAt(status, 'role');
        if (role !== undefined) return [ok('port', `an agent answers at ${host}:${port}, and says that it is ${role}`)];
        return [taken(host, port, 'EADDRINUSE')];
      } catch {
        return [await tryToListen(host, port)];
      }
    },
  };
}

async function ask(host: string, port: number, signal: AbortSignal): Promise<string> {
  // Who listens on every address is found on loopback.
  const to = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return await getText({ host: to, port, path: '/status', signal });
}

async function tryToListen(host: string, port: number): Promise<Finding> {
  return await new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(taken(host, port, error.code ?? asError(error).message)));
    server.listen({ host, port }, () => server.close(() => resolve(ok('port', `${host}:${port} is free`))));
  });
}

function taken(host: string, port: number, code: string): Finding {
  return warn(
    'port',
    `the agent could not listen on ${host}:${port} (${code})`,
    explainListen(code) ?? 'set LISTEN to another address and port',
  );
}
