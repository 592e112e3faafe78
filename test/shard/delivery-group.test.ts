import { describe, expect, it } from 'vitest';
import type { GroupId, QueueId } from '../../src/machine/ids.ts';
import { DeliveryGroup, DeliveryGroups } from '../../src/shard/delivery-group.ts';

function group(queueId: number, name: string): DeliveryGroup {
  const of = { name, kind: 'explicit', filter: '', isPrivate: false } as const;
  return new DeliveryGroup(queueId as QueueId, of);
}

describe('the groups that are known', () => {
  it('are found by name from the first, by number when it is told, until they are removed', () => {
    const groups = new DeliveryGroups();
    const first = group(1, 'a');
    groups.add(first);
    expect(groups.named(1 as QueueId, 'a')).toBe(first);
    expect([first.isKnown, groups.known(1 as QueueId, 4 as GroupId)]).toEqual([false, undefined]);
    groups.identify(first, 4 as GroupId);
    expect([first.isKnown, groups.known(1 as QueueId, 4 as GroupId)]).toEqual([true, first]);
    groups.remove(first);
    expect(first.phase).toBe('gone');
    expect(groups.named(1 as QueueId, 'a')).toBeUndefined();
    expect(groups.known(1 as QueueId, 4 as GroupId)).toBeUndefined();
    expect([...groups.queues()]).toEqual([]);
  });

  it('a queue that comes again is found although another was looked at between', () => {
    const groups = new DeliveryGroups();
    const former = group(1, 'a');
    groups.add(former);
    groups.remove(former);
    const later = group(1, 'a');
    groups.add(later);
    groups.add(group(2, 'b'));
    expect(groups.named(1 as QueueId, 'a')).toBe(later);
    expect([...groups.queues()].map(({ queueId }) => queueId)).toEqual([1, 2]);
  });

  it('removing one of an earlier time leaves its successor alone', () => {
    const groups = new DeliveryGroups();
    const former = group(1, 'a');
    groups.add(former);
    groups.identify(former, 4 as GroupId);
    const later = group(1, 'a');
    groups.add(later);
    groups.identify(later, 5 as GroupId);
    groups.remove(former);
    expect(groups.named(1 as QueueId, 'a')).toBe(later);
    expect(groups.known(1 as QueueId, 5 as GroupId)).toBe(later);
  });
});
