/**
 * What the leader of a shard tells any node of the others: how far they are, and whether it hears
 * from them. For operators; nothing is decided by it.
 *
 * ```
 *  reply   [term, last, [id, state, match, active, caught up, in reserve], ...]
 *          null: it does not lead any more, or has no members
 * ```
 */

import type { PeerStatus, Status } from '#raft';
import { booleanIn, countIn, listIn, textIn } from './plain-fields.ts';
import type { PlainData } from './record-codec.ts';
import { CodecError } from './wire.ts';

export type ViewOfMember = Pick<
  PeerStatus,
  'id' | 'state' | 'matchIndex' | 'active' | 'caughtUp' | 'inReserve'
>;

export interface LeaderView {
  readonly term: number;
  /** The last entry of its log. */
  readonly last: number;
  readonly members: readonly ViewOfMember[];
}

const STATES = ['probe', 'replicate', 'catchUp'] as const satisfies readonly PeerStatus['state'][];

/** Undefined: this replica does not lead. */
export function leaderViewOf(status: Status | undefined): LeaderView | undefined {
  if (status?.role !== 'leader') return undefined;
  return { term: status.term, last: status.accepted, members: status.peers };
}

export function leaderViewData(view: LeaderView | undefined): PlainData {
  if (view === undefined) return null;
  const members = view.members.map(({ id, state, matchIndex, active, caughtUp, inReserve }) => {
    return [id, state, matchIndex, active, caughtUp, inReserve];
  });
  return [view.term, view.last, ...members];
}

export function leaderViewIn(data: PlainData): LeaderView | undefined {
  if (data === null) return undefined;
  const [term, last, ...members] = listIn(data);
  return { term: countIn(term), last: countIn(last), members: members.map(memberIn) };
}

function memberIn(data: PlainData): ViewOfMember {
  const [id, word, match, active, caughtUp, inReserve] = listIn(data);
  const state = STATES.find((each) => each === word);
  if (state === undefined) throw new CodecError('bad-value', 'the state of a member');
  return {
    id: textIn(id),
    state,
    matchIndex: countIn(match),
    active: booleanIn(active),
    caughtUp: booleanIn(caughtUp),
    inReserve: booleanIn(inReserve),
  };
}
