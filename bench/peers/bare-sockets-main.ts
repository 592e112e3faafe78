/**
 * Sockets of Node.js and nothing else, on loopback: what a connection costs before there is a
 * broker. `bare-sockets-main.js PORT [CERTIFICATE KEY]`. Answers any bytes with a CONNACK, so that
 * the clients of the other peers come in.
 */

import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';

const CONNACK = Buffer.from([0x20, 2, 0, 0]);

const [port, cert, key] = process.argv.slice(2);
const held = (socket: Socket): void => {
  socket.on('error', () => undefined);
  socket.on('data', () => socket.write(CONNACK));
};
const server =
  cert === undefined || key === undefined
    ? createServer({ noDelay: true }, held)
    : createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }, held);
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 1024 });
process.on('SIGTERM', () => process.exit(0));
