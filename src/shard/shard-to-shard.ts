/**
 * The other shards as one of them sees them, through their clients: where a name is, and messages
 * that they are to take.
 *
 * Shard 0 knows in which shard a name lives, that shard knows its queue; what its client has been
 * told is looked at first, and costs no question. It may be late: a queue that is gone is told so
 * by its shard, and the name is asked for anew. Every answer may be `not-now`, which means nothing
 * and is asked again; no promise rejects for what the other side does. Holds hints alone, a bounded
 * number.
 */

import { AdminError } from '../broker/ports.ts';
import type { QueueDirectory } from '../broker/ports.ts';
import type { PlacedDefinition, QueueDefinition } from '../machine/definitions.ts';
import { type QueueId, SHARDS_MAX, shardOf } from '../machine/ids.ts';
import type { Arrived, FoundQueue, NotNow, OtherShards } from './other-shards.ts';
import type { PlaceClient } from './place-client.ts';
import type { QueuePlace } from '../machine/names.ts';
import { ShardError } from './shard-error.ts';
import { CodecError } from './wire.ts';

/** A client of one shard, as far as other shards need it. */
export interface ShardAsOther {
  readonly queues: QueueDirectory;
  readonly places: Omit<PlaceClient, 'addShard' | 'hostShard' | 'unhostShard' | 'shardMap'>;
  readonly admin: { declare(definition: PlacedDefinition): Promise<unknown> };
}

export interface ShardToShardOptions {
  /** The shard for which it asks. */
  readonly own: number;
  /** Of any shard, the own one too; undefined: it is not there, or not yet. */
  readonly client: (shard: number) => ShardAsOther | undefined;
}

/** Names whose shard is remembered. */
const HINTS_MAX = 4_096;

export class ShardToShard implements OtherShards {
  readonly #options: ShardToShardOptions;
  /** In which shard a name was the last time. */
  readonly #hints = new Map<string, number>();
  /** Questions under way, so that each is asked once. */
  readonly #asked = new Map<string, Promise<FoundQueue>>();

  constructor(options: ShardToShardOptions) {
    this.#options = options;
  }

  find(name: string): Promise<FoundQueue> {
    return this.#once(`find ${name}`, name, async (zero) => {
      const place = await zero.places.where(name);
      return place === undefined ? { kind: 'none' } : this.#at(name, place, undefined);
    });
  }

  findOrDeclare(queue: QueueDefinition, near: string): Promise<FoundQueue> {
    const { name } = queue;
    return this.#once(`declare ${name}`, name, async (zero) => {
      return this.#at(name, await zero.places.place(name, [this.#options.own], near), queue);
    });
  }

  async nameOf(queueId: QueueId): Promise<string | undefined | NotNow> {
    const shard = shardOf(queueId);
    const client = this.#options.client(shard);
    if (client === undefined) return notThere(shard);
    const known = client.queues.get(queueId)?.name;
    if (known !== undefined) return known;
    const barrier = await orNotNow(client.places.barrier());
    return barrier === undefined ? client.queues.get(queueId)?.name : barrier;
  }

  async take(shard: number, command: Uint8Array): Promise<Arrived | NotNow> {
    const client = this.#options.client(shard);
    return client === undefined ? notThere(shard) : orNotNow(client.places.take(command));
  }

  async missing(
    shard: number,
    names: readonly string[],
    fence: number,
  ): Promise<readonly string[] | NotNow> {
    const client = this.#options.client(shard);
    return client === undefined ? notThere(shard) : orNotNow(client.places.missing(names, fence));
  }

  async placeOf(name: string): Promise<QueuePlace | undefined | NotNow> {
    const zero = this.#options.client(0);
    return zero === undefined ? notThere(0) : orNotNow(zero.places.where(name));
  }

  async unplace(name: string, version: number): Promise<undefined | NotNow> {
    const zero = this.#options.client(0);
    if (zero === undefined) return notThere(0);
    return orNotNow(zero.places.unplace(name, version).then(() => undefined));
  }

  async endKeys(session: string): Promise<undefined | NotNow> {
    const ended: Promise<undefined | NotNow>[] = [];
    for (let shard = 0; shard < SHARDS_MAX; shard++) {
      const client = shard === this.#options.own ? undefined : this.#options.client(shard);
      if (client === undefined) continue;
      ended.push(orNotNow(client.places.endKeys(session).then(() => undefined)));
    }
    return (await Promise.all(ended)).find((each) => each !== undefined);
  }

  async overKeys(shard: number, names: readonly string[]): Promise<readonly string[] | NotNow> {
    const client = this.#options.client(shard);
    return client === undefined ? notThere(shard) : orNotNow(client.places.overKeys(names));
  }

  #once(
    key: string,
    name: string,
    ask: (zero: ShardAsOther) => Promise<FoundQueue>,
  ): Promise<FoundQueue> {
    const known = this.#known(name);
    if (known !== undefined) return Promise.resolve({ kind: 'there', queueId: known });
    const zero = this.#options.client(0);
    if (zero === undefined) return Promise.resolve(notThere(0));
    let asked = this.#asked.get(key);
    if (asked === undefined) {
      asked = orNotNow(ask(zero)).finally(() => this.#asked.delete(key));
      this.#asked.set(key, asked);
    }
    return asked;
  }

  /** What the client of the shard in which it was has been told. */
  #known(name: string): QueueId | undefined {
    const shard = this.#hints.get(name);
    const known = shard === undefined ? undefined : this.#options.client(shard)?.queues.named(name);
    return known?.queueId;
  }

  async #at(
    name: string,
    { shard, version }: QueuePlace,
    missing: QueueDefinition | undefined,
  ): Promise<FoundQueue> {
    const placed = shard === 0 ? undefined : version;
    if (shard === this.#options.own) return { kind: 'here', placed };
    const client = this.#options.client(shard);
    if (client === undefined) return notThere(shard);
    if (this.#hints.size >= HINTS_MAX) this.#hints.clear();
    this.#hints.set(name, shard);
    await client.places.barrier();
    if (client.queues.named(name) === undefined && missing !== undefined) {
      // Its answer comes behind the queue itself.
      await client.admin.declare({ ...missing, placed });
    }
    const found = client.queues.named(name);
    return found === undefined ? { kind: 'none' } : { kind: 'there', queueId: found.queueId };
  }
}

function notThere(shard: number): NotNow {
  return { kind: 'not-now', detail: `shard ${shard} is not reached from here yet` };
}

/** What the other side says, or says wrong, is no failure of this one. */
async function orNotNow<T>(asked: Promise<T>): Promise<T | NotNow> {
  try {
    return await asked;
  } catch (error) {
    for (const kind of [AdminError, ShardError, CodecError]) {
      if (error instanceof kind) return { kind: 'not-now', detail: error.message };
    }
    throw error;
  }
}
