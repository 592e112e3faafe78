/**
 * What is to be done so that there are as many shards as are wanted, and that each lies on the
 * nodes that the map names: one step at a time, from what is known now. Pure; whoever leads takes
 * the step, and looks again.
 */

import type { Member, MembershipChange, Status } from '#raft';
import { nodeOf } from './cluster/server-id.ts';
import type { ShardMap, ShardRow } from './machine/shard-map.ts';
import type { ShardsSettings } from './options.ts';

/** The next shard that is to be made; undefined: there are enough, or nobody would found it. */
export function nextShard(
  { count, replicas }: ShardsSettings,
  map: ShardMap,
  members: readonly Member[],
): Pick<ShardRow, 'number' | 'founders'> | undefined {
  const number = map.length + 1;
  const founders = foundersOf(number, replicas, members);
  return number >= count || founders.length === 0 ? undefined : { number, founders };
}

/** Nodes that vote in shard 0, another one first in each shard. */
export function foundersOf(
  number: number,
  replicas: number,
  members: readonly Member[],
): readonly string[] {
  const voters = members.filter(({ role }) => role === 'voter').map(({ id }) => nodeOf(id));
  const count = Math.min(replicas, voters.length);
  return Array.from({ length: count }, (_none, nth) => {
    return voters[(number + nth) % voters.length] as string;
  });
}

/**
 * The member that goes next: one whose node is to have no replica any more, or that another replica
 * of its node has replaced. Undefined: none, or not now. Only a leader knows.
 */
export function nextLeaving(
  { hosts }: Pick<ShardRow, 'hosts'>,
  status: Pick<Status, 'id' | 'role' | 'commitIndex' | 'configuration' | 'peers'>,
): MembershipChange | undefined {
  const { index, configuration } = status.configuration;
  if (status.role !== 'leader' || index > status.commitIndex) return undefined;
  const { members } = configuration;
  const leaving = members.find(({ id }) => {
    return !hosts.includes(nodeOf(id)) || isReplaced(id, members, status);
  });
  if (leaving === undefined || !keepsMajority(leaving.id, members, status)) return undefined;
  return { kind: 'remove', id: leaving.id };
}

/**
 * Hosts that an operator has given up with the replica that they had, while the one that was
 * rescued is alone still: what was added since is there by another word. Undefined: not to be told
 * here, or not now.
 */
export function hostsGivenUp(
  { hosts }: Pick<ShardRow, 'hosts'>,
  { id, role, commitIndex, configuration: { index, configuration } }: Known,
): readonly string[] | undefined {
  const { members, rescue } = configuration;
  if (role !== 'leader' || index > commitIndex || rescue === undefined) return undefined;
  if (members.some((member) => member.id !== id)) return undefined;
  const givenUp = new Set(rescue.givenUp.map((each) => nodeOf(each)));
  return hosts.filter((node) => node !== nodeOf(id) && givenUp.has(node));
}

type Known = Pick<Status, 'id' | 'role' | 'commitIndex' | 'configuration'>;

type Seen = Pick<Status, 'id' | 'peers'>;

/**
 * Another replica of its node votes and answers, and this one does not: a node has one at a time,
 * and which of them came later no name tells.
 */
function isReplaced(id: string, members: readonly Member[], seen: Seen): boolean {
  if (answers(id, seen)) return false;
  return members.some((other) => {
    const isOfNode = other.id !== id && nodeOf(other.id) === nodeOf(id);
    return isOfNode && other.role === 'voter' && answers(other.id, seen);
  });
}

/** Of those who are left a majority answers: a removal that nobody commits would end everything. */
function keepsMajority(gone: string, members: readonly Member[], seen: Seen): boolean {
  const left = members.filter(({ id, role }) => role === 'voter' && id !== gone);
  return left.filter(({ id }) => answers(id, seen)).length > left.length / 2;
}

function answers(id: string, { id: self, peers }: Seen): boolean {
  return id === self || peers.some((peer) => peer.id === id && peer.active);
}
