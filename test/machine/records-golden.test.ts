/** Records of version 1: what is in stores today must be read for ever, and written as it is. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { EnqueueOptions } from '../../src/machine/command.ts';
import type { QueueId } from '../../src/machine/ids.ts';
import type { RecordData, RecordKey } from '../../src/machine/record-data.ts';
import { MachineDriver, PLAIN, Sender } from './machine-driver.ts';

/** A shard in which there is one of everything. */
function filled(): MachineDriver {
  const driver = new MachineDriver();
  const orders = driver.declare('orders', {
    deadLetter: '$dlq/orders',
    maxPriority: 9,
    retention: { ageMs: 3_600_000, bytes: 1_000_000, messages: 0 },
  });
  const events = driver.declare('events', { defaultGroup: 'client' }, 'stream');
  const sender = new Sender(driver, 'n1');
  const send = (queueIds: QueueId[], options: Partial<EnqueueOptions> = {}) =>
    sender.send(queueIds, 100, { topic: '$queue/orders/eu/1', options: { ...PLAIN, ...options } });
  const billing = { groupKind: 'automatic', filter: 'us/+' } as const;
  const groupId = driver.group(orders, 'billing@us/+', billing);
  driver.run({ kind: 'idle-group', queueId: orders, groupId, idle: true });
  send([orders, events]);
  send([orders], { priority: 7, ttlMs: 60_000 });
  send([orders], { delayMs: 5_000 });
  send([orders], { producer: { id: 'p-1', sequence: 41 } });
  send([orders], { key: { session: 's-1', ownerEpoch: 2, packetId: 300 } });
  sender.send([99 as QueueId]);
  driver.settle(orders, 2);
  driver.settle(orders, 0, 'requeue');
  driver.settle(orders, 1, 'discard');
  return driver;
}

/** A line for each record, in order of the keys; bytes in hexadecimal digits. */
function lines(records: readonly (readonly [RecordKey, RecordData])[]): string[] {
  const hex = (data: RecordData): unknown => {
    if (data instanceof Uint8Array) return { hex: Buffer.from(data).toString('hex') };
    return Array.isArray(data) ? data.map(hex) : data;
  };
  return records.map(([key, data]) => JSON.stringify([key, hex(data)]));
}

function parsed(line: string): [RecordKey, RecordData] {
  const [key, data] = JSON.parse(line, (_, value: unknown) =>
    typeof value === 'object' && value !== null && 'hex' in value && typeof value.hex === 'string'
      ? new Uint8Array(Buffer.from(value.hex, 'hex'))
      : value,
  ) as [RecordKey, RecordData];
  return [key, data];
}

async function golden(): Promise<string[]> {
  const path = join(import.meta.dirname, '../fixtures/records-v1.jsonl');
  return (await readFile(path, 'utf8')).trimEnd().split('\n');
}

describe('records of version 1', () => {
  it('are written as they always were', async () => {
    expect(lines(filled().dump())).toEqual(await golden());
  });

  it('are read, and the shard goes on where it was', async () => {
    const records = (await golden()).map(parsed);
    const driver = new MachineDriver(1_000, new Map(records));
    const before = filled();
    const orders = driver.machine.queueNamed('orders')?.queueId as QueueId;
    driver.index = before.index;
    driver.now = before.now;
    expect(driver.groups(orders)).toEqual(before.groups(orders));
    expect(driver.machine.openIntents(0, 9)).toEqual(before.machine.openIntents(0, 9));
    for (const each of [driver, before]) {
      each.dispatchStart(orders);
      each.now += 5_000;
      each.run({ kind: 'fire-timers', max: 100 });
      each.settle(orders, 0);
    }
    expect(lines(driver.dump())).toEqual(lines(before.dump()));
  });
});
