/** A directory of queues over a plain list, which a test replaces as it likes. */

import type { QueueDirectory, QueueId, QueueInfo } from '../../src/broker/ports.ts';
import { defaultTopics } from '../../src/machine/default-definition.ts';
import { sameTopics } from '../../src/machine/definitions.ts';

export class QueueList implements QueueDirectory {
  #list: readonly QueueInfo[] = [];
  #patterned: readonly QueueInfo[] = [];

  get list(): readonly QueueInfo[] {
    return this.#list;
  }

  set list(list: readonly QueueInfo[]) {
    this.#list = list;
    this.#patterned = list.filter(({ name, topics }) => !sameTopics(topics, defaultTopics(name)));
  }

  get count(): number {
    return this.list.length;
  }

  get internalCount(): number {
    return this.sessionCount;
  }

  get sessionCount(): number {
    return this.list.filter(({ type }) => type === 'session').length;
  }

  get patterned(): readonly QueueInfo[] {
    return this.#patterned;
  }

  patternedNamed(name: string): QueueInfo | undefined {
    return this.#patterned.find((queue) => queue.name === name);
  }

  takeChanged(): undefined {}

  get(queueId: QueueId): QueueInfo | undefined {
    return this.list.find((queue) => queue.queueId === queueId);
  }

  named(name: string): QueueInfo | undefined {
    return this.list.find((queue) => queue.name === name);
  }

  [Symbol.iterator](): Iterator<QueueInfo> {
    return this.list[Symbol.iterator]();
  }
}
