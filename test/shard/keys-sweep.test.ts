/**
 * Keys of QoS 2 publishes whose session is over go in every shard, whatever was not reached when it
 * ended; and those of a session that lives stay, whatever cannot be asked.
 */

import { describe, expect, it } from 'vitest';
import type { ClaimRequest, PublishKey, SessionHandle } from '../../src/broker/ports.ts';
import type { NotNow } from '../../src/shard/other-shards.ts';
import { keyOwnerOf, newIncarnation, willKeyName } from '../../src/shard/key-names.ts';
import { KeysSweep } from '../../src/shard/keys-sweep.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import { ManyShards, answered, definition, publish } from '../support/many-shards.ts';
import { turn, until } from '../support/shard-world.ts';

const REST_MS = 10 * 60_000;
const LIMITS = { maxMessages: 10, maxBytes: 1000, overflow: 'drop-head' } as const;
const KEPT: ClaimRequest = {
  clientId: 'kept',
  user: undefined,
  cleanStart: false,
  expirySeconds: 36_000,
  limits: LIMITS,
  will: undefined,
};
const ORIGIN = { clientId: 'kept', protocol: 'mqtt' } as const;

/** The session `kept` in shard 0; `far` in shard 1, which this node has not reached. */
class World {
  readonly shards: ManyShards;
  readonly handle: SessionHandle;

  private constructor(shards: ManyShards, handle: SessionHandle) {
    this.shards = shards;
    this.handle = handle;
  }

  static async open(): Promise<World> {
    const shards = await ManyShards.open({ isShared: true, ackTimeoutMs: 60_000 });
    const { handle } = await shards.client.sessions.claim(KEPT);
    await shards.make(1);
    const place = await shards.clients.get(0)?.places.place('far', [1], '');
    const placed = place?.version ?? 0;
    await shards.clients.get(1)?.admin.declare({ ...definition('far'), placed });
    return new World(shards, handle);
  }

  get one(): NonNullable<ReturnType<ManyShards['clients']['get']>> {
    return this.shards.clients.get(1) ?? expect.fail();
  }

  key(packetId: number, session = this.handle.incarnation): PublishKey {
    return { session, ownerEpoch: this.handle.ownerEpoch, packetId };
  }

  /** At another node, which has reached shard 1. True: it is stored, and was not there. */
  async publishFar(key: PublishKey): Promise<boolean> {
    const { one } = this;
    const before = await this.#depth();
    const set = { qos: 2, retain: false, properties: undefined } as const;
    const message = { topic: 't', payload: Buffer.from('m'), ...set };
    const far = one.queues.named('far')?.queueId ?? expect.fail();
    const told = await answered((waiter) => one.enqueue([far], message, ORIGIN, waiter, 1, key));
    expect(told).toEqual(expect.any(Number));
    return (await this.#depth()) > before;
  }

  async #depth(): Promise<number> {
    return (await this.one.admin.show('far')).depth;
  }

  /** A checkpoint has what was there by now, and a pass that began behind it is over. */
  async pass(): Promise<void> {
    // A first pass, which may have begun before; that checkpoint; and a second one.
    for (const ms of [61_000, 61_000, REST_MS, 1_000, REST_MS, 1_000, 1_000]) {
      for (let times = 0; times < 3; times++) {
        await this.shards.wait(times === 0 ? ms : 0);
        for (let turns = 0; turns < 30; turns++) await turn();
      }
    }
  }
}

describe('keys in a shard that heard nothing of the end', () => {
  it('go when a session starts clean on a node that has not reached the shard', async () => {
    const world = await World.open();
    expect(await world.publishFar(world.key(5))).toBe(true);
    await world.shards.client.sessions.claim({ ...KEPT, cleanStart: true });
    expect(await world.publishFar(world.key(5))).toBe(false);
    await world.pass();
    expect(await world.publishFar(world.key(5))).toBe(true);
  });

  it('go when the node dies behind its claim, before it has told anybody', async () => {
    const world = await World.open();
    expect(await world.publishFar(world.key(5))).toBe(true);
    const { queueId } = world.handle;
    const life = { token: 't', incarnation: newIncarnation(queueId), user: undefined };
    const claim = { cleanStart: true, expirySeconds: 60, limits: LIMITS, will: undefined };
    const zero = world.shards.clients.get(0);
    await zero?.admin.ask({ kind: 'claim-session', queueId, ...life, ...claim });
    await world.pass();
    expect(await world.publishFar(world.key(5))).toBe(true);
  });

  it('go when its time is over on a node that has not heard of the shard', async () => {
    const world = await World.open();
    const { one, shards } = world;
    expect(await world.publishFar(world.key(5))).toBe(true);
    shards.clients.delete(1);
    await shards.client.sessions.leave(world.handle, { expirySeconds: 0, isInPeace: true });
    await shards.wait(200);
    await until(() => shards.client.queues.named('$session/kept') === undefined);
    shards.clients.set(1, one);
    expect(await world.publishFar(world.key(5))).toBe(false);
    await world.pass();
    expect(await world.publishFar(world.key(5))).toBe(true);
  });

  it('go when its queue is deleted by an operator', async () => {
    const world = await World.open();
    expect(await world.publishFar(world.key(5))).toBe(true);
    await world.shards.clients.get(0)?.admin.delete('$session/kept');
    await world.pass();
    expect(await world.publishFar(world.key(5))).toBe(true);
  });

  it('go when a publish came behind the end', async () => {
    const world = await World.open();
    world.shards.reach(1);
    await world.shards.client.sessions.discard('kept', undefined);
    await world.shards.wait(200);
    await until(() => world.shards.client.queues.named('$session/kept') === undefined);
    expect(await world.publishFar(world.key(5))).toBe(true);
    await world.pass();
    expect(await world.publishFar(world.key(5))).toBe(true);
  });

  it('go where they are of a will that is published, and that alone', async () => {
    const world = await World.open();
    const { sessions } = world.shards.client;
    const set = { qos: 1, retain: false, properties: undefined } as const;
    const message = { topic: 'w', payload: Buffer.from('gone'), ...set };
    const will = { origin: ORIGIN, message, delaySeconds: 0 };
    const first = await sessions.claim({ ...KEPT, will });
    await sessions.leave(first.handle, { expirySeconds: 36_000, isInPeace: false });
    const { handle } = await sessions.claim({ ...KEPT, will });
    const { queueId } = handle;
    // The first one is due, and offered to whoever asks; the second may become so.
    const [due, armed] = [first.handle.ownerEpoch, handle.ownerEpoch];
    const keys = [due, armed, due - 1].map((number) => {
      return { ...world.key(1, willKeyName(queueId, number)), ownerEpoch: 1 };
    });
    for (const key of keys) expect(await world.publishFar(key)).toBe(true);
    await world.pass();
    const again: boolean[] = [];
    for (const key of keys) again.push(await world.publishFar(key));
    expect(again).toEqual([false, false, true]);
    await world.shards.clients.get(0)?.admin.ask({ kind: 'end-will', queueId, number: due });
    await world.pass();
    again.splice(0);
    for (const key of keys) again.push(await world.publishFar(key));
    expect(again).toEqual([true, false, true]);
  });
});

describe('keys in the shard of the session itself', () => {
  it('go when a publish came behind the end', async () => {
    const world = await World.open();
    const { client } = world.shards;
    world.shards.reach(1);
    await client.admin.declare(definition('here'));
    const targets = [world.shards.idOf('here')];
    expect(targets[0]).toBeLessThan(2 ** 40);
    await client.sessions.claim({ ...KEPT, cleanStart: true });
    const depth = async (): Promise<number> => (await client.admin.show('here')).depth;
    // The end that the claim tells has been there.
    await publish(client, targets, 'm');
    expect(await depth()).toBe(1);
    await publish(client, targets, 'm', world.key(5));
    await publish(client, targets, 'm', world.key(5));
    expect(await depth()).toBe(2);
    await world.pass();
    await publish(client, targets, 'm', world.key(5));
    expect(await depth()).toBe(3);
  });
});

describe('keys that stay', () => {
  it('are those of a session that lives, with its owner, without, and with the next one', async () => {
    const world = await World.open();
    const { sessions } = world.shards.client;
    expect(await world.publishFar(world.key(5))).toBe(true);
    await sessions.leave(world.handle, { expirySeconds: 36_000, isInPeace: true });
    await world.pass();
    expect(await world.publishFar(world.key(5))).toBe(false);
    world.shards.reach(1);
    const { handle, present } = await sessions.claim(KEPT);
    expect(present).toBe(true);
    await world.pass();
    const key = { ...world.key(5), ownerEpoch: handle.ownerEpoch };
    expect(await world.publishFar(key)).toBe(false);
  });

  it('are those of nobody who can be asked: names of before, and of a shard that is not there', async () => {
    const world = await World.open();
    const names = ['0b0e7dc6-6f3c-4e0e-9f0e-0d4b5c1a2f3e', `${5 * 2 ** 40 + 1}/life`];
    for (const name of names) expect(await world.publishFar(world.key(5, name))).toBe(true);
    await world.pass();
    for (const name of names) expect(await world.publishFar(world.key(5, name))).toBe(false);
  });
});

describe('the shard of a session', () => {
  it('says nothing of sessions of others, and of a life in force that it is not over', async () => {
    const world = await World.open();
    const { queueId, incarnation } = world.handle;
    const zero = world.shards.clients.get(0);
    const names = [incarnation, `${queueId}/other`, `${2 ** 40 + 1}/far`, 'plain', `99/none`];
    expect(await zero?.places.overKeys(names)).toEqual([`${queueId}/other`, '99/none']);
    const set = { qos: 1, retain: false, properties: undefined } as const;
    const message = { topic: 'w', payload: Buffer.from('gone'), ...set };
    const will = { origin: ORIGIN, message, delaySeconds: 60 };
    const { handle } = await world.shards.client.sessions.claim({ ...KEPT, will });
    const wills = [handle.ownerEpoch, 1].map((number) => willKeyName(queueId, number));
    expect(await zero?.places.overKeys(wills)).toEqual(wills.slice(1));
  });
});

describe('the name of a key', () => {
  it('tells its session, or its will, or nothing', () => {
    const queueId = (2 ** 40 + 7) as QueueId;
    expect(keyOwnerOf(newIncarnation(queueId))).toEqual({ queueId, will: undefined });
    expect(keyOwnerOf(willKeyName(queueId, 3))).toEqual({ queueId, will: 3 });
    const strange = [
      '',
      'x',
      '1',
      '/x',
      '1/',
      'will/1/x',
      'will/1',
      '1/2/3',
      `${'9'.repeat(16)}/x`,
    ];
    expect(strange.map(keyOwnerOf)).toEqual(strange.map(() => undefined));
  });
});

/** Pages of names by hand, and shards that say which of them are over. */
class Rows {
  readonly asked: string[] = [];
  readonly ended: string[] = [];
  readonly over = new Set<string>();
  pages: string[][] = [];
  nowMs = 0;
  away: number | undefined;
  broken = false;

  readonly sweep = new KeysSweep({
    loader: {
      namesBehind: (_prefix, behind) => {
        if (this.broken) return Promise.reject(new Error('closed'));
        return Promise.resolve(this.pages.find(([first = '']) => first > behind) ?? []);
      },
    },
    others: {
      overKeys: (shard, names): Promise<readonly string[] | NotNow> => {
        this.asked.push(`${shard}: ${names.join(' ')}`);
        if (shard === this.away) return Promise.resolve({ kind: 'not-now', detail: 'away' });
        return Promise.resolve(names.filter((name) => this.over.has(name)));
      },
    },
    end: (session) => void this.ended.push(session),
    now: () => this.nowMs,
    wake: () => undefined,
    logger: { info: () => undefined, warn: () => undefined, error: () => undefined },
  });

  /** As if it had been woken when it wanted to be. */
  async looks(count: number): Promise<void> {
    for (let look = 0; look < count; look += 1) {
      this.nowMs = Math.max(this.nowMs, this.sweep.nextWake);
      this.sweep.look();
      // While a step is under way another look does nothing.
      this.sweep.look();
      await turn();
    }
  }
}

describe('a sweep', () => {
  it('asks once for each shard and page, rests behind the last page, and begins again', async () => {
    const rows = new Rows();
    rows.pages = [
      ['1/a', `${2 ** 40}/b`, '2/c'],
      ['3/d', 'plain'],
    ];
    rows.over.add('2/c').add('3/d');
    await rows.looks(1);
    expect(rows.nowMs).toBe(REST_MS);
    expect(rows.asked).toEqual(['0: 1/a 2/c', `1: ${2 ** 40}/b`]);
    await rows.looks(2);
    expect(rows.nowMs).toBe(REST_MS + 2_000);
    expect(rows.asked.slice(2)).toEqual(['0: 3/d']);
    expect(rows.ended).toEqual(['2/c', '3/d']);
    expect(rows.sweep.nextWake).toBe(2 * REST_MS + 2_000);
    await rows.looks(1);
    expect(rows.asked.length).toBe(5);
  });

  it('leaves what a shard that does not answer has, and goes on with the others', async () => {
    const rows = new Rows();
    rows.pages = [['1/a', `${2 ** 40}/b`]];
    rows.over.add('1/a').add(`${2 ** 40}/b`);
    rows.away = 0;
    await rows.looks(2);
    expect(rows.ended).toEqual([`${2 ** 40}/b`]);
    rows.away = undefined;
    await rows.looks(1);
    expect(rows.ended).toContain('1/a');
  });

  it('goes on behind a failure', async () => {
    const rows = new Rows();
    rows.pages = [['1/a']];
    rows.over.add('1/a');
    rows.broken = true;
    await rows.looks(3);
    expect(rows.nowMs).toBe(3 * REST_MS);
    expect(rows.ended).toEqual([]);
    rows.broken = false;
    await rows.looks(1);
    expect(rows.ended).toEqual(['1/a']);
  });
});
