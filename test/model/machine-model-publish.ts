/**
 * What a publish with options may meet before it is stored: keys of sessions, numbered producers,
 * and a delay; as maps that never forget but when they are told.
 */

import type { PublishKey } from '../../src/machine/command.ts';
import type { Outcome } from '../../src/machine/effect.ts';
import type { QueueId } from '../../src/machine/ids.ts';

const WINDOW = 1_024;

interface ModelProducer {
  readonly queueId: QueueId;
  readonly taken: Set<number>;
  highest: number;
  seenAt: number;
  timerDue: number;
}

export class ModelSessions {
  readonly #sessions = new Map<string, { epoch: number; ids: Set<number> }>();

  /** Undefined: it is to be stored. */
  check({ session, ownerEpoch, packetId }: PublishKey): Outcome | undefined {
    const known = this.#sessions.get(session);
    if (known === undefined) return undefined;
    if (ownerEpoch < known.epoch) return 'stale-owner';
    return known.ids.has(packetId) ? 'accepted' : undefined;
  }

  take({ session, ownerEpoch, packetId }: PublishKey): void {
    const known = this.#sessions.get(session) ?? { epoch: 0, ids: new Set() };
    this.#sessions.set(session, known);
    known.epoch = Math.max(known.epoch, ownerEpoch);
    known.ids.add(packetId);
  }

  release({ session, ownerEpoch, packetId }: PublishKey): Outcome {
    const known = this.#sessions.get(session);
    if (known === undefined) return 'accepted';
    if (ownerEpoch < known.epoch) return 'stale-owner';
    known.epoch = ownerEpoch;
    known.ids.delete(packetId);
    return 'accepted';
  }

  end(session: string): void {
    this.#sessions.delete(session);
  }
}

export interface ProducerAsked {
  readonly queueId: QueueId;
  readonly id: string;
  readonly sequence: number;
}

export class ModelProducers {
  readonly #producers = new Map<string, ModelProducer>();

  check({ queueId, id, sequence }: ProducerAsked, most: number): 'new' | 'duplicate' | 'refused' {
    const known = this.#producers.get(`${queueId}/${id}`);
    if (known === undefined) return this.#count(queueId) >= most ? 'refused' : 'new';
    if (sequence <= known.highest - WINDOW) return 'refused';
    return known.taken.has(sequence) ? 'duplicate' : 'new';
  }

  take({ queueId, id, sequence }: ProducerAsked, of: { now: number; expiresMs: number }): void {
    const name = `${queueId}/${id}`;
    const timerDue = of.now + of.expiresMs;
    const known = this.#producers.get(name) ?? {
      queueId,
      taken: new Set(),
      highest: 0,
      seenAt: 0,
      timerDue,
    };
    this.#producers.set(name, known);
    known.taken.add(sequence);
    known.highest = Math.max(known.highest, sequence);
    known.seenAt = of.now;
  }

  /** All timers that are due have fired; `expiresMs` is undefined where the queue is gone. */
  fired(now: number, expiresMs: (queueId: QueueId) => number | undefined): void {
    for (const [name, producer] of this.#producers) {
      if (producer.timerDue > now) continue;
      producer.timerDue = producer.seenAt + (expiresMs(producer.queueId) ?? 0);
      if (producer.timerDue <= now) this.#producers.delete(name);
    }
  }

  #count(queueId: QueueId): number {
    return [...this.#producers.values()].filter((each) => each.queueId === queueId).length;
  }
}
