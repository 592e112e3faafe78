/**
 * The port `RecordStore` in memory: for the shard of the queues that live in memory. What a
 * checkpoint writes is there at once, and gone with the process; so nothing is checked, and nothing
 * can fail.
 */

import type { DurableCheckpoint, RecordBatch, RecordStore, StoredRecord } from '#storage';

const PAGE_RECORDS = 256;

export class VolatileRecords implements RecordStore {
  readonly #records = new Map<string, Uint8Array>();
  #checkpoint: DurableCheckpoint | undefined;

  get checkpoint(): DurableCheckpoint | undefined {
    return this.#checkpoint;
  }

  get(key: string): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#records.get(key));
  }

  getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    return Promise.resolve(keys.map((key) => this.#records.get(key)));
  }

  async *iterate(prefix: string, behind = ''): AsyncGenerator<readonly StoredRecord[], void, void> {
    const found = [...this.#records]
      .filter(([key]) => key.startsWith(prefix) && key > behind)
      .sort(([a], [b]) => (a < b ? -1 : 1));
    for (let at = 0; at < found.length; at += PAGE_RECORDS) {
      yield await Promise.resolve(
        found.slice(at, at + PAGE_RECORDS).map(([key, value]) => ({ key, value })),
      );
    }
  }

  begin(): RecordBatch {
    const changes = new Map<string, Uint8Array | undefined>();
    let bytes = 0;
    return {
      get bytes() {
        return bytes;
      },
      put: (key, value) => {
        bytes += key.length + value.length;
        changes.set(key, value.slice());
      },
      delete: (key) => {
        bytes += key.length;
        changes.set(key, undefined);
      },
      write: (checkpoint) => {
        for (const [key, value] of changes) {
          if (value === undefined) this.#records.delete(key);
          else this.#records.set(key, value);
        }
        this.#checkpoint = { ...checkpoint, recordCount: this.#records.size, sum: 0 };
        return Promise.resolve();
      },
      discard: () => changes.clear(),
    };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
