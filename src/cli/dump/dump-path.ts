/**
 * What a path given to `segment-dump` means: a segment, the folder of a log, or a whole data
 * directory.
 */

import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { logDirectory } from '../../shard-threads.ts';
import { CliError, ExitCode } from '../exit-codes.ts';

export interface DumpPath {
  readonly path: string;
  readonly isDirectory: boolean;
}

async function kindOf(path: string): Promise<'file' | 'directory' | undefined> {
  try {
    return (await stat(path)).isDirectory() ? 'directory' : 'file';
  } catch {
    return undefined;
  }
}

export async function dumpPath(path: string): Promise<DumpPath> {
  const kind = await kindOf(path);
  if (kind === undefined) throw new CliError(ExitCode.usage, `there is nothing at ${path}`);
  if (kind === 'file') {
    if (basename(path).endsWith('.log')) return { path, isDirectory: false };
    throw new CliError(
      ExitCode.usage,
      `${path} is not a segment (*.log); give a segment, the folder of a log or a data directory`,
    );
  }
  const inData = logDirectory(path);
  if ((await kindOf(join(path, 'format'))) === 'file' && (await kindOf(inData)) === 'directory') {
    return { path: inData, isDirectory: true };
  }
  return { path, isDirectory: true };
}
