/** Reason codes of MQTT 5.0 and return codes of 3.1.1 as words. */

import { ReasonCode } from '../protocol/mqtt/reason-codes.ts';

const CONNECT_RETURN_CODES: readonly string[] = [
  'accepted',
  'unacceptable protocol version',
  'client id rejected',
  'server unavailable',
  'bad user name or password',
  'not authorized',
];

const NAMES = new Map<number, string>(
  Object.entries(ReasonCode).map(([name, code]) => [
    code,
    name.replaceAll(/[A-Z0-9]+/g, (part) => ` ${part.toLowerCase()}`),
  ]),
);

export interface Reason {
  readonly code: number;
  /** The reason string of the broker, if it sent one. */
  readonly said?: string | undefined;
}

function told(name: string | undefined, { code, said }: Reason): string {
  const hex = `0x${code.toString(16).padStart(2, '0')}`;
  // A text from the wire goes to a terminal: without control characters.
  const words = said === undefined ? '' : `: ${said.replaceAll(/\p{Cc}/gu, ' ')}`;
  return `${name ?? 'unknown reason'} (${hex})${words}`;
}

export function reasonText(reason: Reason): string {
  return told(NAMES.get(reason.code), reason);
}

/** A CONNACK has codes of its own in 3.1.1. */
export function connackText(version: 4 | 5, reason: Reason): string {
  return version === 5 ? reasonText(reason) : told(CONNECT_RETURN_CODES[reason.code], reason);
}
