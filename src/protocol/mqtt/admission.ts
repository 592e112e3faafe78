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
import { ADMISSION_REFUSALS } from './admission-refusals.ts';
import { type FirstExchange, type Proved, authenticated } from './authentication.ts';
import type { Ending, MqttContext } from './context.ts';
import { type ConnectRefusal, type Grant, judgeConnect } from './handshake.ts';
import type { AuthProperties, ConnectPacket } from './packet.ts';
import { ReasonCode } from './reason-codes.ts';
import type { Session, SessionSubscription } from './session.ts';
import type { AttachRequest } from './sessions.ts';
import { restoredSubscription } from './stored-subscriptions.ts';

const WILL_NOT_ALLOWED: ConnectRefusal = {
  reasonCode: ReasonCode.notAuthorized,
  text: 'no rule allows the will',
};

export interface Granted {
  readonly grant: Grant;
  /** Undefined: it may do everything. */
  readonly rights: AccessRights | undefined;
  /** The last word of an exchange of AUTH, which CONNACK says. */
  readonly authentication?: AuthProperties;
}
export type Verdict = Granted | ConnectRefusal;

export interface JudgeParts {
  readonly context: MqttContext;
  readonly transport: Pick<Transport, 'identity'>;
  readonly output: FirstExchange['output'];
  /** The next packet goes to `hear`: the client has the word in an exchange of AUTH. */
  readonly listen: FirstExchange['listen'];
  /** Nobody waits for the verdict any more. */
  readonly isGone: () => boolean;
}

/**
 * At once, unless a password must be checked or the client asked; first what costs little. Never
 * rejects.
 */
export function judged(packet: ConnectPacket, parts: JudgeParts): Verdict | Promise<Verdict> {
  const { context, transport, isGone } = parts;
  const { access, options, broker } = context;
  const grant = judgeConnect(packet, options, broker);
  if ('reasonCode' in grant) return grant;
  const method = packet.properties?.authenticationMethod;
  if (method !== undefined) return judgedByMethod(packet, { grant, method }, parts);
  if (access === undefined) return { grant, rights: undefined };
  const { username: user, password } = packet;
  const { clientId } = grant;
  const claim = { user, password, certificate: transport.identity, clientId, isGone };
  const verdictOf = (admission: Admission): Verdict | Promise<Verdict> =>
    'refused' in admission
      ? ADMISSION_REFUSALS[admission.refused]
      : granted(packet, { grant, rights: admission.rights }, isGone);
  const found = access.admit(claim);
  return found instanceof Promise ? found.then(verdictOf) : verdictOf(found);
}

/** By an exchange of AUTH (4.12); a password beside it is not looked at. */
function judgedByMethod(
  packet: ConnectPacket,
  { grant, method }: { readonly grant: Grant; readonly method: string },
  { context, transport, output, listen, isGone }: JudgeParts,
): Verdict | Promise<Verdict> {
  const { username: user, properties } = packet;
  const claim = { user, certificate: transport.identity, clientId: grant.clientId };
  const exchange = context.access?.exchange(method, claim);
  if (exchange === undefined) return ADMISSION_REFUSALS.method;
  const recipient = { version: packet.version, maximumPacketSize: grant.maximumPacketSize };
  const data = properties?.authenticationData;
  const verdictOf = (end: Proved | ConnectRefusal): Verdict | Promise<Verdict> => {
    if ('reasonCode' in end) return end;
    const { rights, properties: authentication } = end;
    return granted(packet, { grant, rights, authentication }, isGone);
  };
  const found = authenticated({ method, data, exchange, recipient, output, listen });
  return found instanceof Promise ? found.then(verdictOf) : verdictOf(found);
}

/** A service may have to be asked about the will. */
function granted(
  { will }: ConnectPacket,
  verdict: Granted,
  isGone: () => boolean,
): Verdict | Promise<Verdict> {
  const { rights } = verdict;
  if (will === undefined || rights === undefined) return verdict;
  const { topic } = will;
  rights.forget();
  const judgedWill = (): Verdict => {
    if (rights.may('publish', topic)) return verdict;
    return rights.isUnanswered ? ADMISSION_REFUSALS.busy : WILL_NOT_ALLOWED;
  };
  if (!rights.asks || rights.knows('publish', topic)) return judgedWill();
  return rights.ask([{ action: 'publish', topic }], isGone).then(() => {
    // There may be other users by now.
    return rights.isRevoked ? ADMISSION_REFUSALS['bad-credentials'] : judgedWill();
  });
}

/** The session that a client asks for, where it may have that one. `will`: of the packet. */
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
): Ending<typeof ReasonCode.notAuthorized> | undefined {
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
