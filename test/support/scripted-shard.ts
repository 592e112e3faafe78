/**
 * The shard's side of a port that does what a test says and nothing by itself, but for the answer
 * to the first hello. It keeps what it was sent, and fails on a batch that the real shard would not
 * take.
 */

import type { EnqueueRefusal, EnqueueWaiter, QueueInfo } from '../../src/broker/ports.ts';
import type { EnqueueOptions, PublishKey } from '../../src/machine/command.ts';
import type { Committed } from '../../src/machine/committed.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { ClientBatch, type ClientFrame } from '../../src/shard/client-frames.ts';
import { EntryReader, encodeSectionHeader } from '../../src/shard/entry.ts';
import type { BatchPort } from '../../src/shard/port.ts';
import { ShardBatchWriter } from '../../src/shard/shard-frames.ts';
import { StoredMessageView } from '../../src/shard/stored-message.ts';
import { commandEnd, storedMessageStart } from '../../src/shard/codec.ts';

export const ORDERS = 5 as QueueId;
export const orders: QueueInfo = {
  queueId: ORDERS,
  name: 'orders',
  type: 'classic',
  topics: ['$queue/orders/#'],
  defaultGroup: 'shared',
  capture: 'sync',
};

export interface SentEnqueue {
  readonly number: number;
  readonly targets: readonly QueueId[];
  readonly payload: string;
  readonly options: EnqueueOptions | undefined;
}

export interface SentRelease {
  readonly number: number;
  readonly key: PublishKey;
}

export class ScriptedShard {
  readonly #port: BatchPort;
  readonly #writer = new ShardBatchWriter(1024);
  readonly enqueues: SentEnqueue[] = [];
  readonly releases: SentRelease[] = [];
  readonly frames: ClientFrame[] = [];
  #last = 0;
  batches = 0;
  answeredUpTo = 0;
  takenBytes = 0;
  closed = false;

  constructor(port: BatchPort) {
    this.#port = port;
    port.onBatch((bytes) => this.#take(bytes));
    port.onClosed(() => {
      this.closed = true;
    });
  }

  /** Says all of it in one batch. */
  say(words: (writer: ShardBatchWriter) => void): void {
    words(this.#writer);
    this.#port.post(this.#writer.take());
  }

  sayBytes(bytes: Uint8Array): void {
    this.#port.post(bytes);
  }

  leave(): void {
    this.#port.close();
  }

  #take(bytes: Uint8Array): void {
    const batch = new ClientBatch(bytes);
    this.batches++;
    this.answeredUpTo = batch.answeredUpTo;
    this.takenBytes = batch.takenBytes;
    if (batch.commands > 0) this.#takeEnqueues(batch);
    for (let frame = batch.next(); frame !== undefined; frame = batch.next()) {
      this.frames.push(structuredClone(frame));
      if (frame.kind !== 'hello') continue;
      this.say((writer) => {
        writer.queues({ queues: [orders], gone: [], complete: true });
        writer.opened(3);
      });
    }
  }

  /** Through the reader of the log, so that it is what the real shard would see. */
  #takeEnqueues(batch: ClientBatch): void {
    const { boot, firstNumber, answeredUpTo, commands, commandBytes, numbered } = batch;
    if (boot !== 3) throw new Error(`enqueues of boot ${boot}`);
    if (firstNumber !== this.#last + 1) throw new Error(`${firstNumber} after ${this.#last}`);
    this.#last = firstNumber + commands - 1;
    if (firstNumber + commands - 1 - answeredUpTo > 4096) throw new Error('the window is exceeded');
    const stream = { node: 'n', boot, firstNumber, answeredUpTo, stampMs: 1 };
    const reader = new EntryReader();
    reader.reset([encodeSectionHeader({ ...stream, commands, commandBytes }), numbered]);
    let at = 0;
    for (let command = reader.next(); command !== undefined; command = reader.next()) {
      const end = commandEnd(numbered, at);
      const { kind } = command;
      if (kind === 'release') this.releases.push({ number: command.number, key: command.key });
      else if (kind === 'enqueue') {
        const message = new StoredMessageView(numbered, storedMessageStart(numbered, at), end);
        const payload = Buffer.from(message.payload).toString();
        const { number, targets, options } = command;
        this.enqueues.push({ number, targets: [...targets], payload, options });
      } else throw new Error(`a ${kind} among the commands of a sender`);
      at = end;
    }
  }
}

/** Keeps what it was told. */
export class Witness implements EnqueueWaiter {
  readonly told: [tag: number, outcome: Committed | EnqueueRefusal][] = [];

  enqueued(tag: number, outcome: Committed | EnqueueRefusal): void {
    this.told.push([tag, outcome]);
  }
}

/**
 * Until everything that both sides have to say is said: nothing here waits for more than a few
 * turns.
 */
export async function quiet(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }
}
