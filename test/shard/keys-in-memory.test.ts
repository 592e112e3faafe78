import { describe, expect, it } from 'vitest';
import type { PublishKey } from '../../src/broker/ports.ts';
import { KeysInMemory } from '../../src/shard/keys-in-memory.ts';

const key = (ownerEpoch: number): PublishKey => ({ session: 's', ownerEpoch, packetId: 5 });

function inMemory(isShared = true) {
  const ended: string[] = [];
  const keys = new KeysInMemory(isShared, (name) => void ended.push(name));
  return { keys, ended };
}

describe('the name of a session in memory', () => {
  it('is one for all owners of this node without another between', () => {
    const { keys, ended } = inMemory();
    expect(keys.published(key(3))).toEqual({ ...key(3), session: 's/3' });
    keys.claimed('s', 4);
    keys.claimed('s', 5);
    expect(keys.published(key(5)).session).toBe('s/3');
    expect(keys.released(key(4)).session).toBe('s/3');
    expect(ended).toEqual([]);
  });

  it('is another one behind an owner elsewhere, and the former one ends at the claim', () => {
    const { keys, ended } = inMemory();
    keys.published(key(3));
    keys.claimed('s', 5);
    expect(ended).toEqual(['s/3']);
    expect(keys.size).toBe(0);
    expect(keys.published(key(5)).session).toBe('s/5');
    expect(ended).toEqual(['s/3']);
  });

  it('is never that of a later span for what an earlier owner says late', () => {
    const { keys, ended } = inMemory();
    keys.published(key(3));
    keys.claimed('s', 6);
    // Under way since before the claim.
    expect(keys.published(key(3)).session).toBe('s/3');
    expect(keys.published(key(6)).session).toBe('s/6');
    expect(ended).toEqual(['s/3', 's/3']);
    expect(keys.published(key(3)).session).toBe('s');
    expect(keys.released(key(3)).session).toBe('s');
    keys.claimed('s', 5);
    expect(keys.published(key(6)).session).toBe('s/6');
  });

  it('ends with its session, and nothing is kept', () => {
    const { keys, ended } = inMemory();
    keys.published(key(3));
    keys.ended('s');
    expect(ended).toEqual(['s/3', 's']);
    expect(keys.size).toBe(0);
  });

  it('is kept for no session that published nothing there', () => {
    const { keys, ended } = inMemory();
    keys.claimed('s', 3);
    expect(keys.released(key(3))).toEqual(key(3));
    expect([keys.size, ended]).toEqual([0, []]);
  });

  it('is that of the session where this node is alone', () => {
    const { keys, ended } = inMemory(false);
    expect(keys.published(key(3))).toEqual(key(3));
    keys.claimed('s', 5);
    expect(keys.published(key(5))).toEqual(key(5));
    keys.ended('s');
    expect([keys.size, ended]).toEqual([0, ['s']]);
  });
});
