/**
 * What is to be done so that there are as many shards as are wanted, and that each lies on the
 * nodes that the map names: one step at a time, from what is known now. Pure; whoever leads takes
 * the step, and looks again.
 */

import type { Member, MembershipChange, Status } from '#raft';
import { nodeOf, numberOf } from './cluster/server-id.ts';
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
    return !hosts.includes(nodeOf(id)) || isReplaced(id, members);
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

/** A later replica of the same node votes. */
function isReplaced(id: string, members: readonly Member[]): boolean {
  return members.some((other) => {
    const isLater = other.role === 'voter' && numberOf(other.id) > numberOf(id);
    return isLater && nodeOf(other.id) === nodeOf(id);
  });
}

/** Of those who are left a majority answers: a removal that nobody commits would end everything. */
function keepsMajority(
  gone: string,
  members: readonly Member[],
  { id: self, peers }: Pick<Status, 'id' | 'peers'>,
): boolean {
  const left = members.filter(({ id, role }) => role === 'voter' && id !== gone);
  const answering = left.filter(({ id }) => {
    return id === self || peers.some((peer) => peer.id === id && peer.active);
  });
  return answering.length > left.length / 2;
}
