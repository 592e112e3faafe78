/**
 * QoS 0 from some publishers to some subscribers of one topic, as fast as the broker gets on.
 *
 * Publishers together keep a bounded number of publishes ahead of what has arrived, so that nothing
 * has to be dropped; the figure is messages delivered.
 */

import { LatencyHistogram } from './connections.ts';
import { type RunResult, summary } from './mqtt.ts';
import { connectMqtt, ownId, publishPacket, subscribeMqtt } from './mqtt-wire.ts';

export interface RoutedRun {
  readonly port: number;
  readonly publishers: number;
  readonly subscribers: number;
  /** In all, over all publishers. */
  readonly publishes: number;
  readonly payloadBytes: number;
  readonly topic: string;
  /** Publishes that a publisher writes at once. */
  readonly burst: number;
  /** Publishes that may be ahead of what has arrived, and a burst more. */
  readonly ahead: number;
}

export async function route(run: RoutedRun): Promise<RunResult> {
  const { topic, port } = run;
  const subscribers = await Promise.all(
    Array.from({ length: run.subscribers }, async (_, i) => {
      const socket = await connectMqtt(port, ownId('subscriber', i));
      await subscribeMqtt(socket, { filter: topic, qos: 0 });
      return socket;
    }),
  );
  const publishers = await Promise.all(
    Array.from({ length: run.publishers }, (_, i) => connectMqtt(port, ownId('publisher', i))),
  );
  const payload = Buffer.alloc(run.payloadBytes, 0x61);
  const one = publishPacket({ topic, qos: 0, packetId: 0, payload });
  const burst = Buffer.concat(Array.from({ length: run.burst }, () => one));
  const bursts = Math.floor(run.publishes / run.burst);
  const expected = bursts * run.burst * run.subscribers;
  let received = 0;
  let sent = 0;
  const startedAt = performance.now();
  await new Promise<void>((resolve, reject) => {
    const more = (): void => {
      while (sent < bursts && sent * run.burst - received / run.subscribers <= run.ahead) {
        publishers[sent % publishers.length]?.write(burst);
        sent += 1;
      }
    };
    for (const socket of publishers) socket.on('error', reject);
    for (const socket of subscribers) {
      let bytes = 0;
      socket.on('error', reject);
      socket.on('close', () => reject(new Error('the broker closed a subscriber')));
      socket.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        const whole = Math.floor(bytes / one.length);
        bytes -= whole * one.length;
        received += whole;
        if (received >= expected) resolve();
        else more();
      });
    }
    more();
  });
  const result = summary(received, startedAt, new LatencyHistogram());
  for (const socket of [...subscribers, ...publishers]) socket.removeAllListeners().destroy();
  return result;
}
