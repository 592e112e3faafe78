/**
 * What a simulated replica keeps beside its log, in files of the simulated disk: its checkpoint,
 * and which of its directories is the current one.
 *
 * ```
 * /replica/current             number of the current directory
 * /replica/<number>/checkpoint index, term, configuration and ledger
 * /replica/<number>/log/       the log of the storage engine
 * ```
 *
 * Each file is written beside its name, synced, and renamed; a crash leaves the old one or the new
 * one. A catch-up builds another directory and makes it current by one rename.
 */

import { StorageError } from '#storage';
import type { Files } from '#storage';
import { ioCode } from './disk/mount.ts';
import { parentOf } from './disk/names.ts';
import type { StoredCheckpoint } from './stored-checkpoint.ts';

const ROOT = '/replica';
const CURRENT = 'current';
const CHECKPOINT = 'checkpoint';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class ReplicaFiles {
  readonly #files: Files;
  /** Of the directory. */
  readonly number: number;
  #checkpoint: StoredCheckpoint;

  private constructor(files: Files, number: number, checkpoint: StoredCheckpoint) {
    this.#files = files;
    this.number = number;
    this.#checkpoint = checkpoint;
  }

  /** An empty disk gets a first directory, with this checkpoint. */
  static async open(files: Files, first: StoredCheckpoint): Promise<ReplicaFiles> {
    const current = await readText(files, `${ROOT}/${CURRENT}`);
    if (current === undefined) {
      await files.makeDirectory(ROOT);
      await files.syncDirectory('/');
      const made = await ReplicaFiles.#make(files, 1, first);
      await made.makeCurrent();
      return made;
    }
    const number = Number(current);
    const text = await readText(files, `${ROOT}/${number}/${CHECKPOINT}`);
    if (text === undefined) throw new StorageError('damaged', `no checkpoint in ${number}`);
    return new ReplicaFiles(files, number, JSON.parse(text) as StoredCheckpoint);
  }

  get checkpoint(): StoredCheckpoint {
    return this.#checkpoint;
  }

  get logDirectory(): string {
    return `${ROOT}/${this.number}/log`;
  }

  async save(checkpoint: StoredCheckpoint): Promise<void> {
    await writeText(this.#files, `${this.#directory}/${CHECKPOINT}`, JSON.stringify(checkpoint));
    this.#checkpoint = checkpoint;
  }

  /** The next directory; not current before `makeCurrent`. What an earlier attempt left goes. */
  async next(checkpoint: StoredCheckpoint): Promise<ReplicaFiles> {
    return ReplicaFiles.#make(this.#files, this.number + 1, checkpoint);
  }

  async makeCurrent(): Promise<void> {
    await writeText(this.#files, `${ROOT}/${CURRENT}`, String(this.number));
  }

  static async #make(
    files: Files,
    number: number,
    checkpoint: StoredCheckpoint,
  ): Promise<ReplicaFiles> {
    const made = new ReplicaFiles(files, number, checkpoint);
    await files.makeDirectory(made.#directory);
    await files.makeDirectory(made.logDirectory);
    await files.syncDirectory(ROOT);
    await removeAll(files, made.logDirectory);
    await made.save(checkpoint);
    return made;
  }

  get #directory(): string {
    return `${ROOT}/${this.number}`;
  }
}

async function removeAll(files: Files, directory: string): Promise<void> {
  for (const name of await files.list(directory)) await files.remove(`${directory}/${name}`);
  await files.syncDirectory(directory);
}

async function readText(files: Files, path: string): Promise<string | undefined> {
  try {
    const file = await files.open(path, {
      access: 'read',
      create: 'never',
      durability: 'on-sync',
    });
    const bytes = new Uint8Array(await file.size());
    let done = 0;
    while (done < bytes.length) done += await file.read(bytes.subarray(done), done);
    await file.close();
    return decoder.decode(bytes);
  } catch (error) {
    if (ioCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function writeText(files: Files, path: string, text: string): Promise<void> {
  const beside = `${path}.new`;
  await files.remove(beside).catch((error: unknown) => {
    if (ioCode(error) !== 'ENOENT') throw error;
  });
  const file = await files.open(beside, {
    access: 'write',
    create: 'exclusive',
    durability: 'on-sync',
  });
  const bytes = encoder.encode(text);
  let done = 0;
  while (done < bytes.length) done += await file.write(bytes.subarray(done), done);
  await file.sync();
  await file.close();
  await files.rename(beside, path);
  await files.syncDirectory(parentOf(path));
}
