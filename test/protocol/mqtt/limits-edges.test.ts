/**
 * The edges of the limits: what just fits is taken, what does not is refused, and what was counted
 * is given back once (docs/limits.md).
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import mqttPacket from 'mqtt-packet';
import { afterEach, describe, expect, test } from 'vitest';
import { MqttServer, type RawClient, textOf, until } from '../../support/mqtt-server.ts';
import { frame, Opcode, RawWebSocket } from '../../support/web-socket-bytes.ts';

let server: MqttServer;
afterEach(() => server.stop());

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<void> {
  server = await new MqttServer(...parts).start();
}

/** The begin of a CONNECT of 65,000 bytes more, so long. */
function begun(bytes: number): Buffer {
  const part = Buffer.alloc(bytes, 0x20);
  part.set([0x10, 0xe8, 0xfb, 0x03, 0x00, 0x04, ...Buffer.from('MQTT'), 5, 2, 0, 0, 0]);
  return part;
}

async function stranger(bytes: number): Promise<RawClient> {
  const client = await server.open();
  client.socket.write(begun(bytes));
  return client;
}

async function strangers(count: number, bytes: number): Promise<RawClient[]> {
  const all: RawClient[] = [];
  for (let at = 0; at < count; at++) all.push(await stranger(bytes));
  return all;
}

const cut = (): number => server.listener.counters.limited['handshake-bytes'];

describe('bytes of strangers', () => {
  test('just fit, and one more does not', async () => {
    await start({ maxHandshakeBytes: 1_048_576 });
    const held = await strangers(16, 65_000);
    held.push(await stranger(8_576));
    await until(() => held.every(({ socket }) => socket.bytesWritten > 8_000));
    await until(() => server.listener.connectionCount === held.length);
    const next = await server.open();
    // Behind everything that was sent before it.
    next.sendBytes(0x10);
    expect(await next.ended()).toEqual([]);
    expect(cut()).toBe(1);
    expect(server.listener.connectionCount).toBe(held.length);
  });

  test('are given back once: who came in and goes frees nothing more', async () => {
    await start({ maxHandshakeBytes: 1_048_576 });
    const other = await server.client();
    const plain = { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, keepalive: 0 } as const;
    const connect = { ...plain, clean: true, clientId: '', username: 'x'.repeat(60_000) };
    const bytes = mqttPacket.generate(connect, { protocolVersion: 5 });
    for (let at = 0; at < 20; at++) {
      const inside = await server.open();
      inside.socket.write(bytes.subarray(0, 59_000));
      // It is read in two parts.
      await other.quiet();
      inside.socket.write(bytes.subarray(59_000));
      expect(await inside.next()).toMatchObject({ cmd: 'connack', reasonCode: 0 });
      inside.destroy();
    }
    await until(() => server.listener.connectionCount === 1);
    await strangers(16, 65_000);
    const late = await stranger(20_000);
    expect(await late.ended()).toEqual([]);
    expect(cut()).toBe(1);
  });
});

test('a CONNECT of 64 KiB is taken, and one of a byte more is not', async () => {
  await start();
  for (const [extra, isTaken] of [
    [0, true],
    [1, false],
  ] as const) {
    const client = await server.open();
    // Behind a fixed header of four bytes.
    const rest = 65_532 + extra;
    // Protocol, flags, keep-alive, no properties, an empty client id, a user name and a password.
    const length = [0x80 | (rest & 0x7f), 0x80 | ((rest >> 7) & 0x7f), rest >> 14];
    const plain = [0, 4, ...Buffer.from('MQTT'), 5, 0xc2, 0, 0, 0, 0, 0];
    const name = Buffer.alloc(30_000, 0x61);
    const secret = Buffer.alloc(rest - plain.length - 2 - name.length - 2, 0x61);
    const short = (count: number): number[] => [count >> 8, count & 0xff];
    client.sendBytes(0x10, ...length, ...plain, ...short(name.length));
    client.socket.write(name);
    client.sendBytes(...short(secret.length));
    client.socket.write(secret);
    const first = await client.next();
    expect(first?.['reasonCode']).toBe(isTaken ? 0 : undefined);
    if (!isTaken) expect(await client.ended()).toEqual([]);
    client.destroy();
  }
});

test('a keep-alive of just the maximum is the client’s own, a longer one is not', async () => {
  await start({ keepAliveMaximumSeconds: 60 });
  const own = await server.client({ keepalive: 60 });
  expect(own.connack?.['properties']).not.toHaveProperty('serverKeepAlive');
  const longer = await server.client({ keepalive: 61 });
  expect(longer.connack?.['properties']).toMatchObject({ serverKeepAlive: 60 });
});

test('a will whose topic just fits is taken', async () => {
  await start({}, { maxTopicLevels: 3, maxTopicLength: 10 });
  for (const topic of ['a/b/c', 'x'.repeat(10)]) {
    const will = { topic, payload: Buffer.from('x'), qos: 0, retain: false };
    expect((await server.client({ will })).connack).toMatchObject({ reasonCode: 0 });
  }
});

test('our aliases stay below what we allow ourselves, whatever the client takes', async () => {
  await start({ topicAliasMaximum: 1 });
  const client = await server.client({ properties: { topicAliasMaximum: 100 } });
  await client.subscribe('#', 0);
  const publisher = await server.client();
  for (const topic of ['a', 'b', 'a', 'b']) publisher.publish(topic, 'x');
  const aliases: unknown[] = [];
  for (let at = 0; at < 4; at++) {
    const { properties } = await client.expect('publish');
    const { topicAlias } = (properties ?? {}) as { readonly topicAlias?: number };
    aliases.push(topicAlias);
  }
  expect(aliases.every((alias) => alias === undefined || alias === 1)).toBe(true);
  expect(aliases).toContain(1);
});

test('an expiry of DISCONNECT is cut to the maximum', async () => {
  await start({ sessionExpiryMaximumSeconds: 100 });
  const properties = { sessionExpiryInterval: 50 };
  const client = await server.client({ clientId: 'a', clean: false, properties });
  const asked = { sessionExpiryInterval: 4_294_967_295 };
  client.send({ cmd: 'disconnect', reasonCode: 0, properties: asked });
  await client.ended();
  const { left } = server.queues.sessions;
  await until(() => left.length === 1);
  expect(left).toMatchObject([{ clientId: 'a', expirySeconds: 100 }]);
});

describe('subscriptions', () => {
  test('that are given up make room', async () => {
    await start({ maxSubscriptions: 2 });
    const client = await server.client();
    for (let round = 0; round < 3; round++) {
      const filters = [`a${round}`, `b${round}`];
      for (const topic of filters) {
        expect(await client.subscribe(topic, 0)).toMatchObject({ granted: [0] });
      }
      expect(await client.subscribe('c', 0)).toMatchObject({ granted: [0x97] });
      client.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: filters });
      await client.expect('unsuback');
    }
  });

  test('that waited for their queues make room for others that do', async () => {
    await start();
    server.queues.attachMode = 'manual';
    const client = await server.client();
    for (let round = 0; round < 2; round++) {
      for (let at = 1; at <= 64; at++) {
        const subscriptions = [{ topic: `$queue/orders/${round}/${at}`, qos: 1 }];
        client.send({ cmd: 'subscribe', messageId: at, subscriptions });
      }
      await client.quiet();
      server.queues.attach();
      for (let at = 1; at <= 64; at++) {
        expect(await client.expect('suback')).toMatchObject({ granted: [1] });
      }
    }
  });
});

test('a client that takes again what it is sent is read again', async () => {
  await start({ maxBufferedBytes: 65_536 });
  const deaf = await server.client();
  await deaf.subscribe('t', 1);
  deaf.socket.pause();
  const publisher = await server.client();
  const { limited } = server.listener.counters;
  for (let at = 1; limited.buffered === 0 && limited['in-flight'] === 0; at++) {
    publisher.publish('t', Buffer.alloc(60_000), { qos: 1, messageId: at });
    await publisher.expect('puback');
    deaf.send({ cmd: 'pingreq' });
    await new Promise((resolve) => setImmediate(resolve));
  }
  // Nothing of it is looked at while it is not read.
  deaf.publish('read again', 'x');
  const watcher = await server.client();
  await watcher.subscribe('read again', 0);
  deaf.socket.resume();
  expect(textOf(await watcher.expect('publish'))).toBe('x');
});

describe('over WebSocket', () => {
  async function open(): Promise<RawWebSocket> {
    await start({ webSocket: {} });
    return RawWebSocket.open(server.webPort);
  }

  async function isCut(client: RawWebSocket): Promise<boolean> {
    for (;;) {
      const next = await client.next();
      if (next === undefined) return true;
      if (next.opcode === Opcode.close) return true;
    }
  }

  test('a message has at most 4,096 fragments', async () => {
    const client = await open();
    const more = frame(Buffer.alloc(0), { opcode: Opcode.more, fin: false });
    client.socket.write(frame(Buffer.alloc(0), { fin: false }));
    client.socket.write(Buffer.concat(Array.from({ length: 4_096 }, () => more)));
    expect(await isCut(client)).toBe(true);
    client.destroy();
  });

  test('a message that is not whole has at most 4,096 chunks of the socket', async () => {
    const accepted: Socket[] = [];
    const took = (told: unknown): void => void accepted.push((told as { socket: Socket }).socket);
    subscribe('net.server.socket', took);
    const client = await open();
    const message = frame(Buffer.alloc(12_000));
    client.socket.write(message.subarray(0, 8));
    const { bytesRead } = client.socket;
    let sent = 8;
    // Each byte is a chunk: it is read before the next one is written.
    for (; sent < message.length && client.socket.bytesRead === bytesRead; sent++) {
      client.socket.write(message.subarray(sent, sent + 1));
      while (client.socket.bytesWritten > (accepted.at(-1)?.bytesRead ?? 0)) {
        if (accepted.at(-1)?.destroyed !== false) break;
        await new Promise((done) => {
          setImmediate(done);
        });
      }
    }
    unsubscribe('net.server.socket', took);
    expect(await isCut(client)).toBe(true);
    expect(sent).toBeGreaterThan(4_096);
    expect(sent).toBeLessThan(message.length);
    client.destroy();
  });

  test('a request has at most 16 KiB of headers', async () => {
    await start({ webSocket: {} });
    const fits = await RawWebSocket.open(server.webPort, {
      headers: { 'X-A': 'a'.repeat(15_000) },
    });
    expect(fits.head).toMatch(/ 101 /);
    fits.destroy();
    const large = await RawWebSocket.open(server.webPort, {
      headers: { 'X-A': 'a'.repeat(17_000) },
    });
    expect(large.head).toMatch(/ 400 /);
    large.destroy();
  });
});
