/**
 * Where the replica of a shard lies in a data directory: in the shard's own folder, or, once a
 * checkpoint from a peer has taken its place, in one numbered folder below it.
 *
 * ```
 * shard-<n>/ server                        whose replica it is: "fluxmq-server <id>"; in a cluster
 * shard-<n>/ log records runs repairs      the first one
 * shard-<n>/ current                       names another: "fluxmq-replica <number>"
 * shard-<n>/ replica-<number>/ log records runs repairs
 * ```
 * The file `current` is replaced by a rename, synced, and that is the instant at which the other
 * replica counts. What is not current is being built, or is left over: the files of those before it
 * go when it is open, all others at the next start.
 */

import { basename, join, resolve } from 'node:path';
import { StorageError } from '#storage';
import type { DataDirectory, Files } from '#storage';
import { drawnServerId, isServerId, nodeOf } from './cluster/server-id.ts';

const CURRENT_FILE = 'current';
const SERVER_FILE = 'server';
const SMALL_FILE_BYTES = 256;

export type ReplicaPart = 'log' | 'records' | 'runs' | 'repairs';
export const PARTS: readonly ReplicaPart[] = ['log', 'records', 'runs', 'repairs'];

const SHARD_FOLDER = /^shard-\d{1,2}$/;

/**
 * Of the current replica, in a directory that nobody need have open: that of the data, for shard 0,
 * or the folder of a shard.
 */
export async function partDirectory(
  files: Files,
  directory: string,
  part: ReplicaPart,
): Promise<string> {
  const shard = isShardFolder(directory) ? directory : join(directory, shardFolder(0));
  const number = await currentNumber(files, shard);
  return join(shard, ...(number === 0 ? [] : [replicaFolder(number)]), part);
}

export function isShardFolder(path: string): boolean {
  return SHARD_FOLDER.test(basename(resolve(path)));
}

export class ReplicaFolders {
  readonly #files: Files;
  readonly #data: DataDirectory;
  /** Of the shard, in the data directory. */
  readonly #folder: string;
  #number: number;

  static async open(files: Files, data: DataDirectory, shard: number): Promise<ReplicaFolders> {
    const folder = shardFolder(shard);
    const path = await data.folder(folder);
    const number = await currentNumber(files, path);
    const folders = new ReplicaFolders({ files, data, folder }, number);
    await folders.#clearOthers(path, () => true);
    return folders;
  }

  private constructor(
    {
      files,
      data,
      folder,
    }: { readonly files: Files; readonly data: DataDirectory; readonly folder: string },
    number: number,
  ) {
    this.#files = files;
    this.#data = data;
    this.#folder = folder;
    this.#number = number;
  }

  /** Of the current replica; made if it is missing. */
  part(part: ReplicaPart): Promise<string> {
    return this.#data.folder(...folderOf(this.#folder, this.#number), part);
  }

  /** Its files go; durable when it resolves. */
  async clearPart(part: ReplicaPart): Promise<void> {
    await this.#clear(await this.part(part));
  }

  async has(part: ReplicaPart): Promise<boolean> {
    const names = await this.#files.list(
      join(this.#data.path, ...folderOf(this.#folder, this.#number)),
    );
    return names.includes(part);
  }

  /** Of the one that is to take its place. */
  nextPart(part: ReplicaPart): Promise<string> {
    return this.#data.folder(...folderOf(this.#folder, this.#number + 1), part);
  }

  async clearNext(parts: readonly ReplicaPart[]): Promise<void> {
    for (const part of parts) await this.#clear(await this.nextPart(part));
  }

  /** Durable when it resolves. */
  async makeNextCurrent(): Promise<void> {
    await this.#replaceFile(CURRENT_FILE, `fluxmq-replica ${this.#number + 1}\n`);
    this.#number++;
  }

  /** What was current before; the one that is being built stays. Durable when it resolves. */
  async clearOlder(): Promise<void> {
    const shard = await this.#data.folder(this.#folder);
    await this.#clearOthers(shard, (number) => number < this.#number);
  }

  /**
   * Under which name the replica takes part in its cluster: the node's, or, where it joins one that
   * is there (`joins`), one that was never used. Chosen with an empty directory, and the same for
   * as long as the directory lives.
   */
  async serverId(node: string, joins: boolean): Promise<string> {
    const shard = await this.#data.folder(this.#folder);
    const text = await readSmall(this.#files, shard, SERVER_FILE);
    if (text === undefined) {
      const isNew = !(await this.has('log'));
      if (isNew && joins) return this.newServerId(node);
      await this.#replaceFile(SERVER_FILE, `fluxmq-server ${node}\n`);
      return node;
    }
    const id = serverIn(text);
    const owner = id === undefined ? '' : nodeOf(id);
    if (id !== undefined && owner === node) return id;
    const words = owner === '' ? 'does not say whose replica this is' : `says node ${owner}`;
    throw new StorageError(
      'damaged',
      `${join(shard, SERVER_FILE)} ${words}, and node.id is ${node}`,
    );
  }

  /** One that was never used, from now on: the directory that had the last one is lost. */
  async newServerId(node: string): Promise<string> {
    const id = await this.unusedServerId(node);
    await this.takeServerId(id);
    return id;
  }

  /** As `newServerId`, and still to be taken. */
  async unusedServerId(node: string): Promise<string> {
    const [own, first] = [this.#folder, shardFolder(0)];
    if (own === first) return drawnServerId(node);
    const text = await readSmall(this.#files, join(this.#data.path, first), SERVER_FILE);
    return drawnServerId(node, text === undefined ? undefined : serverIn(text));
  }

  /** Durable when it resolves. */
  takeServerId(id: string): Promise<void> {
    return this.#replaceFile(SERVER_FILE, `fluxmq-server ${id}\n`);
  }

  async #replaceFile(name: string, text: string): Promise<void> {
    const files = this.#files;
    const shard = join(this.#data.path, this.#folder);
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

  async #clearOthers(shard: string, goes: (number: number) => boolean): Promise<void> {
    const names = await this.#files.list(shard);
    const others = names.flatMap((name) => {
      const number = /^replica-(\d{1,15})$/.exec(name)?.[1];
      return number === undefined ? [] : [Number(number)];
    });
    if (this.#number > 0) others.push(0);
    for (const number of others) {
      if (number === this.#number || !goes(number)) continue;
      const folder = join(this.#data.path, ...folderOf(this.#folder, number));
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

/** Undefined: that is no file of a server's name. */
function serverIn(text: string): string | undefined {
  const id = /^fluxmq-server (\S+)\n$/.exec(text)?.[1];
  return id !== undefined && isServerId(id) ? id : undefined;
}

function shardFolder(shard: number): string {
  return `shard-${shard}`;
}

function replicaFolder(number: number): string {
  return `replica-${number}`;
}

function folderOf(shard: string, number: number): readonly string[] {
  return number === 0 ? [shard] : [shard, replicaFolder(number)];
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
