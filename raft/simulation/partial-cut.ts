/**
 * Partitions that stay, and leave a majority of voters that see one another in both directions:
 * that majority has to serve, whoever led before and whoever makes noise from outside (thesis
 * 4.2.3, 6.2).
 */

import type { Cluster } from './cluster.ts';
import { shuffled } from './partitions.ts';
import type { DirectedLink } from './partitions.ts';
import type { Random } from './random.ts';

const SHAPES = [
  'the leader hears nobody',
  'nobody hears the leader',
  'a follower hears nobody',
  'nobody hears a follower',
  'leader and follower do not see one another',
  'two halves and a bridge',
] as const;

const VOTERS_LEAST = 3;

/** Cuts links so; says how. Undefined: there is nothing to cut, too few vote or nobody leads. */
export function cutInPart(cluster: Cluster, random: Random): string | undefined {
  const leader = cluster.leader();
  const voters = leader?.view()?.voters ?? [];
  if (leader === undefined || voters.length < VOTERS_LEAST) return undefined;
  const nodes = cluster.nodes.map(({ id }) => id);
  if (voters.some((id) => !nodes.includes(id))) return undefined;
  const followers = voters.filter((id) => id !== leader.id);
  const shape = random.pick(SHAPES);
  const links = linksOf(shape, { leader: leader.id, followers, nodes, random });
  for (const [from, to] of links) cluster.network.cut(from, to);
  const text = `${shape}: ${links.map(([from, to]) => `${from}>${to}`).join(' ')}`;
  cluster.kernel.note(text);
  return text;
}

interface Members {
  readonly leader: string;
  /** Voters. */
  readonly followers: readonly string[];
  readonly nodes: readonly string[];
  readonly random: Random;
}

function linksOf(shape: (typeof SHAPES)[number], members: Members): DirectedLink[] {
  const { leader, followers, nodes, random } = members;
  const [one = '', ...others] = shuffled(followers, random);
  const towards = (id: string): DirectedLink[] =>
    nodes.filter((other) => other !== id).map((other) => [other, id]);
  switch (shape) {
    case 'the leader hears nobody':
      return towards(leader);
    case 'nobody hears the leader':
      return towards(leader).map(turned);
    case 'a follower hears nobody':
      return towards(one);
    case 'nobody hears a follower':
      return towards(one).map(turned);
    case 'leader and follower do not see one another':
      return [
        [leader, one],
        [one, leader],
      ];
    case 'two halves and a bridge': {
      const rest = [leader, ...others];
      const half = Math.floor(rest.length / 2);
      const links: DirectedLink[] = [];
      for (const left of rest.slice(0, half)) {
        for (const right of rest.slice(half)) links.push([left, right], [right, left]);
      }
      return links;
    }
  }
}

function turned([from, to]: DirectedLink): DirectedLink {
  return [to, from];
}
