/**
 * The manifest on disk: written beside, synced, renamed over the old one, and the folder synced. A
 * crash at any instant leaves the old one or the new one, whole.
 */

import type { Files } from '../files.ts';
import { readWholeFile, removeIfThere, writeWhole } from './file-bytes.ts';
import { inDirectory, MANIFEST_NAME, MANIFEST_TEMPORARY_NAME } from './file-names.ts';
import { decodeManifest, encodeManifest } from './manifest.ts';
import type { Manifest } from './manifest.ts';

/** undefined: there is none. Throws StorageError `damaged` or `unknown-format`. */
export async function readManifest(files: Files, directory: string): Promise<Manifest | undefined> {
  const bytes = await readWholeFile(files, inDirectory(directory, MANIFEST_NAME));
  return bytes && decodeManifest(bytes);
}

export async function writeManifest(
  files: Files,
  directory: string,
  manifest: Manifest,
): Promise<void> {
  const temporary = inDirectory(directory, MANIFEST_TEMPORARY_NAME);
  await removeIfThere(files, temporary);
  const file = await files.open(temporary, {
    access: 'write',
    create: 'exclusive',
    durability: 'on-sync',
  });
  try {
    await writeWhole(file, encodeManifest(manifest), 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await files.rename(temporary, inDirectory(directory, MANIFEST_NAME));
  await files.syncDirectory(directory);
}
