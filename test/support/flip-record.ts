/**
 * Flips one bit in the value of a record, in the files that a stopped broker left: what LevelDB
 * still has in its own log it writes into a table when it is opened, and there the value stands as
 * it is.
 */
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';

const CHECKSUM_BYTES = 4;

/** Rejects when there is no such record, or when its bytes are not found in a table. */
export async function flipRecord(directory: string, key: string): Promise<void> {
  const level = new ClassicLevel<string, Uint8Array>(directory, {
    keyEncoding: 'utf8',
    valueEncoding: 'view',
    compression: false,
  });
  await level.open();
  const value = await level.get(key);
  await level.close();
  if (value === undefined) throw new Error(`no record ${key}`);
  let flipped = 0;
  for (const name of await readdir(directory)) {
    if (!name.endsWith('.ldb')) continue;
    const bytes = await readFile(join(directory, name));
    const at = bytes.indexOf(Buffer.from(value));
    if (at === -1) continue;
    const byte = at + CHECKSUM_BYTES + 1;
    bytes[byte] = (bytes[byte] as number) ^ 0x04;
    await writeFile(join(directory, name), bytes);
    flipped += 1;
  }
  if (flipped === 0) throw new Error(`the value of ${key} is in no table`);
}
