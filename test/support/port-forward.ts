/**
 * The far end of a port-forward over a WebSocket, as a kubelet serves it: the protocol `v4.channel.k8s.io` of one port, to a port
 * of this network namespace.
 *
 * Built from the documented protocol (k8s.io/kubelet/pkg/cri/streaming/portforward): channel 0 carries data and channel 1 errors;
 * the first frame that is sent on each names the port in two bytes, the lower first.
 */
import type http from 'node:http';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';

const SUBPROTOCOL = 'v4.channel.k8s.io';

const server = new WebSocketServer({
  noServer: true,
  handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
});

/** Takes over one connection whose URL names the port: `…?ports=9808` to the API server, which asks the kubelet for `…?port=9808`. */
export function forwardPort(request: http.IncomingMessage, socket: Duplex, head: Buffer): void {
  const query = new URL(request.url ?? '/', 'http://kubelet').searchParams;
  const port = Number(query.get('ports') ?? query.get('port'));
  server.handleUpgrade(request, socket, head, (webSocket) => serve(webSocket, port));
}

function serve(webSocket: WebSocket, port: number): void {
  const name = Buffer.from([port & 0xff, port >> 8]);
  const send = (channel: number, payload: Buffer): void => webSocket.send(Buffer.concat([Buffer.from([channel]), payload]));
  send(0, name);
  send(1, name);
  const connection = net.connect(port, '127.0.0.1');
  connection.on('data', (data) => send(0, data));
  connection.on('error', (error) => send(1, Buffer.from(`an error occurred forwarding ${port}: ${error.message}`)));
  connection.on('close', () => webSocket.close());
  webSocket.on('message', (data: Buffer) => {
    if (data[0] === 0) connection.write(data.subarray(1));
  });
  webSocket.on('close', () => connection.destroy());
}
