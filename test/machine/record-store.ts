/**
 * A store of records behind one record table, as a shard has it: what a component asks for is
 * loaded from the last checkpoint, checkpoints are cut in slices, and everything clean may be
 * evicted between two operations.
 *
 * The store holds copies, so a record that shares memory with what was captured shows.
 */

import type { CapturedRecord, RecordData, RecordKey } from '../../src/machine/record-data.ts';
import { RecordTable } from '../../src/machine/record-table.ts';

export class TestRecords {
  readonly table = new RecordTable();
  readonly store = new Map<RecordKey, RecordData>();
  /** The most records that one `with` loaded. */
  mostLoaded = 0;

  /** Loads what `needs` names until it names nothing. */
  load(
    needs: (keys: RecordKey[]) => void,
    into: (key: RecordKey, data: RecordData | undefined) => void,
  ): void {
    let loaded = 0;
    for (let round = 0; ; round += 1) {
      const keys: RecordKey[] = [];
      needs(keys);
      if (keys.length === 0) break;
      if (round > 10) throw new Error(`asks again and again for ${keys.join(' ')}`);
      if (new Set(keys).size !== keys.length) throw new Error(`asks twice: ${keys.join(' ')}`);
      loaded += keys.length;
      for (const key of keys) into(key, structuredClone(this.store.get(key)));
    }
    this.mostLoaded = Math.max(this.mostLoaded, loaded);
  }

  /** A whole checkpoint, and then everything goes that may. */
  saveAndEvict(): void {
    this.save();
    this.table.evict(0, 1_000_000);
  }

  save(): void {
    this.table.freeze();
    const records: CapturedRecord[] = [];
    while (!this.table.capture(5, records));
    const keys = records.map(({ key }) => key);
    if (new Set(keys).size !== keys.length) throw new Error(`twice in a cut: ${keys.join(' ')}`);
    for (const { key, data } of records) {
      if (data === undefined) this.store.delete(key);
      else this.store.set(key, structuredClone(data));
    }
    this.table.thaw();
  }

  /** All records by key, as a checkpoint has them. */
  dump(): [RecordKey, RecordData][] {
    this.save();
    return [...this.store].sort(([a], [b]) => (a < b ? -1 : 1));
  }
}
