/**
 * The clients of the demo: MQTT.js, unchanged. They connect again by themselves while the broker is
 * away, and send again what was not acknowledged.
 */

import mqtt, { type IPublishPacket, type MqttClient } from 'mqtt';

export interface Order {
  readonly id: string;
  readonly amount: number;
}

/** What a worker does with an order. */
export type Decision = 'ack' | 'nack' | 'reject';

/** To the first of `ports`, and to the next one whenever a connection is lost. */
export function connectClient(ports: readonly number[], clientId: string): MqttClient {
  const client = mqtt.connect({
    servers: ports.map((port) => ({ host: '127.0.0.1', port, protocol: 'mqtt' as const })),
    clientId,
    protocolVersion: 5,
    reconnectPeriod: 100,
    queueQoSZero: false,
  });
  client.on('error', () => {
    // The broker is away between its kill and its start; the client connects again by itself.
  });
  return client;
}

const IN_FLIGHT = 50;

/** Publishes `count` orders with a window; `acknowledged` hears each one that the broker took. */
export function produce(
  client: MqttClient,
  { name, count }: { readonly name: string; readonly count: number },
  acknowledged: (id: string) => void,
): Promise<void> {
  return new Promise((resolve) => {
    let next = 0;
    let done = 0;
    const send = (): void => {
      if (next >= count) return;
      const order: Order = { id: `${name}-${next}`, amount: 1 + (next % 9) };
      next += 1;
      client.publish('$queue/orders/tea', JSON.stringify(order), { qos: 1 }, (error) => {
        if (error) return;
        acknowledged(order.id);
        done += 1;
        if (done === count) resolve();
        else send();
      });
    };
    for (let i = 0; i < IN_FLIGHT; i += 1) send();
  });
}

export interface Worker {
  decide(order: Order, attempt: number): Decision;
  /** The broker has committed it. */
  settled(order: Order, decision: Decision): void;
}

/**
 * A worker of a group that settles by hand: `$ack`, `$nack`, `$reject`.
 */
export function work(client: MqttClient, group: string, worker: Worker): void {
  client.on('message', (_topic, payload, packet) => {
    const order = JSON.parse(payload.toString()) as Order;
    const told = userProperties(packet);
    const decision = worker.decide(order, Number(told['delivery-count']));
    const properties = {
      userProperties: {
        'message-id': told['message-id'] ?? '',
        'group-id': told['group-id'] ?? '',
      },
    };
    client.publish(`$queue/orders/$${decision}`, '', { qos: 1, properties }, (error) => {
      // An error here: it was delivered to somebody else meanwhile, or the broker was killed.
      if (!error) worker.settled(order, decision);
    });
  });
  const wishes = { userProperties: { 'consumer-group': group, ack: 'manual' } };
  client.subscribe('$queue/orders', { qos: 1, properties: wishes });
}

/** Reads a stream from its beginning; `read` hears each order and its offset. */
export function readStream(client: MqttClient, read: (order: Order, offset: number) => void): void {
  client.on('message', (_topic, payload, packet) => {
    read(JSON.parse(payload.toString()) as Order, Number(userProperties(packet)['offset']));
  });
  const wishes = {
    userProperties: { 'consumer-group': 'late-reader', 'x-stream-offset': 'first' },
  };
  client.subscribe('$queue/history', { qos: 1, properties: wishes });
}

function userProperties(packet: IPublishPacket): Record<string, string> {
  return (packet.properties?.userProperties ?? {}) as Record<string, string>;
}
