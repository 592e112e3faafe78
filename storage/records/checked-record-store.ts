/**
 * The record store that trusts nothing beneath it: checksums over key and value, number and sum of
 * all records at each checkpoint, a full pass at open.
 *
 * Number and sum are kept up from what a batch replaces: for each key that a batch touches, the
 * value that stands there is read (in groups, while the batch is still being filled), checked, and
 * its sum taken off. So nothing is held in memory for records that sleep. A crash in `write` leaves
 * the previous checkpoint or this one, whole; nothing else here touches the disk.
 */
import assert from 'node:assert/strict';

import { StorageError } from '../errors.ts';
import type { RawBatch, RawStore } from './raw-store.ts';
import {
  addSums,
  assertKey,
  CHECKPOINT_KEY,
  decodeStored,
  encodeCheckpoint,
  encodeStored,
  subtractSums,
} from './record-format.ts';
import type {
  Checkpoint,
  DurableCheckpoint,
  RecordBatch,
  RecordMend,
  RecordStore,
  StoredRecord,
} from './record-store.ts';
import { verified } from './verify.ts';

const LOOK_UP_KEYS = 256;
const SCRATCH_BYTES = 64 * 1024;
const NO_RECORD = -1;

/** Takes over `raw`, also when it rejects. Without `mend` every damage is refused. */
export async function openChecked(raw: RawStore, mend?: RecordMend): Promise<RecordStore> {
  try {
    return new CheckedRecordStore(raw, await verified(raw, mend));
  } catch (error) {
    await raw.close();
    throw error;
  }
}

class CheckedRecordStore implements RecordStore {
  readonly #raw: RawStore;
  #checkpoint: DurableCheckpoint | undefined;
  #closed = false;
  #failed: StorageError | undefined;
  #batch: CheckedBatch | undefined;
  #writing: Promise<void> | undefined;

  constructor(raw: RawStore, checkpoint: DurableCheckpoint | undefined) {
    this.#raw = raw;
    this.#checkpoint = checkpoint;
  }

  get checkpoint(): DurableCheckpoint | undefined {
    return this.#checkpoint;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return (await this.getMany([key]))[0];
  }

  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    for (const key of keys) assertKey(key);
    this.#assertOpen();
    if (keys.length === 0) return [];
    const found = await this.#raw.getMany(keys);
    return found.map((bytes, at) =>
      bytes === undefined ? undefined : decodeStored(keys[at] as string, bytes).value,
    );
  }

  async *iterate(
    prefix: string,
    behind?: string,
  ): AsyncGenerator<readonly StoredRecord[], void, void> {
    if (prefix !== '') assertKey(prefix);
    if (behind !== undefined) assertKey(behind);
    this.#assertOpen();
    for await (const page of this.#raw.iterate(behind ?? prefix)) {
      const records: StoredRecord[] = [];
      let over = false;
      for (const [key, bytes] of page) {
        over = !key.startsWith(prefix);
        if (over) break;
        if (key === behind) continue;
        if (key !== CHECKPOINT_KEY) records.push({ key, value: decodeStored(key, bytes).value });
      }
      if (records.length > 0) yield records;
      if (over) return;
      this.#assertOpen();
    }
  }

  begin(): RecordBatch {
    this.#assertOpen();
    if (this.#failed !== undefined) {
      throw new StorageError('failed', 'a write to the record store failed before', {
        cause: this.#failed,
      });
    }
    assert(this.#batch === undefined, 'one batch at a time');
    this.#batch = new CheckedBatch(this.#raw, {
      write: (batch, checkpoint) => this.#write(batch, checkpoint),
      over: () => {
        this.#batch = undefined;
      },
      assertOpen: () => this.#assertOpen(),
    });
    return this.#batch;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#writing?.catch(() => undefined);
    this.#batch?.discard();
    await this.#raw.close();
  }

  #write(batch: CheckedBatch, checkpoint: Checkpoint): Promise<void> {
    this.#assertOpen();
    const previous = this.#checkpoint;
    assert(
      previous === undefined || checkpoint.index >= previous.index,
      'checkpoints never go back',
    );
    this.#writing = this.#carryOut(batch, checkpoint);
    return this.#writing;
  }

  async #carryOut(batch: CheckedBatch, checkpoint: Checkpoint): Promise<void> {
    const before = this.#checkpoint ?? { recordCount: 0, sum: 0 };
    try {
      const change = await batch.change();
      const durable: DurableCheckpoint = {
        index: checkpoint.index,
        term: checkpoint.term,
        // Not `slice`: a Buffer would share its memory.
        data: new Uint8Array(checkpoint.data),
        recordCount: before.recordCount + change.records,
        sum: subtractSums(addSums(before.sum, change.sumAdded), change.sumTaken),
      };
      await batch.seal(encodeCheckpoint(durable));
      this.#checkpoint = durable;
    } catch (error) {
      if (error instanceof StorageError) this.#failed = error;
      throw error;
    } finally {
      this.#writing = undefined;
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw new StorageError('closed', 'the record store is closed');
  }
}

interface BatchOwner {
  write(batch: CheckedBatch, checkpoint: Checkpoint): Promise<void>;
  over(): void;
  assertOpen(): void;
}

class CheckedBatch implements RecordBatch {
  readonly #raw: RawStore;
  readonly #rawBatch: RawBatch;
  readonly #owner: BatchOwner;
  readonly #scratch = new Uint8Array(SCRATCH_BYTES);
  /** The new checksum of each key that this batch touches; NO_RECORD where it deletes. */
  readonly #sums = new Map<string, number>();
  #toLookUp: string[] = [];
  #lookUp: Promise<void> = Promise.resolve();
  #recordsBefore = 0;
  #sumBefore = 0;
  #bytes = 0;
  #over = false;

  constructor(raw: RawStore, owner: BatchOwner) {
    this.#raw = raw;
    this.#rawBatch = raw.batch();
    this.#owner = owner;
  }

  get bytes(): number {
    return this.#bytes;
  }

  put(key: string, value: Uint8Array): void {
    const { bytes, sum } = encodeStored(key, value, this.#scratch);
    this.#note(key, sum);
    this.#rawBatch.put(key, bytes);
    this.#bytes += bytes.length;
  }

  delete(key: string): void {
    this.#note(key, NO_RECORD);
    this.#rawBatch.delete(key);
  }

  async write(checkpoint: Checkpoint): Promise<void> {
    this.#assertUnderWay();
    this.#over = true;
    try {
      await this.#owner.write(this, checkpoint);
    } finally {
      this.#end();
    }
  }

  discard(): void {
    if (this.#over) return;
    this.#over = true;
    this.#end();
  }

  /** Not for callers of the port: what this batch does to number and sum of all records. */
  async change(): Promise<{ records: number; sumAdded: number; sumTaken: number }> {
    this.#lookUpNow();
    await this.#lookUp;
    let records = -this.#recordsBefore;
    let sumAdded = 0;
    for (const sum of this.#sums.values()) {
      if (sum === NO_RECORD) continue;
      records += 1;
      sumAdded = addSums(sumAdded, sum);
    }
    return { records, sumAdded, sumTaken: this.#sumBefore };
  }

  /** Not for callers of the port: the last word, and the write. */
  seal(checkpoint: Uint8Array): Promise<void> {
    this.#rawBatch.put(
      CHECKPOINT_KEY,
      encodeStored(CHECKPOINT_KEY, checkpoint, this.#scratch).bytes,
    );
    return this.#rawBatch.write();
  }

  #note(key: string, sum: number): void {
    assertKey(key);
    this.#assertUnderWay();
    if (!this.#sums.has(key)) {
      this.#toLookUp.push(key);
      if (this.#toLookUp.length >= LOOK_UP_KEYS) this.#lookUpNow();
    }
    this.#sums.set(key, sum);
    this.#bytes += key.length;
  }

  /**
   * One group after the other: a large batch never keeps more than one group of old values in
   * memory.
   */
  #lookUpNow(): void {
    const keys = this.#toLookUp;
    this.#toLookUp = [];
    const after = this.#lookUp.then(() => this.#takeOff(keys));
    // The failure is met by whoever awaits the chain in `change`; a discarded batch has no such
    // one.
    after.catch(() => undefined);
    this.#lookUp = after;
  }

  async #takeOff(keys: readonly string[]): Promise<void> {
    if (keys.length === 0) return;
    const found = await this.#raw.getMany(keys);
    for (const [at, bytes] of found.entries()) {
      if (bytes === undefined) continue;
      this.#recordsBefore += 1;
      this.#sumBefore = addSums(this.#sumBefore, decodeStored(keys[at] as string, bytes).sum);
    }
  }

  #end(): void {
    this.#rawBatch.discard();
    this.#owner.over();
  }

  #assertUnderWay(): void {
    // First: a checkpoint in slices may meet the end of the broker between two of them.
    this.#owner.assertOpen();
    assert(!this.#over, 'the batch was written or discarded');
  }
}
