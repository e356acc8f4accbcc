/**
 * The local service of one node in the lab: answers every HTTP request with the node's name.
 *
 * Arguments: the node's name. Listens on port 80 of every address.
 */
import http from 'node:http';

const [, , name = ''] = process.argv;
const server = http.createServer((_, response) => {
  response.writeHead(200, { connection: 'close', 'content-type': 'text/plain' });
  response.end(name);
});
server.listen(80, '0.0.0.0', () => process.send?.('listening'));
