/**
 * Where the replica of the shard lies in a data directory: in the shard's own folder, or, once a
 * checkpoint from a peer has taken its place, in one numbered folder below it.
 *
 * ```
 * shard-0/ server                          whose replica it is: "fluxmq-server <id>"; in a cluster
 * shard-0/ log records runs repairs        the first one
 * shard-0/ current                         names another: "fluxmq-replica <number>"
 * shard-0/ replica-<number>/ log records runs repairs
 * ```
 * The file `current` is replaced by a rename, synced, and that is the instant at which the other
 * replica counts. What is not current is being built, or is left over, and its files go at the next
 * opening.
 */

import { join } from 'node:path';
import { StorageError } from '#storage';
import type { DataDirectory, Files } from '#storage';

const SHARD_FOLDER = 'shard-0';
const CURRENT_FILE = 'current';
const SERVER_FILE = 'server';
const SMALL_FILE_BYTES = 256;

export type ReplicaPart = 'log' | 'records' | 'runs' | 'repairs';
const PARTS: readonly ReplicaPart[] = ['log', 'records', 'runs', 'repairs'];

/** Of the current replica, in a directory that nobody need have open. */
export async function partDirectory(
  files: Files,
  dataDirectory: string,
  part: ReplicaPart,
): Promise<string> {
  const shard = join(dataDirectory, SHARD_FOLDER);
  return join(dataDirectory, ...folderOf(await currentNumber(files, shard)), part);
}

export class ReplicaFolders {
  readonly #files: Files;
  readonly #data: DataDirectory;
  #number: number;

  static async open(files: Files, data: DataDirectory): Promise<ReplicaFolders> {
    const shard = await data.folder(SHARD_FOLDER);
    const folders = new ReplicaFolders(files, data, await currentNumber(files, shard));
    await folders.#clearOthers(shard);
    return folders;
  }

  private constructor(files: Files, data: DataDirectory, number: number) {
    this.#files = files;
    this.#data = data;
    this.#number = number;
  }

  /** Of the current replica; made if it is missing. */
  part(part: ReplicaPart): Promise<string> {
    return this.#data.folder(...folderOf(this.#number), part);
  }

  /** Its files go; durable when it resolves. */
  async clearPart(part: ReplicaPart): Promise<void> {
    await this.#clear(await this.part(part));
  }

  async has(part: ReplicaPart): Promise<boolean> {
    const names = await this.#files.list(join(this.#data.path, ...folderOf(this.#number)));
    return names.includes(part);
  }

  /** Of the one that is to take its place. */
  nextPart(part: ReplicaPart): Promise<string> {
    return this.#data.folder(...folderOf(this.#number + 1), part);
  }

  async clearNext(parts: readonly ReplicaPart[]): Promise<void> {
    for (const part of parts) await this.#clear(await this.nextPart(part));
  }

  /** Durable when it resolves. */
  async makeNextCurrent(): Promise<void> {
    await this.#replaceFile(CURRENT_FILE, `fluxmq-replica ${this.#number + 1}\n`);
    this.#number++;
  }

  /**
   * Under which name the replica takes part in its cluster: the node's, or, where it joins one that
   * is there (`joins`), one that was never used. Chosen with an empty directory, and the same for
   * as long as the directory lives.
   */
  async serverId(node: string, joins: boolean): Promise<string> {
    const shard = await this.#data.folder(SHARD_FOLDER);
    const text = await readSmall(this.#files, shard, SERVER_FILE);
    if (text === undefined) {
      const isNew = !(await this.has('log'));
      if (isNew && joins) return this.newServerId(node);
      await this.#replaceFile(SERVER_FILE, `fluxmq-server ${node}\n`);
      return node;
    }
    const [, id = '', owner = ''] = /^fluxmq-server (([^+\s]+)(?:\+\d+)?)\n$/.exec(text) ?? [];
    if (owner === node) return id;
    const words = owner === '' ? 'does not say whose replica this is' : `says node ${owner}`;
    throw new StorageError(
      'damaged',
      `${join(shard, SERVER_FILE)} ${words}, and node.id is ${node}`,
    );
  }

  /** One that was never used, from now on: the directory that had the last one is lost. */
  async newServerId(node: string): Promise<string> {
    const id = unusedServerId(node);
    await this.takeServerId(id);
    return id;
  }

  /** Durable when it resolves. */
  takeServerId(id: string): Promise<void> {
    return this.#replaceFile(SERVER_FILE, `fluxmq-server ${id}\n`);
  }

  async #replaceFile(name: string, text: string): Promise<void> {
    const files = this.#files;
    const shard = join(this.#data.path, SHARD_FOLDER);
    const temporary = join(shard, `${name}.new`);
    await files.remove(temporary).catch(() => undefined);
    const file = await files.open(temporary, {
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
    await files.rename(temporary, join(shard, name));
    await files.syncDirectory(shard);
  }

  async #clearOthers(shard: string): Promise<void> {
    const names = await this.#files.list(shard);
    const others = names.flatMap((name) => {
      const number = /^replica-(\d{1,15})$/.exec(name)?.[1];
      return number === undefined ? [] : [Number(number)];
    });
    if (this.#number > 0) others.push(0);
    for (const number of others) {
      if (number === this.#number) continue;
      const folder = join(this.#data.path, ...folderOf(number));
      for (const part of await this.#files.list(folder)) {
        if (PARTS.some((each) => each === part)) await this.#clear(join(folder, part));
      }
    }
  }

  async #clear(directory: string): Promise<void> {
    for (const name of await this.#files.list(directory)) {
      await this.#files.remove(join(directory, name));
    }
    await this.#files.syncDirectory(directory);
  }
}

/** Of a node that did not get one in this second. */
export function unusedServerId(node: string): string {
  return `${node}+${Math.floor(Date.now() / 1000)}`;
}

function folderOf(number: number): readonly string[] {
  return number === 0 ? [SHARD_FOLDER] : [SHARD_FOLDER, `replica-${number}`];
}

/** 0: no other has taken the place of the first one. */
async function currentNumber(files: Files, shard: string): Promise<number> {
  const text = await readSmall(files, shard, CURRENT_FILE);
  if (text === undefined) return 0;
  const number = Number(/^fluxmq-replica (\d{1,15})\n$/.exec(text)?.[1]);
  if (Number.isSafeInteger(number) && number > 0) return number;
  const path = join(shard, CURRENT_FILE);
  throw new StorageError('damaged', `${path} does not say which replica is the current one`);
}

/** Undefined: there is no such file. */
async function readSmall(files: Files, folder: string, name: string): Promise<string | undefined> {
  const names = await files.list(folder).catch((): string[] => []);
  if (!names.includes(name)) return undefined;
  const path = join(folder, name);
  const file = await files.open(path, { access: 'read', create: 'never', durability: 'on-sync' });
  const into = new Uint8Array(SMALL_FILE_BYTES);
  try {
    const count = await file.read(into, 0);
    return new TextDecoder().decode(into.subarray(0, count));
  } finally {
    await file.close();
  }
}
