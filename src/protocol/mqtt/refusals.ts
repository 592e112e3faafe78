/**
 * How MQTT 5.0 says that the broker did not take a publish: every refusal, one table. 3.1.1 has no
 * word for any of them; its connection is closed without an acknowledgement, so that the client
 * tries again.
 */

import type { PublishRefusal } from '../../broker/ports.ts';
import { type PublishRefusal as PublishRefusalReason, ReasonCode } from './reason-codes.ts';

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
  'retained-full': [ReasonCode.quotaExceeded, 'too many retained messages'],
  'topic-too-deep': [ReasonCode.topicNameInvalid, 'the topic has too many levels'],
} as const satisfies Record<PublishRefusal, readonly [reason: PublishRefusalReason, text: string]>;
