/**
 * Record stores in memory that lie in folders of a disk as those of the product do: a folder that
 * is cleared has none, and an empty one gets one. A file in it says which. Part of a simulated
 * node; the power goes for all of them at once.
 */

import { MemoryRecords } from '../../storage/records/memory-records.ts';
import type { StorageError } from '../../storage/errors.ts';
import type { OpenRecords } from '../../src/next-replica.ts';

export class RecordsOnDisk {
  readonly #syncing: () => Promise<void>;
  /** By the name of the file that stands for it. */
  readonly #stores = new Map<string, MemoryRecords>();
  /** Of the last one that was opened in it, by folder. */
  readonly #opened = new Map<string, MemoryRecords>();

  /** `syncing` is awaited by each write before it is durable. */
  constructor(syncing: () => Promise<void>) {
    this.#syncing = syncing;
  }

  readonly open: OpenRecords = async ({ files, directory, mend }) => {
    const [there] = await files.list(directory);
    const name = there ?? `records-${this.#stores.size}`;
    if (there === undefined) {
      const path = `${directory}/${name}`;
      this.#stores.set(name, new MemoryRecords(this.#syncing));
      const create = 'exclusive';
      await (await files.open(path, { access: 'write', create, durability: 'on-sync' })).close();
      await files.syncDirectory(directory);
    }
    const store = this.#stores.get(name);
    if (store === undefined) throw new Error(`${directory} has ${name}, which nobody made`);
    this.#opened.set(directory, store);
    return store.open(mend);
  };

  /** `keepUnderWay`: a write that had not returned is there all the same. */
  crash(keepUnderWay: boolean): void {
    for (const store of this.#stores.values()) store.crash(keepUnderWay);
  }

  /** Of some that are open. */
  failNextWrite(error: StorageError, pick: (of: readonly MemoryRecords[]) => MemoryRecords): void {
    const all = [...this.#opened.values()];
    if (all.length > 0) pick(all).failNextWrite(error);
  }
}
