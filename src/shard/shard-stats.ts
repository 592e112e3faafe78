/**
 * The numbers of a shard, by name: for the log, the CLI, tests and the metrics. Nothing is changed.
 *
 * Of each queue `depth`, `delivered` and `leaving`, of each group `lag`, `held` and `members`, with
 * the names behind a NUL each, which no name holds (one may hold a slash); of those whose records
 * are in memory. `alarm/...` for each alarm, with the number of messages that it concerns.
 */

import type { Runs } from '#storage';
import { DELAYED_QUEUE, type QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { Alarms } from './alarms.ts';
import type { Applier } from './applier.ts';
import type { Checkpoints } from './checkpoint.ts';
import type { Housekeeping } from './housekeeping.ts';
import type { MessageCounters } from './message-counters.ts';
import type { Payloads } from './payloads.ts';
import type { RecordLoader } from './record-loader.ts';
import type { RunSet } from './run-set.ts';
import type { Serving } from './serving.ts';
import type { ShardLog } from './shard-log.ts';

export interface StatsSources {
  readonly log: ShardLog;
  readonly machine: Machine;
  readonly applier: Applier;
  readonly checkpoints: Checkpoints;
  /** Undefined: there are no runs. */
  readonly housekeeping: Housekeeping | undefined;
  readonly runSet: RunSet;
  readonly runs: Pick<Runs, 'bytesWritten'> | undefined;
  readonly loader: RecordLoader;
  readonly payloads: Payloads;
  readonly alarms: Alarms;
  readonly messages: MessageCounters;
  /** Undefined: nobody is served yet. */
  readonly serving: Serving | undefined;
  /** The leader's time. */
  readonly nowMs: number;
  /** Milliseconds of work in turns since the start. */
  readonly applyMs: number;
  readonly moreStats: Iterable<readonly [name: string, value: number]>;
}

/** Depths of at most so many queues. */
const STATS_QUEUES_MAX = 1_000;

/** Where there are few enough: also of queues that nobody has touched since the start. */
export async function loadForStats(machine: Machine, loader: RecordLoader): Promise<void> {
  if (machine.queueCount > STATS_QUEUES_MAX) return;
  const queueIds = [DELAYED_QUEUE, ...machine.queueIds()];
  await loader.until(() => queueIds.flatMap((queueId) => machine.queueKeys(queueId)));
}

export function collectStats(sources: StatsSources): Map<string, number> {
  const stats = new Map<string, number>([
    ...partStats(sources),
    ...spaceStats(sources),
    ...messageStats(sources),
    ...sources.moreStats,
  ]);
  let left = STATS_QUEUES_MAX;
  const { machine } = sources;
  for (const queueId of machine.awakeQueueIds()) {
    const { name: queueName, type } = machine.definition(queueId) ?? {};
    // Sessions come and go with clients: no name of them is worth a row.
    if (queueName === undefined || type === 'session') continue;
    if (machine.depth(queueId) === undefined) continue;
    if (left-- === 0) break;
    for (const [name, value] of queueStats(sources, { queueId, name: queueName })) {
      stats.set(name, value);
    }
  }
  for (const alarm of sources.alarms.list()) {
    const subject = alarm.queue === undefined ? alarm.kind : `${alarm.kind}/${alarm.queue}`;
    const offsets = (alarm.offsets ?? []).map(([from, through]) => `${from}-${through}`).join(',');
    stats.set(`alarm/${subject}${offsets === '' ? '' : `/${offsets}`}`, alarm.count ?? 1);
  }
  return stats;
}

function partStats(sources: StatsSources): [string, number][] {
  const { log, machine, applier, checkpoints, loader, payloads, serving } = sources;
  const { appends, writes, syncs, bytes, segments } = log.stats;
  const checkpoint = checkpoints.stats;
  return [
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
    ['proposals/uncommitted-bytes', serving?.proposals.uncommittedBytes ?? 0],
    ['checkpoint/count', checkpoint.count],
    ['checkpoint/index', checkpoint.index],
    ['checkpoint/last-ms', Math.round(checkpoint.lastMs)],
    ['checkpoint/last-bytes', checkpoint.lastBytes],
    ['bytes/records', checkpoint.bytes],
    ['records/resident', machine.residentRecords],
    ['records/loaded', loader.loaded],
    ['payloads/cached-bytes', payloads.cachedBytes],
    ['deliveries/count', serving?.dispatcher.deliveries ?? 0],
    ['deliveries/consumers', serving?.dispatcher.consumers ?? 0],
  ];
}

function spaceStats(sources: StatsSources): [string, number][] {
  const { housekeeping, runSet, runs, payloads } = sources;
  const kept = housekeeping?.stats;
  return [
    ['bytes/runs', runs?.bytesWritten ?? 0],
    ['runs/count', runSet.size],
    ['runs/bytes', runSet.bytes],
    ['runs/wanted', runSet.wantedValues],
    ['runs/bytes-read', payloads.runBytesRead],
    ['runs/dropped', kept?.dropped ?? 0],
    ['runs/rewrites', kept?.rewrites ?? 0],
    ['runs/rewritten-bytes', kept?.rewrittenBytes ?? 0],
    ['spill/count', kept?.spills ?? 0],
    ['spill/messages', kept?.spilledMessages ?? 0],
    ['spill/bytes', kept?.spilledBytes ?? 0],
    ['spill/last-ms', Math.round(kept?.lastSpillMs ?? 0)],
    ['spill/late', kept?.late ?? 0],
    ['spill/disk-full', kept?.full ?? 0],
  ];
}

function messageStats({ messages, machine, serving, nowMs }: StatsSources): [string, number][] {
  const outbox = serving?.outbox.counters;
  const due = machine.nextTimer();
  return [
    ['messages/enqueued', messages.enqueued],
    ['messages/completed', messages.completed],
    ['messages/requeued', messages.requeued],
    ['messages/discarded', messages.discarded],
    ['messages/expired', messages.expired],
    ['messages/dropped', messages.dropped],
    ['messages/dead-lettered', outbox?.deadLettered ?? 0],
    ['messages/delayed', machine.depth(DELAYED_QUEUE) ?? 0],
    ['outbox/open', machine.openIntentCount],
    ['outbox/transferred', outbox?.transferred ?? 0],
    ['outbox/refused', outbox?.refused ?? 0],
    ['outbox/skipped', outbox?.skipped ?? 0],
    ['timers/due-ms', due === Number.POSITIVE_INFINITY ? 0 : Math.max(0, nowMs - due)],
    ['timers/fired', serving?.timers.fired ?? 0],
  ];
}

function queueStats(
  { machine, serving }: StatsSources,
  queue: { readonly queueId: QueueId; readonly name: string },
): [string, number][] {
  const { queueId, name } = queue;
  const stats: [string, number][] = [
    [`depth\0${name}`, machine.depth(queueId) ?? 0],
    [`delivered\0${name}`, serving?.dispatcher.delivered(queueId) ?? 0],
    [`leaving\0${name}`, machine.leaving(queueId)],
  ];
  for (const { groupId, name: group, depth } of machine.groups(queueId) ?? []) {
    const activity = serving?.dispatcher.activity({ queueId, groupId });
    stats.push(
      [`lag\0${name}\0${group}`, depth],
      [`held\0${name}\0${group}`, activity?.delivered ?? 0],
      [`members\0${name}\0${group}`, activity?.consumers ?? 0],
    );
  }
  return stats;
}
