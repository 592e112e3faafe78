/**
 * How a refusal of the broker becomes a gRPC status and back, and what a failed call was. Both
 * tables are closed: a new code does not compile until it has its place here.
 *
 * The status code alone does not tell `no-queue` from `no-group`; the trailer `fluxmq-refusal`
 * does. It is written by this server only, so a status without it never was a refusal.
 */

import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { ADMIN_REFUSALS, AdminError, type AdminRefusal } from '../broker/ports.ts';

export const REFUSAL_STATUS = {
  'no-queue': status.NOT_FOUND,
  'no-group': status.NOT_FOUND,
  exists: status.ALREADY_EXISTS,
  invalid: status.INVALID_ARGUMENT,
  unavailable: status.UNAVAILABLE,
} as const satisfies Record<AdminRefusal, status>;

const REFUSAL_TRAILER = 'fluxmq-refusal';
const BUSY = 'busy';
/** All headers together have 16 KiB, and a character may take 9 of them. */
const DETAILS_LENGTH_MAX = 1_000;

/** Why a call had no answer of the broker. */
export const ADMIN_CALL_ERRORS = [
  /** Nobody listens, or the connection was lost: whether it was done is unknown in that case. */
  'unreachable',
  /** No answer in time; it may still be done. */
  'timeout',
  /** Too many requests at a time: not done. */
  'busy',
  /** The request or its answer passes the bound of bytes. */
  'too-large',
  /** A broker of another version, or a bug. */
  'failed',
] as const;
export type AdminCallErrorCode = (typeof ADMIN_CALL_ERRORS)[number];

export class AdminCallError extends Error {
  readonly code: AdminCallErrorCode;

  constructor(code: AdminCallErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'AdminCallError';
    this.code = code;
  }
}

const CALL_ERRORS: Partial<Record<status, AdminCallErrorCode>> = {
  [status.UNAVAILABLE]: 'unreachable',
  [status.CANCELLED]: 'unreachable',
  [status.DEADLINE_EXCEEDED]: 'timeout',
  // Of gRPC itself: `busy` has the trailer.
  [status.RESOURCE_EXHAUSTED]: 'too-large',
};

export interface Refusal {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

export function refusalOf(error: AdminError): Refusal {
  const metadata = new Metadata();
  metadata.set(REFUSAL_TRAILER, error.code);
  return { code: REFUSAL_STATUS[error.code], details: shortened(error.message), metadata };
}

export function busyStatus(details: string): Refusal {
  const metadata = new Metadata();
  metadata.set(REFUSAL_TRAILER, BUSY);
  return { code: status.RESOURCE_EXHAUSTED, details, metadata };
}

/** No answer of the broker: it took too long, or it is a bug. */
export function statusOf(code: status, details: string): Refusal {
  return { code, details: shortened(details), metadata: new Metadata() };
}

/** What the client hears of a failed call to the broker behind `path`. */
export function errorOf(error: ServiceError, path: string): AdminError | AdminCallError {
  const [named] = error.metadata.get(REFUSAL_TRAILER);
  const refusal = ADMIN_REFUSALS.find((each) => each === named);
  if (refusal !== undefined) return new AdminError(refusal, error.details);
  const code = named === BUSY ? BUSY : (CALL_ERRORS[error.code] ?? 'failed');
  return new AdminCallError(code, wordsOf(code, error.details, path), { cause: error });
}

/** An answer that does not fit is one of another version, and no refusal. */
export function understood<Wire, Value>(wire: Wire, read: (wire: Wire) => Value): Value {
  try {
    return read(wire);
  } catch (cause) {
    if (!(cause instanceof AdminError)) throw cause;
    const text = `the answer of the broker is not understood: ${cause.message}`;
    throw new AdminCallError('failed', text, { cause });
  }
}

/** Those of gRPC speak of its own parts. */
function wordsOf(code: AdminCallErrorCode, details: string, path: string): string {
  switch (code) {
    case 'timeout':
      return 'the broker did not answer in time; what was asked for may still be done';
    case 'unreachable':
      return details.includes('ECONNREFUSED')
        ? `no broker runs here: nobody answers on ${path}, which a killed one left`
        : `the connection to the broker on ${path} was lost: ${details}`;
    case 'busy':
    case 'too-large':
    case 'failed':
      return details;
  }
}

/** Half a character, also where it was cut, is none that a status could carry. */
function shortened(details: string): string {
  const cut =
    details.length <= DETAILS_LENGTH_MAX ? details : `${details.slice(0, DETAILS_LENGTH_MAX)}...`;
  return cut.replaceAll(/\p{Surrogate}/gu, '\ufffd');
}
