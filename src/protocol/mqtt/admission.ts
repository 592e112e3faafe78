/**
 * Who comes in through CONNECT: what it says of itself, how a refusal is told, and what its rights
 * have to cover before it is let in (MQTT 5.0 sections 3.1.4, 4.12; 3.1.1 section 3.1.4).
 *
 * A refusal tells nobody whether it was the user name or the password. Neither a password nor the
 * name that came with a wrong one is ever logged: people mistake the one for the other.
 */

import { queueTopic } from '../../broker/queue-topic.ts';
import type { AccessRights, Admission, Claim } from '../access.ts';
import type { Transport } from '../transport.ts';
import type { ConnectRefusal, Grant } from './handshake.ts';
import type { ConnectPacket } from './packet.ts';
import { ReasonCode } from './reason-codes.ts';
import type { Session, SessionSubscription } from './session.ts';

type Refused = Extract<Admission, { readonly refused: string }>['refused'];

export const ADMISSION_REFUSALS = {
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
    text: 'too many passwords wait to be checked: try again later',
  },
} as const satisfies Record<Refused, ConnectRefusal>;

export const ATTACH_REFUSALS = {
  full: { reasonCode: ReasonCode.quotaExceeded, text: 'too many sessions' },
  'other-user': {
    reasonCode: ReasonCode.notAuthorized,
    text: 'the session of this client id is that of another user',
  },
} as const satisfies Record<string, ConnectRefusal>;

const WILL_NOT_ALLOWED: ConnectRefusal = {
  reasonCode: ReasonCode.notAuthorized,
  text: 'no rule allows the will',
};

export function claimOf(
  { username, password }: ConnectPacket,
  { clientId }: Grant,
  from: { readonly transport: Transport; readonly isGone: () => boolean },
): Claim {
  const { transport, isGone } = from;
  return { user: username, password, certificate: transport.identity, clientId, isGone };
}

export function willRefusal(
  { will }: ConnectPacket,
  rights: AccessRights,
): ConnectRefusal | undefined {
  if (will === undefined || rights.may('publish', will.topic)) return undefined;
  return WILL_NOT_ALLOWED;
}

/** Whether everything that the session is subscribed to may still reach it. */
export function maySubscriptions(session: Session, rights: AccessRights): boolean {
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
