import { Socket } from 'node:net';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { MqttListener } from '../../../src/protocol/mqtt/listener.ts';
import { Turn } from '../../../src/protocol/mqtt/turn.ts';
import type { Door, TransportEvents } from '../../../src/protocol/transport.ts';
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

describe('what was collected', () => {
  const turns = async (): Promise<void> => {
    await new Promise((done) => {
      setImmediate(done);
    });
  };

  it('is written once a turn, and in one in which others are read for long before its end', async () => {
    let nowMs = 1_000;
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    const turn = new Turn();
    const written: string[] = [];
    const member = (name: string) => ({
      endTurn: () => void written.push(`${turn.number} ${name}`),
      nextTurn: () => undefined,
    });
    const read = (count: number, costMs: number): void => {
      for (let left = count; left > 0; left--) {
        turn.reads();
        turn.takeShare();
        nowMs += costMs;
      }
    };
    read(100, 0.01);
    turn.writeAtEnd(member('behind long reading'));
    read(8, 0.01);
    expect(written).toEqual(['0 behind long reading']);
    turn.writeAtEnd(member('short'));
    read(20, 0.01);
    expect(written).toHaveLength(1);
    await turns();
    expect(written).toEqual(['0 behind long reading', '1 short']);

    turn.writeAtEnd(member('a'));
    turn.writeAtEnd(member('b'));
    read(60, 0.01);
    expect(written.slice(2)).toEqual(['1 a', '1 b']);
    turn.writeAtEnd(member('a'));
    read(60, 0.01);
    expect(written.slice(4)).toEqual(['1 a']);
    await turns();
    expect(written).toHaveLength(5);
    expect(turn.number).toBe(2);
  });

  it('to a client is on its way while hundreds of others are still read', async () => {
    const nothing = (): void => undefined;
    const bytes = (packet: object): Buffer => mqttPacket.generate(packet as Packet);
    const written: string[] = [];
    const clients = Array.from({ length: 100 }, (_, at) => {
      const events: { of?: TransportEvents } = {};
      const write = (chunk: Uint8Array): void => {
        written.push(`${at} ${(chunk[0] as number) >> 4}`);
      };
      return { events, transport: transportOf({ attach: (of) => void (events.of = of), write }) };
    });
    const received = (at: number, packet: object): void => {
      clients[at]?.events.of?.received(bytes(packet));
    };
    const door: Door = {
      ...doorOf(transportOf({})),
      open: async ({ entered }) => {
        for (const { transport } of clients) entered(transport);
      },
    };
    const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
    const listener = new MqttListener(new MqttServer().broker, log, { doors: [door] });
    await listener.start();
    const protocol = { protocolId: 'MQTT', protocolVersion: 4, keepalive: 0 };
    for (const at of clients.keys()) {
      received(at, { cmd: 'connect', ...protocol, clean: true, clientId: `${at}` });
    }
    await until(() => written.length === clients.length);
    received(0, { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 0 }] });
    await until(() => written.length === clients.length + 1);
    written.length = 0;
    let nowMs = 1_000;
    vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += 0.1));
    received(1, { cmd: 'publish', topic: 'a', payload: 'x', qos: 0 });
    for (let at = 2; at < clients.length; at++) received(at, { cmd: 'pingreq' });
    // The publication to the subscriber, and answers to most of the pings.
    expect(written[0]).toBe('0 3');
    expect(written.length).toBeGreaterThan(80);
    vi.restoreAllMocks();
    await until(() => written.length === clients.length - 1);
    expect(new Set(written).size).toBe(clients.length - 1);
    for (const { events } of clients) events.of?.closed(undefined);
    await listener.stop();
  });

  it('is not written early where nobody was read', () => {
    let nowMs = 1_000;
    vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    const turn = new Turn();
    let written = 0;
    turn.writeAtEnd({ endTurn: () => void written++, nextTurn: () => undefined });
    for (let left = 100; left > 0; left--, nowMs++) turn.reads();
    expect(written).toBe(0);
  });
});

describe('long work', () => {
  it('has a millisecond of a turn all together, a piece each in turn', async () => {
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
    piece('a', 3, 0.45);
    piece('b', 3, 0.45);
    piece('slow', 2, 50);
    for (let turns = 0; turns < 10; turns++) {
      await new Promise((next) => {
        setImmediate(next);
      });
    }
    expect(done).toEqual(['1 a', '1 b', '1 slow', '2 a', '2 b', '2 slow', '3 a', '3 b']);
  });
});

it('a sweep looks at 32 connections at once, and at all in turns to come', async () => {
  const server = await new MqttServer().start();
  try {
    const connecting = Array.from({ length: 300 }, () => server.client({ keepalive: 10 }));
    await Promise.all(connecting);
    server.clock.advance(16_000);
    server.listener.sweep();
    const { limited } = server.listener.counters;
    expect(limited['keep-alive']).toBe(32);
    // Another one meanwhile changes nothing.
    server.listener.sweep();
    expect(limited['keep-alive']).toBe(32);
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
