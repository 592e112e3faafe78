/**
 * AUTH (MQTT 5.0 sections 3.15, 4.12): an exchange between CONNECT and CONNACK, and again while the
 * client is connected. Which method it is, and what its data means, is not known here.
 *
 *     CONNECT (method, data)  AUTH 0x18 ... AUTH 0x18  CONNACK (method, data)
 *     AUTH 0x19 (method, data)  AUTH 0x18 ... AUTH 0x18  AUTH 0x00 (method, data)
 *
 * Whatever of it fails ends the connection [MQTT-4.12.0-4], [MQTT-4.12.1-2]. AUTH of ours has no
 * reason string, so it needs no word on problem information.
 */

import type { AccessControl, AccessRights, Exchange } from '../access.ts';
import { ADMISSION_REFUSALS } from './admission-refusals.ts';
import type { Ending } from './context.ts';
import { encodeAuth, type Recipient } from './encode.ts';
import type { ConnectRefusal } from './handshake.ts';
import type { Output } from './output.ts';
import type { AuthPacket, AuthProperties, ClientPacket } from './packet.ts';
import { type AuthReason, ReasonCode, type ServerDisconnectReason } from './reason-codes.ts';

/** Of a second authentication, from its first AUTH to its last. */
export const REAUTHENTICATION_MS_MAX = 10_000;

/** Where AUTH packets go. */
export interface AuthWay {
  readonly recipient: Recipient;
  readonly output: Pick<Output, 'writer' | 'appended'>;
}

/** Who the client is, and what CONNACK or the last AUTH says of the exchange. */
export interface Proved {
  readonly rights: AccessRights;
  readonly properties: AuthProperties;
}

type Problem = Ending<typeof ReasonCode.protocolError | typeof ReasonCode.packetTooLarge>;
/** 'asked': the client has the next word. */
type Turn = 'asked' | Proved | Problem | { readonly refused: keyof typeof ADMISSION_REFUSALS };

const TOO_LARGE: Problem = {
  reasonCode: ReasonCode.packetTooLarge,
  text: 'AUTH is larger than the client takes',
};

/** One exchange: its method, and who has the next word. */
class Conversation {
  readonly method: string;
  readonly #exchange: Exchange;
  readonly #way: AuthWay;

  constructor(method: string, exchange: Exchange, way: AuthWay) {
    this.method = method;
    this.#exchange = exchange;
    this.#way = way;
  }

  /** The first word of the client; one that has none is asked for it (RFC 4422 section 3.3). */
  begin(data: Uint8Array | undefined): Turn {
    if (data !== undefined) return this.#next(data);
    return this.say(ReasonCode.continueAuthentication, {}) ? 'asked' : TOO_LARGE;
  }

  /** [MQTT-4.12.0-3], [MQTT-4.12.0-5]: what it is not, is a protocol error. */
  answered({ reasonCode, properties }: AuthPacket): Turn {
    if (reasonCode !== ReasonCode.continueAuthentication) {
      return protocolError('AUTH within an exchange has another reason code than 0x18');
    }
    if (properties?.authenticationMethod !== this.method) return otherMethod();
    return this.#next(properties.authenticationData ?? new Uint8Array(0));
  }

  #next(data: Uint8Array): Turn {
    const step = this.#exchange.next(data);
    if ('refused' in step) return step;
    if ('rights' in step) return { rights: step.rights, properties: this.#properties(step.data) };
    const isSaid = this.say(ReasonCode.continueAuthentication, this.#properties(step.ask));
    return isSaid ? 'asked' : TOO_LARGE;
  }

  #properties(authenticationData: Uint8Array): AuthProperties {
    return { authenticationMethod: this.method, authenticationData };
  }

  /** [MQTT-4.12.0-2], [MQTT-4.12.0-5]. False: the client takes no packet of that size. */
  say(reasonCode: AuthReason, properties: AuthProperties): boolean {
    const { output, recipient } = this.#way;
    const named = { authenticationMethod: this.method, ...properties };
    const fits = encodeAuth(output.writer, recipient, { reasonCode, properties: named });
    output.appended();
    return fits;
  }
}

function protocolError(text: string): Problem {
  return { reasonCode: ReasonCode.protocolError, text };
}

function otherMethod(): Problem {
  return protocolError('AUTH with another method than that of CONNECT');
}

export interface FirstExchange extends AuthWay {
  readonly method: string;
  /** That of CONNECT; looked at during the call. */
  readonly data: Uint8Array | undefined;
  readonly exchange: Exchange;
  /** The next packet goes to `hear`. */
  readonly listen: (hear: (packet: ClientPacket) => void) => void;
}

/** Before CONNACK. At once where no word of the client is missing; never rejects. */
export function authenticated(
  first: FirstExchange,
): Proved | ConnectRefusal | Promise<Proved | ConnectRefusal> {
  const { method, data, exchange, listen, recipient, output } = first;
  const conversation = new Conversation(method, exchange, { recipient, output });
  const turn = conversation.begin(data);
  if (turn !== 'asked') return endOf(turn);
  return new Promise((resolve) => {
    const hear = (packet: ClientPacket): void => {
      const next =
        packet.kind === 'auth'
          ? conversation.answered(packet)
          : protocolError('another packet than AUTH or DISCONNECT before CONNACK');
      if (next === 'asked') listen(hear);
      else resolve(endOf(next));
    };
    listen(hear);
  });
}

function endOf(turn: Exclude<Turn, 'asked'>): Proved | ConnectRefusal {
  return 'refused' in turn ? ADMISSION_REFUSALS[turn.refused] : turn;
}

export interface ReauthenticationParts extends AuthWay {
  /** That of CONNECT [MQTT-4.12.1-1]. */
  readonly method: string;
  readonly access: AccessControl;
  readonly rights: AccessRights;
  readonly clientId: string;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
}

/**
 * A client that is connected shows again who it is. All else goes on meanwhile, by the rights that
 * it has; another user is no success.
 */
export class Reauthentication {
  readonly #parts: ReauthenticationParts;
  #underWay: { readonly conversation: Conversation; readonly untilMs: number } | undefined;

  constructor(parts: ReauthenticationParts) {
    this.#parts = parts;
  }

  /** Why the connection ends. */
  received(packet: AuthPacket): Ending<ServerDisconnectReason> | undefined {
    const isFirst = packet.reasonCode === ReasonCode.reauthenticate;
    if (isFirst === (this.#underWay !== undefined)) {
      const text = isFirst ? 'AUTH 0x19 within an exchange' : 'AUTH without an exchange';
      return protocolError(text);
    }
    const turn = this.#underWay?.conversation.answered(packet) ?? this.#begin(packet);
    if (turn === 'asked') return undefined;
    const conversation = this.#underWay?.conversation;
    this.#underWay = undefined;
    if ('refused' in turn) return refused(`AUTH: ${ADMISSION_REFUSALS[turn.refused].text}`);
    if ('reasonCode' in turn) return turn;
    const isSaid = conversation?.say(ReasonCode.success, turn.properties) === true;
    return isSaid ? undefined : TOO_LARGE;
  }

  #begin({ properties }: AuthPacket): Turn {
    const { method, access, rights, clientId, now } = this.#parts;
    if (properties?.authenticationMethod !== method) return otherMethod();
    const claim = { user: rights.user, certificate: undefined, clientId };
    const exchange = access.exchange(method, claim);
    if (exchange === undefined) return otherMethod();
    const conversation = new Conversation(method, exchange, this.#parts);
    this.#underWay = { conversation, untilMs: now() + REAUTHENTICATION_MS_MAX };
    return conversation.begin(properties.authenticationData);
  }

  /** Why the connection ends: it took too long. */
  overdue(now: number): Ending<ServerDisconnectReason> | undefined {
    if (this.#underWay === undefined || now < this.#underWay.untilMs) return undefined;
    return refused('the exchange of AUTH was not ended in time');
  }
}

function refused(text: string): Ending<ServerDisconnectReason> {
  return { reasonCode: ReasonCode.notAuthorized, text };
}

/** AUTH of a client that is connected: why its connection ends [MQTT-4.12.0-7]. */
export function reauthenticated(
  packet: AuthPacket,
  reauthentication: Reauthentication | undefined,
): Ending<ServerDisconnectReason> | undefined {
  if (reauthentication === undefined) return protocolError('AUTH without a method in CONNECT');
  return reauthentication.received(packet);
}
