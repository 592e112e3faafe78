/**
 * `fluxmq raft inspect`: what the files of a stopped broker say of its replica, without changing a
 * byte. Exit status 1 where it found damage that was not repaired; a torn tail is none.
 */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { StorageError } from '#storage';
import { memberText } from './dump/raft-entries.ts';
import { printable } from './dump/dump-text.ts';
import { CliError, ExitCode } from './exit-codes.ts';
import { print } from './operator/screen.ts';
import { jsonLine } from './operator/told.ts';
import { several } from './text/units.ts';
import { type DamagedPart, type ReplicaFiles, replicaFiles } from './raft/replica-files.ts';
import type { StoredCheckpoint } from './raft/stored-checkpoint.ts';

const DAMAGE_FOUND = 1;
/** The newest terms; `--json` has all. */
const TERMS_TOLD = 8;
const PROGRESS_BYTES = 256 * 2 ** 20;

interface InspectFlags {
  readonly json?: boolean;
}

export function raftCommand(): Command {
  const inspect = new Command('inspect')
    .description('Tell the state of a stopped replica; exit status 1 on damage.')
    .argument('<dir>', 'the data directory of a broker (data_dir)')
    .option('--json', 'for programs: one JSON object')
    .action((directory: string, flags: InspectFlags) => run(directory, flags));
  return new Command('raft').description('Look at the replica of a broker.').addCommand(inspect);
}

async function run(directory: string, { json }: InspectFlags): Promise<void> {
  await checkDirectory(directory);
  let files: ReplicaFiles;
  try {
    files = await replicaFiles(directory, progressTeller());
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    const code = error.code === 'unknown-format' ? ExitCode.usage : ExitCode.damaged;
    throw new CliError(code, error.message, { cause: error });
  }
  await print(json === true ? [jsonLine(fieldsOf(files))] : linesOf(directory, files));
  if (files.damaged.some((part) => !isRepaired(part))) process.exitCode = DAMAGE_FOUND;
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

function linesOf(directory: string, files: ReplicaFiles): string[] {
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
    ['members', members === undefined ? 'those of cluster.peers: none in log or checkpoint' : ''],
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  const lines = facts.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`.trimEnd());
  const told = members?.members.map((member) => `    ${memberText(member)}`) ?? [];
  const place = members === undefined ? [] : [`    (${placeText(members.index)})`];
  return [
    `shard 0 in ${printable(directory)}`,
    ...lines,
    ...told,
    ...place,
    ...(files.tornTail === undefined ? [] : [`  torn tail, to be cut: ${files.tornTail}`]),
    ...damaged.map((part) => damageText(part)),
    ...(damaged.length === 0 ? ['  no damage'] : []),
  ];
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

function fieldsOf(files: ReplicaFiles): object {
  const { hardState, members, checkpoint } = files;
  return {
    shard: 0,
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
