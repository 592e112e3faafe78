/**
 * How MQTT 5.0 says that the broker did not take a publish, or a settlement that was published:
 * every refusal, one table. 3.1.1 has no word for any of them; its connection is closed without an
 * acknowledgement, so that the client tries again.
 *
 * Of the codes that PUBACK and PUBREC may carry (3.4.2.1): 0x80 says that trying the same again may
 * help, 0x83 that it does not before something changes here, 0x87 that there is no right to it,
 * 0x90 that the topic is wrong, 0x97 that a limit is reached.
 */

import type { PublishRefusal, SettleAnswer, SettleProof } from '../../broker/ports.ts';
import { type PublishRefusal as PublishRefusalReason, ReasonCode } from './reason-codes.ts';

/** What was asked cannot be asked (the first ones), or was not done. */
export const SETTLE_REFUSALS = [
  'settle-no-queue',
  'settle-message-id',
  'settle-group-id',
  'settle-other-queue',
  'settle-no-stream',
  'settle-offset',
  'settle-no-group',
  'settle-stale',
  'settle-unavailable',
] as const;
export type SettleRefusal = (typeof SETTLE_REFUSALS)[number];

/** What is refused here, before the broker sees it. */
export const FORMAT_REFUSALS = ['payload-format', 'authorization-unavailable'] as const;

export type Refusal = PublishRefusal | SettleRefusal | (typeof FORMAT_REFUSALS)[number];

export const REFUSALS = {
  // Unknown, and said so: the message may still be stored, a retry may store it twice.
  timeout: [ReasonCode.unspecifiedError, 'not stored in time; it may still be stored'],
  'disk-full': [ReasonCode.quotaExceeded, 'the disk of the broker is full'],
  'queue-full': [ReasonCode.quotaExceeded, 'the queue is full'],
  'no-queue': [
    ReasonCode.topicNameInvalid,
    'no queue takes this topic; a level that begins with $ is reserved',
  ],
  'too-large': [ReasonCode.quotaExceeded, 'the message is larger than a queue takes'],
  unavailable: [ReasonCode.implementationSpecificError, 'the store is not available'],
  'not-leader': [
    ReasonCode.implementationSpecificError,
    'this node does not lead the queue, and forwards nothing (cluster.write_policy)',
  ],
  'producer-refused': [
    ReasonCode.quotaExceeded,
    'the sequence is below the window of its producer, or the queue remembers no more producers',
  ],
  'stale-owner': [ReasonCode.implementationSpecificError, 'the session has another owner'],
  'invalid-option': [
    ReasonCode.implementationSpecificError,
    'x-delay, x-priority, producer-id or producer-seq has a value that it cannot have',
  ],
  'retained-full': [ReasonCode.quotaExceeded, 'too many retained messages'],
  'topic-too-deep': [ReasonCode.topicNameInvalid, 'the topic has too many levels'],
  'topic-too-long': [ReasonCode.topicNameInvalid, 'the topic is too long'],
  'topic-reserved': [ReasonCode.topicNameInvalid, 'only the broker publishes to $SYS/'],
  'too-many-queues': [
    ReasonCode.quotaExceeded,
    'there is no such queue, and there are too many to make it',
  ],
  'not-authorized': [ReasonCode.notAuthorized, 'no rule allows it'],
  'authorization-unavailable': [
    ReasonCode.implementationSpecificError,
    'the service that decides about it does not answer; try again',
  ],
  'payload-format': [
    ReasonCode.payloadFormatInvalid,
    'the payload format indicator says UTF-8, and the payload is not',
  ],
  'settle-no-queue': [ReasonCode.topicNameInvalid, 'there is no such queue'],
  'settle-message-id': [
    ReasonCode.implementationSpecificError,
    "the user property 'message-id' is missing, or not that of a delivery",
  ],
  'settle-group-id': [
    ReasonCode.implementationSpecificError,
    "the user property 'group-id' is missing, or there are two",
  ],
  'settle-other-queue': [
    ReasonCode.implementationSpecificError,
    "the 'message-id' is that of another queue, or of a queue that was deleted",
  ],
  'settle-no-stream': [
    ReasonCode.implementationSpecificError,
    'the queue is no stream: its messages are settled one by one',
  ],
  'settle-offset': [
    ReasonCode.implementationSpecificError,
    "the user property 'offset' is no whole number",
  ],
  'settle-no-group': [ReasonCode.implementationSpecificError, 'the queue has no such group'],
  'settle-stale': [
    ReasonCode.implementationSpecificError,
    'the delivery is over: the message was handed back or out of time',
  ],
  // Unknown, and said so; a settlement may be repeated.
  'settle-unavailable': [ReasonCode.unspecifiedError, 'not settled in time; say it again'],
} as const satisfies Record<Refusal, readonly [reason: PublishRefusalReason, text: string]>;

/** Each answer that proves nothing. */
export const SETTLE_ANSWERS_REFUSED = {
  stale: 'settle-stale',
  'no-queue': 'settle-no-queue',
  'no-group': 'settle-no-group',
  unavailable: 'settle-unavailable',
} as const satisfies Record<Exclude<SettleAnswer, SettleProof>, SettleRefusal>;
