/**
 * MQTT over WebSocket (MQTT 5.0 section 6): the same connection as over TCP, whatever frames the
 * bytes come in; and what a peer that does not keep to it costs.
 */

import { setImmediate } from 'node:timers/promises';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { afterEach, describe, expect, test } from 'vitest';

import { MqttServer, type ServerSettings, until } from '../../support/mqtt-server.ts';
import {
  Opcode,
  RawWebSocket,
  type RequestOptions,
  frame,
} from '../../support/web-socket-bytes.ts';

let server: MqttServer;
const clients: RawWebSocket[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await server.stop();
});

async function start(settings: ServerSettings = {}): Promise<void> {
  server = await new MqttServer({ webSocket: {}, ...settings }).start();
}

async function open(request: RequestOptions = {}, afterwards?: Uint8Array): Promise<RawWebSocket> {
  const client = await RawWebSocket.open(server.webPort, request, afterwards);
  clients.push(client);
  return client;
}

function bytesOf(packet: Record<string, unknown>): Buffer {
  return mqttPacket.generate(packet as unknown as Packet, { protocolVersion: 5 });
}

const CONNECT = bytesOf({
  cmd: 'connect',
  protocolId: 'MQTT',
  protocolVersion: 5,
  clean: true,
  clientId: 'web',
  keepalive: 0,
});
const PINGREQ = Buffer.from([0xc0, 0]);
const PINGRESP = Buffer.from([0xd0, 0]);

function publish(topic: string, payload: string | Buffer, qos: 0 | 1 = 0): Buffer {
  return bytesOf({ cmd: 'publish', topic, payload, qos, messageId: 7, retain: false, dup: false });
}

/** Connected: CONNACK has come. */
async function connected(request: RequestOptions = {}): Promise<RawWebSocket> {
  const client = await open(request);
  client.send(CONNECT);
  const connack = await client.next();
  expect(connack?.payload[0]).toBe(0x20);
  return client;
}

/** Everything that was sent has been taken, and nothing else was said. */
async function quiet(client: RawWebSocket): Promise<void> {
  client.send(PINGREQ);
  expect((await client.next())?.payload).toEqual(PINGRESP);
}

function closings(): unknown[] {
  return server.log
    .filter(({ message }) => /closed before CONNECT|disconnected/.test(message))
    .map(({ fields }) => fields['reason']);
}

describe('the handshake', () => {
  test('[MQTT-6.0.0-4] answers with the sub-protocol mqtt and agrees on no compression', async () => {
    await start();
    const client = await open({
      headers: {
        'Sec-WebSocket-Protocol': 'other, mqtt',
        'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits',
      },
    });
    expect(client.head).toMatch(/^HTTP\/1\.1 101 /);
    expect(client.head).toMatch(/^Sec-WebSocket-Protocol: mqtt\r$/m);
    // RFC 6455 4.2.2, for the key of the request.
    expect(client.head).toMatch(/^Sec-WebSocket-Accept: C\/0nmHhBztSRGR1CwL6Tf4ZjwpY=\r$/m);
    expect(client.head).not.toMatch(/extensions/i);
  });

  test.each<[string, RequestOptions, number, RegExp]>([
    ['no upgrade', { headers: { Upgrade: undefined, Connection: 'close' } }, 426, /WebSocket/],
    ['another path', { path: '/other' }, 404, /\/mqtt/],
    ['a body', { method: 'POST', headers: { 'Content-Length': '9' } }, 405, /GET/],
    ['no sub-protocol', { headers: { 'Sec-WebSocket-Protocol': undefined } }, 400, /mqtt/],
    ['a key that is none', { headers: { 'Sec-WebSocket-Key': 'x' } }, 400, /Sec-WebSocket-Key/],
    ['a page of elsewhere', { headers: { Origin: 'http://evil.example' } }, 403, /origin/],
  ])('%s gets an answer that says what is wrong, and the end', async (_, request, status, told) => {
    await start();
    const client = await open(request);
    expect(client.head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(await client.body()).toMatch(told);
    expect(server.listener.doors[1]?.counters.upgradeRefused).toBe(1);
    await until(() => server.listener.doors[1]?.arriving === 0);
  });

  test('what comes behind a request that was refused is not refused again', async () => {
    await start();
    const client = await RawWebSocket.silent(server.webPort);
    client.socket.write('GET /other HTTP/1.1\r\nHost: x\r\n\r\nthis is no HTTP\r\n\r\n');
    expect(await client.body()).toMatch(/^HTTP\/1\.1 404 (?![^]*HTTP\/1\.1 400)/);
    await until(() => server.listener.doors[1]?.arriving === 0);
    expect(server.listener.doors[1]?.counters.upgradeRefused).toBe(1);
  });

  test('a client of MQTT over TCP is told that HTTP is spoken here', async () => {
    await start();
    const client = await RawWebSocket.silent(server.webPort);
    client.socket.write(CONNECT);
    expect(await client.body()).toMatch(/^HTTP\/1\.1 400 [^]*WebSocket/);
  });

  test('pages of the origins that were named may connect, and no other', async () => {
    await start({ webSocket: { origins: ['https://app.example.com'] } });
    const page = await connected({ headers: { Origin: 'https://app.example.com' } });
    await quiet(page);
    const other = await open({ headers: { Origin: 'https://other.example.com' } });
    expect(other.head).toMatch(/ 403 /);
    // Clients of other tests may look here for a server that had this port.
    const refusals = server.log.filter(({ fields }) => fields['status'] === 403);
    expect(refusals[0]?.fields).toMatchObject({ origin: 'https://other.example.com' });
  });
});

describe('P4: frames', () => {
  test('packets come through however the stream is cut into frames', async () => {
    await start();
    const watcher = await server.client();
    await watcher.subscribe('#', 0);
    const stream = Buffer.concat([CONNECT, publish('a', 'one'), publish('b', 'x'.repeat(300))]);
    for (const size of [1, 2, 3, 5, 7, 16, 61, 125, 126, stream.length]) {
      const client = await open();
      for (let at = 0; at < stream.length; at += size) {
        client.send(stream.subarray(at, at + size));
      }
      expect((await client.next())?.payload[0]).toBe(0x20);
      expect((await watcher.expect('publish'))['topic']).toBe('a');
      expect((await watcher.expect('publish'))['topic']).toBe('b');
      client.destroy();
    }
  });

  test('one message in many fragments, with empty ones and a ping between them', async () => {
    await start();
    const stream = Buffer.concat([CONNECT, PINGREQ]);
    const client = await open();
    client.send(stream.subarray(0, 3), { fin: false });
    client.send(Buffer.from('still there?'), { opcode: Opcode.ping });
    client.send(Buffer.alloc(0), { opcode: Opcode.more, fin: false });
    client.send(stream.subarray(3, 9), { opcode: Opcode.more, fin: false });
    client.send(stream.subarray(9), { opcode: Opcode.more });
    const pong = await client.next();
    expect([pong?.opcode, pong?.payload.toString()]).toEqual([Opcode.pong, 'still there?']);
    const answers = [await client.next()];
    if (answers[0]?.payload.at(-2) !== 0xd0) answers.push(await client.next());
    const all = Buffer.concat(answers.map((answer) => answer?.payload ?? Buffer.alloc(0)));
    expect(all[0]).toBe(0x20);
    expect(all.subarray(-2)).toEqual(PINGRESP);
  });

  test('what comes with the request is not lost', async () => {
    await start();
    const client = await open({}, frame(CONNECT));
    expect((await client.next())?.payload[0]).toBe(0x20);
  });

  test('a large packet both ways is one binary message for each write', async () => {
    await start();
    const client = await connected();
    const subscribe = { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '#', qos: 0 }] };
    client.send(bytesOf(subscribe));
    expect((await client.next())?.payload[0]).toBe(0x90);
    const payload = Buffer.alloc(1_500_000, 'abc');
    client.send(publish('big', payload));
    const parts: Buffer[] = [];
    for (let size = 0; size < payload.length; size += parts.at(-1)?.length ?? 0) {
      const next = await client.next();
      expect(next?.first).toBe(0x82);
      parts.push(next?.payload ?? Buffer.alloc(0));
    }
    expect(Buffer.concat(parts).subarray(-payload.length).equals(payload)).toBe(true);
  });

  test('[MQTT-6.0.0-1] a text frame closes the connection, and nothing after it is taken', async () => {
    await start();
    const watcher = await server.client();
    await watcher.subscribe('#', 0);
    const client = await connected();
    client.send(Buffer.from('hello'), { opcode: Opcode.text });
    client.send(publish('a', 'too late'));
    const [close] = await client.rest();
    expect([close?.opcode, close?.payload.readUInt16BE(0)]).toEqual([Opcode.close, 1003]);
    await until(() => closings().includes('a text frame'));
    await watcher.quiet();
  });

  test.each<[string, Parameters<typeof frame>, number, string]>([
    ['without a mask', [PINGREQ, { masked: false }], 1002, 'WS_ERR_EXPECTED_MASK'],
    ['that is compressed', [PINGREQ, { reserved: 0x40 }], 1002, 'WS_ERR_UNEXPECTED_RSV_1'],
    ['of an unknown kind', [PINGREQ, { opcode: 3 }], 1002, 'WS_ERR_INVALID_OPCODE'],
    ['that continues nothing', [PINGREQ, { opcode: 0 }], 1002, 'WS_ERR_INVALID_OPCODE'],
  ])('a frame %s closes the connection and harms nobody', async (_, parts, code, why) => {
    await start();
    const other = await server.client();
    const client = await connected();
    client.socket.write(frame(...parts));
    const [close] = await client.rest();
    expect([close?.opcode, close?.payload.readUInt16BE(0)]).toEqual([Opcode.close, code]);
    client.destroy();
    await until(() => closings().includes(why));
    await other.quiet();
  });

  test('a message above the maximum is refused from its header', async () => {
    await start({ webSocket: { maxMessageBytes: 100_000 } });
    const client = await connected();
    client.socket.write(frame(Buffer.alloc(100_001)).subarray(0, 14));
    const [close] = await client.rest();
    expect(close?.payload.readUInt16BE(0)).toBe(1009);
  });
});

describe('S1: a stranger', () => {
  test('costs no more than a first packet may have, however large a message it begins', async () => {
    await start();
    const client = await open();
    const whole = frame(Buffer.alloc(4_000_000, 0x10));
    for (let at = 0; at < whole.length; at += 10_000) {
      client.socket.write(whole.subarray(at, at + 10_000));
    }
    expect(await client.rest()).toEqual([]);
    await until(() => server.listener.connectionCount === 0);
    expect(closings()).toEqual([expect.stringMatching(/more than 69632 bytes/)]);
    expect(client.socket.bytesWritten).toBeGreaterThan(69_632);
  });

  test('that sends a whole CONNECT of almost 64 KiB is let in', async () => {
    await start();
    const client = await open();
    const password = Buffer.alloc(60_000, 'p');
    const fields = { username: 'u', password, clientId: 'large', keepalive: 0, clean: true };
    client.send(bytesOf({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, ...fields }));
    expect((await client.next())?.payload[0]).toBe(0x20);
  });

  test('P3: that says nothing, or half a request, or no CONNECT, is cut at one deadline', async () => {
    await start({ connectTimeoutMs: 1000 });
    const silent = await RawWebSocket.silent(server.webPort);
    const slow = await RawWebSocket.silent(server.webPort);
    slow.socket.write('GET /mqtt HTTP/1.1\r\nHost: a\r\nX-Slow:');
    const upgraded = await open();
    const door = server.listener.doors[1];
    await until(() => door?.arriving === 3);
    server.clock.advance(999);
    server.listener.sweep();
    expect(door?.arriving).toBe(3);
    expect(server.listener.connectionCount).toBe(1);
    server.clock.advance(1);
    server.listener.sweep();
    expect(await silent.body()).toBe('');
    expect(await slow.body()).toBe('');
    expect(await upgraded.rest()).toEqual([]);
    await until(() => door?.arriving === 0);
    expect(door?.counters.tooSlow).toBe(3);
  });

  test('P3: as many as there may be on their way keep nobody out who is in', async () => {
    await start({ maxArriving: 3 });
    const inside = await connected();
    const silent = [];
    for (let count = 0; count < 3; count++) {
      silent.push(await RawWebSocket.silent(server.webPort));
    }
    await until(() => server.listener.doors[1]?.arriving === 3);
    const fourth = await RawWebSocket.silent(server.webPort);
    expect(await fourth.body()).toBe('');
    expect(server.listener.doors[1]?.counters.aboveArriving).toBe(1);
    await quiet(inside);
    // TCP is another door.
    expect((await server.client()).connack).toMatchObject({ reasonCode: 0 });
    silent[0]?.destroy();
    await until(() => server.listener.doors[1]?.arriving === 2);
    await quiet(await connected());
    for (const each of silent) each.destroy();
  });

  test('connections above the maximum are closed at once', async () => {
    await start({ maxConnections: 1 });
    const first = await connected();
    const second = await RawWebSocket.silent(server.webPort);
    expect(await second.body()).toBe('');
    expect(server.listener.doors[1]?.counters.aboveMaximum).toBe(1);
    await quiet(first);
  });
});

describe('back-pressure', () => {
  test('a client that does not read takes no memory: QoS 0 is dropped, and pings are not answered', async () => {
    await start({ maxBufferedBytes: 65_536 });
    const deaf = await connected();
    const subscribe = { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 't', qos: 0 }] };
    deaf.send(bytesOf(subscribe));
    expect((await deaf.next())?.payload[0]).toBe(0x90);
    deaf.socket.pause();
    const publisher = await server.client();
    const payload = Buffer.alloc(60_000);
    // Beyond what the system buffers for both ends.
    while (server.listener.counters.droppedSlow < 5) {
      publisher.publish('t', payload);
      await publisher.quiet();
    }
    const before = process.memoryUsage().external;
    for (let count = 0; count < 20_000; count++) {
      deaf.send(Buffer.alloc(125, 'p'), { opcode: Opcode.ping });
    }
    await publisher.quiet();
    await publisher.quiet();
    expect(process.memoryUsage().external - before).toBeLessThan(16 * 1024 * 1024);
    deaf.destroy();
    await until(() => server.listener.connectionCount === 1);
  });

  test('a client that sends too fast is not read until what it sent is answered', async () => {
    await start({ receiveMaximum: 2 });
    server.queues.mode = 'manual';
    const client = await open();
    const connect = {
      cmd: 'connect',
      protocolId: 'MQTT',
      clean: true,
      clientId: 'fast',
      keepalive: 0,
    };
    client.send(mqttPacket.generate({ ...connect, protocolVersion: 4 } as unknown as Packet));
    expect((await client.next())?.payload[0]).toBe(0x20);
    const one = mqttPacket.generate({
      cmd: 'publish',
      topic: '$queue/orders',
      payload: Buffer.alloc(60_000),
      qos: 1,
      messageId: 1,
      retain: false,
      dup: false,
    } as unknown as Packet);
    for (let id = 1; id <= 400; id++) {
      const bytes = Buffer.from(one);
      bytes.writeUInt16BE(id, bytes.length - 60_002);
      client.send(bytes);
    }
    await until(() => server.queues.keys.length === 2);
    // 24 MB do not fit into what both systems buffer: the rest has to wait at the client.
    // Turns enough to read all of it, if it were read.
    for (let turn = 0; turn < 1_000; turn++) await setImmediate();
    await (await server.client()).quiet();
    expect(server.queues.keys.length).toBe(2);
    expect(client.socket.writableLength).toBeGreaterThan(1_000_000);
    for (let answered = 0; answered < 400; answered += 2) {
      await until(() => server.queues.keys.length === answered + 2);
      server.queues.answer(2);
    }
  });
});

describe('a peer that is half gone', () => {
  test('is asked after a silence, and cut when it is silent for as long again', async () => {
    await start({ webSocket: { pingIntervalMs: 10_000 } });
    const client = await connected();
    server.listener.sweep();
    server.clock.advance(10_000);
    server.listener.sweep();
    expect((await client.next())?.opcode).toBe(Opcode.ping);
    client.send(Buffer.alloc(0), { opcode: Opcode.pong });
    await quiet(client);
    server.listener.sweep();
    server.clock.advance(10_000);
    server.listener.sweep();
    expect((await client.next())?.opcode).toBe(Opcode.ping);
    server.clock.advance(9_999);
    server.listener.sweep();
    expect(server.listener.connectionCount).toBe(1);
    server.clock.advance(1);
    server.listener.sweep();
    expect(await client.rest()).toEqual([]);
    await until(() => closings().includes('no answer to a ping'));
  });

  test('is never asked with an interval of 0', async () => {
    await start({ webSocket: { pingIntervalMs: 0 } });
    const client = await connected();
    server.listener.sweep();
    server.clock.advance(1e9);
    server.listener.sweep();
    await quiet(client);
  });
});

describe('the end', () => {
  test('a close frame without DISCONNECT is a lost connection; its will is published', async () => {
    await start();
    const watcher = await server.client();
    await watcher.subscribe('#', 0);
    const client = await open();
    const will = { topic: 'gone', payload: Buffer.from('web'), qos: 0, retain: false };
    const fields = {
      protocolId: 'MQTT',
      protocolVersion: 5,
      clean: true,
      clientId: 'w',
      keepalive: 0,
    };
    client.send(bytesOf({ cmd: 'connect', ...fields, will }));
    await client.next();
    client.send(Buffer.from([0x03, 0xe9]), { opcode: Opcode.close });
    expect((await client.rest()).map(({ opcode }) => opcode)).toEqual([Opcode.close]);
    expect((await watcher.expect('publish'))['topic']).toBe('gone');
  });

  test('after DISCONNECT the server closes: 1000, then the socket', async () => {
    await start();
    const client = await connected();
    client.send(Buffer.from([0xe0, 0]));
    const close = await client.next();
    expect([close?.opcode, close?.payload.readUInt16BE(0)]).toEqual([Opcode.close, 1000]);
    client.send(close?.payload ?? Buffer.alloc(0), { opcode: Opcode.close });
    expect(await client.rest()).toEqual([]);
  });

  test('P10: the same client id over TCP takes over, and the other way round', async () => {
    await start();
    const overTcp = await server.client({ clientId: 'web' });
    const overWeb = await connected();
    expect(await overTcp.ended()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8e }]);
    await quiet(overWeb);
    const again = await server.client({ clientId: 'web' });
    const told = await overWeb.next();
    expect([...(told?.payload.subarray(0, 1) ?? []), told?.payload[2]]).toEqual([0xe0, 0x8e]);
    await again.quiet();
  });

  test('stop tells the clients, cuts those on their way in, and ends with all sockets closed', async () => {
    await start();
    const client = await connected();
    const silent = await RawWebSocket.silent(server.webPort);
    await until(() => server.listener.doors[1]?.arriving === 1);
    const stopped = server.listener.stop();
    const disconnect = await client.next();
    expect([disconnect?.payload[0], disconnect?.payload[2]]).toEqual([0xe0, 0x8b]);
    const close = await client.next();
    expect(close?.opcode).toBe(Opcode.close);
    client.send(close?.payload ?? Buffer.alloc(0), { opcode: Opcode.close });
    await stopped;
    expect(await silent.body()).toBe('');
    expect(server.listener.doors.map(({ address }) => address)).toEqual([undefined, undefined]);
  });
});
