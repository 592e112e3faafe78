/**
 * When the lead of a shard went from one node to another, as the brokers' own logs tell it
 * (`nodes/<node>/broker.log`). A cluster moves leads without a fault as well, and what was on its
 * way through the former leader is lost with it.
 *
 * The logs are of the wall clock, which a run must not set; a broker writes its line when it hears
 * of the new leader, each node its own. A line that was cut off by a kill is left out.
 */

import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const BROKER_LOG_FILE = 'broker.log';
const WORDS = 'the leader of the shard';
const NS_PER_MS = 1e6;

interface Told {
  /** Nanoseconds since the run began. */
  readonly time: number;
  readonly shard: number;
  readonly leader: string;
}

/** Undefined: it tells of something else, or that nobody is known to lead. */
export function leaderIn(line: string, node: string, beganMs: number): Told | undefined {
  if (!line.includes(WORDS)) return undefined;
  try {
    const { time, shard, leader } = JSON.parse(line) as Record<string, unknown>;
    if (typeof shard !== 'number' || typeof leader !== 'string' || leader === 'nobody') {
      return undefined;
    }
    const at = (Date.parse(String(time)) - beganMs) * NS_PER_MS;
    return { time: at, shard, leader: leader === 'here' ? node : leader };
  } catch {
    return undefined;
  }
}

/** The times at which a shard had another leader than before. */
export function movesIn(told: readonly Told[]): number[] {
  const leaders = new Map<number, string>();
  const moves: number[] = [];
  for (const { time, shard, leader } of told.toSorted((a, b) => a.time - b.time)) {
    const before = leaders.get(shard);
    leaders.set(shard, leader);
    if (before !== undefined && before !== leader) moves.push(time);
  }
  return moves;
}

/** Of a run that began then (ISO 8601), in nanoseconds of its history. */
export async function readLeadMoves(
  directory: string,
  nodes: readonly string[],
  began: string,
): Promise<number[]> {
  const told: Told[] = [];
  for (const node of nodes) {
    const input = createReadStream(join(directory, 'nodes', node, BROKER_LOG_FILE));
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      const found = leaderIn(line, node, Date.parse(began));
      if (found !== undefined) told.push(found);
    }
  }
  return movesIn(told);
}
