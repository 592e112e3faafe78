/**
 * Reads a stored run, lets every checker look at it, and writes what they say beside it:
 * `report.html`, `summary.txt` and `results.json`. The same run judged again says the same.
 */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { checkQueue } from './checkers/check.ts';
import { joined } from './checkers/queues.ts';
import { type Replica, checkReplicas } from './checkers/replicas.ts';
import type { Verdict } from './checkers/verdict.ts';
import { type ShardPlace, readReplicaLog } from './cluster/replica-log.ts';
import { readLeadMoves } from './history/lead-moves.ts';
import { readHistory } from './history/read.ts';
import { page } from './report/page.ts';
import { type Judged, isValid, summary } from './report/summary.ts';
import { RUN_FILE, type RunRecord } from './run.ts';

const NS_PER_S = 1e9;

/** Of every shard against each other. */
async function replicas(directory: string, places: readonly ShardPlace[]): Promise<Verdict> {
  const verdicts: [string, Verdict][] = [];
  for (const { shard, nodes } of places) {
    const all: Replica[] = [];
    for (const node of nodes) {
      const entries = await readReplicaLog(join(directory, 'nodes', node), shard);
      all.push({ node, entries });
    }
    verdicts.push([`shard ${shard}`, checkReplicas(all)]);
  }
  return verdicts.length === 0 ? checkReplicas([]) : joined(verdicts);
}

export async function judge(directory: string): Promise<{ valid: boolean; text: string }> {
  const run = JSON.parse(await readFile(join(directory, RUN_FILE), 'utf8')) as RunRecord;
  const history = await readHistory(directory);
  const nodes = (run.places ?? []).find(({ shard }) => shard === 0)?.nodes ?? [];
  const leadMoves = await readLeadMoves(directory, nodes, run.began);
  const verdicts = checkQueue(history, { nemeses: run.nemeses, rejects: true, leadMoves });
  if (run.nodes > 1) verdicts.push(await replicas(directory, run.places ?? []));
  const judged: Judged = {
    run,
    verdicts,
    operations: history.length,
    seconds: (history.at(-1)?.time ?? 0) / NS_PER_S,
  };
  const text = summary(judged);
  const valid = isValid(judged);
  await writeFile(join(directory, 'summary.txt'), text);
  await writeFile(join(directory, 'report.html'), page(history, judged));
  const results = { valid, ...judged };
  await writeFile(join(directory, 'results.json'), `${JSON.stringify(results, undefined, 2)}\n`);
  return { valid, text };
}
