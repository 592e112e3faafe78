/**
 * Ports of loopback for servers that stop and start again on the same one.
 *
 * They lie below the ports that systems give to clients (RFC 6335 section 6 has those from 49152;
 * Linux begins at 32768): one of those may be a client's while its server is away, and then the
 * server cannot start again. A process takes whole blocks, and listens on the first port of each as
 * long as it lives; the others are its own, so that two that live at the same time never get the
 * same one. What a process had goes to others when it ends: it must not leave servers behind.
 */

import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

const HOST = '127.0.0.1';
const PORT_MIN = 20_000;
const BLOCKS = 250;
const BLOCK_SIZE = 50;
const TRIES_MAX = 1_000;

/** The next port of the block that this process has, and the first one behind the block. */
interface Block {
  next: number;
  readonly end: number;
}

let block: Block | undefined;
let last: Promise<unknown> = Promise.resolve();

/** Whether it can be listened on now; `keep`: it is, from then on. */
export async function isFree(port: number, keep = false): Promise<boolean> {
  const server = createServer((socket) => socket.destroy());
  server.listen(port, HOST);
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  if (keep) {
    server.unref();
  } else {
    server.close();
    await once(server, 'close');
  }
  return true;
}

async function next(): Promise<number> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    if (block === undefined || block.next === block.end) {
      const first = PORT_MIN + randomInt(BLOCKS) * BLOCK_SIZE;
      if (!(await isFree(first, true))) continue;
      block = { next: first + 1, end: first + BLOCK_SIZE };
    }
    const port = block.next++;
    if (await isFree(port)) return port;
  }
  throw new Error(`there is no free port from ${PORT_MIN} to ${PORT_MIN + BLOCKS * BLOCK_SIZE}`);
}

/** One that nobody has, and that no other call of this function gets. */
export function freePort(): Promise<number> {
  const port = last.then(next, next);
  last = port;
  return port;
}
