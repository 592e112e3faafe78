/**
 * Before a packet of a client is taken: what a service has to say of it that no rule decides
 * (`AccessRights.asks`), so that whoever takes it need not wait.
 *
 * ```
 *   PUBLISH, SUBSCRIBE ---(all is known)-----------------------------> taken
 *        |                                                              ^
 *        +---> held, one a connection ---(answered, or not answered)----+
 * ```
 *
 * While one is held nothing behind it is read, so all keep their order. What is held owns its
 * bytes; if the connection ends meanwhile it was never taken, nor acknowledged. The alias of a
 * topic is looked up here and registered when the packet is taken.
 */

import type { Broker } from '../../broker/ports.ts';
import { QUEUE_PREFIX, queueTopic } from '../../broker/queue-topic.ts';
import type { AccessRights, Asked } from '../access.ts';
import type { PublishPacket, SubscribePacket } from './packet.ts';
import { queueWish, wishesOf } from './queue-wish.ts';
import { isSettlement, settledQueue } from './settle.ts';

/** Questions about one SUBSCRIBE; what is beyond is not answered, and may be asked for again. */
const QUESTIONS_MAX = 100;

export type Authorized = PublishPacket | SubscribePacket;

export interface AuthorizationParts {
  readonly broker: Pick<Broker, 'maxTopicLength'>;
  readonly rights: AccessRights;
  /** Undefined: an alias that nobody knows. */
  readonly topicOf: (packet: PublishPacket) => string | undefined;
  /** What is held may be taken. */
  readonly take: (packet: Authorized) => void;
}

/** Undefined where rules alone decide. */
export function authorizationOf(
  rights: AccessRights | undefined,
  parts: Omit<AuthorizationParts, 'rights'>,
): Authorization | undefined {
  return rights?.asks === true ? new Authorization({ ...parts, rights }) : undefined;
}

export class Authorization {
  readonly #parts: AuthorizationParts;
  #isClosed = false;

  constructor(parts: AuthorizationParts) {
    this.#parts = parts;
  }

  /** True: it is asked about, and comes by `take`; nothing else may be taken before it. */
  holds(packet: Authorized): boolean {
    const { rights, take } = this.#parts;
    rights.forget();
    const questions = packet.kind === 'publish' ? this.#ofPublish(packet) : this.#ofFilters(packet);
    if (questions === undefined) return false;
    const own = packet.kind === 'publish' ? ownedPacket(packet) : packet;
    const isGone = (): boolean => this.#isClosed;
    void rights.ask(questions, isGone).then(() => {
      if (!this.#isClosed) take(own);
    });
    return true;
  }

  /** The connection is over: what is held goes. */
  close(): void {
    this.#isClosed = true;
  }

  #ofPublish(packet: PublishPacket): Asked[] | undefined {
    const topic = this.#parts.topicOf(packet);
    if (topic === undefined) return undefined;
    const asked: Asked = isSettlement(topic)
      ? { action: 'consume', topic: queueTopic(settledQueue(topic)) }
      : { action: 'publish', topic };
    return this.#isKnown(asked) ? undefined : [asked];
  }

  #ofFilters(packet: SubscribePacket): Asked[] | undefined {
    const { maxTopicLength } = this.#parts.broker;
    const wishes = wishesOf(packet);
    const questions = new Map<string, Asked>();
    for (const subscription of packet.subscriptions) {
      if (questions.size >= QUESTIONS_MAX) break;
      const { filter, topicFilter } = subscription;
      if (topicFilter.length > maxTopicLength) continue;
      let asked: Asked = { action: 'subscribe', topic: filter };
      if (filter.startsWith(QUEUE_PREFIX)) {
        const wish = 'text' in wishes ? wishes : queueWish(subscription, wishes);
        if ('text' in wish) continue;
        asked = { action: 'consume', topic: queueTopic(wish.queueName) };
      }
      const key = `${asked.action} ${asked.topic}`;
      if (!questions.has(key) && !this.#isKnown(asked)) questions.set(key, asked);
    }
    return questions.size === 0 ? undefined : [...questions.values()];
  }

  #isKnown({ action, topic }: Asked): boolean {
    return this.#parts.rights.knows(action, topic);
  }
}

/** The receive buffer may go. */
function ownedPacket(packet: PublishPacket): PublishPacket {
  const { topic, qos, retain, dup, packetId, properties } = packet;
  const correlationData = properties?.correlationData;
  return {
    kind: 'publish',
    topic,
    payload: new Uint8Array(packet.payload),
    qos,
    retain,
    dup,
    packetId,
    properties:
      correlationData === undefined
        ? properties
        : { ...properties, correlationData: new Uint8Array(correlationData) },
  };
}
