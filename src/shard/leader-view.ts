/**
 * What the leader of a shard tells any node of itself and the others: how far they are, and whether
 * it hears from them. For operators, and for a replica that wants to know whether it is a member.
 *
 * ```
 *  reply   [id, term, start, last, durable, committed, applied, members index, hands over to or
 *           null, [id, role, address, progress], ...]
 *          progress: [state, match, active, caught up, in reserve], null: it is the leader
 *          null: it does not lead any more
 * ```
 */

import type { Member, PeerStatus, Status } from '#raft';
import { booleanIn, countIn, listIn, textIn } from './plain-fields.ts';
import type { PlainData } from './record-codec.ts';
import { CodecError } from './wire.ts';

export type ViewOfPeer = Pick<
  PeerStatus,
  'state' | 'matchIndex' | 'active' | 'caughtUp' | 'inReserve'
>;

export interface ViewOfMember extends Member {
  /** Undefined: the leader itself. */
  readonly peer: ViewOfPeer | undefined;
}

export interface LeaderView {
  readonly id: string;
  readonly term: number;
  readonly start: number;
  /** The last entry of its log. */
  readonly last: number;
  readonly durable: number;
  readonly committed: number;
  readonly applied: number;
  readonly membersIndex: number;
  readonly transferTo: string | undefined;
  readonly members: readonly ViewOfMember[];
}

const STATES = ['probe', 'replicate', 'catchUp'] as const satisfies readonly PeerStatus['state'][];
const ROLES = ['voter', 'learner', 'joining'] as const satisfies readonly Member['role'][];

/** Undefined: this replica does not lead. */
export function leaderViewOf(status: Status | undefined): LeaderView | undefined {
  if (status?.role !== 'leader') return undefined;
  const { id, term, start, accepted, durable, commitIndex, applied, transferTo } = status;
  const { index, configuration } = status.configuration;
  const peers = new Map(status.peers.map((peer) => [peer.id, peer]));
  return {
    id,
    term,
    start,
    last: accepted,
    durable,
    committed: commitIndex,
    applied,
    membersIndex: index,
    transferTo,
    members: configuration.members.map((member) => ({ ...member, peer: peers.get(member.id) })),
  };
}

export function leaderViewData(view: LeaderView | undefined): PlainData {
  if (view === undefined) return null;
  const { id, term, start, last, durable, committed, applied, membersIndex, transferTo } = view;
  const members = view.members.map(({ id: name, role, address, peer }) => {
    return [name, role, address, peer === undefined ? null : peerData(peer)];
  });
  const counts = [term, start, last, durable, committed, applied, membersIndex];
  return [id, ...counts, transferTo ?? null, ...members];
}

function peerData({ state, matchIndex, active, caughtUp, inReserve }: ViewOfPeer): PlainData {
  return [state, matchIndex, active, caughtUp, inReserve];
}

export function leaderViewIn(data: PlainData): LeaderView | undefined {
  if (data === null) return undefined;
  const [id, term, start, last, durable, committed, applied, index, to, ...members] = listIn(data);
  return {
    id: textIn(id),
    term: countIn(term),
    start: countIn(start),
    last: countIn(last),
    durable: countIn(durable),
    committed: countIn(committed),
    applied: countIn(applied),
    membersIndex: countIn(index),
    transferTo: to === null ? undefined : textIn(to),
    members: members.map(memberIn),
  };
}

function memberIn(data: PlainData): ViewOfMember {
  const [id, word, address, peer] = listIn(data);
  const role = ROLES.find((each) => each === word);
  if (role === undefined) throw new CodecError('bad-value', 'the role of a member');
  const told = peer === null ? undefined : peerIn(peer);
  return { id: textIn(id), role, address: textIn(address), peer: told };
}

function peerIn(data: PlainData | undefined): ViewOfPeer {
  const [word, match, active, caughtUp, inReserve] = listIn(data);
  const state = STATES.find((each) => each === word);
  if (state === undefined) throw new CodecError('bad-value', 'the state of a member');
  return {
    state,
    matchIndex: countIn(match),
    active: booleanIn(active),
    caughtUp: booleanIn(caughtUp),
    inReserve: booleanIn(inReserve),
  };
}
