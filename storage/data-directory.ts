/**
 * The data directory: one broker at a time, one format, nothing written outside it.
 *
 * The lock is LevelDB's, on a folder `lock/` of its own. Why: it is `fcntl` on a file, so the
 * kernel drops it with the process, after `kill -9` and power cuts too; no pid is ever believed,
 * so a pid that was given again blocks nobody; and unlike an abstract socket it holds between
 * containers that share the disk. `lock/owner` only tells people who has it; it is never asked.
 * (On a network file system it is as good as that system's `fcntl` locks.)
 *
 * ```
 *  <directory>/format       "fluxmq-data 1\n": format version, written once, before anything else
 *  <directory>/lock/        LevelDB's files, and `owner`
 *  <directory>/<name>/...   what the parts of the broker keep
 * ```
 *
 * A folder that has contents but no format file is not ours and is left as it is. A newer format
 * is refused. A crash at any instant leaves a directory without the format file and nothing of
 * worth, or a whole one: the file is synced, renamed into place, and its folder synced before
 * `open` returns.
 */
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';

import { assert } from './assert.ts';
import { StorageError } from './errors.ts';
import type { Files, OpenFile } from './files.ts';
import { openLevelLock } from './records/level-records.ts';

export const DATA_FORMAT_VERSION = 1;

const FORMAT_FILE = 'format';
const FORMAT_TEMPORARY = 'format.tmp';
const LOCK_FOLDER = 'lock';
const OWNER_FILE = 'owner';
/** What a folder may hold that was never ours: `lost+found` is in the root of each ext4 disk. */
const NOT_FOREIGN = new Set([FORMAT_TEMPORARY, LOCK_FOLDER, 'lost+found']);
const SMALL_FILE_BYTES = 4096;

export interface DirectoryLock {
  release(): Promise<void>;
}

export interface DataDirectoryOptions {
  readonly files: Files;
  readonly directory: string;
  /** Milliseconds since 1970, for the message to a second broker. */
  readonly now: () => number;
  /** Default: LevelDB's lock, which needs the real file system. */
  readonly lock?: (folder: string, files: Files) => Promise<DirectoryLock>;
}

/**
 * Creates or opens the directory and locks it. Rejects with `locked` (another broker has it),
 * `unknown-format` (newer, or not a data directory) or `damaged` (the format file is not
 * readable).
 */
export async function openDataDirectory(options: DataDirectoryOptions): Promise<DataDirectory> {
  const { files, lock = openLevelLock } = options;
  const directory = resolve(options.directory);
  await createWhole(files, directory);
  const names = await files.list(directory);
  const foreign = names.find((name) => !NOT_FOREIGN.has(name));
  if (foreign !== undefined && !names.includes(FORMAT_FILE)) {
    throw new StorageError(
      'unknown-format',
      `${directory} is not a data directory: it has no format file, but ${JSON.stringify(foreign)}`,
    );
  }
  const held = await takeLock(files, directory, lock);
  try {
    await checkFormat(files, directory);
    await writeOwner(files, join(directory, LOCK_FOLDER), options.now());
  } catch (error) {
    await held.release();
    throw error;
  }
  return new DataDirectory(files, directory, held);
}

export class DataDirectory {
  readonly path: string;
  readonly #files: Files;
  readonly #lock: DirectoryLock;
  #closed = false;

  constructor(files: Files, path: string, lock: DirectoryLock) {
    this.#files = files;
    this.path = path;
    this.#lock = lock;
  }

  /**
   * A folder in here, created durably. Names are the program's own, never a user's: what users
   * name has numbers, so that no name of theirs can become a path.
   */
  async folder(...names: readonly string[]): Promise<string> {
    if (this.#closed) throw new StorageError('closed', `${this.path} is closed`);
    let path = this.path;
    for (const name of names) {
      assert(/^[a-z0-9][a-z0-9-]{0,63}$/.test(name), 'a folder of ours has a plain name');
      assert(path !== this.path || name !== LOCK_FOLDER, 'the lock has its folder to itself');
      const parent = path;
      path = join(parent, name);
      await this.#files.makeDirectory(path);
      await this.#files.syncDirectory(parent);
    }
    return path;
  }

  /**
   * Lets the next broker in. Whatever lies in the directory must be closed before. Again: nothing.
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#files.remove(join(this.path, LOCK_FOLDER, OWNER_FILE)).catch(ignore('ENOENT'));
    await this.#lock.release();
  }
}

/** Makes the folder and its parents; the names are durable as far as we may sync. */
async function createWhole(files: Files, directory: string): Promise<void> {
  const there = await files.list(directory).then(
    () => true,
    (error: unknown) => {
      if (codeOf(error) === 'ENOENT') return false;
      throw error;
    },
  );
  if (there) return;
  await files.makeDirectory(directory);
  for (let path = directory; path !== dirname(path); path = dirname(path)) {
    try {
      await files.syncDirectory(dirname(path));
    } catch (error) {
      // Parents that we may not even read were not made by us.
      if (codeOf(error) === 'EACCES' || codeOf(error) === 'EPERM') return;
      throw error;
    }
  }
}

async function takeLock(
  files: Files,
  directory: string,
  lock: NonNullable<DataDirectoryOptions['lock']>,
): Promise<DirectoryLock> {
  const folder = join(directory, LOCK_FOLDER);
  try {
    return await lock(folder, files);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'locked') throw error;
    throw new StorageError(
      'locked',
      `${directory} is in use by another broker (${await ownerIn(files, folder)})`,
      { cause: error },
    );
  }
}

async function checkFormat(files: Files, directory: string): Promise<void> {
  const text = await readSmall(files, join(directory, FORMAT_FILE));
  if (text === undefined) {
    await writeFormat(files, directory);
    return;
  }
  const version = /^fluxmq-data (\d{1,9})\n$/.exec(text)?.[1];
  if (version === undefined || Number(version) === 0) {
    throw new StorageError('damaged', `${join(directory, FORMAT_FILE)} is not readable`);
  }
  if (Number(version) > DATA_FORMAT_VERSION) {
    throw new StorageError(
      'unknown-format',
      `${directory} has format ${version}, this release knows ${DATA_FORMAT_VERSION} and older`,
    );
  }
}

async function writeFormat(files: Files, directory: string): Promise<void> {
  const temporary = join(directory, FORMAT_TEMPORARY);
  await writeSmall(files, temporary, `fluxmq-data ${DATA_FORMAT_VERSION}\n`);
  await files.rename(temporary, join(directory, FORMAT_FILE));
  await files.syncDirectory(directory);
}

async function writeOwner(files: Files, folder: string, now: number): Promise<void> {
  const owner = { pid: process.pid, host: hostname(), since: new Date(now).toISOString() };
  await writeSmall(files, join(folder, OWNER_FILE), `${JSON.stringify(owner)}\n`);
}

/**
 * For people; what cannot be read is left out. Shows nothing of the file but what has its right
 * form.
 */
async function ownerIn(files: Files, folder: string): Promise<string> {
  try {
    const owner: unknown = JSON.parse((await readSmall(files, join(folder, OWNER_FILE))) ?? '');
    const { pid, host, since } = owner as { pid: unknown; host: unknown; since: unknown };
    if (!Number.isSafeInteger(pid) || !isPlain(host) || !isPlain(since)) return 'pid unknown';
    return `pid ${String(pid)} on ${host}, since ${since}`;
  } catch {
    return 'pid unknown';
  }
}

function isPlain(text: unknown): text is string {
  return typeof text === 'string' && /^[\w.:-]{1,255}$/.test(text);
}

async function readSmall(files: Files, path: string): Promise<string | undefined> {
  let file: OpenFile;
  try {
    file = await files.open(path, { access: 'read', create: 'never', durability: 'on-sync' });
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const into = new Uint8Array(SMALL_FILE_BYTES);
    let length = 0;
    for (;;) {
      const count = await file.read(into.subarray(length), length);
      if (count === 0) return new TextDecoder().decode(into.subarray(0, length));
      length += count;
    }
  } finally {
    await file.close();
  }
}

/** Replaces the file's contents; synced, its name is not. */
async function writeSmall(files: Files, path: string, text: string): Promise<void> {
  await files.remove(path).catch(ignore('ENOENT'));
  const file = await files.open(path, {
    access: 'write',
    create: 'exclusive',
    durability: 'on-sync',
  });
  try {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at), at);
    await file.sync();
  } finally {
    await file.close();
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error ? (error as { code?: unknown }).code : undefined;
}

function ignore(code: string): (error: unknown) => void {
  return (error) => {
    if (codeOf(error) !== code) throw error;
  };
}
