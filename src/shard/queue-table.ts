/**
 * The queues as the client knows them, built from what the shard tells of changes: columns beside
 * their names, and no object for a queue whose topics are those of its own name.
 *
 * A queue with other topics is an object that stays the same in every list until it changes, and
 * keeps its place; new ones come at the end. So whoever reads the list finds out by identity alone
 * what changed, and what a list costs does not grow with the queues that are found by name.
 */

import { randomInt } from 'node:crypto';
import type { QueueDirectory, QueueInfo } from '../broker/ports.ts';
import { defaultTopics } from '../machine/default-definition.ts';
import {
  CAPTURES,
  DEFAULT_GROUPS,
  QUEUE_TYPES,
  RETAINED_QUEUE,
  sameTopics,
} from '../machine/definitions.ts';
import type { QueueId } from '../machine/ids.ts';
import { QueueNames, grown } from '../machine/queue-names.ts';
import type { QueueChanges } from './shard-frames.ts';

/** How a queue's type, default group and capture lie in one byte. */
const GROUP_SHIFT = 2;
const CAPTURE_SHIFT = 4;
const WORD_MASK = 3;

/** Names of changed queues that are remembered for the reader. */
const CHANGED_MAX = 65_536;

export class QueueTable implements QueueDirectory {
  readonly #names = new QueueNames(randomInt(2 ** 32));
  #words = new Uint8Array(this.#names.capacity);
  readonly #patterned = new Map<QueueId, QueueInfo>();
  #list: readonly QueueInfo[] | undefined = [];
  #version = 0;
  #sessions = 0;
  /** Names of those with patterns that changed; undefined: too many, or nobody has asked yet. */
  #changed: Set<string> | undefined;
  #known = false;
  /** Those that were known before, while all are told again. */
  #untold: Set<QueueId> | undefined;
  #tellings = 0;
  #asOf = Number.NEGATIVE_INFINITY;

  /** Goes up with each change; 0 until all queues are known. */
  get version(): number {
    return this.#version;
  }

  /** All queues were told at least once. */
  get known(): boolean {
    return this.#known;
  }

  get count(): number {
    return this.#names.size;
  }

  get internalCount(): number {
    return this.sessionCount + (this.named(RETAINED_QUEUE) === undefined ? 0 : 1);
  }

  get sessionCount(): number {
    return this.#sessions;
  }

  get patterned(): readonly QueueInfo[] {
    this.#list ??= [...this.#patterned.values()];
    return this.#list;
  }

  patternedNamed(name: string): QueueInfo | undefined {
    const slot = this.#names.slotNamed(name);
    return slot === -1 ? undefined : this.#patterned.get(this.#names.id(slot));
  }

  takeChanged(): readonly string[] | undefined {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed === undefined ? undefined : [...changed];
  }

  get(queueId: QueueId): QueueInfo | undefined {
    return this.#infoAt(this.#names.slotOf(queueId));
  }

  named(name: string): QueueInfo | undefined {
    return this.#infoAt(this.#names.slotNamed(name));
  }

  *[Symbol.iterator](): Generator<QueueInfo> {
    for (const slot of this.#names.slots()) {
      const info = this.#infoAt(slot);
      if (info !== undefined) yield info;
    }
  }

  /** How often all queues were told from the beginning. */
  get tellings(): number {
    return this.#tellings;
  }

  /** As `proven`; -Infinity: by nobody who tells the queues now. */
  get asOf(): number {
    return this.#asOf;
  }

  /** Everything is shown that anybody could know at this moment, in monotonic milliseconds. */
  proven(asOfMs: number): void {
    this.#asOf = Math.max(this.#asOf, asOfMs);
  }

  /**
   * All queues are told from the beginning: what is not among them is gone. Whoever tells them may
   * be behind whoever told them before, so that nothing is proven any more.
   */
  restart(): void {
    this.#tellings++;
    this.#asOf = Number.NEGATIVE_INFINITY;
    this.#untold = new Set([...this.#names.slots()].map((slot) => this.#names.id(slot)));
  }

  take({ queues, gone, complete }: QueueChanges): void {
    // First, since a new queue may have the name of one that is gone.
    let isChanged = complete && !this.#known;
    for (const queueId of gone) isChanged = this.#remove(queueId) || isChanged;
    for (const queue of queues) isChanged = this.#set(queue) || isChanged;
    for (const { queueId } of queues) this.#untold?.delete(queueId);
    if (complete) {
      for (const queueId of this.#untold ?? []) isChanged = this.#remove(queueId) || isChanged;
      this.#untold = undefined;
      this.#known = true;
    }
    if (this.#known && isChanged) this.#version++;
  }

  /** False: it is as it was. */
  #set(queue: QueueInfo): boolean {
    const { queueId, name, topics } = queue;
    let slot = this.#names.slotOf(queueId);
    const before = this.#infoAt(slot);
    if (before !== undefined && isSame(before, queue)) return false;
    if (before === undefined || before.name !== name) slot = this.#rename(queueId, name);
    else if (before.type === 'session') this.#sessions--;
    if (queue.type === 'session') this.#sessions++;
    this.#words[slot] =
      QUEUE_TYPES.indexOf(queue.type) |
      (DEFAULT_GROUPS.indexOf(queue.defaultGroup) << GROUP_SHIFT) |
      (CAPTURES.indexOf(queue.capture) << CAPTURE_SHIFT);
    const isPatterned = !sameTopics(topics, defaultTopics(name));
    if (isPatterned) this.#patterned.set(queueId, queue);
    if (isPatterned || this.#patterned.delete(queueId)) this.#patternChanged(name);
    return true;
  }

  /** A slot for it; whoever had the id or the name before has gone. */
  #rename(queueId: QueueId, name: string): number {
    this.#remove(queueId);
    const other = this.#names.slotNamed(name);
    if (other !== -1) this.#remove(this.#names.id(other));
    const slot = this.#names.add(queueId, name);
    const { capacity } = this.#names;
    if (this.#words.length < capacity) this.#words = grown(this.#words, new Uint8Array(capacity));
    return slot;
  }

  #remove(queueId: QueueId): boolean {
    const slot = this.#names.slotOf(queueId);
    if (slot === -1) return false;
    if (wordAt(QUEUE_TYPES, this.#words[slot] as number) === 'session') this.#sessions--;
    const patterned = this.#patterned.get(queueId);
    this.#names.remove(slot);
    if (patterned === undefined) return true;
    this.#patterned.delete(queueId);
    this.#patternChanged(patterned.name);
    return true;
  }

  #patternChanged(name: string): void {
    this.#list = undefined;
    this.#changed?.add(name);
    if (this.#changed !== undefined && this.#changed.size > CHANGED_MAX) this.#changed = undefined;
  }

  #infoAt(slot: number): QueueInfo | undefined {
    if (slot === -1) return undefined;
    const queueId = this.#names.id(slot);
    const patterned = this.#patterned.get(queueId);
    if (patterned !== undefined) return patterned;
    const name = this.#names.name(slot);
    const words = this.#words[slot] as number;
    return {
      queueId,
      name,
      type: wordAt(QUEUE_TYPES, words),
      topics: defaultTopics(name),
      defaultGroup: wordAt(DEFAULT_GROUPS, words >> GROUP_SHIFT),
      capture: wordAt(CAPTURES, words >> CAPTURE_SHIFT),
    };
  }
}

function isSame(a: QueueInfo, b: QueueInfo): boolean {
  return (
    a.name === b.name &&
    a.type === b.type &&
    a.defaultGroup === b.defaultGroup &&
    a.capture === b.capture &&
    sameTopics(a.topics, b.topics)
  );
}

function wordAt<T extends string>(words: readonly T[], code: number): T {
  return words[code & WORD_MASK] as T;
}
