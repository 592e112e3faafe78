/**
 * What a publish with options may meet before it is stored: keys of sessions, numbered producers,
 * and a delay; as maps that never forget but when they are told.
 */

import type { PublishKey } from '../../src/machine/command.ts';
import type { Outcome } from '../../src/machine/effect.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import type { Choosing, Chosen } from '../../src/machine/share-choices.ts';

const WINDOW = 1_024;

interface ModelProducer {
  readonly queueId: QueueId;
  readonly taken: Set<number>;
  highest: number;
  seenAt: number;
  timerDue: number;
}

interface ModelKeys {
  epoch: number;
  readonly ids: Set<number>;
  /** Of publishes in parts that are not complete: the queue up to which they are stored. */
  readonly through: Map<number, number>;
  /** Of publishes with shares: who chose, and whom. */
  readonly chosen: Map<number, { readonly token: number; readonly choices: Map<number, QueueId> }>;
}

export class ModelSessions {
  readonly #sessions = new Map<string, ModelKeys>();

  publish(
    key: PublishKey,
    targets: readonly QueueId[],
    store: (targets: readonly QueueId[]) => Outcome,
  ): Outcome {
    const { session, ownerEpoch, packetId, part } = key;
    const known = this.#sessions.get(session);
    if (known !== undefined && ownerEpoch < known.epoch) return 'stale-owner';
    if (known?.ids.has(packetId) === true) {
      known.epoch = ownerEpoch;
      return 'accepted';
    }
    const through = known?.through.get(packetId) ?? 0;
    if (part !== undefined && part.after > through) return 'unavailable';
    const left = targets.filter((each) => each > through);
    const outcome = targets.length > 0 && left.length === 0 ? 'accepted' : store(left);
    const isGone = outcome === 'no-queue' && part !== undefined;
    if (outcome !== 'accepted' && outcome !== 'duplicate' && !isGone) return outcome;
    const keys = this.#of(key);
    keys.through.delete(packetId);
    if (part === undefined || part.through === 0) keys.ids.add(packetId);
    else keys.through.set(packetId, Math.max(through, part.through));
    return outcome;
  }

  #of({ session, ownerEpoch }: PublishKey): ModelKeys {
    const fresh = { epoch: 0, ids: new Set<number>(), through: new Map<number, number>() };
    const keys = this.#sessions.get(session) ?? { ...fresh, chosen: new Map() };
    this.#sessions.set(session, keys);
    keys.epoch = Math.max(keys.epoch, ownerEpoch);
    return keys;
  }

  /** Undefined: a later owner has been here. */
  choose(key: PublishKey, { token, choices, isInstead }: Choosing): Chosen | undefined {
    const { packetId } = key;
    const known = this.#sessions.get(key.session);
    if (known !== undefined && key.ownerEpoch < known.epoch) return undefined;
    const before = known?.chosen.get(packetId);
    if (!isInstead && before === undefined && known?.ids.has(packetId) === true) {
      return { isNew: false, choices: [] };
    }
    const { chosen } = this.#of(key);
    const now = chosen.get(packetId) ?? { token, choices: new Map<number, QueueId>() };
    chosen.set(packetId, now);
    if (before === undefined || isInstead) {
      for (const { share, queueId } of choices) now.choices.set(share, queueId);
    }
    const counts = [...now.choices].map(([share, queueId]) => ({ share, queueId }));
    return { isNew: !isInstead && now.token === token, choices: counts };
  }

  release({ session, ownerEpoch, packetId }: PublishKey): Outcome {
    const known = this.#sessions.get(session);
    if (known === undefined) return 'accepted';
    if (ownerEpoch < known.epoch) return 'stale-owner';
    known.epoch = ownerEpoch;
    known.ids.delete(packetId);
    known.through.delete(packetId);
    known.chosen.delete(packetId);
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
