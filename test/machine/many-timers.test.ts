import { describe, expect, it } from 'vitest';
import type { Command, EnqueueOptions } from '../../src/machine/command.ts';
import { DEFAULT_LIMITS } from '../../src/machine/definitions.ts';
import { EffectKind, Effects } from '../../src/machine/effect.ts';
import type { LogIndex, QueueId, StampMs } from '../../src/machine/ids.ts';
import { Machine } from '../../src/machine/machine.ts';
import type { CapturedRecord, RecordData, RecordKey } from '../../src/machine/record-data.ts';

const RESIDENT = 2_000;
/** As many as a shard lets change before it takes a checkpoint, in small. */
const CHECKPOINT = 4_000;
const BEGIN = 1_700_000_000_000;

/** A shard in small: checkpoints by what has changed, evictions, and what one command touched. */
class Shard {
  readonly machine = new Machine({ maxResidentRecords: RESIDENT });
  readonly #store = new Map<RecordKey, RecordData>();
  readonly effects = new Effects();
  now = BEGIN;
  mostTouched = 0;
  mostLoaded = 0;
  mostResident = 0;
  #index = 1;

  constructor() {
    this.#load(() => this.machine.startKeys());
  }

  run(command: Command): void {
    const { machine, effects, now } = this;
    this.mostLoaded = Math.max(
      this.mostLoaded,
      this.#load(() => machine.keys(command, now as StampMs)),
    );
    const before = machine.dirtyRecords;
    effects.clear();
    machine.apply(this.#index as LogIndex, now as StampMs, command, effects);
    this.#index += 1;
    this.mostTouched = Math.max(this.mostTouched, machine.dirtyRecords - before);
    if (machine.dirtyRecords > CHECKPOINT) this.checkpoint();
  }

  checkpoint(): void {
    const { machine } = this;
    machine.freeze();
    const cut: CapturedRecord[] = [];
    while (!machine.capture(1_000, cut));
    for (const { key, data } of cut) {
      if (data === undefined) this.#store.delete(key);
      else this.#store.set(key, data);
    }
    machine.thaw();
    this.mostResident = Math.max(this.mostResident, machine.residentRecords);
    machine.evict(1_000_000);
  }

  get keys(): string[] {
    this.checkpoint();
    return [...this.#store.keys()];
  }

  #load(ask: () => readonly RecordKey[]): number {
    let loaded = 0;
    for (let keys = ask(); keys.length > 0; keys = ask()) {
      loaded += keys.length;
      for (const key of keys) this.machine.load(key, structuredClone(this.#store.get(key)));
    }
    return loaded;
  }
}

function filled(count: number, options: (i: number) => Partial<EnqueueOptions>) {
  const shard = new Shard();
  const name = 'q';
  shard.run({ kind: 'open-stream', node: 'n' });
  shard.run({
    kind: 'declare-queue',
    name,
    type: 'classic',
    topics: ['t'],
    limits: DEFAULT_LIMITS,
  });
  const none = { ttlMs: 0, priority: 0, delayMs: 0, producer: undefined, key: undefined };
  for (let i = 0; i < count; i += 1) {
    const place = { node: 'n', boot: 1, number: i + 1, answeredUpTo: i };
    const message = { targets: [1 as QueueId], bytes: 100, topic: 't' };
    shard.run({ kind: 'enqueue', ...place, ...message, options: { ...none, ...options(i) } });
  }
  return shard;
}

/** Spread over a span as by chance. */
function spread(i: number, span: number): number {
  return 1 + ((i * 2_654_435_761) % span);
}

describe('very many timers', () => {
  const count = 8_000;

  it('Q30: delayed messages: bounded memory, and one apply touches a bounded number', () => {
    const shard = filled(count, (i) => ({ delayMs: spread(i, 3 * 24 * 3_600_000) }));
    shard.mostTouched = 0;
    const due = Array.from({ length: count }, (_, i) => BEGIN + spread(i, 3 * 24 * 3_600_000));
    let opened = 0;
    while (shard.machine.nextTimer() < Infinity) {
      shard.now = Math.max(shard.now, shard.machine.nextTimer());
      shard.run({ kind: 'fire-timers', max: 256 });
      for (let at = 0; at < shard.effects.length; at += 1) {
        if (shard.effects.kind(at) !== EffectKind.rare) continue;
        const effect = shard.effects.rare(at);
        if (effect.kind !== 'intent-opened') continue;
        opened += 1;
        const time = due[effect.intent.offset] as number;
        expect(shard.now - time).toBeGreaterThanOrEqual(0);
        expect(shard.now - time).toBeLessThan(100);
        // The leader works them off.
        const { number: intent } = effect.intent;
        shard.run({ kind: 'skip-intent', intent, reason: 'no-target' });
        break;
      }
      const left = shard.machine.openIntents(0, 1_000);
      for (const { number: intent } of left) {
        opened += 1;
        shard.run({ kind: 'skip-intent', intent, reason: 'no-target' });
      }
    }
    expect(opened).toBe(count);
    expect(shard.mostResident).toBeLessThan(RESIDENT + CHECKPOINT);
    // A chunk of timers dealt out: at most one record for each of its 512 rows, weight 32.
    expect(shard.mostTouched).toBeLessThan(530 * 32);
    expect(shard.mostLoaded).toBeLessThan(1_100);
    const left = shard.keys.filter((key) => /^(delays\/|delayed|timers\/|intent)/.test(key));
    expect(left).toEqual([]);
  });

  it('Q30: messages that expire: all in time, whatever else is in the queue', () => {
    const shard = filled(count, (i) => ({ ttlMs: spread(i, 600_000) }));
    let expired = 0;
    while (shard.machine.nextTimer() < Infinity) {
      shard.now = Math.max(shard.now, shard.machine.nextTimer());
      shard.run({ kind: 'fire-timers', max: 1_000 });
      for (let at = 0; at < shard.effects.length; at += 1) {
        if (shard.effects.kind(at) !== EffectKind.rare) continue;
        const effect = shard.effects.rare(at);
        if (effect.kind === 'dropped') expired += effect.count;
      }
    }
    expect(expired).toBe(count);
    expect(shard.machine.depth(1 as QueueId) ?? 0).toBe(0);
    expect(shard.mostResident).toBeLessThan(RESIDENT + CHECKPOINT);
    // But for the bits around the floor.
    const left = shard.keys.filter((key) => /^(timers\/|settled)/.test(key));
    expect(left).toEqual(['settled/1/0/1']);
  });
});
