/** What a shard answers about names and shards, and what it tells of the map. */
import { describe, expect, it } from 'vitest';
import { AdminError } from '../../src/broker/ports.ts';
import type { PlacedDefinition } from '../../src/machine/definitions.ts';
import type { ShardMap } from '../../src/machine/shard-map.ts';
import { type PlainCommand, writePlainCommand } from '../../src/shard/codec.ts';
import { placeIn, placeOrNoneIn, shardMapIn } from '../../src/shard/place-requests.ts';
import type { PlaceRequest } from '../../src/shard/place-requests.ts';
import {
  decodeBody,
  decodeDeclared,
  decodeRequest,
  encodeRequest,
} from '../../src/shard/requests.ts';
import { ShardError } from '../../src/shard/shard-error.ts';
import { WireWriter } from '../../src/shard/wire.ts';
import { ShardCluster } from '../support/shard-cluster.ts';
import { type PlainClient, ShardWorld, queue } from '../support/shard-world.ts';

const FOUNDERS = ['n1', 'n2', 'n3'];
const ROW = { number: 1, founders: FOUNDERS, hosts: FOUNDERS };

async function ask(client: PlainClient, request: PlaceRequest) {
  return decodeBody(await client.request(request));
}

function place(client: PlainClient, name: string, among = [1], near = '') {
  return ask(client, { kind: 'place', name, among, near }).then(placeIn);
}

function where(client: PlainClient, name: string) {
  return ask(client, { kind: 'where', name }).then(placeOrNoneIn);
}

function placed(name: string, version?: number): PlacedDefinition {
  return { ...queue(name), ...(version === undefined ? {} : { placed: version }) };
}

async function declare(client: PlainClient, ...queues: PlacedDefinition[]) {
  return decodeDeclared(await client.request({ kind: 'declare', queues }));
}

/** The code of what it rejects with. */
async function refusal(asked: Promise<unknown>): Promise<string | undefined> {
  const error = await asked.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof AdminError || error instanceof ShardError ? error.code : undefined;
}

describe('requests about names and shards', () => {
  it('come out as they went in', () => {
    const requests: PlaceRequest[] = [
      { kind: 'place', name: 'ä', among: [0, 1, 63], near: '' },
      { kind: 'unplace', name: 'orders', version: 2 ** 40 },
      { kind: 'where', name: 'orders' },
      { kind: 'barrier' },
      { kind: 'shard-map' },
      { kind: 'missing', fence: 2 ** 40, names: ['orders', 'ä'], keys: [] },
      { kind: 'missing', fence: 0, names: [], keys: ['7/life', 'will/7/2'] },
      { kind: 'add-shard', number: 1, founders: FOUNDERS },
      { kind: 'host-shard', number: 1, node: 'n4' },
      { kind: 'unhost-shard', number: 1, node: 'n4' },
    ];
    for (const each of requests) expect(decodeRequest(encodeRequest(each))).toEqual(each);
    const queues = [placed('a', 7), placed('b')];
    expect(decodeRequest(encodeRequest({ kind: 'declare', queues }))).toEqual({
      kind: 'declare',
      queues,
    });
  });
});

describe('a question about keys', () => {
  it('is one about no name to a node of before, which reads three fields', () => {
    const keys = ['7/life'];
    const asked = encodeRequest({ kind: 'missing', fence: 0, names: [], keys });
    expect(decodeBody(asked)).toEqual(['missing', 0, [], keys]);
    const before = encodeRequest({ kind: 'missing', fence: 3, names: ['a'], keys: [] });
    expect(decodeBody(before)).toEqual(['missing', 3, ['a']]);
  });
});

describe('commands about names and shards', () => {
  it('are written as they always were', () => {
    const hex = (command: PlainCommand): string => {
      const writer = new WireWriter(64);
      writePlainCommand(writer, command);
      return Buffer.from(writer.written()).toString('hex');
    };
    const version = 2 ** 33 + 1;
    const lines = [
      hex({ kind: 'place-queue', name: 'ä', among: [0, 63], near: 'b' }),
      hex({ kind: 'unplace-queue', name: 'a', version }),
      hex({ kind: 'fence-names', version }),
      hex({ kind: 'add-shard', number: 1, founders: ['n1', 'n2'] }),
      hex({ kind: 'host-shard', number: 1, node: 'n3' }),
      hex({ kind: 'unhost-shard', number: 1, node: 'n3' }),
    ];
    expect(lines).toEqual([
      '0f000000150200c3a4010062' + '02003f',
      '1000000016010000000200000001' + '0061',
      '0d000000170100000002000000',
      '0f000000180102' + '02006e3102006e32',
      '0a0000001901' + '02006e33',
      '0a0000001a01' + '02006e33',
    ]);
  });
});

describe('shard 0', () => {
  it('places names, tells where they are, and forgets them at their version', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    await ask(client, { kind: 'add-shard', number: 1, founders: FOUNDERS });
    expect(await place(client, 'jobs')).toEqual({ shard: 1, version: 1 });
    expect(await place(client, 'jobs')).toEqual({ shard: 1, version: 2 });
    expect(await where(client, 'jobs')).toEqual({ shard: 1, version: 2 });
    expect(await where(client, 'orders')).toEqual({ shard: 0, version: 0 });
    expect(await place(client, '$dlq/orders', [1], 'orders')).toEqual({ shard: 0, version: 0 });
    await ask(client, { kind: 'unplace', name: 'jobs', version: 1 });
    expect(await where(client, 'jobs')).toEqual({ shard: 1, version: 2 });
    await ask(client, { kind: 'unplace', name: 'jobs', version: 2 });
    expect(await where(client, 'jobs')).toBeUndefined();
    await world.stop();
  });

  it('answers each of many at once with its own', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    await ask(client, { kind: 'add-shard', number: 1, founders: FOUNDERS });
    const names = Array.from({ length: 50 }, (_, at) => (at % 7 === 0 ? 'a/b' : `q${at}`));
    const places = await Promise.all(
      names.map((name) => place(client, name).catch(() => undefined)),
    );
    let version = 0;
    const expected = names.map((name) => (name === 'a/b' ? undefined : ++version));
    expect(places.map((each) => each?.version)).toEqual(expected);
    await world.stop();
  });

  it('makes no queue whose name is elsewhere, and says so with a code of its own', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    await ask(client, { kind: 'add-shard', number: 1, founders: FOUNDERS });
    await place(client, 'jobs');
    expect(await refusal(declare(client, placed('jobs')))).toBe('elsewhere');
    expect(client.queues.has('jobs')).toBe(false);
    expect(await declare(client, placed('orders'))).toEqual(['same']);
    await world.stop();
  });

  it('leaves a queue of the configuration that is elsewhere to those who reach that', async () => {
    const world = new ShardWorld();
    const client = await world.open({ queues: [] });
    await ask(client, { kind: 'add-shard', number: 1, founders: FOUNDERS });
    await place(client, 'jobs');
    await world.stop();
    const again = await world.open({ queues: [queue('orders'), queue('jobs')] });
    expect([...again.queues.keys()]).toEqual(['orders']);
    await world.stop();
  });

  it('refuses what cannot be, without a trace', async () => {
    const world = new ShardWorld();
    const client = await world.open();
    const long = 'x'.repeat(70_000);
    const wrong: PlaceRequest[] = [
      { kind: 'place', name: 'a/b', among: [0], near: '' },
      { kind: 'place', name: long, among: [0], near: '' },
      { kind: 'place', name: 'a', among: [0], near: long },
      { kind: 'place', name: 'a', among: [64], near: '' },
      { kind: 'place', name: 'a', among: Array.from({ length: 65 }, () => 0), near: '' },
      { kind: 'place', name: 'a', among: [1], near: '' },
      { kind: 'unplace', name: long, version: 1 },
      { kind: 'add-shard', number: 2, founders: FOUNDERS },
      { kind: 'add-shard', number: 2 ** 40, founders: FOUNDERS },
      { kind: 'add-shard', number: 1, founders: [] },
      { kind: 'add-shard', number: 1, founders: [long] },
      { kind: 'add-shard', number: 1, founders: Array.from({ length: 300 }, (_, at) => `n${at}`) },
      { kind: 'host-shard', number: 1, node: 'n1' },
      { kind: 'host-shard', number: 64, node: 'n1' },
      { kind: 'unhost-shard', number: 1, node: long },
    ];
    for (const each of wrong) expect(await refusal(client.request(each))).toBe('invalid');
    expect(await ask(client, { kind: 'shard-map' }).then(shardMapIn)).toEqual([]);
    expect(world.failures).toEqual([]);
    await world.stop();
  });

  it('tells the map at its start and whenever it is another, and keeps it over a crash', async () => {
    const world = new ShardWorld();
    const told: ShardMap[] = [];
    const open = () => world.open({ onShardMap: (map) => void told.push(map) });
    const client = await open();
    expect(told).toEqual([[]]);
    await world.shard?.addShard(1, FOUNDERS);
    expect(told.at(-1)).toEqual([ROW]);
    await world.shard?.addShard(1, FOUNDERS);
    await ask(client, { kind: 'host-shard', number: 1, node: 'n4' });
    await ask(client, { kind: 'unhost-shard', number: 1, node: 'n1' });
    const hosts = ['n2', 'n3', 'n4'];
    expect(await ask(client, { kind: 'shard-map' }).then(shardMapIn)).toEqual([{ ...ROW, hosts }]);
    expect(told).toHaveLength(4);
    expect(await refusal(Promise.resolve(world.shard?.addShard(3, FOUNDERS)))).toBe('invalid');
    await place(client, 'jobs');
    await world.shard?.checkpoint();
    world.crash();
    told.length = 0;
    const again = await open();
    expect(told[0]).toEqual([{ ...ROW, hosts }]);
    expect(await where(again, 'jobs')).toEqual({ shard: 1, version: 1 });
    await world.stop();
  });
});

describe('another shard', () => {
  it('has ids of its own, and makes queues for places above its fence alone', async () => {
    const world = new ShardWorld();
    const client = await world.open({ number: 2, queues: [] });
    expect(await refusal(declare(client, placed('jobs')))).toBe('elsewhere');
    expect(await declare(client, placed('jobs', 5))).toEqual(['created']);
    expect(client.queues.get('jobs')).toBe(2 * 2 ** 40 + 1);
    await client.request({ kind: 'delete', name: 'jobs', placed: 5 });
    expect(client.queues.has('jobs')).toBe(false);
    expect(await refusal(declare(client, placed('jobs', 5)))).toBe('elsewhere');
    // Also where there is nothing to delete: somebody may be about to declare it.
    const nothing = client.request({ kind: 'delete', name: 'jobs', placed: 9 });
    expect(await refusal(nothing)).toBe('no-queue');
    world.crash();
    const again = await world.open({ number: 2, queues: [] });
    expect(await refusal(declare(again, placed('jobs', 9)))).toBe('elsewhere');
    expect(await declare(again, placed('jobs', 10))).toEqual(['created']);
    await world.stop();
  });

  it('answers a barrier, and nothing that is for shard 0', async () => {
    const world = new ShardWorld();
    const client = await world.open({ number: 1, queues: [] });
    expect(await ask(client, { kind: 'barrier' })).toBeNull();
    expect(await refusal(where(client, 'jobs'))).toBe('invalid');
    expect(await refusal(place(client, 'jobs'))).toBe('invalid');
    expect(await refusal(client.request({ kind: 'shard-map' }))).toBe('invalid');
    await world.stop();
  });
});

describe('replicated', () => {
  it('every replica is told the map, and any node asks whoever leads', async () => {
    const cluster = new ShardCluster(['a', 'b', 'c'], {});
    await cluster.start();
    const leader = await cluster.leading();
    const follower = cluster.nodes.find((node) => node !== leader) ?? leader;
    const client = await cluster.routedClient(follower.id);
    const { places } = client;
    let map: ShardMap | undefined;
    const asked = places.addShard(1, FOUNDERS).then(() => places.shardMap());
    asked.then(
      (found) => void (map = found),
      () => undefined,
    );
    await cluster.until(() => map !== undefined);
    expect(map).toEqual([ROW]);
    await cluster.until(() => cluster.nodes.every(({ shardMap }) => shardMap?.length === 1));
    for (const { shardMap } of cluster.nodes) expect(shardMap).toEqual([ROW]);
    expect(cluster.nodes.flatMap(({ errors }) => errors)).toEqual([]);
  });

  it('what is asked while the leader is lost is asked again of the next one', async () => {
    const cluster = new ShardCluster(['a', 'b', 'c'], {});
    await cluster.start();
    const leader = await cluster.leading();
    const follower = cluster.nodes.find((node) => node !== leader) ?? leader;
    const { places } = await cluster.routedClient(follower.id);
    const done: unknown[] = [];
    const note = (asked: Promise<unknown>) =>
      void asked.then(
        (found) => done.push(found),
        (error: unknown) => done.push(error),
      );
    note(places.addShard(1, FOUNDERS));
    await cluster.until(() => done.length === 1);
    cluster.isolate(leader.id);
    note(places.place('jobs', [1], ''));
    note(places.barrier());
    note(places.addShard(1, FOUNDERS));
    await cluster.until(() => done.length === 4);
    expect(done).toEqual([undefined, { shard: 1, version: 1 }, undefined, undefined]);
    note(places.where('jobs'));
    await cluster.until(() => done.length === 5);
    expect(done[4]).toEqual({ shard: 1, version: 1 });
  });

  it('who leads no more, and does not know it yet, answers nothing from what it knew', async () => {
    const cluster = new ShardCluster(['a', 'b', 'c'], {});
    await cluster.start();
    const old = await cluster.leading();
    const follower = cluster.nodes.find((node) => node !== old) ?? old;
    const { places: there } = await cluster.routedClient(follower.id);
    const { places: here, queues } = await cluster.routedClient(old.id);
    const found: unknown[] = [];
    cluster.isolate(old.id);
    for (let times = 0; times < 20; times++) {
      void here.where('jobs').then((place) => found.push(place));
      void here.barrier().then(() => found.push(queues.named('new')?.name));
      await cluster.step();
    }
    const made = there
      .addShard(1, FOUNDERS)
      .then(() => there.place('jobs', [1], ''))
      .then(() => cluster.node(follower.id).routed?.declare([queue('new')]));
    let isMade = false;
    void made.then(() => void (isMade = true));
    await cluster.until(() => isMade);
    expect(found).toEqual([]);
    cluster.heal();
    await cluster.until(() => found.length === 40);
    const places = found.filter((each) => each !== 'new');
    expect(places).toEqual(Array.from({ length: 20 }, () => ({ shard: 1, version: 1 })));
  });
});
