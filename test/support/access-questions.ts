/** What tests of access over MQTT have in common: three users, their rules, and short questions. */

import type { Fields, RawClient } from './mqtt-server.ts';

export const RULES = [
  'deny  *          publish            rooms/secret',
  'allow user ann   publish,subscribe  rooms/#',
  'allow user ann   publish            $queue/#',
  'allow user ann   consume            $queue/orders',
  'allow user bob   subscribe          rooms/# own/%u/#',
  'allow group ops  *                  *',
  'allow *          publish            open',
];

export const PROTOCOL = { protocolId: 'MQTT', protocolVersion: 5, keepalive: 0 };
export const ANN = { username: 'ann', password: 'tea for two' };
export const BOB = { username: 'bob', password: 'b' };
export const OLGA = { username: 'olga', password: 'o' };
export const KEPT = { clean: false, properties: { sessionExpiryInterval: 3600 } };

/** Publishes at QoS 1 and gives the reason code. */
export async function publish(
  client: RawClient,
  topic: string,
  fields: Fields = {},
): Promise<unknown> {
  client.publish(topic, 'x', { qos: 1, messageId: 9, ...fields });
  return (await client.expect('puback'))['reasonCode'];
}

export async function granted(
  client: RawClient,
  topic: string,
  qos: 0 | 1 | 2 = 1,
): Promise<unknown> {
  return ((await client.subscribe(topic, qos))['granted'] as number[])[0];
}

export async function leave(client: RawClient): Promise<void> {
  client.send({ cmd: 'disconnect' });
  await client.ended();
}
