/**
 * Keys of QoS 2 publishes whose session is over, and that nobody took away: the end was told to
 * each shard once, and not every one was reached, or heard of; or whoever was to tell it is dead;
 * or a publish came behind it. The leader of each shard looks through the sessions whose keys it
 * has, a page at a time, asks the shards in which they live, and ends those that are over.
 *
 * Sound without any fence: a session is claimed, which is committed, before the first publish of it
 * comes anywhere. So a shard that is asked about a key which was there before, and that answers as
 * of the question, knows the session or has seen it end; and a life that has ended never comes
 * again. No answer means nothing, and the key stays for a later pass.
 *
 * It looks at what the last checkpoint has; newer ones are found by a later pass. Soft state of the
 * leader: another one begins again.
 */

import { keyNamesByShard } from './key-names.ts';
import type { OtherShards } from './other-shards.ts';
import type { RecordLoader } from './record-loader.ts';
import type { ShardLogger } from './shard-logger.ts';

/** From the end of one pass to the next one; also before the first. */
const REST_MS = 10 * 60_000;
/** Between the pages of a pass. */
const STEP_MS = 1_000;
/** `machine/publish-keys.ts`: a record for each session. */
const PREFIX = 'session/';

export interface KeysSweepOptions {
  readonly loader: Pick<RecordLoader, 'namesBehind'>;
  readonly others: Pick<OtherShards, 'overKeys'>;
  /** Throws when nothing is taken any more. */
  readonly end: (session: string) => void;
  readonly now: () => number;
  /** `look` is to be called: the next step has a time now. */
  readonly wake: () => void;
  readonly logger: ShardLogger;
}

export class KeysSweep {
  readonly #options: KeysSweepOptions;
  #next: number;
  #isUnderWay = false;
  /** The last name of this pass that was looked at. */
  #behind = '';

  constructor(options: KeysSweepOptions) {
    this.#options = options;
    this.#next = options.now() + REST_MS;
  }

  /** When `look` wants to be called although nothing happens. */
  get nextWake(): number {
    return this.#isUnderWay ? Number.POSITIVE_INFINITY : this.#next;
  }

  /** One step at most, and none while one is under way. */
  look(): void {
    const { now, wake } = this.#options;
    if (this.#isUnderWay || now() < this.#next) return;
    this.#isUnderWay = true;
    let restMs = REST_MS;
    this.#step()
      .then((isOver) => {
        if (!isOver) restMs = STEP_MS;
      })
      // The lead is lost, or the shard stops; else it goes on later.
      .catch(() => undefined)
      .finally(() => {
        this.#isUnderWay = false;
        this.#next = now() + restMs;
        wake();
      });
  }

  /** True: the pass is over. */
  async #step(): Promise<boolean> {
    const { loader, others, end, logger } = this.#options;
    const names = await loader.namesBehind(PREFIX, this.#behind);
    this.#behind = names.at(-1) ?? '';
    for (const [shard, here] of keyNamesByShard(names)) {
      const over = await others.overKeys(shard, here);
      if ('kind' in over || over.length === 0) continue;
      for (const session of over) end(session);
      logger.info({ shard, sessions: over.length }, 'keys of sessions that are over were removed');
    }
    return names.length === 0;
  }
}
