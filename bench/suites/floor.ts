/**
 * What the machine itself gives: bytes a second to the disk, each megabyte synced, and over
 * loopback between two processes. Whatever copies data from one broker to another is held against
 * the lower of the two. Beside them, what both come to together: a file that goes to another
 * process, which writes and syncs it, and nothing is checked.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { scratchDirectory } from '../peers/peer.ts';

const MIB = 1024 * 1024;

/** In MiB a second. */
export interface DiskRates {
  /** O_DSYNC writes of 1 MiB, one after the other. */
  readonly writing: number;
  /** The same bytes, from a process that reads them and sends them over loopback to this one. */
  readonly copying: number;
}

/**
 * To new files, which stay for as long as `meanwhile` takes: what is removed leaves memory to the
 * next who writes, and with memory that is in use already a guest writes to its disk up to three
 * times as fast as without.
 */
export async function besideDiskRates<T>(
  mib: number,
  meanwhile: (rates: DiskRates) => Promise<T>,
): Promise<T> {
  const directory = await scratchDirectory('floor');
  try {
    const bare = join(directory, 'bare');
    const writing = await writeRate(bare, mib);
    const copying = await copyRate(bare, join(directory, 'copy'), mib);
    return await meanwhile({ writing, copying });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function writeRate(path: string, mib: number): Promise<number> {
  const flags = constants.O_CREAT | constants.O_WRONLY | constants.O_DSYNC;
  const file = await open(path, flags);
  const bytes = Buffer.alloc(MIB, 0x61);
  const from = performance.now();
  for (let nth = 0; nth < mib; nth += 1) await file.write(bytes, 0, MIB, nth * MIB);
  const seconds = (performance.now() - from) / 1000;
  await file.close();
  return mib / seconds;
}

/** Connects, and sends a file. */
const FILE_SENDER = `
const [port, path] = process.argv.slice(1);
const socket = require('node:net').connect(Number(port), '127.0.0.1');
require('node:fs').createReadStream(path, { highWaterMark: ${MIB} }).pipe(socket);
`;

async function copyRate(from: string, to: string, mib: number): Promise<number> {
  const received = await oneConnection(FILE_SENDER, [from], async (socket) => {
    const file = await open(to, 'w');
    try {
      await writeAndSync(socket, file);
    } finally {
      await file.close();
    }
  });
  return mib / received;
}

/** What was written is synced beside the next write, as the brokers do it. */
async function writeAndSync(socket: AsyncIterable<Buffer>, file: FileHandle): Promise<void> {
  let syncing = Promise.resolve();
  const parts: Buffer[] = [];
  let bytes = 0;
  const write = async (): Promise<void> => {
    await file.writev(parts.splice(0));
    bytes = 0;
    await syncing;
    syncing = file.datasync();
  };
  for await (const part of socket) {
    parts.push(part);
    bytes += part.length;
    if (bytes >= MIB) await write();
  }
  await write();
  await syncing;
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
  const seconds = await oneConnection(SENDER, [String(mib)], async (socket) => {
    socket.resume();
    await once(socket, 'end');
  });
  return mib / seconds;
}

/** Runs a program that connects to the port that it is given first; the seconds until its end. */
async function oneConnection(
  program: string,
  args: readonly string[],
  receive: (socket: Socket) => Promise<void>,
): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address === null || typeof address === 'string' ? 0 : address.port;
  const connected = once(server, 'connection');
  const child = spawn(process.execPath, ['-e', program, String(port), ...args]);
  const closed = once(child, 'close');
  const [socket] = (await connected) as [Socket];
  const from = performance.now();
  await receive(socket);
  const seconds = (performance.now() - from) / 1000;
  await closed;
  server.close();
  return seconds;
}
