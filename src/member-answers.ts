/**
 * What the leader of a shard answers about its members and its lead: wishes of operators, from
 * whatever node, as calls to the core. Each is made once, or it is said why not.
 */

import type { MembershipChange } from '#raft';
import type { OperatedReplica } from './cluster-operator.ts';
import { leaderViewData, leaderViewOf } from './shard/leader-view.ts';
import { type MemberRequest, memberAnswerData } from './shard/member-requests.ts';
import type { PlainData } from './shard/record-codec.ts';

const ACCEPTED = { code: 'accepted', leader: undefined };

/** `transferred`: somebody has chosen who is to lead. */
export function answerOfMembers(
  replica: OperatedReplica,
  request: MemberRequest,
  transferred: () => void,
): PlainData {
  switch (request.kind) {
    case 'leader-view':
      return leaderViewData(leaderViewOf(replica.status()));
    case 'change-members': {
      const changed = replica.changeMembership(changeOf(request));
      return memberAnswerData(changed.kind === 'accepted' ? ACCEPTED : changed);
    }
    case 'transfer-lead': {
      transferred();
      const began = replica.transferLeadership(request.to);
      const leader = replica.status()?.leader;
      return memberAnswerData(began.kind === 'started' ? ACCEPTED : { code: began.code, leader });
    }
  }
}

function changeOf({
  what,
  id,
  address,
  votes,
}: Extract<MemberRequest, { kind: 'change-members' }>): MembershipChange {
  if (what !== 'add') return { kind: what, id };
  return { kind: what, id, address, role: votes ? 'joining' : 'learner' };
}
