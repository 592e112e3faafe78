import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { PublishKey } from '../../src/broker/ports.ts';
import { firstQueueIdOf } from '../../src/machine/ids.ts';
import { KeysInMemory } from '../../src/shard/keys-in-memory.ts';

const key = (ownerEpoch: number): PublishKey => ({ session: 's', ownerEpoch, packetId: 5 });

function inMemory({ isShared = true, sessionsMax = 100 } = {}) {
  const ended: string[] = [];
  const asked: (readonly string[])[] = [];
  const over = new Set<string>();
  const keys = new KeysInMemory({
    isShared,
    sessionsMax,
    spare: 4,
    end: (name) => void ended.push(name),
    over: async (shard, sessions) => {
      asked.push([`shard ${shard}`, ...sessions]);
      return Promise.resolve(sessions.filter((session) => over.has(session)));
    },
  });
  const publish = (session: string): string => keys.published({ ...key(3), session }).session;
  return { keys, ended, asked, over, publish };
}

const lives = (count: number): string[] =>
  Array.from({ length: count }, (_none, nth) => `7/${nth}`);

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
    const { keys, ended } = inMemory({ isShared: false });
    expect(keys.published(key(3))).toEqual(key(3));
    keys.claimed('s', 5);
    expect(keys.published(key(5))).toEqual(key(5));
    keys.ended('s');
    expect([keys.size, ended]).toEqual([0, ['s']]);
  });
});

describe('sessions that another node has ended', () => {
  it('are forgotten when their shards say so, each shard asked for its own', async () => {
    const { keys, ended, asked, over, publish } = inMemory();
    const there = `${firstQueueIdOf(2)}/x`;
    for (const session of [...lives(3), there]) publish(session);
    await turn();
    expect(asked).toEqual([]);
    over.add('7/1').add(there);
    publish('7/3');
    await turn();
    expect(asked).toEqual([
      ['shard 0', ...lives(4)],
      ['shard 2', there],
    ]);
    expect(ended).toEqual(['7/1/3', '7/1', `${there}/3`, there]);
    expect(keys.size).toBe(3);
  });

  it('are asked for again when there is half as much again, and one question at a time', async () => {
    const { keys, asked, publish } = inMemory();
    for (const session of lives(8)) publish(session);
    expect(asked).toHaveLength(1);
    await turn();
    for (const session of lives(12)) publish(session);
    await turn();
    expect([keys.size, asked.length]).toEqual([12, 1]);
    publish('7/12');
    await turn();
    expect(asked).toHaveLength(2);
  });

  it('are many: a question has 512 at most', async () => {
    const { asked, publish } = inMemory({ sessionsMax: 1_000 });
    const all = lives(1_000);
    for (const session of all) publish(session);
    await turn();
    for (const session of lives(1_501)) publish(session);
    await turn();
    expect(asked.every((names) => names.length <= 513)).toBe(true);
    expect(new Set(asked.flat()).size).toBeGreaterThan(1_500);
  });

  it('make no room while nobody answers: the session begun first is forgotten then', () => {
    const { keys, ended, publish } = inMemory({ sessionsMax: 2 });
    expect(keys.limit).toBe(8);
    for (const session of lives(8)) publish(session);
    expect(ended).toEqual([]);
    expect(publish('7/8')).toBe('7/8/3.1');
    expect([ended, keys.size, keys.crowdedOut]).toEqual([['7/0/3'], 8, 1]);
    // The end of its former name may be under way for long.
    expect(publish('7/0')).toBe('7/0/3.2');
  });

  it('wills have no owners, and no entry', () => {
    const { keys, ended, publish } = inMemory();
    expect(publish('will/7/1')).toBe('will/7/1');
    expect(keys.released({ ...key(3), session: 'will/7/1' }).session).toBe('will/7/1');
    keys.ended('will/7/1');
    expect([keys.size, ended]).toEqual([0, ['will/7/1']]);
  });
});
