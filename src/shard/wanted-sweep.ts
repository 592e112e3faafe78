/**
 * Counts what is still wanted of each run, by asking the machine about the offsets of its pieces.
 *
 * Only queues in which something was settled, removed or deleted are looked at, and only so many
 * offsets at a time: what is left waits for the next round, and a queue that goes on changing
 * cannot starve the others. Below the lowest wanted offset nothing is wanted; while that moves,
 * everything above counts as wanted, and only where it stands still is every offset asked about.
 * Losing all of this costs space for a while and nothing else; at start every queue with pieces is
 * looked at once.
 */

import type { Offset, QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import type { RecordLoader } from './record-loader.ts';
import type { Piece, RunSet } from './run-set.ts';

export interface SweepOptions {
  readonly machine: Pick<
    Machine,
    'definition' | 'queueKeys' | 'lowestWanted' | 'wantedKeys' | 'isWanted'
  >;
  readonly loader: Pick<RecordLoader, 'until'>;
  readonly runSet: RunSet;
  readonly rest: () => Promise<void>;
}

/** Offsets that are asked about one by one in a round. */
const ROUND_OFFSETS = 262_144;
const PART_OFFSETS = 4096;

/** How far the sweep of a queue is. */
interface Swept {
  /** The lowest wanted offset at the last look. */
  lowest: number;
  /** The first piece to ask about one by one, the earlier ones were. */
  next: number;
}

export class WantedSweep {
  readonly #options: SweepOptions;
  readonly #swept = new Map<QueueId, Swept>();
  /** Queues to look at, in order. */
  #changed = new Set<QueueId>();

  constructor(options: SweepOptions) {
    this.#options = options;
  }

  get isDue(): boolean {
    return this.#changed.size > 0;
  }

  /** Something of this queue may be wanted no more. */
  changed(queueId: QueueId): void {
    if (!this.#options.runSet.isEmpty) this.#changed.add(queueId);
  }

  /** At start. */
  all(): void {
    for (const queueId of this.#options.runSet.queueIds()) this.#changed.add(queueId);
  }

  async round(): Promise<void> {
    const queueIds = [...this.#changed];
    this.#changed = new Set();
    let left = ROUND_OFFSETS;
    for (const [nth, queueId] of queueIds.entries()) {
      const pieces = this.#options.runSet.pieces(queueId);
      if (pieces.length === 0) {
        this.#swept.delete(queueId);
        continue;
      }
      left -= await this.#sweep(queueId, pieces);
      if (left > 0) continue;
      for (const later of queueIds.slice(nth + 1)) this.#changed.add(later);
      return;
    }
  }

  /** How many offsets were asked about. */
  async #sweep(queueId: QueueId, pieces: readonly Piece[]): Promise<number> {
    const { machine, loader, runSet, rest } = this.#options;
    await rest();
    await loader.until(() => machine.queueKeys(queueId));
    const lowest = machine.lowestWanted(queueId) ?? 0;
    const asks = machine.definition(queueId)?.type !== 'stream';
    const swept = this.#sweptAt(queueId, lowest);
    let asked = 0;
    for (const piece of pieces) {
      const from = Math.max(piece.first, lowest) as Offset;
      let wanted = Math.max(0, Math.min(piece.wanted, piece.last - from + 1));
      if (asks && swept.isStill && wanted > 0 && piece.first >= swept.next) {
        if (asked >= ROUND_OFFSETS) {
          this.#swept.set(queueId, { lowest, next: piece.first });
          this.#changed.add(queueId);
          return asked;
        }
        wanted = Math.min(wanted, await this.#count(queueId, from, piece.last));
        asked += piece.last - from + 1;
      }
      if (wanted < piece.wanted) runSet.setWanted(queueId, piece.first, wanted);
    }
    this.#swept.set(queueId, { lowest, next: 0 });
    return asked;
  }

  #sweptAt(queueId: QueueId, lowest: number): { isStill: boolean; next: number } {
    const before = this.#swept.get(queueId);
    if (before?.lowest === lowest) return { isStill: true, next: before.next };
    // A queue that is gone has no floor that could move on.
    const isGone = this.#options.machine.definition(queueId) === undefined;
    // Where nothing happens any more, the next round has to ask.
    if (!isGone) this.#changed.add(queueId);
    return { isStill: isGone, next: 0 };
  }

  async #count(queueId: QueueId, first: Offset, last: Offset): Promise<number> {
    const { machine, loader, rest } = this.#options;
    let wanted = 0;
    for (let from = first as number; from <= last; from += PART_OFFSETS) {
      const to = Math.min(from + PART_OFFSETS, last + 1);
      await rest();
      await loader.until(() => machine.wantedKeys(queueId, from as Offset, to as Offset));
      for (let offset = from; offset < to; offset++) {
        if (machine.isWanted(queueId, offset as Offset)) wanted++;
      }
    }
    return wanted;
  }
}
