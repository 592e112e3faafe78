import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { leaderIn, movesIn, readLeadMoves } from '../../jepsen/history/lead-moves.ts';

const BEGAN = '2026-11-27T10:00:00.000Z';
const BEGAN_MS = Date.parse(BEGAN);

function line(seconds: number, shard: number, leader: string): string {
  const time = new Date(BEGAN_MS + seconds * 1000).toISOString();
  return JSON.stringify({ level: 'info', time, shard, leader, message: 'the leader of the shard' });
}

it('reads who leads out of the line of a broker', () => {
  const told = { time: 2e9, shard: 1, leader: 'node-3' };
  expect(leaderIn(line(2, 1, 'node-3'), 'node-1', BEGAN_MS)).toEqual(told);
  expect(leaderIn(line(2, 1, 'here'), 'node-1', BEGAN_MS)).toEqual({ ...told, leader: 'node-1' });
});

it('reads nothing out of other lines, of half a line, and where nobody leads', () => {
  const lines = [line(1, 1, 'nobody'), '{"message":"started"}', line(1, 1, 'here').slice(0, -2)];
  expect(lines.map((each) => leaderIn(each, 'node-1', BEGAN_MS))).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

it('knows a move from a first leader and from one that others tell of as well, for each shard', () => {
  const moves = movesIn([
    { time: 5, shard: 0, leader: 'node-2' },
    { time: 1, shard: 0, leader: 'node-1' },
    { time: 2, shard: 1, leader: 'node-3' },
    { time: 6, shard: 0, leader: 'node-2' },
  ]);
  expect(moves).toEqual([5]);
});

it('finds the moves of a run in the logs of its nodes', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'lead-moves-'));
  try {
    const lines = {
      'node-1': [line(1, 0, 'here'), line(9, 0, 'node-2')],
      'node-2': ['Warning: x'],
    };
    for (const [node, told] of Object.entries(lines)) {
      await mkdir(join(directory, 'nodes', node), { recursive: true });
      await writeFile(join(directory, 'nodes', node, 'broker.log'), told.join('\n'));
    }
    expect(await readLeadMoves(directory, ['node-1', 'node-2'], BEGAN)).toEqual([9e9]);
  } finally {
    await rm(directory, { recursive: true });
  }
});
