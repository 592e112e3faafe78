/**
 * The apply loop: committed entries through the machine, in order, command by command.
 *
 * `apply` never waits; a command whose records are not resident pauses the loop until they are
 * loaded. Work is done in slices, so that a long backlog of entries delays neither the log nor the
 * port. The effects of each section are handed on in the same turn in which they were made, before
 * anything else can run.
 *
 * `AppliedSink` gets them all: confirms, deliveries, locations. During recovery the same loop runs
 * with a sink that confirms nothing. An entry that cannot be decoded passed its checksum and is not
 * ours: a bug or a foreign log, and the shard fails.
 */

import type { Command } from '../machine/command.ts';
import { EffectKind, Effects } from '../machine/effect.ts';
import type { RareEffect } from '../machine/effect.ts';
import type { LogIndex, Offset, QueueId } from '../machine/ids.ts';
import type { Machine } from '../machine/machine.ts';
import { EntryReader } from './entry.ts';
import type { LocationIndex } from './location-index.ts';
import type { RecordLoader } from './record-loader.ts';
import type { ShardEntry } from './shard-log.ts';

/** `effects` and the place in it are valid during the call only. */
export interface AppliedSink {
  /** The entry is about to be applied. */
  begun(entry: ShardEntry): void;
  confirmed(effects: Effects, at: number): void;
  enqueued(queueId: QueueId, offset: Offset, priority: number): void;
  settled(effects: Effects, at: number): void;
  /** All of a stretch of offsets. */
  ranged(effects: Effects, at: number): void;
  requeued(effects: Effects, at: number): void;
  rare(effect: RareEffect): void;
}

export interface ApplierOptions {
  readonly machine: Machine;
  readonly loader: RecordLoader;
  readonly locations: LocationIndex;
  readonly sink: AppliedSink;
  /** The last applied index, and its term. */
  readonly applied: { readonly index: LogIndex; readonly term: number };
  readonly monotonicMs: () => number;
  /** After a pause: call `run` soon. */
  readonly wake: () => void;
  readonly failed: (error: unknown) => void;
}

const FIRST_POSITIONS = 4096;

export class Applier {
  readonly #options: ApplierOptions;
  readonly #effects = new Effects();
  readonly #reader = new EntryReader();
  #entries: ShardEntry[] = [];
  #next = 0;
  #current: ShardEntry | undefined;
  #positions = new Float64Array(FIRST_POSITIONS);
  /** The command that waits for records; valid until the reader goes on. */
  #pending: Command | undefined;
  #ordinal = 0;
  #section = 0;
  #paused = false;
  #index: LogIndex;
  #term: number;
  #commands = 0;
  #boundary: (() => void)[] = [];
  /** Those who wait for an entry to be applied. */
  #waiting: { readonly index: LogIndex; resolve(): void; reject(error: Error): void }[] = [];
  #failure: Error | undefined;
  /** Ordinals of commands that did not put their message into every target, ascending. */
  readonly #uneven: number[] = [];

  constructor(options: ApplierOptions) {
    this.#options = options;
    this.#index = options.applied.index;
    this.#term = options.applied.term;
  }

  /** The last entry that is applied whole. */
  get index(): LogIndex {
    return this.#index;
  }

  get term(): number {
    return this.#term;
  }

  /** Commands applied since the start. */
  get commands(): number {
    return this.#commands;
  }

  get idle(): boolean {
    return this.#current === undefined && this.#next === this.#entries.length;
  }

  push(entries: readonly ShardEntry[]): void {
    for (const entry of entries) this.#entries.push(entry);
  }

  /** `action` is called once between two entries: now, or when the present entry is done. */
  atBoundary(action: () => void): void {
    if (this.#current === undefined) action();
    else this.#boundary.push(action);
  }

  /** Resolves when this entry is applied whole; rejects when it never will be. */
  whenApplied(index: LogIndex): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (index <= this.#index) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ index, resolve, reject });
    });
  }

  /** Nothing is applied any more. */
  fail(error: Error): void {
    this.#failure = error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
  }

  /** Applies until nothing is left, the loop pauses, or `deadline` passes; true: call again. */
  run(deadline: number): boolean {
    if (this.#paused) return false;
    for (;;) {
      if (this.#current === undefined && !this.#begin()) return false;
      const entry = this.#current as ShardEntry;
      if (!this.#runEntry(entry)) return false;
      if (this.#options.monotonicMs() >= deadline) return !this.idle;
    }
  }

  #begin(): boolean {
    const entry = this.#entries[this.#next];
    if (entry === undefined) {
      this.#entries.length = 0;
      this.#next = 0;
      return false;
    }
    this.#next++;
    if (this.#next > 1024 && this.#next * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#next);
      this.#next = 0;
    }
    if (entry.index !== this.#index + 1) {
      throw new Error(`entry ${entry.index} comes behind entry ${this.#index}`);
    }
    this.#current = entry;
    this.#section = 0;
    this.#ordinal = 0;
    this.#reader.reset(entry.payload);
    this.#options.locations.beginEntry(entry.index);
    this.#options.sink.begun(entry);
    return true;
  }

  /** False: paused for records. */
  #runEntry(entry: ShardEntry): boolean {
    const { machine } = this.#options;
    const reader = this.#reader;
    for (;;) {
      const command = this.#pending ?? reader.next();
      if (command === undefined) break;
      if (reader.sections !== this.#section) {
        this.#handOn();
        this.#options.locations.breakRuns();
        this.#section = reader.sections;
      }
      if (machine.keys(command, this.#reader.stampMs).length > 0) {
        this.#pause(command);
        return false;
      }
      this.#pending = undefined;
      this.#apply(entry, command);
    }
    this.#handOn();
    this.#current = undefined;
    this.#index = entry.index;
    this.#term = entry.term;
    const actions = this.#boundary;
    if (actions.length > 0) {
      this.#boundary = [];
      for (const action of actions) action();
    }
    if (this.#waiting.length > 0) this.#tell();
    return true;
  }

  #tell(): void {
    const told = this.#waiting.filter(({ index }) => index <= this.#index);
    this.#waiting = this.#waiting.filter(({ index }) => index > this.#index);
    for (const waiting of told) waiting.resolve();
  }

  #apply(entry: ShardEntry, command: Command): void {
    const ordinal = this.#ordinal++;
    if (ordinal >= this.#positions.length) {
      const larger = new Float64Array(this.#positions.length * 2);
      larger.set(this.#positions);
      this.#positions = larger;
    }
    this.#positions[ordinal] = this.#reader.position;
    this.#effects.ordinal = ordinal;
    this.#commands++;
    const effects = this.#effects;
    const before = effects.length;
    this.#options.machine.apply(entry.index, this.#reader.stampMs, command, effects);
    const { kind } = command;
    if (kind !== 'enqueue' && kind !== 'transfer' && kind !== 'take-transfer') return;
    let stored = 0;
    for (let at = before; at < effects.length; at++) {
      if (effects.kind(at) === EffectKind.enqueued) stored++;
    }
    if (stored !== command.targets.length) this.#uneven.push(ordinal);
  }

  #pause(command: Command): void {
    const { loader, machine, wake, failed } = this.#options;
    this.#handOn();
    this.#pending = command;
    this.#paused = true;
    loader
      .until(() => machine.keys(command, this.#reader.stampMs))
      .then(() => {
        this.#paused = false;
        wake();
      })
      .catch(failed);
  }

  /** Effects become what others see; in the turn in which they were made. */
  #handOn(): void {
    const effects = this.#effects;
    const { sink, locations } = this.#options;
    for (let at = 0; at < effects.length; at++) {
      switch (effects.kind(at)) {
        case EffectKind.enqueued: {
          const queueId = effects.queueId(at);
          const offset = effects.offset(at);
          const ordinal = effects.ordinalOf(at);
          if (this.#uneven.length > 0) this.#breakRuns(ordinal);
          locations.beginCommand(this.#positions[ordinal] as number, effects.bytes(at));
          locations.append(queueId, offset);
          sink.enqueued(queueId, offset, effects.priority(at));
          break;
        }
        case EffectKind.confirmed:
          sink.confirmed(effects, at);
          break;
        case EffectKind.settled:
          sink.settled(effects, at);
          break;
        case EffectKind.ranged:
          sink.ranged(effects, at);
          break;
        case EffectKind.requeued:
          sink.requeued(effects, at);
          break;
        default:
          sink.rare(effects.rare(at));
      }
    }
    if (this.#uneven.length > 0) {
      locations.breakRuns();
      this.#uneven.length = 0;
    }
    effects.clear();
  }

  /**
   * Who walks from the first command of a run counts every command that names the queue: no run may
   * go on over, or up to, one that did not put its message into all that it names.
   */
  #breakRuns(ordinal: number): void {
    const uneven = this.#uneven;
    let passed = 0;
    while (passed < uneven.length && (uneven[passed] as number) < ordinal) passed++;
    if (passed > 0) uneven.splice(0, passed);
    if (passed > 0 || uneven[0] === ordinal) this.#options.locations.breakRuns();
  }
}
