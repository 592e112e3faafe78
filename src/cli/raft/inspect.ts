/**
 * What `fluxmq raft inspect` does: tells what the files of a stopped broker say of its replicas,
 * one for each shard that has a folder, without changing a byte. Exit status 1 where it found
 * damage that was not repaired; a torn tail is none. A replica that cannot be told hinders no
 * other.
 */

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageError } from '#storage';
import { isShardFolder } from '../../replica-folders.ts';
import { memberText, rescueText } from '../dump/raft-entries.ts';
import { printable } from '../dump/dump-text.ts';
import { CliError, ExitCode } from '../exit-codes.ts';
import { print } from '../operator/screen.ts';
import { jsonLine, rescueFields } from '../operator/told.ts';
import { several } from '../text/units.ts';
import { type DamagedPart, type ReplicaFiles, replicaFiles } from './replica-files.ts';
import type { StoredCheckpoint } from './stored-checkpoint.ts';

const DAMAGE_FOUND = 1;
/** The newest terms; `--json` has all. */
const TERMS_TOLD = 8;
const PROGRESS_BYTES = 256 * 2 ** 20;

export interface InspectFlags {
  readonly json?: boolean;
  /** Of this shard alone. */
  readonly shard?: number;
}

export async function inspect(directory: string, flags: InspectFlags): Promise<void> {
  await checkDirectory(directory);
  const there = await shardsIn(directory);
  const { shard: only, json = false } = flags;
  const shards = there.filter((shard) => only === undefined || shard === only);
  if (shards.length === 0) {
    const which = only === undefined ? 'no shard' : `no shard ${only}`;
    const others = there.length === 0 ? '' : `: it has ${there.join(', ')}`;
    throw new CliError(ExitCode.usage, `${directory} has ${which}${others}`);
  }
  const progress = progressTeller();
  for (const shard of shards) {
    const files = await filesOf({ directory, shard, progress }).catch((error: unknown) => {
      if (shards.length === 1 || !(error instanceof CliError)) throw error;
      process.stderr.write(`fluxmq: shard ${shard}: ${error.message}\n`);
      process.exitCode = error.exitCode;
      return undefined;
    });
    if (files === undefined) continue;
    await print(json ? [jsonLine(fieldsOf(shard, files))] : linesOf({ directory, shard, files }));
    if (files.damaged.some((part) => !isRepaired(part))) process.exitCode ??= DAMAGE_FOUND;
  }
}

/** In order; shards that never came here have no folder. */
async function shardsIn(directory: string): Promise<number[]> {
  const names = await readdir(directory);
  const numbers = names.filter((name) => isShardFolder(name)).map((name) => Number(name.slice(6)));
  return numbers.toSorted((a, b) => a - b);
}

interface Wanted {
  readonly directory: string;
  readonly shard: number;
  readonly progress: (bytes: number) => void;
}

async function filesOf({ directory, shard, progress }: Wanted): Promise<ReplicaFiles> {
  try {
    return await replicaFiles(join(directory, `shard-${shard}`), progress);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    const code = error.code === 'unknown-format' ? ExitCode.usage : ExitCode.damaged;
    throw new CliError(code, error.message, { cause: error });
  }
}

interface Inspected {
  readonly directory: string;
  readonly shard: number;
  readonly files: ReplicaFiles;
}

async function checkDirectory(directory: string): Promise<void> {
  const isFile = (path: string): Promise<boolean> =>
    stat(path).then(
      (found) => found.isFile(),
      () => false,
    );
  if (await isFile(join(directory, 'format'))) return;
  const text = `${directory} is not the data directory of a broker: it has no file 'format'`;
  throw new CliError(ExitCode.usage, text);
}

/** On a large log, for a person only. */
function progressTeller(): (bytes: number) => void {
  let read = 0;
  let told = 0;
  return (bytes) => {
    read += bytes;
    if (!process.stderr.isTTY || read - told < PROGRESS_BYTES) return;
    told = read;
    process.stderr.write(`... ${Math.round(read / 2 ** 20)} MiB read\n`);
  };
}

function isRepaired({ from, through, repaired }: DamagedPart): boolean {
  // A damaged mark between two entries hides none.
  return through !== undefined && repaired >= through - from + 1;
}

function linesOf({ directory, shard, files }: Inspected): string[] {
  const { hardState, members, damaged } = files;
  const facts: [string, string][] = [
    ['log', logText(files)],
    ['term', String(hardState.term)],
    ['vote', hardState.vote === undefined ? 'none in this term' : printable(hardState.vote)],
    ...(hardState.tailLost === true
      ? [
          ['', 'the end of its log was lost: it does not vote before it has it again'] as [
            string,
            string,
          ],
        ]
      : []),
    ['terms', termsText(files)],
    ['checkpoint', checkpointText(files.checkpoint)],
    ...(members?.rescue === undefined
      ? []
      : [['rescued', rescueText(members.rescue)] as [string, string]]),
    ['members', members === undefined ? foundersText(shard) : ''],
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  const lines = facts.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`.trimEnd());
  const told = members?.members.map((member) => `    ${memberText(member)}`) ?? [];
  const place = members === undefined ? [] : [`    (${placeText(members.index)})`];
  return [
    `shard ${shard} in ${printable(directory)}`,
    ...lines,
    ...told,
    ...place,
    ...(files.tornTail === undefined ? [] : [`  torn tail, to be cut: ${files.tornTail}`]),
    ...damaged.map((part) => damageText(part)),
    ...(damaged.length === 0 ? ['  no damage'] : []),
  ];
}

function foundersText(shard: number): string {
  const whose = shard === 0 ? 'those of cluster.peers' : 'its founders, by the map in shard 0';
  return `${whose}: none in log or checkpoint`;
}

function placeText(index: number): string {
  if (index === 0) return 'with which the cluster was made';
  return `of entry ${index}; in use from there on, committed or not`;
}

function logText({ start, last, segments, clean }: ReplicaFiles): string {
  const how = clean === true ? 'closed in order' : 'not closed in order';
  const range = last < start ? `empty, begins at entry ${start}` : `entries ${start} to ${last}`;
  return `${range}, ${several(segments, 'segment')}, ${how}`;
}

function termsText({ terms }: ReplicaFiles): string {
  if (terms.length === 0) return 'none in the log';
  const told = terms.slice(-TERMS_TOLD);
  const earlier = terms.length - told.length;
  const parts = told.map(({ term, firstIndex }) => `${term} from entry ${firstIndex}`);
  return `${earlier > 0 ? `${earlier} earlier, ` : ''}${parts.join(', ')}`;
}

function checkpointText(checkpoint: ReplicaFiles['checkpoint']): string {
  if (checkpoint === undefined) return 'none: replay begins at the start of the log';
  if (typeof checkpoint === 'string') return checkpoint;
  const { index, records, serveFrom } = checkpoint;
  const until =
    serveFrom !== undefined && serveFrom > index
      ? `; serves nothing before it has applied entry ${serveFrom}`
      : '';
  return `at entry ${index}, ${records} records; replay begins at ${index + 1}${until}`;
}

function damageText(part: DamagedPart): string {
  const { from, through, detail, repaired, hardStateUnsure } = part;
  const range = through === undefined ? `${from} to an unknown one` : `${from} to ${through}`;
  const vote = hardStateUnsure ? '; a vote may be lost in it' : '';
  if (isRepaired(part)) return `  repaired: entries ${range}, from a peer (${detail})`;
  const some = repaired === 0 ? '' : `; ${repaired} of them repaired`;
  return `  DAMAGED: entries ${range}: ${detail}${some}${vote}`;
}

function fieldsOf(shard: number, files: ReplicaFiles): object {
  const { hardState, members, checkpoint } = files;
  return {
    shard,
    log_id: files.logId,
    clean: files.clean ?? null,
    term: hardState.term,
    vote: hardState.vote ?? null,
    tail_lost: hardState.tailLost ?? false,
    start: files.start,
    last: files.last,
    segments: files.segments,
    terms: files.terms.map(({ term, firstIndex }) => ({ term, first_index: firstIndex })),
    members_index: members?.index ?? null,
    members: members?.members ?? null,
    rescued: members?.rescue === undefined ? null : rescueFields(members.rescue),
    checkpoint: checkpointFields(checkpoint),
    torn_tail: files.tornTail ?? null,
    damaged: files.damaged.map((part) => ({
      from: part.from,
      through: part.through ?? null,
      detail: part.detail,
      repaired: part.repaired,
      vote_unsure: part.hardStateUnsure,
    })),
  };
}

function checkpointFields(checkpoint: StoredCheckpoint | string | undefined): object | null {
  if (checkpoint === undefined) return null;
  if (typeof checkpoint === 'string') return { problem: checkpoint };
  const { index, records, serveFrom } = checkpoint;
  return { index, records, serve_from: serveFrom ?? index };
}
