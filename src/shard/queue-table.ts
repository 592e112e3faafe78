/**
 * The queues as the client knows them: built from what the shard tells of changes, read as a list.
 *
 * A queue that did not change is the same object in every list and keeps its place; new ones come
 * at the end. So whoever reads the list finds out what changed by identity alone, and one change
 * among 100,000 queues costs one new list when somebody asks for it.
 */

import type { QueueInfo } from '../broker/ports.ts';
import type { QueueId } from '../machine/ids.ts';
import type { QueueChanges } from './shard-frames.ts';

export class QueueTable {
  readonly #byId = new Map<QueueId, QueueInfo>();
  #list: readonly QueueInfo[] | undefined = [];
  #version = 0;
  #known = false;

  /** Goes up with each change; 0 until all queues are known. */
  get version(): number {
    return this.#version;
  }

  /** All queues were told at least once. */
  get known(): boolean {
    return this.#known;
  }

  get list(): readonly QueueInfo[] {
    this.#list ??= [...this.#byId.values()];
    return this.#list;
  }

  get(queueId: QueueId): QueueInfo | undefined {
    return this.#byId.get(queueId);
  }

  take({ queues, gone, complete }: QueueChanges): void {
    for (const queue of queues) this.#byId.set(queue.queueId, queue);
    for (const queueId of gone) this.#byId.delete(queueId);
    if (queues.length > 0 || gone.length > 0) this.#list = undefined;
    if (complete) this.#known = true;
    if (this.#known) this.#version++;
  }
}
