import { describe, expect, it } from 'vitest';
import type { PublishKey } from '../../src/broker/ports.ts';
import { KeyedSessions } from '../../src/shard/keyed-sessions.ts';

const key = (packetId: number, session = 's'): PublishKey => ({ session, ownerEpoch: 0, packetId });

const ALL = ['zero', 'one', 'two'];

function keyed(
  isNoneMissing = (): Promise<boolean> => Promise.resolve(true),
): KeyedSessions<string> {
  return new KeyedSessions('zero', () => ALL, isNoneMissing);
}

describe('where keys may be', () => {
  it('is every shard for a session that comes from elsewhere, until it is forgotten', () => {
    const keys = keyed();
    keys.everywhere('s', 2);
    keys.note(key(1), ['one']);
    expect([keys.of(key(1)), keys.of(key(2))]).toEqual([ALL, ALL]);
    expect(keys.of(key(2, 'other'))).toBeUndefined();
    keys.forget('s', 1);
    expect(keys.of(key(1))).toEqual(ALL);
    keys.forget('s', 2);
    expect(keys.of(key(1))).toBeUndefined();
    expect(keys.size).toBe(0);
  });

  it('is the first shard alone, where nothing was noted, and costs nothing', () => {
    const keys = keyed();
    keys.toFirst(key(1));
    expect(keys.of(key(1))).toBeUndefined();
    expect(keys.size).toBe(0);
  });

  it('is every shard that was asked for the key, until it is released', () => {
    const keys = keyed();
    keys.note(key(1), ['one']);
    keys.note(key(1), ['two', 'one']);
    keys.note(key(2), ['one']);
    expect(keys.of(key(1))).toEqual(['one', 'two']);
    expect(keys.of(key(2))).toEqual(['one']);
    keys.released(key(1));
    expect(keys.of(key(1))).toBeUndefined();
    keys.note(key(1), ['zero']);
    expect(keys.of(key(1))).toEqual(['zero']);
  });

  it('a key that went to the first shard unnoted, and then elsewhere, is in both', () => {
    const keys = keyed();
    keys.toFirst(key(1));
    keys.note(key(1), ['one']);
    expect(keys.of(key(1))).toEqual(['zero', 'one']);
    keys.toFirst(key(2));
    expect(keys.of(key(2))).toEqual(['zero']);
  });

  it('is sure for a session from elsewhere when no shard is missing; asked at once, and again', async () => {
    const answers: ((isNoneMissing: boolean) => void)[] = [];
    const keys = keyed(() => new Promise((resolve) => answers.push(resolve)));
    keys.note(key(1), ['one']);
    expect(keys.unsure(key(1))).toBeUndefined();
    keys.everywhere('s', 2);
    const unsure = [1, 2].map((id) => keys.unsure(key(id)) ?? expect.fail());
    expect(answers).toHaveLength(1);
    answers[0]?.(false);
    expect(await Promise.all(unsure)).toEqual([false, false]);
    const again = keys.unsure(key(1));
    answers[1]?.(true);
    expect(await again).toBe(true);
    expect(keys.unsure(key(1))).toBeUndefined();
    keys.everywhere('s', 2);
    expect(keys.unsure(key(1))).toBeInstanceOf(Promise);
    expect(answers).toHaveLength(3);
  });
});
