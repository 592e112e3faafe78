/** Nodes over real sockets and TLS on loopback: messages arrive as they were sent, in order. */

import { once } from 'node:events';
import { type Socket, createServer } from 'node:net';
import { fc } from '../support/properties.ts';
import { afterEach, describe, expect, it } from 'vitest';
import type { PeerMessage } from '#raft';
import { anyMessage, plain } from '../support/peer-arbitraries.ts';
import { Authority, PeerNode, append, connected } from '../support/peer-world.ts';
import { heartbeat, introduce, until } from '../support/peer-world.ts';
import type { NodeWish } from '../support/peer-world.ts';

const authority = new Authority();
const running: PeerNode[] = [];

async function nodes(count: number, wish: NodeWish = {}): Promise<PeerNode[]> {
  const all = Array.from({ length: count }, (_, index) => {
    const id = `n${index + 1}`;
    return new PeerNode(id, { tls: authority.tls('c', id), ...wish });
  });
  running.push(...all);
  await Promise.all(all.map(({ transport }) => transport.start()));
  introduce(...all);
  await connected(...all);
  return all;
}

async function pair(wish: NodeWish = {}): Promise<[PeerNode, PeerNode]> {
  const [one, other] = await nodes(2, wish);
  return [one!, other!];
}

afterEach(async () => {
  await Promise.all(running.splice(0).map(({ transport }) => transport.stop()));
});

describe('messages', () => {
  it('of every kind arrive unchanged, each once, in the order of their channel', async () => {
    const [one, other] = await pair();
    const sent: PeerMessage[] = fc
      .sample(anyMessage, 300)
      .map((message) => ({ ...message, from: 'n1', to: 'n2' }));
    for (const [index, message] of sent.entries()) {
      expect(one.network.send(message)).toBe(true);
      if (index % 50 === 49) await until(() => one.stat('peers/waiting-bytes') === 0);
    }
    await until(() => other.heard.length === sent.length);
    const bulk = (message: PeerMessage): boolean =>
      /^(appendEntries|repairReply|catchUp(Offer|Ask|Answer|End))$/.test(message.kind);
    for (const channel of [bulk, (message: PeerMessage) => !bulk(message)]) {
      const expected = sent.filter(channel).map(plain);
      expect(other.heard.filter(channel).map(plain)).toEqual(expected);
    }
    expect(other.stat('peer-frames/received')).toBe(sent.length);
  });

  it('both ways, between three nodes, on one stream for all shards', async () => {
    const all = await nodes(3);
    const shards = [2, 300, 0xffff];
    const heard: string[] = [];
    for (const { id, transport } of all) {
      for (const shard of shards) {
        const network = transport.network(shard, id);
        network.listen({
          received: ({ from, to }) => heard.push(`${from} ${to} ${shard}`),
          room: () => undefined,
        });
        for (const { id: to } of all) if (to !== id) network.send(heartbeat(id, to, shard));
      }
    }
    const expected = all.flatMap(({ id: from }) =>
      all.flatMap(({ id: to }) => (from === to ? [] : shards.map((s) => `${from} ${to} ${s}`))),
    );
    await until(() => heard.length >= expected.length);
    expect(heard.sort()).toEqual(expected.sort());
    for (const node of all) expect(node.stat('peer-batches/sent')).toBe(2);
  });

  it('those of one turn of the loop leave as one batch', async () => {
    const [one, other] = await pair();
    for (let round = 0; round < 1_000; round += 1) one.network.send(heartbeat('n1', 'n2', round));
    await until(() => other.heard.length === 1_000);
    expect([one.stat('peer-frames/sent'), one.stat('peer-batches/sent')]).toEqual([1_000, 1]);
    expect(other.heard.map((message) => 'round' in message && message.round)).toEqual(
      Array.from({ length: 1_000 }, (_, round) => round),
    );
  });

  it('a payload of the largest size arrives, and what is larger is dropped and said so', async () => {
    const [one, other] = await pair({ backlogBytes: 1 << 20 });
    const payload = Buffer.alloc(64 << 20, 'x');
    payload.write('end', payload.length - 3);
    expect(one.network.send(append('n1', 'n2', 1, payload))).toBe(true);
    await until(() => other.heard.length === 1);
    const [message] = other.heard;
    if (message?.kind !== 'appendEntries') throw new Error('another message');
    expect(payload.equals(message.entries[0]?.payload ?? Buffer.of())).toBe(true);
    expect(one.network.send(append('n1', 'n2', 1, Buffer.alloc(66 << 20)))).toBe(false);
  });

  it('a payload that is kept keeps at most twice its frame in memory', async () => {
    const [one, other] = await pair();
    const sizes = [200_000, 10, 3_000, 10, 300_000, 10];
    for (const [at, size] of sizes.entries()) {
      one.network.send(append('n1', 'n2', at + 1, Buffer.alloc(size, at)));
    }
    one.network.send(heartbeat('n1', 'n2', 1));
    await until(() => other.heard.length === sizes.length + 1);
    const payloads = other.heard.flatMap((message) =>
      message.kind === 'appendEntries' ? message.entries.map(({ payload }) => payload) : [],
    );
    expect(payloads.map(({ length }) => length)).toEqual(sizes);
    for (const [at, payload] of payloads.entries()) {
      expect(payload.every((byte) => byte === at)).toBe(true);
      expect(payload.buffer.byteLength).toBeLessThan(2 * (payload.length + 150));
    }
  });

  it('for a replica that is not here, or was replaced, are not heard', async () => {
    const [one, other] = await pair();
    one.network.send(heartbeat('n1', 'n2+1', 1));
    one.transport.network(9, 'n1').send(heartbeat('n1', 'n2', 2));
    one.network.send(heartbeat('n1', 'n2', 3));
    await until(() => other.heard.length > 0);
    expect(other.heard).toEqual([heartbeat('n1', 'n2', 3)]);
    expect(other.stat('peer-frames/strayed')).toBe(2);
  });

  it('a shard has one replica on a node; once it is closed, the next one hears', async () => {
    const [one, other] = await pair();
    expect(() => other.transport.network(1, 'n2+1')).toThrow('has a network already');
    other.network.close();
    const heard: PeerMessage[] = [];
    const network = other.transport.network(1, 'n2+1');
    network.listen({ received: (message) => heard.push(message), room: () => undefined });
    one.network.send(heartbeat('n1', 'n2', 1));
    one.network.send(heartbeat('n1', 'n2+1', 2));
    await until(() => heard.length > 0);
    expect(heard).toEqual([heartbeat('n1', 'n2+1', 2)]);
    expect(other.heard).toEqual([]);
  });
});

describe('a peer that is away', () => {
  it('costs nothing: what is sent to it is dropped, and counted', async () => {
    const [one] = await pair();
    expect(one.network.send(heartbeat('n1', 'nobody', 1))).toBe(false);
    running[1]!.network.close();
    await running.splice(1, 1)[0]!.transport.stop();
    await until(() => one.transport.peers.every(({ sending }) => !sending));
    expect(one.network.send(append('n1', 'n2', 1, Buffer.alloc(1_000)))).toBe(false);
    expect(one.network.hasRoom('n2')).toBe(false);
    expect([one.stat('peer-frames/dropped'), one.stat('peers/waiting-bytes')]).toEqual([1, 0]);
  });

  it('is found again at its address, and who waits for room is told', async () => {
    const [one, other] = await pair();
    const { port } = other;
    await running.splice(1, 1)[0]!.transport.stop();
    await until(() =>
      one.transport.peers.every(({ sending, receiving }) => !sending && !receiving),
    );
    expect(one.network.hasRoom('n2')).toBe(false);
    expect(one.room).toEqual([]);
    const again = new PeerNode('n2', { tls: authority.tls('c', 'n2'), port });
    running.push(again);
    await again.transport.start();
    introduce(one, again);
    await connected(one, again);
    expect(one.room).toEqual(['n2']);
    one.network.send(append('n1', 'n2', 5, Buffer.from('after')));
    again.network.send(heartbeat('n2', 'n1', 6));
    await until(() => again.heard.length === 1 && one.heard.length === 1);
    expect(one.lines.of('a peer was started anew')).toEqual([{ peer: 'n2' }]);
  });

  it('that was never there is told once, not at each attempt', async () => {
    const [one] = await nodes(1);
    const free = new PeerNode('n2', {});
    await free.transport.start();
    const { port } = free;
    await free.transport.stop();
    one!.transport.setPeers([{ id: 'n2', host: '127.0.0.1', port }]);
    const attempts = (): number => one!.lines.of('a peer cannot be reached').length;
    await until(() => attempts() >= 4);
    const warned = one!.lines.all.filter(({ level }) => level === 'warn');
    const channels = new Set(warned.map(({ fields }) => fields['channel']));
    expect([warned.length, channels]).toEqual([2, new Set(['bulk', 'control'])]);
  });

  it('that takes connections and never answers is given up, and connected to anew', async () => {
    const [one] = await nodes(1);
    const sockets: Socket[] = [];
    const mute = createServer((socket) => sockets.push(socket));
    mute.listen(0, '127.0.0.1');
    await once(mute, 'listening');
    const { port } = mute.address() as { port: number };
    one!.transport.setPeers([{ id: 'n2', host: '127.0.0.1', port }]);
    await until(() => sockets.length >= 4);
    expect(one!.lines.of('a peer cannot be reached')[0]).toMatchObject({
      why: 'no answer within 5 s',
    });
    one!.transport.setPeers([]);
    for (const socket of sockets) socket.destroy();
    mute.close();
  });

  it('that is taken out of the configuration is let go, by both sides', async () => {
    const [one, other] = await pair();
    one.transport.setPeers([]);
    expect(one.transport.peers).toEqual([]);
    await until(() =>
      other.transport.peers.every(({ sending, receiving }) => !sending && !receiving),
    );
    expect(one.network.send(heartbeat('n1', 'n2', 1))).toBe(false);
  });

  it('that moves is found at its new address', async () => {
    const [one, other] = await pair();
    await running.splice(1, 1)[0]!.transport.stop();
    const moved = new PeerNode('n2', { tls: authority.tls('c', 'n2') });
    running.push(moved);
    await moved.transport.start();
    expect(moved.port).not.toBe(other.port);
    introduce(one, moved);
    await connected(one, moved);
  });
});

describe('bounds', () => {
  it('bulk above its bound is refused, and in time there is room again; nothing is lost', async () => {
    const [one, other] = await pair({ backlogBytes: 256 << 10 });
    const payload = Buffer.alloc(10_000, 1);
    const taken: number[] = [];
    for (let index = 1; index <= 100; index += 1) {
      if (one.network.send(append('n1', 'n2', index, payload))) taken.push(index);
    }
    // The first ones are taken: behind a lost entry the others are of no use.
    expect(taken).toEqual(Array.from({ length: taken.length }, (_, at) => at + 1));
    expect(taken.length).toBe(Math.floor((256 << 10) / (payload.length + 8 + 73)));
    expect(one.network.hasRoom('n2')).toBe(false);
    await until(() => one.room.length > 0);
    expect(one.network.hasRoom('n2')).toBe(true);
    await until(() => other.heard.length === taken.length);
    expect(other.heard.map((message) => 'prevLogIndex' in message && message.prevLogIndex)).toEqual(
      taken.map((index) => index - 1),
    );
    expect(one.stat('peer-frames/dropped')).toBe(100 - taken.length);
  });

  it('of heartbeats and acknowledgements the newest stay', async () => {
    const [one, other] = await pair();
    for (let round = 1; round <= 1_500; round += 1) {
      expect(one.network.send(heartbeat('n1', 'n2', round))).toBe(true);
    }
    await until(() => other.heard.length === 1_024);
    expect(other.heard[0]).toMatchObject({ round: 1_500 - 1_023 });
    expect(one.stat('peer-frames/dropped')).toBe(1_500 - 1_024);
  });

  it('a heartbeat is not held up by bulk that its peer does not take', async () => {
    const [one, other] = await pair({ backlogBytes: 64 << 20 });
    for (let index = 1; index <= 60; index += 1) {
      one.network.send(append('n1', 'n2', index, Buffer.alloc(1 << 20)));
    }
    await until(() => other.heard.length > 0);
    one.network.send(heartbeat('n1', 'n2', 1));
    await until(() => other.heard.some(({ kind }) => kind === 'heartbeat'));
    expect(other.heard.filter(({ kind }) => kind === 'appendEntries').length).toBeLessThan(60);
    await until(() => other.heard.length === 61);
  });
});

describe('without TLS, where the configuration says so', () => {
  it('the same holds', async () => {
    const [one, other] = await pair({ tls: undefined });
    one.network.send(append('n1', 'n2', 1, Buffer.from('plain')));
    await until(() => other.heard.length === 1);
    expect(other.heard).toHaveLength(1);
  });
});

describe('the start', () => {
  it('an address that is taken is an error of the system, and nothing stays behind', async () => {
    const [one] = await nodes(1);
    const second = new PeerNode('n2', { port: one!.port });
    await expect(second.transport.start()).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await second.transport.stop();
  });
});
