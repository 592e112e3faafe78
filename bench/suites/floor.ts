/**
 * What the machine itself gives: bytes a second to the disk, each megabyte synced, and over
 * loopback between two processes. Whatever copies data from one broker to another is held against
 * the lower of the two.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { scratchDirectory } from '../peers/peer.ts';

const MIB = 1024 * 1024;

/**
 * MiB a second of O_DSYNC writes of 1 MiB, one after the other, to a new file, which stays for as
 * long as `meanwhile` takes: what is removed leaves memory to the next who writes, and with memory
 * that is in use already a guest writes to its disk up to three times as fast as without.
 */
export async function besideDiskRate<T>(
  mib: number,
  meanwhile: (mibPerSecond: number) => Promise<T>,
): Promise<T> {
  const directory = await scratchDirectory('floor');
  try {
    const flags = constants.O_CREAT | constants.O_WRONLY | constants.O_DSYNC;
    const file = await open(join(directory, 'bare'), flags);
    const bytes = Buffer.alloc(MIB, 0x61);
    const from = performance.now();
    for (let nth = 0; nth < mib; nth += 1) await file.write(bytes, 0, MIB, nth * MIB);
    const seconds = (performance.now() - from) / 1000;
    await file.close();
    return await meanwhile(mib / seconds);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Connects, sends so many bytes and ends. */
const SENDER = `
const [port, mib] = process.argv.slice(1).map(Number);
const socket = require('node:net').connect(port, '127.0.0.1');
const bytes = Buffer.alloc(${MIB});
let left = mib;
const more = () => {
  while (left > 0) {
    left -= 1;
    if (!socket.write(bytes)) return;
  }
  socket.end();
};
socket.on('drain', more).on('connect', more);
`;

/** MiB a second over one connection of loopback. */
export async function loopbackRate(mib: number): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address === null || typeof address === 'string' ? 0 : address.port;
  const connected = once(server, 'connection');
  const child = spawn(process.execPath, ['-e', SENDER, String(port), String(mib)]);
  const [socket] = (await connected) as [NodeJS.ReadableStream];
  const from = performance.now();
  socket.resume();
  await Promise.all([once(socket, 'end'), once(child, 'close')]);
  const seconds = (performance.now() - from) / 1000;
  server.close();
  return mib / seconds;
}
