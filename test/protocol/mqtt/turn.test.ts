import { Socket } from 'node:net';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { MqttListener } from '../../../src/protocol/mqtt/listener.ts';
import { Turn } from '../../../src/protocol/mqtt/turn.ts';
import type { TransportEvents } from '../../../src/protocol/transport.ts';
import { doorOf, transportOf } from '../../support/door-of.ts';
import { MqttServer, until } from '../../support/mqtt-server.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

describe('the share of a connection', () => {
  it('is small once the turn has been long, and as before in the next one', async () => {
    const now = vi.spyOn(performance, 'now').mockReturnValue(1_000);
    const turn = new Turn();
    const share = turn.takeShare();
    now.mockReturnValue(1_001.9);
    expect(turn.takeShare()).toBe(share);
    now.mockReturnValue(1_002);
    expect(turn.takeShare()).toBeLessThan(share / 10);
    expect(turn.takeShare()).toBeGreaterThan(0);
    const { number } = turn;
    await new Promise((done) => {
      setImmediate(done);
    });
    expect(turn.number).toBe(number + 1);
    expect(turn.takeShare()).toBe(share);
  });

  it('is used up by the filters of SUBSCRIBEs: further ones are for the next turn', async () => {
    vi.spyOn(performance, 'now').mockReturnValue(1_000);
    const server = await new MqttServer().start();
    try {
      const client = await server.client();
      const write = vi.spyOn(Socket.prototype, 'write');
      const subscribe = (messageId: number): Buffer =>
        mqttPacket.generate(
          {
            cmd: 'subscribe',
            messageId,
            subscriptions: Array.from({ length: 16 }, (_, i) => ({ topic: `t/${i}`, qos: 0 })),
          } as Packet,
          { protocolVersion: 5 },
        );
      const all = Array.from({ length: 40 }, (_, at) => subscribe(at + 1));
      client.socket.write(Buffer.concat(all));
      for (let at = 0; at < all.length; at++) await client.expect('suback');
      const answers = write.mock.contexts.filter((socket) => socket !== client.socket);
      expect(answers).toHaveLength(3);
    } finally {
      await server.stop();
    }
  });
});

describe('long work', () => {
  it('has all together so much of a turn as makes it long, a piece each in turn', async () => {
    let nowMs = 1_000;
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    const turn = new Turn();
    const done: string[] = [];
    const piece = (name: string, pieces: number, costMs: number): void => {
      let left = pieces;
      turn.goOn(() => {
        nowMs += costMs;
        done.push(`${turn.number} ${name}`);
        return --left > 0;
      });
    };
    piece('a', 3, 0.9);
    piece('b', 3, 0.9);
    piece('slow', 2, 50);
    for (let turns = 0; turns < 10; turns++) {
      await new Promise((next) => {
        setImmediate(next);
      });
    }
    expect(done).toEqual(['1 a', '1 b', '1 slow', '2 a', '2 b', '2 slow', '3 a', '3 b']);
  });
});

it('a sweep looks at 256 connections at once, and at all in turns to come', async () => {
  const server = await new MqttServer().start();
  try {
    const connecting = Array.from({ length: 300 }, () => server.client({ keepalive: 10 }));
    await Promise.all(connecting);
    server.clock.advance(16_000);
    server.listener.sweep();
    const { limited } = server.listener.counters;
    expect(limited['keep-alive']).toBe(256);
    // Another one meanwhile changes nothing.
    server.listener.sweep();
    expect(limited['keep-alive']).toBe(256);
    await until(() => limited['keep-alive'] === 300);
  } finally {
    await server.stop();
  }
});

it('a connection that sends much has its share in bytes: half a MiB a turn', async () => {
  vi.spyOn(performance, 'now').mockReturnValue(1_000);
  let events: TransportEvents | undefined;
  let pauses = 0;
  let isRead = false;
  const nothing = (): void => undefined;
  const transport = transportOf({
    attach: (given) => void (events = given),
    pause: () => void pauses++,
    resume: () => void (isRead = true),
  });
  const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
  const listener = new MqttListener(new MqttServer().broker, log, { doors: [doorOf(transport)] });
  await listener.start();
  const protocol = { protocolId: 'MQTT', protocolVersion: 4, keepalive: 0 };
  const bytes = (packet: object): Buffer => mqttPacket.generate(packet as Packet);
  events?.received(bytes({ cmd: 'connect', ...protocol, clean: true, clientId: 'c' }));
  await until(() => isRead);
  pauses = 0;
  const payload = Buffer.alloc(65_536 - 8);
  const chunk = bytes({ cmd: 'publish', topic: 'abc', qos: 0, payload });
  let chunks = 0;
  for (; pauses === 0 && chunks < 100; chunks++) events?.received(chunk);
  expect(chunk.length).toBeGreaterThan(65_000);
  expect(chunks).toBeGreaterThan(5);
  expect(chunks).toBeLessThanOrEqual(8);
  events?.closed(undefined);
  await listener.stop();
});
