/**
 * The few shapes of DER (X.690) that a certificate is made of, written and read. Pure; knows
 * nothing of certificates, and does no cryptography.
 *
 * The reader is for a certificate that its owner named on the command line: it refuses what does
 * not fit, and reads nothing behind the end.
 */

export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  sequence: 0x30,
  set: 0x31,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const;

/** The bytes of one element. */
export type Der = Buffer;

/** An element of `tag` whose content are the parts, one behind the other. */
export function element(tag: number, ...parts: readonly Uint8Array[]): Der {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content]);
}

export const sequence = (...parts: readonly Uint8Array[]): Der => element(Tag.sequence, ...parts);
export const octets = (bytes: Uint8Array): Der => element(Tag.octetString, bytes);
export const utf8 = (text: string): Der => element(Tag.utf8, Buffer.from(text));
/** Its length is a whole number of bytes. */
export const bits = (bytes: Uint8Array, unused = 0): Der =>
  element(Tag.bitString, Buffer.from([unused]), bytes);
export const yes = (): Der => element(Tag.boolean, Buffer.from([0xff]));

/** Not negative; `bytes` with the highest first. */
export function integer(bytes: Uint8Array): Der {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from += 1;
  const shortest = bytes.subarray(from);
  const first = shortest[0] ?? 0;
  return element(Tag.integer, Buffer.from(first >= 0x80 ? [0] : []), shortest);
}

/** X.690 8.19: the first two numbers are one byte, the others seven bits a byte. */
export function oid(dotted: string): Der {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const number of rest) {
    const septets = [number % 128];
    for (let left = Math.floor(number / 128); left > 0; left = Math.floor(left / 128)) {
      septets.unshift((left % 128) + 128);
    }
    bytes.push(...septets);
  }
  return element(Tag.oid, Buffer.from(bytes));
}

/** RFC 5280 4.1.2.5: two digits of the year until 2049, four from then on. Whole seconds. */
export function time(at: Date): Der {
  const digits = `${at.toISOString().slice(0, 19).replaceAll(/\D/g, '')}Z`;
  return at.getUTCFullYear() < 2050
    ? element(Tag.utcTime, Buffer.from(digits.slice(2)))
    : element(Tag.generalizedTime, Buffer.from(digits));
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes: number[] = [];
  for (let left = length; left > 0; left = Math.floor(left / 256)) bytes.unshift(left % 256);
  return Buffer.from([0x80 + bytes.length, ...bytes]);
}

export interface Read {
  readonly tag: number;
  readonly content: Buffer;
  /** With tag and length, as it stands. */
  readonly whole: Der;
}

/** The elements that lie one behind the other in `bytes`; undefined where they do not fit. */
export function elementsOf(bytes: Buffer): readonly Read[] | undefined {
  const found: Read[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at] ?? 0;
    const first = bytes[at + 1] ?? 0xff;
    const more = first < 0x80 ? 0 : first - 0x80;
    const start = at + 2 + more;
    // Four bytes of length are far more than a certificate has.
    if (more > 4 || start > bytes.length) return undefined;
    const length = more === 0 ? first : bytes.readUIntBE(at + 2, more);
    if (start + length > bytes.length) return undefined;
    const content = bytes.subarray(start, start + length);
    found.push({ tag, content, whole: bytes.subarray(at, start + length) });
    at = start + length;
  }
  return found;
}
