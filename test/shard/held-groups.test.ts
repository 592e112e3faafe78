/** What the dispatcher does with a group whose settlements were lost. */
import { describe, expect, it } from 'vitest';
import type { GroupId, Offset } from '../../src/machine/ids.ts';
import { DispatcherWorld, QUEUE } from './dispatcher-world.ts';

const DEFAULT = 0 as GroupId;

function held(): DispatcherWorld {
  const world = new DispatcherWorld();
  world.publish(5);
  world.lostGroup = {
    queueId: QUEUE,
    groupId: DEFAULT,
    name: 'default',
    from: 0 as Offset,
    through: 5 as Offset,
    held: true,
  };
  world.goneBelow = 5;
  return world;
}

describe('a group that is held', () => {
  it('takes members, who hear that they are attached, and delivers nothing', async () => {
    const world = held();
    await world.member(1);
    await world.member(2);
    world.publish(1);
    await world.settle();
    expect([...world.attachedTo.keys()]).toEqual([1, 2]);
    expect(world.delivered()).toEqual([]);
  });

  it('delivers from where it is sought to, to those who waited', async () => {
    const world = held();
    await world.member(1);
    world.lostGroup = undefined;
    world.seek(DEFAULT, 3);
    await world.settle();
    expect(world.delivered()).toEqual(['1:3', '1:4']);
  });

  it('goes on when nothing unknown is left', async () => {
    const world = held();
    await world.member(1);
    world.lostGroup = undefined;
    world.dispatcher.rare({ kind: 'group-released', queueId: QUEUE, groupId: DEFAULT });
    await world.settle();
    expect(world.delivered()).toHaveLength(5);
  });

  it('answers settlements by name with "unavailable", before and after it is known', async () => {
    const world = held();
    const ask = (tag: number): void =>
      world.dispatcher.ask({
        tag,
        queueId: QUEUE,
        group: 'default',
        offset: 1 as Offset,
        term: 1,
        deliveryNumber: 1,
        outcome: 'requeue',
      });
    ask(1);
    await world.settle();
    await world.member(1);
    ask(2);
    await world.settle();
    expect(world.heard.filter((each) => each.includes('unavailable'))).toHaveLength(2);
  });
});

describe('a message that is stored nowhere', () => {
  it('is passed over below what was lost, and is damage above it', async () => {
    const world = held();
    world.lostGroup = undefined;
    world.goneBelow = 3;
    world.areGone = true;
    for (const offset of [0, 2, 4]) world.lost.add(offset);
    await world.member(1);
    expect(world.delivered()).toEqual(['1:1', '1:3']);
    expect(world.log).toEqual(['complete/gone 0:0', 'complete/gone 0:2']);
    expect(world.alarms.list()).toMatchObject([{ kind: 'damaged', offsets: [[4, 4]] }]);
  });

  it('is damage where a checksum says so, also below', async () => {
    const world = held();
    world.lostGroup = undefined;
    world.lost.add(1);
    await world.member(1);
    expect(world.delivered()).toEqual(['1:0', '1:2', '1:3', '1:4']);
    expect(world.alarms.list()).toMatchObject([{ kind: 'damaged', offsets: [[1, 1]] }]);
  });
});
