/** Each check of the simulator catches the violation that it is there for, planted by hand. */

import { beforeEach, describe, expect, it } from 'vitest';

import type { MirrorEntry } from '../../../raft/simulation/log-mirror.ts';
import { SafetyChecks } from '../../../raft/simulation/safety-checks.ts';
import type { HeldOnDisk, ReplicaView } from '../../../raft/simulation/safety-checks.ts';

const NODES = ['a', 'b', 'c'];
const FRESH: ReplicaView = {
  term: 1,
  vote: '',
  leads: false,
  start: 1,
  applied: 0,
  committed: 0,
  last: 0,
  voters: NODES,
  members: NODES,
  settled: true,
  damaged: false,
  needsRepair: false,
};

function entries(from: number, terms: readonly number[]): MirrorEntry[] {
  return terms.map((term, at) => ({ index: from + at, term, digest: (from + at) * 1000 + term }));
}

const EMPTY: HeldOnDisk = {
  checkpoint: 0,
  start: 1,
  entries: [],
  replaced: false,
  damaged: [],
  unknownFrom: undefined,
  voteUnsure: false,
  term: 1,
  vote: '',
  tailLost: false,
  voters: NODES,
};

function held(terms: readonly number[], term = 1): HeldOnDisk {
  return { ...EMPTY, term, entries: entries(1, terms) };
}

describe('the checks of safety', () => {
  let checks = new SafetyChecks();
  const view = (node: string, changes: Partial<ReplicaView>): void =>
    checks.look(node, { ...FRESH, ...changes });
  /** Written and durable. */
  const holds = (node: string, from: number, terms: readonly number[]): void => {
    checks.wrote(node, entries(from, terms));
    checks.durable(node, from + terms.length - 1);
  };

  /** a leads term 1; entries 1 and 2 are committed, and durable on a and b. */
  beforeEach(() => {
    checks = new SafetyChecks();
    for (const node of NODES) {
      checks.restarted(node, EMPTY);
      checks.wroteHardState(node, { term: 9, vote: undefined });
    }
    view('a', { leads: true, vote: 'a' });
    holds('a', 1, [1, 1]);
    holds('b', 1, [1, 1]);
    view('a', { leads: true, vote: 'a', committed: 2, last: 2 });
    view('b', { committed: 2, last: 2 });
  });

  it('hold in a run without a violation', () => {
    holds('c', 1, [1, 1]);
    view('c', { committed: 2, last: 2, applied: 2 });
    checks.applied('c', 2, 7);
    checks.applied('a', 2, 7);
    expect(checks.committed).toBe(2);
    expect(checks.elections).toBe(1);
  });

  it('two leaders of one term', () => {
    expect(() => view('b', { leads: true, committed: 2, last: 2 })).toThrow(/election safety/);
  });

  it('a leader without a committed entry', () => {
    expect(() => view('c', { term: 2, leads: true })).toThrow(/leader completeness/);
  });

  it('one index and term with two contents', () => {
    expect(() => checks.wrote('c', [{ index: 1, term: 1, digest: 5 }])).toThrow(/log matching/);
  });

  it('one index and term behind two terms', () => {
    checks.wrote('a', entries(3, [3]));
    checks.wrote('c', entries(1, [1, 2]));
    expect(() => checks.wrote('c', entries(3, [3]))).toThrow(/log matching/);
  });

  it('an entry committed while it is durable on a minority', () => {
    holds('a', 3, [1]);
    checks.wrote('b', entries(3, [1]));
    const leads = { leads: true, vote: 'a', committed: 3, last: 3 };
    expect(() => view('a', leads)).toThrow(/durable on a quorum/);
  });

  it('a committed entry cut off, also by one that does not know it to be committed', () => {
    holds('c', 1, [1, 1]);
    expect(() => checks.cutSuffix('c', 1)).toThrow(/committed is immutable/);
  });

  it('lets one that has not heard of the term of its commit drop an entry, and nobody later', () => {
    holds('c', 1, [1, 1]);
    holds('c', 3, [1]);
    // b leads term 2 and commits what is of term 1 with an entry of its own.
    view('b', { term: 2, leads: true, vote: 'b', committed: 2, last: 2 });
    for (const node of ['a', 'b']) holds(node, 3, [1, 2]);
    view('b', { term: 2, leads: true, vote: 'b', committed: 4, last: 4 });
    view('c', { term: 1, last: 3 });
    checks.cutSuffix('c', 2);
    holds('c', 3, [1]);
    view('c', { term: 2, last: 3 });
    expect(() => checks.cutSuffix('c', 2)).toThrow(/committed is immutable/);
  });

  it('takes the voters of before the event for what is committed before they change', () => {
    holds('a', 3, [1]);
    holds('b', 3, [1]);
    const voters = [...NODES, 'd'];
    checks.wrote('a', [{ index: 4, term: 1, digest: 4001, voters }]);
    const leads = { leads: true, vote: 'a', voters, settled: false };
    view('a', { ...leads, committed: 3, last: 4 });
    checks.durable('a', 4);
    checks.wrote('b', [{ index: 4, term: 1, digest: 4001, voters }]);
    checks.durable('b', 4);
    expect(() => view('a', { ...leads, committed: 4, last: 4 })).toThrow(/durable on a quorum/);
  });

  it('a committed entry overwritten', () => {
    expect(() => checks.wrote('b', entries(2, [2]))).toThrow(/committed is immutable/);
  });

  it('a committed entry dropped by a write that ends before it', () => {
    expect(() => checks.wrote('b', entries(1, [1]))).toThrow(/committed is immutable/);
  });

  it('an uncommitted entry goes, and one that differs from what was committed', () => {
    checks.wrote('a', entries(3, [1]));
    checks.cutSuffix('a', 2);
    checks.wrote('c', entries(1, [1]));
    checks.wrote('c', [{ index: 2, term: 0, digest: 1 }]);
    checks.wrote('c', entries(2, [1]));
  });

  it('another entry committed at the same index', () => {
    checks.wrote('c', [...entries(1, [1]), { index: 2, term: 0, digest: 1 }]);
    expect(() => view('c', { committed: 2, last: 2 })).toThrow(/committed is immutable/);
  });

  it('two states behind one entry', () => {
    checks.applied('a', 2, 7);
    expect(() => checks.applied('b', 2, 8)).toThrow(/state-machine safety/);
  });

  it('cursors out of order', () => {
    expect(() => view('b', { committed: 2, last: 1 })).toThrow(/cursors in order/);
    expect(() => view('b', { committed: 2, last: 2, applied: 3 })).toThrow(/cursors in order/);
    expect(() => view('b', { committed: 2, last: 2, start: 2 })).toThrow(/cursors in order/);
  });

  it('a term, a commit index or an applied index that goes back', () => {
    expect(() => view('b', { term: 0, committed: 2, last: 2 })).toThrow(/monotone term/);
    expect(() => view('b', { committed: 1, last: 2 })).toThrow(/monotone commit/);
    view('b', { committed: 2, last: 2, applied: 2 });
    expect(() => view('b', { committed: 2, last: 2, applied: 1 })).toThrow(/monotone applied/);
  });

  it('a vote that changes within a term, in memory or on disk', () => {
    view('c', { vote: 'a' });
    expect(() => view('c', { vote: 'b' })).toThrow(/one vote a term/);
    checks.hardStateDurable('c', 1, 'a');
    expect(() => checks.hardStateDurable('c', 1, 'b')).toThrow(/one vote a term/);
    checks.hardStateDurable('c', 2, 'b');
  });

  it('a term behind the one that the disk was promised, after a restart', () => {
    checks.hardStateDurable('c', 4, 'a');
    checks.restarted('c', { ...held([], 4), vote: 'a' });
    expect(() => view('c', { term: 3 })).toThrow(/monotone term/);
  });

  it('another vote than the disk was promised; what it took before a crash is a promise', () => {
    checks.hardStateDurable('c', 4, 'a');
    expect(() => checks.restarted('c', { ...held([], 4), vote: 'b' })).toThrow(/promise kept/);
    // Nobody was told that this write was done, and it is there.
    checks.restarted('c', { ...held([], 5), vote: 'b' });
    checks.votes('c', 5, 'b');
    expect(() => checks.votes('c', 5, 'a')).toThrow(/promised is durable/);
    expect(() => checks.restarted('c', { ...held([], 4), vote: 'a' })).toThrow(/promise kept/);
    checks.restarted('c', { ...held([], 5), voteUnsure: true });
    expect(() => checks.votes('c', 5, 'b')).toThrow(/promised is durable/);
  });

  it('a committed entry that is cut off, unless it is unreadable and its loss remembered', () => {
    const lost = { ...held([1, 1]), damaged: [2], unknownFrom: 2 };
    const forgets = { term: 1, vote: undefined };
    holds('c', 1, [1, 1]);
    checks.restarted('c', lost);
    expect(() => checks.cutSuffix('c', 1)).toThrow(/committed is immutable/);
    checks.wroteHardState('c', { ...forgets, tailLost: true });
    expect(() => checks.cutSuffix('c', 0)).toThrow(/committed is immutable/);
    checks.cutSuffix('c', 1);
    holds('c', 2, [1]);
    checks.restarted('c', { ...lost, tailLost: true });
    checks.wroteHardState('c', forgets);
    expect(() => checks.cutSuffix('c', 1)).toThrow(/committed is immutable/);
  });

  it('a term in front of which its entries are written, or that is lost', () => {
    checks.restarted('c', EMPTY);
    expect(() => checks.wrote('c', entries(1, [2]))).toThrow(/in front of that term/);
    checks.hardStateDurable('c', 4, 'a');
    expect(() => checks.restarted('c', held([], 3))).toThrow(/promise kept/);
    expect(() => checks.restarted('c', held([5], 4))).toThrow(/promise kept/);
  });

  it('a replica that goes by another configuration than that of its log', () => {
    checks.wrote('c', [{ index: 1, term: 2, digest: 1, voters: ['a', 'b'] }]);
    expect(() => view('c', { last: 1 })).toThrow(/goes by its configuration/);
    view('c', { last: 1, voters: ['b', 'a'] });
    checks.cutSuffix('c', 0);
    expect(() => view('c', { voters: ['a', 'b'] })).toThrow(/goes by its configuration/);
    view('c', {});
  });

  it('two changes of members under way, or one before a commit of the term', () => {
    const change = (index: number, term: number): MirrorEntry => {
      return { index, term, digest: 0, voters: NODES };
    };
    checks.wrote('a', [change(3, 1)]);
    const leads = { leads: true, vote: 'a', committed: 2 };
    view('a', { ...leads, last: 3 });
    checks.wrote('a', [change(4, 1)]);
    expect(() => view('a', { ...leads, last: 4 })).toThrow(/one change of members/);
    checks.wrote('b', [change(3, 2)]);
    const next = { term: 2, vote: 'b', leads: true, committed: 2, last: 3 };
    expect(() => view('b', next)).toThrow(/one change of members/);
  });

  it('a durable entry that a restart does not find; one that was on its way may be gone', () => {
    checks.wrote('b', entries(3, [1]));
    checks.restarted('b', held([1, 1]));
    expect(() => checks.restarted('b', held([1]))).toThrow(/promise kept/);
  });

  it('an older entry where a newer one was durable; one that was being cut may be there again', () => {
    holds('c', 1, [1, 1]);
    view('c', { committed: 2, last: 2 });
    holds('c', 3, [1]);
    for (const node of ['a', 'b']) {
      checks.wroteHardState(node, { term: 2, vote: undefined });
      holds(node, 3, [2]);
    }
    view('b', { term: 2, vote: 'b', leads: true, committed: 2, last: 3 });
    view('b', { term: 2, vote: 'b', leads: true, committed: 3, last: 3 });
    // It hears of the commit while the newer entry is on its way to its disk.
    checks.wroteHardState('c', { term: 2, vote: undefined });
    checks.cutSuffix('c', 2);
    checks.wrote('c', entries(3, [2]));
    view('c', { term: 2, committed: 3, last: 3 });
    expect(() => checks.acknowledges('c', 3)).toThrow(/promised is durable/);
    checks.restarted('c', held([1, 1, 1], 2));
    checks.cutSuffix('c', 2);
    holds('c', 3, [2]);
    checks.acknowledges('c', 3);
    view('c', { term: 2, committed: 3, last: 3 });
    expect(() => checks.restarted('c', held([1, 1, 1], 2))).toThrow(/promise kept/);
  });

  it('a vote or an acknowledgement that is not on disk', () => {
    checks.hardStateDurable('c', 2, 'b');
    checks.votes('c', 2, 'b');
    expect(() => checks.votes('c', 2, 'a')).toThrow(/promised is durable/);
    expect(() => checks.votes('c', 3, 'b')).toThrow(/promised is durable/);
    checks.wrote('c', entries(1, [1, 1]));
    expect(() => checks.acknowledges('c', 2)).toThrow(/promised is durable/);
    checks.durable('c', 2);
    checks.acknowledges('c', 2);
  });

  it('an entry of an older term committed by counting', () => {
    const b = { term: 2, vote: 'b', leads: true, committed: 2 };
    holds('b', 3, [1]);
    holds('a', 3, [1]);
    view('b', { ...b, last: 3 });
    expect(() => view('b', { ...b, committed: 3, last: 3 })).toThrow(/its own term/);
  });

  it('a damaged entry that is cut off although it was committed, or repaired wrongly', () => {
    checks.restarted('b', { ...held([1, 1]), damaged: [2] });
    expect(() => checks.cutSuffix('b', 1)).toThrow(/committed is immutable/);
    expect(() => checks.repaired('b', [{ index: 2, term: 2, digest: 1 }])).toThrow(/immutable/);
    checks.repaired('b', entries(2, [1]));
    view('b', { committed: 2, last: 2 });
  });

  it('a log cut off in front of what was applied', () => {
    expect(() => checks.cutPrefix('b', 2)).toThrow(/cursors in order/);
  });

  it('a state of another history installed', () => {
    expect(() => checks.installed('c', { index: 2, term: 9 }, NODES)).toThrow(
      /committed is immutable/,
    );
    checks.installed('c', { index: 2, term: 1 }, NODES);
    view('c', { start: 3, applied: 2, committed: 2, last: 2 });
  });
});
