/**
 * Between what the port `ClusterAdmin` speaks of and the messages of proto/admin.proto, in both
 * directions. What comes from outside is checked word by word.
 */

import { AdminError } from '../broker/ports.ts';
import type {
  ClusterCalls,
  WireAnswer,
  WireMember,
  WireNode,
  WireProgress,
  WireReplica,
  WireRescue,
  WireSurvivor,
} from './cluster-messages.ts';
import {
  CLUSTER_REFUSALS,
  type ClusterAnswer,
  MEMBER_ROLES,
  type MemberChange,
  type MemberProgress,
  type MemberStatus,
  type NodeStatus,
  PROGRESS_STATES,
  REPLICA_ROLES,
  type ReplicaStatus,
  type RescueRecord,
  type SurvivorStatus,
} from './cluster-port.ts';
import { wholeOf } from './convert.ts';

const ACCEPTED = 'accepted';

function oneOf<Word extends string>(words: readonly Word[], word: string, what: string): Word {
  const known = words.find((each) => each === word);
  if (known !== undefined) return known;
  const text = `${what}: ${JSON.stringify(word)} is not one of ${words.join(', ')}`;
  throw new AdminError('invalid', text);
}

export function changeOf(wire: ClusterCalls['ChangeMembers']['request']): MemberChange {
  const { kind, id, address, votes } = wire;
  const known = oneOf(['add', 'promote', 'demote', 'remove'] as const, kind, 'the change');
  return known === 'add' ? { kind: known, id, address, votes } : { kind: known, id };
}

export function wireChange(
  shard: number,
  change: MemberChange,
): ClusterCalls['ChangeMembers']['request'] {
  const { kind, id } = change;
  const added = kind === 'add' ? change : { address: '', votes: false };
  return { shard, kind, id, address: added.address, votes: added.votes };
}

export function wireAnswer(answer: ClusterAnswer): WireAnswer {
  if (answer.kind === 'accepted') return { outcome: ACCEPTED };
  const { code, leader } = answer;
  return { outcome: code, ...(leader === undefined ? {} : { leader }) };
}

export function answerOf({ outcome, leader }: WireAnswer): ClusterAnswer {
  if (outcome === ACCEPTED) return { kind: 'accepted' };
  return { kind: 'refused', code: oneOf(CLUSTER_REFUSALS, outcome, 'the outcome'), leader };
}

export function wireNode({ node, cluster, address, links, ...of }: NodeStatus): WireNode {
  return {
    node,
    ...(cluster === undefined ? {} : { cluster }),
    ...(address === undefined ? {} : { address }),
    links,
    replicas: of.replicas.map((replica) => wireReplica(replica)),
    elsewhere: of.elsewhere.map((replica) => wireReplica(replica)),
    shards: of.shards,
  };
}

function wireReplica(status: ReplicaStatus): WireReplica {
  const { leader, leaderLast, transferTo, members, survivors, rescued, ...replica } = status;
  return {
    ...replica,
    ...(leader === undefined ? {} : { leader }),
    ...(leaderLast === undefined ? {} : { leaderLast }),
    ...(transferTo === undefined ? {} : { transferTo }),
    members: members.map(({ progress, ...member }) => ({ ...member, progress: progress ?? null })),
    survivors: survivors.map(({ last, lastTerm, ...survivor }) => ({
      ...survivor,
      ...(last === undefined ? {} : { last }),
      ...(lastTerm === undefined ? {} : { lastTerm }),
    })),
    rescued: rescued ?? null,
  };
}

export function nodeOf({ node, cluster, address, links, ...of }: WireNode): NodeStatus {
  return {
    node,
    cluster,
    address,
    links,
    replicas: of.replicas.map((replica) => replicaOf(replica)),
    elsewhere: of.elsewhere.map((replica) => replicaOf(replica)),
    shards: of.shards.map(({ shard, founders, hosts }) => {
      return { shard: wholeOf(shard, 'shard'), founders, hosts };
    }),
  };
}

function replicaOf(wire: WireReplica): ReplicaStatus {
  const { id, leader, leaderLast, transferTo, members, tailLost, stateLost } = wire;
  return {
    shard: wholeOf(wire.shard, 'shard'),
    id,
    role: oneOf(REPLICA_ROLES, wire.role, 'the role'),
    term: wholeOf(wire.term, 'term'),
    leader,
    start: wholeOf(wire.start, 'start'),
    last: wholeOf(wire.last, 'last'),
    durable: wholeOf(wire.durable, 'durable'),
    committed: wholeOf(wire.committed, 'committed'),
    applied: wholeOf(wire.applied, 'applied'),
    membersIndex: wholeOf(wire.membersIndex, 'members_index'),
    members: members.map((member) => memberOf(member)),
    leaderLast: leaderLast === undefined ? undefined : wholeOf(leaderLast, 'leader_last'),
    transferTo,
    damagedRanges: wholeOf(wire.damagedRanges, 'damaged_ranges'),
    tailLost,
    stateLost,
    lastTerm: wholeOf(wire.lastTerm, 'last_term'),
    survivors: wire.survivors.map((survivor) => survivorOf(survivor)),
    rescued: wire.rescued === null ? undefined : rescueOf(wire.rescued),
  };
}

function survivorOf({ id, last, lastTerm, isCovered }: WireSurvivor): SurvivorStatus {
  return {
    id,
    last: last === undefined ? undefined : wholeOf(last, 'last'),
    lastTerm: lastTerm === undefined ? undefined : wholeOf(lastTerm, 'last_term'),
    isCovered,
  };
}

function rescueOf({ by, atMs, lastIndex, lastTerm, givenUp }: WireRescue): RescueRecord {
  return {
    by,
    atMs: wholeOf(atMs, 'at_ms'),
    lastIndex: wholeOf(lastIndex, 'last_index'),
    lastTerm: wholeOf(lastTerm, 'last_term'),
    givenUp,
  };
}

function memberOf({ id, role, address, progress }: WireMember): MemberStatus {
  return {
    id,
    role: oneOf(MEMBER_ROLES, role, 'the role of a member'),
    address,
    progress: progress === null ? undefined : progressOf(progress),
  };
}

function progressOf({ state, match, active, caughtUp, inReserve }: WireProgress): MemberProgress {
  return {
    state: oneOf(PROGRESS_STATES, state, 'the state'),
    match: wholeOf(match, 'match'),
    active,
    caughtUp,
    inReserve,
  };
}
