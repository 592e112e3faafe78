/**
 * The name of a session's queue, made from the client id: `$session/` and one topic level.
 *
 * What a name may not hold is written as `%` and two hexadecimal digits of its code unit, and so is
 * what is reserved at the first place (`$`, `.`, `~`); `%` itself always is. What would be longer
 * than a name may be is named by its SHA-256 behind `~`. So every client id has one name, and no
 * two have the same; one that is written as it is can be read by operators.
 */

import { createHash } from 'node:crypto';
import { SESSION_PREFIX } from '../machine/definitions.ts';

/** UTF-16 units of the whole name. */
const NAME_LENGTH_MAX = 255;

/** `clientId` is not empty, and well-formed Unicode. */
export function sessionQueueName(clientId: string): string {
  const level = clientId.replaceAll(/[\p{Cc}%/+#]/gu, escaped).replace(/^[$.~]/, escaped);
  const name = `${SESSION_PREFIX}${level}`;
  if (name.length <= NAME_LENGTH_MAX) return name;
  return `${SESSION_PREFIX}~${createHash('sha256').update(clientId, 'utf8').digest('hex')}`;
}

function escaped(unit: string): string {
  return `%${unit.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
}
