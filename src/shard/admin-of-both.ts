/**
 * What operators do to queues, over the durable shard and the one in memory: each wish goes to
 * where the queue of that name is, and a name is in one of them alone.
 */

import { AdminError } from '../broker/ports.ts';
import type {
  MoveWish,
  Offset,
  PeekedMessage,
  Position,
  QueueAdmin,
  QueueDefinition,
  QueueDetail,
  QueueDirectory,
  QueueSummary,
} from '../broker/ports.ts';

/** One shard, as far as operators need it. */
export interface AdministeredShard {
  readonly queues: QueueDirectory;
  readonly admin: QueueAdmin;
}

export class AdminOfBoth implements QueueAdmin {
  readonly #durable: AdministeredShard;
  readonly #volatile: AdministeredShard;

  constructor(durable: AdministeredShard, inMemory: AdministeredShard) {
    this.#durable = durable;
    this.#volatile = inMemory;
  }

  async list(after: string, max: number): Promise<readonly QueueSummary[]> {
    const lists = [this.#durable.admin.list(after, max), this.#volatile.admin.list(after, max)];
    const both = (await Promise.all(lists)).flat();
    both.sort((a, b) => (a.definition.name < b.definition.name ? -1 : 1));
    return both.slice(0, max);
  }

  show(name: string): Promise<QueueDetail> {
    return this.#of(name).show(name);
  }

  async declare(definition: QueueDefinition): Promise<'created' | 'same' | 'updated'> {
    const { name, type } = definition;
    const isEphemeral = type === 'ephemeral';
    const other = isEphemeral ? this.#durable : this.#volatile;
    const there = other.queues.named(name);
    if (there !== undefined) {
      const words = `queue ${name} exists with type ${there.type}, and is declared as ${type}`;
      throw new AdminError('exists', words);
    }
    return (isEphemeral ? this.#volatile : this.#durable).admin.declare(definition);
  }

  delete(name: string): Promise<void> {
    return this.#of(name).delete(name);
  }

  purge(name: string, group: string | undefined): Promise<number> {
    return this.#of(name).purge(name, group);
  }

  peek(name: string, from: Offset, max: number): Promise<readonly PeekedMessage[]> {
    return this.#of(name).peek(name, from, max);
  }

  async move(wish: MoveWish): Promise<number> {
    const source = this.#of(wish.name);
    if (wish.to !== '' && this.#of(wish.to) !== source) {
      throw new AdminError('invalid', 'nothing moves between a queue in memory and one in the log');
    }
    return source.move(wish);
  }

  seek(name: string, group: string, position: Position): Promise<Offset> {
    return this.#of(name).seek(name, group, position);
  }

  deleteGroup(name: string, group: string): Promise<void> {
    return this.#of(name).deleteGroup(name, group);
  }

  #of(name: string): QueueAdmin {
    return (this.#volatile.queues.named(name) === undefined ? this.#durable : this.#volatile).admin;
  }
}
