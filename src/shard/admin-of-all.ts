/**
 * What operators do to queues, over all shards: each wish goes to the shard that has the queue of
 * that name, and a name is in one of them alone.
 *
 * Shard 0 says where a name lives. A declaration is placed there first, and then made in that
 * shard with the version of its place; one that comes late, because the name was deleted and
 * placed elsewhere meanwhile, is refused there, and placed again. A deletion is made in the shard,
 * and then the place goes, if it is still the same one. After a crash between both, a place without
 * a queue is left: the next declaration of the name goes there.
 *
 * Nobody hears that there is no such queue before shard 0 was asked.
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
  QueueInfo,
  QueueSummary,
} from '../broker/ports.ts';
import {
  type PlacedDefinition,
  RETAINED_QUEUE,
  definitionProblem,
} from '../machine/definitions.ts';
import type { NewGroup } from './admin-requests.ts';
import { HOPS_MAX } from './departure.ts';
import type { PlaceClient } from './place-client.ts';
import { ShardError } from './shard-error.ts';

/** A name that is deleted and declared at once by many may be placed anew so often. */
const PLACE_TRIES_MAX = 8;

type Declared = 'created' | 'same' | 'updated';

/** One shard, as far as operators need it. */
export interface AdministeredShard {
  readonly queues: QueueDirectory;
  readonly admin: Omit<QueueAdmin, 'declare' | 'delete'> & {
    declare(definition: PlacedDefinition): Promise<Declared>;
    delete(name: string, placed?: number): Promise<void>;
    makeGroups(name: string, groups: readonly NewGroup[]): Promise<void>;
  };
}

export interface AdminParts {
  readonly zero: AdministeredShard & {
    readonly places: Pick<PlaceClient, 'place' | 'unplace' | 'where'>;
  };
  readonly inMemory: AdministeredShard;
  /** Those behind shard 0 by number, as far as this node speaks to them; more may come. */
  readonly others: ReadonlyMap<number, AdministeredShard>;
  /** `ReachedShards.missing` */
  readonly missing: () => Promise<readonly number[]>;
  /** Undefined: what the directories say is the newest state. */
  readonly lookUp: ((name: string) => Promise<boolean>) | undefined;
}

export class AdminOfAll implements QueueAdmin {
  readonly #parts: AdminParts;

  constructor(parts: AdminParts) {
    this.#parts = parts;
  }

  async list(after: string, max: number): Promise<readonly QueueSummary[]> {
    const [missing] = await this.#parts.missing();
    if (missing !== undefined) {
      const words = `which queues shard ${missing} has is not known: no leader of it is reached`;
      throw new AdminError('unavailable', words);
    }
    const lists = this.#all().map((shard) => shard.admin.list(after, max));
    const all = (await Promise.all(lists)).flat();
    all.sort((a, b) => (a.definition.name < b.definition.name ? -1 : 1));
    return all.slice(0, max);
  }

  show(name: string): Promise<QueueDetail> {
    return this.#at(name, ({ admin }) => admin.show(name));
  }

  async declare(definition: QueueDefinition): Promise<Declared> {
    const { name, type } = definition;
    checkChange(name);
    const { inMemory } = this.#parts;
    if (type === 'session') {
      throw new AdminError('invalid', `queue ${name}: a session is made by its client alone`);
    }
    const isEphemeral = type === 'ephemeral';
    if (isEphemeral) await this.#lookUp(name);
    const there = isEphemeral ? this.#logged(name) : inMemory.queues.named(name);
    if (there !== undefined) {
      const words = `queue ${name} exists with type ${there.type}, and is declared as ${type}`;
      throw new AdminError('exists', words);
    }
    return isEphemeral ? inMemory.admin.declare(definition) : this.#declare(definition);
  }

  /** The queue of a durable session, in the shard where it is or is to be. */
  declareSession(definition: QueueDefinition): Promise<Declared> {
    return this.#declare(definition);
  }

  async #declare(definition: QueueDefinition): Promise<Declared> {
    const { zero, others } = this.#parts;
    if (others.size === 0) {
      const declared = await unlessElsewhere(zero.admin.declare(definition));
      if (declared !== undefined) return declared;
    }
    const { name } = definition;
    // What cannot be declared would leave a place behind.
    const problem = definitionProblem(definition);
    if (problem !== undefined) throw new AdminError('invalid', `queue ${name}: ${problem}`);
    await this.#refuseCycle(definition);
    for (let tries = 0; tries < PLACE_TRIES_MAX; tries++) {
      const { shard, version } = await zero.places.place(name, [0, ...others.keys()], '');
      const { admin } = this.#numbered(shard, name);
      const placed = shard === 0 ? definition : { ...definition, placed: version };
      const declared = await unlessElsewhere(admin.declare(placed));
      if (declared !== undefined) return declared;
    }
    const words = `queue ${name} is declared and deleted by others at once: try again`;
    throw new AdminError('unavailable', words);
  }

  /**
   * Its dead letters would come back to it, by way of other shards: in one, the shard itself sees
   * that. As of what is told here; two who close a cycle at once are not seen, and a message goes
   * round it a few times only.
   */
  async #refuseCycle({ name, limits }: QueueDefinition): Promise<void> {
    let next = limits.deadLetter;
    for (let hops = 0; next !== '' && hops < HOPS_MAX; hops++) {
      if (next === name) {
        const words = `dlq: dead letters of ${name} would come back to it`;
        throw new AdminError('invalid', `queue ${name} cannot be declared: ${words}`);
      }
      const shown = await this.#holder(next)?.admin.show(next).catch(unlessRefused);
      next = shown?.definition.limits.deadLetter ?? '';
    }
  }

  async delete(name: string): Promise<void> {
    checkChange(name);
    const { zero, inMemory, others, lookUp } = this.#parts;
    if (inMemory.queues.named(name) !== undefined) return inMemory.admin.delete(name);
    if (lookUp === undefined && others.size === 0) return zero.admin.delete(name);
    const place = await zero.places.where(name);
    if (place === undefined || place.shard === 0) return zero.admin.delete(name);
    const { shard, version } = place;
    let none: AdminError | undefined;
    await this.#numbered(shard, name)
      .admin.delete(name, version)
      .catch((error: unknown) => {
        if (!isNoQueue(error)) throw error;
        none = error;
      });
    await zero.places.unplace(name, version);
    if (none !== undefined) throw none;
  }

  async purge(name: string, group: string | undefined): Promise<number> {
    checkChange(name);
    return this.#at(name, ({ admin }) => admin.purge(name, group));
  }

  peek(name: string, from: Offset, max: number): Promise<readonly PeekedMessage[]> {
    return this.#at(name, ({ admin }) => admin.peek(name, from, max));
  }

  /** Between shards too; the shard of the source finds the other queue. */
  async move(wish: MoveWish): Promise<number> {
    const { inMemory } = this.#parts;
    checkChange(wish.name);
    checkChange(wish.to);
    return this.#at(wish.name, (source) => {
      const isFromMemory = source === inMemory;
      const isToMemory = inMemory.queues.named(wish.to) !== undefined;
      if (wish.to !== '' && isFromMemory !== isToMemory) {
        const words = 'nothing moves between a queue in memory and one in the log';
        throw new AdminError('invalid', words);
      }
      return source.admin.move(wish);
    });
  }

  async seek(name: string, group: string, position: Position): Promise<Offset> {
    checkChange(name);
    return this.#at(name, ({ admin }) => admin.seek(name, group, position));
  }

  async deleteGroup(name: string, group: string): Promise<void> {
    checkChange(name);
    return this.#at(name, ({ admin }) => admin.deleteGroup(name, group));
  }

  /** Those that are missing. */
  makeGroups(name: string, groups: readonly NewGroup[]): Promise<void> {
    return this.#at(name, ({ admin }) => admin.makeGroups(name, groups));
  }

  /** Asks the shard that shows the queue; where it knows none, once more after a look. */
  async #at<T>(name: string, ask: (shard: AdministeredShard) => Promise<T>): Promise<T> {
    const { zero, lookUp } = this.#parts;
    const holder = this.#holder(name);
    if (lookUp === undefined) return ask(holder ?? zero);
    if (holder !== undefined) {
      try {
        return await ask(holder);
      } catch (error) {
        if (!isNoQueue(error)) throw error;
      }
    }
    await this.#lookUp(name);
    return ask(this.#holder(name) ?? zero);
  }

  async #lookUp(name: string): Promise<void> {
    const isKnown = (await this.#parts.lookUp?.(name)) ?? true;
    if (isKnown) return;
    const words = `whether there is a queue ${name} is not known: no leader is reached`;
    throw new AdminError('unavailable', words);
  }

  #all(): AdministeredShard[] {
    const { zero, inMemory, others } = this.#parts;
    return [zero, inMemory, ...others.values()];
  }

  #holder(name: string): AdministeredShard | undefined {
    return this.#all().find(({ queues }) => queues.named(name) !== undefined);
  }

  #logged(name: string): QueueInfo | undefined {
    const { zero, others } = this.#parts;
    for (const { queues } of [zero, ...others.values()]) {
      const found = queues.named(name);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #numbered(shard: number, name: string): AdministeredShard {
    const { zero, others } = this.#parts;
    const found = shard === 0 ? zero : others.get(shard);
    if (found !== undefined) return found;
    const words = `queue ${name} is in shard ${shard}, which this node does not reach yet`;
    throw new AdminError('unavailable', words);
  }
}

/** What nodes show is what they have read of it, and nothing may go that they do not hear of. */
function checkChange(name: string): void {
  if (name !== RETAINED_QUEUE) return;
  const words = "retained messages are the broker's own: publish an empty one to remove a topic's";
  throw new AdminError('invalid', `${name}: ${words}`);
}

/** Undefined: the name is to be placed anew. */
async function unlessElsewhere(declared: Promise<Declared>): Promise<Declared | undefined> {
  try {
    return await declared;
  } catch (error) {
    if (error instanceof ShardError && error.code === 'elsewhere') return undefined;
    throw error;
  }
}

/** It is gone, or not reached: nothing is held against what cannot be seen. */
function unlessRefused(error: unknown): undefined {
  if (!(error instanceof AdminError)) throw error;
}

function isNoQueue(error: unknown): error is AdminError {
  return error instanceof AdminError && error.code === 'no-queue';
}
