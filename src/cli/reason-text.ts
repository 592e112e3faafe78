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

function hex(code: number): string {
  return `0x${code.toString(16).padStart(2, '0')}`;
}

export function reasonText(
  version: 4 | 5,
  packet: string,
  code: number,
  said: string | undefined,
): string {
  const name = version === 4 && packet === 'connack' ? CONNECT_RETURN_CODES[code] : NAMES.get(code);
  // A text from the wire goes to a terminal: without control characters.
  const words = said === undefined ? '' : `: ${said.replaceAll(/\p{Cc}/gu, ' ')}`;
  return `${name ?? 'unknown reason'} (${hex(code)})${words}`;
}
