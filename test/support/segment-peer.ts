/**
 * A program on one machine of a segment that does what its parent asks: listens, connects, holds connections, floods.
 *
 * Guarantees: real sockets of the namespace that it was started in; every request is answered once, by its number.
 */
import net from 'node:net';

export type PeerRequest =
  /** Answers each connection with `hello`, and repeats what it is told to `say`. */
  | { readonly do: 'listen'; readonly port: number }
  | { readonly do: 'say'; readonly text: string }
  /** Opens a connection and waits for `hello`. */
  | { readonly do: 'connect'; readonly host: string; readonly port: number; readonly timeoutMs: number; readonly from?: string }
  /** Opens one and keeps it; `heard` tells what came of it. */
  | { readonly do: 'hold'; readonly host: string; readonly port: number }
  | { readonly do: 'heard' }
  /** Opens connections all the time until it is asked for the `toll`. */
  | { readonly do: 'flood'; readonly host: string; readonly port: number; readonly atOnce: number }
  | { readonly do: 'toll' };

/** How a connection went: `hello` when it was answered, an error's code, or `silence`. */
export type Outcome = string;

const FLOOD_ANSWER_MS = 900;

const clients = new Set<net.Socket>();
let held = '';
let toll: Record<Outcome, number> = {};
let isFlooding = false;

process.on('message', ({ id, request }: { id: number; request: PeerRequest }) => {
  void answer(request).then((result) => process.send?.({ id, result }));
});
process.on('disconnect', () => process.exit());

async function answer(request: PeerRequest): Promise<unknown> {
  switch (request.do) {
    case 'listen':
      return await listen(request.port);
    case 'say':
      for (const client of clients) client.write(request.text);
      return null;
    case 'connect':
      return await connect(request.host, request.port, request.timeoutMs, request.from);
    case 'hold':
      return await hold(request.host, request.port);
    case 'heard':
      return held;
    case 'flood':
      toll = {};
      isFlooding = true;
      for (let lane = 0; lane < request.atOnce; lane += 1) void flood(request.host, request.port);
      return null;
    case 'toll':
      isFlooding = false;
      return toll;
  }
}

async function listen(port: number): Promise<null> {
  const server = net.createServer((client) => {
    clients.add(client);
    client.on('error', () => undefined);
    client.on('close', () => clients.delete(client));
    client.write('hello');
  });
  await new Promise<void>((resolve) => server.listen(port, '::', resolve));
  return null;
}

function connect(host: string, port: number, timeoutMs: number, from?: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port, ...(from === undefined ? {} : { localAddress: from }) });
    const end = (outcome: Outcome): void => {
      clearTimeout(timer);
      socket.resetAndDestroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => end('silence'), timeoutMs);
    socket.on('data', (data) => end(String(data)));
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  });
}

function hold(host: string, port: number): Promise<null> {
  held = '';
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    socket.on('data', (data) => {
      held += String(data);
      resolve(null);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => (held += ` ${error.code ?? error.message}`));
  });
}

async function flood(host: string, port: number): Promise<void> {
  while (isFlooding) {
    const outcome = await connect(host, port, FLOOD_ANSWER_MS);
    toll[outcome] = (toll[outcome] ?? 0) + 1;
  }
}
