/**
 * Names and passwords as SCRAM compares them: SASLprep (RFC 4013), of which the tables of Unicode
 * 3.2 and the order of steps are those of a library.
 *
 * Printable ASCII is as it is, so nearly nobody pays for more. A text that SASLprep refuses has
 * none: control characters, private use, right-to-left mixed with left-to-right.
 */

import { saslprep } from '@mongodb-js/saslprep';

/**
 * `text` as it is stored (RFC 3454 section 7: "stored string"); undefined: it cannot be. Nothing is
 * left of some, and that is refused too (RFC 5802 section 5.1).
 */
export function prepareStored(text: string): string | undefined {
  return prepare(text, false);
}

/** Of a user name, in UTF-16 units. */
export const NAME_LENGTH_MAX = 256;

/**
 * The same of a name that a client says: characters that Unicode 3.2 did not know are let through,
 * and of a longer name nothing is computed: normalized, 64 KiB of it would hold up the event loop.
 */
export function prepareQuery(name: string): string | undefined {
  return name.length > NAME_LENGTH_MAX ? undefined : prepare(name, true);
}

function prepare(text: string, allowUnassigned: boolean): string | undefined {
  if (/^[\x20-\x7e]+$/.test(text)) return text;
  try {
    const prepared = saslprep(text, { allowUnassigned });
    return prepared === '' ? undefined : prepared;
  } catch {
    // Prohibited, or nothing is left.
    return undefined;
  }
}
