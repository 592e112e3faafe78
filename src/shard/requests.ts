/**
 * Rare questions of the client to the shard, and their answers: plain data as in the records
 * (`record-codec.ts`), so that nothing in them can name a property or a class.
 *
 * ```
 *  request   ["stats"]
 *            ["declare", definition, ...]     machine/definitions.ts, `placedData`
 *            ["stop"]
 *            what operators ask: admin-requests.ts; where names live: place-requests.ts;
 *            of members: member-requests.ts; what shards ask each other: transfer-requests.ts;
 *            of durable sessions: session-requests.ts
 *            of retained messages: retained-requests.ts
 *  reply     stats:   [name, number, name, number, ...]
 *            declare: ["created" | "same" | "updated", ...]
 *            stop:    null
 *            refused: [code, words]           words for people; a code of ADMIN_REFUSALS,
 *                                             "session " and one of SESSION_REFUSALS,
 *                                             "elsewhere" (ShardError) or ""
 * ```
 *
 * `stop` is answered when the log is closed with its mark of a clean stop; nothing follows it.
 */

import { ADMIN_REFUSALS, AdminError, SESSION_REFUSALS, SessionError } from '../broker/ports.ts';
import { placedData } from '../machine/definitions.ts';
import type { PlacedDefinition } from '../machine/definitions.ts';
import { ADMIN_REQUESTS, adminRequestData, adminRequestOf, placedIn } from './admin-requests.ts';
import type { AdminRequest } from './admin-requests.ts';
import { MEMBER_REQUESTS, memberRequestData, memberRequestOf } from './member-requests.ts';
import type { MemberRequest } from './member-requests.ts';
import { PLACE_REQUESTS, placeRequestData, placeRequestOf } from './place-requests.ts';
import type { PlaceRequest } from './place-requests.ts';
import { listIn, numberIn, textIn } from './plain-fields.ts';
import { type PlainData, decodeForeign, encodeRecord } from './record-codec.ts';
import {
  RETAINED_REQUESTS,
  type RetainedRequest,
  retainedRequestData,
  retainedRequestOf,
} from './retained-requests.ts';
import { SESSION_REQUESTS, sessionRequestData, sessionRequestOf } from './session-requests.ts';
import type { SessionRequest } from './session-requests.ts';
import { ShardError } from './shard-error.ts';
import { type TransferRequest, transferRequestOf } from './transfer-requests.ts';
import { CodecError } from './wire.ts';

/** What a declaration did: it stood there already, or with other limits, or not at all. */
export const DECLARED = ['created', 'same', 'updated'] as const;
export type Declared = (typeof DECLARED)[number];

/** Before the code of a SessionError: some are codes of an AdminError too. */
const SESSION_WORD = 'session ';

/** Plain numbers by name, for logs and metrics. */
export type ShardStats = ReadonlyMap<string, number>;

export type ShardRequest =
  | { readonly kind: 'stats' }
  | { readonly kind: 'declare'; readonly queues: readonly PlacedDefinition[] }
  | { readonly kind: 'stop' }
  | MemberRequest
  | PlaceRequest
  | TransferRequest
  | SessionRequest
  | RetainedRequest
  | AdminRequest;

/** Those whose answer is plain data. */
export type AnsweredRequest =
  | MemberRequest
  | PlaceRequest
  | SessionRequest
  | RetainedRequest
  | AdminRequest;

export function isPlaceRequest(request: ShardRequest): request is PlaceRequest {
  return (PLACE_REQUESTS as readonly string[]).includes(request.kind);
}

export function isSessionRequest(request: ShardRequest): request is SessionRequest {
  return (SESSION_REQUESTS as readonly string[]).includes(request.kind);
}

export function isMemberRequest(request: ShardRequest): request is MemberRequest {
  return (MEMBER_REQUESTS as readonly string[]).includes(request.kind);
}

export function isRetainedRequest(request: ShardRequest): request is RetainedRequest {
  return (RETAINED_REQUESTS as readonly string[]).includes(request.kind);
}

export function encodeRequest(request: ShardRequest): Uint8Array {
  switch (request.kind) {
    case 'stats':
    case 'stop':
      return encodeRecord([request.kind]);
    case 'declare': {
      const queues = request.queues.map((queue) => placedData(queue) as PlainData);
      return encodeRecord([request.kind, ...queues]);
    }
    case 'take-transfer':
      return encodeRecord([request.kind, request.command]);
    default:
      if (isMemberRequest(request)) return encodeRecord(memberRequestData(request));
      if (isSessionRequest(request)) return encodeRecord(sessionRequestData(request));
      if (isRetainedRequest(request)) return encodeRecord(retainedRequestData(request));
      return encodeRecord(
        isPlaceRequest(request) ? placeRequestData(request) : adminRequestData(request),
      );
  }
}

export function decodeRequest(body: Uint8Array): ShardRequest {
  const [kind, ...rest] = listIn(decodeBody(body));
  switch (kind) {
    case 'stats':
    case 'stop':
      return { kind };
    case 'declare':
      return { kind, queues: rest.map(placedIn) };
    case 'take-transfer':
      return transferRequestOf(rest);
    default: {
      const place = PLACE_REQUESTS.find((each) => each === kind);
      if (place !== undefined) return placeRequestOf(place, rest);
      const ofMembers = MEMBER_REQUESTS.find((each) => each === kind);
      if (ofMembers !== undefined) return memberRequestOf(ofMembers, rest);
      const ofSession = SESSION_REQUESTS.find((each) => each === kind);
      if (ofSession !== undefined) return sessionRequestOf(ofSession, rest);
      const retained = RETAINED_REQUESTS.find((each) => each === kind);
      if (retained !== undefined) return retainedRequestOf(retained, rest);
      const asked = ADMIN_REQUESTS.find((each) => each === kind);
      if (asked === undefined) throw new CodecError('unknown-kind', 'a request of unknown kind');
      return adminRequestOf(asked, rest);
    }
  }
}

export function encodeStats(stats: ShardStats): Uint8Array {
  return encodeRecord([...stats].flat());
}

export function decodeStats(body: Uint8Array): ShardStats {
  const fields = listIn(decodeBody(body));
  const stats = new Map<string, number>();
  for (let at = 0; at < fields.length; at += 2) {
    stats.set(textIn(fields[at]), numberIn(fields[at + 1]));
  }
  return stats;
}

export function encodeDeclared(outcomes: readonly Declared[]): Uint8Array {
  return encodeRecord(outcomes);
}

export function decodeDeclared(body: Uint8Array): Declared[] {
  return listIn(decodeBody(body)).map((each) => {
    const known = DECLARED.find((declared) => declared === each);
    if (known === undefined) throw new CodecError('bad-value', 'the outcome of a declaration');
    return known;
  });
}

/** Why a request was refused; an AdminError keeps its code. */
export function encodeRefusal(error: unknown): Uint8Array {
  const isElsewhere = error instanceof ShardError && error.code === 'elsewhere';
  let code = error instanceof AdminError || isElsewhere ? error.code : '';
  if (error instanceof SessionError) code = `${SESSION_WORD}${error.code}`;
  return encodeRecord([code, error instanceof Error ? error.message : String(error)]);
}

export function decodeRefusal(body: Uint8Array): Error {
  const [code, words] = listIn(decodeBody(body));
  const known = ADMIN_REFUSALS.find((each) => each === code);
  const ofSession = SESSION_REFUSALS.find((each) => `${SESSION_WORD}${each}` === code);
  if (ofSession !== undefined) return new SessionError(ofSession, textIn(words));
  if (known === undefined) {
    return new ShardError(code === 'elsewhere' ? 'elsewhere' : 'refused', textIn(words));
  }
  return new AdminError(known, textIn(words));
}

export function decodeBody(body: Uint8Array): PlainData {
  try {
    return decodeForeign(body);
  } catch (cause) {
    throw new CodecError('bad-value', cause instanceof Error ? cause.message : 'no plain data');
  }
}
