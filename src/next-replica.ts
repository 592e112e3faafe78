/**
 * The replica that is built beside the current one of a shard, in the next numbered folder: log,
 * records and runs as files, with what the shard's configuration says of them.
 *
 * There is one place, which is cleared before it is used: whoever made the last one has closed it.
 * A crash leaves files that the next start removes.
 */

import { Log, Runs } from '#storage';
import type { EntryName, Files, LogOptions, RecordMend, RecordStore } from '#storage';
import type { ShardSettings } from './options.ts';
import { PARTS } from './replica-folders.ts';
import type { ReplicaFolders } from './replica-folders.ts';
import type { MadeReplica, ReplicaMaker } from './shard/catch-up-sink.ts';

/** Sparse indexes of runs in memory. */
const RUN_INDEX_BYTES = 4 << 20;

export interface ReplicaParts {
  readonly settings: ShardSettings;
  readonly files: Files;
  /** Those in a folder, made where there are none. */
  readonly openRecords: OpenRecords;
  readonly folders: ReplicaFolders;
}

export type OpenRecords = (at: {
  readonly files: Files;
  readonly directory: string;
  readonly mend?: RecordMend;
}) => Promise<RecordStore>;

/** The replica that is built beside the current one. */
export class NextReplica implements ReplicaMaker {
  readonly #parts: ReplicaParts;
  readonly #currentLogId: () => string | undefined;
  #logId: string | undefined;

  constructor(parts: ReplicaParts, currentLogId: () => string | undefined) {
    this.#parts = parts;
    this.#currentLogId = currentLogId;
  }

  async make(
    { index, term }: Parameters<ReplicaMaker['make']>[0],
    keepsRuns: boolean,
  ): Promise<MadeReplica> {
    const { folders, files, openRecords } = this.#parts;
    await folders.clearNext(keepsRuns ? ['log', 'records', 'repairs'] : PARTS);
    const logId = keepsRuns ? this.#logId : this.#currentLogId();
    const beginsBehind: EntryName = { index, epoch: term };
    const { log } = await Log.open({
      ...logOptionsOf(this.#parts, await folders.nextPart('log')),
      beginsBehind,
      ...(logId === undefined ? {} : { newLogId: () => logId }),
      // Whoever writes hears it as well.
      onFailure: () => undefined,
    });
    this.#logId = log.logId;
    const records = await openRecords({ files, directory: await folders.nextPart('records') });
    const runs = runsOf(this.#parts, await folders.nextPart('runs'), log.logId);
    return { log, records, runs, makeCurrent: () => folders.makeNextCurrent() };
  }

  clear(): Promise<void> {
    return this.#parts.folders.clearNext(PARTS);
  }
}

export function logOptionsOf(
  { settings, files }: ReplicaParts,
  directory: string,
): Omit<LogOptions, 'onFailure'> {
  const { reserveBytes: _reserve, ...storage } = settings.storage;
  return { files, directory, now: Date.now, ...storage };
}

export function runsOf({ settings, files }: ReplicaParts, directory: string, owner: string): Runs {
  const { blockBytes } = settings.runs;
  const indexCacheBytes = RUN_INDEX_BYTES;
  return new Runs({ files, directory, owner, blockBytes, indexCacheBytes, now: Date.now });
}
