/**
 * Whether the lead of each shard is where the cluster wants it: some seconds after a start it is
 * moved there, which loses what is on its way, and is no fault that a checker knows of. So a run
 * waits for that, and begins without it where a lead does not come home.
 */

import type { ShardPlace } from './cluster/replica-log.ts';

export interface Waiting {
  /** Of the shard; undefined: nobody says so. */
  readonly leader: (shard: number) => Promise<string | undefined>;
  /** Between two looks. */
  readonly pause: () => Promise<void>;
  /** It has been waited for long enough. */
  readonly isOver: () => boolean;
  readonly stop: AbortSignal;
}

/** False: some are not, and it is over. Rejects when it is stopped. */
export async function untilLedAtHome(
  places: readonly ShardPlace[],
  { leader, pause, isOver, stop }: Waiting,
): Promise<boolean> {
  for (;;) {
    const leaders: (string | undefined)[] = [];
    for (const { shard } of places) leaders.push(await leader(shard));
    // All in one look: the first may have moved while the last came home.
    if (places.every(({ nodes }, nth) => leaders[nth] === nodes[0])) return true;
    if (stop.aborted) throw new Error('stopped before the leads were where they belong');
    if (isOver()) return false;
    await pause();
  }
}
