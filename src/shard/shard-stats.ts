/**
 * The numbers of a shard, by name: for the log, the CLI, tests, and later the metrics. Nothing is
 * changed.
 */

import type { Machine } from '../machine/machine.ts';
import type { Alarms } from './alarms.ts';
import type { Applier } from './applier.ts';
import type { Checkpoints } from './checkpoint.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { Payloads } from './payloads.ts';
import type { RecordLoader } from './record-loader.ts';
import type { ShardLog } from './shard-log.ts';

export interface StatsSources {
  readonly log: ShardLog;
  readonly machine: Machine;
  readonly applier: Applier;
  readonly checkpoints: Checkpoints;
  readonly loader: RecordLoader;
  readonly payloads: Payloads;
  readonly alarms: Alarms;
  readonly dispatcher: Dispatcher | undefined;
  readonly uncommittedBytes: number;
  /** Milliseconds of work in turns since the start. */
  readonly applyMs: number;
}

/** Depths of at most so many queues. */
const DEPTHS_MAX = 1_000;

/**
 * `depth/<queue>` and `delivered/<queue>` for queues whose records are in memory; `alarm/...` for
 * each alarm, with the number of messages that it concerns.
 */
export function collectStats(sources: StatsSources): Map<string, number> {
  const { log, machine, applier, checkpoints, loader, payloads, alarms, dispatcher } = sources;
  const { appends, writes, syncs, bytes, segments } = log.stats;
  const checkpoint = checkpoints.stats;
  const stats = new Map<string, number>([
    ['log/start', log.start],
    ['log/last', log.last],
    ['log/committed', log.committed],
    ['log/appends', appends],
    ['log/writes', writes],
    ['log/syncs', syncs],
    ['log/bytes', bytes],
    ['log/segments', segments],
    ['apply/index', applier.index],
    ['apply/term', applier.term],
    ['apply/commands', applier.commands],
    ['apply/busy-ms', Math.round(sources.applyMs)],
    ['proposals/uncommitted-bytes', sources.uncommittedBytes],
    ['checkpoint/count', checkpoint.count],
    ['checkpoint/index', checkpoint.index],
    ['checkpoint/last-ms', Math.round(checkpoint.lastMs)],
    ['checkpoint/last-bytes', checkpoint.lastBytes],
    ['records/resident', machine.residentRecords],
    ['records/loaded', loader.loaded],
    ['payloads/cached-bytes', payloads.cachedBytes],
    ['deliveries/count', dispatcher?.deliveries ?? 0],
    ['deliveries/consumers', dispatcher?.consumers ?? 0],
  ]);
  let left = DEPTHS_MAX;
  for (const { queueId, definition } of machine.queues()) {
    const depth = machine.depth(queueId);
    if (depth === undefined) continue;
    if (left-- === 0) break;
    stats.set(`depth/${definition.name}`, depth);
    stats.set(`delivered/${definition.name}`, dispatcher?.delivered(queueId) ?? 0);
  }
  for (const alarm of alarms.list()) {
    const subject = alarm.queue === undefined ? alarm.kind : `${alarm.kind}/${alarm.queue}`;
    const offsets = (alarm.offsets ?? []).map(([from, through]) => `${from}-${through}`).join(',');
    stats.set(`alarm/${subject}${offsets === '' ? '' : `/${offsets}`}`, alarm.count ?? 1);
  }
  return stats;
}
