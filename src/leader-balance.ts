/**
 * Which node is to lead a shard, and when its leader hands over to that one: so that leaders spread
 * over the nodes, and come back to one that was away. Pure; one for each shard that is led here.
 *
 * Never while a person has chosen another leader lately, nor to a node that is away, behind, or
 * short of disk; and never in a hurry: what moves it once moves it again only after an interval.
 */

import type { Status } from '#raft';
import { nodeOf } from './cluster/server-id.ts';
import type { ShardRow } from './machine/shard-map.ts';

/** So long it leads, or has tried, before it looks for another one. */
export const BALANCE_INTERVAL_MS = 10_000;
/** After an operator has chosen. */
export const BALANCE_PAUSE_MS = 600_000;

export class LeaderBalance {
  /** Infinity: it does not lead. */
  #next = Number.POSITIVE_INFINITY;
  #pausedUntil = Number.NEGATIVE_INFINITY;

  /** Whoever leads now was chosen, or is about to be. */
  pause(nowMs: number): void {
    this.#pausedUntil = nowMs + BALANCE_PAUSE_MS;
  }

  /** The replica that leadership goes to now; undefined: it stays. */
  target(
    status: Pick<Status, 'role' | 'configuration' | 'peers' | 'transferTo'>,
    preferred: string | undefined,
    nowMs: number,
  ): string | undefined {
    if (status.role !== 'leader') {
      this.#next = Number.POSITIVE_INFINITY;
      return undefined;
    }
    if (this.#next === Number.POSITIVE_INFINITY) this.#next = nowMs + BALANCE_INTERVAL_MS;
    if (nowMs < this.#next || nowMs < this.#pausedUntil) return undefined;
    const to = preferred === undefined ? undefined : readyVoter(status, preferred);
    if (to === undefined || status.transferTo !== undefined) return undefined;
    this.#next = nowMs + BALANCE_INTERVAL_MS;
    return to;
  }
}

/** Undefined: the node leads itself, or does not vote, or cannot take over now. */
function readyVoter(
  { configuration, peers }: Pick<Status, 'configuration' | 'peers'>,
  node: string,
): string | undefined {
  const { members } = configuration.configuration;
  const ready = peers.find(({ id, active, caughtUp, inReserve }) => {
    const votes = members.some((member) => member.id === id && member.role === 'voter');
    return nodeOf(id) === node && votes && active && caughtUp && !inReserve;
  });
  return ready?.id;
}

/**
 * The first founder, as long as it is a host; when it is not, the others in turn, so that the
 * shards of a node that is gone do not all go to the same one.
 */
export function preferredLeader({ number, founders, hosts }: ShardRow): string | undefined {
  const [first] = founders;
  if (first !== undefined && hosts.includes(first)) return first;
  return hosts.toSorted()[number % hosts.length];
}
