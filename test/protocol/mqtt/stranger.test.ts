/** Who sends its CONNECT in many pieces, and takes its time, is not read at each of them (S1). */

import mqttPacket from 'mqtt-packet';
import { afterEach, describe, expect, test } from 'vitest';
import { MqttServer, type RawClient, until } from '../../support/mqtt-server.ts';
import { frame, RawWebSocket } from '../../support/web-socket-bytes.ts';

let server: MqttServer;
let watchers = 0;
afterEach(() => server.stop());

async function start(...parts: ConstructorParameters<typeof MqttServer>): Promise<void> {
  server = await new MqttServer(...parts).start();
  watchers = 0;
}

/** Whatever was sent before is read by now. */
async function quiet(): Promise<void> {
  const watcher = await server.client({ clientId: `watcher-${watchers}` });
  watchers++;
  await watcher.quiet();
}

/** As long for each; the first bytes are the same. */
function connectOf(nth: number): Buffer {
  const clientId = `slow-${String(nth).padStart(2, '0')}`;
  const protocol = { protocolId: 'MQTT', protocolVersion: 5, keepalive: 0 } as const;
  return mqttPacket.generate({ cmd: 'connect', ...protocol, clean: true, clientId });
}

const limited = (): number => server.listener.counters.limited['connect-pieces'];

describe('a CONNECT in many pieces', () => {
  /** Their first nine bytes, one by one; the last of them once they are slow. */
  async function dripping(count: number): Promise<RawClient[]> {
    const all: RawClient[] = [];
    while (all.length < count) all.push(await server.open());
    for (let at = 0; at < 9; at++) {
      if (at === 8) server.clock.advance(500);
      for (const slow of all) slow.sendBytes(connectOf(0)[at] ?? 0);
      await quiet();
    }
    await until(() => limited() === count);
    return all;
  }

  /** Of those who drip, beside the ones who watch. */
  const cameIn = (): number => server.listener.counters.connected - watchers;

  test('and with time between them rests behind each further one, and comes in', async () => {
    await start();
    const [first, second] = await dripping(2);
    first?.socket.write(connectOf(1).subarray(9));
    second?.socket.write(connectOf(2).subarray(9, 10));
    server.clock.advance(249);
    await quiet();
    expect(cameIn()).toBe(0);
    server.clock.advance(251);
    expect(await first?.next()).toMatchObject({ cmd: 'connack', reasonCode: 0 });
    await quiet();
    second?.socket.write(connectOf(2).subarray(10));
    server.clock.advance(249);
    await quiet();
    expect(cameIn()).toBe(1);
    server.clock.advance(251);
    expect(await second?.next()).toMatchObject({ cmd: 'connack', reasonCode: 0 });
    expect(limited()).toBe(2);
  });

  test('of several in step: they go on one after the other', async () => {
    await start();
    const all = await dripping(16);
    for (const [nth, slow] of all.entries()) slow.socket.write(connectOf(nth).subarray(9));
    for (const [ms, most] of [
      [249, 0],
      [1, 1],
      [125, 9],
      [125, 16],
    ] as const) {
      server.clock.advance(ms);
      await until(() => cameIn() === most);
      await quiet();
      expect(cameIn()).toBe(most);
    }
  });

  test('has the time of a CONNECT all the same, and may go away', async () => {
    await start();
    const [late, gone] = await dripping(2);
    gone?.destroy();
    server.clock.advance(500);
    await until(() => server.listener.connectionCount === 1 + watchers);
    late?.sendBytes(connectOf(0)[9] ?? 0);
    server.clock.advance(15_000);
    expect(await late?.ended()).toEqual([]);
    expect(server.listener.doors[0]?.counters.tooSlow).toBe(1);
  });

  test('comes in and is served where the rest of it lay behind the piece that was too many', async () => {
    await start({ webSocket: {} });
    const slow = await RawWebSocket.open(server.portOf('ws'));
    const [connect, pingreq] = [connectOf(1), Buffer.from([0xc0, 0])];
    const piece = (from: number, to?: number): Buffer => frame(connect.subarray(from, to));
    for (let at = 0; at < 8; at++) {
      slow.socket.write(piece(at, at + 1));
      await quiet();
    }
    server.clock.advance(500);
    slow.socket.write(Buffer.concat([piece(8, 9), piece(9), frame(pingreq)]));
    await until(() => limited() === 1);
    await quiet();
    expect(cameIn()).toBe(0);
    server.clock.advance(500);
    // CONNACK and PINGRESP, in one frame or two.
    let answers = Buffer.alloc(0);
    while (answers.at(-2) !== 0xd0) {
      answers = Buffer.concat([answers, (await slow.next())?.payload ?? Buffer.of(0xd0, 0)]);
    }
    expect(answers[0]).toBe(0x20);
    slow.socket.write(frame(pingreq));
    expect((await slow.next())?.payload[0]).toBe(0xd0);
    slow.destroy();
  });

  test('at once is none that is slow', async () => {
    await start();
    const client = await server.open();
    for (const byte of connectOf(0)) {
      client.sendBytes(byte);
      await quiet();
    }
    expect(await client.next()).toMatchObject({ cmd: 'connack', reasonCode: 0 });
    expect(limited()).toBe(0);
  });
});
