/**
 * What the commands for operators print for programs. The names here are promised (docs/cli.md):
 * those of proto/admin.proto, numbers as they are, units last in names.
 */

import type { NodeStatus, ReplicaStatus, RescueRecord } from '../../admin/cluster-port.ts';
import type {
  GroupSummary,
  QueueDefinition,
  QueueDetail,
  QueueSummary,
} from '../../broker/ports.ts';
import { SHARDS_MAX, shardOf } from '../../machine/ids.ts';

/** One JSON object, on one line. */
export function jsonLine(fields: object): string {
  return JSON.stringify(fields);
}

export function summaryFields(summary: QueueSummary): Record<string, unknown> {
  const { definition } = summary;
  return {
    queue: definition.name,
    queue_id: summary.queueId,
    shard: shardOfQueue(summary) ?? null,
    type: definition.type,
    topics: definition.topics,
    start: summary.start,
    next: summary.next,
    depth: summary.depth,
    consumers: summary.consumers,
    leaving: summary.leaving,
  };
}

/** Undefined: it is in memory, and in none. */
export function shardOfQueue({ queueId }: QueueSummary): number | undefined {
  const shard = shardOf(queueId);
  return shard < SHARDS_MAX ? shard : undefined;
}

export function groupFields(queue: string, group: GroupSummary): Record<string, unknown> {
  return {
    queue,
    group: group.name,
    kind: group.kind,
    filter: group.filter,
    floor: group.floor,
    depth: group.depth,
    delivered: group.delivered,
    consumers: group.consumers,
    stuck: group.stuck ?? null,
    lost: group.lost ?? null,
  };
}

export function detailFields(detail: QueueDetail): Record<string, unknown> {
  const { name } = detail.definition;
  return {
    ...summaryFields(detail),
    limits: limitFields(detail.definition.limits),
    held_by: detail.heldBy ?? null,
    damaged: detail.damaged,
    groups: detail.groups.map((group) => groupFields(name, group)),
  };
}

/** `visibilityTimeoutMs` is `visibility_timeout_ms` for programs. */
function limitFields(limits: QueueDefinition['limits']): Record<string, unknown> {
  return snakeCase(limits);
}

function snakeCase(fields: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]: [string, unknown]) => [
      name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      typeof value === 'object' && value !== null ? snakeCase(value) : value,
    ]),
  );
}

export function nodeFields(status: NodeStatus): Record<string, unknown> {
  const { node, cluster, address, links, replicas, elsewhere, shards } = status;
  return {
    node,
    cluster: cluster ?? null,
    address: address ?? null,
    links,
    replicas: replicas.map((replica) => replicaFields(replica)),
    elsewhere: elsewhere.map((replica) => replicaFields(replica)),
    shards,
  };
}

export function rescueFields(rescued: RescueRecord): Record<string, unknown> {
  const { by, atMs, lastIndex, lastTerm, givenUp } = rescued;
  return { by, at_ms: atMs, last_index: lastIndex, last_term: lastTerm, given_up: givenUp };
}

function replicaFields(replica: ReplicaStatus): Record<string, unknown> {
  return {
    shard: replica.shard,
    id: replica.id,
    role: replica.role,
    term: replica.term,
    leader: replica.leader ?? null,
    start: replica.start,
    last: replica.last,
    durable: replica.durable,
    committed: replica.committed,
    applied: replica.applied,
    members_index: replica.membersIndex,
    members: replica.members.map(({ progress, ...member }) => ({
      ...member,
      progress: progress === undefined ? null : snakeCase(progress),
    })),
    leader_last: replica.leaderLast ?? null,
    transfer_to: replica.transferTo ?? null,
    damaged_ranges: replica.damagedRanges,
    tail_lost: replica.tailLost,
    state_lost: replica.stateLost,
    last_term: replica.lastTerm,
    survivors: replica.survivors.map(({ id, last, lastTerm, isCovered }) => {
      return { id, last: last ?? null, last_term: lastTerm ?? null, is_covered: isCovered };
    }),
    rescued: replica.rescued === undefined ? null : rescueFields(replica.rescued),
  };
}
