import { fc } from '../support/properties.ts';
import { describe, expect, it } from 'vitest';
import type { LogIndex, Offset, QueueId } from '../../src/machine/ids.ts';
import { LocationIndex } from '../../src/shard/location-index.ts';
import type { Location } from '../../src/shard/location-index.ts';
import type { PlainData } from '../../src/shard/record-codec.ts';

/** A log in small: each command names its targets, and whether it was stored. */
interface Command {
  readonly targets: readonly number[];
  readonly stored: boolean;
}

type Step =
  | { kind: 'entry'; sections: Command[][] }
  | { kind: 'settle'; queue: number; share: number }
  | { kind: 'checkpoint' }
  | { kind: 'restart' };

const QUEUES = 3;
const LEAF: Location = { index: 0 as LogIndex, position: 0, first: 0 as Offset };

class World {
  readonly log: { section: number; command: Command; offsets: Map<number, number> }[][] = [];
  readonly next = new Array<number>(QUEUES).fill(0);
  readonly floor = new Array<number>(QUEUES).fill(0);
  readonly store = new Map<string, PlainData>();
  index = new LocationIndex(600);
  saved = { entries: 0, next: [0, 0, 0], floor: [0, 0, 0] };

  entry(sections: Command[][], replayed?: (typeof this.log)[number]): void {
    const index = (
      replayed === undefined ? this.log.length + 1 : this.log.indexOf(replayed) + 1
    ) as LogIndex;
    this.index.beginEntry(index);
    const commands: (typeof this.log)[number] = [];
    for (const [section, list] of sections.entries()) {
      this.index.breakRuns();
      for (const command of list) {
        const offsets = new Map<number, number>();
        const position = commands.length;
        commands.push({ section, command, offsets });
        if (!command.stored) {
          this.index.breakRuns();
          continue;
        }
        for (const queue of command.targets) {
          const offset = this.next[queue] ?? 0;
          this.next[queue] = offset + 1;
          offsets.set(queue, offset);
          this.index.beginCommand(position, 10);
          this.index.append(queue as QueueId, offset as Offset);
        }
      }
    }
    if (replayed === undefined) this.log.push(commands);
  }

  settle(queue: number, share: number): void {
    const next = this.next[queue] ?? 0;
    const floor = this.floor[queue] ?? 0;
    this.floor[queue] = floor + Math.floor((next - floor) * share);
  }

  loadPartial(): void {
    for (
      let round = this.index.partialChunks();
      round.length > 0;
      round = this.index.partialChunks()
    ) {
      for (const { queueId, offset } of round) this.load(queueId, offset);
    }
  }

  load(queueId: QueueId, offset: Offset): void {
    this.index.load(queueId, offset, this.store.get(this.index.keyOf(queueId, offset)));
  }

  checkpoint(): void {
    for (let queue = 0; queue < QUEUES; queue++) {
      const floor = (this.floor[queue] ?? 0) as Offset;
      const next = (this.next[queue] ?? 0) as Offset;
      if (!this.index.settledBelow(queue as QueueId, floor, next)) {
        this.load(queue as QueueId, floor);
        this.index.settledBelow(queue as QueueId, floor, next);
      }
    }
    this.loadPartial();
    const frozen = this.index.freeze();
    this.saved = { entries: this.log.length, next: [...this.next], floor: [...this.floor] };
    for (const chunk of frozen.chunks) this.store.set(chunk.key, this.index.encodeFrozen(chunk));
    for (const summary of frozen.summaries) this.store.set(summary.key, summary.data);
    for (const key of frozen.deletions) this.store.delete(key);
    this.index.saved();
  }

  restart(): void {
    this.index = new LocationIndex(600);
    for (const [key, summary] of this.store) {
      if (key.startsWith(LocationIndex.summaryPrefix)) this.index.restore(summary);
    }
    for (let queue = 0; queue < QUEUES; queue++) this.next[queue] = this.saved.next[queue] ?? 0;
    for (const entry of this.log.slice(this.saved.entries)) {
      const sections: Command[][] = [];
      for (const { section, command } of entry) (sections[section] ??= []).push(command);
      this.entry(
        Array.from(sections, (section) => section ?? []),
        entry,
      );
    }
  }

  check(): void {
    let lowest = Number.POSITIVE_INFINITY;
    for (let queue = 0; queue < QUEUES; queue++) {
      for (let offset = this.floor[queue] ?? 0; offset < (this.next[queue] ?? 0); offset++) {
        lowest = Math.min(lowest, this.checkOffset(queue, offset));
      }
    }
    expect(this.index.lowestWanted() ?? Number.POSITIVE_INFINITY).toBeLessThanOrEqual(lowest);
  }

  checkOffset(queue: number, offset: number): number {
    if (!this.index.find(queue as QueueId, offset as Offset, LEAF)) {
      this.load(queue as QueueId, offset as Offset);
      expect(this.index.find(queue as QueueId, offset as Offset, LEAF)).toBe(true);
    }
    const entry = this.log[LEAF.index - 1] ?? [];
    let at = LEAF.position;
    const section = entry[at]?.section;
    for (let left = offset - LEAF.first; ; at++) {
      expect(entry[at]?.section).toBe(section);
      if (entry[at]?.command.targets.includes(queue) === true && left-- === 0) break;
    }
    expect(entry[at]?.offsets.get(queue)).toBe(offset);
    return LEAF.index;
  }
}

const command = fc.record({
  targets: fc.uniqueArray(fc.nat(QUEUES - 1), { minLength: 1, maxLength: 2 }),
  stored: fc.integer({ min: 0, max: 5 }).map((value) => value > 0),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('entry' as const),
      sections: fc.array(fc.array(command, { maxLength: 80 }), { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('settle' as const),
      queue: fc.nat(QUEUES - 1),
      share: fc.constantFrom(0.1, 0.5, 1),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('checkpoint' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
);

describe('location index', () => {
  it('finds each wanted message, over evictions, checkpoints and restarts', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const world = new World();
        for (const now of steps) {
          if (now.kind === 'entry') world.entry(now.sections);
          else if (now.kind === 'settle') world.settle(now.queue, now.share);
          else if (now.kind === 'checkpoint') world.checkpoint();
          else world.restart();
          world.check();
        }
      }),
      { numRuns: 300 },
    );
  });

  it('a run of one queue in one entry costs the same however many messages it has', () => {
    const index = new LocationIndex(1_000);
    index.breakRuns();
    index.beginEntry(7 as LogIndex);
    index.beginCommand(64, 10);
    index.append(1 as QueueId, 0 as Offset);
    const bytes = index.changedBytes;
    for (let offset = 1; offset < 256; offset++) {
      index.beginCommand(64 + offset, 10);
      index.append(1 as QueueId, offset as Offset);
    }
    expect(index.changedBytes).toBe(bytes);
  });

  it('what was settled before it was ever saved costs the store nothing', () => {
    const index = new LocationIndex(1_000);
    for (let offset = 0; offset < 2_000; offset++) {
      index.beginEntry((offset + 1) as LogIndex);
      index.beginCommand(0, 10);
      index.append(1 as QueueId, offset as Offset);
    }
    index.settledBelow(1 as QueueId, 2_000 as Offset, 2_000 as Offset);
    const frozen = index.freeze();
    expect(frozen.chunks).toHaveLength(0);
    expect(frozen.deletions).toHaveLength(0);
    expect(index.lowestWanted()).toBeUndefined();
  });
});
