import mqttPacket, { type Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { MqttListener } from '../../../src/protocol/mqtt/listener.ts';
import type { Transport, TransportEvents } from '../../../src/protocol/transport.ts';
import { doorOf, transportOf } from '../../support/door-of.ts';
import { MqttServer, until } from '../../support/mqtt-server.ts';

const nothing = (): void => undefined;
const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

function bytes(packet: object): Buffer {
  return mqttPacket.generate(packet as Packet);
}

/** A client with a keep-alive of 10 s, which is not read since far too much waits for it. */
async function unread(): Promise<{
  transport: { -readonly [each in keyof Transport]: Transport[each] };
  /** 16 s pass, and a sweep. */
  pass: () => void;
  ended: () => number;
  close: () => Promise<void>;
}> {
  let events: TransportEvents | undefined;
  let pauses = 0;
  let isRead = false;
  const transport = transportOf({
    attach: (given) => void (events = given),
    pause: () => void pauses++,
    resume: () => void (isRead = true),
  });
  const { broker, clock } = new MqttServer();
  const listener = new MqttListener(broker, log, { doors: [doorOf(transport)] });
  await listener.start();
  const protocol = { protocolId: 'MQTT', protocolVersion: 4, keepalive: 10 };
  events?.received(bytes({ cmd: 'connect', ...protocol, clean: true, clientId: 'c' }));
  await until(() => isRead);
  pauses = 0;
  Object.assign(transport, { waiting: 1 << 30, written: 1000 });
  events?.received(bytes({ cmd: 'pingreq' }));
  expect(pauses).toBe(1);
  const pass = (): void => {
    clock.advance(16_000);
    listener.sweep();
  };
  return {
    transport,
    pass,
    ended: () => listener.counters.limited['keep-alive'],
    close: async () => {
      events?.closed(undefined);
      await listener.stop();
    },
  };
}

describe('a client that is not read, as it does not read what waits for it', () => {
  it('is alive as long as it takes some of that', async () => {
    const { transport, pass, ended, close } = await unread();
    for (let times = 0; times < 5; times++) {
      transport.written++;
      pass();
      expect(ended()).toBe(0);
    }
    await close();
  });

  it('ends by its keep-alive when it takes nothing', async () => {
    const { pass, ended, close } = await unread();
    pass();
    pass();
    expect(ended()).toBe(1);
    await close();
  });
});
