/**
 * Whether there is a queue of a name that this node does not know: asked of shard 0, which knows
 * where each name lives, and then of that shard, so that afterwards the directory shows whatever
 * there was when it was asked.
 *
 * ```
 *   find ---> waiting ---(a round begins)---> asked of shard 0 ---> the shard's barrier ---> known
 *               |                                  |                     |
 *               +----------------------------------+---(time is over)----+--------> not known
 * ```
 *
 * Who asks for a name that waits shares its answer; who asks for one that was sent needs a newer
 * answer, and waits for the next round: what was committed after a question proves nothing to it.
 * One round is under way at shard 0, so that many who ask at once cost one batch. Everything is
 * bounded in number and in time; what is above is told that nobody knows.
 */

/** Names that are asked for and not answered; more are told `false` at once. */
export const LOOK_UPS_MAX = 16_384;
/** Names of one round. */
const ROUND_MAX = 1_024;

export interface LookUpsParts {
  /**
   * The shard that the name lives in, undefined: in none. What it knew of its own queues before is
   * in the directory when it resolves.
   */
  readonly where: (name: string) => Promise<number | undefined>;
  /** The directory of that shard is complete up to now. */
  readonly barrier: (shard: number) => Promise<void>;
  readonly timeoutMs: number;
}

interface LookUp {
  readonly name: string;
  readonly found: Promise<boolean>;
  /** Once; later words count for nothing. */
  readonly tell: (isKnown: boolean) => void;
}

export class LookUps {
  readonly #parts: LookUpsParts;
  #waiting = new Map<string, LookUp>();
  #open = 0;
  #isRound = false;

  constructor(parts: LookUpsParts) {
    this.#parts = parts;
  }

  /** Names that are not answered. */
  get size(): number {
    return this.#open;
  }

  /** False: nobody could be asked in time. Never rejects. */
  find(name: string): Promise<boolean> {
    const same = this.#waiting.get(name);
    if (same !== undefined) return same.found;
    if (this.#open >= LOOK_UPS_MAX) return Promise.resolve(false);
    const lookUp = this.#begin(name);
    this.#waiting.set(name, lookUp);
    if (!this.#isRound) {
      this.#isRound = true;
      // All that is asked for in this turn goes together.
      setImmediate(() => void this.#round());
    }
    return lookUp.found;
  }

  #begin(name: string): LookUp {
    this.#open++;
    let tell: (isKnown: boolean) => void = () => undefined;
    const found = new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => tell(false), this.#parts.timeoutMs).unref();
      tell = (isKnown) => {
        clearTimeout(timer);
        resolve(isKnown);
      };
    });
    const lookUp = { name, found, tell: (isKnown: boolean): void => tell(isKnown) };
    void found.then(() => {
      this.#open--;
      if (this.#waiting.get(name) === lookUp) this.#waiting.delete(name);
    });
    return lookUp;
  }

  async #round(): Promise<void> {
    while (this.#waiting.size > 0) {
      const round = [...this.#waiting.values()].slice(0, ROUND_MAX);
      for (const { name } of round) this.#waiting.delete(name);
      const barriers = new Map<number, Promise<void>>();
      await Promise.all(round.map((lookUp) => this.#ask(lookUp, barriers)));
    }
    this.#isRound = false;
  }

  /** Resolves when shard 0 has answered; no shard that nobody leads holds up the next round. */
  async #ask(lookUp: LookUp, barriers: Map<number, Promise<void>>): Promise<void> {
    const { name, found, tell } = lookUp;
    const answered = this.#parts.where(name).then(
      (shard) => {
        if (shard === undefined || shard === 0) {
          tell(true);
          return;
        }
        // Each was asked for after the names of the round: they share it.
        const barrier = barriers.get(shard) ?? this.#parts.barrier(shard);
        barriers.set(shard, barrier);
        barrier.then(
          () => tell(true),
          () => tell(false),
        );
      },
      () => tell(false),
    );
    await Promise.race([answered, found]);
  }
}
