/**
 * Shards that this node has not reached: without which its start went on, or which were made while
 * it runs and are used by others already. What is refused, what waits, and until when.
 */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { type ClaimRequest, type PublishKey, SessionError } from '../../src/broker/ports.ts';
import { ManyShards, answered, definition, publish } from '../support/many-shards.ts';
import { until } from '../support/shard-world.ts';

const LIMITS = { maxMessages: 10, maxBytes: 1000, overflow: 'drop-head' } as const;
const KEPT: ClaimRequest = {
  clientId: 'kept',
  user: undefined,
  cleanStart: false,
  expirySeconds: 60,
  limits: LIMITS,
  will: undefined,
};

afterEach(() => vi.useRealTimers());

/** The queue `near` and the session `kept` in shard 0; `far` in shard 1, which is not reached. */
async function twoShards(ackTimeoutMs = 50): Promise<ManyShards> {
  const shards = await ManyShards.open({ isShared: true, ackTimeoutMs });
  const { admin, sessions } = shards.client;
  await admin.declare(definition('near'));
  await sessions.claim(KEPT);
  await shards.make(1);
  const [zero, one] = [shards.clients.get(0), shards.clients.get(1)];
  const placed = (await zero?.places.place('far', [1], ''))?.version ?? 0;
  await one?.admin.declare({ ...definition('far', { topics: ['t'] }), placed });
  return shards;
}

async function started(): Promise<ManyShards> {
  const shards = await twoShards();
  expect(await shards.client.complete(0)).toEqual([1]);
  return shards;
}

describe('a shard without which a start went on', () => {
  it('is not known, and the rest goes on', async () => {
    const shards = await started();
    const { admin } = shards.client;
    expect(await publish(shards.client, [shards.idOf('near')], 'a')).toEqual(expect.any(Number));
    expect(await shards.consume('near').got(1)).toEqual(['a']);
    expect(await admin.declare(definition('more'))).toBe('created');
    await expect(admin.list('', 10)).rejects.toThrow('which queues shard 1 has is not known');
    const refused = await Promise.allSettled([
      admin.show('far'),
      admin.declare(definition('far')),
      admin.delete('far'),
      admin.purge('far', undefined),
    ]);
    for (const each of refused) {
      expect(each).toMatchObject({ status: 'rejected', reason: { code: 'unavailable' } });
    }
  });

  it('may have queues that capture: no route is current', async () => {
    const shards = await started();
    const { freshness } = shards.client;
    const cameMs = freshness?.now() ?? 0;
    let answers = 0;
    freshness?.onAnswer(() => void answers++);
    expect(freshness?.covers(cameMs, cameMs)).toBe(false);
    await until(() => answers > 0);
    expect(freshness?.covers(cameMs, freshness.now())).toBe(false);
    shards.reach(1);
    await until(() => freshness?.covers(cameMs, freshness.now()) === true);
  });

  it('may have keys of a session that goes on; one that begins anew has none there', async () => {
    const shards = await started();
    const { sessions } = shards.client;
    const goesOn = sessions.claim(KEPT);
    await expect(goesOn).rejects.toThrow(SessionError);
    await expect(goesOn).rejects.toThrow('shard 1 may have to do with the session');
    expect(await sessions.claim({ ...KEPT, clientId: 'new' })).toMatchObject({ present: false });
    expect(await sessions.claim({ ...KEPT, cleanStart: true })).toMatchObject({ present: false });
    shards.reach(1);
    expect(await sessions.claim(KEPT)).toMatchObject({ present: true });
  });

  it('is not missing where it is reached at the moment at which the start goes on', async () => {
    for (let ticks = 0; ticks < 10; ticks++) {
      const shards = await twoShards();
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      const complete = shards.client.complete(1000);
      await until(() => vi.getTimerCount() > 0);
      vi.advanceTimersByTime(1000);
      for (let tick = 0; tick < ticks; tick++) await Promise.resolve();
      shards.reach(1);
      await complete;
      vi.useRealTimers();
      const listed = await shards.client.admin.list('', 10);
      expect(listed.map((each) => each.definition.name)).toContain('far');
    }
  });

  it('is as any other when it is reached', async () => {
    const shards = await started();
    const { admin, queues } = shards.client;
    const { version } = shards.client;
    expect(shards.reach(1)).toBe(true);
    expect(shards.client.version).toBeGreaterThan(version);
    expect(queues.takeChanged()).toBeUndefined();
    expect(queues.patterned.map(({ name }) => name)).toContain('far');
    const listed = await admin.list('', 10);
    expect(listed.map((each) => each.definition.name)).toContain('far');
    expect(await publish(shards.client, [shards.idOf('far')], 'b')).toEqual(expect.any(Number));
    expect(await shards.consume('far').got(1)).toEqual(['b']);
  });
});

/** Of a session that published to `far` at another node, and goes on at this one. */
async function carriedKey(shards: ManyShards): Promise<PublishKey> {
  const { handle } = await shards.client.sessions.claim(KEPT);
  const key = { session: handle.incarnation, ownerEpoch: handle.ownerEpoch, packetId: 5 };
  expect(await publishFar(shards, 'first', key)).toEqual(expect.any(Number));
  const claimed = await shards.client.sessions.claim(KEPT);
  expect(claimed).toMatchObject({ present: true });
  return { ...key, ownerEpoch: claimed.handle.ownerEpoch };
}

/** By the client of another node, which has reached shard 1. */
function publishFar(shards: ManyShards, text: string, key: PublishKey): Promise<unknown> {
  const one = shards.clients.get(1) ?? expect.fail();
  const message = {
    topic: 't',
    payload: Buffer.from(text),
    qos: 2,
    retain: false,
    properties: undefined,
  } as const;
  const origin = { clientId: 'kept', protocol: 'mqtt' } as const;
  const far = one.queues.named('far')?.queueId ?? expect.fail();
  return answered((waiter) => one.enqueue([far], message, origin, waiter, 1, key));
}

describe('a shard that was made while the node runs, and that others use already', () => {
  it('is waited for by the release of a key that may be there: no new message is a repeat', async () => {
    const shards = await twoShards(60_000);
    const key = await carriedKey(shards);
    let told: unknown;
    const waiter = { enqueued: (_tag: number, outcome: unknown): void => void (told = outcome) };
    shards.client.release(key, waiter, 1);
    // Whatever shard 0 was asked for by then is answered.
    await shards.clients.get(0)?.places.shardMap();
    await shards.clients.get(0)?.places.shardMap();
    expect(told).toBeUndefined();
    shards.reach(1);
    await until(() => told !== undefined);
    expect(told).toEqual(expect.any(Number));
    await publish(shards.client, [shards.idOf('far')], 'second', key);
    expect(await shards.consume('far').got(2)).toEqual(['first', 'second']);
  });

  it('is not reached in time: the key is not told to be free, and the next release asks again', async () => {
    const shards = await twoShards();
    const key = await carriedKey(shards);
    const release = (): Promise<unknown> => {
      return answered((waiter) => shards.client.release(key, waiter, 1));
    };
    expect(await release()).toBe('unavailable');
    expect(await release()).toBe('unavailable');
    shards.reach(1);
    expect(await release()).toEqual(expect.any(Number));
  });

  it('holds up no session that was here before it, nor one that begins anew', async () => {
    const shards = await ManyShards.open({ isShared: true, ackTimeoutMs: 60_000 });
    const { sessions } = shards.client;
    await sessions.claim(KEPT);
    const claimed = [await sessions.claim(KEPT)];
    const release = ({ handle }: (typeof claimed)[0]): Promise<unknown> => {
      const { ownerEpoch, incarnation: session } = handle;
      const key = { session, ownerEpoch, packetId: 5 };
      return answered((waiter) => shards.client.release(key, waiter, 1));
    };
    expect(await Promise.all(claimed.map(release))).toEqual([expect.any(Number)]);
    await shards.make(1);
    claimed.push(await sessions.claim({ ...KEPT, clientId: 'new' }));
    const [there] = await Promise.all(claimed.map(release));
    expect(there).toEqual(expect.any(Number));
  });

  it('is waited for by a list of all queues', async () => {
    const shards = await twoShards(60_000);
    let isTold = false;
    const listed = shards.client.admin.list('', 10).finally(() => (isTold = true));
    await shards.clients.get(0)?.places.shardMap();
    await shards.clients.get(0)?.admin.list('', 10);
    expect(isTold).toBe(false);
    shards.reach(1);
    expect((await listed).map((each) => each.definition.name)).toContain('far');
  });

  it('is not reached in time: a part is not listed as the whole', async () => {
    const shards = await twoShards();
    const listed = shards.client.admin.list('', 10);
    await expect(listed).rejects.toThrow('which queues shard 1 has is not known');
    shards.reach(1);
    expect(await shards.client.admin.list('', 10)).not.toHaveLength(0);
  });
});
