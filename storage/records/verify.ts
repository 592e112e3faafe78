/**
 * The full pass over a record store at its opening, and the mending of single records.
 *
 * Every record is held against its checksum, and number and sum of all against the checkpoint. A
 * record that cannot be read still has the checksum it was stored with, most likely: where the
 * number is right and the sum too, with those checksums counted, it is proved that nothing else is
 * wrong, no older version of a record has come up, and none is missing. Only then the caller may
 * mend. The mended records replace the unreadable ones in one atomic batch under the same
 * checkpoint, so a crash in it leaves the damage or the mended store.
 */

import { StorageError } from '../errors.ts';
import type { RawStore } from './raw-store.ts';
import {
  addSums,
  CHECKPOINT_KEY,
  decodeCheckpoint,
  decodeStored,
  encodeCheckpoint,
  encodeStored,
  storedSum,
} from './record-format.ts';
import type {
  DurableCheckpoint,
  Mend,
  RecordDamage,
  RecordMend,
  StoredRecord,
} from './record-store.ts';

/** More than these are no accident to be mended. */
const UNREADABLE_MAX = 1_024;
const NAMED_MAX = 8;
const NOTHING = new Uint8Array(0);

interface Found {
  readonly checkpoint: DurableCheckpoint | undefined;
  /** Those that cannot be read included. */
  readonly recordCount: number;
  /** The same; undefined: one of them has no checksum any more. */
  readonly sum: number | undefined;
  readonly unreadable: readonly string[];
}

/** The checkpoint that all records match, mended if need be. */
export async function verified(
  raw: RawStore,
  mend: RecordMend | undefined,
): Promise<DurableCheckpoint | undefined> {
  const found = await look(raw);
  const { unreadable } = found;
  const checkpoint = matching(found);
  if (unreadable.length === 0) return checkpoint;
  if (mend === undefined || checkpoint === undefined) throw damaged(wordsOf(found));
  const damage = damageOf(raw, checkpoint, unreadable);
  await carryOut(raw, damage, await mend(damage));
  const mended = await look(raw);
  if (mended.unreadable.length > 0) throw damaged(wordsOf(mended));
  return matching(mended);
}

/** Reads everything once, in pages. */
async function look(raw: RawStore): Promise<Found> {
  let checkpoint: DurableCheckpoint | undefined;
  let recordCount = 0;
  let sum: number | undefined = 0;
  const unreadable: string[] = [];
  for await (const page of raw.iterate('')) {
    for (const [key, bytes] of page) {
      if (key === CHECKPOINT_KEY) {
        checkpoint = decodeCheckpoint(decodeStored(key, bytes).value);
        continue;
      }
      recordCount += 1;
      const stored = storedSum(bytes);
      sum = stored === undefined || sum === undefined ? undefined : addSums(sum, stored);
      if (isSound(key, bytes)) continue;
      unreadable.push(key);
      if (unreadable.length > UNREADABLE_MAX) {
        throw damaged(`more than ${UNREADABLE_MAX} records of the record store cannot be read`);
      }
    }
  }
  return { checkpoint, recordCount, sum, unreadable };
}

function isSound(key: string, bytes: Uint8Array): boolean {
  try {
    decodeStored(key, bytes);
    return true;
  } catch (error) {
    if (error instanceof StorageError) return false;
    throw error;
  }
}

/** Throws unless number and sum are those of the checkpoint. */
function matching(found: Found): DurableCheckpoint | undefined {
  const { checkpoint, recordCount, sum, unreadable } = found;
  if (checkpoint === undefined) {
    if (recordCount === 0) return undefined;
    throw damaged(`the record store has ${recordCount} records and no checkpoint`);
  }
  const at = `the checkpoint at index ${checkpoint.index}`;
  const also = unreadable.length === 0 ? '' : `; ${wordsOf(found)}`;
  if (recordCount !== checkpoint.recordCount) {
    const where = `${recordCount} records where ${at} has ${checkpoint.recordCount}`;
    throw damaged(`the record store has ${where}${also}`);
  }
  if (sum !== checkpoint.sum) throw damaged(`the records do not match the sum of ${at}${also}`);
  return checkpoint;
}

function damageOf(
  raw: RawStore,
  checkpoint: DurableCheckpoint,
  unreadable: readonly string[],
): RecordDamage {
  const bad = new Set(unreadable);
  return {
    checkpoint,
    unreadable,
    async get(key) {
      const [bytes] = await raw.getMany([key]);
      return bytes === undefined || bad.has(key) ? undefined : decodeStored(key, bytes).value;
    },
    async *iterate(prefix) {
      for await (const page of raw.iterate(prefix)) {
        const records: StoredRecord[] = [];
        for (const [key, bytes] of page) {
          if (!key.startsWith(prefix)) {
            yield records;
            return;
          }
          if (key === CHECKPOINT_KEY || bad.has(key)) continue;
          records.push({ key, value: decodeStored(key, bytes).value });
        }
        yield records;
      }
    },
  };
}

async function carryOut(raw: RawStore, damage: RecordDamage, { put, remove }: Mend): Promise<void> {
  const { checkpoint, unreadable } = damage;
  const after = new Map<string, Uint8Array | undefined>();
  for (const key of [...unreadable, ...remove]) after.set(key, undefined);
  for (const { key, value } of put) after.set(key, value);
  const batch = raw.batch();
  try {
    for (const [key, value] of after) {
      if (value === undefined) batch.delete(key);
      else batch.put(key, encodeStored(key, value, NOTHING).bytes);
    }
    const { recordCount, sum } = await totals(raw, after);
    const mended = encodeCheckpoint({ ...checkpoint, recordCount, sum });
    batch.put(CHECKPOINT_KEY, encodeStored(CHECKPOINT_KEY, mended, NOTHING).bytes);
    await batch.write();
  } finally {
    batch.discard();
  }
}

/** Number and sum of all records with these changes made. */
async function totals(
  raw: RawStore,
  after: ReadonlyMap<string, Uint8Array | undefined>,
): Promise<{ recordCount: number; sum: number }> {
  let recordCount = 0;
  let sum = 0;
  const count = (stored: number | undefined): void => {
    recordCount += 1;
    sum = addSums(sum, stored ?? 0);
  };
  for await (const page of raw.iterate('')) {
    for (const [key, bytes] of page) {
      if (key !== CHECKPOINT_KEY && !after.has(key)) count(storedSum(bytes));
    }
  }
  for (const [key, value] of after) {
    if (value !== undefined) count(encodeStored(key, value, NOTHING).sum);
  }
  return { recordCount, sum };
}

function wordsOf({ unreadable }: Found): string {
  const named = unreadable.slice(0, NAMED_MAX).map((key) => JSON.stringify(key));
  const more = unreadable.length - named.length;
  const rest = more === 0 ? '' : ` and ${more} more`;
  const noun = unreadable.length === 1 ? 'record' : 'records';
  const does =
    unreadable.length === 1 ? 'does not match its checksum' : 'do not match their checksums';
  return `${noun} ${named.join(', ')}${rest} of the record store ${does}`;
}

function damaged(what: string): StorageError {
  return new StorageError('damaged', what);
}
