/** The refusals of the port `ClusterAdmin`, in words for people. */

import type { ClusterRefusal } from '../../admin/cluster-port.ts';

export const CLUSTER_REFUSED = {
  'not-leader': 'another node leads',
  transferring: 'leadership is on its way to another node',
  stopped: 'a write of this node failed, so it does nothing any more',
  'not-ready': 'the leader has committed nothing in its term yet',
  pending: 'another change is not committed yet',
  'already-member': 'it is a member already',
  'given-up': 'a rescue went on without it: start it with an empty directory, under a new id',
  'not-member': 'it is no member',
  'not-learner': 'it votes already',
  'not-voter': 'it does not vote',
  'not-caught-up': 'it has not caught up yet',
  'last-voter': 'nobody would be left to vote',
  'already-leader': 'it leads already',
  'no-shard': 'there is no such shard, or no replica of it here',
  'no-leader': 'nobody leads, or the leader was not reached',
  'has-shards': 'it has replicas of other shards, which it leaves before shard 0',
  alone: 'nobody else is there: cluster.listen is off, or it is the only member',
  invalid: 'that cannot be: give the id of a node, its address as host:port, the next number',
  unprotected: 'the nodes talk without TLS, and that address is outside this machine',
  'has-leader': 'somebody leads: nothing is to be rescued',
  quorum: 'a majority of the voters is heard: they elect a leader, or can be helped to do so',
  listening: 'this node has not listened to the others for long enough',
  'shorter-log': 'another voter has more: rescue that one, or say --even-if-shorter',
  damaged: 'its own log or state is damaged, so it has not what it would go on with',
  'not-named': 'those who are given up must be all other members, each by its id',
} as const satisfies Record<ClusterRefusal, string>;
