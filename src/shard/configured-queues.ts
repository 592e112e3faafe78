/**
 * The queues of the configuration file, where a name may be in any of several shards: at its start
 * each node looks at every queue that its file has, and declares those that are not there, or not
 * with these limits, as an operator would: placed by shard 0, made or changed in the shard where
 * they live. What stands there as it is written costs a question and no entry.
 *
 * Nodes that start at once with the same file do the same, and the second one finds it done; where
 * files differ, the node that starts last decides, and says what it changed. A change of leader
 * changes no queue.
 *
 * The first ones are declared one after the other, so that each goes to the shard that has fewest
 * then; of many the others together, which shard 0 counts a little later as its own. A crash in the
 * middle leaves some of them undeclared, which the next start makes good.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { AdminError } from '../broker/ports.ts';
import { type QueueDefinition, sameDefinition } from '../machine/definitions.ts';
import type { AdminOfAll } from './admin-of-all.ts';
import { DeclarationError, difference } from './declarations.ts';
import { ShardError } from './shard-error.ts';
import type { ShardLogger } from './shard-logger.ts';
import type { ConfiguredGroup } from './shard-options.ts';

/** How many are looked at, and brought to the file, together. */
const TOGETHER_MAX = 64;
/** Before that they are so one by one. */
const ONE_BY_ONE = 32;
/** After a refusal that may be over soon. */
const AGAIN_MS = 200;

export interface ConfiguredQueuesParts {
  /** None that is ephemeral. */
  readonly queues: readonly QueueDefinition[];
  readonly groups: readonly ConfiguredGroup[];
  readonly admin: Pick<AdminOfAll, 'show' | 'declare' | 'makeGroups'>;
  /** Before the first one is made: resolves when there are shards to choose from. */
  readonly spread: () => Promise<void>;
  /** Nobody else declares queues, so that one that cannot be as it is written ends the start. */
  readonly isAlone: boolean;
  readonly isClosed: () => boolean;
  readonly logger: ShardLogger;
  readonly signal: AbortSignal | undefined;
}

interface Seen {
  readonly definition: QueueDefinition;
  readonly groups: readonly { readonly name: string }[];
}

/**
 * Rejects with a ShardError when it is given up or the shards are gone; alone, with a
 * DeclarationError for a queue that cannot be what is asked for. With others that is told in the
 * log, and the queue stays as it is.
 */
export async function declareConfigured(parts: ConfiguredQueuesParts): Promise<void> {
  const { queues, logger } = parts;
  const groups = new Map<string, ConfiguredGroup[]>();
  for (const group of parts.groups) {
    groups.set(group.queue, [...(groups.get(group.queue) ?? []), group]);
  }
  let spreading: Promise<void> | undefined;
  const once = { ...parts, spread: () => (spreading ??= parts.spread()) };
  let created = 0;
  for (let at = 0; at < queues.length; at += TOGETHER_MAX) {
    const some = queues.slice(at, at + TOGETHER_MAX);
    const seen = await Promise.all(some.map(({ name }) => look(name, parts)));
    const brings = some.map((queue, nth) => async (): Promise<void> => {
      const isNew = await bring(queue, { seen: seen[nth], groups: groups.get(queue.name) }, once);
      if (isNew) created += 1;
    });
    while (created < ONE_BY_ONE && brings.length > 0) await brings.shift()?.();
    await Promise.all(brings.map((each) => each()));
  }
  if (created > 0) logger.info({ created }, 'queues created');
}

/** Undefined: there is none. */
function look(name: string, parts: ConfiguredQueuesParts): Promise<Seen | undefined> {
  return untilKnown(parts, async () => {
    try {
      return await parts.admin.show(name);
    } catch (error) {
      if (error instanceof AdminError && error.code === 'no-queue') return undefined;
      throw error;
    }
  });
}

interface Found {
  readonly seen: Seen | undefined;
  readonly groups: readonly ConfiguredGroup[] | undefined;
}

/** One queue as it is written; whether this node made it. */
async function bring(
  queue: QueueDefinition,
  { seen, groups = [] }: Found,
  parts: ConfiguredQueuesParts,
): Promise<boolean> {
  const { admin, logger, isAlone } = parts;
  const { name } = queue;
  try {
    const outcome = await declared(queue, seen, parts);
    if (outcome === 'updated' && seen !== undefined) {
      logger.info(difference(name, seen.definition, queue), 'queue has new limits');
    }
    const missing = groups.filter(
      (group) => !seen?.groups.some((each) => each.name === group.name),
    );
    if (missing.length > 0) await untilKnown(parts, () => admin.makeGroups(name, missing));
    return outcome === 'created';
  } catch (error) {
    if (!(error instanceof AdminError)) throw error;
    if (isAlone) throw new DeclarationError(codeOf(error), error.message);
    logger.error({ queue: name, error: error.message }, 'a queue of the configuration');
    return false;
  }
}

async function declared(
  queue: QueueDefinition,
  seen: Seen | undefined,
  parts: ConfiguredQueuesParts,
): Promise<'created' | 'same' | 'updated'> {
  if (seen === undefined) await parts.spread();
  else if (sameDefinition(seen.definition, queue)) return 'same';
  return untilKnown(parts, () => parts.admin.declare(queue));
}

function codeOf({ code }: AdminError): DeclarationError['code'] {
  return code === 'exists' ? 'exists' : 'invalid';
}

/** A start waits for a leader as long as it takes. */
async function untilKnown<T>(parts: ConfiguredQueuesParts, ask: () => Promise<T>): Promise<T> {
  const { signal, isClosed } = parts;
  for (;;) {
    if (signal?.aborted === true) throw new ShardError('unavailable', 'the start was given up');
    try {
      return await ask();
    } catch (error) {
      const isLeaderless = error instanceof AdminError && error.code === 'unavailable';
      if (!isLeaderless) throw error;
      if (isClosed()) throw new ShardError('unavailable', error.message);
    }
    // Aborted, the next turn says so.
    await pause(AGAIN_MS, undefined, { ...(signal && { signal }) }).catch(() => undefined);
  }
}
