/**
 * The local service of one node in the lab: answers every HTTP request with the node's name.
 *
 * Arguments: the node's name. Listens on port 80 of every address, of either family where there are two, and leaves who
 * connects and says nothing alone for a minute. Told `ill`, it answers 503 to who asks over loopback, as the agent's probe
 * does, until it is told `well`; others it goes on serving.
 */
import http from 'node:http';

const [, , name = ''] = process.argv;
let isIll = false;
process.on('message', (health) => (isIll = health === 'ill'));
const server = http.createServer(({ socket }, response) => {
  response.writeHead(isIll && socket.remoteAddress?.endsWith('127.0.0.1') === true ? 503 : 200, {
    connection: 'close',
    'content-type': 'text/plain',
  });
  response.end(name);
});
server.listen(80, () => process.send?.('listening'));
