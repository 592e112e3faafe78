/** Values of a dump as text for people. */

const SHOWN_PAYLOAD_BYTES = 64;

export function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}

export function time(ms: number): string {
  return new Date(ms).toISOString();
}

/** Control characters of a payload or a topic never reach the terminal. */
export function printable(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

export function payloadText(payload: Uint8Array): string {
  const shown = Buffer.from(payload.subarray(0, SHOWN_PAYLOAD_BYTES));
  const rest = payload.length - shown.length;
  const more = rest > 0 ? ` ... ${rest} B more (--json has all)` : '';
  return `${printable(shown.toString('utf8'))}${more}`;
}
