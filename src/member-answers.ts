/**
 * What the leader of a shard answers about its members and its lead: wishes of operators, from
 * whatever node, as calls to the core. Each is made once, or it is said why not.
 *
 * A replica is added where the map of shards names its node as a host, as far as this one knows:
 * one that was removed may never hear of it, and asks to be a member as long as it runs. From shard
 * 0 none is removed whose node has a replica of another one: it would hear of no change of the map
 * any more, and lead by an old one.
 */

import type { MembershipChange } from '#raft';
import type { OperatedReplica } from './cluster-operator.ts';
import { leaderViewData, leaderViewOf } from './shard/leader-view.ts';
import { type MemberRequest, memberAnswerData } from './shard/member-requests.ts';
import type { PlainData } from './shard/record-codec.ts';

const ACCEPTED = { code: 'accepted', leader: undefined };
const NO_HOST = { code: 'invalid', leader: undefined };
const HAS_SHARDS = { code: 'has-shards', leader: undefined };

export interface MemberRules {
  /** The replica is to be there; of shard 0 every one is. */
  isHosted(server: string): boolean;
  /** Its node is to have no replica of another shard without it; only of shard 0 that is asked. */
  mayLeave(server: string): boolean;
  /** Somebody has chosen who is to lead. */
  transferred(): void;
}

export function answerOfMembers(
  replica: OperatedReplica,
  request: MemberRequest,
  rules: MemberRules,
): PlainData {
  switch (request.kind) {
    case 'leader-view':
      return leaderViewData(leaderViewOf(replica.status()));
    case 'change-members': {
      const isStray = request.what === 'add' && !rules.isHosted(request.id);
      if (isStray) return memberAnswerData(NO_HOST);
      const isEarly = request.what === 'remove' && !rules.mayLeave(request.id);
      if (isEarly && replica.status()?.role === 'leader') return memberAnswerData(HAS_SHARDS);
      const changed = replica.changeMembership(changeOf(request));
      return memberAnswerData(changed.kind === 'accepted' ? ACCEPTED : changed);
    }
    case 'transfer-lead': {
      rules.transferred();
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
