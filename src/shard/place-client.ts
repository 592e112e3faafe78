/**
 * What a node asks shards about each other, on the main thread: in which shard a name lives, which
 * shards there are, and whether what this client was told of a shard is complete. Holds nothing.
 *
 * Every promise rejects with an `AdminError`: `invalid` for what cannot be done, `unavailable` when
 * nobody leads for as long as `ack_timeout`, or the leader was lost and it is not known whether it
 * was done. Everything here may be asked again then.
 */

import type { QueuePlace } from '../machine/names.ts';
import type { ShardMap } from '../machine/shard-map.ts';
import type { AdminClient } from './admin-client.ts';
import type { Arrived } from './other-shards.ts';
import { namesIn, placeIn, placeOrNoneIn, shardMapIn } from './place-requests.ts';
import { arrivedIn } from './transfer-requests.ts';

export class PlaceClient {
  readonly #ask: AdminClient['ask'];

  constructor(ask: AdminClient['ask']) {
    this.#ask = ask;
  }

  /**
   * Shard 0 alone. The shard in which a queue of this name is to be declared, with this version:
   * that in which it is already, else that of the queue `near` ('': of none), else the one of
   * `among` that has fewest queues.
   */
  async place(name: string, among: readonly number[], near: string): Promise<QueuePlace> {
    return placeIn(await this.#ask({ kind: 'place', name, among, near }));
  }

  /** Shard 0 alone. The queue is gone: so is its place, unless it was placed again meanwhile. */
  async unplace(name: string, version: number): Promise<void> {
    await this.#ask({ kind: 'unplace', name, version });
  }

  /** Shard 0 alone. As of now: a name that was placed before this call is found. */
  async where(name: string): Promise<QueuePlace | undefined> {
    return placeOrNoneIn(await this.#ask({ kind: 'where', name }));
  }

  /**
   * Any shard. When it resolves, `queues` of this client shows everything that was declared in the
   * shard before this call.
   */
  async barrier(): Promise<void> {
    await this.#ask({ kind: 'barrier' });
  }

  /**
   * Any shard. It is to take a message of another one, an encoded `take-transfer`; what became of
   * it, now or when it came the first time.
   */
  async take(command: Uint8Array): Promise<Arrived> {
    return arrivedIn(await this.#ask({ kind: 'take-transfer', command }));
  }

  /** Any shard. Of these the names of no queue there, with its fence at `fence` (0: as it is). */
  async missing(names: readonly string[], fence: number): Promise<readonly string[]> {
    return namesIn(await this.#ask({ kind: 'missing', fence, names, keys: [] }));
  }

  /**
   * The shard of the sessions. Of these names of publish keys those that are over; a leader that
   * does not know the question says that none is.
   */
  async overKeys(keys: readonly string[]): Promise<readonly string[]> {
    return namesIn(await this.#ask({ kind: 'missing', fence: 0, names: [], keys }));
  }

  /** Any shard. The keys of a session's publishes are gone there. */
  async endKeys(session: string): Promise<void> {
    await this.#ask({ kind: 'end-session-keys', session });
  }

  /** Shard 0 alone, as these three. As of now. */
  async shardMap(): Promise<ShardMap> {
    return shardMapIn(await this.#ask({ kind: 'shard-map' }));
  }

  /** The next one has the number of the rows plus 1; another number is refused, unless it is the
   * same row again. */
  async addShard(number: number, founders: readonly string[]): Promise<void> {
    await this.#ask({ kind: 'add-shard', number, founders });
  }

  async hostShard(number: number, node: string): Promise<void> {
    await this.#ask({ kind: 'host-shard', number, node });
  }

  async unhostShard(number: number, node: string): Promise<void> {
    await this.#ask({ kind: 'unhost-shard', number, node });
  }
}
