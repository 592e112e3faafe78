/**
 * Records in a folder of LevelDB files, by way of classic-level: the only module that imports it.
 *
 * LevelDB gives back flipped bytes without an error, and opens quietly on what is left when its log
 * is damaged; the checked store above names the first and the caller's log shows the second. What a
 * synced batch does not cover is the name of a log file that LevelDB has just begun: so the folder
 * is synced before a write resolves. A failed append leaves LevelDB's log torn in the middle, and
 * what it appends behind is lost at the next start: after a failure nothing more is written until
 * it was opened again.
 *
 * LevelDB locks its folder for as long as it is open: with `fcntl`, so that the kernel drops the
 * lock with the process, and with a table of its own against a second opener in the same process.
 */
import { dirname } from 'node:path';

import { ClassicLevel } from 'classic-level';

import { StorageError } from '../errors.ts';
import type { Files } from '../files.ts';
import { openChecked } from './checked-record-store.ts';
import type { RawBatch, RawStore } from './raw-store.ts';
import type { RecordMend, RecordStore } from './record-store.ts';

export interface LevelRecordsOptions {
  /** A folder of its own; created if it is missing. */
  readonly directory: string;
  readonly files: Files;
  /** Bytes of blocks that LevelDB keeps in memory, 1 MiB to 1 GiB. Default 8 MiB. */
  readonly cacheBytes?: number;
  /** Bytes that LevelDB collects before it writes a table, 64 KiB to 256 MiB. Default 16 MiB. */
  readonly writeBufferBytes?: number;
  /** Mends single records that are damaged; without it the opening is refused. */
  readonly mend?: RecordMend;
}

const MIB = 1 << 20;
const PAGE_RECORDS = 512;
const PAGE_BYTES = 256 * 1024;

type Level = ClassicLevel<string, Uint8Array>;

/** A lock must not end because nobody looks at it any more: what is collected, LevelDB closes. */
const locks = new Set<Level>();

/** Opens and verifies; reads everything once. */
export async function openLevelRecords(options: LevelRecordsOptions): Promise<RecordStore> {
  const { directory, files, cacheBytes = 8 * MIB, writeBufferBytes = 16 * MIB, mend } = options;
  inRange('cacheBytes', cacheBytes, [MIB, 1024 * MIB]);
  inRange('writeBufferBytes', writeBufferBytes, [MIB / 16, 256 * MIB]);
  const level = await openLevel(directory, files, {
    cacheSize: cacheBytes,
    writeBufferSize: writeBufferBytes,
  });
  return openChecked(new LevelRawStore(level, files), mend);
}

/**
 * Locks a folder of its own by holding an empty LevelDB in it: `locked` while another process, or
 * another thread of this one, has it. The kernel drops the lock with the process, however it ends.
 */
export async function openLevelLock(
  directory: string,
  files: Files,
): Promise<{ release(): Promise<void> }> {
  const level = await openLevel(directory, files, {
    writeBufferSize: MIB / 16,
    cacheSize: MIB / 16,
  });
  locks.add(level);
  return {
    release: async () => {
      await level.close();
      locks.delete(level);
    },
  };
}

async function openLevel(
  directory: string,
  files: Files,
  sizes: { writeBufferSize: number; cacheSize: number },
): Promise<Level> {
  await files.makeDirectory(directory);
  await files.syncDirectory(dirname(directory));
  const level: Level = new ClassicLevel(directory, {
    keyEncoding: 'utf8',
    valueEncoding: 'view',
    // A damaged bit then costs one record, and not a block of them.
    compression: false,
    ...sizes,
  });
  try {
    await level.open();
  } catch (error) {
    throw translated(error, directory);
  }
  return level;
}

class LevelRawStore implements RawStore {
  readonly #level: Level;
  readonly #files: Files;

  constructor(level: Level, files: Files) {
    this.#level = level;
    this.#files = files;
  }

  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    try {
      return await this.#level.getMany([...keys]);
    } catch (error) {
      throw translated(error, this.#level.location);
    }
  }

  async *iterate(
    from: string,
  ): AsyncGenerator<readonly (readonly [string, Uint8Array])[], void, void> {
    const options = { fillCache: false, highWaterMarkBytes: PAGE_BYTES };
    const iterator = this.#level.iterator(from === '' ? options : { ...options, gte: from });
    try {
      for (;;) {
        const page = await iterator.nextv(PAGE_RECORDS);
        if (page.length === 0) return;
        yield page;
      }
    } catch (error) {
      throw error instanceof StorageError ? error : translated(error, this.#level.location);
    } finally {
      await iterator.close();
    }
  }

  batch(): RawBatch {
    const { location } = this.#level;
    const batch = this.#level.batch();
    return {
      put: (key, bytes) => void batch.put(key, bytes),
      delete: (key) => void batch.del(key),
      write: async () => {
        try {
          await batch.write({ sync: true });
          await this.#files.syncDirectory(location);
        } catch (error) {
          throw translated(error, location);
        }
      },
      // Frees what lies in it at the next collection of garbage; a batch that was written is closed
      // already.
      discard: () => void batch.close().catch(() => undefined),
    };
  }

  async close(): Promise<void> {
    try {
      await this.#level.close();
    } catch (error) {
      throw translated(error, this.#level.location);
    }
  }
}

function translated(error: unknown, directory: string): StorageError {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = (inner as { code?: unknown }).code;
  const message = inner instanceof Error ? inner.message : String(inner);
  const said = (
    kind: 'locked' | 'damaged' | 'full' | 'closed' | 'failed',
    what: string,
  ): StorageError => new StorageError(kind, `record store ${directory}: ${what}`, { cause: error });
  if (code === 'LEVEL_LOCKED')
    return said('locked', 'opened by another process or twice by this one');
  if (code === 'LEVEL_CORRUPTION' || message.startsWith('Corruption'))
    return said('damaged', message);
  if (code === 'ENOSPC' || /No space left/.test(message)) return said('full', 'no space left');
  if (code === 'LEVEL_DATABASE_NOT_OPEN' || code === 'LEVEL_ITERATOR_NOT_OPEN') {
    return said('closed', 'closed');
  }
  return said('failed', message);
}

function inRange(name: string, value: number, [least, most]: readonly [number, number]): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`${name} is ${value}, not an integer from ${least} to ${most}`);
}
