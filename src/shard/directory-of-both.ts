/**
 * The queues of the durable shard and those of the one in memory as one directory. A name is in
 * one of them alone, and an id tells in which. Keeps nothing but the joined list of those with
 * patterns, for as long as both lists are the same.
 */

import type { QueueDirectory, QueueInfo } from '../broker/ports.ts';
import type { QueueId } from '../machine/ids.ts';
import { isInMemory } from './volatile-ids.ts';

export class DirectoryOfBoth implements QueueDirectory {
  readonly #durable: QueueDirectory;
  readonly #volatile: QueueDirectory;
  #joined: readonly [QueueDirectory['patterned'], QueueDirectory['patterned']] = [[], []];
  #patterned: readonly QueueInfo[] = [];

  constructor(durable: QueueDirectory, inMemory: QueueDirectory) {
    this.#durable = durable;
    this.#volatile = inMemory;
  }

  get count(): number {
    return this.#durable.count + this.#volatile.count;
  }

  get patterned(): readonly QueueInfo[] {
    const { patterned: durable } = this.#durable;
    const { patterned: inMemory } = this.#volatile;
    if (this.#joined[0] !== durable || this.#joined[1] !== inMemory) {
      this.#joined = [durable, inMemory];
      this.#patterned = [...durable, ...inMemory];
    }
    return this.#patterned;
  }

  get(queueId: QueueId): QueueInfo | undefined {
    return (isInMemory(queueId) ? this.#volatile : this.#durable).get(queueId);
  }

  named(name: string): QueueInfo | undefined {
    return this.#durable.named(name) ?? this.#volatile.named(name);
  }

  *[Symbol.iterator](): Generator<QueueInfo> {
    yield* this.#durable;
    yield* this.#volatile;
  }
}
