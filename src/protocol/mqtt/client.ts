/** What a connection has from CONNACK to its end, and how its parts are put together. */

import type { CancelReason, Will } from '../../broker/ports.ts';
import type { AccessRights } from '../access.ts';
import { Consumers } from './consumers.ts';
import type { Ending, MqttContext } from './context.ts';
import { willMessage } from './convert.ts';
import { Outbound } from './deliver.ts';
import type { Recipient } from './encode.ts';
import type { Grant } from './handshake.ts';
import type { Output } from './output.ts';
import type { ConnectPacket } from './packet.ts';
import { PublishFlow } from './publish.ts';
import { ReasonCode, type ServerDisconnectReason } from './reason-codes.ts';
import type { Session } from './session.ts';
import { Subscriptions } from './subscribe.ts';

export type ServerEnding = Ending<ServerDisconnectReason>;

export interface Client {
  readonly session: Session;
  /** Undefined: it may do everything. */
  readonly rights: AccessRights | undefined;
  readonly outbound: Outbound;
  readonly consumers: Consumers;
  readonly subscriptions: Subscriptions;
  readonly grant: Grant;
  readonly recipient: Recipient;
  readonly flow: PublishFlow;
  readonly will: Will | undefined;
  readonly willDelaySeconds: number;
}

export interface ClientParts {
  readonly context: MqttContext;
  readonly session: Session;
  readonly rights: AccessRights | undefined;
  readonly output: Output;
  /** Ends the connection for a reason that a part found. */
  readonly end: (ending: ServerEnding) => void;
}

export function makeClient(packet: ConnectPacket, grant: Grant, parts: ClientParts): Client {
  const { context, session, rights, output, end } = parts;
  const { maxInflight, aliasMaximum, maximumPacketSize, terse } = grant;
  const recipient: Recipient = { version: packet.version, maximumPacketSize };
  const outbound = new Outbound({ context, session, output, recipient, maxInflight, aliasMaximum });
  const consumers = new Consumers({
    broker: context.broker,
    clientId: grant.assigned ? '' : session.clientId,
    outbound,
    maxInflight,
    maxBufferedBytes: context.options.maxBufferedBytes,
    ask: () => output.ask(),
    cancelled: (queue, reason) => end(queueEnded(queue, reason)),
  });
  const { will } = packet;
  // Written out, without a spread: the parts of all clients are then objects of one shape.
  const flow = new PublishFlow({ context, session, rights, output, recipient, terse, end });
  const subscriptions = new Subscriptions({
    context,
    session,
    rights,
    output,
    recipient,
    terse,
    outbound,
    consumers,
    end,
  });
  return {
    session,
    rights,
    grant,
    recipient,
    flow,
    outbound,
    consumers,
    subscriptions,
    will: will && { origin: session.origin, message: willMessage(will) },
    willDelaySeconds: will?.properties?.willDelayInterval ?? 0,
  };
}

/**
 * MQTT has no word for the end of one subscription: a consumer must not wait for what never comes.
 */
function queueEnded(queue: string, reason: CancelReason): ServerEnding {
  if (reason === 'queue-deleted' || reason === 'group-deleted') {
    const what = reason === 'queue-deleted' ? 'the queue' : 'the consumer group in the queue';
    const text = `${what} '${queue}' was deleted`;
    return { reasonCode: ReasonCode.administrativeAction, text };
  }
  return {
    reasonCode: ReasonCode.implementationSpecificError,
    text: 'the store is not available',
  };
}
