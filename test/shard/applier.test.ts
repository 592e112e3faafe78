import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import type { LogIndex, Offset, QueueId } from '../../src/machine/ids.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { CapturedRecord } from '../../src/machine/record-data.ts';
import { Applier } from '../../src/shard/applier.ts';
import type { AppliedSink } from '../../src/shard/applier.ts';
import { beginEnqueue, finishCommand, writePlainCommand } from '../../src/shard/codec.ts';
import { encodeSectionHeader } from '../../src/shard/entry.ts';
import { LocationIndex } from '../../src/shard/location-index.ts';
import { encodeRecord } from '../../src/shard/record-codec.ts';
import { RecordLoader } from '../../src/shard/record-loader.ts';
import type { ShardEntry } from '../../src/shard/shard-log.ts';
import { StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { WireWriter } from '../../src/shard/wire.ts';
import { turn } from '../support/shard-world.ts';

function entry(index: number, boot: number, write: (writer: WireWriter) => number): ShardEntry {
  const writer = new WireWriter(1_024);
  const commands = write(writer);
  const body = writer.written();
  const header = encodeSectionHeader({
    node: 'n',
    boot,
    firstNumber: boot === 0 ? 0 : 1,
    answeredUpTo: 0,
    stampMs: 1_000 + index,
    commands,
    commandBytes: body.length,
  });
  const bytes = header.length + body.length;
  const payload = [header, body];
  return {
    index: index as LogIndex,
    term: 1,
    bytes,
    payload,
  };
}

function enqueue(writer: WireWriter, ...queueIds: readonly number[]): void {
  const start = beginEnqueue(writer, queueIds as readonly number[] as readonly QueueId[]);
  const payload = new Uint8Array(3);
  const message = { topic: 't', payload, qos: 1, retain: false, properties: undefined } as const;
  new StoredMessageWriter().write(writer, message, { clientId: 'c', protocol: 'mqtt' });
  finishCommand(writer, start);
}

const DECLARE = entry(1, 0, (writer) => {
  for (const name of ['a', 'b']) {
    const topics = [name];
    const limits = DEFAULT_LIMITS;
    writePlainCommand(writer, { kind: 'declare-queue', name, type: 'classic', topics, limits });
  }
  writePlainCommand(writer, { kind: 'open-stream', node: 'n' });
  return 3;
});

/** A store in memory whose answers wait until they are let out. */
class GatedStore {
  readonly records = new Map<string, Uint8Array>();
  asked: string[] = [];
  #waiting: (() => void)[] = [];
  gated = false;

  letOut(): void {
    this.gated = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async getMany(keys: readonly string[]): Promise<(Uint8Array | undefined)[]> {
    this.asked.push(...keys);
    if (this.gated) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return keys.map((key) => this.records.get(key));
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return (await this.getMany([key]))[0];
  }

  iterate(): never {
    throw new Error('nobody looks through all');
  }
}

class World {
  readonly store = new GatedStore();
  readonly seen: string[] = [];
  readonly locations = new LocationIndex(1 << 20);
  machine = new Machine({ maxResidentRecords: 0 });
  applier = this.#open(0);

  #open(index: number): Applier {
    const sink: AppliedSink = {
      begun: ({ index: at }) => void this.seen.push(`begun ${at}`),
      confirmed: (effects, at) => void this.seen.push(`confirmed ${effects.number(at)}`),
      enqueued: (queueId, offset) => void this.seen.push(`enqueued ${queueId} ${offset}`),
      settled: (effects, at) => void this.seen.push(`settled ${effects.offset(at)}`),
      ranged: () => undefined,
      requeued: () => undefined,
      rare: () => undefined,
    };
    const applier: Applier = new Applier({
      machine: this.machine,
      loader: new RecordLoader(this.store, this.machine),
      locations: this.locations,
      sink,
      applied: { index: index as LogIndex, term: 1 },
      monotonicMs: () => 0,
      wake: () => void applier.run(1),
      failed: (error) => void this.seen.push(String(error)),
    });
    return applier;
  }

  async start(): Promise<void> {
    await new RecordLoader(this.store, this.machine).until(() => this.machine.startKeys());
  }

  /** Everything goes to the store, and nothing is resident any more. */
  async restart(): Promise<void> {
    const captured: CapturedRecord[] = [];
    this.machine.freeze();
    while (!this.machine.capture(100, captured)) continue;
    for (const { key, data } of captured) {
      if (data !== undefined) this.store.records.set(key, encodeRecord(data));
    }
    const { index } = this.applier;
    this.machine = new Machine({ maxResidentRecords: 0 });
    this.applier = this.#open(index);
    await this.start();
    this.seen.length = 0;
    this.store.asked = [];
  }
}

describe('apply loop', () => {
  it('pauses for records, hands on what it did, and is cut between entries only', async () => {
    const world = new World();
    await world.start();
    world.applier.push([DECLARE]);
    while (!world.applier.idle) {
      world.applier.run(1);
      await turn();
    }
    const [a, b] = world.machine.queues().map(({ queueId }) => queueId);
    await world.restart();
    world.store.gated = true;
    world.applier.push([
      entry(2, 1, (writer) => {
        enqueue(writer, 4_711);
        enqueue(writer, a ?? 0);
        enqueue(writer, b ?? 0);
        return 3;
      }),
    ]);
    let cutAt: number | undefined;
    world.applier.run(1);
    await turn();
    world.applier.atBoundary(() => {
      cutAt = world.applier.index;
    });
    expect(world.applier.idle).toBe(false);
    expect(cutAt).toBeUndefined();
    expect(world.applier.run(1)).toBe(false);
    while (!world.applier.idle) {
      world.store.letOut();
      await turn();
    }
    expect(cutAt).toBe(2);
    expect(world.seen).toEqual([
      'begun 2',
      'confirmed 1',
      `enqueued ${a} 0`,
      'confirmed 2',
      `enqueued ${b} 0`,
      'confirmed 3',
    ]);
    expect(world.store.asked).toContain(`queue/${a}`);
    expect(world.store.asked).toContain(`queue/${b}`);
  });

  it('lets no run of locations go over a command that stored less than it names', async () => {
    const world = new World();
    await world.start();
    const [a, b, gone] = [1, 2, 4_711];
    world.applier.push([
      DECLARE,
      entry(2, 1, (writer) => {
        for (const targets of [
          [a],
          [b],
          [a],
          [a, gone],
          [a],
          [a],
          [a, a],
          [a],
          [gone],
          [a, b],
          [a],
        ])
          enqueue(writer, ...targets);
        return 11;
      }),
    ]);
    while (!world.applier.idle) {
      world.applier.run(1);
      await turn();
    }
    expect(world.machine.queues().map(({ queueId }) => queueId)).toEqual([a, b]);
    const firsts = Array.from({ length: 9 }, (_none, offset) => {
      const found = { index: 0 as LogIndex, position: 0, first: 0 as Offset };
      expect(world.locations.find(a as QueueId, offset as Offset, found)).toBe(true);
      return found.first;
    });
    // Walks begin anew at each uneven command, behind it, and behind one that stored nothing.
    expect(firsts).toEqual([0, 0, 2, 3, 3, 5, 6, 7, 7]);
  });

  it('refuses an entry that does not follow the last one', async () => {
    const world = new World();
    await world.start();
    world.applier.push([{ ...DECLARE, index: 2 as LogIndex }]);
    expect(() => world.applier.run(1)).toThrow(/entry 2 comes behind entry 0/);
  });
});
