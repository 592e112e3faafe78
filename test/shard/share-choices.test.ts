/** Members of shares that QoS 2 publishes of a session are given to, over the port of sessions. */

import { describe, expect, it } from 'vitest';
import type { QueueId, SessionHandle, ShareChoice } from '../../src/broker/ports.ts';
import { DiskOfZero, ManyShards, answered, definition, publish } from '../support/many-shards.ts';

const LIMITS = { maxMessages: 1_000, maxBytes: 0, overflow: 'drop-head' } as const;

async function claim(shards: ManyShards): Promise<SessionHandle> {
  const who = { user: undefined, cleanStart: false, expirySeconds: 60 };
  const plain = { ...who, limits: LIMITS, will: undefined };
  return (await shards.client.sessions.claim({ clientId: 'c', ...plain })).handle;
}

const OF = { share: 2 ** 47 + 9, queueId: 11 as QueueId };
const FIRST: readonly ShareChoice[] = [OF, { share: 7, queueId: (2 ** 40) as QueueId }];
const OTHERS: readonly ShareChoice[] = [{ share: 7, queueId: 12 as QueueId }];

function choosing(choices: readonly ShareChoice[], isInstead = false) {
  return { packetId: 5, choices, isInstead };
}

describe('a choice', () => {
  it('is told to each later attempt, after the death of the broker too, until the release', async () => {
    const disk = new DiskOfZero();
    const before = await ManyShards.open({}, disk);
    const former = await claim(before);
    const chosen = await before.client.sessions.choose(former, choosing(FIRST));
    expect(chosen).toEqual({ isNew: true, choices: FIRST });
    disk.crash();

    const shards = await ManyShards.open({}, disk);
    const { sessions } = shards.client;
    const handle = await claim(shards);
    const stale = { name: 'SessionError', code: 'stale-owner' };
    await expect(sessions.choose(former, choosing(OTHERS))).rejects.toMatchObject(stale);
    const known = { isNew: false, choices: FIRST };
    expect(await sessions.choose(handle, choosing(OTHERS))).toEqual(known);
    const now = [OF, ...OTHERS];
    const changed = { isNew: false, choices: now };
    expect(await sessions.choose(handle, choosing(OTHERS, true))).toEqual(changed);
    expect(await sessions.choose(handle, choosing(FIRST))).toEqual(changed);

    // The publish itself is stored behind it, in whichever shard, and once.
    await shards.client.admin.declare(definition('q'));
    const key = { session: handle.incarnation, ownerEpoch: handle.ownerEpoch, packetId: 5 };
    for (const text of ['m', 'again']) {
      expect(await publish(shards.client, [shards.idOf('q')], text, key)).toEqual(
        expect.any(Number),
      );
    }
    expect((await shards.client.admin.show('q')).next).toBe(1);
    await answered((waiter) => shards.client.release(key, waiter, 1));
    const fresh = { isNew: true, choices: OTHERS };
    expect(await sessions.choose(handle, choosing(OTHERS))).toEqual(fresh);
    disk.crash();
  });

  it('of too many shares is refused, and nothing of it is kept', async () => {
    const shards = await ManyShards.open();
    const { sessions } = shards.client;
    const handle = await claim(shards);
    const many = Array.from({ length: 1_025 }, (_, share) => ({ share, queueId: 1 as QueueId }));
    const refused = { name: 'SessionError', code: 'unavailable' };
    await expect(sessions.choose(handle, choosing(many))).rejects.toMatchObject(refused);
    expect(await sessions.choose(handle, choosing(FIRST))).toMatchObject({ isNew: true });
  });
});
