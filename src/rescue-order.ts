/**
 * An operator's order that a replica goes on without all other members (`Raft.rescue`): checked,
 * told loudly, and durable in its log when this resolves.
 *
 * The entry in the log decides. The new name follows from it (`RaftLog.renamedTo`), also after a
 * crash between the two; a crash before it is durable leaves everything as it was.
 */

import type { RescueWish } from './admin/cluster-port.ts';
import type { RescueAnswer } from './cluster-operator.ts';
import type { LogIndex } from './machine/ids.ts';
import type { RaftLog } from './shard/raft-log.ts';
import type { Logger } from './telemetry/logger.ts';

interface Place {
  readonly shard: number;
  /** Its name from then on, which was never used. */
  readonly as: string;
  readonly logger: Logger;
}

type Ordered =
  | { readonly kind: 'durable'; readonly as: string }
  | Exclude<RescueAnswer, { kind: 'accepted' }>;

export async function orderRescue(
  replica: RaftLog,
  { by, giveUp, evenIfShorter }: RescueWish,
  { shard, as, logger }: Place,
): Promise<Ordered> {
  const status = replica.status();
  if (status === undefined) return { kind: 'refused', code: 'no-shard' };
  const { members } = status.configuration.configuration;
  const others = members.flatMap(({ id }) => (id === status.id ? [] : [id]));
  // Who leads is the more telling word where nothing is to be rescued at all.
  const isNamed = isSame(others, giveUp) || status.leader !== undefined;
  if (!isNamed) return { kind: 'refused', code: 'not-named' };
  const rescued = replica.rescue({ as, by, atMs: Date.now(), evenIfShorter });
  if (rescued.kind === 'refused') return rescued;
  const { id: was, accepted: lastIndex, lastTerm, survivors } = status;
  const heard = survivors.map(({ id }) => id);
  const words =
    'RESCUE: by order of an operator the shard goes on with this replica alone; what only the ' +
    'others had is lost, and they are refused when they come back';
  logger.warn({ by, shard, was, as, givenUp: others, lastIndex, lastTerm, heard }, words);
  await replica.synced(rescued.index as LogIndex);
  // A leader of before may have come meanwhile, and have overwritten it.
  if (replica.renamedTo !== as) return { kind: 'refused', code: 'has-leader' };
  return { kind: 'durable', as };
}

/** The same names, in whatever order. */
function isSame(some: readonly string[], others: readonly string[]): boolean {
  return some.toSorted().join('\n') === [...new Set(others)].toSorted().join('\n');
}
