/** The log of repaired entries of a replica whose files are in memory. */

import { Log } from '../../storage/log/log.ts';
import type { MemoryFiles } from './memory-files.ts';

export interface RepairsPlace {
  readonly files: MemoryFiles;
  readonly directory: string;
  readonly onFailure: (error: Error) => void;
}

export async function openRepairsLog(
  { files, directory, onFailure }: RepairsPlace,
  how: 'if-there' | 'make',
): Promise<Log | undefined> {
  const isThere = await files.list(directory).then(
    (names) => names.length > 0,
    () => false,
  );
  if (how === 'if-there' && !isThere) return undefined;
  const syncMode = 'fdatasync';
  return (await Log.open({ files, directory, now: () => 0, syncMode, idleMarkMs: 0, onFailure }))
    .log;
}
