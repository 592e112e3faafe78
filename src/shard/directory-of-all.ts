/**
 * The queues of all shards as one directory: an id tells in which shard its queue is, a name is in
 * one of them alone. For a moment two may show the same name, when a queue was deleted and declared
 * again elsewhere, and one of them has not told yet; the first of them counts then.
 *
 * Keeps nothing but the joined list of those with patterns, for as long as all lists are the same.
 */

import type { QueueDirectory, QueueInfo } from '../broker/ports.ts';
import type { QueueId } from '../machine/ids.ts';

export interface DirectoryParts {
  /** All of them, in the same order; more may come. */
  readonly all: readonly { readonly queues: QueueDirectory }[];
  readonly of: (queueId: QueueId) => { readonly queues: QueueDirectory };
}

type Patterned = QueueDirectory['patterned'];

export class DirectoryOfAll implements QueueDirectory {
  readonly #parts: DirectoryParts;
  #joined: Patterned[] = [];
  #patterned: Patterned = [];

  constructor(parts: DirectoryParts) {
    this.#parts = parts;
  }

  get count(): number {
    let count = 0;
    for (const { queues } of this.#parts.all) count += queues.count;
    return count;
  }

  get internalCount(): number {
    let count = 0;
    for (const { queues } of this.#parts.all) count += queues.internalCount;
    return count;
  }

  get sessionCount(): number {
    let count = 0;
    for (const { queues } of this.#parts.all) count += queues.sessionCount;
    return count;
  }

  get patterned(): Patterned {
    const { all } = this.#parts;
    const isSame =
      all.length === this.#joined.length &&
      all.every(({ queues }, at) => queues.patterned === this.#joined[at]);
    if (isSame) return this.#patterned;
    this.#joined = all.map(({ queues }) => queues.patterned);
    this.#patterned = firstOfEachName(this.#joined);
    return this.#patterned;
  }

  patternedNamed(name: string): QueueInfo | undefined {
    for (const { queues } of this.#parts.all) {
      const found = queues.patternedNamed(name);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  takeChanged(): readonly string[] | undefined {
    const all = this.#parts.all.map(({ queues }) => queues.takeChanged());
    if (all.includes(undefined)) return undefined;
    return all.flatMap((names) => names ?? []);
  }

  get(queueId: QueueId): QueueInfo | undefined {
    return this.#parts.of(queueId).queues.get(queueId);
  }

  named(name: string): QueueInfo | undefined {
    for (const { queues } of this.#parts.all) {
      const found = queues.named(name);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  *[Symbol.iterator](): Generator<QueueInfo> {
    for (const { queues } of this.#parts.all) yield* queues;
  }
}

function firstOfEachName(lists: readonly Patterned[]): Patterned {
  const filled = lists.filter((list) => list.length > 0);
  if (filled.length < 2) return filled[0] ?? [];
  const names = new Set<string>();
  return filled.flat().filter(({ name }) => {
    const isFirst = !names.has(name);
    names.add(name);
    return isFirst;
  });
}
