/**
 * How one publish becomes several commands for a shard: no command has more targets than the
 * machine takes, and each has one message. With a key they ascend in their queues, and each says
 * which come before it (`KeyPart`), so that a retry stores what is missing and nothing again.
 */

import type { PublishPart } from '../broker/ports.ts';
import { MAX_TARGETS, type PublishKey } from '../machine/command.ts';
import type { QueueId } from '../machine/ids.ts';

/** Of one command. */
export interface PartOfShard {
  readonly queueIds: readonly QueueId[];
  readonly key: PublishKey | undefined;
}

/** A queue, and the part of the publish that it is to have. */
export interface Targeted {
  readonly queueId: QueueId;
  readonly part: PublishPart;
}

/** In as many commands as it takes, in ascending order where that is more than one. */
export function partsOf(targets: QueueId[], key: PublishKey | undefined): readonly PartOfShard[] {
  if (targets.length <= MAX_TARGETS) return [{ queueIds: targets, key }];
  const sorted = [...new Set(targets)].sort((a, b) => a - b);
  const runs: QueueId[][] = [];
  for (let from = 0; from < sorted.length; from += MAX_TARGETS) {
    runs.push(sorted.slice(from, from + MAX_TARGETS));
  }
  return runs.map((queueIds, at) => ({ queueIds, key: key && keyAt(key, runs, at) }));
}

/** The same where the queues do not all get one message; each queue is there once. */
export function keyedPartsOf(
  targets: readonly Targeted[],
  key: PublishKey,
): readonly (PartOfShard & { readonly part: PublishPart })[] {
  const sorted = [...targets].sort((a, b) => a.queueId - b.queueId);
  const runs: QueueId[][] = [];
  const parts: PublishPart[] = [];
  for (const { queueId, part } of sorted) {
    const last = runs.at(-1);
    if (last !== undefined && parts.at(-1) === part && last.length < MAX_TARGETS) {
      last.push(queueId);
      continue;
    }
    runs.push([queueId]);
    parts.push(part);
  }
  return runs.map((queueIds, at) => {
    return { queueIds, part: parts[at] as PublishPart, key: keyAt(key, runs, at) };
  });
}

function keyAt(key: PublishKey, runs: readonly QueueId[][], at: number): PublishKey {
  if (runs.length === 1) return key;
  const isLast = at === runs.length - 1;
  const after = runs[at - 1]?.at(-1) ?? 0;
  const through = isLast ? 0 : (runs[at]?.at(-1) as QueueId);
  return { ...key, part: { after, through } };
}
