/** Where a node stands in its cluster, by what the nodes say of themselves. */

import { describe, expect, it } from 'vitest';
import { type Replica, isWholeIn, placeIn } from '../../jepsen/cluster/roles.ts';

type Member = Replica['members'][number];

const voter = (id: string, caughtUp = true): Member => ({
  id,
  role: 'voter',
  progress: { caught_up: caughtUp },
});

function leader(members: readonly Member[], term = 5): Replica {
  const own = { id: 'n1', role: 'voter', progress: null };
  return { shard: 0, id: 'n1', role: 'leader', term, members: [own, ...members] };
}

const follower = (id: string): Replica => ({
  shard: 0,
  id,
  role: 'follower',
  term: 5,
  members: [],
});

describe('the place of a node', () => {
  it('is known while somebody leads and the node answers', () => {
    const led = leader([voter('n2'), voter('n3')]);
    expect(placeIn([led], 'n2')).toBeUndefined();
    expect(placeIn([follower('n2')], 'n2')).toBeUndefined();
    const place = { leader: 'n1', own: 'n2', former: [], votes: true };
    expect(placeIn([led, follower('n2')], 'n2')).toEqual(place);
    expect(placeIn([led], 'n1')).toEqual({ ...place, own: 'n1' });
  });

  it('is that of another replica than before, once its disk is lost', () => {
    const led = leader([voter('n2'), voter('n3')]);
    const lost = { leader: 'n1', own: 'n2+7', former: ['n2'], votes: false };
    expect(placeIn([led, follower('n2+7')], 'n2')).toEqual(lost);
    // Half way: it votes, and the former one is a member still.
    const half = leader([voter('n2'), voter('n2+7'), voter('n3')]);
    expect(placeIn([half, follower('n2+7')], 'n2')).toEqual({ ...lost, votes: true });
    const whole = leader([voter('n2+7'), voter('n3')]);
    expect(placeIn([whole, follower('n2+7')], 'n2')).toMatchObject({ former: [], votes: true });
  });

  it('is whole when it votes with everything, and no former replica does', () => {
    const led = leader([voter('n2'), voter('n3')]);
    expect(isWholeIn([led, follower('n2')], 'n2')).toBe(true);
    expect(isWholeIn([led], 'n2')).toBe(false);
    const half = leader([voter('n2'), voter('n2+7'), voter('n3')]);
    expect(isWholeIn([half, follower('n2+7')], 'n2')).toBe(false);
  });

  it('has no vote before it has everything', () => {
    const behind = leader([voter('n2', false), voter('n3')]);
    expect(placeIn([behind, follower('n2')], 'n2')).toMatchObject({ votes: false });
    const learner = leader([{ ...voter('n2'), role: 'learner' }]);
    expect(placeIn([learner, follower('n2')], 'n2')).toMatchObject({ votes: false });
  });

  it('is by the word of the leader of the newest term', () => {
    const old = { ...leader([voter('n3')], 4), id: 'n2' };
    const place = placeIn([old, leader([voter('n2'), voter('n3')])], 'n3');
    expect(place).toBeUndefined();
    expect(placeIn([old, leader([voter('n3')]), follower('n3')], 'n3')?.leader).toBe('n1');
  });
});
