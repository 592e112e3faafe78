/**
 * What a path given to `segment-dump` means: a segment, a run, the folder of a log or of runs, the
 * folder of a shard, or a whole data directory, for its shard 0.
 */

import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { nodeFiles } from '#storage';
import { isShardFolder, partDirectory } from '../../replica-folders.ts';
import { CliError, ExitCode } from '../exit-codes.ts';

export interface DumpPath {
  /** A segment or the folder of a log; undefined: runs alone. */
  readonly log: { readonly path: string; readonly isDirectory: boolean } | undefined;
  /** Files, in the order of their ids. */
  readonly runs: readonly string[];
  /** By the folder that it lies in; 0 where none says. */
  readonly shard: number;
}

async function kindOf(path: string): Promise<'file' | 'directory' | undefined> {
  try {
    return (await stat(path)).isDirectory() ? 'directory' : 'file';
  } catch {
    return undefined;
  }
}

export async function dumpPath(path: string): Promise<DumpPath> {
  return { ...(await partsAt(path)), shard: shardAt(path) };
}

function shardAt(path: string): number {
  const [, number = '0'] = /.*\/shard-(\d{1,2})(?:\/|$)/.exec(resolve(path)) ?? [];
  return Number(number);
}

async function partsAt(path: string): Promise<Omit<DumpPath, 'shard'>> {
  const kind = await kindOf(path);
  if (kind === undefined) throw new CliError(ExitCode.usage, `there is nothing at ${path}`);
  if (kind === 'file') {
    const name = basename(path);
    if (name.endsWith('.log')) return { log: { path, isDirectory: false }, runs: [] };
    if (isRunName(name)) return { log: undefined, runs: [path] };
    throw new CliError(
      ExitCode.usage,
      `${path} is neither a segment (*.log) nor a run (*.run); give one of these, ` +
        'the folder of a log or of runs, or a data directory',
    );
  }
  const files = nodeFiles();
  const inData = await partDirectory(files, path, 'log');
  const isOurs = isShardFolder(path) || (await kindOf(join(path, 'format'))) === 'file';
  if (isOurs && (await kindOf(inData)) === 'directory') {
    const runs = await runsIn(await partDirectory(files, path, 'runs'));
    return { log: { path: inData, isDirectory: true }, runs };
  }
  const runs = await runsIn(path);
  return runs.length > 0
    ? { log: undefined, runs }
    : { log: { path, isDirectory: true }, runs: [] };
}

function isRunName(name: string): boolean {
  return /^\d+\.run$/.test(name);
}

async function runsIn(folder: string): Promise<string[]> {
  if ((await kindOf(folder)) !== 'directory') return [];
  const names = (await readdir(folder)).filter((name) => isRunName(name));
  const sorted = names.toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
  return sorted.map((name) => join(folder, name));
}
