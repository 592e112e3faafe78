import { describe, expect, it } from 'vitest';
import type { PublishKey } from '../../src/broker/ports.ts';
import { KeyedSessions } from '../../src/shard/keyed-sessions.ts';

const key = (packetId: number, session = 's'): PublishKey => ({ session, ownerEpoch: 0, packetId });

const ALL = ['zero', 'one', 'two'];

describe('where keys may be', () => {
  it('is every shard for a session that comes from elsewhere, until it is forgotten', () => {
    const keys = new KeyedSessions('zero', () => ALL);
    keys.everywhere('s');
    keys.note(key(1), ['one']);
    expect([keys.of(key(1)), keys.of(key(2))]).toEqual([ALL, ALL]);
    expect(keys.of(key(2, 'other'))).toBeUndefined();
    keys.forget('s');
    expect(keys.of(key(1))).toBeUndefined();
    expect(keys.size).toBe(0);
  });

  it('is the first shard alone, where nothing was noted, and costs nothing', () => {
    const keys = new KeyedSessions('zero', () => ALL);
    keys.toFirst(key(1));
    expect(keys.of(key(1))).toBeUndefined();
    expect(keys.size).toBe(0);
  });

  it('is every shard that was asked for the key, until it is released', () => {
    const keys = new KeyedSessions('zero', () => ALL);
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
    const keys = new KeyedSessions('zero', () => ALL);
    keys.toFirst(key(1));
    keys.note(key(1), ['one']);
    expect(keys.of(key(1))).toEqual(['zero', 'one']);
    keys.toFirst(key(2));
    expect(keys.of(key(2))).toEqual(['zero']);
  });
});
