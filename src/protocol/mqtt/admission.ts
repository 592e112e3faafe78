/**
 * Who comes in through CONNECT: what it says of itself, how a refusal is told, and what its rights
 * have to cover before it is let in (MQTT 5.0 sections 3.1.4, 4.12; 3.1.1 section 3.1.4).
 *
 * A refusal tells nobody whether it was the user name or the password. Neither a password nor the
 * name that came with a wrong one is ever logged: people mistake the one for the other.
 */

import type { Message } from '../../broker/message.ts';
import type { StoredSubscription } from '../../broker/ports.ts';
import { queueTopic } from '../../broker/queue-topic.ts';
import type { AccessRights, Admission } from '../access.ts';
import type { Transport } from '../transport.ts';
import type { Ending, MqttContext } from './context.ts';
import { type ConnectRefusal, type Grant, judgeConnect } from './handshake.ts';
import type { ConnectPacket } from './packet.ts';
import { ReasonCode, type ServerDisconnectReason } from './reason-codes.ts';
import type { Session, SessionSubscription } from './session.ts';
import type { AttachRequest } from './sessions.ts';
import { restoredSubscription } from './stored-subscriptions.ts';

type Refused = Extract<Admission, { readonly refused: string }>['refused'];

const ADMISSION_REFUSALS = {
  'bad-credentials': {
    reasonCode: ReasonCode.badUserNameOrPassword,
    text: 'the user name or the password is wrong',
  },
  'not-authorized': {
    reasonCode: ReasonCode.notAuthorized,
    text: 'a user name and a password, or a certificate, are needed',
  },
  busy: {
    reasonCode: ReasonCode.serverBusy,
    text: 'it cannot be found out now who the client is: try again later',
  },
} as const satisfies Record<Refused, ConnectRefusal>;

const WILL_NOT_ALLOWED: ConnectRefusal = {
  reasonCode: ReasonCode.notAuthorized,
  text: 'no rule allows the will',
};

export interface Granted {
  readonly grant: Grant;
  /** Undefined: it may do everything. */
  readonly rights: AccessRights | undefined;
}
export type Verdict = Granted | ConnectRefusal;

export interface JudgeParts {
  readonly context: MqttContext;
  readonly transport: Pick<Transport, 'identity'>;
  /** Nobody waits for the verdict any more. */
  readonly isGone: () => boolean;
}

/** At once, unless a password must be checked; first what costs little. Never rejects. */
export function judged(packet: ConnectPacket, parts: JudgeParts): Verdict | Promise<Verdict> {
  const { context, transport, isGone } = parts;
  const { access, options, broker } = context;
  const grant = judgeConnect(packet, options, broker);
  if ('reasonCode' in grant) return grant;
  if (access === undefined) return { grant, rights: undefined };
  const { username: user, password } = packet;
  const { clientId } = grant;
  const claim = { user, password, certificate: transport.identity, clientId, isGone };
  const found = access.admit(claim);
  if (!(found instanceof Promise)) return verdictOf(packet, grant, found);
  return found.then((admission) => verdictOf(packet, grant, admission));
}

function verdictOf({ will }: ConnectPacket, grant: Grant, admission: Admission): Verdict {
  if ('refused' in admission) return ADMISSION_REFUSALS[admission.refused];
  const { rights } = admission;
  if (will !== undefined && !rights.may('publish', will.topic)) return WILL_NOT_ALLOWED;
  return { grant, rights };
}

/** The session that a client asks for, where it may have that one. */
/** `will`: of the packet. */
export function attachRequest(
  packet: ConnectPacket,
  { grant, rights }: Granted,
  will: Message | undefined,
): AttachRequest {
  const origin = { protocol: 'mqtt', clientId: grant.clientId, user: rights?.user } as const;
  const delaySeconds = packet.will?.properties?.willDelayInterval ?? 0;
  return {
    clientId: grant.clientId,
    user: rights?.user,
    claimant: rights === undefined ? undefined : (rights.user ?? ''),
    mayResume: (stored) => rights === undefined || mayStored(stored, rights),
    isNamed: !grant.assigned,
    cleanStart: packet.cleanStart,
    expirySeconds: grant.sessionExpirySeconds,
    will: will && { origin, message: will, delaySeconds },
  };
}

/**
 * Why a connection cannot go on under other rules; undefined: it can. A session with a subscription
 * that is not allowed any more ends with it, and with what waits in it and came through that.
 */
export function lostRight(
  session: Session,
  rights: AccessRights,
): Ending<ServerDisconnectReason> | undefined {
  const reasonCode = ReasonCode.notAuthorized;
  if (rights.isRevoked) {
    return { reasonCode, text: 'the user, the password or the key of the token is gone' };
  }
  if (maySubscriptions(session, rights)) return undefined;
  session.expirySeconds = 0;
  return { reasonCode, text: 'no rule allows a subscription of the session any more' };
}

/** The same of what the log keeps. */
function mayStored(stored: readonly StoredSubscription[], rights: AccessRights): boolean {
  return stored.every((each) => {
    const subscription = restoredSubscription(each);
    return subscription === undefined || maySubscription(subscription, rights);
  });
}

/** Whether everything that the session is subscribed to may still reach it. */
function maySubscriptions(session: Session, rights: AccessRights): boolean {
  for (const subscription of session.subscriptions.values()) {
    if (!maySubscription(subscription, rights)) return false;
  }
  return true;
}

function maySubscription({ filter, wish }: SessionSubscription, rights: AccessRights): boolean {
  if (wish === undefined) return rights.allows('subscribe', filter);
  return rights.allows('consume', queueTopic(wish.queueName));
}

/** For the log: who is in, and how. */
export function connectedFields(
  { version }: ConnectPacket,
  grant: Grant,
  from: {
    readonly transport: Transport;
    readonly user: string | undefined;
    readonly present: boolean;
  },
): Record<string, unknown> {
  const { remote, scheme, identity } = from.transport;
  return {
    client_id: grant.clientId,
    ...(from.user !== undefined && { user: from.user }),
    remote,
    over: scheme,
    ...(identity !== undefined && { identity }),
    version: version === 5 ? '5.0' : '3.1.1',
    keep_alive: grant.keepAliveSeconds,
    session_present: from.present,
    session_expiry: grant.sessionExpirySeconds,
  };
}
