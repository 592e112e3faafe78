/**
 * A Unix socket that only its owner may open, at a path where one may lie from before.
 *
 * There is no moment in which somebody else could connect: it is bound inside a new folder of mode
 * 0700, gets its own mode 0600 there, and only then its name, by a rename, which also replaces the
 * socket of a killed broker. A crash in between leaves that folder, which the next start removes if
 * the place is its own. What is no socket is never replaced, nor one that somebody answers on.
 *
 * unix(7): the kernel takes a path of 107 bytes (Linux) or 103 (BSD, macOS); the C library would
 * cut a longer one.
 */

import type { Stats } from 'node:fs';
import { chmod, lstat, mkdtemp, readdir, rename, rm, unlink } from 'node:fs/promises';
import { type Server, type Socket, connect, createServer } from 'node:net';
import { dirname, join } from 'node:path';

/** The socket could not be opened. Told to people as it is. */
export class AdminSocketError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'AdminSocketError';
  }
}

export const PATH_BYTES_MAX = process.platform === 'linux' ? 107 : 103;

const PRIVATE_PREFIX = '.adm-';
/** As `mkdtemp` makes it. */
const PRIVATE_NAME = /^\.adm-[A-Za-z0-9]{6}$/;
const NAME_WHILE_PRIVATE = 's';
const MODE = 0o600;
const PROBE_MS = 2_000;

export interface SocketPlace {
  /** Absolute. */
  readonly path: string;
  /** Its folder is this broker's alone: what a crash left there may be removed. */
  readonly ownFolder: boolean;
}

/** What is wrong with the length of a path, for people; undefined when it fits. */
export function pathProblem(path: string): string | undefined {
  const bytes = Buffer.byteLength(path);
  if (bytes <= PATH_BYTES_MAX) return undefined;
  const most = `the system takes ${PATH_BYTES_MAX}`;
  return `the path of the admin socket has ${bytes} bytes, and ${most}: ${path}`;
}

const WAY_OUT = 'set admin.socket to a shorter path, such as /run/fluxmq/admin.sock, or to off';

export class PrivateSocket {
  readonly path: string;
  readonly #server: Server;
  readonly #identity: Pick<Stats, 'dev' | 'ino'>;

  private constructor(path: string, server: Server, identity: Stats) {
    this.path = path;
    this.#server = server;
    this.#identity = identity;
  }

  /** Rejects with an `AdminSocketError`, and then nothing of it is left. */
  static async listen(
    { path, ownFolder }: SocketPlace,
    connectionsMax: number,
    onConnection: (socket: Socket) => void,
  ): Promise<PrivateSocket> {
    const folder = dirname(path);
    // The name while it is private may be the longer one.
    const longest = join(folder, `${PRIVATE_PREFIX}123456`, NAME_WHILE_PRIVATE);
    const problem = pathProblem(path) ?? pathProblem(longest);
    if (problem !== undefined) throw new AdminSocketError(`${problem}: ${WAY_OUT}`);
    const server = createServer(onConnection);
    server.maxConnections = connectionsMax;
    try {
      await refuseToReplace(path);
      if (ownFolder) await removeLeftovers(folder);
      const identity = await place(server, path);
      return new PrivateSocket(path, server, identity);
    } catch (cause) {
      server.close();
      throw asSocketError(path, cause);
    }
  }

  /** No new connection; the name goes, unless it is another one's by now. */
  async close(): Promise<void> {
    const there = await lstat(this.path).catch(() => undefined);
    const { dev, ino } = this.#identity;
    if (there?.ino === ino && there.dev === dev) await unlink(this.path).catch(() => undefined);
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }
}

async function place(server: Server, path: string): Promise<Stats> {
  const folder = await mkdtemp(join(dirname(path), PRIVATE_PREFIX));
  try {
    const bound = join(folder, NAME_WHILE_PRIVATE);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ path: bound }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    await chmod(bound, MODE);
    const identity = await lstat(bound);
    await rename(bound, path);
    return identity;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A socket that nobody answers on is left over; everything else at the path is somebody's. */
async function refuseToReplace(path: string): Promise<void> {
  const there = await lstat(path).catch(() => undefined);
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new AdminSocketError(`${path} is there and is no socket: it is not replaced`);
  }
  if (await answers(path)) {
    throw new AdminSocketError(`another broker answers on the admin socket ${path}`);
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const end = (done: () => void): void => {
      clearTimeout(timer);
      socket.destroy();
      done();
    };
    // A full backlog: somebody is there.
    const timer = setTimeout(() => end(() => resolve(true)), PROBE_MS);
    socket.once('connect', () => end(() => resolve(true)));
    socket.once('error', (error: NodeJS.ErrnoException) =>
      end(() => {
        if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
        else reject(error);
      }),
    );
  });
}

async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (PRIVATE_NAME.test(name)) await rm(join(folder, name), { recursive: true, force: true });
  }
}

function asSocketError(path: string, cause: unknown): AdminSocketError {
  if (cause instanceof AdminSocketError) return cause;
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const text = cause instanceof Error ? cause.message : String(cause);
  const why =
    code === 'ENOENT' || code === 'ENOTDIR'
      ? `there is no folder ${dirname(path)}`
      : code === 'EACCES' || code === 'EPERM'
        ? 'this user may not write there'
        : text;
  return new AdminSocketError(`cannot open the admin socket ${path}: ${why}`, { cause });
}
