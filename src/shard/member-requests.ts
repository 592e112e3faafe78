/**
 * What is asked of the leader of a shard about its members and its lead, as plain data (see
 * requests.ts). A wish is made once: `accepted` says that it is in the leader's log and in use
 * there, or begun, and not that it is committed.
 *
 * ```
 *  request   ["leader-view"]
 *            ["change-members", what, server id, address, votes]
 *            ["transfer-lead", server id]
 *  reply     leader-view: leader-view.ts
 *            both others: [code, who leads or null]   "accepted", or why not
 * ```
 */

import { booleanIn, listIn, textIn } from './plain-fields.ts';
import type { PlainData } from './record-codec.ts';
import { CodecError } from './wire.ts';

export const MEMBER_CHANGES = ['add', 'promote', 'demote', 'remove'] as const;

export interface MemberWish {
  readonly what: (typeof MEMBER_CHANGES)[number];
  readonly id: string;
  /** Where the others reach it; of `add` alone, as what follows. */
  readonly address: string;
  readonly votes: boolean;
}

export type MemberRequest =
  | { readonly kind: 'leader-view' }
  | ({ readonly kind: 'change-members' } & MemberWish)
  | { readonly kind: 'transfer-lead'; readonly to: string };

export const MEMBER_REQUESTS = [
  'leader-view',
  'change-members',
  'transfer-lead',
] as const satisfies readonly MemberRequest['kind'][];

export interface MemberAnswer {
  readonly code: string;
  readonly leader: string | undefined;
}

export function memberRequestData(request: MemberRequest): PlainData {
  switch (request.kind) {
    case 'leader-view':
      return [request.kind];
    case 'change-members':
      return [request.kind, request.what, request.id, request.address, request.votes];
    case 'transfer-lead':
      return [request.kind, request.to];
  }
}

export function memberRequestOf(
  kind: MemberRequest['kind'],
  fields: readonly PlainData[],
): MemberRequest {
  switch (kind) {
    case 'leader-view':
      return { kind };
    case 'change-members': {
      const [word, id, address, votes] = fields;
      const what = MEMBER_CHANGES.find((each) => each === word);
      if (what === undefined) throw new CodecError('bad-value', 'a change of members');
      const of = { id: textIn(id), address: textIn(address), votes: booleanIn(votes) };
      return { kind, what, ...of };
    }
    case 'transfer-lead':
      return { kind, to: textIn(fields[0]) };
  }
}

export function memberAnswerData({ code, leader }: MemberAnswer): PlainData {
  return [code, leader ?? null];
}

export function memberAnswerIn(data: PlainData): MemberAnswer {
  const [code, leader] = listIn(data);
  return { code: textIn(code), leader: leader === null ? undefined : textIn(leader) };
}
