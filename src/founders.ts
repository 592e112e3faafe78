/**
 * Who founds a shard, from the configuration file and the map of shards: the configuration that its
 * log begins with, the same on every node that founds it. A node whose server id is not its own
 * name is none of them.
 */

import { configurationOf } from '#raft';
import type { Configuration, Member } from '#raft';
import type { ShardRow } from './machine/shard-map.ts';
import type { ShardSettings } from './options.ts';

const VOTERS_MAX = 5;

/** Of shard 0: the nodes that the configuration file names, or this one alone. */
export function foundersOfZero({ node, peers }: ShardSettings, id: string): Configuration {
  if (peers === undefined) return { members: [{ id: node, role: 'voter', address: '' }] };
  const isFounder = !peers.joins && id === node;
  const founders = isFounder ? peers.nodes : peers.nodes.filter((place) => place.id !== node);
  const { members } = configurationOf(
    founders.map(({ host, port, ...place }) => {
      return { ...place, role: 'voter', address: `${host}:${port}` };
    }),
  );
  // More voters cost a message each and make a quorum no safer.
  return { members: members.map((member, nth) => (nth < VOTERS_MAX ? member : learner(member))) };
}

function learner(member: Member): Member {
  return { ...member, role: 'learner' };
}

/** Of a shard of the map; `addressOf` is what is known now, and the log says later. */
export function foundersOfRow(
  { founders }: ShardRow,
  { node, id }: { readonly node: string; readonly id: string },
  addressOf: (node: string) => string,
): Configuration {
  const others = id === node ? founders : founders.filter((each) => each !== node);
  return configurationOf(
    others.map((each) => ({ id: each, role: 'voter', address: addressOf(each) })),
  );
}
