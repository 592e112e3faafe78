/**
 * What lies in the log of a shard, at a broker that does not run, by the program that operators
 * have for it (`fluxmq segment-dump`): index, term and checksum of the payload of each entry. Kept
 * beside the node's own log as `entries-<shard>.jsonl`, so that a run can be judged again without
 * its data.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

function entriesFile(directory: string, shard: number): string {
  return join(directory, `entries-${shard}.jsonl`);
}

/** On which nodes a shard has replicas. */
export interface ShardPlace {
  readonly shard: number;
  readonly nodes: readonly string[];
}

export interface ReplicaEntry {
  readonly index: number;
  readonly term: number;
  readonly checksum: string;
}

interface Dumped {
  readonly event: string;
  readonly batch?: string;
  readonly index?: number;
  readonly term?: number;
  readonly payloadCrc?: string;
}

/** `directory` is the node's: its data and its files of the run. Rejects when there is damage. */
export async function dumpReplicaLog(
  program: string,
  directory: string,
  shard: number,
): Promise<void> {
  const args = ['segment-dump', '--json', join(directory, 'data', `shard-${shard}`)];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = once(child, 'exit');
  const out = createWriteStream(entriesFile(directory, shard));
  for await (const line of createInterface({ input: child.stdout })) {
    const { event, batch, index, term, payloadCrc: checksum } = JSON.parse(line) as Dumped;
    if (event !== 'batch' || batch !== 'entry') continue;
    if (!out.write(`${JSON.stringify({ index, term, checksum })}\n`)) await once(out, 'drain');
  }
  out.end();
  await once(out, 'close');
  const [code] = (await ended) as [number | null];
  if (code !== 0) throw new Error(`segment-dump of ${directory} ended with ${code}`);
}

/** Undefined when it was not dumped. */
export async function readReplicaLog(
  directory: string,
  shard: number,
): Promise<ReplicaEntry[] | undefined> {
  const input = createReadStream(entriesFile(directory, shard));
  const entries: ReplicaEntry[] = [];
  try {
    for await (const line of createInterface({ input })) {
      entries.push(JSON.parse(line) as ReplicaEntry);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return entries;
}
