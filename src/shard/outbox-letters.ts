/**
 * The messages of the outbox: read where they lie, and written as they leave. A message that cannot
 * be read is told in words, and what can never go says why; nothing here waits for another shard.
 */

import type { EnqueueOptions } from '../machine/command.ts';
import type { QueueDefinition } from '../machine/definitions.ts';
import type { Intent } from '../machine/effect.ts';
import type { GroupId, QueueId } from '../machine/ids.ts';
import { finishCommand } from './codec.ts';
import { departureOf } from './departure.ts';
import type { DepartureNames } from './departure.ts';
import { PayloadCursor } from './payloads.ts';
import type { Payloads } from './payloads.ts';
import { StoredMessageView, StoredMessageWriter } from './stored-message.ts';
import { CodecError, WireWriter } from './wire.ts';

export interface LettersOptions {
  readonly machine: { definition(queueId: QueueId): QueueDefinition | undefined };
  readonly payloads: Pick<Payloads, 'get' | 'fetch' | 'lostDetail'>;
  /** As it is now; undefined when the group or its queue is gone. */
  groupName(queueId: QueueId, groupId: GroupId): Promise<string | undefined>;
  readonly now: () => number;
}

/** What stands in front of the message. */
export interface LetterHead {
  /** The name of the queue that it goes to. */
  readonly target: string;
  /** Begins the command; where it begins. */
  begin(writer: WireWriter, options: EnqueueOptions | undefined): number;
}

/** Of what comes in front of the payload. */
const HEAD_BYTES_ABOUT = 1_024;

export class Letters {
  readonly #options: LettersOptions;
  readonly #messages = new StoredMessageWriter();

  constructor(options: LettersOptions) {
    this.#options = options;
  }

  /** Words: it cannot be read, and why. */
  async read({ queueId, offset }: Intent): Promise<StoredMessageView | string> {
    const { payloads } = this.#options;
    const cursor = new PayloadCursor();
    for (;;) {
      const found = payloads.get(queueId, offset, cursor);
      if (found === 'lost') return payloads.lostDetail;
      if (found !== 'away') {
        try {
          // Of its own: what a read brought is given to the next one.
          const stored = new Uint8Array(found.bytes.subarray(found.start, found.end));
          return new StoredMessageView(stored, 0, stored.length);
        } catch (error) {
          if (error instanceof CodecError) return error.message;
          throw error;
        }
      }
      const fetched = await payloads.fetch(queueId, offset);
      if (fetched.kind === 'lost') return fetched.detail;
    }
  }

  /** The whole command, the taker's for good; or why it can never go. */
  async write(
    intent: Intent,
    view: StoredMessageView,
    head: LetterHead,
  ): Promise<Uint8Array | 'hop-limit' | 'no-target'> {
    const names = await this.#names(intent, head.target);
    const nowMs = this.#options.now();
    const { publishedAtMs } = view;
    const departure = departureOf(intent, { message: view, publishedAtMs, nowMs }, names);
    if (departure === undefined) return 'hop-limit';
    const writer = new WireWriter(view.payload.length + HEAD_BYTES_ABOUT);
    const start = head.begin(writer, departure.options);
    this.#messages.publishedAtMs = publishedAtMs;
    if (!this.#messages.write(writer, departure.message, view.origin)) return 'no-target';
    finishCommand(writer, start);
    return writer.take();
  }

  async #names({ queueId, groupId }: Intent, target: string): Promise<DepartureNames> {
    const queue = this.#options.machine.definition(queueId)?.name;
    return {
      queue: queue ?? `#${queueId}`,
      group: (await this.#options.groupName(queueId, groupId)) ?? `#${groupId}`,
      target,
    };
  }
}
