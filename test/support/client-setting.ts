/** A client of a shard that says what it is told to, and what the client is given. */

import type { Message } from '../../src/broker/message.ts';
import type { ConsumeRequest, Delivery } from '../../src/broker/ports.ts';
import type { GroupId, Offset } from '../../src/machine/ids.ts';
import type { ShardClientLimits } from '../../src/shard/client-options.ts';
import { ShardClient } from '../../src/shard/client.ts';
import { loopback } from '../../src/shard/port.ts';
import type { StoredSlice } from '../../src/shard/shard-frames.ts';
import { StoredMessageWriter } from '../../src/shard/stored-message.ts';
import { WireWriter } from '../../src/shard/wire.ts';
import { ORDERS, ScriptedShard, Witness } from './scripted-shard.ts';

export const ORIGIN = { clientId: 'c1', protocol: 'mqtt' } as const;
export const silent = { debug() {}, info() {}, warn() {}, error() {} };

export function message(payload: string): Message {
  return {
    topic: '$queue/orders',
    payload: Buffer.from(payload),
    qos: 1,
    retain: false,
    properties: undefined,
  };
}

export class FakeClock {
  ms = 1000;
  wallMs(): number {
    return 1_700_000_000_000 + this.ms;
  }
  monotonicMs(): number {
    return this.ms;
  }
}

export interface Setting {
  readonly client: ShardClient;
  readonly shard: ScriptedShard;
  readonly witness: Witness;
  readonly clock: FakeClock;
  readonly failures: string[];
  readonly errors: string[];
  /** Enqueues messages whose payload and tag is the number. */
  readonly send: (from: number, count?: number) => void;
}

export async function setting(limits: Partial<ShardClientLimits> = {}): Promise<Setting> {
  const [near, far] = loopback();
  const shard = new ScriptedShard(far);
  const clock = new FakeClock();
  const failures: string[] = [];
  const errors: string[] = [];
  const logger = { ...silent, error: (_: unknown, text: string) => errors.push(text) };
  const client = await ShardClient.open({
    port: near,
    node: 'n1',
    logger,
    // Many at once: each test sees its batches at the end of the turn. The hold has its own test.
    limits: { batchesUnderWay: 64, ...limits },
    clock,
    onFailed: (why) => failures.push(why),
  });
  const witness = new Witness();
  const send = (from: number, count = 1): void => {
    for (let tag = from; tag < from + count; tag++) {
      client.enqueue([ORDERS], message(String(tag)), ORIGIN, witness, tag);
    }
  };
  return { client, shard, witness, clock, failures, errors, send };
}

export class Sink {
  readonly got: Delivery[] = [];
  readonly events: string[] = [];
  onDelivered: ((delivery: Delivery) => void) | undefined;

  delivered(delivery: Delivery): void {
    this.got.push(delivery);
    this.events.push(Buffer.from(delivery.message.payload).toString());
    this.onDelivered?.(delivery);
  }
  batchEnd(): void {
    this.events.push('end');
  }
  attached(group: string): void {
    this.events.push(`in ${group}`);
  }
  ended(offset: number, deliveryNumber: number): void {
    this.events.push(`ended ${offset} ${deliveryNumber}`);
  }
  cancelled(reason: string): void {
    this.events.push(reason);
  }
}

export function stored(payload: string): StoredSlice {
  const writer = new WireWriter(64);
  const messages = new StoredMessageWriter();
  messages.publishedAtMs = 77;
  messages.write(writer, message(payload), ORIGIN);
  const bytes = writer.take();
  return { bytes, start: 0, end: bytes.length };
}

export const head = (consumer: number, offset: number) => ({
  consumer,
  queueId: ORDERS,
  offset: offset as Offset,
  deliveryNumber: offset + 100,
  attempt: 2,
  redelivered: true,
});
export const request = (credit: number, queueId = ORDERS): ConsumeRequest => ({
  queueId,
  clientId: 'c',
  credit,
  group: undefined,
  filter: '',
  start: undefined,
  manual: false,
});
export const group = { groupId: 7 as GroupId, name: 'mail' };
