/** Why a publish, or what follows it, ends the connection: one table (MQTT 5.0 section 4.13). */

import type { Ending } from './context.ts';
import { ReasonCode, type ServerDisconnectReason } from './reason-codes.ts';
import { REFUSALS } from './refusals.ts';

export type PublishEnding = Ending<ServerDisconnectReason>;

export const ENDINGS = {
  qos: { reasonCode: ReasonCode.qosNotSupported, text: 'PUBLISH above the maximum QoS' },
  retain: { reasonCode: ReasonCode.retainNotSupported, text: 'PUBLISH with RETAIN, which is off' },
  receiveMaximum: {
    reasonCode: ReasonCode.receiveMaximumExceeded,
    text: 'more publishes in flight than the receive maximum',
    limit: 'receive-maximum',
  },
  alias: {
    reasonCode: ReasonCode.topicAliasInvalid,
    text: 'a topic alias above the maximum',
    limit: 'topic-alias',
  },
  unknownAlias: {
    reasonCode: ReasonCode.protocolError,
    text: 'a topic alias that stands for nothing',
  },
  payloadFormat: {
    reasonCode: ReasonCode.payloadFormatInvalid,
    text: REFUSALS['payload-format'][1],
  },
  notReleased: {
    reasonCode: ReasonCode.implementationSpecificError,
    text: 'the store did not confirm in time that a packet id is free',
  },
  earlyRelease: { reasonCode: ReasonCode.protocolError, text: 'PUBREL before PUBREC' },
} as const satisfies Record<string, PublishEnding>;
