/** A client that is not read is not read by Node.js either: what it sends stays with TCP. */

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { NetDoor } from '../../../src/protocol/doors/net-door.ts';
import type { Transport } from '../../../src/protocol/transport.ts';
import { until } from '../../support/mqtt-server.ts';

const door = new NetDoor({
  key: 'server.mqtt.tcp.addr',
  scheme: 'mqtt',
  place: { host: '127.0.0.1', port: 0 },
  maxConnections: 10,
  maxArriving: 10,
  perNetwork: { maxConnections: 0, maxArriving: 0, rate: undefined, ipv6Bits: 64 },
  connectTimeoutMs: 60_000,
});
let client: Socket;
afterEach(async () => {
  client.destroy();
  await door.close();
});

function ignore(): void {}

/** Each byte is a segment, and the server has had its turn behind it. */
async function sendOneByOne(text: string): Promise<void> {
  for (const letter of text) {
    await new Promise((sent) => client.write(letter, sent));
    for (let turns = 0; turns < 3; turns++) await turn();
  }
}

test('who is paused sends on, and what it sent comes as one', async () => {
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  const come = new Promise<Transport>((entered) => {
    void door.open({ clock: performance, log, entered }).then(() => {
      client = connect(door.address?.port ?? 0, '127.0.0.1').setNoDelay(true);
      return once(client, 'connect');
    });
  });
  const transport = await come;
  const chunks: string[] = [];
  const received = (chunk: Uint8Array): void => {
    chunks.push(Buffer.from(chunk).toString());
  };
  transport.attach({ received, drained: ignore, closed: ignore });
  await sendOneByOne('a');
  await until(() => chunks.length === 1);
  transport.pause();
  await sendOneByOne('bcdefghij');
  expect(chunks).toEqual(['a']);
  transport.resume();
  await until(() => chunks.join('') === 'abcdefghij');
  // One more is read before Node.js knows, and all others together.
  expect(chunks).toEqual(['a', 'b', 'cdefghij']);
});
