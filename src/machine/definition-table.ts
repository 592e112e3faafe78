/**
 * What is always in memory of each queue that is defined: columns, and no object of its own.
 *
 * Name, type and the number of its limits; topics only where they are not the default ones. Equal
 * limits are one object for all queues that have them, and a dead-letter queue of the default name
 * counts as equal. A `QueueDefinition` is made for whoever asks, and is not kept here.
 *
 * Beside it stand the two numbers that an idle queue still knows of itself (`Known`); they are not
 * in any record.
 */

import { assert } from './assert.ts';
import { defaultTopics } from './default-definition.ts';
import {
  DEAD_LETTER_PREFIX,
  QUEUE_TYPES,
  type QueueDefinition,
  type QueueLimits,
  type QueueType,
  limitsData,
  sameTopics,
} from './definitions.ts';
import type { QueueId } from './ids.ts';
import { QueueNames, grown } from './queue-names.ts';

/** What a queue knows of itself while its records are not in memory; -1: not known. */
export interface Known {
  readonly wanted: number;
  readonly nextOffset: number;
}

/** Limits that some queues have. */
interface SharedLimits {
  /** With `OWN_DEAD_LETTER` in place of the default name. */
  readonly limits: QueueLimits;
  readonly data: readonly (number | string)[];
  queues: number;
}

/** No queue can have such a name. */
const OWN_DEAD_LETTER = '\0own';

export class DefinitionTable {
  readonly #names: QueueNames;
  #types: Uint8Array;
  #limitsOf: Uint32Array;
  /** One more than what is known, so that new memory says that nothing is. */
  #wanted: Float64Array;
  #nextOffset: Float64Array;
  /** By slot; those that are not the default. One alone, as most sessions have, has no list. */
  readonly #topics = new Map<number, string | readonly string[]>();
  readonly #shared: (SharedLimits | undefined)[] = [];
  readonly #freeShared: number[] = [];
  /** By what they say. */
  readonly #sharedAt = new Map<string, number>();
  #lastShared = 0;

  /** `seed`: see `QueueNames`. */
  constructor(seed: number) {
    this.#names = new QueueNames(seed);
    const { capacity } = this.#names;
    this.#types = new Uint8Array(capacity);
    this.#limitsOf = new Uint32Array(capacity);
    this.#wanted = new Float64Array(capacity);
    this.#nextOffset = new Float64Array(capacity);
  }

  get size(): number {
    return this.#names.size;
  }

  /** How many different limits there are. */
  get differentLimits(): number {
    return this.#sharedAt.size;
  }

  has(queueId: QueueId): boolean {
    return this.#names.slotOf(queueId) !== -1;
  }

  get(queueId: QueueId): QueueDefinition | undefined {
    const slot = this.#names.slotOf(queueId);
    if (slot === -1) return undefined;
    const name = this.#names.name(slot);
    return {
      name,
      type: QUEUE_TYPES[this.#types[slot] as number] as QueueType,
      topics: this.#topicsOf(slot) ?? defaultTopics(name),
      limits: ownLimits(this.#sharedOf(slot).limits, name),
    };
  }

  idOf(name: string): QueueId | undefined {
    const slot = this.#names.slotNamed(name);
    return slot === -1 ? undefined : this.#names.id(slot);
  }

  /** Of one that is there, or ''. */
  deadLetterOf(queueName: string): string {
    const slot = this.#names.slotNamed(queueName);
    return slot === -1 ? '' : ownLimits(this.#sharedOf(slot).limits, queueName).deadLetter;
  }

  ids(): QueueId[] {
    return this.#names.sortedIds();
  }

  /** In no order. */
  names(): string[] {
    return Array.from(this.#names.slots(), (slot) => this.#names.name(slot));
  }

  known(queueId: QueueId): Known {
    const slot = this.#names.slotOf(queueId);
    return {
      wanted: (this.#wanted[slot] as number) - 1,
      nextOffset: (this.#nextOffset[slot] as number) - 1,
    };
  }

  setKnown(queueId: QueueId, { wanted, nextOffset }: Known): void {
    const slot = this.#names.slotOf(queueId);
    this.#wanted[slot] = wanted + 1;
    this.#nextOffset[slot] = nextOffset + 1;
  }

  /** A new one, or another definition of one that is there; the name never changes. */
  set(queueId: QueueId, { name, type, topics, limits }: QueueDefinition): void {
    let slot = this.#names.slotOf(queueId);
    const shared = this.#share(limits, name);
    if (slot === -1) {
      slot = this.#names.add(queueId, name);
      this.#grow();
    } else {
      assert(this.#names.slotNamed(name) === slot, 'definitions: another name');
      this.#leave(slot);
    }
    this.#types[slot] = QUEUE_TYPES.indexOf(type);
    this.#limitsOf[slot] = shared;
    if (sameTopics(topics, defaultTopics(name))) this.#topics.delete(slot);
    else this.#topics.set(slot, topics.length === 1 ? (topics[0] as string) : topics);
  }

  remove(queueId: QueueId): void {
    const slot = this.#names.slotOf(queueId);
    this.#leave(slot);
    this.#topics.delete(slot);
    this.#wanted[slot] = 0;
    this.#nextOffset[slot] = 0;
    this.#names.remove(slot);
  }

  #topicsOf(slot: number): readonly string[] | undefined {
    const topics = this.#topics.get(slot);
    return typeof topics === 'string' ? [topics] : topics;
  }

  #grow(): void {
    const { capacity } = this.#names;
    if (this.#types.length === capacity) return;
    this.#types = grown(this.#types, new Uint8Array(capacity));
    this.#limitsOf = grown(this.#limitsOf, new Uint32Array(capacity));
    this.#wanted = grown(this.#wanted, new Float64Array(capacity));
    this.#nextOffset = grown(this.#nextOffset, new Float64Array(capacity));
  }

  #sharedOf(slot: number): SharedLimits {
    return this.#shared[this.#limitsOf[slot] as number] as SharedLimits;
  }

  /** The number of these limits, with one queue more. */
  #share(limits: QueueLimits, name: string): number {
    const isOwn = limits.deadLetter === DEAD_LETTER_PREFIX + name;
    const shared = isOwn ? { ...limits, deadLetter: OWN_DEAD_LETTER } : limits;
    const data = limitsData(shared);
    const last = this.#shared[this.#lastShared];
    let at: number | undefined = this.#lastShared;
    // Most queues have the limits of the one before, and for them no text is made.
    if (last === undefined || !last.data.every((value, field) => value === data[field])) {
      const key = data.join();
      at = this.#sharedAt.get(key);
      if (at === undefined) {
        at = this.#freeShared.pop() ?? this.#shared.length;
        this.#shared[at] = { limits: shared, data, queues: 0 };
        this.#sharedAt.set(key, at);
      }
    }
    this.#lastShared = at;
    (this.#shared[at] as SharedLimits).queues += 1;
    return at;
  }

  #leave(slot: number): void {
    const at = this.#limitsOf[slot] as number;
    const shared = this.#shared[at] as SharedLimits;
    shared.queues -= 1;
    if (shared.queues > 0) return;
    this.#shared[at] = undefined;
    this.#freeShared.push(at);
    this.#sharedAt.delete(shared.data.join());
  }
}

function ownLimits(limits: QueueLimits, name: string): QueueLimits {
  if (limits.deadLetter !== OWN_DEAD_LETTER) return limits;
  return { ...limits, deadLetter: DEAD_LETTER_PREFIX + name };
}
