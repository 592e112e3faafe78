/** What a replica counts of itself, from the states that it goes through, and under which names. */

import { expect, it } from 'vitest';
import type { Role, SoftState, Status } from '#raft';
import { figureOfShard } from '../../src/ops/figures.ts';
import { RAFT_METRICS } from '../../src/ops/raft-metrics.ts';
import { SHARDS_MAX } from '../../src/machine/ids.ts';
import { RaftFigures } from '../../src/shard/raft-figures.ts';

const status: Status = {
  id: 'a',
  role: 'leader',
  term: 7,
  vote: 'a',
  leader: 'a',
  configuration: {
    index: 4,
    configuration: {
      members: [
        { id: 'a', role: 'voter', address: '' },
        { id: 'b', role: 'voter', address: '' },
        { id: 'c', role: 'joining', address: '' },
      ],
    },
  },
  start: 1,
  accepted: 100,
  submitted: 99,
  durable: 97,
  commitIndex: 90,
  applying: 90,
  applied: 85,
  uncommittedBytes: 0,
  tailEntries: 0,
  tailBytes: 0,
  pendingReads: 0,
  transferTo: undefined,
  faulty: [{ from: 3, through: 4, throughTerm: undefined }],
  stateLost: false,
  survivors: [],
  lastTerm: 7,
  tailLost: true,
  peers: [peer('b', 95, true), { ...peer('c', 20, false), state: 'catchUp' }],
};

function peer(id: string, matchIndex: number, active: boolean): Status['peers'][number] {
  return {
    id,
    state: 'replicate',
    session: 1,
    matchIndex,
    nextIndex: matchIndex + 1,
    inFlightMessages: 0,
    inFlightBytes: 0,
    active,
    inReserve: false,
    caughtUp: active,
  };
}

const soft = (role: Role, leader?: string): SoftState => ({ role, term: 1, leader });

const told = (figures: RaftFigures, of: Status = status): Map<string, number> =>
  new Map(figures.of(of));

it('a leader tells every metric, and nothing that the table does not have', () => {
  const names = RAFT_METRICS.flatMap(({ series }) => series.map(({ from }) => from));
  const ofEach = [...told(new RaftFigures()).keys()];
  const ofAll = Array.from({ length: SHARDS_MAX }, (_none, shard) =>
    ofEach.map((name) => figureOfShard(shard, name)),
  ).flat();
  expect(ofAll.sort()).toEqual(names.sort());
});

it('a follower tells nothing of other members', () => {
  const names = [...told(new RaftFigures(), { ...status, role: 'follower', peers: [] }).keys()];
  expect(names.filter((name) => /follower/.test(name))).toEqual(['raft-role/follower']);
});

it('what waits for what is told apart', () => {
  expect(Object.fromEntries(told(new RaftFigures()))).toMatchObject(
    Object.fromEntries([
      ['raft/uncommitted', 10],
      ['raft/unapplied', 5],
      ['raft/unsynced', 3],
      ['raft/follower-lag', 80],
      ['raft/damaged', 2],
      ['raft-followers/known', 2],
      ['raft-followers/active', 1],
      ['raft-followers/catching-up', 1],
      ['raft-members/voter', 2],
      ['raft-members/joining', 1],
    ]),
  );
});

it('elections that were stood for and won, and leaders that changed, are counted once each', () => {
  const figures = new RaftFigures();
  const course: SoftState[] = [
    soft('follower', 'b'),
    soft('preCandidate'),
    // The pre-vote was refused: nobody stood.
    soft('follower', 'b'),
    soft('preCandidate'),
    soft('candidate'),
    soft('follower', 'c'),
    soft('candidate'),
    soft('leader', 'a'),
    soft('leader', 'a'),
    soft('follower'),
    // Between two looks.
    soft('leader', 'a'),
  ];
  for (const state of course) figures.roleChanged(state);
  const now = told(figures);
  expect(now.get('raft/elections')).toBe(3);
  expect(now.get('raft/elected')).toBe(2);
  expect(now.get('raft/leader-changes')).toBe(3);
});
