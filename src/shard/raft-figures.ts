/**
 * What a replica tells of itself as plain numbers: its role, how far it is, how often the leader
 * has changed. Counts since the start of the process; decides nothing.
 *
 * `raft/...`, as the table of metrics has them. What only a leader knows (its followers) is missing
 * on the others.
 */

import type { Role, SoftState, Status } from '#raft';

const ROLES = ['leader', 'follower', 'preCandidate', 'candidate', 'stopped'] as const;

export class RaftFigures {
  #role: Role = 'follower';
  #leader: string | undefined;
  #leaderChanges = 0;
  #elections = 0;
  #elected = 0;

  roleChanged({ role, leader }: SoftState): void {
    if (role !== this.#role) {
      // A sole voter stands and wins between two looks.
      if (role === 'candidate' || (role === 'leader' && this.#role !== 'candidate')) {
        this.#elections++;
      }
      if (role === 'leader') this.#elected++;
    }
    if (leader !== undefined && leader !== this.#leader) {
      this.#leader = leader;
      this.#leaderChanges++;
    }
    this.#role = role;
  }

  *of(status: Status): Iterable<readonly [name: string, value: number]> {
    const { role, term, leader, accepted, durable, commitIndex, applied } = status;
    for (const each of ROLES) yield [`raft-role/${wordOf(each)}`, role === each ? 1 : 0];
    yield ['raft/term', term];
    yield ['raft/knows-leader', leader === undefined ? 0 : 1];
    yield ['raft/leader-changes', this.#leaderChanges];
    yield ['raft/elections', this.#elections];
    yield ['raft/elected', this.#elected];
    yield ['raft/commit-index', commitIndex];
    yield ['raft/uncommitted', accepted - commitIndex];
    yield ['raft/unapplied', commitIndex - applied];
    yield ['raft/unsynced', accepted - durable];
    yield ['raft/damaged', status.faulty.length + (status.tailLost ? 1 : 0)];
    const { members } = status.configuration.configuration;
    for (const each of ['voter', 'learner', 'joining'] as const) {
      yield [`raft-members/${each}`, members.filter((member) => member.role === each).length];
    }
    if (role === 'leader') yield* followers(status);
  }
}

function* followers({ peers, accepted }: Status): Iterable<readonly [string, number]> {
  const lags = peers.map(({ matchIndex }) => accepted - matchIndex);
  yield ['raft-followers/known', peers.length];
  yield ['raft-followers/active', peers.filter(({ active }) => active).length];
  yield ['raft-followers/catching-up', peers.filter(({ state }) => state === 'catchUp').length];
  yield ['raft/follower-lag', Math.max(0, ...lags)];
}

function wordOf(role: Role): string {
  return role === 'preCandidate' ? 'pre-candidate' : role;
}
