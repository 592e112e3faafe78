/**
 * In which group a consumer is: by the name that it gives, or by what its queue says for those who
 * give none; and whether that group stays when its members are gone.
 */

import type { GroupKind } from '../machine/command.ts';
import type { DefaultGroup } from '../machine/definitions.ts';
import { takesAll } from '../machine/filters.ts';
import { DEFAULT_GROUP_NAME } from '../machine/ids.ts';

export interface GroupChoice {
  readonly name: string;
  /** '' takes all. */
  readonly filter: string;
  readonly kind: GroupKind;
  /** It ends with its one consumer. */
  readonly isPrivate: boolean;
}

export interface GroupWish {
  readonly group: string | undefined;
  readonly filter: string;
  readonly clientId: string;
}

/** `own` is a name that nobody else has, for who has neither group nor client id. */
export function chooseGroup(wish: GroupWish, queue: DefaultGroup, own: string): GroupChoice {
  const filter = takesAll(wish.filter) ? '' : wish.filter;
  const suffix = filter === '' ? '' : `@${filter}`;
  if (wish.group !== undefined) {
    return { name: wish.group + suffix, filter, kind: 'explicit', isPrivate: false };
  }
  if (queue === 'shared') {
    // A filter makes a group that nobody named: it must not hold the queue for ever.
    const kind = filter === '' ? 'explicit' : 'automatic';
    return { name: DEFAULT_GROUP_NAME + suffix, filter, kind, isPrivate: false };
  }
  const isPrivate = wish.clientId === '';
  const base = isPrivate ? own : clientGroup(wish.clientId);
  return { name: base + suffix, filter, kind: 'automatic', isPrivate };
}

/** `billing-1` and `billing-2` compete; an id that begins with `-` is whole. */
function clientGroup(clientId: string): string {
  const dash = clientId.indexOf('-');
  return dash > 0 ? clientId.slice(0, dash) : clientId;
}
