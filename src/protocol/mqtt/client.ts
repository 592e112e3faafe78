/** What a connection has from CONNACK to its end, and how its parts are put together. */

import type { Message } from '../../broker/message.ts';
import type { CancelReason, Will } from '../../broker/ports.ts';
import type { AccessRights } from '../access.ts';
import { Reauthentication } from './authentication.ts';
import { type Authorization, type Authorized, authorizationOf } from './authorization.ts';
import { ClaimedDeliveries } from './claimed-deliveries.ts';
import { Consumers } from './consumers.ts';
import type { Ending, MqttContext } from './context.ts';
import { Outbound } from './deliver.ts';
import type { Recipient } from './encode.ts';
import type { Grant } from './handshake.ts';
import type { Output } from './output.ts';
import type {
  ConnectPacket,
  PubackPacket,
  PubcompPacket,
  PubrecPacket,
  PubrelPacket,
} from './packet.ts';
import { PublishFlow } from './publish.ts';
import { ownershipEnded } from './ownership-endings.ts';
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
  /** Of the queue of a durable session. */
  readonly deliveries: ClaimedDeliveries | undefined;
  readonly subscriptions: Subscriptions;
  readonly grant: Grant;
  readonly recipient: Recipient;
  readonly flow: PublishFlow;
  /** Undefined: rules alone decide what it may do. */
  readonly authorization: Authorization | undefined;
  /** Undefined: CONNECT named no method of authentication. */
  readonly reauthentication: Reauthentication | undefined;
  readonly will: Will | undefined;
}

export interface ClientParts {
  readonly context: MqttContext;
  readonly session: Session;
  readonly rights: AccessRights | undefined;
  readonly output: Output;
  /** As CONNECT said; it owns its bytes. */
  readonly will: Message | undefined;
  /** Ends the connection for a reason that a part found. */
  readonly end: (ending: ServerEnding) => void;
  /** A change of the subscriptions is in the log. */
  readonly changed: () => void;
  /** What a service was asked about may be taken now. */
  readonly take: (packet: Authorized) => void;
}

export function makeClient(packet: ConnectPacket, grant: Grant, parts: ClientParts): Client {
  const { context, session, rights, output, will, end, changed, take } = parts;
  const { broker, options } = context;
  const { maxInflight, aliasMaximum, maximumPacketSize, terse } = grant;
  const recipient: Recipient = { version: packet.version, maximumPacketSize };
  const { maxBufferedBytes } = options;
  const ask = (): void => output.ask();
  const deliveries = deliveriesOf(parts, maxInflight);
  const outbound = new Outbound({
    context,
    session,
    output,
    recipient,
    maxInflight,
    aliasMaximum,
    own: deliveries,
  });
  const consumers = new Consumers({
    broker,
    clientId: grant.assigned ? '' : session.clientId,
    outbound,
    maxInflight,
    maxBufferedBytes,
    ask,
    cancelled: (queue, reason) => end(queueEnded(queue, reason)),
  });
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
    feed: deliveries?.feed,
    end,
    changed,
  });
  return {
    session,
    rights,
    grant,
    recipient,
    flow,
    authorization: authorizationOf(rights, { broker, topicOf: flow.topicOf, take }),
    outbound,
    consumers,
    deliveries,
    subscriptions,
    reauthentication: reauthenticationOf(packet, parts, recipient),
    will: will && { origin: session.origin, message: will },
  };
}

/** What a client says of a delivery or of a publish that is under way. Undefined: all is well. */
export function acknowledged(
  packet: PubackPacket | PubrecPacket | PubrelPacket | PubcompPacket,
  { outbound, flow }: Client,
): ServerEnding | undefined {
  switch (packet.kind) {
    case 'puback':
      return outbound.acknowledged(packet.packetId, packet.reasonCode);
    case 'pubrec':
      return outbound.receivedByClient(packet.packetId, packet.reasonCode);
    case 'pubrel':
      return flow.release(packet.packetId);
    case 'pubcomp':
      return outbound.completed(packet.packetId);
  }
}

/** Undefined: the session has no queue. */
function deliveriesOf(
  { context, session, output, end }: ClientParts,
  maxInflight: number,
): ClaimedDeliveries | undefined {
  const { broker, options, log } = context;
  const { owned, clientId } = session;
  if (owned === undefined) return undefined;
  return new ClaimedDeliveries({
    broker,
    session,
    owned,
    maxInflight,
    maxBufferedBytes: options.maxBufferedBytes,
    ask: () => output.ask(),
    tooLarge: (topic) => {
      const fields = { client_id: clientId, topic };
      log.warn(fields, 'a retained message is larger than its session may hold');
    },
    ended: (reason) => end(ownershipEnded(reason)),
  });
}

function reauthenticationOf(
  { properties }: ConnectPacket,
  { context, session, rights, output }: ClientParts,
  recipient: Recipient,
): Reauthentication | undefined {
  const { access, broker } = context;
  const method = properties?.authenticationMethod;
  if (method === undefined || access === undefined || rights === undefined) return undefined;
  const { clientId } = session;
  const now = (): number => broker.clock.now();
  return new Reauthentication({ method, access, rights, clientId, now, recipient, output });
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
