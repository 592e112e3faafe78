/**
 * The checkpoint in the records of a data directory that nobody has open, without changing a byte
 * of them: LevelDB writes whenever it opens, so it opens a copy, in the system's folder for
 * temporary files. Large records are not copied: then the checkpoint is not told.
 */

import { cp, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Configuration, ConfigurationError } from '#raft';
import { StorageError, nodeFiles, openLevelRecords } from '#storage';
import { decodeNote } from '../../shard/checkpoint.ts';
import { decodeMembers } from '../../shard/members.ts';
import { RecordFormatError } from '../../shard/record-codec.ts';
import { CodecError } from '../../shard/wire.ts';

const COPY_BYTES_MAX = 1 << 30;

export interface StoredCheckpoint {
  readonly index: number;
  readonly records: number;
  /** Before this index the replica does not serve, after a catch-up. */
  readonly serveFrom: number | undefined;
  /** In use at its index; undefined: none is told. */
  readonly members: StoredMembers | undefined;
}

export interface StoredMembers extends Configuration {
  /** Of its entry. */
  readonly index: number;
}

/** A text says why it cannot be told; undefined: there is none. */
export async function storedCheckpoint(
  records: string,
): Promise<StoredCheckpoint | string | undefined> {
  const bytes = await bytesIn(records);
  if (bytes === undefined) return undefined;
  if (bytes > COPY_BYTES_MAX) return `not read: the records have ${bytes} bytes`;
  const copy = await mkdtemp(join(tmpdir(), 'fluxmq-records-'));
  try {
    await cp(records, copy, { recursive: true });
    return await checkpointIn(copy);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return `not readable: ${error.message}`;
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

async function checkpointIn(directory: string): Promise<StoredCheckpoint | undefined> {
  const store = await openLevelRecords({ files: nodeFiles(), directory });
  try {
    const { checkpoint } = store;
    if (checkpoint === undefined) return undefined;
    const { index, recordCount } = checkpoint;
    const known = decodeNote(checkpoint.data)?.members;
    const told = known === undefined ? undefined : decodeMembers(known);
    const members = told && {
      index: told.configuration.index,
      ...told.configuration.configuration,
    };
    return { index, records: recordCount, serveFrom: told?.serveFrom, members };
  } finally {
    await store.close();
  }
}

function isDamage(error: unknown): error is Error {
  return (
    error instanceof StorageError ||
    error instanceof ConfigurationError ||
    error instanceof CodecError ||
    error instanceof RecordFormatError
  );
}

/** Undefined: there is no such folder, or nothing in it. */
async function bytesIn(folder: string): Promise<number | undefined> {
  const names = await readdir(folder).catch((): string[] => []);
  if (names.length === 0) return undefined;
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
