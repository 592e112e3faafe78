/**
 * The records of a replica as its start finds them: sound and of its log, or lost.
 *
 * A broker alone mends what it can (`mend-groups.ts`) and refuses the rest. In a cluster nothing is
 * mended, because replicas are to be equal, and nothing is given up: a log that is there from its
 * first entry gives the state again, and else a peer gives a checkpoint of it while log and vote
 * stay as they are. A log that ends before its checkpoint is another matter: it has lost what it
 * acknowledged, and the start is refused. A crash at any point leaves records that are lost again,
 * or none beside a log that is whole.
 */

import { StorageError } from '#storage';
import type { Checkpoint, Log, RecordMend, RecordStore } from '#storage';
import { mendGroups, nameDamaged } from './mend-groups.ts';
import { lostEnd, misfitOf, notStarted } from './recovery.ts';
import type { ShardLogger } from './shard-logger.ts';

export interface RecordsFolder {
  open(mend: RecordMend): Promise<RecordStore>;
  /** Of all files. */
  clear(): Promise<void>;
}

export class ReplicaRecords {
  readonly #folder: RecordsFolder;
  #store: RecordStore | undefined;
  /** Why the records are no state; undefined: they are. */
  #problem: string | undefined;
  #known: Pick<Checkpoint, 'index' | 'data'> | undefined;

  /** Of a broker alone. Rejects when they cannot be read. */
  static async alone(folder: RecordsFolder): Promise<ReplicaRecords> {
    const records = new ReplicaRecords(folder);
    await records.#open(mendGroups);
    return records;
  }

  static async inCluster(folder: RecordsFolder): Promise<ReplicaRecords> {
    const records = new ReplicaRecords(folder);
    try {
      await records.#open(async (damage) => {
        records.#known = damage.checkpoint;
        return nameDamaged(damage);
      });
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'damaged') throw error;
      records.#problem = error.message;
    }
    return records;
  }

  private constructor(folder: RecordsFolder) {
    this.#folder = folder;
  }

  /** Undefined: they are lost. */
  get store(): RecordStore | undefined {
    return this.#store;
  }

  /** The last one, as far as it is known. */
  get checkpoint(): Pick<Checkpoint, 'index' | 'data'> | undefined {
    return this.#known;
  }

  /** In a cluster, once: whether they are of this log. Rejects when that has lost its end. */
  async belongTo(
    { logId: id, start, last }: Pick<Log, 'logId' | 'start' | 'last'>,
    shard: number,
    logger: ShardLogger,
  ): Promise<void> {
    const cut = lostEnd({ last }, this.#known);
    if (cut !== undefined) throw notStarted(cut);
    if (this.#store !== undefined) this.#problem = misfitOf({ id, start }, this.#store);
    const detail = this.#problem;
    if (detail === undefined) return;
    await this.close();
    this.#store = undefined;
    if (start > 1) {
      const words =
        'the records of this replica are lost: it neither leads nor acknowledges before it has ' +
        'got them anew from the others';
      logger.error({ shard, detail }, words);
      return;
    }
    const words =
      'the records of this replica are lost, and made anew from its log, which is whole';
    logger.error({ shard, detail }, words);
    await this.#folder.clear();
    this.#known = undefined;
    await this.#open(nameDamaged);
  }

  /** A start that is refused, because nobody else has them. */
  get refusal(): StorageError {
    return notStarted(this.#problem ?? 'the records are lost');
  }

  async close(): Promise<void> {
    await this.#store?.close();
  }

  async #open(mend: RecordMend): Promise<void> {
    this.#store = await this.#folder.open(mend);
    this.#known = this.#store.checkpoint;
  }
}
