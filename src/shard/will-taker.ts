/**
 * Takes the wills that are due in one shard, wherever its leader is, has them published, and says
 * so: the end of the way of a will (`will-desk.ts`). Runs as long as the client of the shard is
 * open.
 *
 * A will that could not be published now, or whose end was not committed, is offered again after a
 * minute; its key in the shards of its queues sees to it that no queue has it twice. What is under
 * way is bounded by what one answer holds.
 */

import { ownedMessage } from '../broker/message.ts';
import { AdminError, type DueWill, SessionError } from '../broker/ports.ts';
import type { ShardClient } from './client.ts';
import { willKeyName } from './key-names.ts';
import { StoredMessageView } from './stored-message.ts';
import { type DueWillBytes, dueWillsIn } from './will-requests.ts';
import { CodecError } from './wire.ts';

/** After an answer that was none. */
const AGAIN_MS = 1_000;

/** True: it was published, or nobody may publish it any more. */
export type PublishWill = (will: DueWill) => Promise<boolean>;

export interface WillTakerParts {
  readonly publish: PublishWill;
  /** The keys of a publish session go, in every shard. */
  readonly endKeys: (session: string) => void;
}

export class WillTaker {
  readonly #shard: Pick<ShardClient, 'admin' | 'isClosed'>;
  readonly #parts: WillTakerParts;

  constructor(shard: Pick<ShardClient, 'admin' | 'isClosed'>, parts: WillTakerParts) {
    this.#shard = shard;
    this.#parts = parts;
  }

  async run(): Promise<void> {
    while (!this.#shard.isClosed) {
      const wills = await this.#take();
      if (wills === undefined) await pause();
      else await this.publish(wills);
    }
  }

  /** Of this shard. Resolves when each is published and ended, or left for later; never rejects. */
  async publish(wills: readonly DueWillBytes[]): Promise<void> {
    await Promise.all(wills.map((will) => this.#publish(will)));
  }

  /** Undefined: nobody can say. */
  async #take(): Promise<readonly DueWillBytes[] | undefined> {
    try {
      return dueWillsIn(await this.#shard.admin.ask({ kind: 'take-wills' }));
    } catch (error) {
      return nothing(error);
    }
  }

  async #publish({ queueId, number, message }: DueWillBytes): Promise<void> {
    const view = new StoredMessageView(message, 0, message.length);
    const key = willKeyName(queueId, number);
    const of = { origin: view.origin, message: ownedMessage(view), keySession: key };
    if (!(await this.#parts.publish(of))) return;
    try {
      await this.#shard.admin.ask({ kind: 'end-will', queueId, number });
    } catch (error) {
      nothing(error);
      return;
    }
    this.#parts.endKeys(key);
  }
}

/** What a shard says, or says wrong: it is asked again. */
function nothing(error: unknown): undefined {
  for (const kind of [AdminError, SessionError, CodecError]) {
    if (error instanceof kind) return undefined;
  }
  throw error;
}

function pause(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, AGAIN_MS).unref();
  });
}
